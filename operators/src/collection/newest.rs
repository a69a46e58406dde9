//! Rows for a store: the newest of each unit that has changed, once a step; at first, and when a store asks for it, every row.

use arrow::array::RecordBatch;

use super::reader::RowReader;
use super::trace::{RowBatch, RowTrace, each_row_at, each_version};
use super::version::{BEFORE, Version};
use crate::changes::{Changes, Keys};

/// Reads newest rows. As changes, where `_time` is the tick at which the row changed last; a row that went has a `_diff` of -1 and
/// nulls. Rows that go are told before rows that come, since one may take another's place.
pub struct Newest {
    changes: Changes,
    windowed: bool,
    /// From then on rows are asked for: by the last tick at the latest.
    from: i64,
    last: i64,
    /// The number of the newest full refresh that was asked for.
    refresh: u64,
    /// Whether every row is due; and whether any was ever told. While a full refresh is due rows that go are told too: another worker's store
    /// may have taken what was sent before for a part of it.
    refresh_due: bool,
    emitted: bool,
    /// What went meanwhile: its keys may be forgotten by the time that it is told.
    gone: Vec<RecordBatch>,
}

/// The version of a unit before a batch and after it; each with the time at which that changed.
#[derive(Clone, Copy, Default)]
struct Turn<'b> {
    old: Option<(&'b Version, i64)>,
    new: Option<&'b Version>,
}

impl Newest {
    /// `from`: the tick from which on rows are asked for; `skip_refresh`: the store has every row that was there before the run.
    pub fn new(changes: Changes, windowed: bool, from: i64, skip_refresh: bool) -> Newest {
        let (last, refresh) = (i64::MAX, 0);
        Newest {
            changes,
            windowed,
            from,
            last,
            refresh,
            refresh_due: !skip_refresh,
            emitted: skip_refresh,
            gone: vec![],
        }
    }

    /// Hears of the newest full refresh that was asked for: its number, and the tick from which on every row is told once more.
    pub fn refresh(&mut self, (number, from): (u64, i64)) {
        if number > std::mem::replace(&mut self.refresh, number) {
            (self.from, self.refresh_due) = (self.from.max(from), true);
        }
    }

    /// No tick follows this one: by then rows are asked for.
    pub fn ask_by(&mut self, last: i64) {
        self.last = last;
    }

    /// Whether the two have one place in the store.
    fn share_place(&self, old: &Version, new: &Version) -> bool {
        old.key == new.key && (!self.windowed || old.values[0] == new.values[0])
    }

    fn tell_gone(&mut self, turns: &[Turn]) {
        let bounds = if self.windowed { 2 } else { 0 };
        for Turn { old, new } in turns {
            let Some((old, time)) = old.filter(|(old, _)| old.is_stored()) else { continue };
            if !new.is_some_and(|new| new.is_stored() && self.share_place(old, new)) {
                self.changes.push(old.key, &old.values[..bounds], time, -1);
            }
        }
    }

    fn tell_come(&mut self, row: &Version) {
        if row.is_stored() {
            self.changes.push(row.key, &row.values, row.at, 1);
        }
    }
}

impl RowReader for Newest {
    fn read(&mut self, batch: Option<&RowBatch>, trace: &RowTrace, done: i64, keys: &Keys) -> Vec<RecordBatch> {
        let turns = batch.map_or(vec![], turns);
        if self.emitted {
            self.tell_gone(&turns);
        }
        if done < self.from.min(self.last) {
            self.gone.extend(self.changes.take(keys));
            return vec![];
        }
        self.emitted = true;
        if std::mem::take(&mut self.refresh_due) {
            each_row_at(trace, i64::MAX, |row| self.tell_come(row));
        } else {
            turns.iter().filter_map(|turn| turn.new).for_each(|row| self.tell_come(row));
        }
        self.gone.drain(..).chain(self.changes.take(keys)).collect()
    }
}

/// What becomes of each unit of a batch.
fn turns(batch: &RowBatch) -> Vec<Turn<'_>> {
    let (mut all, mut last): (Vec<Turn>, _) = (vec![], None);
    each_version(batch, |unit, version, times| {
        let (count, time) = times.filter(|(time, _)| *time > BEFORE).fold((0, 0), |(n, _), (t, diff)| (n + diff, t));
        if last.replace(unit) != Some(unit) {
            all.push(Turn::default());
        }
        let turn = all.last_mut().expect("one was just put there");
        match count {
            0 => {}
            1.. => turn.new = Some(version),
            _ => turn.old = Some((version, time)),
        }
    });
    all
}
