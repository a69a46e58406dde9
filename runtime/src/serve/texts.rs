//! Values from the JSON in which `get` and `export` print them: each has its column's type again, as it was written.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use serde_json::value::RawValue;

/// Values from their JSON.
pub fn column(texts: &[Option<&str>], kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let texts = texts.iter().map(|text| text.filter(|text| *text != "null"));
    if let DataType::List(field) = kind {
        return list(&texts.collect::<Vec<_>>(), field);
    }
    let plain = texts.map(|text| text.map(plain).transpose()).collect::<Result<Vec<Option<String>>, _>>()?;
    let strings = StringArray::from(plain);
    cast_with_options(&strings, kind, &CastOptions { safe: false, ..CastOptions::default() })
}

fn plain(text: &str) -> Result<String, ArrowError> {
    match text.starts_with('"') {
        true => serde_json::from_str(text).map_err(|e| ArrowError::ParseError(e.to_string())),
        false => Ok(text.to_owned()),
    }
}

fn list(texts: &[Option<&str>], field: &Arc<Field>) -> Result<ArrayRef, ArrowError> {
    let mut values: Vec<&RawValue> = vec![];
    let mut lengths = Vec::with_capacity(texts.len());
    for text in texts {
        let elements: Vec<&RawValue> = match text {
            Some(text) => serde_json::from_str(text).map_err(|e| ArrowError::ParseError(e.to_string()))?,
            None => vec![],
        };
        lengths.push(elements.len());
        values.extend(elements);
    }
    let values: Vec<Option<&str>> = values.into_iter().map(|value| Some(value.get())).collect();
    let nulls = NullBuffer::from_iter(texts.iter().map(Option::is_some));
    let values = column(&values, field.data_type())?;
    Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::from_lengths(lengths), values, Some(nulls))?)
        as ArrayRef)
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use arrow::datatypes::DataType::*;
    use arrow::datatypes::TimeUnit;
    use headwater_connectors::format::text::Column;

    use super::*;

    #[test]
    fn texts_become_what_they_were() {
        let time = Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let table: [(DataType, &str); 16] = [
            (Int64, "-9223372036854775808"),
            (UInt64, "18446744073709551615"),
            (Boolean, "true"),
            (Float64, "0.1"),
            (Float64, "1.7976931348623157e+308"),
            (Float64, "5e-324"),
            (Float64, r#""NaN""#),
            (Float64, r#""-Infinity""#),
            (Utf8, r#""a\"b\nü""#),
            (Utf8, r#""null""#),
            (Date32, r#""1969-12-31""#),
            (time.clone(), r#""2026-01-01T10:45:00.000001Z""#),
            (time, r#""1969-12-31T23:59:59.999Z""#),
            (Decimal128(38, 2), r#""-123456789012345678901234567890123456.78""#),
            (Decimal128(18, 0), r#""7""#),
            (List(Arc::new(Field::new("item", Float64, true))), r#"[1.5,null,"NaN"]"#),
        ];
        for (kind, text) in table {
            let array = column(&[Some(text), None, Some("null")], &kind).unwrap();
            let mut out = vec![];
            Column::json(&array).write(&mut out, 0);
            assert_eq!(String::from_utf8(out).unwrap(), text, "{kind}");
            assert!(array.is_null(1) && array.is_null(2), "{kind}");
        }
        assert!(column(&[Some("1.5")], &Int64).is_err());
    }
}
