//! What decodes and what does not, as tables.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field as Column, Float64Type, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;

use super::*;

const MILLIS: i64 = 1_000_000;

fn wanted(columns: &[(&str, DataType)]) -> Wanted {
    let fields: Vec<Column> = columns.iter().map(|(name, t)| Column::new(*name, t.clone(), true)).collect();
    Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: MILLIS }
}

fn dialect(delimiter: u8, null: &str) -> Dialect {
    Dialect { delimiter, null: null.into() }
}

fn names_of(names: &str) -> Vec<String> {
    names.split(' ').map(String::from).collect()
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

/// Rows of (a field as it stands in the record, what it decodes to).
fn check(t: DataType, null: &str, rows: &[(&str, &str)]) {
    let mut decoder = CsvDecoder::new(&dialect(b',', null), &names_of("a x b"), &wanted(&[("x", t.clone())])).unwrap();
    for (value, _) in rows {
        decoder.push(&Message::of(format!("1,{value},c").as_bytes()));
    }
    let decoded = decoder.finish();
    assert!(decoder.is_empty());
    for (row, (value, expected)) in rows.iter().enumerate() {
        assert_eq!(show(&decoded, 0, row), *expected, "{value} as {t}");
    }
}

#[test]
fn values() {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    check(
        DataType::Int64,
        "",
        &[
            ("0", "0"),
            ("-0", "0"),
            ("\"7\"", "7"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "?"),
            ("1.0", "?"),
            ("1e2", "?"),
            ("+1", "?"),
            ("01", "?"),
            (" 1", "?"),
            ("1 ", "?"),
            ("1_000", "?"),
            ("0x10", "?"),
            ("true", "?"),
            ("null", "?"),
            ("NULL", "?"),
            ("", "null"),
            ("\"\"", "null"),
        ],
    );
    check(DataType::UInt8, "", &[("255", "255"), ("256", "?"), ("-1", "?")]);
    check(
        DataType::Float64,
        "NA",
        &[
            ("1", "1.0"),
            ("-0.0", "0.0"),
            ("1E+2", "100.0"),
            ("1.7976931348623159e308", "?"),
            ("NaN", "NaN"),
            ("Infinity", "inf"),
            ("\"-Infinity\"", "-inf"),
            ("nan", "?"),
            ("inf", "?"),
            (".5", "?"),
            ("5.", "?"),
            ("", "?"),
            ("NA", "null"),
        ],
    );
    check(
        DataType::Decimal128(5, 2),
        "",
        &[("1.50", "1.50"), ("1e1", "10.00"), ("1.005", "?"), ("1000", "?"), ("\"-999.99\"", "-999.99")],
    );
    check(
        DataType::Boolean,
        "",
        &[("true", "true"), ("\"false\"", "false"), ("True", "?"), ("1", "?"), ("t", "?"), ("", "null")],
    );
    check(
        DataType::Utf8,
        "NULL",
        &[
            ("abc", "abc"),
            ("1.0", "1.0"),
            (" a ", " a "),
            ("", ""),
            ("\"\"", ""),
            ("NULL", "null"),
            ("\"NULL\"", "null"),
            ("null", "null"),
            ("\"a \"\"b\"\", c\"", "a \"b\", c"),
            ("\"two\r\nlines\"", "two\r\nlines"),
        ],
    );
    check(
        micros,
        "",
        &[
            ("2026-01-01T10:00:00.5+02:30", "2026-01-01T07:30:00.500Z"),
            ("1000", "1970-01-01T00:00:01Z"),
            ("\"1000\"", "1970-01-01T00:00:01Z"),
            ("1.0", "?"),
            ("2026-01-01", "?"),
            ("2026-01-01 10:00:00", "?"),
            ("", "null"),
        ],
    );
    check(DataType::Date32, "", &[("1970-01-02", "1970-01-02"), ("1", "?"), ("", "null")]);
    check(DataType::new_list(DataType::Int64, true), "", &[("[1]", "?"), ("", "null")]);
}

#[test]
fn records() {
    let (long, columns) =
        ("z".repeat(100_000), [("n", DataType::Int64), ("s", DataType::Utf8), ("gone", DataType::Utf8)]);
    let rows: &[(&[u8], &str, &str)] = &[
        (b"a,x,1", "1", "a"),
        (b"a,x,1\n", "1", "a"),
        (b"a,x,1\r\n", "1", "a"),
        (b"a,x,1\r", "1", "a"),
        (b"a,x,1\n\n", "!", "!"),
        (b"\"a\",\"\",\"1\"", "1", "a"),
        (b",,", "null", "null"),
        (b"a,x,b", "?", "a"),
        // What nobody wants need not be a number, and needs to be well-formed.
        (b"a,\"x,\ny\",1", "1", "a"),
        (b"a,x\"y,1", "!", "!"),
        (b"a,\"x\"y,1", "!", "!"),
        (b"a,x,\"1", "!", "!"),
        (b"a,x", "!", "!"),
        (b"a,x,1,", "!", "!"),
        (b"", "!", "!"),
        (b"a,x\xff,1", "!", "!"),
        (b"\xef\xbb\xbfa,x,1", "1", "\u{feff}a"),
        (b"a,x\ny,1", "!", "!"),
        (b"a,x,1\na,x,1", "!", "!"),
    ];
    let mut together = CsvDecoder::new(&dialect(b',', ""), &names_of("s other n"), &wanted(&columns)).unwrap();
    rows.iter().for_each(|(value, ..)| together.push(&Message::of(value)));
    let decoded = together.finish();
    for (row, (record, n, s)) in rows.iter().enumerate() {
        let found = [show(&decoded, 0, row), show(&decoded, 1, row)];
        assert_eq!(found, [*n, if *s == "null" { "null" } else { s }], "{}", String::from_utf8_lossy(record));
        assert!(["null", "!"].contains(&show(&decoded, 2, row).as_str()), "a column that is not there is null");
    }
    together.push(&Message::of(format!("{long},,2").as_bytes()));
    assert_eq!(show(&together.finish(), 1, 0), long);
}

#[test]
fn delimiters() {
    for (delimiter, record) in [(b';', "a,b;x;3"), (b'\t', "a,b\tx\t3"), (b'|', "\"a,b\"|\"x|\"|3"), (b' ', "a,b x 3")]
    {
        let mut decoder = CsvDecoder::new(
            &dialect(delimiter, ""),
            &names_of("s x n"),
            &wanted(&[("n", DataType::Int64), ("s", DataType::Utf8)]),
        )
        .unwrap();
        decoder.push(&Message::of(record.as_bytes()));
        let decoded = decoder.finish();
        assert_eq!([show(&decoded, 0, 0), show(&decoded, 1, 0)], ["3", "a,b"], "{record}");
    }
}

#[test]
fn a_column_twice_is_an_error_where_it_is_wanted() {
    let wanted = wanted(&[("n", DataType::Int64)]);
    assert!(CsvDecoder::new(&dialect(b',', ""), &names_of("_ _ n"), &wanted).is_ok());
    assert_eq!(CsvDecoder::new(&dialect(b',', ""), &names_of("n _ n"), &wanted).err().as_deref(), Some("n"));
}

#[test]
fn headers() {
    let plain = dialect(b',', "");
    assert_eq!(names(b"a,\"b c\",\"\"\"d\"\r", &plain).unwrap(), ["a", "b c", "\"d"]);
    assert_eq!(names(b"", &plain).unwrap(), [""]);
    assert!(names(b"a,b\"", &plain).unwrap_err().contains("breaks the rules"));
    assert!(names(b"a,\xff", &plain).unwrap_err().contains("UTF-8"));
}
