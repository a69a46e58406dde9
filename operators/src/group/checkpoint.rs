//! A group's part of a checkpoint: what a state holds once a tick is finished, so that another one goes on from there. Nothing
//! in it names a number of this process but by a table of its own, so any number of workers may read it.
//!
//! | piece | a row is | columns |
//! |---|---|---|
//! | `values` | a value that units name by number | `_keeper`, `_number`, `_value` |
//! | `units` | a unit | `_key`, `_unit`: its window, what was published of it, its accumulators |
//! | `ledger` | an event that some finite window holds | see `accumulators::packed` |
//! | `pending` | an event that is not visible yet | see `events` |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::types::UInt32Type;
use arrow::array::{ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, UInt32Array};
use serde::{Deserialize, Serialize};

use super::{Shared, State, Windows};
use crate::events;
use crate::ledger::SegmentError;
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Ordered};

/// What a batch of a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    Values,
    Units,
    Ledger,
    Pending,
}

/// Takes the batches of a state, piece after piece.
pub type Each<'a> = dyn FnMut(Piece, &RecordBatch) -> Result<(), SegmentError> + 'a;

/// The values that the units and the ledger of one state name, by keeper and number.
#[derive(Default)]
pub struct NamedValues(Vec<HashMap<u32, Ordered>>);

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
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// Rows of a batch at most; of units, whose size is not known, fewer.
const ROWS_AT_ONCE: usize = 64 << 10;
const UNITS_AT_ONCE: usize = 1 << 10;

impl State {
    /// What the state holds, where every tick up to `done` is finished and its changes were taken. `sent_before`: events that
    /// were sent at a dataflow time from there on are left out. Pieces come in their order; empty ones are left out.
    ///
    /// # Errors
    /// A segment of the ledger could not be read, or `each` failed.
    pub fn save(&mut self, sent_before: i64, each: &mut Each) -> Result<(), SegmentError> {
        self.save_values(each)?;
        self.save_units(each)?;
        if let Windows::Trailing(windows) = &mut self.windows {
            let Shared { accumulators, keys, .. } = &self.shared;
            let lanes = accumulators.lanes();
            windows.for_each_kept(|rows| {
                let some = rows.chunks(ROWS_AT_ONCE * lanes);
                some.into_iter().try_for_each(|some| each(Piece::Ledger, &accumulators.pack(some, keys)))
            })?;
        }
        self.pending.save(sent_before).iter().try_for_each(|batch| each(Piece::Pending, batch))
    }

    fn save_units(&self, each: &mut Each) -> Result<(), SegmentError> {
        let all: Vec<(u32, u32, Option<SavedWindow>)> = match &self.windows {
            Windows::Trailing(_) => {
                let keys = 0..self.shared.keys.bound() as u32;
                let there = keys.filter(|key| self.shared.accumulators.is_there(*key as usize));
                there.map(|key| (key, key, None)).collect()
            }
            Windows::Hopping(windows) => windows.saved(),
            Windows::Sessions(windows) => windows.saved(),
        };
        all.chunks(UNITS_AT_ONCE).try_for_each(|some| each(Piece::Units, &self.units_batch(some)))
    }

