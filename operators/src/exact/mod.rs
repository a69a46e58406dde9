//! Exact sums of floats and of squares, and what is worked out from them.

pub mod float_sum;
pub mod spread;
pub mod squares;
