//! Values of a message's fields: those of a column, and as JSON what holds others.
//!
//! A field may be encoded several times. Of one value the last counts, messages become one message, and what is repeated follows each other.

use std::borrow::Cow;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::columns::{WellKnown, well_known};
use super::wire::{Raw, Wire, zigzag};
use crate::format::as_json::{LOST, TEXT_MAX, comma, write_value};
use crate::format::text::write_string;
use crate::format::value::Value;

/// The value of a field that was encoded so, in the order in which that was. `None`: it does not decode. `plain` is memory.
pub(super) fn value<'v>(
    field: &FieldDescriptor,
    found: &[Raw<'v>],
    plain: &'v mut Vec<u8>,
    depth: usize,
) -> Option<Value<'v>> {
    plain.clear();
    if field.is_list() || field.is_map() || is_plain_message(&field.kind()) && !found.is_empty() {
        json(field, found, plain, depth)?;
        return std::str::from_utf8(plain).ok().map(Value::Nested);
    }
    one(field, found, plain)
}

/// A message that is no value of the standard library.
fn is_plain_message(kind: &Kind) -> bool {
    matches!(kind, Kind::Message(message) if well_known(message).is_none())
}

/// A field with one value.
fn one<'v>(field: &FieldDescriptor, found: &[Raw<'v>], plain: &'v mut Vec<u8>) -> Option<Value<'v>> {
    match (found.last(), field.kind()) {
        (Some(_), Kind::Message(message)) => {
            let bytes = merged(found)?;
            match well_known(&message)? {
                WellKnown::Timestamp => time(&bytes),
                WellKnown::Wrapper => wrapped(&message, &bytes, plain),
            }
        }
        (None, _) if field.supports_presence() => Some(Value::Null),
        (last, Kind::Enum(of)) => {
            let number = match last {
                None => of.default_value().number(),
                Some(Raw::Varint(word)) => *word as i32,
                Some(_) => return None,
            };
            plain.extend(of.get_value(number)?.name().as_bytes());
            std::str::from_utf8(plain).ok().map(Value::Text)
        }
        (Some(raw), kind) => scalar(&kind, *raw),
        (None, kind) => Some(default(&kind)),
    }
}

/// What stands for a field that is not encoded, and cannot say that it is not there.
fn default(kind: &Kind) -> Value<'static> {
    match kind {
        Kind::Double | Kind::Float => Value::Float(0.0),
        Kind::Bool => Value::Bool(false),
        Kind::String => Value::Text(""),
        Kind::Bytes => Value::Bytes(b""),
        Kind::Message(_) | Kind::Enum(_) => Value::Null,
        _ => Value::Int(0),
    }
}

/// What was encoded in several parts, as one message.
pub(super) fn merged<'a>(found: &[Raw<'a>]) -> Option<Cow<'a, [u8]>> {
    let bytes = |raw: &Raw<'a>| if let Raw::Bytes(bytes) = raw { Some(*bytes) } else { None };
    match found {
        [one] => bytes(one).map(Cow::Borrowed),
        all => all.iter().map(bytes).collect::<Option<Vec<_>>>().map(|parts| Cow::Owned(parts.concat())),
    }
}

fn time(bytes: &[u8]) -> Option<Value<'static>> {
    let (mut wire, mut seconds, mut nanos) = (Wire(bytes), 0i64, 0i64);
    while !wire.at_end() {
        match wire.field()? {
            (1, Raw::Varint(word)) => seconds = word as i64,
            (2, Raw::Varint(word)) => nanos = i64::from(word as i32),
            _ => {}
        }
    }
    let in_range = (0..1_000_000_000).contains(&nanos);
    in_range.then(|| seconds.checked_mul(1_000_000)?.checked_add(nanos / 1000).map(Value::Time)).flatten()
}

