//! Protobuf: a record of a message with every kind of field, mutated.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, Schema};
use headwater_connectors::Wanted;
use headwater_connectors::format::protobuf::ProtobufDecoder;
use headwater_connectors::format::{Decoder, Message};

use super::Target;

pub(super) struct Protobuf;

const MESSAGE: &str = r#"
syntax = "proto3";
import "google/protobuf/timestamp.proto";
message M {
  int64 i = 1;
  string t = 2;
  M m = 3;
  repeated M all = 4;
  map<string, double> k = 5;
  google.protobuf.Timestamp at = 6;
  repeated sint32 n = 7;
  oneof o { bool a = 8; fixed32 b = 9; }
  E e = 10;
  enum E { A = 0; B = 1; }
}
"#;

static DECODER: LazyLock<Mutex<ProtobufDecoder>> = LazyLock::new(|| {
    let all =
        DataType::Struct(vec![Field::new("i", DataType::Int64, true), Field::new("t", DataType::Utf8, true)].into());
    let columns = [
        ("i", DataType::Int64),
        ("t", DataType::Utf8),
        ("m.i", DataType::Int32),
        ("m.m.t", DataType::Utf8),
        ("m.all", DataType::new_list(all.clone(), true)),
        ("all", DataType::new_list(all, true)),
        ("k", DataType::Utf8),
        ("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))),
        ("n", DataType::new_list(DataType::Int8, true)),
        ("a", DataType::Boolean),
        ("b", DataType::UInt32),
        ("e", DataType::Utf8),
    ];
    let fields: Vec<Field> = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
    let wanted = Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 };
    Mutex::new(ProtobufDecoder::of_text(MESSAGE, &wanted).unwrap())
});

impl Target for Protobuf {
    fn name(&self) -> &'static str {
        "protobuf"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        vec![
            vec![8, 7, 18, 1, b'a', 26, 4, 8, 1, 18, 0, 34, 2, 8, 2, 34, 0, 58, 2, 1, 2, 64, 1, 77, 1, 0, 0, 0, 80, 1],
            vec![
                42, 12, 10, 1, b'k', 17, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 50, 4, 8, 1, 16, 2, 56, 3, 26, 6, 26, 4, 26, 2,
                18, 0,
            ],
        ]
    }

    fn read(&self, input: &[u8]) {
        let mut decoder = DECODER.lock().unwrap_or_else(PoisonError::into_inner);
        decoder.push(&Message::of(input));
        decoder.push(&Message::of(&self.samples()[0]));
        assert_eq!(decoder.finish().batch.num_rows(), 2);
    }
}
