//! Envelopes, with and without their schema part, and what their values decode to.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_clocks::{Arrival, Offset, Time};

use super::*;
use crate::format::Envelope;
use crate::format::text::row_text;
use crate::records::DEBEZIUM;

struct WithKey<'a>(&'a [u8]);

impl Envelope for WithKey<'_> {
    fn key(&self) -> Option<&[u8]> {
        Some(self.0)
    }

    fn stamp(&self) -> Option<Arrival> {
        None
    }

    fn partition(&self) -> i32 {
        0
    }

    fn offset(&self) -> Offset {
        Offset::at(0)
    }

    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

fn wanted(columns: &[(&str, DataType)]) -> Wanted {
    let field = |(name, of): &(&str, DataType)| Field::new(*name, of.clone(), true);
    let mut fields: Vec<Field> = columns.iter().map(field).collect();
    fields[0] = fields[0].clone().with_metadata([(KEY.to_owned(), DEBEZIUM.to_owned())].into());
    Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 }
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// What a record is: its row and what of it did not decode, that it is malformed, or that it removes a key.
fn told(decoder: &mut Debezium, message: &Message) -> String {
    decoder.push(message);
    show(decoder)
}

fn show(decoder: &mut Debezium) -> String {
    let Decoded { batch, undecoded, malformed, removals } = decoder.finish();
    if malformed.is_some() {
        return "malformed".to_owned();
    }
    let row = row_text(&batch, 0..batch.num_columns(), 0);
    let failed: Vec<&str> = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(&undecoded)
        .filter(|(_, failed)| failed.is_some())
        .map(|(field, _)| field.name().as_str())
        .collect();
    let failed = if failed.is_empty() { String::new() } else { format!(" without {}", failed.join(", ")) };
    match removals.first() {
        Some(removal) => format!("gone at {:?}: {row}{failed}", removal.at.map(Time::us)),
        None => format!("{row}{failed}"),
    }
}

