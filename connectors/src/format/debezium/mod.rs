//! Envelopes of Debezium, in JSON: what a row has become, or that it is gone.
//!
//! ```text
//! envelope, or {"schema": ..., "payload": envelope}                                        what it says
//! {"op":"u","before":{...},"after":{"id":1,"amount":"BNI="},"source":{"ts_ms":7}}          the row of `after`
//! {"op":"d","before":{"id":1},"after":null,"source":{"ts_ms":7}}                           the row of this key is gone, since 7 ms
//! {"op":"t"}                                                                               (malformed)
//! ```
//!
//! `c`, `r` and `u` put the row that stands in `after`; `d` removes one. Of `before` nothing is trusted but the key of what is removed,
//! and that only where the record has no key of its own. The wanted columns are those of a row.

mod types;

use super::builder::Builder;
use super::json::object::Object;
use super::json::scan::{Kind, Scanner, Span};
use super::json::text::{unescape, value_at};
use super::keys::Keys;
use super::value::{Leniency, Value};
use super::{Decoded, Decoder, Message, Removal};
use crate::Wanted;
use crate::records::KEY;
use headwater_clocks::Arrival;
use types::Types;

/// Decodes envelopes to the columns of the rows in them.
pub(super) struct Debezium {
    envelope: Object,
    /// What stands for a key: a row that has nothing else.
    row: Object,
    keys: Option<Keys>,
    /// The places of the key's columns.
    key: Vec<usize>,
    columns: usize,
    types: Types,
    builder: Builder,
    removals: Vec<Removal>,
    spans: Vec<Span>,
    memory: Memory,
}

/// Kept for its memory.
#[derive(Default)]
struct Memory {
    open: Vec<u8>,
    plain: String,
    bytes: Vec<u8>,
}

// What is noted of an envelope, once as it stands and once inside of `payload`.
const OP: usize = 0;
const AFTER: usize = 1;
const TS_MS: usize = 2;
/// The columns of `after`, and behind them the key's columns of `before`.
const ROW: usize = 3;

/// What became of a record.
enum Said {
    Row,
    Gone { at: Option<Arrival> },
}

impl Debezium {
    pub fn new(wanted: &Wanted, leniency: Leniency) -> Debezium {
        let row: Vec<Vec<String>> = wanted.paths().iter().map(|path| path.names().to_vec()).collect();
        let fields = wanted.schema.fields().iter().enumerate();
        let key: Vec<usize> =
            fields.filter(|(_, field)| field.metadata().contains_key(KEY)).map(|(at, _)| at).collect();
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let mut noted = vec![path(&["op"]), path(&["after"]), path(&["source", "ts_ms"])];
        noted.extend(row.iter().map(|names| [&["after".to_owned()], &names[..]].concat()));
        noted.extend(key.iter().map(|at| [&["before".to_owned()], &row[*at][..]].concat()));
        let inside: Vec<Vec<String>> =
            noted.iter().map(|names| [&["payload".to_owned()], &names[..]].concat()).collect();
        noted.extend(inside);
        noted.push(path(&["schema"]));
        Debezium {
            envelope: Object::new(noted.iter().map(Vec::as_slice)),
            row: Object::new(row.iter().map(Vec::as_slice)),
            keys: Keys::of(wanted),
            key,
            columns: row.len(),
            types: Types::new(wanted, leniency),
            builder: Builder::new(wanted, leniency),
            removals: vec![],
            spans: vec![Span::MISSING; noted.len()],
            memory: Memory::default(),
        }
    }

    /// How much is noted of an envelope.
    fn width(&self) -> usize {
        ROW + self.columns + self.key.len()
    }

    /// Notes where everything lies in an envelope; `None`: it is no JSON object.
    fn scan(&mut self, text: &str) -> Option<()> {
        scan(&mut self.envelope, text, &mut self.spans, &mut self.memory.open)
    }

