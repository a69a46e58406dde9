//! Key columns <-> key bytes: equal keys have equal bytes, whatever batch or worker they come from.

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};

/// Of one group, for its types of key columns.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int64Array, StringArray};
/// use arrow::datatypes::DataType;
/// use headwater_operators::key_codec::KeyCodec;
///
/// let codec = KeyCodec::new(&[DataType::Int64, DataType::Utf8])?;
/// let columns: Vec<ArrayRef> =
///     vec![Arc::new(Int64Array::from(vec![1, 1])), Arc::new(StringArray::from(vec!["a", "b"]))];
/// let keys = codec.encode(&columns)?;
/// assert_eq!(codec.decode(keys.iter().flatten())?, columns);
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
pub struct KeyCodec {
    converter: RowConverter,
    types: Vec<DataType>,
}

impl KeyCodec {
    /// # Errors
    /// A type that no key can have.
    pub fn new(types: &[DataType]) -> Result<KeyCodec, ArrowError> {
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        Ok(KeyCodec { converter, types: types.to_vec() })
    }

    /// Of the key columns, in their order.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Key columns, without nulls -> one key a row.
    ///
    /// # Errors
    /// Columns of other types.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<BinaryArray, ArrowError> {
        self.converter.convert_columns(columns)?.try_into_binary()
    }

    /// Keys that this codec encoded -> their columns.
    ///
    /// # Errors
    /// A text that is no UTF-8.
    ///
    /// # Panics
    /// On most bytes that are no key.
    pub fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        let parser = self.converter.parser();
        self.converter.convert_rows(keys.map(|key| parser.parse(key)))
    }
}
