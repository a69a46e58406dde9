//! Envelopes of Debezium, with a schema part and without.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_connectors::format::json::JSON;
use headwater_connectors::format::{Format, Message};
use headwater_connectors::{DEBEZIUM, KEY, Wanted};

use super::Target;

pub(super) struct Debezium;

impl Target for Debezium {
    fn name(&self) -> &'static str {
        "debezium"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let schema = r#"{"type":"struct","fields":[{"field":"before"},{"field":"after","fields":[
            {"field":"m","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},
            {"field":"at","type":"int64","name":"io.debezium.time.MicroTimestamp"},{"field":"d","type":"int32","name":"io.debezium.time.Date"},
            {"field":"o","type":"int64","name":"io.debezium.time.NanoTime"}]}]}"#;
        let row = r#"{"id":1,"m":"BNI=","at":1767268800000000,"d":20485,"o":1000,"t":"__debezium_unavailable_value","y":"eA==","v":{"scale":3,"value":"fw=="}}"#;
        let records = [
            format!(r#"{{"op":"u","before":null,"after":{row},"source":{{"ts_ms":1}}}}"#),
            format!(r#"{{"schema":{schema},"payload":{{"op":"c","after":{row},"source":{{"ts_ms":1}}}}}}"#),
            r#"{"op":"d","before":{"id":7,"m":null},"after":null,"source":{"ts_ms":1767268800000}}"#.to_owned(),
            r#"{"schema":null,"payload":{"op":"d","before":{"id":-1}}}"#.to_owned(),
        ];
        records.iter().map(|record| record.as_bytes().to_vec()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "\"op\":\"d\",",
            "\"payload\":{",
            "\"after\":null",
            "\"schema\":{},",
            "\"scale\":\"-128\"",
            "\"scale\":127",
            "9223372036854775807",
            "////////////////////",
            "io.debezium.time.Timestamp",
            "{\"scale\":1,\"value\":\"fw==\"}",
            "null",
            "\\u0064",
        ]
    }

    fn read(&self, input: &[u8]) {
        let key = [(KEY.to_owned(), DEBEZIUM.to_owned())].into();
        let columns = [
            ("m", DataType::Decimal128(12, 2)),
            ("v", DataType::Decimal128(38, 10)),
            ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            ("d", DataType::Date32),
            ("o", DataType::Time64(TimeUnit::Microsecond)),
            ("t", DataType::Utf8),
            ("y", DataType::Binary),
        ];
        let columns = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true));
        let key = Field::new("id", DataType::Int64, true).with_metadata(key);
        let schema = Arc::new(Schema::new(std::iter::once(key).chain(columns).collect::<Vec<_>>()));
        let mut decoder = JSON.decoder(&Wanted { schema, time_unit_ns: 1_000_000 }).unwrap();
        decoder.push(&Message::of(input));
        decoder.push(&Message::of(&self.samples()[2]));
        decoder.push_key(&Message::of(input));
        let decoded = decoder.finish();
        assert_eq!(decoded.batch.num_rows(), 3);
        assert!(decoded.removals.iter().any(|removal| removal.record == 1));
    }
}
