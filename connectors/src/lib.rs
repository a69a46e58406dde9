//! The outside world: histories, streams, formats and sinks, each a list of kinds ([`history::HISTORIES`], [`stream::STREAMS`],
//! [`format::FORMATS`], [`sink::SINKS`]). Computes no windows.
//!
//! Everything crosses this crate's border as Arrow columns: `Records` come in, `RecordBatch`es of changes go out. A kind reads what a job
//! says of it through [`settings::Settings`], and nobody else knows what that is.

#![deny(missing_docs)]

pub mod error;
pub mod format;
mod guard;
pub mod history;
mod message;
mod objects;
mod packed;
pub mod path;
pub mod records;
mod registry;
pub mod secrets;
pub mod settings;
pub mod sink;
pub mod storage;
pub mod stream;
pub mod table;
pub mod threads;
mod unusable;

pub use error::{Error, Result};
pub use guard::{guarded, is_guarded};
pub use path::Path;
pub use records::{DEBEZIUM, KEY, PATH, Payload, Records, Wanted};
pub use unusable::UNUSABLE;
