//! A group's part of a checkpoint: what a state holds once a tick is finished, so that another one goes on from there. Nothing
//! in it names a number of this process but by a table of its own, so any number of workers may read it.
//!
//! | piece | a row is | columns |
//! |---|---|---|
//! | `values` | a value that units name by number | `_keeper`, `_number`, `_value` |
//! | `units` | a unit | `_key`; `_unit`: its window, what was published of it; by part its accumulators |
//! | `ledger` | an event that some finite window holds | see `accumulators::packed`; written by the journal |
//! | `pending` | an event that is not visible yet | see `events` |
//!
//! All but `units` are of one part. Where the group has other parts by the time that they are read, each finds what was its own.
//! Parts that were worked out beside the others, by a state that was hidden, were saved by it: each finds its own in one of the two.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::types::UInt32Type;
use arrow::array::{ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, UInt32Array};
use serde::{Deserialize, Serialize};

use super::{Journal, State, Windows};
use crate::events;
use crate::ledger::SegmentError;
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Ordered};

/// What a batch of a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Values that the units and the ledger name by number.
    Values,
    /// What is kept of each unit, and what was published of it.
    Units,
    /// Events that some finite window holds.
    Ledger,
    /// Events that are not visible yet.
    Pending,
}

/// Takes the batches of a state, piece after piece, each of a part.
pub type Each<'a> = dyn FnMut(Piece, usize, &RecordBatch) -> Result<(), SegmentError> + 'a;

/// The values that the units and the ledger of one state name, by part, keeper and number.
#[derive(Default)]
pub struct NamedValues {
    by_part: Vec<Vec<HashMap<u32, Ordered>>>,
    /// Whether the state was that of what was worked out beside the others.
    beside: bool,
}

impl NamedValues {
    /// None yet, of a state or of what was worked out beside one.
    pub fn of(beside: bool) -> NamedValues {
        NamedValues { by_part: vec![], beside }
    }
}

/// Where a part goes on from.
#[derive(Clone, Copy, Debug)]
pub struct Resumed {
    /// Its number when it was saved.
    pub saved: usize,
    /// Whether that was beside the others.
    pub beside: bool,
    /// Every tick up to here was finished; `None`: its start was still to come.
    pub done: Option<i64>,
    /// Whether its columns were shown.
    pub shown: bool,
}

/// A unit of a group with windows of its own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SavedWindow {
    pub first: i64,
    pub last: i64,
    pub has_left: bool,
    pub closed: bool,
}

/// What was published of a unit, without the values: they are those of its accumulators.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SavedRow {
    pub bounds: Option<(i64, i64)>,
    pub stored: bool,
    pub changed_at: i64,
}

/// A state could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// What is read was not written by such a group.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// Rows of the ledger could not be kept or read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// Rows of a batch at most; of units, whose size is not known, fewer.
const ROWS_AT_ONCE: usize = 64 << 10;
const UNITS_AT_ONCE: usize = 1 << 10;

impl State {
    /// What the state holds, where every tick up to `done` is finished and its changes were taken. `sent_before`: events that
    /// were sent at a dataflow time from there on are left out. Pieces come in their order; empty ones are left out. The ledger is
    /// in the journal (see `keep_journal`), which is complete by then.
    ///
    /// # Errors
    /// The journal could not be written, or `each` failed.
    pub fn save(&mut self, sent_before: i64, each: &mut Each) -> Result<(), SegmentError> {
        self.save_values(each)?;
        self.save_units(each)?;
        if let Windows::Trailing(windows) = &mut self.windows {
            windows.write_journal(&mut self.shared)?;
        }
        self.pending.save(sent_before).iter().try_for_each(|(part, batch)| each(Piece::Pending, *part, batch))
    }

    fn save_units(&self, each: &mut Each) -> Result<(), SegmentError> {
        let all: Vec<(u32, u32, Option<SavedWindow>)> = match &self.windows {
            Windows::Trailing(_) => {
                let keys = 0..self.shared.keys.bound() as u32;
                let there = keys.filter(|key| self.shared.parts.is_there(*key as usize));
                there.map(|key| (key, key, None)).collect()
            }
            Windows::Hopping(windows) => windows.saved(),
            Windows::Sessions(windows) => windows.saved(),
        };
        all.chunks(UNITS_AT_ONCE).try_for_each(|some| each(Piece::Units, 0, &self.units_batch(some)))
    }

