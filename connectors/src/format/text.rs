//! Columns to text: one way to write a value as JSON, for rows, changes, dead letters and stores alike.
//!
//! | Arrow | JSON | plain (Redis) |
//! |---|---|---|
//! | integers, bool, null | as they are | as they are |
//! | floats | shortest that reads back to the same bits; `"NaN"`, `"Infinity"`, `"-Infinity"` | the same without quotes |
//! | decimals | a string with all digits of the scale: `"1.50"` | `1.50` |
//! | strings | quoted and escaped, UTF-8 stays | the string itself |
//! | timestamps | RFC 3339 in UTC, with no, 3 or 6 digits of a second's fraction | the same without quotes |
//! | dates | `"2026-01-31"` | `2026-01-31` |
//! | lists | arrays of these | the same array |
//! | structs, maps | objects of these | the same object |
//!
//! Other types (binary, times of day, ...) are strings as Arrow displays them.

use std::sync::Arc;

use arrow::array::types::{
    Date32Type, Date64Type, Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrowPrimitiveType, AsArray, MapArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use headwater_clocks::{write_date, write_time};

type Writer<'a> = Box<dyn Fn(&mut Vec<u8>, usize) + 'a>;

/// A column made ready to be written: its type is looked at once, not for each value.
pub struct Column<'a> {
    array: &'a dyn Array,
    write: Writer<'a>,
}

