//! Headwater keeps machine-learning features fresh: a job names where events are kept, where they arrive, and which windowed aggregates are
//! wanted by which key; it computes the history, switches to the stream without a gap, and keeps every value current. This is the library
//! that the `headwater` command is made of: a job is read from TOML ([`Job::from_file`]) or built ([`job::build`]), and [`run`] runs it within
//! another program. Who embeds it needs no feature; `command`, on by default, is the command.
//!
//! The folders are layers, each of which knows only some of those below it: see `layers`.

#![deny(missing_docs)]
// What stands beside what others use, and only the command calls.
#![cfg_attr(not(feature = "command"), allow(dead_code))]

pub(crate) mod backfill;
pub(crate) mod base;
#[doc(hidden)]
pub mod bind;
pub(crate) mod catalog;
pub(crate) mod checkpoint;
pub(crate) mod cluster;
#[cfg(feature = "command")]
#[doc(hidden)]
pub mod command;
pub(crate) mod coordinate;
#[cfg(feature = "command")]
pub(crate) mod demo;
pub(crate) mod describe;
pub(crate) mod embed;
pub(crate) mod ingest;
pub mod job;
pub(crate) mod observe;
pub(crate) mod plan;
pub(crate) mod render;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod serve_log;
pub(crate) mod sink;
pub(crate) mod start;
#[cfg(feature = "command")]
pub(crate) mod verify;

pub use base::failure::Failure;
pub use base::fault::{At, Fault, Faults};
pub use embed::{Handle, Options, export, get, run};
pub use job::Job;
pub use status::Status;

/// How a run is: what `headwater status --json` prints, with the same names.
pub mod status {
    pub use crate::observe::report::{
        Bootstrap, CheckpointReport, GroupReport, PartitionReport, Phase, Report as Status, SeamReport, SourceReport,
        ViewReport,
    };
    pub use crate::observe::status::SourceCounts;
    pub use headwater_clocks::Offset;
    pub use headwater_operators::group::Counters;
}

#[cfg(test)]
mod layers;
