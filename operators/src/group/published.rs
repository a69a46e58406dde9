//! What a group has published: the row of each unit as its sinks know it, and what they have not been told yet.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::checkpoint::SavedRow;
use super::touched::Touched;
use crate::changes::Changes;
use crate::key_codec::KeyCodec;
use crate::keys::Interner;
use crate::value::Datum;

/// What a group's sinks ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs {
    /// A changelog: every change at every tick.
    pub changes: bool,
    /// A store: from this tick on the newest row of each unit that changed, beginning with every row there is.
    pub rows_from: Option<i64>,
}

/// Start and end of a window.
pub type Bounds = (i64, i64);

/// A row that is to be published.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub key: u32,
    /// Of a group with windows of its own.
    pub bounds: Option<Bounds>,
    pub values: &'a [Datum],
    /// Whether the store has it.
    pub stored: bool,
}

/// The row of a unit as it was last published.
#[derive(Clone, Default)]
struct Last {
    values: Option<Box<[Datum]>>,
    key: u32,
    bounds: Option<Bounds>,
    stored: bool,
    changed_at: i64,
}

pub struct Published {
    outputs: Outputs,
    units: Vec<Last>,
    changes: Changes,
    /// For the store: rows that went. Those that came are read when it asks.
    latest: Changes,
    stale: Touched,
    nothing: Vec<Datum>,
    /// Changes up to there are not told.
    muted_until: i64,
    /// Whether every row is due; and whether any was ever told. While an image is due rows that go are told too: another worker's store
    /// may have taken what was sent before for a part of it.
    image_due: bool,
    told: bool,
    /// Rows that the store has; and those that came, went or became another, ever.
    pub rows: u64,
    pub changed: u64,
}

impl Published {
    /// `schema`: of the changes; `columns`: how many of its columns are the row's values.
    pub fn new(schema: SchemaRef, keys: usize, columns: usize, outputs: Outputs) -> Published {
        Published {
            outputs,
            units: vec![],
            changes: Changes::new(schema.clone(), keys),
            latest: Changes::new(schema, keys),
            stale: Touched::default(),
            nothing: vec![Datum::Null; columns],
            muted_until: i64::MIN,
            image_due: true,
            told: false,
            rows: 0,
            changed: 0,
        }
    }

    pub fn grow(&mut self, units: usize) {
        self.units.resize_with(units, Last::default);
        self.stale.grow(units);
    }

    /// The row of a unit at a tick, or that it has none. Notes what that changes.
    pub fn publish(&mut self, unit: u32, row: Option<Row>, tick: i64) {
        let last = &mut self.units[unit as usize];
        let same = match (&last.values, &row) {
            (None, None) => true,
            (Some(old), Some(new)) => **old == *new.values && last.bounds == new.bounds,
            _ => false,
        };
        if same {
            return;
        }
        if self.outputs.changes && tick > self.muted_until {
            if let Some(old) = &last.values {
                self.changes.push(last.key, last.bounds, old, tick, -1);
            }
            if let Some(new) = &row {
                self.changes.push(new.key, new.bounds, new.values, tick, 1);
            }
        }
        self.changed += 1;
        let start = |bounds: Option<Bounds>| bounds.map(|(start, _)| start);
        let moved = row.is_none_or(|new| start(new.bounds) != start(last.bounds));
        if last.values.is_some() && last.stored && moved && self.outputs.rows_from.is_some() && self.told {
            self.latest.push(last.key, last.bounds, &self.nothing, tick, -1);
        }
        self.rows += u64::from(row.is_some_and(|new| new.stored));
        self.rows -= u64::from(last.values.is_some() && last.stored);
        last.changed_at = tick;
        let Some(new) = row else {
            last.values = None;
            return;
        };
        match &mut last.values {
            Some(old) => old.clone_from_slice(new.values),
            none => *none = Some(new.values.into()),
        }
        (last.key, last.bounds, last.stored) = (new.key, new.bounds, new.stored);
        if new.stored && self.outputs.rows_from.is_some() {
            self.stale.add(unit);
        }
    }

    /// A unit's row leaves the store at a tick, which is no change.
    pub fn leave_store(&mut self, unit: u32, tick: i64) {
        let last = &mut self.units[unit as usize];
        let was_stored = std::mem::replace(&mut last.stored, false);
        if !was_stored || last.values.is_none() {
            return;
        }
        self.rows -= 1;
        if self.outputs.rows_from.is_some() && self.told {
            self.latest.push(last.key, last.bounds, &self.nothing, tick, -1);
        }
    }

    /// A unit is forgotten, which is no change either: its row has left the store.
    pub fn forget(&mut self, unit: u32) {
        let last = &mut self.units[unit as usize];
        debug_assert!(last.values.is_none() || !last.stored);
        last.values = None;
    }