fn wrapped<'v>(message: &MessageDescriptor, bytes: &[u8], plain: &'v mut Vec<u8>) -> Option<Value<'v>> {
    let field = message.get_field(1)?;
    let (mut wire, mut last) = (Wire(bytes), None);
    while !wire.at_end() {
        if let (1, raw) = wire.field()? {
            last = Some(raw);
        }
    }
    match last.map_or(Some(default(&field.kind())), |raw| scalar(&field.kind(), raw))? {
        Value::Text(text) => {
            plain.extend(text.as_bytes());
            std::str::from_utf8(plain).ok().map(Value::Text)
        }
        Value::Bytes(bytes) => {
            plain.extend(bytes);
            Some(Value::Bytes(plain))
        }
        Value::Bool(value) => Some(Value::Bool(value)),
        Value::Int(value) => Some(Value::Int(value)),
        Value::Float(value) => Some(Value::Float(value)),
        _ => None,
    }
}

/// A value without others in it. `None`: it is encoded as another kind is.
fn scalar<'v>(kind: &Kind, raw: Raw<'v>) -> Option<Value<'v>> {
    Some(match (kind, raw) {
        (Kind::Int32, Raw::Varint(word)) => Value::Int(i128::from(word as i32)),
        (Kind::Int64, Raw::Varint(word)) => Value::Int(i128::from(word as i64)),
        (Kind::Uint32, Raw::Varint(word)) => Value::Int(i128::from(word as u32)),
        (Kind::Uint64, Raw::Varint(word)) => Value::Int(i128::from(word)),
        (Kind::Sint32, Raw::Varint(word)) => Value::Int(i128::from(zigzag(u64::from(word as u32)) as i32)),
        (Kind::Sint64, Raw::Varint(word)) => Value::Int(i128::from(zigzag(word))),
        (Kind::Bool, Raw::Varint(word)) => Value::Bool(word != 0),
        (Kind::Fixed32, Raw::Fixed32(bytes)) => Value::Int(i128::from(u32::from_le_bytes(bytes))),
        (Kind::Sfixed32, Raw::Fixed32(bytes)) => Value::Int(i128::from(i32::from_le_bytes(bytes))),
        (Kind::Float, Raw::Fixed32(bytes)) => Value::Float(f64::from(f32::from_le_bytes(bytes))),
        (Kind::Fixed64, Raw::Fixed64(bytes)) => Value::Int(i128::from(u64::from_le_bytes(bytes))),
        (Kind::Sfixed64, Raw::Fixed64(bytes)) => Value::Int(i128::from(i64::from_le_bytes(bytes))),
        (Kind::Double, Raw::Fixed64(bytes)) => Value::Float(f64::from_le_bytes(bytes)),
        (Kind::String, Raw::Bytes(bytes)) => Value::Text(std::str::from_utf8(bytes).ok()?),
        (Kind::Bytes, Raw::Bytes(bytes)) => Value::Bytes(bytes),
        _ => return None,
    })
}

/// Appends a field as JSON.
fn json(field: &FieldDescriptor, found: &[Raw], out: &mut Vec<u8>, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        return map(&entry, found, out, depth);
    }
    if !field.is_list() {
        return json_of_one(field, found, out, depth);
    }
    out.push(b'[');
    let start = out.len();
    for raw in found {
        match (raw, field.kind()) {
            (Raw::Bytes(bytes), kind) if is_packable(&kind) => {
                let mut wire = Wire(bytes);
                while !wire.at_end() {
                    comma(out, start);
                    let raw = wire.value(0, packed_as(&kind), 0)?;
                    json_of_value(field, &[raw], out, depth)?;
                }
            }
            _ => {
                comma(out, start);
                json_of_value(field, &[*raw], out, depth)?;
            }
        }
    }
    out.push(b']');
    Some(())
}