impl<'a> Column<'a> {
    /// Values as JSON.
    pub fn json(array: &'a dyn Array) -> Column<'a> {
        Column { array, write: writer(array, Style::Json) }
    }

    /// Values as plain text: without the quotes and escapes that JSON puts around a value; lists stay JSON.
    pub fn plain(array: &'a dyn Array) -> Column<'a> {
        Column { array, write: writer(array, Style::Plain) }
    }

    /// Whether the value of `row` is null.
    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Appends the value of `row`, `null` where it is null.
    pub fn write(&self, out: &mut Vec<u8>, row: usize) {
        if self.array.is_null(row) { out.extend_from_slice(b"null") } else { (self.write)(out, row) }
    }
}

/// Some columns of a batch made ready to be written as JSON objects, one a row.
pub struct Object<'a> {
    /// `"name":` and the column.
    fields: Vec<(Vec<u8>, Column<'a>)>,
}

impl<'a> Object<'a> {
    /// Of these columns of a batch, by place, in this order.
    pub fn new(batch: &'a RecordBatch, columns: impl IntoIterator<Item = usize>) -> Object<'a> {
        let field = |i: usize| (key(batch.schema_ref().field(i).name()), Column::json(batch.column(i)));
        Object { fields: columns.into_iter().map(field).collect() }
    }

    /// Appends `{"name":value,...}`.
    pub fn write(&self, out: &mut Vec<u8>, row: usize) {
        write_object(out, &self.fields, row);
    }
}

/// Appends one value as JSON. For many values of a column, [`Column::json`].
///
/// ```
/// use arrow::array::Float64Array;
/// let mut out = Vec::new();
/// headwater_connectors::format::text::write_value(&mut out, &Float64Array::from(vec![3.0]), 0);
/// assert_eq!(out, b"3.0");
/// ```
pub fn write_value(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    Column::json(array).write(out, row);
}

/// A row's key as JSON: `{"card_id":"c1"}`.
pub fn key_text(batch: &RecordBatch, columns: impl IntoIterator<Item = usize>, row: usize) -> String {
    row_text(batch, columns, row)
}

/// Some columns of a row as a JSON object: `{"tx_1h":3,"max_7d":null}`.
pub fn row_text(batch: &RecordBatch, columns: impl IntoIterator<Item = usize>, row: usize) -> String {
    let mut out = Vec::new();
    Object::new(batch, columns).write(&mut out, row);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends a string as JSON: quoted, escaped, UTF-8 as it is.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    put_json(out, text);
}

/// Appends an integer.
pub fn write_number(out: &mut Vec<u8>, number: i64) {
    put_json(out, &number);
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Json,
    Plain,
}

impl Style {
    /// Appends what JSON has in quotes and what needs no escape.
    fn quoted(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self == Style::Json {
            out.push(b'"');
        }
        write(out);
        if self == Style::Json {
            out.push(b'"');
        }
    }

    fn string(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Style::Json => write_string(out, text),
            Style::Plain => out.extend_from_slice(text.as_bytes()),
        }
    }
}

fn writer(array: &dyn Array, style: Style) -> Writer<'_> {
    match array.data_type() {
        DataType::Boolean => {
            let a = array.as_boolean();
            Box::new(move |out, row| out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }))
        }
        DataType::Int8 => number::<Int8Type>(array),
        DataType::Int16 => number::<Int16Type>(array),
        DataType::Int32 => number::<Int32Type>(array),
        DataType::Int64 => number::<Int64Type>(array),
        DataType::UInt8 => number::<UInt8Type>(array),
        DataType::UInt16 => number::<UInt16Type>(array),
        DataType::UInt32 => number::<UInt32Type>(array),
        DataType::UInt64 => number::<UInt64Type>(array),
        DataType::Float16 => float::<Float16Type, f32>(array, style, f32::from),
        DataType::Float32 => float::<Float32Type, f32>(array, style, |v| v),
        DataType::Float64 => float::<Float64Type, f64>(array, style, |v| v),
        DataType::Decimal128(_, _) => decimal::<Decimal128Type>(array, style),
        DataType::Decimal256(_, _) => decimal::<Decimal256Type>(array, style),
        DataType::Utf8 => {
            let a = array.as_string::<i32>();
            Box::new(move |out, row| style.string(out, a.value(row)))
        }
        DataType::LargeUtf8 => {
            let a = array.as_string::<i64>();
            Box::new(move |out, row| style.string(out, a.value(row)))
        }
        DataType::Utf8View => {
            let a = array.as_string_view();
            Box::new(move |out, row| style.string(out, a.value(row)))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            time::<TimestampSecondType>(array, style, |v| v.saturating_mul(1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            time::<TimestampMillisecondType>(array, style, |v| v.saturating_mul(1000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => time::<TimestampMicrosecondType>(array, style, |v| v),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            time::<TimestampNanosecondType>(array, style, |v| v.div_euclid(1000))
        }
        DataType::Date32 => date::<Date32Type>(array, style, i64::from),
        DataType::Date64 => date::<Date64Type>(array, style, |ms| ms.div_euclid(86_400_000)),
        DataType::List(_) => {
            let a = array.as_list::<i32>();
            list(a.values(), |row| (a.value_offsets()[row] as usize, a.value_offsets()[row + 1] as usize))
        }
        DataType::LargeList(_) => {
            let a = array.as_list::<i64>();
            list(a.values(), |row| (a.value_offsets()[row] as usize, a.value_offsets()[row + 1] as usize))
        }
        DataType::FixedSizeList(_, size) => {
            let (a, size) = (array.as_fixed_size_list(), *size as usize);
            list(a.values(), move |row| (row * size, (row + 1) * size))
        }
        DataType::Struct(fields) => {
            let names = fields.iter().map(|field| field.name().as_str());
            object(names.zip(array.as_struct().columns()).collect())
        }
        DataType::Map(..) => map(array.as_map()),
        DataType::Null => Box::new(|out, _| out.extend_from_slice(b"null")),
        _ => displayed(array, style),
    }
}

fn number<T: ArrowPrimitiveType<Native: serde::Serialize>>(array: &dyn Array) -> Writer<'_> {
    let a: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |out, row| put_json(out, &a.value(row)))
}

fn float<'a, T: ArrowPrimitiveType, F: Into<f64> + serde::Serialize + Copy + 'a>(
    array: &'a dyn Array,
    style: Style,
    widen: fn(T::Native) -> F,
) -> Writer<'a> {
    let a: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |out, row| {
        let value = widen(a.value(row));
        match value.into() {
            v if v.is_finite() => put_json(out, &value),
            v if v.is_nan() => style.quoted(out, |out| out.extend_from_slice(b"NaN")),
            v if v > 0.0 => style.quoted(out, |out| out.extend_from_slice(b"Infinity")),
            _ => style.quoted(out, |out| out.extend_from_slice(b"-Infinity")),
        }
    })
}

