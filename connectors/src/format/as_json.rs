//! Values that hold others, as formats that are no text hand them to columns: as JSON.

use std::fmt::Write;

use headwater_clocks::format_time;

use super::text::write_string;
use super::value::Value;

/// A value of no type: what it stands in does not decode.
pub(super) const LOST: &[u8] = b"\"\\ud800\"";
/// A list, a struct or a map that is longer does not decode.
pub(super) const TEXT_MAX: usize = 64 << 20;
pub(super) const DAY_US: i64 = 86_400_000_000;

/// Before all but the first of what began at `start`.
pub(super) fn comma(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

/// As a column takes it from a list, a struct or a map. `None`: it does not decode.
pub(super) fn write_value(out: &mut Vec<u8>, value: Option<Value>) {
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = match value {
        Some(Value::Null) => write!(text, "null"),
        Some(Value::Bool(value)) => write!(text, "{value}"),
        Some(Value::Int(value)) => write!(text, "{value}"),
        Some(Value::Float(value)) if value.is_finite() => write!(text, "{value:?}"),
        Some(Value::Float(value)) if value.is_nan() => write!(text, "\"NaN\""),
        Some(Value::Float(value)) => write!(text, "\"{}Infinity\"", if value < 0.0 { "-" } else { "" }),
        Some(Value::Decimal(digits, 0)) => write!(text, "{digits}"),
        Some(Value::Decimal(digits, scale)) => write!(text, "{digits}e-{scale}"),
        Some(Value::Date(days)) => {
            let day = format_time(i64::from(days) * DAY_US);
            write!(text, "\"{}\"", day.split('T').next().unwrap_or_default())
        }
        Some(Value::Time(us)) => write!(text, "\"{}\"", format_time(us)),
        Some(Value::Text(of)) => return write_string(out, of),
        Some(Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(of) => return write_string(out, of),
            Err(_) => return out.extend(LOST),
        },
        Some(Value::Nested(json)) => return out.extend(json.as_bytes()),
        Some(Value::OfDay(_) | Value::Integer(_) | Value::Number(_)) | None => return out.extend(LOST),
    };
    out.extend(text.as_bytes());
}
