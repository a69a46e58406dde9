//! Labels: the keys and moments at which rows are asked for.
//!
//! | column | what |
//! |---|---|
//! | `_key` (binary) | the key's bytes, see `KeyCodec` |
//! | `_at` (int64) | the moment, in microseconds: of what is known at arrival a tick |
//! | `_row` (uint64) | the label's number, which its row has too |

use std::sync::{Arc, LazyLock};

use arrow::array::{BinaryArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

/// The column of keys: bytes, as `KeyCodec` encodes them.
pub const KEY: usize = 0;
/// The column of moments, in microseconds.
pub const AT: usize = 1;
/// The column of numbers.
pub const ROW: usize = 2;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name, data_type| Field::new(name, data_type, false);
    let fields = vec![field("_key", DataType::Binary), field("_at", DataType::Int64), field("_row", DataType::UInt64)];
    Arc::new(Schema::new(fields))
});

/// The schema of labels.
pub fn schema() -> &'static SchemaRef {
    &SCHEMA
}

/// Puts labels together: keys from `KeyCodec::encode`, moments in microseconds.
///
/// # Errors
/// Columns of unequal lengths, or with nulls.
pub fn batch(keys: BinaryArray, at: Int64Array, row: UInt64Array) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema().clone(), vec![Arc::new(keys), Arc::new(at), Arc::new(row)])
}
