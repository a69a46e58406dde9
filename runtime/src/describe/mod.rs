//! What is told of a job that need not run: what a run would do, what its rows mean, what a few records come to, the catalogue.

pub mod catalog;
pub mod check;
pub mod meaning;
#[cfg(feature = "command")]
pub mod sample;
