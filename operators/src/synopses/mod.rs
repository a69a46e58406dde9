//! What is kept of events where adding up is not enough, a file a kind of it.

pub(crate) mod buckets;
pub(crate) mod counted_registers;
pub(crate) mod dated;
pub(crate) mod distinct;
pub(crate) mod earliest;
pub(crate) mod extremes;
pub(crate) mod frequencies;
pub(crate) mod latest;
pub(crate) mod multisets;
pub(crate) mod numbered;
pub(crate) mod reading;
pub(crate) mod registers;
pub(crate) mod rings;
pub(crate) mod sorted;
pub mod staircase;
pub(crate) mod synopsis;
