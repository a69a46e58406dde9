//! Headwater's dataflow: windows, aggregates, retractions. Pure: it knows no TOML, no file, no socket and no
//! wall clock, so that every window can be tested without any of them.
//!
//! ```text
//! events (keys and values of expressions, as columns) -> exchange -> group (windows; ledger, accumulators) -> changes
//! ```

#![deny(missing_docs)]

pub mod accumulators;
pub mod aggregate;
pub mod changes;
pub mod events;
pub mod exact;
pub mod exchange;
pub mod group;
pub mod keepers;
pub mod key_codec;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod operator;
pub mod probe;
pub mod saved;
pub mod sketch;
pub mod value;
