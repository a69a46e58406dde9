//! Headwater.

pub mod job;
