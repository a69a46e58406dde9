//! What every other layer stands on: ids, the wall clock, failures and faults, the log, and what must not be seen in it.

pub mod failure;
pub mod failures;
pub mod fault;
pub mod id;
pub mod log;
pub mod panics;
pub mod secrets;
pub mod time;