#[test]
fn envelopes() {
    let mut decoder = Debezium::new(
        &wanted(&[("id", DataType::Int64), ("a", DataType::Utf8), ("b.c", DataType::Int64)]),
        Leniency::default(),
    );
    let row = r#"{"id":1,"a":"x","b.c":2}"#;
    let gone = r#"{"id":1,"a":null,"b.c":null}"#;
    for (record, expected) in [
        (r#"{"op":"c","before":null,"after":{"id":1,"a":"x","b":{"c":2}},"source":{"ts_ms":1}}"#, row.to_owned()),
        (r#"{"op":"r","after":{"id":1,"a":"x","b":{"c":2}}}"#, row.to_owned()),
        (r#"{"schema":{},"payload":{"op":"u","before":7,"after":{"id":1,"a":"x","b":{"c":2}}}}"#, row.to_owned()),
        (r#"{"\u006fp":"\u0075","after":{"id":1,"a":"x","b":{"c":2}}}"#, row.to_owned()),
        (r#"{"op":"u","after":{"id":1,"a":7}}"#, r#"{"id":1,"a":null,"b.c":null} without a"#.to_owned()),
        (
            r#"{"op":"d","before":{"id":1,"a":"x","b":{"c":2}},"after":null,"source":{"ts_ms":7}}"#,
            format!("gone at Some(7000): {gone}"),
        ),
        (r#"{"schema":null,"payload":{"op":"d","before":{"id":1}}}"#, format!("gone at None: {gone}")),
        (r#"{"op":"d","before":{"id":1},"source":3}"#, format!("gone at None: {gone}")),
        (r#"{"op":"d","before":{"id":1},"source":{"ts_ms":null}}"#, format!("gone at None: {gone}")),
        (r#"{"op":"d","before":[1],"source":{}}"#, r#"gone at None: {"id":null,"a":null,"b.c":null}"#.to_owned()),
        (r#"{"op":"d","before":{"id":"x"}}"#, r#"gone at None: {"id":null,"a":null,"b.c":null} without id"#.to_owned()),
        (r#"{"op":"d","before":{"id":1},"source":{"ts_ms":1.5}}"#, "malformed".to_owned()),
        (r#"{"op":"d","before":{"id":1},"source":{"ts_ms":{}}}"#, "malformed".to_owned()),
        (r#"{"op":"d","before":{"id":1},"source":{"ts_ms":9223372036854775807}}"#, "malformed".to_owned()),
        (r#"{"op":"t","after":{"id":1}}"#, "malformed".to_owned()),
        (r#"{"op":null,"payload":{"op":"c","after":{"id":1}}}"#, "malformed".to_owned()),
        (r#"{"op":"c","after":[1]}"#, "malformed".to_owned()),
        (r#"{"op":"c","after":null}"#, "malformed".to_owned()),
        (r#"{"op":"c"}"#, "malformed".to_owned()),
        (r#"{"id":1,"a":"x"}"#, "malformed".to_owned()),
        (r#"{"payload":7}"#, "malformed".to_owned()),
        (r#"[]"#, "malformed".to_owned()),
        ("\u{fffd}{", "malformed".to_owned()),
    ] {
        assert_eq!(told(&mut decoder, &Message::of(record.as_bytes())), expected, "{record}");
    }
    decoder.push_key(&Message::of(br#"{"id":4}"#));
    assert_eq!(show(&mut decoder), r#"{"id":4,"a":null,"b.c":null}"#);
    // The record's own key counts, and not `before`.
    let value = br#"{"op":"d","before":{"id":1},"source":{"ts_ms":1}}"#;
    for (key, expected) in [
        (&br#"{"schema":{},"payload":{"id":2}}"#[..], r#"gone at Some(1000): {"id":2,"a":null,"b.c":null}"#),
        (b"3", r#"gone at Some(1000): {"id":3,"a":null,"b.c":null}"#),
        (b"[]", "malformed"),
    ] {
        assert_eq!(told(&mut decoder, &Message { value, around: Some(&WithKey(key)) }), expected);
    }
}

/// The types of a row, with a schema part and without.
#[test]
fn types_of_debezium() {
    let columns = [
        ("id", DataType::Int64),
        ("n", DataType::Decimal128(12, 2)),
        ("f", DataType::Float64),
        ("t", time()),
        ("d", DataType::Date32),
        ("o", DataType::Time64(TimeUnit::Microsecond)),
        ("s", DataType::Utf8),
        ("y", DataType::Binary),
    ];
    let schema = |n: &str, t: &str, d: &str, o: &str| {
        let field =
            |field: &str, name: &str| format!(r#"{{"type":"x","optional":true,"field":"{field}","name":"{name}"}}"#);
        let scaled = r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"SCALE"},"field":"n"}"#;
        let all = [scaled.replace("SCALE", n), field("t", t), field("d", d), field("o", o)];
        format!(
            r#"{{"type":"struct","fields":[{{"field":"before"}},{{"field":"after","fields":[{}]}}]}}"#,
            all.join(",")
        )
    };
    let micro = schema("3", "io.debezium.time.MicroTimestamp", "io.debezium.time.Date", "io.debezium.time.MicroTime");
    let milli =
        schema("2", "io.debezium.time.Timestamp", "org.apache.kafka.connect.data.Date", "io.debezium.time.Time");
    let mut decoder = Debezium::new(&wanted(&columns), Leniency::default());
    for (schema, after, expected) in [
        // 12340 / 10^3; 1970-01-02
        (
            micro.as_str(),
            r#"{"id":1,"n":"MDQ=","t":1500000,"d":1,"o":1500000}"#,
            r#""n":"12.34","f":null,"t":"1970-01-01T00:00:01.500Z","d":"1970-01-02","#,
        ),
        (
            &milli,
            r#"{"id":1,"n":"+30=","t":1500,"d":-1,"o":1500}"#,
            r#""n":"-11.55","f":null,"t":"1970-01-01T00:00:01.500Z","d":"1969-12-31","#,
        ),
        (
            &milli,
            r#"{"id":1,"t":"2026-01-01T00:00:00Z","s":"x","y":"eA=="}"#,
            r#""n":null,"f":null,"t":"2026-01-01T00:00:00Z","d":null,"#,
        ),
        (
            "",
            r#"{"id":1,"n":"BNI=","t":1500,"d":1}"#,
            r#""n":"12.34","f":null,"t":"1970-01-01T00:00:01.500Z","d":"1970-01-02","#,
        ),
        (
            "null",
            r#"{"id":1,"n":{"scale":1,"value":"fw=="},"f":{"scale":1,"value":"fw=="}}"#,
            r#""n":"12.70","f":12.7,"t":null,"d":null,"#,
        ),
        ("null", r#"{"id":1,"n":12.5,"f":1.5}"#, r#""n":"12.50","f":1.5,"t":null,"d":null,"#),
    ] {
        let record = match schema {
            "" => format!(r#"{{"op":"u","after":{after}}}"#),
            schema => format!(r#"{{"schema":{schema},"payload":{{"op":"u","after":{after}}}}}"#),
        };
        let found = told(&mut decoder, &Message::of(record.as_bytes()));
        assert!(found.contains(expected) && !found.contains("without"), "{after}: {found}");
    }
    // What was not in the log fails, whatever its type.
    let all = r#"{"id":1,"n":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==","s":"__debezium_unavailable_value","y":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="}"#;
    let found = told(&mut decoder, &Message::of(format!(r#"{{"op":"u","after":{all}}}"#).as_bytes()));
    assert!(found.ends_with(" without n, s, y"), "{found}");
    let mut texts = Debezium::new(&wanted(&columns), Leniency { numbers_as_text: true, ..Leniency::default() });
    let found = told(&mut texts, &Message::of(br#"{"op":"u","after":{"id":"7","n":"12.34"}}"#));
    assert!(found.starts_with(r#"{"id":7,"n":"12.34","#), "{found}");
}
