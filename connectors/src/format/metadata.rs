//! What a transport knows of a record beside its value, as columns: `kafka.key`, `kafka.timestamp`, `kafka.partition`, `kafka.offset`,
//! `kafka.headers.NAME`. All other columns are of the value.
//!
//! A key or a header is text; one that is no UTF-8 does not decode. A header that is there several times is its last.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use headwater_clocks::Time;

use super::builder::Builder;
use super::value::{Leniency, Value};
use super::{Decoded, Decoder, Format, Message, Wake};
use crate::message::Envelope;
use crate::unusable::{UNUSABLE, unusable};
use crate::{Result, Wanted};

/// In a field's metadata: it is a struct whose fields are not listed, each a string.
pub const ANY_FIELD: &str = "any field";

/// The column `around` in which all of it lies.
pub(crate) fn column(around: &str) -> Field {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let headers = unusable("headers", format!("name a header, like {around}.headers.trace"));
    let mut metadata = headers.metadata().clone();
    metadata.insert(ANY_FIELD.to_owned(), String::new());
    let fields = vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("timestamp", time, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        headers.with_data_type(DataType::Struct(Fields::empty())).with_metadata(metadata),
    ];
    let why = format!("name what is wanted of it: {around}.key, .timestamp, .partition, .offset or .headers.NAME");
    let metadata = [(UNUSABLE.to_owned(), why)].into();
    Field::new(around, DataType::Struct(fields.into()), true).with_metadata(metadata)
}

/// A column of it.
enum Part {
    Key,
    Stamp,
    Partition,
    Offset,
    Header(String),
}

impl Part {
    /// `None`: the column is one of the value.
    fn of(around: &str, names: &[String]) -> Option<Part> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names[..] {
            [first, "key"] if first == around => Some(Part::Key),
            [first, "timestamp"] if first == around => Some(Part::Stamp),
            [first, "partition"] if first == around => Some(Part::Partition),
            [first, "offset"] if first == around => Some(Part::Offset),
            [first, "headers", name] if first == around => Some(Part::Header(name.to_owned())),
            _ => None,
        }
    }

    fn value<'a>(&self, around: &'a dyn Envelope) -> Value<'a> {
        let bytes = |bytes: Option<&'a [u8]>| bytes.map_or(Value::Null, Value::Bytes);
        match self {
            Part::Key => bytes(around.key()),
            Part::Stamp => around.stamp().map_or(Value::Null, |stamp| Value::Time(stamp.us())),
            Part::Partition => Value::Int(i128::from(around.partition())),
            Part::Offset => Value::Int(i128::from(around.offset().number())),
            Part::Header(name) => bytes(around.header(name)),
        }
    }
}

/// A decoder of the wanted columns: of the value, and of what lies in the column `around`.
pub(crate) fn decoder(format: &dyn Format, around: &str, wanted: &Wanted) -> Result<Box<dyn Decoder>> {
    let parts: Vec<Option<Part>> = wanted.paths().iter().map(|path| Part::of(around, path.names())).collect();
    if parts.iter().all(Option::is_none) {
        return format.decoder(wanted);
    }
    let of = |is_metadata: bool| {
        let fields = wanted.schema.fields().iter().zip(&parts).filter(|(_, part)| part.is_some() == is_metadata);
        let schema = Arc::new(Schema::new(fields.map(|(field, _)| field.clone()).collect::<Vec<_>>()));
        Wanted { schema, time_unit_ns: wanted.time_unit_ns }
    };
    let value = format.decoder(&of(false))?;
    let metadata = Builder::new(&of(true), Leniency::default());
    let is_metadata = parts.iter().map(Option::is_some).collect();
    Ok(Box::new(WithMetadata { value, metadata, parts: parts.into_iter().flatten().collect(), is_metadata }))
}

struct WithMetadata {
    value: Box<dyn Decoder>,
    metadata: Builder,
    parts: Vec<Part>,
    /// By wanted column: whether it is one of `parts`.
    is_metadata: Vec<bool>,
}

