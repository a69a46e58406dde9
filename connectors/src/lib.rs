//! The outside world: histories, streams, formats and sinks. Knows no windows.
//!
//! Everything crosses this crate's border as Arrow columns: `Records` come in, `RecordBatch`es of changes go out.

pub mod error;
pub mod format;
pub mod history;
mod objects;
pub mod records;
pub mod sink;
pub mod storage;
pub mod stream;

pub use error::{Error, Result};
pub use records::{Payload, Records, Wanted};
