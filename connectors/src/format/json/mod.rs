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
//! A record is malformed if it is anything but one JSON object (RFC 8259) in UTF-8, whatever of it is used; white space
//! around it is allowed, a byte order mark is not. Nesting has no limit. A field that nobody wants must be well-formed and
//! no more: `1e999` and a lone surrogate harm nobody there.
//!
//! How: one pass checks the record and notes where the wanted values lie; then these go straight into Arrow builders.

mod column;
mod keys;
pub mod lines;
mod scan;
pub mod time;
mod value;

use std::sync::Arc;

use arrow::array::{BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};

use crate::Wanted;
use column::Column;
use keys::Keys;
use scan::{Scanner, Span};
use value::Value;

/// Decodes JSON records to the wanted columns.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{AsArray, types::Int64Type};
/// use arrow::datatypes::{DataType, Field, Schema};
/// use headwater_connectors::{format::json::Decoder, Wanted};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("amount", DataType::Int64, true)]));
/// let mut decoder = Decoder::new(&Wanted { schema, time_unit_ns: 1_000_000 });
/// decoder.push(br#"{"amount": 7, "other": [1, 2]}"#);
/// decoder.push(br#"{"amount": "7"}"#);
/// decoder.push(b"nonsense");
/// let decoded = decoder.finish();
/// assert_eq!(decoded.batch.column(0).as_primitive::<Int64Type>().value(0), 7);
/// assert_eq!(decoded.undecoded[0].as_ref().unwrap().iter().collect::<Vec<_>>(), [false, true, false]);
/// assert_eq!(decoded.malformed.unwrap().iter().collect::<Vec<_>>(), [false, false, true]);
/// ```
pub struct Decoder {
    schema: SchemaRef,
    keys: Keys,
    columns: Vec<Column>,
    /// By column: where this record's value lies.
    spans: Vec<Span>,
    /// By column: the records that did not decode.
    undecoded: Vec<Vec<usize>>,
    malformed: Vec<usize>,
    records: usize,
    /// What is open around the scanner; kept for its memory.
    open: Vec<u8>,
    /// The text of a string with escapes; kept for its memory.
    plain: String,
}

/// What was pushed since the last `finish`: one row a record. The parts are those of [`crate::Records`].
#[derive(Debug)]
pub struct Decoded {
    pub batch: RecordBatch,
    pub undecoded: Vec<Option<BooleanBuffer>>,
    pub malformed: Option<BooleanBuffer>,
}

impl Decoder {
    /// A column of a type that JSON has no spelling for (a list, a struct) decodes null alone.
    pub fn new(wanted: &Wanted) -> Decoder {
        let fields = wanted.schema.fields();
        Decoder {
            // A missing field is null, whatever the schema promises.
            schema: Arc::new(Schema::new(
                fields.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
            )),
            keys: Keys::new(fields.iter().map(|f| f.name().as_str())),
            columns: fields.iter().map(|f| Column::new(f.data_type(), wanted.time_unit_ns)).collect(),
            spans: vec![Span::MISSING; fields.len()],
            undecoded: vec![Vec::new(); fields.len()],
            malformed: Vec::new(),
            records: 0,
            open: Vec::new(),
            plain: String::new(),
        }
    }

    /// Adds one record. The strings of one batch must stay below 2 GiB a column.
    pub fn push(&mut self, payload: &[u8]) {
        match simdutf8::basic::from_utf8(payload).ok().and_then(|text| self.scan(text).map(|()| text)) {
            Some(text) => self.decode(text),
            None => {
                self.malformed.push(self.records);
                self.columns.iter_mut().for_each(Column::push_null);
            }
        }
        self.records += 1;
    }

    /// The records since the last `finish`.
    pub fn len(&self) -> usize {
        self.records
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Hands over what was pushed, and starts anew.
    pub fn finish(&mut self) -> Decoded {
        let records = std::mem::take(&mut self.records);
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .unwrap_or_else(|e| panic!("columns that are not as their schema: {e}"));
        Decoded {
            batch,
            undecoded: self.undecoded.iter_mut().map(|rows| bits(rows, records)).collect(),
            malformed: bits(&mut self.malformed, records),
        }
    }

    /// Notes where the wanted values lie; `None`: this is no JSON object.
    fn scan(&mut self, text: &str) -> Option<()> {
        self.spans.fill(Span::MISSING);
        let mut scanner = Scanner::new(text);
        scanner.space();
        scanner.expect(b'{')?;
        scanner.space();
        if !scanner.eat(b'}') {
            self.keys.restart();
            loop {
                let column = self.keys.read(&mut scanner)?;
                scanner.colon()?;
                let span = scanner.value(&mut self.open)?;
                if let Some(column) = column {
                    self.spans[column] = span;
                }
                scanner.space();
                if !scanner.eat(b',') {
                    break;
                }
                scanner.space();
            }
            scanner.expect(b'}')?;
        }
        scanner.space();
        scanner.at_end().then_some(())
    }

    fn decode(&mut self, text: &str) {
        for (i, (column, span)) in self.columns.iter_mut().zip(&self.spans).enumerate() {
            let decoded = Value::read(text, span, &mut self.plain).is_some_and(|value| column.push(value));
            if !decoded {
                column.push_null();
                self.undecoded[i].push(self.records);
            }
        }
    }
}

/// The rows as bits of `len`, and none if there are none.
fn bits(rows: &mut Vec<usize>, len: usize) -> Option<BooleanBuffer> {
    if rows.is_empty() {
        return None;
    }
    let mut bits = BooleanBufferBuilder::new(len);
    bits.append_n(len, false);
    rows.drain(..).for_each(|row| bits.set_bit(row, true));
    Some(bits.finish())
}

#[cfg(test)]
mod tests;
