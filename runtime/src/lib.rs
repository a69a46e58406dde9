//! Headwater: from a job file to a running cluster.

pub mod checkpoint;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod dataflow;
pub mod demo;
pub mod failure;
pub mod job;
pub mod log;
pub mod opened;
pub mod panics;
pub mod plan;
pub mod progress;
pub mod report;
pub mod rows;
pub mod run;
pub mod sample;
pub mod serve;
pub mod sink;
pub mod source;
pub mod status;
pub mod table;
