//! How rows and marks are called in Redis.

use arrow::datatypes::DataType;
use headwater_clocks::EventTime;

use crate::format::text::write_string;
use crate::sink::GroupShape;

/// The names of a job's keys. Group and job names have no ':', and groups begin with a letter, so none can be another.
#[derive(Clone)]
pub(super) struct Names {
    job: String,
}

impl Names {
    pub fn new(job: &str) -> Names {
        Names { job: job.into() }
    }

    pub fn generation(&self) -> String {
        format!("{}:_generation", self.job)
    }

    /// `number`: of the full refreshes of a start. None is another's, so what is left of one is never taken for the next.
    pub fn full_refresh(&self, generation: u64, number: u64) -> String {
        format!("{}:_image:{generation}:{number}", self.job)
    }

    pub fn upto(&self, group: &str) -> String {
        format!("{}:{group}:_upto", self.job)
    }

    pub fn as_of(&self, group: &str) -> String {
        format!("{}:{group}:_as_of", self.job)
    }

    /// What the keys of a group's rows begin with.
    pub fn rows(&self, group: &str) -> String {
        format!("{}:{group}:", self.job)
    }

    /// A pattern for everything of the job.
    pub fn all(&self) -> String {
        format!("{}:*", glob(&self.job))
    }
}

/// Appends a key value's text so that it has no ':' and is no mark: ':', '%' and a leading '_' as `%3A %25 %5F`.
pub(super) fn encode(out: &mut Vec<u8>, value: &[u8]) {
    for (i, byte) in value.iter().enumerate() {
        match byte {
            b':' => out.extend_from_slice(b"%3A"),
            b'%' => out.extend_from_slice(b"%25"),
            b'_' if i == 0 => out.extend_from_slice(b"%5F"),
            _ => out.push(*byte),
        }
    }
}

fn decode(text: &str) -> String {
    // '%' last: what it gives is not looked at again.
    text.replace("%3A", ":").replace("%5F", "_").replace("%25", "%")
}

/// The text as a pattern that matches it alone.
pub(super) fn glob(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The end of a row's key, `c1` or `c1:0`, as the key's JSON text and the window's start. `None`: it is no row's.
pub(super) fn parse(shape: &GroupShape, text: &str) -> Option<(String, Option<EventTime>)> {
    if text.starts_with('_') {
        return None;
    }
    let mut parts: Vec<_> = text.split(':').collect();
    let start = if shape.windowed() { Some(EventTime::from_us(parts.pop()?.parse().ok()?)) } else { None };
    if parts.len() != shape.keys {
        return None;
    }
    let mut out = vec![b'{'];
    for (i, (part, field)) in parts.iter().zip(shape.schema.fields()).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(&mut out, field.name());
        out.push(b':');
        write_json(&mut out, field.data_type(), &decode(part));
    }
    out.push(b'}');
    Some((String::from_utf8(out).ok()?, start))
}

/// A key's JSON text as the end of its rows' keys, without a window's start. `None`: it is no such key.
pub(super) fn from_json(shape: &GroupShape, key: &str) -> Option<Vec<u8>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(key).ok()?;
    let mut out = Vec::new();
    for (i, field) in shape.schema.fields()[..shape.keys].iter().enumerate() {
        if i > 0 {
            out.push(b':');
        }
        match object.get(field.name())? {
            serde_json::Value::String(text) => encode(&mut out, text.as_bytes()),
            other => encode(&mut out, other.to_string().as_bytes()),
        }
    }
    Some(out)
}

/// Appends a value's plain text as the JSON that it was.
pub(super) fn write_json(out: &mut Vec<u8>, kind: &DataType, text: &str) {
    let plain = match kind {
        DataType::Boolean | DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => true,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => !matches!(text, "NaN" | "Infinity" | "-Infinity"),
        kind => kind.is_integer(),
    };
    if plain { out.extend_from_slice(text.as_bytes()) } else { write_string(out, text) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};

    use headwater_clocks::Span;

    use super::*;
    use crate::sink::RowWindows;

    fn shape(windowed: bool) -> GroupShape {
        let fields = vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)];
        let windows = windowed.then_some(RowWindows { retain: Span::ZERO, size: None });
        GroupShape { name: "g".into(), keys: 2, windows, schema: Arc::new(Schema::new(fields)) }
    }

    #[test]
    fn keys_there_and_back() {
        for (json, text) in [
            (r#"{"a":"c1","b":7}"#, "c1:7"),
            (r#"{"a":"_as_of","b":-7}"#, "%5Fas_of:-7"),
            (r#"{"a":"a:b%3A_%","b":0}"#, "a%3Ab%253A_%25:0"),
            (r#"{"a":"","b":0}"#, ":0"),
            (r#"{"a":"üß\"\n*","b":0}"#, "üß\"\n*:0"),
        ] {
            let encoded = from_json(&shape(false), json).unwrap();
            assert_eq!(String::from_utf8(encoded).unwrap(), text);
            assert_eq!(parse(&shape(false), text), Some((json.into(), None)));
            assert_eq!(parse(&shape(true), &format!("{text}:-5")), Some((json.into(), Some(EventTime::from_us(-5)))));
        }
        for text in ["_upto", "c1", "c1:7:8"] {
            assert_eq!(parse(&shape(false), text), None);
        }
        assert_eq!(from_json(&shape(false), r#"{"a":"x"}"#), None);
    }

    /// Whoever reads the store knows them, and so does a start that goes on from what another version has written.
    #[test]
    fn names() {
        let names = Names::new("fraud");
        let all = [
            names.rows("g"),
            names.upto("g"),
            names.as_of("g"),
            names.generation(),
            names.full_refresh(3, 1),
            names.all(),
        ];
        let expected =
            ["fraud:g:", "fraud:g:_upto", "fraud:g:_as_of", "fraud:_generation", "fraud:_image:3:1", "fraud:*"];
        assert_eq!(all, expected);
    }

    #[test]
    fn patterns_match_themselves() {
        assert_eq!(glob(r"fraud-1*?[a]\"), r"fraud\-1\*\?\[a\]\\");
    }
}
