//! What the aggregates are made of.

pub mod extreme;
pub mod float_sum;
