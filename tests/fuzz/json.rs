//! JSON records, by every type that a column may have.

use std::sync::Arc;

use arrow::array::{Array, Int64Builder, MapBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_connectors::Wanted;
use headwater_connectors::format::json::JsonDecoder;
use headwater_connectors::format::{Decoder, Message};

use super::Target;

pub(super) struct Json;

impl Target for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let records = [
            r#"{"i":1,"u":2,"f":0.5,"g":-1e300,"t":"a\u00e9\ud83d\ude00","b":true,"d":"2026-01-31","at":1767268800000,"m":12.50}"#,
            r#"{"at":"2026-01-01T10:00:00.123+02:00","i":-9223372036854775808,"x":{"y":[1,{"z":null}]},"f":"NaN","m":-0.01}"#,
            r#"{"p":{"u":{"i":7,"l":[1,2,null]},"s":{"a":1.5,"b":["x"]}},"m":{"k":1,"l":2},"l":[[1],[]],"i":1}"#,
            r#" { "t" : null , "i" : 0 , "i" : 7 , "" : [ [ [ ] ] ] , "g" : 1.7976931348623157e308 } "#,
        ];
        records.iter().map(|record| record.as_bytes().to_vec()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "null",
            "\"p\":{\"u\":",
            "\"k\":{\"a\":",
            "true",
            "\"\\ud800\"",
            "1e999",
            "-",
            "[[[[",
            "{\"i\":",
            "\\u0000",
            "\"Infinity\"",
            "99999999999999999999",
            "+00:00",
        ]
    }

    fn read(&self, input: &[u8]) {
        let of = vec![
            Field::new("a", DataType::Float64, true),
            Field::new("b", DataType::new_list(DataType::Utf8, true), true),
        ];
        let map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new()).finish().data_type().clone();
        let columns = [
            ("i", DataType::Int64),
            ("u", DataType::UInt8),
            ("f", DataType::Float32),
            ("g", DataType::Float64),
            ("t", DataType::Utf8),
            ("b", DataType::Boolean),
            ("d", DataType::Date32),
            ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            ("m", DataType::Decimal128(12, 2)),
            ("p.u.i", DataType::Int64),
            ("p.u.l", DataType::new_list(DataType::Int8, true)),
            ("p.s", DataType::Struct(of.into())),
            ("l", DataType::new_list(DataType::new_list(DataType::Int64, true), true)),
            ("k", map),
        ];
        let fields: Vec<Field> =
            columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
        let wanted = Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 };
        let mut decoder = JsonDecoder::new(&wanted);
        decoder.push(&Message::of(input));
        decoder.push(&Message::of(&self.samples()[0]));
        assert_eq!(decoder.finish().batch.num_rows(), 2);
    }
}
