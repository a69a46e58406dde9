//! Debezium's types: what a value in an envelope's row is, by the envelope's schema part, or without one by the column's own type.
//!
//! | in the row | with a schema part | without one |
//! |---|---|---|
//! | a decimal: bytes in base64 | by its scale | for a decimal column, by the scale of that |
//! | a decimal of any scale: an object of scale and bytes | as it says | as it says |
//! | a time: an integer | in milli-, micro- or nanoseconds, as it is called | in the source's `time_unit` |
//! | a date: days since 1970 | as it says | for a date column |
//! | a time of day: an integer | in milli-, micro- or nanoseconds | (does not decode) |
//! | a value that was not in the log | does not decode | does not decode |
//!
//! Where `json = { numbers_as_text = true }`, a text without a schema part is a number as it stands.

use arrow::datatypes::DataType;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value as Json;

use crate::Wanted;
use crate::format::time::integer_us;
use crate::format::value::{Leniency, Value, signed};

/// What stands for a value that the database has not written to its log, since it has not changed.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The same as bytes.
const UNAVAILABLE_BYTES: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";

const DAY_US: i64 = 86_400_000_000;

/// What the values of the wanted columns are.
pub(super) struct Types {
    columns: Vec<(Vec<String>, DataType)>,
    leniency: Leniency,
    /// The schema part that is known, as its text, and what it says of each column.
    schema: String,
    said: Vec<Said>,
}

/// What a schema part says of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    /// There is none.
    Nothing,
    AsItStands,
    Decimal(i8),
    /// A time, in so many nanoseconds.
    Time(i64),
    Days,
    OfDay(i64),
}

impl Types {
    pub fn new(wanted: &Wanted, leniency: Leniency) -> Types {
        let column = |(path, field): (crate::Path, &arrow::datatypes::FieldRef)| {
            (path.names().to_vec(), field.data_type().clone())
        };
        let columns: Vec<_> = wanted.paths().into_iter().zip(wanted.schema.fields()).map(column).collect();
        Types { said: vec![Said::Nothing; columns.len()], columns, leniency, schema: String::new() }
    }

    /// Values are as this schema part says; empty: there is none.
    pub fn of_schema(&mut self, text: &str) {
        if text == self.schema {
            return;
        }
        self.schema = text.to_owned();
        let schema: Json = serde_json::from_str(text).unwrap_or_default();
        let row = field(&schema, "after");
        let of_column = |(names, _): &(Vec<String>, DataType)| {
            let Some(row) = row else { return Said::Nothing };
            names.iter().try_fold(row, |inside, name| field(inside, name)).map_or(Said::AsItStands, said)
        };
        self.said = self.columns.iter().map(of_column).collect();
    }

    /// What a value is. `None`: nobody knows it. `bytes` is memory.
    pub fn value<'a>(&self, column: usize, value: Value<'a>, bytes: &'a mut Vec<u8>) -> Option<Value<'a>> {
        let ((_, data_type), said) = (&self.columns[column], self.said[column]);
        let is_number =
            matches!(data_type, DataType::Decimal128(..)) || data_type.is_floating() || data_type.is_integer();
        let is_time = matches!(data_type, DataType::Timestamp(..));
        match value {
            Value::Text(UNAVAILABLE | UNAVAILABLE_BYTES) => None,
            Value::Nested(text) if text.contains(UNAVAILABLE) => None,
            Value::Nested(text) if is_number => of_any_scale(text).or(Some(value)),
            Value::Text(text) if is_number => match (said, data_type) {
                (Said::Decimal(scale), _) => Some(decimal(text, scale)?),
                (Said::Nothing, DataType::Decimal128(_, scale)) if !self.leniency.numbers_as_text => {
                    Some(decimal(text, *scale)?)
                }
                _ => Some(value),
            },
            Value::Text(text) if *data_type == DataType::Binary => {
                bytes.clear();
                BASE64_STANDARD.decode_vec(text, bytes).ok()?;
                Some(Value::Bytes(bytes))
            }
            Value::Integer(_) => {
                let number = || i64::try_from(value.integer()?).ok();
                match (said, data_type) {
                    (Said::Time(unit), _) if is_time => integer_us(value.integer()?, unit).map(Value::Time),
                    (Said::Days, _) if is_time => number()?.checked_mul(DAY_US).map(Value::Time),
                    (Said::Days | Said::Nothing, DataType::Date32) => number()?.try_into().ok().map(Value::Date),
                    (Said::OfDay(unit), DataType::Time64(_)) => integer_us(value.integer()?, unit).map(Value::OfDay),
                    _ => Some(value),
                }
            }
            other => Some(other),
        }
    }
}

/// A field of a struct, as a schema part has it.
fn field<'a>(of: &'a Json, name: &str) -> Option<&'a Json> {
    of.get("fields")?.as_array()?.iter().find(|field| field.get("field").and_then(Json::as_str) == Some(name))
}

fn said(field: &Json) -> Said {
    match field.get("name").and_then(Json::as_str).unwrap_or_default() {
        "org.apache.kafka.connect.data.Decimal" => {
            let scale = field.get("parameters").and_then(|all| all.get("scale"));
            let scale = scale.and_then(Json::as_str).and_then(|scale| scale.parse().ok());
            scale.map_or(Said::AsItStands, Said::Decimal)
        }
        "org.apache.kafka.connect.data.Timestamp" | "io.debezium.time.Timestamp" => Said::Time(1_000_000),
        "io.debezium.time.MicroTimestamp" => Said::Time(1_000),
        "io.debezium.time.NanoTimestamp" => Said::Time(1),
        "org.apache.kafka.connect.data.Date" | "io.debezium.time.Date" => Said::Days,
        "org.apache.kafka.connect.data.Time" | "io.debezium.time.Time" => Said::OfDay(1_000_000),
        "io.debezium.time.MicroTime" => Said::OfDay(1_000),
        "io.debezium.time.NanoTime" => Said::OfDay(1),
        _ => Said::AsItStands,
    }
}

/// The decimal whose digits these bytes are.
fn decimal(text: &str, scale: i8) -> Option<Value<'static>> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    Some(Value::Decimal(signed(&bytes)?, scale))
}

/// A decimal that says its scale itself: `{"scale": 2, "value": "BNI="}`.
fn of_any_scale(text: &str) -> Option<Value<'static>> {
    let object: Json = serde_json::from_str(text).ok()?;
    let scale = i8::try_from(object.get("scale")?.as_i64()?).ok()?;
    decimal(object.get("value")?.as_str()?, scale)
}
