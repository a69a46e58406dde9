//! Avro: a line with a schema, and a record that it wrote, either of them mutated.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_connectors::Wanted;
use headwater_connectors::format::avro::AvroDecoder;
use headwater_connectors::format::{Decoder, Message};

use super::Target;

pub(super) struct Avro;

const SCHEMA: &str = r#"{"type":"record","name":"r","fields":[{"name":"i","type":"long"},{"name":"t","type":["null","string"]},{"name":"u","type":{"type":"record","name":"u","fields":[{"name":"l","type":{"type":"array","items":["null","u","int"]}},{"name":"m","type":{"type":"map","values":"double"}}]}},{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"e","type":{"type":"enum","name":"e","symbols":["A","B"]}},{"name":"n","type":{"type":"array","items":"null"}}]}"#;

impl Target for Avro {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let records: [&[u8]; 2] = [
            &[14, 2, 2, b'a', 4, 0, 4, 8, 0, 2, 2, b'k', 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 4, 1, 0, 0x80, 0x10, 2, 6, 0],
            &[1, 0, 3, 12, 4, 8, 4, 8, 4, 8, 0, 0, 2, 0xff, 0, 0, 0],
        ];
        records.iter().map(|record| [SCHEMA.as_bytes(), b"\n", record].concat()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "\"r\"",
            "\"u\"",
            "\"null\"",
            "\"long\"",
            "\"bytes\"",
            "{\"type\":\"fixed\",\"name\":\"f\",\"size\":16,\"logicalType\":\"uuid\"}",
            "{\"type\":\"array\",\"items\":\"u\"}",
            "\"default\":{},",
            "\"aliases\":[\"i\"],",
            "\"size\":9223372036854775807,",
        ]
    }

    fn read(&self, input: &[u8]) {
        let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (schema, record) = (String::from_utf8_lossy(&input[..at]), &input[(at + 1).min(input.len())..]);
        let columns = [
            ("i", DataType::Int64),
            ("t", DataType::Utf8),
            ("u", DataType::Struct(vec![Field::new("m", DataType::Utf8, true)].into())),
            ("u.l", DataType::new_list(DataType::Int32, true)),
            ("u.m", DataType::Float64),
            ("d", DataType::Decimal128(12, 2)),
            ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            ("e", DataType::Utf8),
            ("n", DataType::new_list(DataType::Boolean, true)),
        ];
        let fields: Vec<Field> =
            columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
        let wanted = Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 };
        for (schema, record) in [(&*schema, record), (SCHEMA, record), (&*schema, &[2, 0, 0, 0, 0, 0, 0, 0][..])] {
            if let Ok(mut decoder) = AvroDecoder::of_schema(schema, &wanted) {
                decoder.push(&Message::of(record));
                assert_eq!(decoder.finish().batch.num_rows(), 1);
            }
        }
    }
}
