//! A group's part of a checkpoint: what a state holds once a tick is finished, so that another one goes on from there. Nothing
//! in it names a number of this process but by a table of its own, so any number of workers may read it.
//!
//! | piece | a row is | columns |
//! |---|---|---|
//! | `values` | a value that units name by number | `_keeper`, `_number`, `_value` |
//! | `units` | a unit | `_key`; `_unit`: its window, what was published of it; by column set its accumulators |
//! | `ledger` | an event that some finite window holds | see `accumulators::packed`; written by the journal |
//! | `pending` | an event that is not visible yet | see `events` |
//!
//! All but `units` are of one column set. Where the group has other sets by the time that they are read, each finds what was its own.
//! Sets that a shadow has worked out were saved by it: each finds its own in one of the two.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::types::UInt32Type;
use arrow::array::{ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, UInt32Array};
use headwater_clocks::{EventTime, Tick, Time};
use serde::{Deserialize, Serialize};

use super::saved::{Resumed, SavedRow, SavedWindow};
use super::state::State;
use super::windows::Saved;
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
    /// Beside groups: versions of a table's rows.
    Versions,
    /// Beside groups: events that versions may still correct.
    Held,
    /// Beside groups: rows as they were, which such events may come to ask for.
    Past,
    /// Beside groups: records that replace one another.
    Replaced,
    /// Beside groups: when the rows of views changed last.
    Changed,
    /// Beside groups: rows of groups and views as they were, for whoever asks for earlier values.
    Earlier,
}

/// Takes the batches of a state, piece after piece, each of a set.
pub type Each<'a> = dyn FnMut(Piece, usize, &RecordBatch) -> Result<(), SegmentError> + 'a;

/// The values that the units and the ledger of one state name, by set, synopsis and number.
#[derive(Default)]
pub struct NamedValues {
    by_set: Vec<Vec<HashMap<u32, Ordered>>>,
    /// Whether the state was that of a shadow.
    shadow: bool,
}

impl NamedValues {
    /// None yet, of a state or of a shadow's.
    pub fn of(shadow: bool) -> NamedValues {
        NamedValues { by_set: vec![], shadow }
    }
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
    pub fn save(&mut self, sent_before: Tick, each: &mut Each) -> Result<(), SegmentError> {
        self.save_values(each)?;
        self.save_units(each)?;
        self.ledgers.write_journal(&self.dense)?;
        self.pending.save(sent_before).iter().try_for_each(|(set, batch)| each(Piece::Pending, *set, batch))
    }

    fn save_units(&self, each: &mut Each) -> Result<(), SegmentError> {
        let all = self.windows.saved(&self.dense);
        all.chunks(UNITS_AT_ONCE).try_for_each(|some| each(Piece::Units, 0, &self.units_batch(some)))
    }

