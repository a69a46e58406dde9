//! Headwater.

pub mod expression;
