//! Formats: bytes to columns, and columns to text.

pub mod json;
pub mod text;
