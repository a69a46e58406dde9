//! JSON records to columns: strict, and only of what is used.
//!
//! ```text
//! wanted: amount float64, ts timestamp, card_id utf8
//!
//! payload                                             amount   ts                    card_id
//! {"card_id":"c1","ts":"2026-01-01T10:00:00Z"}        null     2026-01-01 10:00:00   c1
//! {"amount":1,"amount":2.5,"card_id":null}            2.5      null                  null     the last of a repeated field
//! {"amount":"12","ts":7,"card_id":"a\ud800"}          (null)   1970-01-01 ...        (null)   two fields do not decode
//! {"amount":1.5,"other":[1,}                          (null)   (null)                (null)   malformed
//! ```
//!
//! A wanted column may lie inside others (`payload.user.id`; see `object`), and may be a list, a struct or a map.
//!
//! A record is malformed if it is anything but one JSON object (RFC 8259) in UTF-8, whatever of it is used; white space
//! around it is allowed, a byte order mark is not. Nesting has no limit. A field that nobody wants must be well-formed and
//! no more: `1e999` and a lone surrogate harm nobody there.
//!
//! How: one pass checks the record and notes where the wanted values lie; then these go straight into Arrow builders.

mod keys;
pub(super) mod object;
pub(super) mod scan;
pub(super) mod text;

use std::sync::Arc;

use super::builder::Builder;
use super::debezium::Debezium;
use super::value::Leniency;
use super::{Decoded, Decoder, Format, FormatKind, Message, looks};
use crate::registry::{RegistryConfig, unframed};
use crate::settings::{Kind, Settings};
use crate::{Path, Result, Wanted};
use object::Object;
use scan::{Scanner, Span};
use text::value_at;

/// JSON as a kind of format.
pub static JSON: &Json = &Json {
    leniency: Leniency { numbers_as_text: false, integral_floats: false, sql_times: false },
    framing: Framing::Nothing,
};

/// The same with a registry: what a record says of its schema stands before it, and is passed over.
pub static FRAMED: &Json = &Json { framing: Framing::Allowed, ..*JSON };

/// See [`JSON`]. As a format, with what it takes besides.
#[derive(Clone, Default)]
pub struct Json {
    leniency: Leniency,
    framing: Framing,
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Json");
        shown.field("leniency", &self.leniency);
        if self.framing == Framing::Id {
            shown.field("framing", &self.framing);
        }
        shown.finish()
    }
}

/// What stands before a record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Framing {
    #[default]
    Nothing,
    /// Nothing, unless a section says a registry.
    Allowed,
    /// The id of a schema.
    Id,
}

impl Kind for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn keys(&self) -> Vec<&'static str> {
        if self.framing == Framing::Nothing { vec!["json"] } else { vec!["json", "registry"] }
    }
}

impl FormatKind for Json {
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn Format> {
        let is_framed = self.framing == Framing::Allowed && RegistryConfig::read(settings).is_some();
        let framing = if is_framed { Framing::Id } else { Framing::Nothing };
        Arc::new(Json { framing, ..Json::read_options(settings) })
    }
}

impl Json {
    /// Reads what a section says of it: `json = { numbers_as_text = true }`.
    pub(crate) fn read_options(settings: &mut dyn Settings) -> Json {
        let mut leniency = Leniency::default();
        for option in settings.properties("json") {
            match (option.name.as_str(), option.value.text.as_str()) {
                ("numbers_as_text", "true" | "false") => leniency.numbers_as_text = option.value.text == "true",
                ("integral_floats", "true" | "false") => leniency.integral_floats = option.value.text == "true",
                ("times", "sql" | "rfc3339") => leniency.sql_times = option.value.text == "sql",
                ("numbers_as_text" | "integral_floats", other) => {
                    settings.error(option.value.at, format!("`{}` must be true or false, not {other}", option.name));
                }
                ("times", other) => {
                    settings.error(option.value.at, format!("unknown `times` `{other}`: expected `sql` or `rfc3339`"));
                }
                (name, _) => settings.error(option.at, format!("unknown key `{name}` in `json`: expected {OPTIONS}")),
            }
        }
        Json { leniency, framing: Framing::Nothing }
    }

    pub(crate) fn json_decoder(&self, wanted: &Wanted) -> JsonDecoder {
        JsonDecoder::with(wanted, self.leniency)
    }
}