    fn units_batch(&self, some: &[Saved]) -> RecordBatch {
        let sets = self.dense.sets.iter();
        let mut by_set: Vec<BinaryBuilder> = sets.map(|_| BinaryBuilder::new()).collect();
        let (mut keys, mut units, mut bytes) = (BinaryBuilder::new(), BinaryBuilder::new(), vec![]);
        for (unit, key, window) in some {
            keys.append_value(self.dense.keys.key(*key));
            bytes.clear();
            put(&mut bytes, window);
            put(&mut bytes, &self.saved_row(*unit));
            units.append_value(&bytes);
            for (set, column) in self.dense.sets.iter().zip(&mut by_set) {
                bytes.clear();
                match window {
                    // A closed window's accumulators are empty: its row is all that is left.
                    Some(SavedWindow { closed: true, .. }) => put(&mut bytes, &self.shown(*unit, &set.places)),
                    _ => set.accumulators.save(*unit as usize, &mut bytes),
                }
                column.append_value(&bytes);
            }
        }
        let heads: [(String, ArrayRef); 2] =
            [("_key".to_owned(), Arc::new(keys.finish())), ("_unit".to_owned(), Arc::new(units.finish()))];
        let column =
            |(set, mut column): (usize, BinaryBuilder)| (format!("_{set}"), Arc::new(column.finish()) as ArrayRef);
        let columns = heads.into_iter().chain(by_set.into_iter().enumerate().map(column));
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    /// Of groups with windows of their own: start and end.
    fn bounds(&self) -> usize {
        if self.windowed { 2 } else { 0 }
    }

    /// What was published of a unit.
    fn saved_row(&self, unit: u32) -> Option<SavedRow> {
        let row = self.dense.rows.get(unit)?;
        let bounds = match row.values[..self.bounds()] {
            [Datum::Word(start), Datum::Word(end)] => {
                Some((EventTime::from_us(start as i64), EventTime::from_us(end as i64)))
            }
            _ => None,
        };
        Some(SavedRow { bounds, stored: row.is_stored(), changed_at: row.at })
    }

    /// By column of a set: what the row shows.
    fn shown(&self, unit: u32, places: &[Option<usize>]) -> Vec<Datum> {
        let row = self.dense.rows.get(unit).map_or(&[][..], |row| &row.values[self.bounds()..]);
        places.iter().map(|place| place.and_then(|place| row.get(place)).cloned().unwrap_or_default()).collect()
    }

    fn save_values(&self, each: &mut Each) -> Result<(), SegmentError> {
        for (set, synopsis, values) in self.dense.sets.iter().enumerate().flat_map(|(number, set)| {
            (0u32..).zip(set.accumulators.values()).map(move |(synopsis, values)| (number, synopsis, values))
        }) {
            let all: Vec<(u32, &Ordered)> = values.into_iter().flat_map(|values| values.iter()).collect();
            for some in all.chunks(ROWS_AT_ONCE) {
                let numbers = UInt32Array::from_iter_values(some.iter().map(|(number, _)| *number));
                let columns: [(&str, ArrayRef); 3] = [
                    ("_keeper", Arc::new(UInt32Array::from_value(synopsis, some.len()))),
                    ("_number", Arc::new(numbers)),
                    ("_value", Arc::new(BinaryArray::from_iter_values(some.iter().map(|(_, value)| bytes_of(value))))),
                ];
                each(Piece::Values, set, &RecordBatch::try_from_iter(columns).expect("columns of one length"))?;
            }
        }
        Ok(())
    }

    /// Goes on from a checkpoint where every tick up to `done` was finished (`None`: the first tick was still to come), with the same
    /// columns. Nothing was put into the state yet; `load` follows.
    ///
    /// # Errors
    /// The ledger cannot begin there.
    pub fn begin_at(&mut self, done: Option<Tick>) -> Result<(), SegmentError> {
        self.resume(done, &[Some(Resumed { saved: 0, shadow: false, done, shown: done.is_some() })], false)
    }

    /// Goes on from a checkpoint. `floor`: up to there everything was published; `sets`: where each goes on from, `None` for one
    /// that is new; `refreshed`: columns that were shown are not any more. Nothing was put into the state yet; `load` follows.
    ///
    /// # Errors
    /// The ledger cannot begin there.
    pub fn resume(
        &mut self,
        floor: Option<Tick>,
        sets: &[Option<Resumed>],
        refreshed: bool,
    ) -> Result<(), SegmentError> {
        self.fresh = !sets.iter().flatten().any(|set| set.shown);
        self.floor = floor.filter(|floor| !self.fresh || self.dense.sets.first_start() <= *floor);
        for (number, resumed) in sets.iter().enumerate() {
            let set = self.dense.sets.get_mut(number);
            let Some(Resumed { done: Some(done), shown, .. }) = *resumed else { continue };
            set.begun = done >= set.start;
            set.entered = !self.shadow && if self.fresh { set.begun } else { shown };
            self.ledgers.begin_at(number, done)?;
        }
        self.refreshed = self.floor.is_some() && (refreshed || self.fresh || self.changelog_reset);
        let ever = |number: &usize| self.dense.sets.start(*number) != Tick::AFTER_ALL;
        self.done = (0..sets.len()).filter(ever).map(|number| sets[number]?.done).min().flatten();
        self.resumed = sets.to_vec();
        Ok(())
    }

    /// The column set that has taken a saved set's place; `shadow`: a shadow had saved it.
    pub fn set_of(&self, saved: usize, shadow: bool) -> Option<usize> {
        self.of_saved(saved, shadow).map(|(set, _)| set)
    }

    /// Instead of `load`ing it, leaves a chunk of the journal where it is: rows of a set, with event times from `first` to `last`, of keys
    /// that are all this state's. Its units are loaded; `thaw` follows.
    pub fn freeze(&mut self, set: usize, chunk: u64, first: EventTime, last: EventTime) {
        self.ledgers.freeze(set, chunk, first, last);
    }

    /// Takes in what the first tick needs.
    ///
    /// # Errors
    /// The journal could not be read, or a segment not be written.
    pub fn thaw(&mut self) -> Result<(), SegmentError> {
        self.ledgers.thaw(&self.dense, None)
    }

    /// Whether any column set goes on from what a shadow has saved, or from what was saved without one.
    pub fn resumes(&self, shadow: bool) -> bool {
        self.resumed.iter().flatten().any(|set| set.shadow == shadow)
    }

    /// The column set that has taken a saved set's place, and the tick at which it was saved.
    fn of_saved(&self, saved: usize, shadow: bool) -> Option<(usize, Tick)> {
        let is = |set: &Resumed| (set.saved, set.shadow) == (saved, shadow);
        let found = self.resumed.iter().enumerate().find_map(|(n, set)| Some((n, set.filter(is)?)));
        found.map(|(set, resumed)| (set, resumed.done.unwrap_or_else(|| self.dense.sets.start(set))))
    }

    /// Takes in a batch that `save` gave of a set, for keys that `owns` accepts. The batches of one state come in their order, with
    /// `values` that begin empty; then those of another.
    ///
    /// # Errors
    /// What is read is no state of this plan, or a segment could not be written.
    pub fn load(
        &mut self,
        (piece, saved_set): (Piece, usize),
        batch: &RecordBatch,
        values: &mut NamedValues,
        owns: impl Fn(&[u8]) -> bool,
    ) -> Result<(), CheckpointError> {
        if piece == Piece::Units {
            return Ok(self.load_units(batch, values, owns)?);
        }
        let Some((set, now)) = self.of_saved(saved_set, values.shadow) else { return Ok(()) };
        match piece {
            Piece::Values => Ok(self.load_values(set, batch, values)?),
            // Those of units are taken in already, and all others are beside groups.
            Piece::Units | Piece::Versions | Piece::Held | Piece::Past => Ok(()),
            Piece::Replaced | Piece::Changed | Piece::Earlier => Ok(()),
            Piece::Ledger => {
                let rows = self.dense.sets.get(set).accumulators.unpack(batch, &self.dense.keys)?;
                if self.windowed {
                    return Err(Damaged("a ledger of a group that has none".to_owned()).into());
                }
                Ok(self.ledgers.load(&self.dense, set, &rows, now)?)
            }
            Piece::Pending => {
                let keys = batch.column(events::KEY).as_binary::<i32>();
                let mine = keys.iter().map(|key| Some(key.is_some_and(&owns))).collect();
                let batch = arrow::compute::filter_record_batch(batch, &mine)
                    .map_err(|e| Damaged(format!("events that are not visible yet: {e}")))?;
                self.insert_later(set, &batch);
                Ok(())
            }
        }
    }

    /// The values of a set, with a place for each of its synopses.
    fn values_of<'v>(&mut self, set: usize, values: &'v mut NamedValues) -> &'v mut Vec<HashMap<u32, Ordered>> {
        values.by_set.resize_with(self.resumed.len(), Vec::new);
        values.by_set[set].resize_with(self.dense.sets.get(set).accumulators.values().len(), HashMap::new);
        &mut values.by_set[set]
    }

    fn load_values(&mut self, set: usize, batch: &RecordBatch, values: &mut NamedValues) -> Result<(), Damaged> {
        let values = self.values_of(set, values);
        let synopses = batch.column(0).as_primitive::<UInt32Type>();
        let numbers = batch.column(1).as_primitive::<UInt32Type>();
        let of_batch = batch.column(2).as_binary::<i32>();
        for row in 0..batch.num_rows() {
            let of = values.get_mut(synopses.value(row) as usize);
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
        (0..self.resumed.len()).for_each(|set| _ = self.values_of(set, values));
        let columns: Vec<&BinaryArray> = batch.columns().iter().map(|column| column.as_binary::<i32>()).collect();
        let [keys, units, by_set @ ..] = &columns[..] else { return Err(Damaged("units without keys".to_owned())) };
        (0..batch.num_rows()).filter(|row| owns(keys.value(*row))).try_for_each(|row| {
            let sets: Vec<&[u8]> = by_set.iter().map(|column| column.value(row)).collect();
            self.load_unit(keys.value(row), units.value(row), &sets, values)
        })
    }

    fn load_unit(&mut self, key: &[u8], mut bytes: &[u8], sets: &[&[u8]], values: &NamedValues) -> Result<(), Damaged> {
        let window: Option<SavedWindow> = get(&mut bytes)?;
        let published: Option<SavedRow> = get(&mut bytes)?;
        // Of a key that two states know, one has published the row.
        let published = published.filter(|_| !self.shadow || window.is_some());
        let key = self.dense.keys.intern(key);
        let unit = self.windows.load(&mut self.dense, key, window);
        let unit = unit.ok_or_else(|| Damaged("a unit of another kind of window".to_owned()))?;
        let closed = window.is_some_and(|window| window.closed);
        let mut row = vec![Datum::Null; self.dense.sets.columns()];
        let mut now = None;
        for (saved, mut bytes) in sets.iter().copied().enumerate() {
            let Some((number, saved_at)) = self.of_saved(saved, values.shadow) else { continue };
            let set = self.dense.sets.get_mut(number);
            if closed {
                let shown: Vec<Datum> = get(&mut bytes)?;
                set.places.iter().zip(shown).for_each(|(place, value)| _ = place.map(|place| row[place] = value));
            } else {
                set.accumulators.load(unit as usize, &mut bytes, saved_at, &values.by_set[number])?;
                now = now.max(Some(saved_at));
            }
        }
        match published {
            Some(published) => {
                if let Some(now) = now {
                    row.clear();
                    self.dense.sets.row(unit as usize, now, &mut row);
                }
                let bounds = published
                    .bounds
                    .into_iter()
                    .flat_map(|(start, end)| [start, end].map(|time| Datum::int(time.us())));
                self.dense.rows.load(unit, key, published, bounds.chain(row).collect());
            }
            None if self.done.is_none() => self.dense.touched.add(unit, false),
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