fn decimal<T: DecimalType>(array: &dyn Array, style: Style) -> Writer<'_> {
    let a: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |out, row| {
        let text = T::format_decimal(a.value(row), a.precision(), a.scale());
        style.quoted(out, |out| out.extend_from_slice(text.as_bytes()));
    })
}

fn time<T: ArrowPrimitiveType<Native = i64>>(array: &dyn Array, style: Style, us: fn(i64) -> i64) -> Writer<'_> {
    let a: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |out, row| style.quoted(out, |out| write_time(out, us(a.value(row)))))
}

fn date<T: ArrowPrimitiveType>(array: &dyn Array, style: Style, days: fn(T::Native) -> i64) -> Writer<'_> {
    let a: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |out, row| style.quoted(out, |out| write_date(out, days(a.value(row)))))
}

/// `ends`: where a row's elements begin and end among the values.
fn list<'a>(values: &'a dyn Array, ends: impl Fn(usize) -> (usize, usize) + 'a) -> Writer<'a> {
    let values = Column::json(values);
    Box::new(move |out, row| {
        let (start, end) = ends(row);
        out.push(b'[');
        for i in start..end {
            if i > start {
                out.push(b',');
            }
            values.write(out, i);
        }
        out.push(b']');
    })
}

fn object<'a>(fields: Vec<(&str, &'a Arc<dyn Array>)>) -> Writer<'a> {
    let fields: Vec<(Vec<u8>, Column)> =
        fields.into_iter().map(|(name, array)| (key(name), Column::json(array))).collect();
    Box::new(move |out, row| write_object(out, &fields, row))
}

/// A name with its colon.
fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    write_string(&mut key, name);
    key.push(b':');
    key
}

/// `fields`: `"name":` and the column.
fn write_object(out: &mut Vec<u8>, fields: &[(Vec<u8>, Column)], row: usize) {
    out.push(b'{');
    for (i, (key, column)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        column.write(out, row);
    }
    out.push(b'}');
}

/// A key that is no text is written as its plain text.
fn map(maps: &MapArray) -> Writer<'_> {
    let (keys, values) = (Column::plain(maps.keys()), Column::json(maps.values()));
    Box::new(move |out, row| {
        out.push(b'{');
        for at in maps.value_offsets()[row]..maps.value_offsets()[row + 1] {
            if at > maps.value_offsets()[row] {
                out.push(b',');
            }
            let mut name = Vec::new();
            keys.write(&mut name, at as usize);
            out.extend_from_slice(&key(&String::from_utf8_lossy(&name)));
            values.write(out, at as usize);
        }
        out.push(b'}');
    })
}

fn displayed(array: &dyn Array, style: Style) -> Writer<'_> {
    match ArrayFormatter::try_new(array, &FormatOptions::default()) {
        Ok(formatter) => Box::new(move |out, row| style.string(out, &formatter.value(row).to_string())),
        Err(_) => Box::new(|out, _| out.extend_from_slice(b"null")),
    }
}

/// Numbers and strings, as serde_json writes them.
fn put_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers and strings are JSON, and a Vec takes what is written");
}

#[cfg(test)]
mod tests {
    use arrow::array::*;
    use arrow::datatypes::{Field, Int64Type, Schema, i256};

    use super::*;

    fn check(array: impl Array, json: &[&str], plain: &[&str]) {
        for (style, expected) in [(Column::json(&array), json), (Column::plain(&array), plain)] {
            assert_eq!(array.len(), expected.len());
            for (row, text) in expected.iter().enumerate() {
                let mut out = Vec::new();
                style.write(&mut out, row);
                assert_eq!(String::from_utf8(out).unwrap(), *text);
            }
        }
    }

