//! Rows for what is built on them: every change at every tick, of rows that a store has.

use arrow::array::RecordBatch;
use headwater_clocks::Tick;

use super::reader::RowReader;
use super::trace::{RowBatch, RowTrace, each_version};
use crate::changes::{Changes, Keys};

/// Reads what a store has of a collection, tick by tick, beginning with what was there before the run.
pub struct Contents {
    changes: Changes,
    shown_from: Tick,
}

impl Contents {
    /// Tells them as such changes.
    pub fn new(changes: Changes) -> Contents {
        Contents { changes, shown_from: Tick::BEFORE_ALL }
    }

    /// What is before a tick is told as of then.
    pub fn show_from(&mut self, tick: Tick) {
        self.shown_from = tick;
    }
}

impl RowReader for Contents {
    fn read(&mut self, batch: Option<&RowBatch>, _: &RowTrace, _: Tick, keys: &Keys) -> Vec<RecordBatch> {
        if let Some(batch) = batch {
            each_version(batch, |_, version, times| {
                for (time, diff) in times.filter(|_| version.is_stored()) {
                    self.changes.push(version.key, &version.values, time.max(self.shown_from), diff as i8);
                }
            });
        }
        self.changes.take(keys).into_iter().collect()
    }
}
