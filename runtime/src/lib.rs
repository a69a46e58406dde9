//! Headwater: from a job file to a running cluster.

pub mod clock;
pub mod cluster;
pub mod command;
pub mod dataflow;
pub mod demo;
pub mod failure;
pub mod feed;
pub mod files;
pub mod history;
pub mod job;
pub mod log;
pub mod letters;
pub mod opened;
pub mod partition;
pub mod plan;
pub mod run;
pub mod segments;
pub mod shape;
pub mod stamp;
pub mod status;
pub mod stores;