fn json_of_one(field: &FieldDescriptor, found: &[Raw], out: &mut Vec<u8>, depth: usize) -> Option<()> {
    if found.is_empty() && field.supports_presence() {
        out.extend(b"null");
        return Some(());
    }
    json_of_value(field, found, out, depth)
}

/// A value that is there, or that has a default: one of a list, or the only one.
fn json_of_value(field: &FieldDescriptor, found: &[Raw], out: &mut Vec<u8>, depth: usize) -> Option<()> {
    if out.len() > TEXT_MAX {
        return None;
    }
    match field.kind() {
        Kind::Message(message) if well_known(&message).is_none() => match merged(found) {
            Some(bytes) => object(&message, &bytes, out, depth),
            None => {
                out.extend(LOST);
                Some(())
            }
        },
        _ => {
            let mut plain = vec![];
            write_value(out, one(field, found, &mut plain));
            Some(())
        }
    }
}

fn object(message: &MessageDescriptor, bytes: &[u8], out: &mut Vec<u8>, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let all = grouped(bytes)?;
    out.push(b'{');
    let start = out.len();
    for field in message.fields() {
        comma(out, start);
        write_string(out, field.name());
        out.push(b':');
        json(&field, &of_number(&all, field.number(), &field), out, depth)?;
    }
    out.push(b'}');
    Some(())
}

/// A message's fields by number, each in its order, with its place among all.
pub(super) fn grouped(bytes: &[u8]) -> Option<Vec<(u32, usize, Raw<'_>)>> {
    let (mut wire, mut all) = (Wire(bytes), vec![]);
    while !wire.at_end() {
        let (number, raw) = wire.field()?;
        all.push((number, all.len(), raw));
    }
    all.sort_by_key(|(number, ..)| *number);
    Some(all)
}

/// What was encoded of a field. Of several of which one may be there, the last is.
pub(super) fn of_number<'a>(all: &[(u32, usize, Raw<'a>)], number: u32, field: &FieldDescriptor) -> Vec<Raw<'a>> {
    let of = |number: u32| {
        let from = all.partition_point(|(known, ..)| *known < number);
        let len = all[from..].partition_point(|(known, ..)| *known == number);
        &all[from..from + len]
    };
    let own = of(number);
    let last = own.last().map(|(_, place, _)| *place);
    let others = field.containing_oneof().filter(|_| last.is_some());
    let after: Option<usize> = others.and_then(|oneof| {
        let others = oneof.fields().filter(|other| other.number() != number);
        others.filter_map(|other| of(other.number()).last().map(|(_, place, _)| *place)).max()
    });
    // What came before another of them is gone.
    own.iter().filter(|(_, place, _)| after.is_none_or(|after| after < *place)).map(|(.., raw)| *raw).collect()
}

fn map(entry: &MessageDescriptor, found: &[Raw], out: &mut Vec<u8>, depth: usize) -> Option<()> {
    let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    out.push(b'{');
    let start = out.len();
    for raw in found {
        let Raw::Bytes(bytes) = raw else { return None };
        let all = grouped(bytes)?;
        comma(out, start);
        let of_key = of_number(&all, 1, &key);
        let text = match of_key.last().map_or(Some(default(&key.kind())), |raw| scalar(&key.kind(), *raw))? {
            Value::Text(text) => text.to_owned(),
            Value::Int(value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return None,
        };
        write_string(out, &text);
        out.push(b':');
        // An entry without a value has the default, a message too.
        let of_value = of_number(&all, 2, &value);
        match (of_value.is_empty(), value.kind()) {
            (true, Kind::Message(_)) => json_of_value(&value, &[Raw::Bytes(&[])], out, depth)?,
            _ => json_of_value(&value, &of_value, out, depth)?,
        }
    }
    out.push(b'}');
    Some(())
}

/// Whether many of them may stand behind each other without their numbers.
fn is_packable(kind: &Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}

/// As which wire type they stand there.
fn packed_as(kind: &Kind) -> u8 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
        _ => 0,
    }
}
