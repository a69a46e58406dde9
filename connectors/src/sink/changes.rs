//! A batch of changes, its columns by name: what every sink reads of it.

use std::collections::HashMap;

use arrow::array::types::{Int8Type, Int64Type, TimestampMicrosecondType};
use arrow::array::{AsArray, RecordBatch};
use headwater_clocks::{EventTime, Tick};

use super::{GroupShape, RowText};
use crate::format::text::Object;

/// The rows that come in a batch of changes, as a reader of a store would see them.
pub fn texts(shape: &GroupShape, batch: &RecordBatch) -> Vec<RowText> {
    let changes = Changes::new(shape, batch);
    (0..batch.num_rows()).filter(|row| changes.diffs[*row] > 0).map(|row| changes.text(row)).collect()
}

pub(super) struct Changes<'a> {
    pub key: Object<'a>,
    pub row: Object<'a>,
    times: &'a [i64],
    pub diffs: &'a [i8],
    windows: Option<(&'a [i64], &'a [i64])>,
}

impl<'a> Changes<'a> {
    pub fn new(shape: &GroupShape, batch: &'a RecordBatch) -> Changes<'a> {
        let last = batch.num_columns() - 1;
        let us = |i: usize| &batch.column(i).as_primitive::<TimestampMicrosecondType>().values()[..];
        Changes {
            key: Object::new(batch, 0..shape.keys),
            row: Object::new(batch, shape.columns()),
            times: batch.column(last - 1).as_primitive::<Int64Type>().values(),
            diffs: batch.column(last).as_primitive::<Int8Type>().values(),
            windows: shape.windowed().then(|| (us(shape.keys), us(shape.keys + 1))),
        }
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// The tick of a change.
    pub fn time(&self, row: usize) -> Tick {
        Tick::from_us(self.times[row])
    }

    /// Start and end of a row's window.
    pub fn window(&self, row: usize) -> Option<(EventTime, EventTime)> {
        self.windows.map(|(starts, ends)| (EventTime::from_us(starts[row]), EventTime::from_us(ends[row])))
    }

    /// The last change of each key and window, in the batch's order, with what `write_key` calls it. Of two changes at
    /// one tick the row that now is comes last, whatever their order.
    pub fn newest(&self, write_key: impl Fn(&mut Vec<u8>, usize)) -> Vec<(Vec<u8>, usize)> {
        let mut newest: HashMap<Vec<u8>, usize> = HashMap::with_capacity(self.len());
        let mut key = Vec::new();
        for row in 0..self.len() {
            key.clear();
            write_key(&mut key, row);
            match newest.get_mut(&key) {
                Some(last) if self.order(row) >= self.order(*last) => *last = row,
                Some(_) => {}
                None => {
                    newest.insert(key.clone(), row);
                }
            }
        }
        let mut newest: Vec<_> = newest.into_iter().collect();
        newest.sort_unstable_by_key(|(_, row)| *row);
        newest
    }

    /// A row as a reader of a store would see it.
    fn text(&self, row: usize) -> RowText {
        let text = |object: &Object| {
            let mut out = vec![];
            object.write(&mut out, row);
            String::from_utf8(out).expect("JSON is text")
        };
        RowText { key: text(&self.key), window: self.window(row), row: text(&self.row), changed_at: self.time(row) }
    }

    fn order(&self, row: usize) -> (Tick, i8) {
        (self.time(row), self.diffs[row])
    }
}
