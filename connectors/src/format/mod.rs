//! Formats: bytes to columns, and columns to text.
//!
//! A format knows records and no transport: a Kafka topic, a file that grows and a file of a history give it bytes. All formats are
//! equally strict, because they share what makes columns of values (`value`, `column`, `builder`); they differ in how they find the values.
//!
//! | | JSON | CSV |
//! |---|---|---|
//! | malformed | no object of RFC 8259 in UTF-8 | not RFC 4180 in UTF-8, or not as many fields as there are columns |
//! | a number | `1`, `1.5`, `1e3`; no text | the same, quoted or not |
//! | true, false | the words | the words |
//! | a time | text in RFC 3339 with an offset, or an integer in the source's unit | the same |
//! | null | `null`, or no field | the text that stands for null, or no column |
//! | floats' specials | `"NaN"`, `"Infinity"`, `"-Infinity"` | the same |
//! | a list, a struct, a map | an array, an object, an object by its keys; what is inside as any value of its type | nothing |
//! | a field that nobody wants | well-formed, and no more | in its place, and no more |

use headwater_clocks::Arrival;

mod as_json;
pub mod avro;
mod builder;
mod column;
pub mod csv;
mod debezium;
pub mod json;
pub(crate) mod keys;
pub(crate) mod looks;
pub mod metadata;
pub mod protobuf;
pub(crate) mod records;
#[cfg(test)]
mod testing;
pub mod text;
pub mod time;
mod value;

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, SchemaRef};

pub use crate::message::{Envelope, Message, Pins, Wake};
use crate::settings::{Kind, Settings};
use crate::{Result, Wanted};

/// Every format that a stream may have. A new one is its file and a line here.
pub static FORMATS: &[&dyn FormatKind] = &[json::FRAMED, csv::CSV, avro::AVRO, protobuf::PROTOBUF];

/// The format of a stream that names none.
pub const DEFAULT: &str = "json";

/// A kind of format. Its keys stand in the section of the stream that has it.
pub trait FormatKind: Kind {
    /// Reads its keys out of the stream's section.
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn Format>;
}

/// A format as a job has set it.
pub trait Format: Debug + Send + Sync {
    /// A decoder of records that are all alike.
    ///
    /// # Errors
    ///
    /// `Config`: the format cannot give these columns.
    fn decoder(&self, wanted: &Wanted) -> Result<Box<dyn Decoder>>;

    /// Whether a record is an object of JSON.
    fn has_objects(&self) -> bool {
        false
    }

    /// The columns of a record, where the job lists all of them: no record has another.
    fn listed(&self) -> Option<&[String]> {
        None
    }

    /// Whether it knows which columns there are, and of which type, once it is opened.
    fn gives_columns(&self) -> bool {
        false
    }

    /// Looks for what it needs to decode the records of a topic. `pinned`: by what it is kept, what was found once and stays.
    /// `None`: it needs nothing, and is opened as it is. Blocks.
    ///
    /// # Errors
    ///
    /// `Config`: it is not there, or is no such thing. `World`: nobody answers.
    fn open(&self, _topic: &str, _pinned: &Pins) -> Result<Option<Arc<dyn Format>>> {
        Ok(None)
    }

    /// What a record that is malformed looks like, and what to do about it, where that is plain to see: a sentence.
    fn looks(&self, value: &[u8]) -> Option<String> {
        looks::no_binary(value)
    }

    /// Opened: the columns of its records, if it knows them.
    fn schema(&self) -> Option<SchemaRef> {
        None
    }

    /// Opened: what has to stay as it was found, and by what it is kept.
    fn pin(&self) -> Option<(&str, &str)> {
        None
    }
}

/// Decodes records to the wanted columns: strictly, and only what is wanted. Never fails: what is wrong with a record is told with it.
pub trait Decoder: Send {
    /// Whether a record can be decoded now. If not, it waits for something from outside, and is asked for again when `wake` was called,
    /// or later. Never blocks.
    fn is_ready(&mut self, _message: &Message, _wake: Option<&Wake>) -> bool {
        true
    }

    /// Adds one record, which is ready: a row. The strings of one batch must stay below 2 GiB a column.
    fn push(&mut self, message: &Message);

    /// The same of a record that has a key's columns alone, whatever is around the columns of others.
    fn push_key(&mut self, message: &Message) {
        self.push(message);
    }

    /// The records since the last `finish`.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands over what was pushed, and starts anew.
    fn finish(&mut self) -> Decoded;
}

/// What was pushed since the last `finish`: one row a record. The parts are those of [`crate::Records`].
#[derive(Debug)]
pub struct Decoded {
    /// The wanted columns, null where a field is null, missing or did not decode.
    pub batch: RecordBatch,
    /// By wanted column: the records whose field is there but did not decode. `None`: every one did.
    pub undecoded: Vec<Option<BooleanBuffer>>,
    /// The records of which nothing can be used. `None`: there is none.
    pub malformed: Option<BooleanBuffer>,
    /// The records that only say that their key's row is gone, ascending.
    pub removals: Vec<Removal>,
}

/// A record that only says that its key's row is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Which one of those that were pushed.
    pub record: usize,
    /// When that was, if it says so.
    pub at: Option<Arrival>,
}

/// Reads which format a stream's section names, among its other keys, and that format's keys.
pub(crate) fn read(settings: &mut dyn Settings) -> Arc<dyn Format> {
    let chosen = settings.choose("format", Some(DEFAULT), &crate::settings::choices(FORMATS.iter().copied()));
    FORMATS[chosen.unwrap_or(0)].read(settings)
}

/// The keys by which a stream's section says its format.
pub(crate) fn keys() -> Vec<&'static str> {
    let mut keys = vec!["format"];
    for key in FORMATS.iter().flat_map(|kind| kind.keys()) {
        keys.extend((!keys.contains(&key)).then_some(key));
    }
    keys
}

/// A value as its text says it, as strictly as in CSV: one row. `text`: `None` is null. `None`: it is none of this type.
pub(crate) fn value_of_text(text: Option<&str>, data_type: &DataType, time_unit_ns: i64) -> Option<ArrayRef> {
    let reading = value::Reading { time_unit_ns, leniency: Default::default() };
    let mut column = column::Column::new(data_type, &reading);
    let spelling = csv::Spelling::of(data_type);
    let decoded = column.push(text.map_or(value::Value::Null, |text| spelling.value(text)));
    decoded.then(|| column.finish())
}

/// A UTF-8 byte order mark at the start of a file, which says nothing.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
