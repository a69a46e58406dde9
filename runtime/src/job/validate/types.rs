//! Arrow's type names, as `[sources.NAME.schema]` writes them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::job::nearest::nearest;

const NAMES: [(&str, DataType); 19] = [
    ("bool", DataType::Boolean),
    ("boolean", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("string", DataType::Utf8),
    ("utf8", DataType::Utf8),
    ("large_utf8", DataType::Utf8),
    ("large_string", DataType::Utf8),
    ("date", DataType::Date32),
    ("date32", DataType::Date32),
    ("date32[day]", DataType::Date32),
];

/// What people from elsewhere write.
const MEANT: [(&str, &str); 22] = [
    ("int", "int64"),
    ("integer", "int64"),
    ("long", "int64"),
    ("bigint", "int64"),
    ("smallint", "int16"),
    ("float", "float64"),
    ("float16", "float32"),
    ("halffloat", "float32"),
    ("double", "float64"),
    ("real", "float32"),
    ("text", "string"),
    ("str", "string"),
    ("varchar", "string"),
    ("largeutf8", "large_utf8"),
    ("date64", "date32"),
    ("datetime", "timestamp"),
    ("timestamptz", "timestamp"),
    ("time", "timestamp"),
    ("decimal", "decimal128(18, 2)"),
    ("decimal128", "decimal128(18, 2)"),
    ("numeric", "decimal128(18, 2)"),
    ("decimal256", "decimal128(18, 2)"),
];

/// How deep a type may be nested.
const DEPTH_MAX: usize = 32;

/// The type that `text` names, or a message.
pub fn parse(text: &str) -> Result<DataType, String> {
    parse_at(text, 0)
}

fn parse_at(text: &str, depth: usize) -> Result<DataType, String> {
    if depth > DEPTH_MAX {
        return Err(format!("`{text}` is nested more than {DEPTH_MAX} deep"));
    }
    match nested(text) {
        Some((kind, inside)) => nested_type(text, kind, inside, depth + 1),
        None => plain(text),
    }
}

/// `list<string>` as `list` and `string`.
fn nested(text: &str) -> Option<(&'static str, &str)> {
    let (kind, rest) = text.trim().split_once(['<', '('])?;
    let inside = rest.strip_suffix(['>', ')'])?;
    let kinds = [("list", "list"), ("array", "list"), ("large_list", "list"), ("struct", "struct"), ("map", "map")];
    let known = kinds.iter().find(|(name, _)| kind.trim().eq_ignore_ascii_case(name))?;
    Some((known.1, inside))
}

fn nested_type(text: &str, kind: &str, inside: &str, depth: usize) -> Result<DataType, String> {
    let parts = at_commas(inside);
    match (kind, &parts[..]) {
        ("list", [item]) => {
            // Arrow names the items of a list.
            let item = named(item).filter(|(name, _)| matches!(*name, "item" | "element")).map_or(*item, |(_, of)| of);
            Ok(DataType::new_list(parse_at(item, depth)?, true))
        }
        ("map", [key, value]) => {
            let (key, value) = (parse_at(key, depth)?, parse_at(value, depth)?);
            if key != DataType::Utf8 {
                return Err(format!("`{text}`: the keys of a map are strings: expected map<string, ...>"));
            }
            let pair = vec![Field::new("key", key, false), Field::new("value", value, true)];
            let entries = Field::new("entries", DataType::Struct(pair.into()), false);
            Ok(DataType::Map(Arc::new(entries), false))
        }
        ("struct", fields) => {
            let mut known: Vec<Field> = vec![];
            for field in fields {
                let expected = || format!("`{text}`: expected names and types, like struct<id: int64, name: string>");
                let (name, of) = named(field).ok_or_else(expected)?;
                if known.iter().any(|field| field.name() == name) {
                    return Err(format!("`{text}` names `{name}` twice"));
                }
                known.push(Field::new(name, parse_at(of, depth)?, true));
            }
            Ok(DataType::Struct(known.into()))
        }
        _ => Err(format!("`{text}`: expected list<string>, map<string, int64> or struct<id: int64>")),
    }
}

/// Parts between commas that stand in no brackets.
fn at_commas(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (vec![], 0i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// `id: int64`; a name may be in quotes.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, of) = text.split_once(':')?;
    let name = name.trim().trim_matches(['"', '\'']);
    (!name.is_empty() && !name.contains(['<', '('])).then_some((name, of.trim()))
}

fn plain(text: &str) -> Result<DataType, String> {
    let name = text.trim().to_ascii_lowercase();
    let (base, arguments) = split(&name);
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, ty)| ty.clone());
    match (known, base, arguments) {
        (Some(ty), _, _) => Ok(ty),
        (None, "timestamp", arguments) => timestamp(text, arguments),
        (None, "decimal128" | "decimal", Some(arguments)) => decimal(text, arguments),
        _ => Err(format!("unknown type `{text}`: {}", hint(&name))),
    }
}

