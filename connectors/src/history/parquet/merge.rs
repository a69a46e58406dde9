//! The types of one column in several files, joined: the widest where there is one, field by field where it is a struct.
//!
//! A field that has no type to fit all files is `unusable`, with the reason; it harms no field beside it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields};

use crate::unusable::{UNUSABLE, unusable};

/// Key of a field's metadata, while files are joined: the file that its type is from.
const FROM: &str = "from";

/// A field of a file, which remembers it.
pub(in crate::history) fn of_file(field: &Field, path: &str) -> Field {
    if field.metadata().contains_key(UNUSABLE) {
        return field.clone();
    }
    let inside = |field: &FieldRef| Arc::new(of_file(field, path));
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        DataType::List(item) => DataType::List(inside(item)),
        DataType::Map(entries, sorted) => DataType::Map(inside(entries), *sorted),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true).with_metadata(HashMap::from([(FROM.to_owned(), path.to_owned())]))
}

/// A field without what it remembers.
pub(in crate::history) fn settled(field: &Field) -> Field {
    let inside = |field: &FieldRef| Arc::new(settled(field));
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        DataType::List(item) => DataType::List(inside(item)),
        DataType::Map(entries, sorted) => {
            // The entries and the keys of a map are never null.
            let entries = inside(entries);
            let fields = match entries.data_type() {
                DataType::Struct(pair) => pair.iter().enumerate().map(|(at, field)| match at {
                    0 => Arc::new(field.as_ref().clone().with_nullable(false)),
                    _ => field.clone(),
                }),
                _ => return field.clone(),
            };
            let entries = Field::new(entries.name(), DataType::Struct(fields.collect()), false);
            DataType::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    };
    let mut metadata = field.metadata().clone();
    metadata.remove(FROM);
    Field::new(field.name(), data_type, true).with_metadata(metadata)
}

/// The same field of two files. `place`: how messages name it.
pub(in crate::history) fn merged(known: &Field, seen: &Field, place: &str) -> Field {
    if known.metadata().contains_key(UNUSABLE) || seen.metadata().contains_key(UNUSABLE) {
        return if known.metadata().contains_key(UNUSABLE) { known.clone() } else { seen.clone() };
    }
    let with = |data_type: Option<DataType>| match data_type {
        Some(data_type) if data_type == *known.data_type() => known.clone(),
        Some(data_type) => seen.clone().with_data_type(data_type),
        None => two_types(known, seen, place),
    };
    match (known.data_type(), seen.data_type()) {
        (DataType::Struct(one), DataType::Struct(two)) => {
            known.clone().with_data_type(DataType::Struct(merged_fields(one, two, place)))
        }
        (DataType::List(one), DataType::List(two)) => {
            let item = merged(one, two, place);
            if item.metadata().contains_key(UNUSABLE) {
                return two_types(known, seen, place);
            }
            known.clone().with_data_type(DataType::List(Arc::new(item)))
        }
        (DataType::Map(one, sorted), DataType::Map(two, _)) => {
            let entries = merged(one, two, place);
            let fails = |field: &FieldRef| field.metadata().contains_key(UNUSABLE);
            match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 && !pair.iter().any(fails) => {
                    known.clone().with_data_type(DataType::Map(Arc::new(entries), *sorted))
                }
                _ => two_types(known, seen, place),
            }
        }
        (one, two) => with(widest(one, two)),
    }
}

fn merged_fields(known: &Fields, seen: &Fields, place: &str) -> Fields {
    let of = |fields: &Fields, name: &str| fields.iter().find(|field| field.name() == name).cloned();
    let both = |field: &FieldRef| match of(seen, field.name()) {
        Some(other) => Arc::new(merged(field, &other, &format!("{place}.{}", field.name()))),
        None => field.clone(),
    };
    let more = seen.iter().filter(|field| of(known, field.name()).is_none()).cloned();
    known.iter().map(both).chain(more).collect()
}

fn two_types(known: &Field, seen: &Field, place: &str) -> Field {
    let from = |field: &Field| field.metadata().get(FROM).cloned().unwrap_or_default();
    let shown = |field: &Field| settled(field).data_type().to_string();
    let why = format!(
        "column {place:?} has two types: {} in {}, but {} in {}",
        shown(known),
        from(known),
        shown(seen),
        from(seen)
    );
    unusable(known.name(), why)
}

/// The narrowest type that holds every value of both, exactly; `None`: there is none. A column that is null throughout a file
/// (of type `Null`) goes with any.
pub(super) fn widest(one: &DataType, two: &DataType) -> Option<DataType> {
    use DataType::{Binary, Decimal128, Float32, Float64, Null, Utf8};
    match (one, two) {
        (one, two) if one == two => Some(one.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        (Utf8, Binary) | (Binary, Utf8) => Some(Binary),
        (Decimal128(..), _) | (_, Decimal128(..)) => wider_decimal(one, two),
        (float @ (Float32 | Float64), other) | (other, float @ (Float32 | Float64)) => wider_float(float, other),
        (one, two) => {
            let (of_one, of_two) = (integer(one)?, integer(two)?);
            let signed = of_one.0 || of_two.0;
            // An unsigned integer needs one bit more as a signed one.
            let bits = |(is_signed, bits): (bool, u32)| if signed && !is_signed { bits + 1 } else { bits };
            integer_of(signed, bits(of_one).max(bits(of_two))).or_else(|| wider_decimal(one, two))
        }
    }
}

/// The float type that holds every value of a float and an integer: it has 24 or 53 bits for them.
fn wider_float(float: &DataType, other: &DataType) -> Option<DataType> {
    match integer(other)?.1 {
        ..=16 => Some(float.clone()),
        17..=32 => Some(DataType::Float64),
        _ => None,
    }
}

/// The decimal type that holds every value of two of decimals and integers.
fn wider_decimal(one: &DataType, two: &DataType) -> Option<DataType> {
    let ((p1, s1), (p2, s2)) = (digits(one)?, digits(two)?);
    let scale = s1.max(s2);
    let digits = (i16::from(p1) - i16::from(s1)).max(i16::from(p2) - i16::from(s2)) + i16::from(scale);
    let precision = u8::try_from(digits).ok().filter(|digits| *digits <= DECIMAL128_MAX_PRECISION)?;
    Some(DataType::Decimal128(precision, scale))
}

/// How many digits the values of a type have, and how many of them behind the point.
fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    if let DataType::Decimal128(precision, scale) = data_type {
        return Some((*precision, *scale));
    }
    let (is_signed, bits) = integer(data_type)?;
    let greatest = u64::MAX >> (u64::BITS - bits + u32::from(is_signed));
    Some((u8::try_from(greatest.ilog10()).ok()? + 1, 0))
}

/// Whether an integer type is signed, and its bits.
fn integer(data_type: &DataType) -> Option<(bool, u32)> {
    let bits = data_type.primitive_width().filter(|_| data_type.is_integer())? as u32 * 8;
    Some((data_type.is_signed_integer(), bits))
}

/// The integer type of at least so many bits.
fn integer_of(signed: bool, bits: u32) -> Option<DataType> {
    use DataType::*;
    let types = if signed { [Int8, Int16, Int32, Int64] } else { [UInt8, UInt16, UInt32, UInt64] };
    types.into_iter().find(|ty| integer(ty).is_some_and(|(_, held)| held >= bits))
}
