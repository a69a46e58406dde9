//! What every other layer stands on: ids, workers, failures and faults, numbers as people read them, and what must not be seen.

pub mod failure;
pub mod failures;
pub mod fault;
pub mod human;
pub mod id;
pub mod peer;
pub mod secrets;
