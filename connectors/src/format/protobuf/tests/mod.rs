//! Records that Google's library wrote (`write.py`), and bytes that are no record.

use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};

use super::*;
use crate::format::testing::{values, wanted};
use crate::registry::stub::Stub;

const EVERY: &str = include_str!("every.proto");

/// The type of a column by its path; bytes as text.
fn type_of(path: &str) -> DataType {
    let message = types::message(&types::of_text(EVERY, &[]).unwrap(), None, true).unwrap();
    let mut data_type = DataType::Struct(columns::columns(&message).unwrap().fields().clone());
    for name in path.split('.') {
        let DataType::Struct(fields) = &data_type else { panic!("{path}") };
        data_type = fields.iter().find(|field| field.name() == name).unwrap().data_type().clone();
    }
    if data_type == DataType::Binary { DataType::Utf8 } else { data_type }
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

fn decoder(columns: &[&str]) -> ProtobufDecoder {
    let columns: Vec<_> = columns.iter().map(|path| (*path, type_of(path))).collect();
    ProtobufDecoder::of_text(EVERY, &wanted(&columns)).unwrap()
}

#[test]
fn records_of_a_peer() {
    let written: Json = serde_json::from_str(include_str!("written.json")).unwrap();
    let paths: Vec<&str> = written["columns"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    let mut decoder = decoder(&paths);
    for record in written["records"].as_array().unwrap() {
        let hex = record["bytes"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let found = values(&mut decoder, &bytes).unwrap_or_else(|| panic!("malformed: {record}"));
        for ((path, found), expected) in paths.iter().zip(&found).zip(record["values"].as_array().unwrap()) {
            assert!(same(found, expected), "{path}: {found} and not {expected} in {hex}");
        }
        for at in 0..bytes.len() {
            values(&mut decoder, &bytes[..at]);
            for with in [0, 0x0b, 0x0c, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = with;
                values(&mut decoder, &changed);
            }
        }
    }
}

#[test]
fn parts_kinds_and_what_is_no_message() {
    let mut decoder =
        decoder(&["i32", "s", "user.id", "user.name", "a", "z", "who.id", "numbers", "opt", "color", "by_id"]);
    let mut check = |bytes: &[u8], expected: Option<Json>| {
        assert_eq!(values(&mut decoder, bytes).map(Json::from), expected, "{bytes:?}");
    };
    let row = |columns: &[(usize, Json)]| {
        let mut row =
            [json!(0), json!(""), json!(null), json!(null), json!(null), json!(null), json!(null), json!([])].to_vec();
        row.extend([json!(null), json!("NONE"), json!({})]);
        columns.iter().for_each(|(at, value)| row[*at] = value.clone());
        Some(Json::from(row))
    };
    check(&[], row(&[]));
    // The last counts, and messages become one.
    check(&[8, 1, 8, 2], row(&[(0, json!(2))]));
    let user = |bytes: &[u8]| [&[0xaa, 1, bytes.len() as u8], bytes].concat();
    check(&[user(&[8, 7]), user(&[18, 1, b'n'])].concat(), row(&[(2, json!(7)), (3, json!("n"))]));
    check(&user(&[]), row(&[(2, json!(0))]));
    check(&user(&[8]), row(&[(2, json!("lost")), (3, json!("lost"))]));
    // Of one of several, the last is there.
    check(&[0xd8, 1, 9, 0xe2, 1, 1, b'z'], row(&[(5, json!("z"))]));
    check(&[0xe2, 1, 1, b'z', 0xd8, 1, 9], row(&[(4, json!(9))]));
    // In one piece, or one by one, or both.
    check(&[0xb2, 1, 2, 1, 2, 0xb0, 1, 3], row(&[(7, json!([-1, 1, -2]))]));
    check(&[0xb2, 1, 2, 1, 0x80], row(&[(7, json!("lost"))]));
    // Encoded as another kind is.
    check(&[13, 0, 0, 0, 0], row(&[(0, json!("lost"))]));
    check(&[0x72, 1, 0xff], row(&[(1, json!("lost"))]));
    check(&[0xa8, 1, 1], row(&[(2, json!("lost")), (3, json!("lost"))]));
    check(&[0x80, 1, 9], row(&[(9, json!("lost"))]));
    check(&[0xa0, 1, 0], row(&[(8, json!(0))]));
    check(&[0xd2, 1, 0], row(&[(10, json!({"0": {"id": 0, "name": null, "colors": [], "since": null}}))]));
    // Fields that nobody knows, a group among them; and what is no field.
    check(&[0xc3, 0x3e, 8, 1, 0xc4, 0x3e, 8, 5], row(&[(0, json!(5))]));
    for no_message in [&[8][..], &[0, 1], &[14, 1], &[0xc3, 0x3e, 8, 1], &[0xc3, 0x3e, 0xcc, 0x3e], &[18, 5, 1], &[12]]
    {
        check(no_message, None);
    }
    check(&[0x0b; 5000], None);
}

#[test]
fn messages_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("every.proto");
    std::fs::write(&path, EVERY).unwrap();
    let file = types::of_file(&path).unwrap();
    let message = |name: Option<&str>| types::message(&file, name, false).map(|message| message.full_name().to_owned());
    assert_eq!(message(Some("a.b.Every.User")).as_deref(), Ok("a.b.Every.User"));
    assert_eq!(message(Some("Other")).as_deref(), Ok("a.b.Other"));
    assert!(message(None).unwrap_err().contains("say which one records are, with `message`: `a.b.Every`, `a.b.Other`"));
    assert_eq!(message(Some("Nobody")), Err("it has no message `Nobody`".to_owned()));
    // As some serializers register it.
    let descriptor = file.file_descriptor_proto().clone();
    let text = BASE64_STANDARD.encode(prost_reflect::prost::Message::encode_to_vec(&descriptor));
    let of_descriptor = types::of_text(&text, &[]).unwrap();
    assert_eq!(types::message(&of_descriptor, None, true).unwrap().full_name(), "a.b.Every");
    let set = dir.path().join("every.pb");
    std::fs::write(&set, file.parent_pool().encode_to_vec()).unwrap();
    let of_set = types::of_file(&set).unwrap();
    assert_eq!(types::message(&of_set, Some("Every"), false).unwrap().full_name(), "a.b.Every");
    std::fs::write(&path, "message {").unwrap();
    assert!(types::of_file(&path).is_err());
    std::fs::write(&set, "message {").unwrap();
    assert!(types::of_file(&set).unwrap_err().contains("expected a .proto file, or descriptors"));
    let next = columns::columns(&file.messages().next().unwrap()).unwrap();
    assert!(next.field_with_name("next").unwrap().metadata()["unusable"].contains("messages of its own type"));
}

#[test]
fn records_say_which_message_they_are() {
    let stub = Stub::start();
    let of = |schema: &str| json!({"schema": schema, "schemaType": "PROTOBUF"}).to_string();
    stub.answer("/subjects/t-value/versions/latest", 200, &of(EVERY));
    stub.answer("/schemas/ids/1", 200, &of(EVERY));
    stub.answer("/schemas/ids/2", 200, &of("message {"));
    stub.answer(
        "/schemas/ids/3",
        200,
        &of("syntax = \"proto3\"; package a.b; message Every { string renamed = 1; int64 later = 2; }"),
    );
    let config = RegistryConfig { urls: vec![stub.url.parse().unwrap()], ..RegistryConfig::default() };
    let opened =
        Protobuf { file: None, registry: Some(config), message: None }.open("t", &Pins::new()).unwrap().unwrap();
    assert_eq!(opened.pin().unwrap().0, "t-value");
    let mut decoder = opened.decoder(&wanted(&[("i64", DataType::Int64), ("i32", DataType::Int32)])).unwrap();
    let mut check = |bytes: &[u8], expected: Option<Json>| {
        let begun = Instant::now();
        while !decoder.is_ready(&Message::of(bytes), None) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{bytes:?}");
            std::thread::yield_now();
        }
        assert_eq!(values(decoder.as_mut(), bytes).map(Json::from), expected, "{bytes:?}");
    };
    check(&[0, 0, 0, 0, 1, 0, 16, 7], Some(json!([7, 0])));
    check(&[0, 0, 0, 0, 1, 2, 0, 16, 7], Some(json!([7, 0])));
    // Another message of the same file, and one inside of ours.
    check(&[0, 0, 0, 0, 1, 2, 2, 16, 7], None);
    check(&[0, 0, 0, 0, 1, 4, 0, 0, 8, 7], None);
    check(&[0, 0, 0, 0, 1, 2, 8], None);
    check(&[0, 0, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0], None);
    check(&[0, 0, 0, 0, 2, 0, 16, 7], None);
    check(&[16, 7], None);
    // Numbers say which field it is, and its kind has to be the reader's.
    check(&[0, 0, 0, 0, 3, 0, 10, 1, b'x', 16, 7], Some(json!([7, "lost"])));
}
