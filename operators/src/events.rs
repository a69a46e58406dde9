//! Events of one group as they go from the worker that read them to the worker that owns their key.
//!
//! | column | what |
//! |---|---|
//! | `_key` (binary) | the key's bytes, see `KeyCodec` |
//! | `_ts` (int64) | event time, in microseconds |
//! | `_visible` (int64) | the tick from which on the event counts |
//! | `_open` (int64), in groups with windows of their own | windows that end before it take the event no more |
//! | one for each distinct `of` | the inputs, null where null or where `of` failed |
//! | `_diff` (int8), in groups whose events may be taken back | 1 for an event that comes, -1 for one that is taken back |

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::keys;

/// The column of keys: bytes, as `KeyCodec` encodes them.
pub const KEY: usize = 0;
/// The column of event times, in microseconds.
pub const TS: usize = 1;
/// The column of the ticks from which on events count, in microseconds.
pub const VISIBLE: usize = 2;
/// The column `_open` of groups with windows of their own; else the inputs begin here.
pub const OPEN: usize = 3;

/// Where the inputs begin.
pub fn first_input(windowed: bool) -> usize {
    if windowed { OPEN + 1 } else { OPEN }
}

/// The schema of events whose inputs have these types. `windowed`: see `_open`.
pub fn schema(inputs: &[DataType], windowed: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("_key", DataType::Binary, false),
        Field::new("_ts", DataType::Int64, false),
        Field::new("_visible", DataType::Int64, false),
    ];
    if windowed {
        fields.push(Field::new("_open", DataType::Int64, false));
    }
    fields.extend(inputs.iter().enumerate().map(|(i, t)| Field::new(format!("_{i}"), t.clone(), true)));
    Arc::new(Schema::new(fields))
}

/// Puts events together: keys from `KeyCodec::encode`, times in microseconds, inputs in the plan's order.
///
/// # Errors
/// Columns of unequal lengths or of other types than the schema's.
pub fn batch(
    schema: &SchemaRef,
    keys: BinaryArray,
    ts: Int64Array,
    visible: Int64Array,
    open: Option<Int64Array>,
    inputs: Vec<ArrayRef>,
) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(ts), Arc::new(visible)];
    columns.extend(open.map(|open| Arc::new(open) as ArrayRef));
    columns.extend(inputs);
    RecordBatch::try_new(schema.clone(), columns)
}

/// The schema of events that may be taken back: with `_diff` behind the others.
pub fn corrected_schema(inputs: &[DataType], windowed: bool) -> SchemaRef {
    let plain = schema(inputs, windowed);
    let diff = Arc::new(Field::new("_diff", DataType::Int8, false));
    Arc::new(Schema::new(plain.fields().iter().cloned().chain([diff]).collect::<Vec<_>>()))
}

/// Says which of some events come (1), and which are taken back (-1). `schema`: see `corrected_schema`.
///
/// # Errors
/// Not as many as there are events.
pub fn with_diffs(schema: &SchemaRef, events: &RecordBatch, diffs: Int8Array) -> Result<RecordBatch, ArrowError> {
    let mut columns = events.columns().to_vec();
    columns.push(Arc::new(diffs));
    RecordBatch::try_new(schema.clone(), columns)
}

/// Parts a batch by the workers that own its keys: (worker, events), without those that have none.
///
/// # Errors
/// None that a batch of `schema` gives.
///
/// # Panics
/// On a batch without keys in its first column.
pub fn split(batch: RecordBatch, workers: usize) -> Result<Vec<(u64, RecordBatch)>, ArrowError> {
    if workers == 1 {
        return Ok(vec![(0, batch)]);
    }
    let mut rows = vec![Vec::new(); workers];
    let key_column: &BinaryArray = arrow::array::AsArray::as_binary(batch.column(KEY));
    for (at, key) in key_column.iter().enumerate() {
        let owner = keys::owner(keys::hash(key.unwrap_or_default()), workers);
        rows[owner as usize].push(at as u32);
    }
    let part = |(worker, rows): (usize, Vec<u32>)| {
        (!rows.is_empty()).then(|| Ok((worker as u64, take_record_batch(&batch, &UInt32Array::from(rows))?)))
    };
    rows.into_iter().enumerate().filter_map(part).collect()
}