    /// Nothing is told before `announce` tells what is there then.
    pub fn mute_until(&mut self, tick: i64) {
        self.muted_until = tick;
    }

    /// Tells every row that the store has as one that comes, or every row that may still change (`all`).
    pub fn announce(&mut self, tick: i64, all: bool) {
        for last in self.units.iter().filter(|last| (last.stored || all) && self.outputs.changes) {
            if let Some(values) = &last.values {
                self.changes.push(last.key, last.bounds, values, tick, 1);
            }
        }
    }

    /// What was published of a unit.
    pub fn saved(&self, unit: u32) -> Option<SavedRow> {
        let last = &self.units[unit as usize];
        let Last { bounds, stored, changed_at, .. } = *last;
        last.values.is_some().then_some(SavedRow { bounds, stored, changed_at })
    }

    pub fn values(&self, unit: u32) -> &[Datum] {
        self.units[unit as usize].values.as_deref().unwrap_or_default()
    }

    /// What was published of a unit before.
    pub fn load(&mut self, unit: u32, key: u32, saved: SavedRow, values: Vec<Datum>) {
        let SavedRow { bounds, stored, changed_at } = saved;
        self.rows += u64::from(stored);
        self.units[unit as usize] = Last { values: Some(values.into()), key, bounds, stored, changed_at };
    }

    /// Whether some changes were not taken yet, so that they may name a key that is gone.
    pub fn has_untaken(&self) -> bool {
        !self.changes.is_empty() || !self.latest.is_empty()
    }

    /// The changes since the last call (see `changes`), in order of tick; of a unit's change the row that goes comes first.
    pub fn take_changes(&mut self, codec: &KeyCodec, keys: &Interner) -> Option<RecordBatch> {
        (!self.changes.is_empty()).then(|| self.changes.take(codec, keys))
    }

    /// The newest rows of the units that changed since the last call, once `done` has reached the tick from which on rows are
    /// asked for (`rows_by` at the latest): at first of every unit.
    pub fn take_rows(&mut self, done: i64, rows_by: i64, codec: &KeyCodec, keys: &Interner) -> Option<RecordBatch> {
        let from = self.outputs.rows_from?.min(rows_by);
        if done < from {
            return None;
        }
        self.told = true;
        let stale = self.stale.take();
        let units = if std::mem::take(&mut self.image_due) { (0..self.units.len() as u32).collect() } else { stale };
        for unit in units {
            let last = &self.units[unit as usize];
            if let Some(values) = last.values.as_ref().filter(|_| last.stored) {
                self.latest.push(last.key, last.bounds, values, last.changed_at, 1);
            }
        }
        (!self.latest.is_empty()).then(|| self.latest.take(codec, keys))
    }

    /// The store has what was loaded.
    pub fn spare_image(&mut self) {
        (self.image_due, self.told) = (false, true);
    }

    /// From this tick on every row is given once more.
    pub fn begin_image(&mut self, from: i64) {
        self.outputs.rows_from = self.outputs.rows_from.map(|earlier| earlier.max(from));
        self.image_due = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::types::{Int8Type, Int64Type};
    use arrow::array::{ArrayRef, AsArray, StringArray};
    use arrow::datatypes::DataType;

    use super::*;

    /// Rows that were sent before an image may reach a store of another worker within it.
    #[test]
    fn what_goes_while_an_image_is_due_is_told() {
        let codec = KeyCodec::new(&[DataType::Utf8]).unwrap();
        let card: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let encoded = codec.encode(&[card]).unwrap();
        let mut keys = Interner::new(0);
        let numbers = [keys.intern(encoded.value(0)), keys.intern(encoded.value(1))];
        let columns = [("n".to_owned(), DataType::Int64)];
        let schema = crate::changes::schema(&[("card".to_owned(), DataType::Utf8)], true, &columns);
        let mut published = Published::new(schema, 1, 1, Outputs { changes: false, rows_from: Some(0) });
        published.grow(2);
        let values = [Datum::Null];
        let row = |key| Some(Row { key, bounds: Some((0, 5)), values: &values, stored: true });
        (0..2).for_each(|unit| published.publish(unit, row(numbers[unit as usize]), 1));
        published.leave_store(1, 2);
        let told = |published: &mut Published, done| {
            published.take_rows(done, i64::MAX, &codec, &keys).map_or(vec![], |rows| {
                let times = rows["_time"].as_primitive::<Int64Type>().values().to_vec();
                times.into_iter().zip(rows["_diff"].as_primitive::<Int8Type>().values().to_vec()).collect::<Vec<_>>()
            })
        };
        assert_eq!(told(&mut published, 2), [(1, 1)], "nothing was there to go");
        published.begin_image(6);
        published.leave_store(0, 5);
        assert_eq!(told(&mut published, 5), []);
        assert_eq!(told(&mut published, 6), [(5, -1)]);
    }
}
