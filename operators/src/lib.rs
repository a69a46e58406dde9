//! Headwater's dataflow: windows, aggregates, retractions. Pure: it knows no TOML, no file, no socket and no
//! wall clock, so that every window can be tested without any of them.
//!
//! ```text
//! events (keys and values of expressions, as columns) -> exchange -> arrange (ledger) -> reduce (accumulators) -> rows -> changes
//! ```

#![deny(missing_docs)]

pub mod accumulators;
pub mod aggregate;
pub mod arrange;
pub mod changes;
pub mod collection;
pub mod control;
pub mod events;
pub mod exact;
pub mod exchange;
pub mod group;
pub mod id;
pub mod key_codec;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod operator;
pub mod past;
pub mod probe;
pub mod reduce;
pub mod relational;
pub mod saved;
pub mod sketch;
pub mod standalone;
pub mod synopses;
pub mod table;
pub mod value;
