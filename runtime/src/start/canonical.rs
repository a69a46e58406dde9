//! The parts of a job as texts that stand in checkpoints. What a part's text is today it stays: states are told apart by it, so nothing
//! here follows from how a variant, a field or a type of a library is called, or is shown by it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit, UnionMode};

use crate::job::{self, Window};

pub fn optional(text: Option<String>) -> String {
    text.map_or_else(|| "None".to_owned(), |text| format!("Some({text})"))
}

/// In quotes. What could not be seen, or would join the character before it, is written as its number. Which characters these are is written
/// down: what a compiler knows of Unicode grows from version to version.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\0' => quoted.push_str("\\0"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c if is_escaped(c) => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Ranges of characters, both ends included: those that `char::escape_debug` escaped in Rust 1.95, from where the first texts come.
const ESCAPED: &str = include_str!("escaped.txt");

fn is_escaped(c: char) -> bool {
    static RANGES: LazyLock<Vec<(u32, u32)>> = LazyLock::new(|| {
        let number = |hex: &str| u32::from_str_radix(hex, 16).expect("a number in hexadecimal digits");
        let range = |text: &str| text.split_once('-').map(|(first, last)| (number(first), number(last)));
        ESCAPED.split_whitespace().map(|text| range(text).unwrap_or_else(|| (number(text), number(text)))).collect()
    });
    let after = RANGES.partition_point(|(first, _)| *first <= u32::from(c));
    after > 0 && u32::from(c) <= RANGES[after - 1].1
}

pub fn time_unit(unit: job::TimeUnit) -> &'static str {
    match unit {
        job::TimeUnit::Second => "Second",
        job::TimeUnit::Millisecond => "Millisecond",
        job::TimeUnit::Microsecond => "Microsecond",
        job::TimeUnit::Nanosecond => "Nanosecond",
    }
}

/// Lengths are microseconds.
pub fn window(window: Window) -> String {
    match window {
        Window::Trailing => "Trailing".to_owned(),
        Window::Tumbling { size } => format!("Tumbling {{ size_us: {} }}", size.us()),
        Window::Hopping { size, every } => format!("Hopping {{ size_us: {}, every_us: {} }}", size.us(), every.us()),
        Window::Calendar(calendar) => format!(
            "Calendar {{ zone: {}, size_days: {}, every_days: {}, first_day: {} }}",
            calendar.zone().name(),
            calendar.size(),
            calendar.every(),
            calendar.first()
        ),
        Window::Session { gap } => format!("Session {{ gap_us: {} }}", gap.us()),
    }
}

/// A type, so that `DataType::from_str` reads it. Of columns in files it may be any.
pub fn data_type(data_type: &DataType) -> String {
    use DataType::*;
    let name = match data_type {
        Null => "Null",
        Boolean => "Boolean",
        Int8 => "Int8",
        Int16 => "Int16",
        Int32 => "Int32",
        Int64 => "Int64",
        UInt8 => "UInt8",
        UInt16 => "UInt16",
        UInt32 => "UInt32",
        UInt64 => "UInt64",
        Float16 => "Float16",
        Float32 => "Float32",
        Float64 => "Float64",
        Date32 => "Date32",
        Date64 => "Date64",
        Binary => "Binary",
        LargeBinary => "LargeBinary",
        BinaryView => "BinaryView",
        Utf8 => "Utf8",
        LargeUtf8 => "LargeUtf8",
        Utf8View => "Utf8View",
        Interval(IntervalUnit::YearMonth) => "Interval(YearMonth)",
        Interval(IntervalUnit::DayTime) => "Interval(DayTime)",
        Interval(IntervalUnit::MonthDayNano) => "Interval(MonthDayNano)",
        Timestamp(unit, None) => return format!("Timestamp({})", short(*unit)),
        Timestamp(unit, Some(zone)) => return format!("Timestamp({}, {})", short(*unit), quoted(zone)),
        Time32(unit) => return format!("Time32({})", short(*unit)),
        Time64(unit) => return format!("Time64({})", short(*unit)),
        Duration(unit) => return format!("Duration({})", short(*unit)),
        Decimal32(precision, scale) => return format!("Decimal32({precision}, {scale})"),
        Decimal64(precision, scale) => return format!("Decimal64({precision}, {scale})"),
        Decimal128(precision, scale) => return format!("Decimal128({precision}, {scale})"),
        Decimal256(precision, scale) => return format!("Decimal256({precision}, {scale})"),
        FixedSizeBinary(bytes) => return format!("FixedSizeBinary({bytes})"),
        List(item) => return format!("List({})", list_item(item)),
        LargeList(item) => return format!("LargeList({})", list_item(item)),
        ListView(item) => return format!("ListView({})", list_item(item)),
        LargeListView(item) => return format!("LargeListView({})", list_item(item)),
        FixedSizeList(item, size) => return format!("FixedSizeList({size} x {})", list_item(item)),
        Struct(fields) => return format!("Struct({})", joined(fields.iter().map(|f| field(f)))),
        Map(entries, sorted) => {
            return format!("Map({}, {})", field(entries), if *sorted { "sorted" } else { "unsorted" });
        }
        Dictionary(keys, values) => {
            return format!("Dictionary({}, {})", self::data_type(keys), self::data_type(values));
        }
        RunEndEncoded(ends, values) => return format!("RunEndEncoded({}, {})", field(ends), field(values)),
        Union(fields, mode) => {
            let mode = match mode {
                UnionMode::Sparse => "Sparse",
                UnionMode::Dense => "Dense",
            };
            let fields = fields.iter().map(|(id, f)| format!("{id}: ({})", field(f)));
            return format!("Union({})", joined(std::iter::once(mode.to_owned()).chain(fields)));
        }
    };
    name.to_owned()
}