/// `name`, `name(arguments)` or `name[arguments]`.
fn split(name: &str) -> (&str, Option<&str>) {
    let Some(open) = name.find(['(', '[']) else { return (name, None) };
    let close = if name[open..].starts_with('(') { ')' } else { ']' };
    (name[..open].trim_end(), name[open + 1..].strip_suffix(close))
}

/// Any unit may be written: times are microseconds in UTC all the same.
fn timestamp(text: &str, arguments: Option<&str>) -> Result<DataType, String> {
    const UNITS: [&str; 9] = ["s", "ms", "us", "µs", "ns", "second", "millisecond", "microsecond", "nanosecond"];
    const ZONES: [&str; 4] = ["utc", "some(utc)", "none", "+00:00"];
    let plain = arguments.unwrap_or("us").replace(['"', '\''], "");
    let mut parts = plain.split(',').map(str::trim);
    if !parts.next().is_some_and(|unit| UNITS.contains(&unit)) {
        return Err(format!("unknown type `{text}`: expected `timestamp`, or a unit with it, like `timestamp[us]`"));
    }
    match parts.next().map(|zone| zone.trim_start_matches("tz=")) {
        Some(zone) if !ZONES.contains(&zone) => Err(format!("`{text}`: times are UTC here: expected `timestamp`")),
        _ => Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    }
}

fn decimal(text: &str, arguments: &str) -> Result<DataType, String> {
    let mut parts = arguments.split(',').map(|part| part.trim().parse::<u8>().ok());
    match (parts.next().flatten(), parts.next().flatten(), parts.next()) {
        (Some(precision @ 1..=38), Some(scale), None) if scale <= precision => {
            Ok(DataType::Decimal128(precision, scale as i8))
        }
        _ => Err(format!("`{text}`: expected `decimal128(p, s)` with p from 1 to 38 and s from 0 to p")),
    }
}

fn hint(name: &str) -> String {
    let meant = MEANT.iter().find(|(written, _)| *written == split(name).0).map(|(_, meant)| *meant);
    let names = NAMES.iter().map(|(name, _)| *name).chain(["timestamp"]);
    match meant.or_else(|| nearest(name, names)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "expected an Arrow type: bool, int8 to int64, uint8 to uint64, float32, float64, string, date, timestamp, \
                 decimal128(p, s), list<...>, struct<...> or map<string, ...>"
                .into()
        }
    }
}

/// A type as a job file would write it, for messages.
pub fn display(ty: &DataType) -> String {
    match ty {
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Decimal128(precision, scale) => format!("decimal128({precision}, {scale})"),
        DataType::List(of) => format!("list of {}", display(of.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{}: {}", field.name(), display(field.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("map<{}, {}>", display(pair[0].data_type()), display(pair[1].data_type()))
            }
            other => other.to_string(),
        },
        other => {
            let name = NAMES.iter().find(|(_, ty)| ty == other).map(|(name, _)| *name);
            name.map_or_else(|| other.to_string(), String::from)
        }
    }
}