    /// Adds the record; `None`: it is malformed.
    fn read(&mut self, text: &str, message: &Message) -> Option<()> {
        self.scan(text)?;
        let (width, schema) = (self.width(), self.spans.last().copied()?);
        let at = if self.spans[OP] == Span::MISSING { width } else { 0 };
        let spans = self.spans[at..at + width].to_vec();
        match said(text, &spans, &mut self.memory.plain)? {
            Said::Row => {
                self.types.of_schema(&text[schema.start..schema.end]);
                for column in 0..self.columns {
                    self.push_at(column, text, &spans[ROW + column]);
                }
            }
            Said::Gone { at } => {
                let record = self.builder.len();
                let own = message.around.and_then(|around| around.key());
                match (own, &self.keys) {
                    (Some(own), Some(keys)) => {
                        let row = String::from_utf8(keys.record(Some(own))).ok()?;
                        self.read_key(&row)?;
                    }
                    _ => {
                        self.types.of_schema(&text[schema.start..schema.end]);
                        for column in 0..self.columns {
                            let place = self.key.iter().position(|key| *key == column);
                            let span = place.map_or(Span::MISSING, |place| spans[ROW + self.columns + place]);
                            // Where `before` is no object it says no key.
                            let is_there = span.end > 0;
                            self.push_at(column, text, if is_there { &span } else { &Span::MISSING });
                        }
                        self.builder.end();
                    }
                }
                self.removals.push(Removal { record, at });
                return Some(());
            }
        }
        self.builder.end();
        Some(())
    }

    /// Adds a row that has a key's columns alone.
    fn read_key(&mut self, text: &str) -> Option<()> {
        let mut spans = vec![Span::MISSING; self.columns];
        scan(&mut self.row, text, &mut spans, &mut self.memory.open)?;
        for (column, span) in spans.iter().enumerate() {
            self.push_at(column, text, span);
        }
        self.builder.end();
        Some(())
    }

    fn push_at(&mut self, column: usize, text: &str, span: &Span) {
        let Memory { plain, bytes, .. } = &mut self.memory;
        let value = value_at(text, span, plain).and_then(|value| self.types.value(column, value, bytes));
        self.builder.push(column, value);
    }
}

/// Notes where the wanted values lie; `None`: the text is no JSON object.
fn scan(object: &mut Object, text: &str, spans: &mut [Span], open: &mut Vec<u8>) -> Option<()> {
    spans.fill(Span::MISSING);
    let mut scanner = Scanner::new(text);
    scanner.space();
    object.scan(&mut scanner, open, spans)?;
    scanner.space();
    scanner.at_end().then_some(())
}

/// What an envelope says. `None`: it is none.
fn said(text: &str, spans: &[Span], plain: &mut String) -> Option<Said> {
    let (op, after, ts_ms) = (&spans[OP], &spans[AFTER], &spans[TS_MS]);
    let raw = &text[op.start..op.end];
    let op = match op.kind {
        Kind::Text => raw,
        Kind::Escaped => unescape(raw, plain)?,
        _ => return None,
    };
    match op {
        "c" | "r" | "u" => text[after.start..after.end].starts_with('{').then_some(Said::Row),
        "d" => match value_at(text, ts_ms, &mut String::new())? {
            Value::Null => Some(Said::Gone { at: None }),
            // `source` itself is no object.
            Value::Nested("") => Some(Said::Gone { at: None }),
            ms @ Value::Integer(_) => {
                let ms = i64::try_from(ms.integer()?).ok()?;
                Some(Said::Gone { at: Some(Arrival::from_us(ms.checked_mul(1000)?)) })
            }
            _ => None,
        },
        _ => None,
    }
}

impl Decoder for Debezium {
    fn push(&mut self, message: &Message) {
        let text = simdutf8::basic::from_utf8(message.value).ok();
        if text.and_then(|text| self.read(text, message)).is_none() {
            self.builder.malformed();
        }
    }

    fn push_key(&mut self, message: &Message) {
        let text = simdutf8::basic::from_utf8(message.value).ok();
        if text.and_then(|text| self.read_key(text)).is_none() {
            self.builder.malformed();
        }
    }

    fn len(&self) -> usize {
        self.builder.len()
    }

    fn finish(&mut self) -> Decoded {
        Decoded { removals: std::mem::take(&mut self.removals), ..self.builder.finish() }
    }
}

#[cfg(test)]
mod tests;