fn short(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "µs",
        TimeUnit::Nanosecond => "ns",
    }
}

fn list_item(item: &Field) -> String {
    let name = if item.name() == "item" { String::new() } else { format!(", field: '{}'", item.name()) };
    format!("{}{name}{}", nullable_type(item), metadata(item))
}

fn field(field: &Field) -> String {
    format!("{}: {}{}", quoted(field.name()), nullable_type(field), metadata(field))
}

fn nullable_type(field: &Field) -> String {
    format!("{}{}", if field.is_nullable() { "" } else { "non-null " }, data_type(field.data_type()))
}

fn metadata(field: &Field) -> String {
    let sorted: BTreeMap<&String, &String> = field.metadata().iter().collect();
    let entries = joined(sorted.iter().map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))));
    if sorted.is_empty() { entries } else { format!(", metadata: {{{entries}}}") }
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

/// The schema of a group's changes.
pub fn row_schema(schema: &Schema) -> String {
    let fields = schema.fields().iter().map(|field| {
        let (name, of_type) = (quoted(field.name()), row_type(field.data_type()));
        format!("Field {{ name: {name}, data_type: {of_type}{} }}", nullable_row(field))
    });
    format!("Schema {{ fields: [{}], metadata: {{}} }}", joined(fields))
}

fn nullable_row(field: &Field) -> &'static str {
    if field.is_nullable() { ", nullable: true" } else { "" }
}

/// The type of a key or a value of a row. It is another text than `data_type` gives, because it always was.
fn row_type(of: &DataType) -> String {
    match of {
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => "Second",
                TimeUnit::Millisecond => "Millisecond",
                TimeUnit::Microsecond => "Microsecond",
                TimeUnit::Nanosecond => "Nanosecond",
            };
            format!("Timestamp({unit}, {})", optional(zone.as_deref().map(quoted)))
        }
        DataType::List(item) => {
            format!("List(Field {{ data_type: {}{} }})", row_type(item.data_type()), nullable_row(item))
        }
        other => data_type(other),
    }
}