    #[test]
    fn values() {
        let same = |array: &dyn Array, text: &[&str]| check(make_array(array.to_data()), text, text);
        same(&Int64Array::from(vec![Some(i64::MIN), None, Some(7)]), &["-9223372036854775808", "null", "7"]);
        same(&UInt64Array::from(vec![u64::MAX]), &["18446744073709551615"]);
        same(&Int8Array::from(vec![-5]), &["-5"]);
        same(&BooleanArray::from(vec![Some(true), Some(false), None]), &["true", "false", "null"]);
        same(&Float64Array::from(vec![3.0, 0.1, 1e308, 5e-324, 1e16]), &["3.0", "0.1", "1e+308", "5e-324", "1e+16"]);
        same(&Float32Array::from(vec![0.1]), &["0.1"]);
        same(&NullArray::new(1), &["null"]);
        check(
            Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
            &[r#""NaN""#, r#""Infinity""#, r#""-Infinity""#],
            &["NaN", "Infinity", "-Infinity"],
        );
        check(
            StringArray::from(vec![Some("a\"\\\n\u{1}/"), Some("ü\u{2028}😀"), None]),
            &[r#""a\"\\\n\u0001/""#, "\"ü\u{2028}😀\"", "null"],
            &["a\"\\\n\u{1}/", "ü\u{2028}😀", "null"],
        );
        check(LargeStringArray::from(vec!["x"]), &[r#""x""#], &["x"]);
        check(
            StringViewArray::from(vec!["a longer string than fits a view"]),
            &[r#""a longer string than fits a view""#],
            &["a longer string than fits a view"],
        );
        check(
            Decimal128Array::from(vec![150, -5, 0]).with_precision_and_scale(10, 2).unwrap(),
            &[r#""1.50""#, r#""-0.05""#, r#""0.00""#],
            &["1.50", "-0.05", "0.00"],
        );
        check(
            Decimal256Array::from(vec![i256::from(12)]).with_precision_and_scale(50, 0).unwrap(),
            &[r#""12""#],
            &["12"],
        );
        check(
            Date32Array::from(vec![0, 20_484, -719_528]),
            &[r#""1970-01-01""#, r#""2026-01-31""#, r#""0000-01-01""#],
            &["1970-01-01", "2026-01-31", "0000-01-01"],
        );
        check(
            TimestampNanosecondArray::from(vec![-1]),
            &[r#""1969-12-31T23:59:59.999999Z""#],
            &["1969-12-31T23:59:59.999999Z"],
        );
        check(
            TimestampSecondArray::from(vec![1]).with_timezone("UTC"),
            &[r#""1970-01-01T00:00:01Z""#],
            &["1970-01-01T00:00:01Z"],
        );
        check(BinaryArray::from(vec![b"\xff".as_slice()]), &[r#""ff""#], &["ff"]);
    }

    #[test]
    fn lists_are_json_in_both_styles() {
        let numbers = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(vec![Some(1), None, Some(3)]),
            None,
            Some(vec![]),
        ]);
        check(numbers.clone(), &["[1,null,3]", "null", "[]"], &["[1,null,3]", "null", "[]"]);
        check(numbers.slice(2, 1), &["[]"], &["[]"]);
        let mut strings = ListBuilder::new(StringBuilder::new());
        strings.append_value([Some("a\"b")]);
        check(strings.finish(), &[r#"["a\"b"]"#], &[r#"["a\"b"]"#]);
    }

    #[test]
    fn structs_and_maps_are_objects() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("a\"b", DataType::Int64, true)];
        let valid = Some(vec![true, true, false].into());
        let structs = StructArray::new(fields.into(), vec![numbers.clone(), numbers], valid);
        let expected = [r#"{"n":1,"a\"b":1}"#, r#"{"n":null,"a\"b":null}"#, "null"];
        check(structs, &expected, &expected);
        let mut maps = MapBuilder::new(None, Int64Builder::new(), StringBuilder::new());
        for (key, value) in [(7, Some("x")), (8, None)] {
            maps.keys().append_value(key);
            maps.values().append_option(value);
        }
        maps.append(true).unwrap();
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        let expected = [r#"{"7":"x","8":null}"#, "{}", "null"];
        check(maps.finish(), &expected, &expected);
    }

    #[test]
    fn rows() {
        let schema = Schema::new(vec![
            Field::new("card\"id", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
            Field::new("sum", DataType::Float64, true),
        ]);
        let batch = RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(StringArray::from(vec!["c1"])),
                Arc::new(Int64Array::from(vec![3])),
                Arc::new(Float64Array::from(vec![None])),
            ],
        )
        .unwrap();
        assert_eq!(key_text(&batch, 0..1, 0), r#"{"card\"id":"c1"}"#);
        assert_eq!(row_text(&batch, 1..3, 0), r#"{"n":3,"sum":null}"#);
        assert_eq!(row_text(&batch, [], 0), "{}");
    }
}