    fn units_batch(&self, some: &[(u32, u32, Option<SavedWindow>)]) -> RecordBatch {
        let (mut keys, mut units, mut bytes) = (BinaryBuilder::new(), BinaryBuilder::new(), vec![]);
        for (unit, key, window) in some {
            bytes.clear();
            put(&mut bytes, window);
            put(&mut bytes, &self.shared.published.saved(*unit));
            match window {
                // A closed window's accumulators are empty: its row is all that is left.
                Some(SavedWindow { closed: true, .. }) => put(&mut bytes, self.shared.published.values(*unit)),
                _ => self.shared.accumulators.save(*unit as usize, &mut bytes),
            }
            keys.append_value(self.shared.keys.key(*key));
            units.append_value(&bytes);
        }
        let columns: [(&str, ArrayRef); 2] = [("_key", Arc::new(keys.finish())), ("_unit", Arc::new(units.finish()))];
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    fn save_values(&self, each: &mut Each) -> Result<(), SegmentError> {
        for (keeper, values) in (0u32..).zip(self.shared.accumulators.values()) {
            let all: Vec<(u32, &Ordered)> = values.into_iter().flat_map(|values| values.iter()).collect();
            for some in all.chunks(ROWS_AT_ONCE) {
                let numbers = UInt32Array::from_iter_values(some.iter().map(|(number, _)| *number));
                let columns: [(&str, ArrayRef); 3] = [
                    ("_keeper", Arc::new(UInt32Array::from_value(keeper, some.len()))),
                    ("_number", Arc::new(numbers)),
                    ("_value", Arc::new(BinaryArray::from_iter_values(some.iter().map(|(_, value)| bytes_of(value))))),
                ];
                each(Piece::Values, &RecordBatch::try_from_iter(columns).expect("columns of one length"))?;
            }
        }
        Ok(())
    }

    /// Goes on from a checkpoint where every tick up to `done` was finished (`None`: the first tick was still to come). Nothing was
    /// put into the state yet; `load` follows.
    ///
    /// # Errors
    /// The ledger cannot begin there.
    pub fn begin_at(&mut self, done: Option<i64>) -> Result<(), SegmentError> {
        self.done = done;
        match (&mut self.windows, done) {
            (Windows::Trailing(windows), Some(done)) => windows.begin_at(done),
            _ => Ok(()),
        }
    }

    /// Takes in a batch that `save` gave, for keys that `owns` accepts. The batches of one state come in their order, with
    /// `values` that begin empty; then those of another.
    ///
    /// # Errors
    /// What is read is no state of this plan, or a segment could not be written.
    pub fn load(
        &mut self,
        piece: Piece,
        batch: &RecordBatch,
        values: &mut NamedValues,
        owns: impl Fn(&[u8]) -> bool,
    ) -> Result<(), CheckpointError> {
        match piece {
            Piece::Values => Ok(self.load_values(batch, values)?),
            Piece::Units => {
                let (keys, units) = (batch.column(0).as_binary::<i32>(), batch.column(1).as_binary::<i32>());
                let pairs = keys.iter().zip(units).filter_map(|(key, unit)| key.zip(unit));
                Ok(pairs.filter(|(key, _)| owns(key)).try_for_each(|(key, unit)| self.load_unit(key, unit, values))?)
            }
            Piece::Ledger => {
                let rows = self.shared.accumulators.unpack(batch, &self.shared.keys)?;
                let (lanes, now) = (self.shared.accumulators.lanes(), self.now());
                match &mut self.windows {
                    Windows::Trailing(windows) => Ok(windows.load(&rows, lanes, now)?),
                    _ => Err(Damaged("a ledger of a group that has none".to_owned()).into()),
                }
            }
            Piece::Pending => {
                let keys = batch.column(events::KEY).as_binary::<i32>();
                let mine = keys.iter().map(|key| Some(key.is_some_and(&owns))).collect();
                let batch = arrow::compute::filter_record_batch(batch, &mine)
                    .map_err(|e| Damaged(format!("events that are not visible yet: {e}")))?;
                self.insert_later(&batch);
                Ok(())
            }
        }
    }

    fn now(&self) -> i64 {
        self.done.unwrap_or(self.shared.start)
    }

    fn load_values(&self, batch: &RecordBatch, values: &mut NamedValues) -> Result<(), Damaged> {
        values.0.resize_with(self.shared.accumulators.values().len(), HashMap::new);
        let keepers = batch.column(0).as_primitive::<UInt32Type>();
        let numbers = batch.column(1).as_primitive::<UInt32Type>();
        let of_batch = batch.column(2).as_binary::<i32>();
        for row in 0..batch.num_rows() {
            let of = values.0.get_mut(keepers.value(row) as usize);
            let of = of.ok_or_else(|| Damaged("values of a column that is not there".to_owned()))?;
            of.insert(numbers.value(row), get(&mut of_batch.value(row))?);
        }
        Ok(())
    }

    fn load_unit(&mut self, key: &[u8], mut bytes: &[u8], values: &mut NamedValues) -> Result<(), Damaged> {
        // A state without named values has no batch of them.
        values.0.resize_with(self.shared.accumulators.values().len(), HashMap::new);
        let now = self.now();
        let window: Option<SavedWindow> = get(&mut bytes)?;
        let published: Option<SavedRow> = get(&mut bytes)?;
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
        let row: Vec<Datum> = if window.is_some_and(|window| window.closed) {
            get(&mut bytes)?
        } else {
            self.shared.accumulators.load(unit as usize, &mut bytes, now, &values.0)?;
            let mut row = vec![];
            self.shared.accumulators.row(unit as usize, now, &mut row);
            row
        };
        match published {
            Some(published) => self.shared.published.load(unit, key, published, row),
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
