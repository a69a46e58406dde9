//! What every other layer stands on: ids, offsets, clocks, failures and faults, threads, and what must not be seen.

pub mod failure;
pub mod failures;
pub mod fault;
pub mod id;
pub mod secrets;
pub mod threads;
