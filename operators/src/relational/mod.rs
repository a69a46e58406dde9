//! Rows made of rows: projections, joins, aggregates over collections that change at ticks, as differences.
//!
//! ```text
//! contents of a group -> opened -> mapped -> joined, aggregated, numbered ... -> published: one row a key, arranged as a group's rows are
//! ```
//!
//! Between these a row is bytes: its columns as `KeyCodec` encodes them, one after the other. Equal rows have equal bytes, the order of bytes is
//! column by column with nulls the smallest, and the bytes of two rows beside each other are those of the one that has the columns of both.
//!
//! - `map`: rows opened as columns, a batch at a time, for whoever evaluates expressions over them
//! - `join`: differential's join, of rows by a key
//! - `by_tick`: what keeps something of each key, and is given what changes tick by tick: `aggregate`, `distinct`, `top`
//! - `links`: what hangs together, by differential's iteration
//! - `published`: the rows of a key become what sinks read
//!
//! Ticks are a total order, so what is kept of a key need not remember how it was: an aggregate takes what changes into its accumulators, and a
//! ranking is a sorted map. differential's `reduce`, which knows any order of times, would look at all rows of a key each time.

pub mod aggregate;
mod by_tick;
mod changed;
pub mod distinct;
pub mod join;
pub mod links;
pub mod map;
pub mod published;
mod rows;
#[cfg(test)]
mod tests;
pub mod top;

pub use by_tick::{PerTick, by_tick};
pub use changed::Changed;
pub use rows::{Bytes, Keyed, Rows};
