//! What reads a group's rows.

use arrow::array::RecordBatch;
use headwater_clocks::Tick;

use super::trace::{RowBatch, RowTrace};
use crate::changes::Keys;

/// What reads a group's rows and tells them as changes (see `changes`).
pub trait RowReader {
    /// Reads the differences of an interval of times, if there are any; `trace` has them, and `done` is the last time of which all are
    /// known. Returns what is to be told now.
    fn read(&mut self, batch: Option<&RowBatch>, trace: &RowTrace, done: Tick, keys: &Keys) -> Vec<RecordBatch>;
}

/// What has rows that are read: who reads them, and how their keys are named.
pub trait Readable {
    /// What names the keys of its rows.
    fn keys(&self) -> Keys<'_>;

    /// One more reads what is told of its rows.
    fn add_reader(&mut self);

    /// One has read what was told last.
    fn is_read(&mut self);
}
