//! A group's part of a checkpoint: what a state holds once a tick is finished, so that another one goes on from there. Nothing
//! in it names a number of this process but by a table of its own, so any number of workers may read it.
//!
//! | part | a row is | columns |
//! |---|---|---|
//! | `units` | a unit | `_key`, `_unit`: its window, what was published of it, its accumulators |
//! | `values` | a value that units name by number | `_keeper`, `_number`, `_value` |
//! | `ledger` | an event that some finite window holds | see `accumulators::packed` |
//! | `pending` | an event that is not visible yet | see `events` |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::types::UInt32Type;
use arrow::array::{ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, UInt32Array};
use serde::{Deserialize, Serialize};

use super::{State, Windows};
use crate::events;
use crate::ledger::SegmentError;
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Ordered};

/// What is written down of a state. Empty parts are left out.
#[derive(Default)]
pub struct Saved {
    pub units: Vec<RecordBatch>,
    pub values: Vec<RecordBatch>,
    pub ledger: Vec<RecordBatch>,
    pub pending: Vec<RecordBatch>,
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
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// Rows of a part that are written at once.
const ROWS_AT_ONCE: usize = 64 << 10;

impl State {
    /// What the state holds, where every tick up to `done` is finished and its changes were taken. `sent_before`: events that
    /// were sent at a dataflow time from there on are left out.
    ///
    /// # Errors
    /// A segment of the ledger could not be read.
    pub fn save(&mut self, sent_before: i64) -> Result<Saved, SegmentError> {
        let mut saved = Saved { units: self.save_units(), values: self.save_values(), ..Saved::default() };
        if let Windows::Trailing(windows) = &mut self.windows {
            let lanes = self.shared.accumulators.lanes();
            windows.for_each_kept(|rows| {
                for some in rows.chunks(ROWS_AT_ONCE * lanes) {
                    saved.ledger.push(self.shared.accumulators.pack(some, &self.shared.keys));
                }
            })?;
        }
        saved.pending = self.pending.save(sent_before);
        Ok(saved)
    }

    fn save_units(&self) -> Vec<RecordBatch> {
        let mut batches = vec![];
        let (mut keys, mut units, mut count, mut bytes) = (BinaryBuilder::new(), BinaryBuilder::new(), 0, vec![]);
        let all = match &self.windows {
            Windows::Trailing(_) => {
                let keys = 0..self.shared.keys.bound() as u32;
                let there = keys.filter(|key| self.shared.accumulators.is_there(*key as usize));
                there.map(|key| (key, key, None)).collect()
            }
            Windows::Hopping(windows) => windows.saved(),
            Windows::Sessions(windows) => windows.saved(),
        };
        let last = all.len().saturating_sub(1);
        for (at, (unit, key, window)) in all.into_iter().enumerate() {
            bytes.clear();
            put(&mut bytes, &window);
            put(&mut bytes, &self.shared.published.saved(unit));
            match window {
                // A closed window's accumulators are empty: its row is all that is left.
                Some(SavedWindow { closed: true, .. }) => put(&mut bytes, self.shared.published.values(unit)),
                _ => self.shared.accumulators.save(unit as usize, &mut bytes),
            }
            keys.append_value(self.shared.keys.key(key));
            units.append_value(&bytes);
            count += 1;
            if count == ROWS_AT_ONCE || at == last {
                let columns: [(&str, ArrayRef); 2] =
                    [("_key", Arc::new(keys.finish())), ("_unit", Arc::new(units.finish()))];
                batches.push(RecordBatch::try_from_iter(columns).expect("columns of one length"));
                count = 0;
            }
        }
        batches
    }

    fn save_values(&self) -> Vec<RecordBatch> {
        let all = self.shared.accumulators.saved_values();
        let of = |(keeper, values): (u32, &HashMap<u32, Ordered>)| {
            values.iter().map(|(number, value)| (keeper, *number, bytes_of(value))).collect::<Vec<_>>()
        };
        let named: Vec<(u32, u32, Vec<u8>)> = (0..).zip(&all).flat_map(of).collect();
        if named.is_empty() {
            return vec![];
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("_keeper", Arc::new(UInt32Array::from_iter_values(named.iter().map(|(keeper, ..)| *keeper)))),
            ("_number", Arc::new(UInt32Array::from_iter_values(named.iter().map(|(_, number, _)| *number)))),
            ("_value", Arc::new(BinaryArray::from_iter_values(named.iter().map(|(.., value)| value)))),
        ];
        vec![RecordBatch::try_from_iter(columns).expect("columns of one length")]
    }

    /// Takes in what a state held when every tick up to `done` was finished (`None`: its first tick was still to come), for keys
    /// that `owns` accepts. One that nothing was put into yet may take in the parts of many, one after the other.
    ///
    /// # Errors
    /// What is read is no state of this plan, or a segment could not be written.
    pub fn load(
        &mut self,
        saved: &Saved,
        done: Option<i64>,
        owns: impl Fn(&[u8]) -> bool,
    ) -> Result<(), CheckpointError> {
        self.done = done;
        let done = done.unwrap_or(self.shared.start);
        let values = self.load_values(&saved.values)?;
        for batch in &saved.units {
            let (keys, units) = (batch.column(0).as_binary::<i32>(), batch.column(1).as_binary::<i32>());
            for (key, unit) in keys.iter().zip(units).filter_map(|(key, unit)| key.zip(unit)) {
                if owns(key) {
                    self.load_unit(key, unit, done, &values)?;
                }
            }
        }
        if let Windows::Trailing(windows) = &mut self.windows {
            for batch in &saved.ledger {
                let rows = self.shared.accumulators.unpack(batch, &self.shared.keys)?;
                windows.load(&rows, self.shared.accumulators.lanes(), done)?;
            }
        }
        for batch in &saved.pending {
            let keys = batch.column(events::KEY).as_binary::<i32>();
            let mine = keys.iter().map(|key| Some(key.is_some_and(&owns))).collect();
            let batch = arrow::compute::filter_record_batch(batch, &mine)
                .map_err(|e| Damaged(format!("events that are not visible yet: {e}")))?;
            self.insert_later(&batch);
        }
        Ok(())
    }

    fn load_values(&self, batches: &[RecordBatch]) -> Result<Vec<HashMap<u32, Ordered>>, Damaged> {
        let mut all = self.shared.accumulators.saved_values();
        all.iter_mut().for_each(HashMap::clear);
        for batch in batches {
            let keepers = batch.column(0).as_primitive::<UInt32Type>();
            let numbers = batch.column(1).as_primitive::<UInt32Type>();
            let values = batch.column(2).as_binary::<i32>();
            for row in 0..batch.num_rows() {
                let of = all.get_mut(keepers.value(row) as usize);
                let of = of.ok_or_else(|| Damaged("values of a column that is not there".to_owned()))?;
                of.insert(numbers.value(row), get(&mut values.value(row))?);
            }
        }
        Ok(all)
    }

    fn load_unit(
        &mut self,
        key: &[u8],
        mut bytes: &[u8],
        done: i64,
        values: &[HashMap<u32, Ordered>],
    ) -> Result<(), Damaged> {
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
            self.shared.accumulators.load(unit as usize, &mut bytes, done, values)?;
            let mut row = vec![];
            self.shared.accumulators.row(unit as usize, done, &mut row);
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
