//! Types as the C data interface writes them: `l` is an int64, `tsu:UTC` a timestamp. Those with children are in [`children`].

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, IntervalUnit, TimeUnit, UnionFields, UnionMode};

const PLAIN: [(&str, DataType); 32] = [
    ("n", DataType::Null),
    ("b", DataType::Boolean),
    ("c", DataType::Int8),
    ("C", DataType::UInt8),
    ("s", DataType::Int16),
    ("S", DataType::UInt16),
    ("i", DataType::Int32),
    ("I", DataType::UInt32),
    ("l", DataType::Int64),
    ("L", DataType::UInt64),
    ("e", DataType::Float16),
    ("f", DataType::Float32),
    ("g", DataType::Float64),
    ("z", DataType::Binary),
    ("Z", DataType::LargeBinary),
    ("vz", DataType::BinaryView),
    ("u", DataType::Utf8),
    ("U", DataType::LargeUtf8),
    ("vu", DataType::Utf8View),
    ("tdD", DataType::Date32),
    ("tdm", DataType::Date64),
    ("tts", DataType::Time32(TimeUnit::Second)),
    ("ttm", DataType::Time32(TimeUnit::Millisecond)),
    ("ttu", DataType::Time64(TimeUnit::Microsecond)),
    ("ttn", DataType::Time64(TimeUnit::Nanosecond)),
    ("tDs", DataType::Duration(TimeUnit::Second)),
    ("tDm", DataType::Duration(TimeUnit::Millisecond)),
    ("tDu", DataType::Duration(TimeUnit::Microsecond)),
    ("tDn", DataType::Duration(TimeUnit::Nanosecond)),
    ("tiM", DataType::Interval(IntervalUnit::YearMonth)),
    ("tiD", DataType::Interval(IntervalUnit::DayTime)),
    ("tin", DataType::Interval(IntervalUnit::MonthDayNano)),
];

const UNITS: [(char, TimeUnit); 4] =
    [('s', TimeUnit::Second), ('m', TimeUnit::Millisecond), ('u', TimeUnit::Microsecond), ('n', TimeUnit::Nanosecond)];

/// The type of a format, given its children. `is_sorted`: of a map, whether its keys are.
pub fn parse(format: &str, children: Vec<FieldRef>, is_sorted: bool) -> Result<DataType, String> {
    if let Some((_, plain)) = PLAIN.iter().find(|(known, _)| *known == format) {
        return Ok(plain.clone());
    }
    let unknown = || format!("Arrow type `{format}` is not known");
    if let Some(nested) = format.strip_prefix('+') {
        return parse_nested(nested, children, is_sorted).ok_or_else(unknown);
    }
    parse_with_numbers(format).ok_or_else(unknown)
}

fn parse_with_numbers(format: &str) -> Option<DataType> {
    let (kind, rest) = format.split_once(':')?;
    if let Some(unit) = kind.strip_prefix("ts").and_then(|unit| unit.chars().next()) {
        let (_, unit) = UNITS.iter().find(|(known, _)| *known == unit)?;
        return Some(DataType::Timestamp(*unit, (!rest.is_empty()).then(|| rest.into())));
    }
    match kind {
        "w" => Some(DataType::FixedSizeBinary(rest.parse().ok()?)),
        "d" => {
            let mut parts = rest.split(',');
            let (precision, scale) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            match parts.next().unwrap_or("128") {
                "32" => Some(DataType::Decimal32(precision, scale)),
                "64" => Some(DataType::Decimal64(precision, scale)),
                "128" => Some(DataType::Decimal128(precision, scale)),
                "256" => Some(DataType::Decimal256(precision, scale)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn parse_nested(format: &str, children: Vec<FieldRef>, is_sorted: bool) -> Option<DataType> {
    let only = || match children.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    match format.split_once(':') {
        Some(("w", size)) => return Some(DataType::FixedSizeList(only()?, size.parse().ok()?)),
        Some((kind @ ("ud" | "us"), ids)) => {
            let mode = if kind == "ud" { UnionMode::Dense } else { UnionMode::Sparse };
            let ids = ids.split(',').filter(|id| !id.is_empty());
            let ids: Vec<i8> = ids.map(|id| id.parse().ok()).collect::<Option<_>>()?;
            return Some(DataType::Union(UnionFields::try_new(ids, children).ok()?, mode));
        }
        _ => {}
    }
    match format {
        "l" => Some(DataType::List(only()?)),
        "L" => Some(DataType::LargeList(only()?)),
        "vl" => Some(DataType::ListView(only()?)),
        "vL" => Some(DataType::LargeListView(only()?)),
        "m" => Some(DataType::Map(only()?, is_sorted)),
        "s" => Some(DataType::Struct(Fields::from(children))),
        "r" => match children.as_slice() {
            [ends, values] => Some(DataType::RunEndEncoded(ends.clone(), values.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// The format of a type.
pub fn format(data_type: &DataType) -> String {
    if let Some((plain, _)) = PLAIN.iter().find(|(_, known)| known == data_type) {
        return (*plain).to_owned();
    }
    let unit = |unit: &TimeUnit| UNITS.iter().find(|(_, known)| known == unit).map_or('u', |(unit, _)| *unit);
    match data_type {
        DataType::Timestamp(of, zone) => format!("ts{}:{}", unit(of), zone.as_deref().unwrap_or_default()),
        DataType::FixedSizeBinary(size) => format!("w:{size}"),
        DataType::Decimal32(precision, scale) => format!("d:{precision},{scale},32"),
        DataType::Decimal64(precision, scale) => format!("d:{precision},{scale},64"),
        DataType::Decimal128(precision, scale) => format!("d:{precision},{scale}"),
        DataType::Decimal256(precision, scale) => format!("d:{precision},{scale},256"),
        DataType::List(_) => "+l".to_owned(),
        DataType::LargeList(_) => "+L".to_owned(),
        DataType::ListView(_) => "+vl".to_owned(),
        DataType::LargeListView(_) => "+vL".to_owned(),
        DataType::FixedSizeList(_, size) => format!("+w:{size}"),
        DataType::Struct(_) => "+s".to_owned(),
        DataType::Map(..) => "+m".to_owned(),
        DataType::RunEndEncoded(..) => "+r".to_owned(),
        DataType::Union(fields, mode) => {
            let ids: Vec<String> = fields.iter().map(|(id, _)| id.to_string()).collect();
            let kind = if *mode == UnionMode::Dense { "ud" } else { "us" };
            format!("+{kind}:{}", ids.join(","))
        }
        // A dictionary is written as its keys are.
        DataType::Dictionary(keys, _) => format(keys),
        other => unreachable!("{other} is plain"),
    }
}

/// The fields of what a type holds.
pub fn children(data_type: &DataType) -> Vec<FieldRef> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field.clone()],
        DataType::Struct(fields) => fields.iter().map(Arc::clone).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.clone(), values.clone()],
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.clone()).collect(),
        _ => vec![],
    }
}