    fn units_batch(&self, some: &[(u32, u32, Option<SavedWindow>)]) -> RecordBatch {
        let parts = self.shared.parts.iter();
        let mut by_part: Vec<BinaryBuilder> = parts.map(|_| BinaryBuilder::new()).collect();
        let (mut keys, mut units, mut bytes) = (BinaryBuilder::new(), BinaryBuilder::new(), vec![]);
        for (unit, key, window) in some {
            keys.append_value(self.shared.keys.key(*key));
            bytes.clear();
            put(&mut bytes, window);
            put(&mut bytes, &self.shared.published.saved(*unit));
            units.append_value(&bytes);
            for (part, column) in self.shared.parts.iter().zip(&mut by_part) {
                bytes.clear();
                match window {
                    // A closed window's accumulators are empty: its row is all that is left.
                    Some(SavedWindow { closed: true, .. }) => put(&mut bytes, &self.shown(*unit, &part.places)),
                    _ => part.accumulators.save(*unit as usize, &mut bytes),
                }
                column.append_value(&bytes);
            }
        }
        let heads: [(String, ArrayRef); 2] =
            [("_key".to_owned(), Arc::new(keys.finish())), ("_unit".to_owned(), Arc::new(units.finish()))];
        let column =
            |(part, mut column): (usize, BinaryBuilder)| (format!("_{part}"), Arc::new(column.finish()) as ArrayRef);
        let columns = heads.into_iter().chain(by_part.into_iter().enumerate().map(column));
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    /// By column of a part: what the row shows.
    fn shown(&self, unit: u32, places: &[Option<usize>]) -> Vec<Datum> {
        let row = self.shared.published.values(unit);
        places.iter().map(|place| place.and_then(|place| row.get(place)).cloned().unwrap_or_default()).collect()
    }

    fn save_values(&self, each: &mut Each) -> Result<(), SegmentError> {
        for (part, keeper, values) in self.shared.parts.iter().enumerate().flat_map(|(number, part)| {
            (0u32..).zip(part.accumulators.values()).map(move |(keeper, values)| (number, keeper, values))
        }) {
            let all: Vec<(u32, &Ordered)> = values.into_iter().flat_map(|values| values.iter()).collect();
            for some in all.chunks(ROWS_AT_ONCE) {
                let numbers = UInt32Array::from_iter_values(some.iter().map(|(number, _)| *number));
                let columns: [(&str, ArrayRef); 3] = [
                    ("_keeper", Arc::new(UInt32Array::from_value(keeper, some.len()))),
                    ("_number", Arc::new(numbers)),
                    ("_value", Arc::new(BinaryArray::from_iter_values(some.iter().map(|(_, value)| bytes_of(value))))),
                ];
                each(Piece::Values, part, &RecordBatch::try_from_iter(columns).expect("columns of one length"))?;
            }
        }
        Ok(())
    }

    /// Goes on from a checkpoint where every tick up to `done` was finished (`None`: the first tick was still to come), with the same
    /// columns. Nothing was put into the state yet; `load` follows.
    ///
    /// # Errors
    /// The ledger cannot begin there.
    pub fn begin_at(&mut self, done: Option<i64>) -> Result<(), SegmentError> {
        self.resume(done, &[Some(Resumed { saved: 0, beside: false, done, shown: done.is_some() })], false)
    }

    /// Goes on from a checkpoint. `floor`: up to there everything was published; `parts`: where each goes on from, `None` for one
    /// that is new; `renewed`: columns that were shown are not any more. Nothing was put into the state yet; `load` follows.
    ///
    /// # Errors
    /// The ledger cannot begin there.
    pub fn resume(&mut self, floor: Option<i64>, parts: &[Option<Resumed>], renewed: bool) -> Result<(), SegmentError> {
        self.fresh = !parts.iter().flatten().any(|part| part.shown);
        self.floor = floor.filter(|floor| !self.fresh || self.shared.parts.first_start() <= *floor);
        for (number, resumed) in parts.iter().enumerate() {
            let part = self.shared.parts.get(number);
            let Some(Resumed { done: Some(done), shown, .. }) = *resumed else { continue };
            part.begun = done >= part.start;
            part.entered = !self.hidden && if self.fresh { part.begun } else { shown };
            if let Windows::Trailing(windows) = &mut self.windows {
                windows.begin_at(number, done)?;
            }
        }
        self.renewed = self.floor.is_some() && (renewed || self.fresh || self.anew);
        if let Some(floor) = self.floor.filter(|_| self.fresh || self.anew) {
            self.shared.published.mute_until(floor);
        }
        let ever = |number: &usize| self.shared.parts.start(*number) != i64::MAX;
        self.done = (0..parts.len()).filter(ever).map(|number| parts[number]?.done).min().flatten();
        self.resumed = parts.to_vec();
        Ok(())
    }

    /// From now on what goes into the ledger is written into a journal, which `save` leaves complete.
    pub fn keep_journal(&mut self, journal: Box<dyn Journal>) {
        if let Windows::Trailing(windows) = &mut self.windows {
            windows.keep_journal(journal);
        }
    }

    /// The part that has taken a saved part's place; `beside`: it was saved beside the others.
    pub fn part_of(&self, saved: usize, beside: bool) -> Option<usize> {
        self.of_saved(saved, beside).map(|(part, _)| part)
    }

    /// Instead of `load`ing it, leaves a chunk of the journal where it is: rows of a part, with event times from `first` to `last`, of keys
    /// that are all this state's. Its units are loaded; `thaw` follows.
    pub fn freeze(&mut self, part: usize, chunk: u64, first: i64, last: i64) {
        if let Windows::Trailing(windows) = &mut self.windows {
            windows.freeze(part, chunk, first, last);
        }
    }

    /// Takes in what the first tick needs.
    ///
    /// # Errors
    /// The journal could not be read, or a segment not be written.
    pub fn thaw(&mut self) -> Result<(), SegmentError> {
        match &mut self.windows {
            Windows::Trailing(windows) => windows.thaw(&mut self.shared, None),
            _ => Ok(()),
        }
    }

    /// Whether any part goes on from what was saved beside the others, or from what was not.
    pub fn resumes(&self, beside: bool) -> bool {
        self.resumed.iter().flatten().any(|part| part.beside == beside)
    }

    /// The part that has taken a saved part's place, and the tick at which it was saved.
    fn of_saved(&self, saved: usize, beside: bool) -> Option<(usize, i64)> {
        let is = |part: &Resumed| (part.saved, part.beside) == (saved, beside);
        let found = self.resumed.iter().enumerate().find_map(|(n, part)| Some((n, part.filter(is)?)));
        found.map(|(part, resumed)| (part, resumed.done.unwrap_or_else(|| self.shared.parts.start(part))))
    }

    /// Takes in a batch that `save` gave of a part, for keys that `owns` accepts. The batches of one state come in their order, with
    /// `values` that begin empty; then those of another.
    ///
    /// # Errors
    /// What is read is no state of this plan, or a segment could not be written.
    pub fn load(
        &mut self,
        (piece, saved_part): (Piece, usize),
        batch: &RecordBatch,
        values: &mut NamedValues,
        owns: impl Fn(&[u8]) -> bool,
    ) -> Result<(), CheckpointError> {
        if piece == Piece::Units {
            return Ok(self.load_units(batch, values, owns)?);
        }
        let Some((part, now)) = self.of_saved(saved_part, values.beside) else { return Ok(()) };
        match piece {
            Piece::Values => Ok(self.load_values(part, batch, values)?),
            Piece::Units => Ok(()),
            Piece::Ledger => {
                let rows = self.shared.parts.get(part).accumulators.unpack(batch, &self.shared.keys)?;
                match &mut self.windows {
                    Windows::Trailing(windows) => Ok(windows.load(&mut self.shared, part, &rows, now)?),
                    _ => Err(Damaged("a ledger of a group that has none".to_owned()).into()),
                }
            }
            Piece::Pending => {
                let keys = batch.column(events::KEY).as_binary::<i32>();
                let mine = keys.iter().map(|key| Some(key.is_some_and(&owns))).collect();
                let batch = arrow::compute::filter_record_batch(batch, &mine)
                    .map_err(|e| Damaged(format!("events that are not visible yet: {e}")))?;
                self.insert_later(part, &batch);
                Ok(())
            }
        }
    }

    /// The values of a part, with a place for each of its keepers.
    fn values_of<'v>(&mut self, part: usize, values: &'v mut NamedValues) -> &'v mut Vec<HashMap<u32, Ordered>> {
        values.by_part.resize_with(self.resumed.len(), Vec::new);
        values.by_part[part].resize_with(self.shared.parts.get(part).accumulators.values().len(), HashMap::new);
        &mut values.by_part[part]
    }

    fn load_values(&mut self, part: usize, batch: &RecordBatch, values: &mut NamedValues) -> Result<(), Damaged> {
        let values = self.values_of(part, values);
        let keepers = batch.column(0).as_primitive::<UInt32Type>();
        let numbers = batch.column(1).as_primitive::<UInt32Type>();
        let of_batch = batch.column(2).as_binary::<i32>();
        for row in 0..batch.num_rows() {
            let of = values.get_mut(keepers.value(row) as usize);
            let of = of.ok_or_else(|| Damaged("values of a column that is not there".to_owned()))?;
            of.insert(numbers.value(row), get(&mut of_batch.value(row))?);
        }
        Ok(())
    }

    fn load_units(
        &mut self,
        batch: &RecordBatch,
        values: &mut NamedValues,
        owns: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Damaged> {
        (0..self.resumed.len()).for_each(|part| _ = self.values_of(part, values));
        let columns: Vec<&BinaryArray> = batch.columns().iter().map(|column| column.as_binary::<i32>()).collect();
        let [keys, units, by_part @ ..] = &columns[..] else { return Err(Damaged("units without keys".to_owned())) };
        (0..batch.num_rows()).filter(|row| owns(keys.value(*row))).try_for_each(|row| {
            let parts: Vec<&[u8]> = by_part.iter().map(|column| column.value(row)).collect();
            self.load_unit(keys.value(row), units.value(row), &parts, values)
        })
    }

    fn load_unit(
        &mut self,
        key: &[u8],
        mut bytes: &[u8],
        parts: &[&[u8]],
        values: &NamedValues,
    ) -> Result<(), Damaged> {
        let window: Option<SavedWindow> = get(&mut bytes)?;
        let published: Option<SavedRow> = get(&mut bytes)?;
        // Of a key that two states know, one has published the row.
        let published = published.filter(|_| !self.hidden || window.is_some());
        let key = self.shared.keys.intern(key);
        let unit = match (&mut self.windows, window) {
            (Windows::Trailing(_), None) => {
                self.shared.make_room(self.shared.keys.bound());
                key
            }
            (Windows::Hopping(windows), Some(window)) => windows.load(&mut self.shared, key, window),
            (Windows::Sessions(windows), Some(window)) => windows.load(&mut self.shared, key, window),
            _ => return Err(Damaged("a unit of another kind of window".to_owned())),
        };
        let closed = window.is_some_and(|window| window.closed);
        let mut row = vec![Datum::Null; self.shared.parts.columns()];
        let mut now = None;
        for (saved, mut bytes) in parts.iter().copied().enumerate() {
            let Some((number, saved_at)) = self.of_saved(saved, values.beside) else { continue };
            let part = self.shared.parts.get(number);
            if closed {
                let shown: Vec<Datum> = get(&mut bytes)?;
                part.places.iter().zip(shown).for_each(|(place, value)| _ = place.map(|place| row[place] = value));
            } else {
                part.accumulators.load(unit as usize, &mut bytes, saved_at, &values.by_part[number])?;
                now = now.max(Some(saved_at));
            }
        }
        match published {
            Some(published) => {
                if let Some(now) = now {
                    self.shared.parts.row(unit as usize, now, &mut row);
                }
                self.shared.published.load(unit, key, published, row);
            }
            None if self.done.is_none() => self.shared.touched.add(unit),
            None => {}
        }
        Ok(())
    }
}

fn bytes_of(value: &Ordered) -> Vec<u8> {
    let mut bytes = vec![];
    put(&mut bytes, value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `saved` says: checkpoints that are there have these bytes.
    #[test]
    fn the_bytes_of_a_unit_are_what_they_were() {
        let mut bytes = vec![];
        put(&mut bytes, &Some(SavedWindow { first: -1, last: 300, has_left: true, closed: false }));
        put(&mut bytes, &SavedRow { bounds: Some((0, 1)), stored: true, changed_at: 2 });
        assert_eq!(bytes, [1, 1, 0xfb, 0x58, 2, 1, 0, 1, 0, 2, 1, 4]);
    }
}
