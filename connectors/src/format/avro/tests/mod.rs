//! Records that another library wrote (`write.py`), rules of resolution as a table, and bytes that are no record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use serde_json::{Value as Json, json};

use super::*;
use crate::format::testing::{values, wanted};
use crate::registry::stub::Stub;

fn schema(json: &Json) -> Arc<Schema> {
    Arc::new(Schema::parse(&json.to_string(), &[]).unwrap_or_else(|e| panic!("{e}: {json}")))
}

/// A decoder of records that `writer` wrote, as `reader` has them.
fn decoder(writer: &Arc<Schema>, reader: &Arc<Schema>, wanted: &Wanted) -> AvroDecoder {
    let mut decoder = AvroDecoder::new(reader.clone(), None, wanted);
    decoder.writers = Writers::Reader(Arc::new(Plan::new(writer.clone(), reader.clone(), &decoder.paths)));
    decoder
}

/// The type that a schema gives a column; what it has no type for as a float64, bytes as text.
fn type_of(reader: &Schema, path: &str) -> DataType {
    let columns = columns::columns(reader).unwrap();
    let mut data_type = DataType::Struct(columns.fields().clone());
    for name in path.split('.') {
        let DataType::Struct(fields) = &data_type else { panic!("{path}") };
        data_type = fields.iter().find(|field| field.name() == name).unwrap().data_type().clone();
    }
    match data_type {
        DataType::Binary => DataType::Utf8,
        DataType::Null => DataType::Float64,
        other => other,
    }
}

fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64()),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn bytes(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn records_of_a_peer() {
    let cases: Json = serde_json::from_str(include_str!("written.json")).unwrap();
    let mut records = 0;
    for case in cases.as_array().unwrap() {
        let writer = schema(&case["writer"]);
        let reader = if case["reader"].is_null() { writer.clone() } else { schema(&case["reader"]) };
        let paths: Vec<&str> = case["columns"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
        let columns: Vec<_> = paths.iter().map(|path| (*path, type_of(&reader, path))).collect();
        let mut decoder = decoder(&writer, &reader, &wanted(&columns));
        for record in case["records"].as_array().unwrap() {
            let bytes = bytes(&record["bytes"]);
            let found = values(&mut decoder, &bytes).unwrap_or_else(|| panic!("malformed: {record}"));
            for ((path, found), expected) in paths.iter().zip(&found).zip(record["values"].as_array().unwrap()) {
                let is_narrow = type_of(&reader, path) == DataType::Float32;
                let narrow = |value: &Json| value.as_f64().filter(|_| is_narrow).map(|value| value as f32);
                let is_same =
                    same(found, expected) || narrow(found).is_some_and(|value| narrow(expected) == Some(value));
                assert!(is_same, "{}, {path}: {found} and not {expected}", case["name"]);
            }
            for end in 0..bytes.len() {
                assert_eq!(values(&mut decoder, &bytes[..end]), None, "{} bytes of {record}", end);
            }
            assert_eq!(values(&mut decoder, &[&bytes[..], &[0]].concat()), None);
            records += 1;
        }
    }
    assert_eq!(records, 100);
}

/// Bytes of which one is another are some record, or none.
#[test]
fn changed_bytes_are_no_panic() {
    let cases: Json = serde_json::from_str(include_str!("written.json")).unwrap();
    let case = &cases[0];
    let writer = schema(&case["writer"]);
    let paths: Vec<&str> = case["columns"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    let columns: Vec<_> = paths.iter().map(|path| (*path, type_of(&writer, path))).collect();
    let mut decoder = decoder(&writer, &writer, &wanted(&columns));
    for record in case["records"].as_array().unwrap().iter().take(6) {
        let bytes = bytes(&record["bytes"]);
        for at in 0..bytes.len() {
            for with in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = with;
                values(&mut decoder, &changed);
            }
        }
    }
}

/// A field of type `writer`, read as `reader` into a column of a type.
#[track_caller]
fn check(writer: Json, reader: Json, column: DataType, value: Json, expected: Json) {
    let of = |of: &Json| schema(&json!({"type": "record", "name": "r", "fields": [{"name": "x", "type": of}]}));
    let (writer, reader) = (of(&writer), of(&reader));
    let bytes = default::encoded(&writer, writer.root, &json!({ "x": value })).unwrap();
    let found = values(&mut decoder(&writer, &reader, &wanted(&[("x", column)])), &bytes).unwrap();
    assert_eq!(found, [expected], "{value}");
}

#[test]
fn types_become_others_or_do_not_decode() {
    let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    let of = |of: &str, logical: &str| json!({"type": of, "logicalType": logical});
    let decimal =
        |precision, scale| json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
    let color = |symbols: &[&str], default: Option<&str>| {
        let mut color = json!({"type": "enum", "name": "Color", "symbols": symbols});
        color.as_object_mut().unwrap().extend(default.map(|default| ("default".to_owned(), json!(default))));
        color
    };
    let lost = || json!("lost");
    check(json!("int"), json!("long"), DataType::Int64, json!(7), json!(7));
    check(json!("int"), json!("double"), DataType::Float64, json!(7), json!(7.0));
    check(json!("float"), json!("double"), DataType::Float64, json!(1.5), json!(1.5));
    check(json!("long"), json!("int"), DataType::Int32, json!(7), lost());
    check(json!("double"), json!("float"), DataType::Float32, json!(1.5), lost());
    check(json!("string"), json!("long"), DataType::Int64, json!("7"), lost());
    check(json!("int"), json!("string"), DataType::Utf8, json!(7), lost());
    check(json!("double"), json!("double"), DataType::Int64, json!(7.0), lost());
    // Of a union, what is there decides.
    check(json!(["null", "long", "string"]), json!(["null", "long"]), DataType::Int64, json!(7), json!(7));
    check(json!(["null", "long", "string"]), json!(["null", "long"]), DataType::Int64, json!(null), json!(null));
    check(json!(["null", "long", "string"]), json!(["null", "long"]), DataType::Int64, json!("x"), lost());
    check(json!(["null", "long"]), json!("long"), DataType::Int64, json!(null), lost());
    check(json!("long"), json!(["null", "double"]), DataType::Float64, json!(7), json!(7.0));
    // Units are of what is written.
    let (ms, us) = (of("long", "timestamp-millis"), of("long", "timestamp-micros"));
    check(ms.clone(), us.clone(), time.clone(), json!(1500), json!("1970-01-01T00:00:01.500Z"));
    check(us, ms.clone(), time.clone(), json!(1500), json!("1970-01-01T00:00:00.001500Z"));
    check(json!("long"), ms.clone(), time.clone(), json!(1500), json!("1970-01-01T00:00:01.500Z"));
    check(ms.clone(), json!("long"), DataType::Int64, json!(1500), json!(1500));
    check(json!("long"), json!("long"), time.clone(), json!(1500), json!("1970-01-01T00:00:01.500Z"));
    check(
        of("long", "timestamp-nanos"),
        of("long", "timestamp-nanos"),
        time.clone(),
        json!(-1),
        json!("1969-12-31T23:59:59.999999Z"),
    );
    check(of("int", "date"), ms.clone(), time.clone(), json!(1), lost());
    check(ms.clone(), ms, DataType::Int64, json!(1500), lost());
    check(of("int", "date"), of("int", "date"), DataType::Date32, json!(-1), json!("1969-12-31"));
    // Decimals lose nothing.
    check(decimal(9, 2), decimal(9, 3), DataType::Decimal128(9, 3), json!("\u{1}\u{0}"), json!("2.560"));
    check(decimal(9, 2), decimal(9, 1), DataType::Decimal128(9, 1), json!("\u{5}"), lost());
    check(decimal(9, 0), decimal(9, 0), DataType::Decimal128(2, 0), json!("\u{1}\u{0}"), lost());
    check(decimal(9, 2), decimal(9, 2), DataType::Float64, json!("\u{7d}"), json!(1.25));
    check(json!("double"), json!("double"), DataType::Decimal128(9, 2), json!(1.5), lost());
    let (old, new) = (color(&["RED", "PINK"], None), color(&["RED", "GREEN"], None));
    check(old.clone(), new.clone(), DataType::Utf8, json!("RED"), json!("RED"));
    check(old.clone(), new, DataType::Utf8, json!("PINK"), lost());
    check(old, color(&["RED", "GREEN"], Some("GREEN")), DataType::Utf8, json!("PINK"), json!("GREEN"));
    check(json!("bytes"), json!("bytes"), DataType::Utf8, json!("\u{ff}"), lost());
    let uuid = |of: Json| json!({"type": "fixed", "name": "U", "size": 16, "logicalType": of});
    check(
        uuid(json!("uuid")),
        uuid(json!("uuid")),
        DataType::Utf8,
        json!("\u{1}".repeat(16)),
        json!("01010101-0101-0101-0101-010101010101"),
    );
    // One that does not decode fails the list around it.
    let list = |of: &str| json!({"type": "array", "items": of});
    check(list("int"), list("long"), DataType::new_list(DataType::Int64, true), json!([1, 2]), json!([1, 2]));
    check(list("bytes"), list("bytes"), DataType::new_list(DataType::Utf8, true), json!(["a", "\u{ff}"]), lost());
    check(
        list("double"),
        list("double"),
        DataType::new_list(DataType::Float64, true),
        json!(["NaN", -1e300]),
        json!(["NaN", -1e300]),
    );
}

/// A field is harmed, and no other.
#[test]
fn fields_that_are_missing_renamed_or_astray() {
    let record = |fields: Json| json!({"type": "record", "name": "r", "fields": fields});
    let writer = schema(&record(json!([
        {"name": "old", "type": "int"},
        {"name": "in", "type": ["null", {"type": "record", "name": "in", "fields": [{"name": "a", "type": "string"}]}, "int"]},
        {"name": "extra", "type": "string"},
        {"name": "odd", "type": {"type": "map", "values": ["null", "r"]}},
    ])));
    let reader = schema(&record(json!([
        {"name": "new", "type": "long", "aliases": ["older", "old"]},
        {"name": "in", "type": {"type": "record", "name": "other", "fields": [
            {"name": "a", "type": "string"},
            {"name": "b", "type": "int", "default": 5},
            {"name": "c", "type": "int"},
        ]}},
        {"name": "gone", "type": "int"},
        {"name": "bad", "type": "int", "default": "x"},
    ])));
    let text = DataType::Utf8;
    let columns = [
        ("new", DataType::Int64),
        ("in.a", text.clone()),
        ("in.b", DataType::Int64),
        ("in.c", DataType::Int64),
        ("gone", DataType::Int64),
        ("bad", DataType::Int64),
        // What the reader does not know is as it is written; what nobody knows is null.
        ("extra", text.clone()),
        ("extra.x", text.clone()),
        ("nobody", text),
    ];
    let mut decoder = decoder(&writer, &reader, &wanted(&columns));
    let mut check = |record: Json, expected: Json| {
        let bytes = default::encoded(&writer, writer.root, &record).unwrap();
        assert_eq!(Json::from(values(&mut decoder, &bytes).unwrap()), expected, "{record}");
    };
    check(
        json!({"old": 7, "in": {"a": "x"}, "extra": "e", "odd": {}}),
        json!([7, "x", 5, "lost", "lost", "lost", "e", "lost", null]),
    );
    check(
        json!({"old": 7, "in": null, "extra": "e", "odd": {"k": null}}),
        json!([7, null, null, null, "lost", "lost", "e", "lost", null]),
    );
    check(
        json!({"old": 7, "in": 9, "extra": "e", "odd": {}}),
        json!([7, "lost", "lost", "lost", "lost", "lost", "e", "lost", null]),
    );
}

#[test]
fn columns_of_a_schema() {
    let of = schema(&json!({"type": "record", "name": "r", "fields": [
        {"name": "a", "type": ["null", "int", "long"]},
        {"name": "b", "type": ["int", "string"]},
        {"name": "next", "type": ["null", "r"]},
        {"name": "m", "type": {"type": "map", "values": {"type": "record", "name": "v", "fields": [{"name": "n", "type": "bytes"}]}}},
    ]}));
    let columns = columns::columns(&of).unwrap();
    let why =
        |name: &str| columns.field_with_name(name).unwrap().metadata().get("unusable").cloned().unwrap_or_default();
    assert_eq!(*columns.field(0).data_type(), DataType::Int64);
    assert!(why("b").contains("`b` may be of types that no column holds together (Int32 and Utf8)"), "{}", why("b"));
    assert!(why("next").contains("holds values of its own type"), "{}", why("next"));
    assert!(matches!(columns.field(3).data_type(), DataType::Map(..)));
    assert!(columns::columns(&schema(&json!("string"))).unwrap_err().contains("is no record"));
}

/// What a schema says may be large without being long.
#[test]
fn schemas_that_grow_without_end() {
    let mut types = vec![json!({"type": "record", "name": "r0", "fields": []})];
    for n in 1..60 {
        let of = format!("r{}", n - 1);
        let field = |name: &str| json!({"name": name, "type": of, "default": {}});
        types.push(json!({"type": "record", "name": format!("r{n}"), "fields": [field("a"), field("b")]}));
    }
    let last = types.pop().unwrap();
    let references: Vec<String> = types.iter().map(Json::to_string).collect();
    let of = Arc::new(Schema::parse(&last.to_string(), &references).unwrap());
    assert!(columns::columns(&of).unwrap_err().contains("more than"));
    assert_eq!(values(&mut decoder(&of, &of, &wanted(&[("x", DataType::Utf8)])), &[]), None);
    let empty = schema(&json!({"type": "record", "name": "e", "fields": []}));
    assert_eq!(values(&mut decoder(&empty, &of, &wanted(&[("a.a", DataType::Utf8)])), &[]), Some(vec![json!("lost")]));
}

#[test]
fn a_record_waits_for_its_schema() {
    let stub = Stub::start();
    let field = |of: &str| format!(r#"{{"type":"record","name":"r","fields":[{{"name":"x","type":"{of}"}}]}}"#);
    stub.schema("/subjects/t-value/versions/latest", &field("long"));
    stub.schema("/schemas/ids/1", &field("int"));
    stub.schema("/schemas/ids/2", &field("string"));
    stub.schema("/schemas/ids/4", "{");
    stub.answer("/schemas/ids/5", 200, r#"{"schema": "{}", "schemaType": "JSON"}"#);
    let config = RegistryConfig { urls: vec![stub.url.parse().unwrap()], ..RegistryConfig::default() };
    let avro = Avro { file: None, registry: Some(config) };
    let opened = avro.open("t", &Pins::new()).unwrap().unwrap();
    assert_eq!(*opened.schema().unwrap().field(0).data_type(), DataType::Int64);
    let (subject, text) = opened.pin().unwrap();
    // What was pinned is not asked for.
    let pinned = Pins::from([(subject.to_owned(), text.replace("long", "double"))]);
    assert_eq!(*avro.open("t", &pinned).unwrap().unwrap().schema().unwrap().field(0).data_type(), DataType::Float64);

    let mut decoder = opened.decoder(&wanted(&[("x", DataType::Int64)])).unwrap();
    let woken = Arc::new(AtomicU32::new(0));
    let of_wake = woken.clone();
    let wake: Wake = Arc::new(move || _ = of_wake.fetch_add(1, Ordering::SeqCst));
    let mut wait = |value: &[u8]| {
        let (begun, before) = (Instant::now(), woken.load(Ordering::SeqCst));
        let is_ready = decoder.is_ready(&Message::of(value), Some(&wake));
        while !is_ready && woken.load(Ordering::SeqCst) == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "{value:?}");
            std::thread::yield_now();
        }
        assert!(decoder.is_ready(&Message::of(value), Some(&wake)));
        decoder.push(&Message::of(value));
        let decoded = decoder.finish();
        (decoded.malformed.is_some(), decoded.undecoded[0].is_some())
    };
    assert_eq!(wait(&[0, 0, 0, 0, 1, 14]), (false, false));
    assert_eq!(wait(&[0, 0, 0, 0, 1, 14]), (false, false));
    assert_eq!(wait(&[0, 0, 0, 0, 2, 2, b'a']), (false, true));
    for malformed in [&[0, 0, 0, 0, 1][..], &[14], &[], &[0, 0, 0, 0, 4, 14], &[0, 0, 0, 0, 5, 14]] {
        assert_eq!(wait(malformed), (true, false), "{malformed:?}");
    }
    assert_eq!(stub.asked().iter().filter(|(path, _)| path == "/schemas/ids/1").count(), 1);

    // One that the registry does not have yet.
    let mut late = opened.decoder(&wanted(&[("x", DataType::Int64)])).unwrap();
    let value = Message::of(&[0, 0, 0, 0, 3, 14]);
    assert!(!late.is_ready(&value, Some(&wake)));
    while stub.asked().iter().filter(|(path, _)| path == "/schemas/ids/3").count() < 2 {
        std::thread::yield_now();
    }
    assert!(!late.is_ready(&value, Some(&wake)));
    let before = woken.load(Ordering::SeqCst);
    stub.schema("/schemas/ids/3", &field("long"));
    while woken.load(Ordering::SeqCst) == before {
        std::thread::yield_now();
    }
    assert!(late.is_ready(&value, None));
}
