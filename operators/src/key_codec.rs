//! Key columns <-> key bytes: equal keys have equal bytes, whatever batch or worker they come from.

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};

pub struct KeyCodec {
    converter: RowConverter,
    types: Vec<DataType>,
}

impl KeyCodec {
    pub fn new(types: &[DataType]) -> Result<KeyCodec, ArrowError> {
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        Ok(KeyCodec { converter, types: types.to_vec() })
    }

    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    pub fn encode(&self, columns: &[ArrayRef]) -> Result<BinaryArray, ArrowError> {
        self.converter.convert_columns(columns)?.try_into_binary()
    }

    pub fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        let parser = self.converter.parser();
        self.converter.convert_rows(keys.map(|key| parser.parse(key)))
    }
}
