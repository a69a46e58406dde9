//! Sketches that give back what they took: percentiles and numbers of distinct values, near the truth in little memory.

pub mod ddsketch;
pub mod hyperloglog;
