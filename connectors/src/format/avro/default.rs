//! A default of a schema, which is JSON, as the bytes that a writer would have written.

use serde_json::Value;

use super::schema::{Id, Kind, Schema};

/// How many values a default may have: those of records may lie in one another, and stand in many places.
const VALUES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 100;

/// `None`: it is no value of the type.
pub(super) fn encoded(schema: &Schema, id: Id, json: &Value) -> Option<Vec<u8>> {
    let mut encoder = Encoder { schema, out: vec![], values: 0 };
    encoder.encode(id, json, DEPTH_MAX)?;
    Some(encoder.out)
}

struct Encoder<'a> {
    schema: &'a Schema,
    out: Vec<u8>,
    values: usize,
}

impl Encoder<'_> {
    fn encode(&mut self, id: Id, json: &Value, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.values += 1;
        if self.values > VALUES_MAX {
            return None;
        }
        let out = &mut self.out;
        match (self.schema.kind(id), json) {
            (Kind::Null, Value::Null) => {}
            (Kind::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
            (Kind::Int, Value::Number(number)) => long(out, i64::from(i32::try_from(number.as_i64()?).ok()?)),
            (Kind::Long, Value::Number(number)) => long(out, number.as_i64()?),
            (Kind::Float, json) => out.extend((float(json)? as f32).to_le_bytes()),
            (Kind::Double, json) => out.extend(float(json)?.to_le_bytes()),
            (Kind::Text, Value::String(text)) => bytes(out, text.as_bytes()),
            (Kind::Bytes, Value::String(text)) => bytes(out, &latin(text)?),
            (Kind::Fixed(size), Value::String(text)) => {
                let value = latin(text).filter(|value| value.len() == *size)?;
                out.extend(value);
            }
            (Kind::Enum { symbols, .. }, Value::String(text)) => {
                long(out, symbols.iter().position(|symbol| symbol == text)? as i64);
            }
            (Kind::Array(item), Value::Array(items)) => {
                if !items.is_empty() {
                    long(out, items.len() as i64);
                    items.iter().try_for_each(|json| self.encode(*item, json, depth))?;
                }
                long(&mut self.out, 0);
            }
            (Kind::Map(value), Value::Object(entries)) => {
                if !entries.is_empty() {
                    long(out, entries.len() as i64);
                }
                for (key, json) in entries {
                    bytes(&mut self.out, key.as_bytes());
                    self.encode(*value, json, depth)?;
                }
                long(&mut self.out, 0);
            }
            // Of the first branch, as it used to be; of any, since 1.12.
            (Kind::Union(branches), json) => {
                let before = out.len();
                let of = |(at, branch): (usize, &Id)| {
                    self.out.truncate(before);
                    long(&mut self.out, at as i64);
                    self.encode(*branch, json, depth)
                };
                branches.iter().enumerate().find_map(of)?;
            }
            (Kind::Record { fields, .. }, Value::Object(given)) => {
                for field in fields {
                    self.encode(field.of, given.get(&field.name).or(field.default.as_ref())?, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn float(json: &Value) -> Option<f64> {
    match json {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Each byte is the character of its number.
fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    long(out, value.len() as i64);
    out.extend(value);
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut word = ((value << 1) ^ (value >> 63)) as u64;
    while word >= 0x80 {
        out.push(word as u8 | 0x80);
        word >>= 7;
    }
    out.push(word as u8);
}
