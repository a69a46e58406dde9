//! Values of a JSON text: by their spans, and without their escapes.

use super::scan::{Kind, Span};
use crate::format::value::Value;

/// The value at a span. `None`: a string with a lone surrogate, which no type takes. `plain` is memory for a string with escapes.
pub(in crate::format) fn value_at<'a>(text: &'a str, span: &Span, plain: &'a mut String) -> Option<Value<'a>> {
    let raw = &text[span.start..span.end];
    Some(match span.kind {
        Kind::Null => Value::Null,
        Kind::True => Value::Bool(true),
        Kind::False => Value::Bool(false),
        Kind::Integer => Value::Integer(raw),
        Kind::Number => Value::Number(raw),
        Kind::Text => Value::Text(raw),
        Kind::Escaped => Value::Text(unescape(raw, plain)?),
        Kind::Nested => Value::Nested(raw),
    })
}

/// The text that a string with escapes stands for. `None`: it has a lone surrogate.
pub(in crate::format) fn unescape<'a>(raw: &str, plain: &'a mut String) -> Option<&'a str> {
    plain.clear();
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let (char, len) = escape(&rest[at + 1..])?;
        plain.push(char);
        rest = &rest[at + 1 + len..];
    }
    plain.push_str(rest);
    Some(plain)
}

/// What an escape (behind its backslash) stands for, and its length.
fn escape(text: &str) -> Option<(char, usize)> {
    Some(match *text.as_bytes().first()? {
        b'u' => return unicode(text),
        b'b' => ('\u{8}', 1),
        b'f' => ('\u{c}', 1),
        b'n' => ('\n', 1),
        b'r' => ('\r', 1),
        b't' => ('\t', 1),
        quote_or_slash => (quote_or_slash as char, 1),
    })
}

fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u32::from_str_radix(text.get(at..at + 4)?, 16).ok();
    let high = unit(1)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high).map(|c| (c, 5));
    }
    let low = if text.get(5..7)? == "\\u" { unit(7)? } else { return None };
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).map(|c| (c, 11))
}
