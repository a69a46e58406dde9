//! Headwater: from a job file to a running cluster.
//!
//! The folders are layers: `base`, `job`, `plan`, `catalog`, `checkpoint`, `observe`, `coordinate`, `ingest`, `start`, `sink`,
//! `render`, `cluster`, `run`, `serve`, `demo`, `command`. Each knows only some of those before it: see `layers`.

pub mod base;
pub mod catalog;
pub mod checkpoint;
pub mod cluster;
pub mod command;
pub mod coordinate;
pub mod demo;
pub mod ingest;
pub mod job;
pub mod observe;
pub mod plan;
pub mod render;
pub mod run;
pub mod serve;
pub mod sink;
pub mod start;

#[cfg(test)]
mod layers;