impl WithMetadata {
    fn push_metadata(&mut self, message: &Message) {
        for (column, part) in self.parts.iter().enumerate() {
            self.metadata.push(column, Some(message.around.map_or(Value::Null, |around| part.value(around))));
        }
        self.metadata.end();
    }
}

impl Decoder for WithMetadata {
    fn is_ready(&mut self, message: &Message, wake: Option<&Wake>) -> bool {
        self.value.is_ready(message, wake)
    }

    fn push(&mut self, message: &Message) {
        self.value.push(message);
        self.push_metadata(message);
    }

    fn push_key(&mut self, message: &Message) {
        self.value.push_key(message);
        self.push_metadata(message);
    }

    fn len(&self) -> usize {
        self.value.len()
    }

    fn finish(&mut self) -> Decoded {
        let (value, metadata) = (self.value.finish(), self.metadata.finish());
        let columns = |decoded: &Decoded| {
            let fields = decoded.batch.schema_ref().fields().iter().cloned();
            let all = fields.zip(decoded.batch.columns().to_vec()).zip(decoded.undecoded.clone());
            all.collect::<Vec<_>>().into_iter()
        };
        let (mut of_value, mut of_metadata) = (columns(&value), columns(&metadata));
        let (mut fields, mut arrays, mut undecoded) = (vec![], vec![], vec![]);
        for is_metadata in &self.is_metadata {
            let next = if *is_metadata { of_metadata.next() } else { of_value.next() };
            let ((field, array), rows) = next.unwrap_or_else(|| panic!("fewer columns than are wanted"));
            fields.push(field);
            arrays.push(array);
            undecoded.push(rows);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
        let batch = batch.unwrap_or_else(|e| panic!("columns of two lengths: {e}"));
        Decoded { batch, undecoded, malformed: value.malformed, removals: value.removals }
    }
}

#[cfg(test)]
mod tests {
    use headwater_clocks::{Arrival, Offset};

    use super::*;
    use crate::format::json::JSON;
    use crate::format::text::row_text;

    struct Around;

    impl Envelope for Around {
        fn key(&self) -> Option<&[u8]> {
            Some(b"\xff")
        }

        fn stamp(&self) -> Option<Arrival> {
            Some(Arrival::from_us(1_500_000))
        }

        fn partition(&self) -> i32 {
            3
        }

        fn offset(&self) -> Offset {
            Offset::at(1 << 40)
        }

        fn header(&self, name: &str) -> Option<&[u8]> {
            (name == "a.b").then_some(b"x")
        }
    }

    #[test]
    fn columns_of_both() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let columns = [
            ("kafka.offset", DataType::Int64),
            ("n", DataType::Int64),
            ("kafka.headers.\"a.b\"", DataType::Utf8),
            ("kafka.headers.none", DataType::Utf8),
            ("kafka.key", DataType::Utf8),
            ("kafka.other", DataType::Int64),
            ("kafka.timestamp", time),
            ("kafka.partition", DataType::Int8),
        ];
        let fields: Vec<Field> = columns.into_iter().map(|(name, of)| Field::new(name, of, true)).collect();
        let wanted = Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 };
        let mut decoder = decoder(JSON, "kafka", &wanted).unwrap();
        for value in [&br#"{"n": 7, "kafka": {"other": 9, "offset": 1}}"#[..], b"{"] {
            decoder.push(&Message { value, around: Some(&Around) });
        }
        let decoded = decoder.finish();
        let expected = |n: &str, other: &str| {
            format!(
                r#"{{"kafka.offset":1099511627776,"n":{n},"kafka.headers.\"a.b\"":"x","kafka.headers.none":null,"kafka.key":null,"kafka.other":{other},"kafka.timestamp":"1970-01-01T00:00:01.500Z","kafka.partition":3}}"#
            )
        };
        assert_eq!(row_text(&decoded.batch, 0..8, 0), expected("7", "9"));
        assert_eq!(row_text(&decoded.batch, 0..8, 1), expected("null", "null"));
        assert_eq!(decoded.malformed.unwrap().set_indices().collect::<Vec<_>>(), [1]);
        let undecoded: Vec<usize> = (0..8).filter(|column| decoded.undecoded[*column].is_some()).collect();
        assert_eq!(undecoded, [4]);
    }
}
