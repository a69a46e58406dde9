//! Rows for a changelog: every change at every tick.

use std::rc::Rc;

use arrow::array::RecordBatch;
use headwater_clocks::Tick;

use super::reader::RowReader;
use super::trace::{RowBatch, RowTrace, each_row_at, each_version};
use super::version::{BEFORE, Phase, Version};
use crate::changes::{Changes, Keys};

/// Where a changelog begins anew: what comes up to a tick is left out, and then all rows are told as they are there.
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    /// The tick.
    pub at: Tick,
    /// Whether rows whose windows have left the store are told too, because they may still change.
    pub all: bool,
}

/// Reads every change at every tick; of a unit's change the row that goes comes first.
pub struct Changelog {
    changes: Changes,
    reset: Option<Reset>,
    /// Changes up to there are not told.
    muted_until: Tick,
}

/// A difference: time, unit, -1 or +1, and the version.
type Change<'b> = (Tick, u32, i8, &'b Version);

impl Changelog {
    /// `reset`: it begins anew.
    pub fn new(changes: Changes, reset: Option<Reset>) -> Changelog {
        Changelog { changes, reset, muted_until: reset.map_or(BEFORE, |reset| reset.at) }
    }

    fn tell_all(&mut self, Reset { at, all }: Reset, trace: &RowTrace) {
        each_row_at(trace, at, |_, row| {
            if row.is_stored() || all && row.phase == Phase::Left {
                self.changes.push(row.key, &row.values, at, 1);
            }
        });
    }

    fn tell(&mut self, batch: &RowBatch) {
        let mut all: Vec<Change> = vec![];
        each_version(batch, |unit, version, times| {
            let told = times.filter(|(time, _)| *time > self.muted_until);
            all.extend(told.map(|(time, diff)| (time, unit, diff as i8, version)));
        });
        // Nearly always of one time, and so in order.
        all.sort_by_key(|(time, unit, diff, _)| (*time, *unit, *diff));
        for change in all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|change| !is_same_row(change)) {
            for (time, _, diff, row) in change.iter().filter(|(.., diff, row)| *diff > 0 || row.phase != Phase::Closed)
            {
                self.changes.push(row.key, &row.values, *time, *diff);
            }
        }
    }
}

/// Whether the row stays what it was: it leaves the store, or is about to be forgotten.
fn is_same_row(change: &[Change]) -> bool {
    matches!(change, [(.., old), (.., new)] if Rc::ptr_eq(&old.values, &new.values))
}

impl RowReader for Changelog {
    fn read(&mut self, batch: Option<&RowBatch>, trace: &RowTrace, done: Tick, keys: &Keys) -> Vec<RecordBatch> {
        if let Some(reset) = self.reset.take_if(|reset| reset.at <= done) {
            self.tell_all(reset, trace);
        }
        batch.into_iter().for_each(|batch| self.tell(batch));
        self.changes.take(keys).into_iter().collect()
    }
}
