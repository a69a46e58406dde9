//! What tests of the formats that others write have in common.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value as Json, json};

use super::{Decoder, Message, text};
use crate::Wanted;

/// These columns, wanted of a record.
pub fn wanted(columns: &[(&str, DataType)]) -> Wanted {
    let fields: Vec<Field> = columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect();
    Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 }
}

/// The values of one record: `lost` where one does not decode. `None`: it is malformed.
pub fn values(decoder: &mut dyn Decoder, bytes: &[u8]) -> Option<Vec<Json>> {
    decoder.push(&Message::of(bytes));
    let decoded = decoder.finish();
    if decoded.malformed.is_some() {
        return None;
    }
    let value = |column: usize| {
        if decoded.undecoded[column].is_some() {
            return json!("lost");
        }
        let mut out = vec![];
        text::write_value(&mut out, decoded.batch.column(column), 0);
        serde_json::from_slice(&out).unwrap()
    };
    Some((0..decoded.batch.num_columns()).map(value).collect())
}
