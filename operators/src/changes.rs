//! Changes of a group's rows as they leave for the sinks: `[keys..] [_start _end] [columns..] _time _diff`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_clocks::{Tick, Time};

use crate::key_codec::KeyCodec;
use crate::keys::Interner;
use crate::value::{Column, Datum};

/// The schema of a group's changes. `_time` is the tick, in microseconds; `_diff` is -1 for a row that goes, 1 for one that
/// comes. `_start` and `_end` are there where `windowed`.
pub fn schema(keys: &[(String, DataType)], windowed: bool, columns: &[(String, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(String, DataType)| Field::new(name, data_type.clone(), true);
    let mut fields: Vec<Field> = keys.iter().map(field).collect();
    if windowed {
        let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        fields.extend(["_start", "_end"].map(|name| Field::new(name, time.clone(), false)));
    }
    fields.extend(columns.iter().map(field));
    fields.push(Field::new("_time", DataType::Int64, false));
    fields.push(Field::new("_diff", DataType::Int8, false));
    Arc::new(Schema::new(fields))
}

/// Names keys by their numbers.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// Of the group.
    pub codec: &'a KeyCodec,
    /// Of this worker.
    pub numbers: &'a Interner,
}

/// Collects changes; keys are named by their number.
pub struct Changes {
    schema: SchemaRef,
    keys: Vec<u32>,
    columns: Vec<Column>,
    times: Vec<i64>,
    diffs: Vec<i8>,
}

impl Changes {
    /// `keys`: how many columns of the schema are the key's.
    pub fn new(schema: SchemaRef, keys: usize) -> Changes {
        let columns =
            schema.fields()[keys..schema.fields().len() - 2].iter().map(|f| Column::new(f.data_type())).collect();
        Changes { schema, keys: vec![], columns, times: vec![], diffs: vec![] }
    }

    /// `row`: a datum for each column between the key's and `_time`; those that are left out are null. `time`: the tick.
    pub fn push(&mut self, key: u32, row: &[Datum], time: Tick, diff: i8) {
        self.keys.push(key);
        for (at, column) in self.columns.iter_mut().enumerate() {
            column.push(row.get(at).unwrap_or(&Datum::Null));
        }
        self.times.push(time.us());
        self.diffs.push(diff);
    }

    /// The changes since the last call, in the order they were pushed; `None`: there are none.
    ///
    /// # Panics
    /// On a key that is not of this interner and codec, and on a row that is not of the schema.
    pub fn take(&mut self, keys: &Keys) -> Option<RecordBatch> {
        if self.keys.is_empty() {
            return None;
        }
        let bytes = self.keys.drain(..).map(|n| keys.numbers.key(n));
        let mut columns: Vec<ArrayRef> = keys.codec.decode(bytes).expect("keys that were encoded here");
        columns.extend(self.columns.iter_mut().map(Column::finish));
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut self.times))));
        columns.push(Arc::new(Int8Array::from(std::mem::take(&mut self.diffs))));
        debug_assert!(columns.iter().all(|c| c.len() == columns[0].len()));
        Some(RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the schema's types"))
    }
}