const OPTIONS: &str = "`numbers_as_text`, `integral_floats` or `times`";

impl Format for Json {
    fn decoder(&self, wanted: &Wanted) -> Result<Box<dyn Decoder>> {
        if wanted.is_enveloped() {
            return Ok(Box::new(Debezium::new(wanted, self.leniency)));
        }
        let decoder = self.json_decoder(wanted);
        Ok(if self.framing == Framing::Id { Box::new(Unframed(decoder)) } else { Box::new(decoder) })
    }

    fn has_objects(&self) -> bool {
        // What stands for a key has no id before it.
        self.framing != Framing::Id
    }

    fn looks(&self, value: &[u8]) -> Option<String> {
        if self.framing != Framing::Id {
            return looks::no_json(value);
        }
        match unframed(&Message::of(value)) {
            Some((_, value)) => looks::no_json(value),
            None => Some("no id of a schema stands before it: leave the registry out".into()),
        }
    }
}

/// JSON behind the id of its schema. Which one that is, says nothing of the columns.
struct Unframed(JsonDecoder);

impl Decoder for Unframed {
    fn push(&mut self, message: &Message) {
        match unframed(message) {
            Some((_, value)) => self.0.push(&message.with(value)),
            None => self.0.builder.malformed(),
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn finish(&mut self) -> Decoded {
        self.0.finish()
    }
}

/// Decodes JSON records to the wanted columns.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{AsArray, types::Int64Type};
/// use arrow::datatypes::{DataType, Field, Schema};
/// use headwater_connectors::{Wanted, format::{Decoder, Message, json::JsonDecoder}};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("amount", DataType::Int64, true)]));
/// let mut decoder = JsonDecoder::new(&Wanted { schema, time_unit_ns: 1_000_000 });
/// for value in [r#"{"amount": 7, "other": [1, 2]}"#, r#"{"amount": "7"}"#, "nonsense"] {
///     decoder.push(&Message::of(value.as_bytes()));
/// }
/// let decoded = decoder.finish();
/// assert_eq!(decoded.batch.column(0).as_primitive::<Int64Type>().value(0), 7);
/// assert_eq!(decoded.undecoded[0].as_ref().unwrap().iter().collect::<Vec<_>>(), [false, true, false]);
/// assert_eq!(decoded.malformed.unwrap().iter().collect::<Vec<_>>(), [false, false, true]);
/// ```
pub struct JsonDecoder {
    object: Object,
    builder: Builder,
    /// By column: where this record's value lies.
    spans: Vec<Span>,
    /// What is open around the scanner; kept for its memory.
    open: Vec<u8>,
    /// The text of a string with escapes; kept for its memory.
    plain: String,
}

impl JsonDecoder {
    /// A column of a type that JSON has no spelling for (bytes, a time of day) decodes null alone.
    pub fn new(wanted: &Wanted) -> JsonDecoder {
        JsonDecoder::with(wanted, Leniency::default())
    }

    fn with(wanted: &Wanted, leniency: Leniency) -> JsonDecoder {
        let paths = wanted.paths();
        JsonDecoder {
            object: Object::new(paths.iter().map(Path::names)),
            builder: Builder::new(wanted, leniency),
            spans: vec![Span::MISSING; paths.len()],
            open: Vec::new(),
            plain: String::new(),
        }
    }

    /// Notes where the wanted values lie; `None`: this is no JSON object.
    fn scan(&mut self, text: &str) -> Option<()> {
        self.spans.fill(Span::MISSING);
        let mut scanner = Scanner::new(text);
        scanner.space();
        self.object.scan(&mut scanner, &mut self.open, &mut self.spans)?;
        scanner.space();
        scanner.at_end().then_some(())
    }
}

impl Decoder for JsonDecoder {
    fn push(&mut self, message: &Message) {
        let text = simdutf8::basic::from_utf8(message.value).ok();
        let Some(text) = text.and_then(|text| self.scan(text).map(|()| text)) else { return self.builder.malformed() };
        for (column, span) in self.spans.iter().enumerate() {
            self.builder.push(column, value_at(text, span, &mut self.plain));
        }
        self.builder.end();
    }

    fn len(&self) -> usize {
        self.builder.len()
    }

    fn finish(&mut self) -> Decoded {
        self.builder.finish()
    }
}

#[cfg(test)]
mod tests;
