//! The types of columns: as the job sees them, and joined over all files by name.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::{Error, Result};

/// `Timestamp(us, UTC)`: how every time is handed on.
pub(super) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type that the job sees for a type in a file. Types that it cannot use stay as they are.
pub(super) fn seen_as(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(..) => micros(),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, values) => seen_as(values),
        DataType::Date64 => DataType::Date32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Float16 => DataType::Float32,
        other => other.clone(),
    }
}

/// The type that a column is best decoded to: strings at once to what they are seen as, and without a dictionary.
pub(super) fn decoded_as(data_type: &DataType, int96: bool) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => decoded_as(values, int96),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        // In nanoseconds, the years after 2262 would overflow.
        DataType::Timestamp(..) if int96 => micros(),
        other => other.clone(),
    }
}

/// All columns of all files, in the order in which they are first met. Two types for one name are an error; a column that
/// is null throughout a file (of type `Null`) goes with any.
pub(super) fn join<'a>(files: impl Iterator<Item = (&'a str, SchemaRef)>) -> Result<SchemaRef> {
    let mut joined: Vec<(Field, &str)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (path, schema) in files {
        for field in schema.fields() {
            let field = Field::new(field.name(), seen_as(field.data_type()), true);
            let Some(&place) = places.get(field.name()) else {
                places.insert(field.name().clone(), joined.len());
                joined.push((field, path));
                continue;
            };
            let (known, first) = &joined[place];
            if known.data_type() == &DataType::Null {
                joined[place] = (field, path);
            } else if field.data_type() != &DataType::Null && known.data_type() != field.data_type() {
                return Err(two_types(known, first, field.data_type(), path));
            }
        }
    }
    Ok(Arc::new(Schema::new(joined.into_iter().map(|(field, _)| field).collect::<Vec<_>>())))
}

fn two_types(known: &Field, first: &str, other: &DataType, path: &str) -> Error {
    let name = known.name();
    Error::Config(if first == path {
        format!("{path} has two columns {name:?}, of the types {} and {other}", known.data_type())
    } else {
        format!("column {name:?} has two types: {} in {first}, but {other} in {path}", known.data_type())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_joined_by_name() {
        use DataType::*;
        let large = Dictionary(Box::new(Int8), Box::new(LargeUtf8));
        let nanos = Timestamp(TimeUnit::Nanosecond, None);
        let list = DataType::new_list(Int64, true);
        /// Columns of two files, and the joined columns or the error.
        type Row<'a> =
            (&'a [(&'a str, DataType)], &'a [(&'a str, DataType)], Result<&'a [(&'a str, DataType)], &'a str>);
        let rows: &[Row] = &[
            (&[("a", Int64)], &[("b", Utf8)], Ok(&[("a", Int64), ("b", Utf8)])),
            (&[("a", Int64), ("b", Utf8)], &[("b", large), ("a", Int64)], Ok(&[("a", Int64), ("b", Utf8)])),
            (&[("a", nanos)], &[("a", Timestamp(TimeUnit::Second, Some("+01:00".into())))], Ok(&[("a", micros())])),
            (&[("a", Null)], &[("a", Int64)], Ok(&[("a", Int64)])),
            (&[("a", Int64)], &[("a", Null)], Ok(&[("a", Int64)])),
            (&[("a", list.clone())], &[], Ok(&[("a", list)])),
            (&[("a", Int64)], &[("a", Int32)], Err("column \"a\" has two types: Int64 in one, but Int32 in two")),
            (
                &[("a", Int64)],
                &[("a", micros())],
                Err("column \"a\" has two types: Int64 in one, but Timestamp(µs, \"UTC\") in two"),
            ),
        ];
        let schema = |columns: &[(&str, DataType)]| {
            Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
        };
        for (one, two, expected) in rows {
            let joined = join([("one", schema(one)), ("two", schema(two))].into_iter()).map_err(|e| e.to_string());
            assert_eq!(joined, expected.map(schema).map_err(String::from));
        }
    }
}