/// Columns by their place in the row.
pub fn columns(columns: &BTreeMap<usize, &str>) -> String {
    format!("{{{}}}", joined(columns.iter().map(|(index, identity)| format!("{index}: {}", quoted(identity)))))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::str::FromStr;
    use std::sync::Arc;

    use arrow::datatypes::{Fields, UnionFields};
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    #[test]
    fn texts() {
        for (text, written) in [
            ("", r#""""#),
            ("it's \\ \"a\"", r#""it's \\ \"a\"""#),
            ("a\tb\r\n\0\u{1b}\u{7f}\u{85}", r#""a\tb\r\n\0\u{1b}\u{7f}\u{85}""#),
            ("naïve Größe 東京 Ж €", r#""naïve Größe 東京 Ж €""#),
            ("e\u{301}", r#""e\u{301}""#),
            ("❤\u{fe0f} 👍🏽 👩\u{200d}🚀", r#""❤\u{fe0f} 👍🏽 👩\u{200d}🚀""#),
            ("हिन\u{94d}दी", r#""हिन\u{94d}दी""#),
            ("a\u{a0}b\u{3000}c\u{ad}d\u{feff}", r#""a\u{a0}b\u{3000}c\u{ad}d\u{feff}""#),
            ("\u{e000}\u{378}\u{10ffff}", r#""\u{e000}\u{378}\u{10ffff}""#),
        ] {
            assert_eq!(quoted(text), written);
        }
        let all: String = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
        assert_eq!(
            xxh3_64(quoted(&all).as_bytes()),
            0x8739_0a8f_6770_a4aa,
            "the text of a character is another one than it was"
        );
    }

    #[test]
    fn types() {
        use DataType::*;
        let item = |data_type, nullable| Arc::new(Field::new_list_field(data_type, nullable));
        let numbered = Field::new("a", Int32, true)
            .with_metadata(HashMap::from([("PARQUET:field_id".to_owned(), "7".to_owned()), ("b".into(), "\"".into())]));
        let fields = Fields::from(vec![numbered, Field::new("b", Utf8, false)]);
        let entries = Field::new("entries", Struct(fields.clone()), false);
        let rows = [
            (Null, "Null"),
            (Boolean, "Boolean"),
            (Int8, "Int8"),
            (Int16, "Int16"),
            (Int32, "Int32"),
            (Int64, "Int64"),
            (UInt8, "UInt8"),
            (UInt16, "UInt16"),
            (UInt32, "UInt32"),
            (UInt64, "UInt64"),
            (Float16, "Float16"),
            (Float32, "Float32"),
            (Float64, "Float64"),
            (Date32, "Date32"),
            (Date64, "Date64"),
            (Utf8, "Utf8"),
            (LargeUtf8, "LargeUtf8"),
            (Utf8View, "Utf8View"),
            (Binary, "Binary"),
            (LargeBinary, "LargeBinary"),
            (BinaryView, "BinaryView"),
            (FixedSizeBinary(16), "FixedSizeBinary(16)"),
            (Time32(TimeUnit::Second), "Time32(s)"),
            (Time64(TimeUnit::Nanosecond), "Time64(ns)"),
            (Duration(TimeUnit::Millisecond), "Duration(ms)"),
            (Interval(IntervalUnit::YearMonth), "Interval(YearMonth)"),
            (Interval(IntervalUnit::DayTime), "Interval(DayTime)"),
            (Interval(IntervalUnit::MonthDayNano), "Interval(MonthDayNano)"),
            (Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "Timestamp(µs, \"UTC\")"),
            (Timestamp(TimeUnit::Second, None), "Timestamp(s)"),
            (Decimal32(9, 2), "Decimal32(9, 2)"),
            (Decimal64(18, 2), "Decimal64(18, 2)"),
            (Decimal128(38, -2), "Decimal128(38, -2)"),
            (Decimal256(76, 2), "Decimal256(76, 2)"),
            (List(item(Int64, true)), "List(Int64)"),
            (LargeList(item(Utf8, false)), "LargeList(non-null Utf8)"),
            (ListView(item(Int64, true)), "ListView(Int64)"),
            (LargeListView(item(Int64, true)), "LargeListView(Int64)"),
            (List(Arc::new(Field::new("element", Int8, true))), "List(Int8, field: 'element')"),
            (FixedSizeList(item(Float32, true), 3), "FixedSizeList(3 x Float32)"),
            (Dictionary(Box::new(Int8), Box::new(Utf8)), "Dictionary(Int8, Utf8)"),
            (
                Struct(fields.clone()),
                r#"Struct("a": Int32, metadata: {"PARQUET:field_id": "7", "b": "\""}, "b": non-null Utf8)"#,
            ),
            (
                Map(Arc::new(entries), false),
                r#"Map("entries": non-null Struct("a": Int32, metadata: {"PARQUET:field_id": "7", "b": "\""}, "b": non-null Utf8), unsorted)"#,
            ),
            (
                RunEndEncoded(
                    Arc::new(Field::new("run_ends", Int32, false)),
                    Arc::new(Field::new("values", Int8, true)),
                ),
                r#"RunEndEncoded("run_ends": non-null Int32, "values": Int8)"#,
            ),
            (
                Union(UnionFields::try_new([3], [Field::new("a", Int8, true)]).unwrap(), UnionMode::Dense),
                r#"Union(Dense, 3: ("a": Int8))"#,
            ),
        ];
        for (of, text) in rows {
            assert_eq!(data_type(&of), text);
            // Arrow reads no metadata back; no input of ours has any.
            assert!(text.contains("metadata") || DataType::from_str(text).is_ok_and(|read| read == of), "{text}");
        }
        let time = || Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (of, text) in [
            (Int64, "Int64"),
            (Decimal128(38, 2), "Decimal128(38, 2)"),
            (time(), "Timestamp(Microsecond, Some(\"UTC\"))"),
            (
                List(item(time(), true)),
                "List(Field { data_type: Timestamp(Microsecond, Some(\"UTC\")), nullable: true })",
            ),
        ] {
            assert_eq!(row_type(&of), text);
        }
    }
}
