//! Changes of a group's rows as they leave for the sinks: `[keys..] [_start _end] [columns..] _time _diff`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

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

    /// `bounds`: of the window, where the schema has them; `row`: a datum for each column of the row; `time`: the tick.
    pub fn push(&mut self, key: u32, bounds: Option<(i64, i64)>, row: &[Datum], time: i64, diff: i8) {
        self.keys.push(key);
        let mut columns = self.columns.iter_mut();
        if let Some((start, end)) = bounds {
            [start, end].iter().zip(&mut columns).for_each(|(bound, column)| column.push(&Datum::int(*bound)));
        }
        columns.zip(row).for_each(|(column, datum)| column.push(datum));
        self.times.push(time);
        self.diffs.push(diff);
    }

    /// How many changes there are to take.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The changes since the last call, in the order they were pushed.
    ///
    /// # Panics
    /// On a key that is not of this interner and codec, and on a row that is not of the schema.
    pub fn take(&mut self, codec: &KeyCodec, interner: &Interner) -> RecordBatch {
        let keys = codec.decode(self.keys.iter().map(|n| interner.key(*n))).expect("keys that were encoded here");
        let mut columns: Vec<ArrayRef> = keys;
        columns.extend(self.columns.iter_mut().map(Column::finish));
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut self.times))));
        columns.push(Arc::new(Int8Array::from(std::mem::take(&mut self.diffs))));
        self.keys.clear();
        debug_assert!(columns.iter().all(|c| c.len() == columns[0].len()));
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the schema's types")
    }
}
