//! What the aggregates are made of.

pub mod ddsketch;
pub mod extreme;
pub mod float_sum;
pub mod hyperloglog;
pub mod spread;
pub mod squares;
