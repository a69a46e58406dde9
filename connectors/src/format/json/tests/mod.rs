//! What decodes and what does not, as tables; and random records beside `serde_json`.

mod random;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;

use super::*;
use crate::format::time;

const MILLIS: i64 = 1_000_000;

fn wanted(columns: &[(&str, DataType)], time_unit_ns: i64) -> Wanted {
    let fields: Vec<Field> = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
    Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns }
}

fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn push(decoder: &mut JsonDecoder, value: &[u8]) {
    decoder.push(&Message::of(value));
}

/// `null`, `?` for what does not decode, `!` for a malformed record, or the value's text.
fn show(decoded: &Decoded, column: usize, row: usize) -> String {
    let array: &ArrayRef = decoded.batch.column(column);
    let set = |bits: &Option<BooleanBuffer>| bits.as_ref().is_some_and(|bits| bits.value(row));
    match () {
        _ if set(&decoded.malformed) => "!".into(),
        _ if set(&decoded.undecoded[column]) => "?".into(),
        _ if array.is_null(row) => "null".into(),
        _ => match array.as_primitive_opt::<Float64Type>() {
            Some(floats) => format!("{:?}", floats.value(row)),
            None => array_value_to_string(array, row).unwrap(),
        },
    }
}

/// Rows of (value as it stands in the record, what it decodes to).
fn check_unit(t: DataType, time_unit_ns: i64, rows: &[(&str, &str)]) {
    let mut decoder = JsonDecoder::new(&wanted(&[("x", t.clone())], time_unit_ns));
    for (value, _) in rows {
        push(&mut decoder, format!(r#"{{"a": 1, "x": {value}, "b": "c"}}"#).as_bytes());
    }
    assert_eq!(decoder.len(), rows.len());
    let decoded = decoder.finish();
    assert!(decoder.is_empty());
    for (row, (value, expected)) in rows.iter().enumerate() {
        assert_eq!(show(&decoded, 0, row), *expected, "{value} as {t}");
        assert_eq!(decoded.batch.column(0).is_null(row), ["?", "!", "null"].contains(expected));
    }
}

fn check(t: DataType, rows: &[(&str, &str)]) {
    check_unit(t, MILLIS, rows);
}

#[test]
fn integers() {
    check(
        DataType::Int64,
        &[
            ("0", "0"),
            ("-0", "0"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", "?"),
            ("-9223372036854775809", "?"),
            ("170141183460469231731687303715884105728", "?"),
            ("1000000000000000000000000000000000000000000000000000000000", "?"),
            ("1.0", "?"),
            ("1e2", "?"),
            ("\"1\"", "?"),
            ("true", "?"),
            ("[1]", "?"),
            ("{}", "?"),
            ("null", "null"),
        ],
    );
    check(DataType::Int8, &[("127", "127"), ("128", "?"), ("-128", "-128"), ("-129", "?")]);
    check(DataType::Int16, &[("32767", "32767"), ("32768", "?")]);
    check(DataType::Int32, &[("-2147483648", "-2147483648"), ("2147483648", "?")]);
    check(DataType::UInt8, &[("255", "255"), ("256", "?"), ("-1", "?"), ("-0", "0")]);
    check(DataType::UInt16, &[("65535", "65535"), ("65536", "?")]);
    check(DataType::UInt32, &[("4294967295", "4294967295"), ("4294967296", "?")]);
    check(DataType::UInt64, &[("18446744073709551615", "18446744073709551615"), ("18446744073709551616", "?")]);
}

#[test]
fn floats() {
    check(
        DataType::Float64,
        &[
            ("1", "1.0"),
            ("-0", "0.0"),
            ("-0.0", "0.0"),
            ("-0e5", "0.0"),
            ("-1e-400", "0.0"),
            ("0.1", "0.1"),
            ("1E+2", "100.0"),
            ("9007199254740993", "9007199254740992.0"),
            ("123456789012345", "123456789012345.0"),
            ("9007199254740993.00000000000000000000000000000000001", "9007199254740994.0"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("1.7976931348623159e308", "?"),
            ("1e999", "?"),
            ("-1e999", "?"),
            ("1e99999999999999999999999", "?"),
            ("5e-324", "5e-324"),
            ("\"NaN\"", "NaN"),
            ("\"N\\u0061N\"", "NaN"),
            ("\"Infinity\"", "inf"),
            ("\"-Infinity\"", "-inf"),
            ("\"nan\"", "?"),
            ("\"1.5\"", "?"),
            ("NaN", "!"),
            ("Infinity", "!"),
            ("-Infinity", "!"),
            ("false", "?"),
        ],
    );
    // 1 + 2^-24 + 2^-60 by way of a float64 would be the tie 1 + 2^-24, and round down.
    check(
        DataType::Float32,
        &[("1.00000005960464477540", "1.0000001"), ("3.5e38", "?"), ("-0.0", "0.0"), ("\"-Infinity\"", "-inf")],
    );
}

#[test]
fn nan_is_the_one() {
    let mut decoder = JsonDecoder::new(&wanted(&[("x", DataType::Float64)], MILLIS));
    push(&mut decoder, br#"{"x":"NaN"}"#);
    let decoded = decoder.finish();
    assert_eq!(decoded.batch.column(0).as_primitive::<Float64Type>().value(0).to_bits(), f64::NAN.to_bits());
}

#[test]
fn decimals() {
    let nines = "9".repeat(38);
    check(
        DataType::Decimal128(5, 2),
        &[
            ("1", "1.00"),
            ("1.5", "1.50"),
            ("-1.25", "-1.25"),
            ("1.2500", "1.25"),
            ("1.255", "?"),
            ("999.99", "999.99"),
            ("1000", "?"),
            ("999.990000", "999.99"),
            ("125e-2", "1.25"),
            ("1250000e-6", "1.25"),
            ("0.00000125E6", "1.25"),
            ("1e2", "100.00"),
            ("1e3", "?"),
            ("0e999999999999999999999", "0.00"),
            ("0e999999999", "0.00"),
            ("-0.0", "0.00"),
            ("1e999999999", "?"),
            ("1e-999999999", "?"),
            ("1e99999999999999999999999999", "?"),
            ("\"1.25\"", "?"),
            ("true", "?"),
        ],
    );
    check(
        DataType::Decimal128(38, 0),
        &[(&nines, &nines), (&format!("{nines}9"), "?"), (&format!("{nines}.0"), &nines)],
    );
    check(DataType::Decimal128(38, 38), &[("0.1", &format!("0.1{}", "0".repeat(37))), ("1", "?")]);
}

#[test]
fn texts_and_booleans() {
    check(
        DataType::Utf8,
        &[
            ("\"\"", ""),
            ("\"plain\"", "plain"),
            ("\"a longer text: with\x7f \u{e9}\u{1f600}\"", "a longer text: with\x7f \u{e9}\u{1f600}"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u00e9\uD83D\uDE00x""#, "\u{e9}\u{1f600}x"),
            (r#""\u0000""#, "\0"),
            (r#""\ud800""#, "?"),
            (r#""\udc00""#, "?"),
            (r#""a\ud800\u0041""#, "?"),
            (r#""\ud800\ud800\udc00""#, "?"),
            (r#""\ud800x""#, "?"),
            (r#""\u12g4""#, "!"),
            (r#""\u+123""#, "!"),
            (r#""\x41""#, "!"),
            ("\"tab\there\"", "!"),
            ("\"line\nbreak\"", "!"),
            ("\"0123456\x01\"", "!"),
            ("12", "?"),
            ("true", "?"),
            ("{\"name\": \"m1\"}", "?"),
            ("null", "null"),
        ],
    );
    check(DataType::Boolean, &[("true", "true"), ("false", "false"), ("1", "?"), ("\"true\"", "?"), ("null", "null")]);
    check(DataType::new_list(DataType::Int64, true), &[("[1]", "[1]"), ("{}", "?"), ("null", "null")]);
}

#[test]
fn times() {
    check(
        micros(),
        &[
            ("\"1970-01-01T00:00:00Z\"", "1970-01-01T00:00:00Z"),
            ("\"2026-01-01t10:00:00.123456789z\"", "2026-01-01T10:00:00.123456Z"),
            ("\"2026-01-01T10:00:00.5+02:30\"", "2026-01-01T07:30:00.500Z"),
            ("\"2026-01-01T10:00:00-00:00\"", "2026-01-01T10:00:00Z"),
            ("\"1969-12-31T23:59:59.9999999Z\"", "1969-12-31T23:59:59.999999Z"),
            ("\"2024-02-29T00:00:00Z\"", "2024-02-29T00:00:00Z"),
            ("\"2000-02-29T00:00:00Z\"", "2000-02-29T00:00:00Z"),
            ("\"1900-02-29T00:00:00Z\"", "?"),
            ("\"2023-02-29T00:00:00Z\"", "?"),
            ("\"0001-01-01T00:00:00Z\"", "0001-01-01T00:00:00Z"),
            ("\"9999-12-31T23:59:59.999999Z\"", "9999-12-31T23:59:59.999999Z"),
            ("\"0000-01-01T00:00:00Z\"", "?"),
            ("\"2026-01-01T24:00:00Z\"", "?"),
            ("\"2026-01-01T23:59:60Z\"", "?"),
            ("\"2026-13-01T00:00:00Z\"", "?"),
            ("\"2026-01-32T00:00:00Z\"", "?"),
            ("\"2026-01-01T00:00:00\"", "?"),
            ("\"2026-01-01T00:00:00.Z\"", "?"),
            ("\"2026-01-01 00:00:00Z\"", "?"),
            ("\"2026-01-01T00:00Z\"", "?"),
            ("\"2026-01-01T00:00:00+01\"", "?"),
            ("\"2026-01-01T00:00:00+0100\"", "?"),
            ("\"2026-01-01T00:00:00+24:00\"", "?"),
            ("\"2026-01-01T00:00:00Z \"", "?"),
            ("\"2026-01-01\"", "?"),
            ("\"\u{661}970-01-01T00:00:00Z\"", "?"),
            ("\"\"", "?"),
            ("1000", "1970-01-01T00:00:01Z"),
            ("-1", "1969-12-31T23:59:59.999Z"),
            ("1.0", "?"),
            ("1e3", "?"),
            ("9223372036854775807", "?"),
            ("null", "null"),
        ],
    );
    let nines = "9".repeat(38);
    check_unit(
        micros(),
        1,
        &[
            ("1999", "1970-01-01T00:00:00.000001Z"),
            ("-1", "1969-12-31T23:59:59.999999Z"),
            ("-1000", "1969-12-31T23:59:59.999999Z"),
            ("-1001", "1969-12-31T23:59:59.999998Z"),
            ("253402300799999999999", "9999-12-31T23:59:59.999999Z"),
            ("9223372036854775808000", "?"),
            (&nines, "?"),
        ],
    );
    check_unit(micros(), 1_000_000_000, &[("1", "1970-01-01T00:00:01Z"), (&nines, "?"), ("9223372036855", "?")]);
    check_unit(micros(), 1_000, &[("1", "1970-01-01T00:00:00.000001Z")]);
    check(
        DataType::Date32,
        &[
            ("\"1970-01-02\"", "1970-01-02"),
            ("\"0001-01-01\"", "0001-01-01"),
            ("\"2026-02-30\"", "?"),
            ("\"20260101\"", "?"),
            ("\"2026-01-01T00:00:00Z\"", "?"),
            ("1", "?"),
        ],
    );
}

#[test]
fn every_day_is_the_day_after_the_one_before() {
    let mut expected = date_days_of(1, 1, 1);
    for year in 1..=9999 {
        for month in 1..=12 {
            for day in (1..=31).take_while(|day| time::date_days(&format!("{year:04}-{month:02}-{day:02}")).is_some()) {
                assert_eq!(date_days_of(year, month, day), expected, "{year}-{month}-{day}");
                expected += 1;
            }
        }
    }
    assert_eq!(date_days_of(1970, 1, 1), 0);
    assert_eq!(expected, 2_932_897);
}

fn date_days_of(year: i32, month: i32, day: i32) -> i32 {
    time::date_days(&format!("{year:04}-{month:02}-{day:02}")).unwrap()
}

/// Records, each with what its columns `ts` (int64) and `id` (utf8) decode to.
#[test]
fn records() {
    let deep = format!(r#"{{"a": {}1{}, "ts": 1}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let unclosed = format!(r#"{{"a": {}"#, r#"{"b":["#.repeat(100_000));
    let rows: &[(&[u8], &str, &str)] = &[
        (br#"{"ts":1,"id":"a"}"#, "1", "a"),
        (br#"{"id":"a","ts":1}"#, "1", "a"),
        (b" \t\r\n{ \"ts\" : 1 , \"id\" : \"a\" } \n", "1", "a"),
        (b"{}", "null", "null"),
        (b"{ }", "null", "null"),
        (br#"{"TS":1,"Id":"a"}"#, "null", "null"),
        (br#"{"\u0074s":1,"\u0069\u0064":"a"}"#, "1", "a"),
        (br#"{"\u0074s":1,"ts":2}"#, "2", "null"),
        (br#"{"ts":1,"ts":2}"#, "2", "null"),
        (br#"{"ts":1,"ts":null}"#, "null", "null"),
        (br#"{"ts":1,"ts":"x"}"#, "?", "null"),
        (br#"{"ts":"x","ts":1}"#, "1", "null"),
        (br#"{"ts":1,"other":{"ts":2,"id":[{"id":"b"}]}}"#, "1", "null"),
        (br#"{"ts":1,"other":1e999,"more":"\ud800","\ud800":0}"#, "1", "null"),
        (br#"{"a":[],"b":{},"c":[[],{}],"d":{"e":{"f":[1,2,{"g":null}]}},"ts":1}"#, "1", "null"),
        (br#"{"":1,"ts":1}"#, "1", "null"),
        (deep.as_bytes(), "1", "null"),
        (unclosed.as_bytes(), "!", "!"),
        (b"", "!", "!"),
        (b" ", "!", "!"),
        (b"null", "!", "!"),
        (b"1", "!", "!"),
        (b"\"{}\"", "!", "!"),
        (b"[]", "!", "!"),
        (br#"[{"ts":1}]"#, "!", "!"),
        (b"{", "!", "!"),
        (b"}", "!", "!"),
        (br#"{"ts":1"#, "!", "!"),
        (br#"{"ts":1,}"#, "!", "!"),
        (br#"{,"ts":1}"#, "!", "!"),
        (br#"{"ts":}"#, "!", "!"),
        (br#"{"ts"}"#, "!", "!"),
        (br#"{"ts" 1}"#, "!", "!"),
        (br#"{ts:1}"#, "!", "!"),
        (br#"{'ts':1}"#, "!", "!"),
        (br#"{"ts":1}{"ts":2}"#, "!", "!"),
        (br#"{"ts":1} x"#, "!", "!"),
        (b"{\"ts\":1}\0", "!", "!"),
        (br#"{"ts":1 "id":"a"}"#, "!", "!"),
        (br#"{"ts":1;"id":"a"}"#, "!", "!"),
        (br#"{"ts":1,"a":[1,]}"#, "!", "!"),
        (br#"{"ts":1,"a":[,1]}"#, "!", "!"),
        (br#"{"ts":1,"a":[1 2]}"#, "!", "!"),
        (br#"{"ts":1,"a":[1}}"#, "!", "!"),
        (br#"{"ts":1,"a":{"b":1]}"#, "!", "!"),
        (br#"{"ts":1,"a":{"b"}}"#, "!", "!"),
        (br#"{"ts":1,"a":{1:2}}"#, "!", "!"),
        (br#"{"ts":01}"#, "!", "!"),
        (br#"{"ts":1.}"#, "!", "!"),
        (br#"{"ts":.1}"#, "!", "!"),
        (br#"{"ts":+1}"#, "!", "!"),
        (br#"{"ts":-}"#, "!", "!"),
        (br#"{"ts":1e}"#, "!", "!"),
        (br#"{"ts":1e+}"#, "!", "!"),
        (br#"{"ts":0x10}"#, "!", "!"),
        (br#"{"ts":1,"other":nul}"#, "!", "!"),
        (br#"{"ts":1,"other":True}"#, "!", "!"),
        (br#"{"ts":1,"other":truex}"#, "!", "!"),
        (br#"{"ts":1,"other":NaN}"#, "!", "!"),
        (br#"{"ts":1,"other":"\q"}"#, "!", "!"),
        (br#"{"ts":1,"other":"\u00"}"#, "!", "!"),
        (br#"{"ts":1,"other":"open}"#, "!", "!"),
        (br#"{"ts":1,"other":"open\"}"#, "!", "!"),
        (b"{\"ts\":1,\"other\":\"\xff\"}", "!", "!"),
        (b"{\"ts\":1,\"other\":\"\xed\xa0\x80\"}", "!", "!"),
        (b"{\"ts\":1}\xc3", "!", "!"),
        (b"\xef\xbb\xbf{\"ts\":1}", "!", "!"),
        (b"{\"ts\":1,\xc2\xa0\"id\":\"a\"}", "!", "!"),
        (br#"{"ts":1,/* no */"id":"a"}"#, "!", "!"),
    ];
    // The order of the records decides which keys are guessed; each is also met with none seen.
    let columns = [("ts", DataType::Int64), ("id", DataType::Utf8)];
    let mut together = JsonDecoder::new(&wanted(&columns, MILLIS));
    rows.iter().for_each(|(record, ..)| push(&mut together, record));
    let together = together.finish();
    for (row, (record, ts, id)) in rows.iter().enumerate() {
        let mut alone = JsonDecoder::new(&wanted(&columns, MILLIS));
        push(&mut alone, record);
        let alone = alone.finish();
        let name = String::from_utf8_lossy(&record[..record.len().min(80)]).into_owned();
        assert_eq!([show(&alone, 0, 0), show(&alone, 1, 0)], [*ts, *id], "{name}");
        assert_eq!([show(&together, 0, row), show(&together, 1, row)], [*ts, *id], "{name}");
    }
}

#[test]
fn batches_start_anew() {
    let mut decoder = JsonDecoder::new(&wanted(&[("x", DataType::Utf8)], MILLIS));
    push(&mut decoder, br#"{"x":1}"#);
    push(&mut decoder, b"");
    let first = decoder.finish();
    push(&mut decoder, br#"{"x":"a"}"#);
    let second = decoder.finish();
    assert!(first.undecoded[0].is_some() && first.malformed.is_some());
    assert!(second.undecoded[0].is_none() && second.malformed.is_none());
    assert_eq!((first.batch.num_rows(), second.batch.num_rows(), decoder.finish().batch.num_rows()), (2, 1, 0));
}

#[test]
fn without_a_wanted_column_records_are_still_checked() {
    let mut decoder = JsonDecoder::new(&wanted(&[], MILLIS));
    push(&mut decoder, b"{\"a\":1}");
    push(&mut decoder, b"{\"a\":}");
    let decoded = decoder.finish();
    assert_eq!(decoded.batch.num_rows(), 2);
    assert_eq!(decoded.malformed.unwrap().iter().collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_field_may_be_missing_whatever_the_schema_promises() {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
    let mut decoder = JsonDecoder::new(&Wanted { schema, time_unit_ns: MILLIS });
    push(&mut decoder, b"{}");
    assert_eq!(decoder.finish().batch.column(0).null_count(), 1);
}

/// Paths into objects, lists, structs and maps. A record, then what each column is.
#[test]
fn nested_columns() {
    let list = |of| DataType::new_list(of, true);
    let pair = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)];
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false);
    let of = vec![Field::new("x", DataType::Int64, true), Field::new("y", list(DataType::Utf8), true)];
    let columns = [
        ("a.b.c", DataType::Int64),
        ("a.d", list(DataType::Int64)),
        ("\"a.b\"", DataType::Int64),
        ("s", DataType::Struct(of.into())),
        ("s.x", DataType::Int64),
        ("m", map),
        ("l", list(list(DataType::Float64))),
    ];
    let rows: &[(&str, [&str; 7])] = &[
        (r#"{"a":{"b":{"c":7},"d":[1,null,3]},"a.b":8}"#, ["7", "[1, , 3]", "8", "null", "null", "null", "null"]),
        (
            r#"{"a":{"b":null,"d":[]},"s":{"y":["p",null],"x":1}}"#,
            ["null", "[]", "null", "{x: 1, y: [p, ]}", "1", "null", "null"],
        ),
        (r#"{"a":null,"s":{},"m":{}}"#, ["null", "null", "null", "{x: , y: }", "null", "{}", "null"]),
        (r#"{"a":7,"s":[1],"m":[1],"l":[[1,2.5],[],null]}"#, ["?", "?", "null", "?", "?", "?", "[[1.0, 2.5], [], ]"]),
        (r#"{"a":{"b":7,"d":{}},"s":{"x":"1"},"m":{"k":1.5},"l":[[1,"1"]]}"#, ["?", "?", "null", "?", "?", "?", "?"]),
        (r#"{"a":{"b":{"c":1}},"a":{"d":[2]}}"#, ["null", "[2]", "null", "null", "null", "null", "null"]),
        (r#"{"a":{"b":{"c":1}},"a":"x"}"#, ["?", "?", "null", "null", "null", "null", "null"]),
        (r#"{"m":{"k":1,"\u006b":2,"l":null}}"#, ["null", "null", "null", "null", "null", "{k: 2, l: }", "null"]),
        (r#"{"a":{"b":{"c":1,}}}"#, ["!"; 7]),
        (r#"{"s":{"z":[{"x":1}],"x":4,"x":5}}"#, ["null", "null", "null", "{x: 5, y: }", "5", "null", "null"]),
        (r#"{"m":{"\ud800":1}}"#, ["null", "null", "null", "null", "null", "?", "null"]),
    ];
    let mut together = JsonDecoder::new(&wanted(&columns, MILLIS));
    rows.iter().for_each(|(record, _)| push(&mut together, record.as_bytes()));
    let together = together.finish();
    for (row, (record, expected)) in rows.iter().enumerate() {
        let mut alone = JsonDecoder::new(&wanted(&columns, MILLIS));
        push(&mut alone, record.as_bytes());
        let alone = alone.finish();
        for (column, expected) in expected.iter().enumerate() {
            assert_eq!(show(&together, column, row), *expected, "{} of {record}", columns[column].0);
            assert_eq!(show(&alone, column, 0), *expected, "{} of {record}, alone", columns[column].0);
        }
    }
}

/// What is taken besides, where a job asks for it.
#[test]
fn leniency() {
    let all = Leniency { numbers_as_text: true, integral_floats: true, sql_times: true };
    let decimal = DataType::Decimal128(9, 2);
    let rows = [
        (DataType::Int64, r#""12""#, "12"),
        (DataType::Int64, r#""12.0""#, "12"),
        (DataType::Int64, "1e2", "100"),
        (DataType::Int64, "1.5", "?"),
        (DataType::Int64, r#"" 12""#, "?"),
        (DataType::Int64, r#""""#, "?"),
        (DataType::Int64, "9223372036854775808.0", "?"),
        (DataType::UInt8, "-0.0", "0"),
        (DataType::Float64, r#""1.5""#, "1.5"),
        (DataType::Float64, r#""NaN""#, "NaN"),
        (decimal.clone(), r#""12.5""#, "12.50"),
        (decimal, r#""12.505""#, "?"),
        (DataType::Utf8, "12", "?"),
        (DataType::Boolean, r#""true""#, "?"),
        (micros(), r#""1000""#, "1970-01-01T00:00:01Z"),
        (micros(), "1000.0", "1970-01-01T00:00:01Z"),
        (micros(), r#""2026-01-31 10:00:00.5+02""#, "2026-01-31T08:00:00.500Z"),
        (micros(), r#""2026-01-31T10:00:00Z""#, "2026-01-31T10:00:00Z"),
        (micros(), r#""2026-02-30""#, "?"),
    ];
    for (t, value, expected) in rows {
        let mut decoder = JsonDecoder::with(&wanted(&[("x", t.clone())], MILLIS), all);
        push(&mut decoder, format!("{{\"x\":{value}}}").as_bytes());
        assert_eq!(show(&decoder.finish(), 0, 0), expected, "{value} as {t}");
    }
}

#[test]
fn what_stands_before_a_record_with_a_registry() {
    let format = Json { framing: Framing::Id, ..Json::default() };
    let mut decoder = format.decoder(&wanted(&[("n", DataType::Int64)], MILLIS)).unwrap();
    for value in [&b"\0\0\0\0\x07{\"n\": 7}"[..], b"{\"n\": 7}", b"\0\0\0", b"\0\0\0\0\x07"] {
        decoder.push(&Message::of(value));
    }
    let decoded = decoder.finish();
    assert_eq!([0, 1, 2, 3].map(|row| show(&decoded, 0, row)), ["7", "!", "!", "!"]);
}
