//! What is said of a table, by hand; tables of real writers are read end to end.

use arrow::datatypes::DataType;
use headwater_clocks::WallClock;
use serde_json::{Value, json};

use super::lake::Place as At;
use super::manifest::local;
use super::*;

fn metadata() -> Value {
    json!({
        "format-version": 2,
        "schemas": [
            {"schema-id": 0, "type": "struct", "fields": [{"id": 1, "name": "was", "type": "int", "required": false}]},
            {"schema-id": 1, "type": "struct", "fields": [{"id": 1, "name": "is", "type": "long", "required": false}]}
        ],
        "current-schema-id": 1,
        "current-snapshot-id": 30,
        "snapshots": [
            {"snapshot-id": 10, "timestamp-ms": 1000, "schema-id": 0},
            {"snapshot-id": 20, "timestamp-ms": 2000, "schema-id": 0},
            {"snapshot-id": 30, "timestamp-ms": 3000, "schema-id": 1}
        ],
        // 20 was of another branch.
        "snapshot-log": [{"snapshot-id": 10, "timestamp-ms": 1000}, {"snapshot-id": 30, "timestamp-ms": 3000}],
        "refs": {
            "main": {"snapshot-id": 30, "type": "branch"},
            "side": {"snapshot-id": 20, "type": "branch"},
            "first": {"snapshot-id": 10, "type": "tag"}
        }
    })
}

fn parse(metadata: &Value) -> Result<Metadata, String> {
    Metadata::parse(metadata.to_string().as_bytes())
}

#[test]
fn a_snapshot_is_found_by_what_is_said_of_it() {
    let found = |metadata: &Value, which: &Which| {
        let metadata = parse(metadata).unwrap();
        metadata.snapshot(which).map(|found| {
            let name = found.schema["fields"][0]["name"].as_str().unwrap().to_owned();
            (found.snapshot.map(|snapshot| snapshot.id), name)
        })
    };
    for (which, expected) in [
        (Which::Newest, Ok((Some(30), "is"))),
        (Which::Branch("main".into()), Ok((Some(30), "is"))),
        // A branch has today's columns, whatever it had when it was written.
        (Which::Branch("side".into()), Ok((Some(20), "is"))),
        (Which::Tag("first".into()), Ok((Some(10), "was"))),
        (Which::Snapshot(20), Ok((Some(20), "was"))),
        (Which::AsOf(WallClock::from_us(2_999_999)), Ok((Some(10), "was"))),
        (Which::AsOf(WallClock::from_us(3_000_000)), Ok((Some(30), "is"))),
        (Which::Empty, Ok((None, "is"))),
        (Which::AsOf(WallClock::from_us(999_999)), Err("has no snapshot as old as 1970-01-01 00:00:00.999999 UTC")),
        (Which::Snapshot(40), Err("has no snapshot 40: it may have expired")),
        (Which::Tag("side".into()), Err("has no tag `side`: there is `first`")),
        (Which::Branch("first".into()), Err("has no branch `first`: there is `main`, `side`")),
    ] {
        let expected = expected.map(|(id, name)| (id, name.to_owned())).map_err(str::to_owned);
        assert_eq!(found(&metadata(), &which), expected, "{which:?}");
    }
    // As the first format may say it: one schema, no references, nothing written.
    let first = json!({"format-version": 1, "schema": metadata()["schemas"][0], "current-snapshot-id": -1});
    for which in [Which::Newest, Which::Branch("main".into())] {
        assert_eq!(found(&first, &which), Ok((None, "was".to_owned())));
    }
    assert_eq!(found(&first, &Which::Tag("x".into())), Err("has no tag `x`: there is none".to_owned()));
}

#[test]
fn what_was_pinned_is_read_back() {
    for (text, expected) in
        [("snapshot 12", Some(Which::Snapshot(12))), ("no snapshot", Some(Which::Empty)), ("version 3", None)]
    {
        assert_eq!(Which::pinned(text, "t").ok(), expected, "{text}");
    }
}

#[test]
fn other_formats_are_refused() {
    for (version, expected) in
        [(json!(3), "it is of the format 3: 1 and 2 are read"), (json!(null), "no `format-version`")]
    {
        let mut other = metadata();
        other["format-version"] = version;
        let told = parse(&other).map(drop).unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn columns_have_numbers_types_and_names_of_old() {
    let schema = json!({"type": "struct", "fields": [
        {"id": 1, "name": "id", "type": "long"},
        {"id": 2, "name": "d", "type": "decimal(12, 2)"},
        {"id": 3, "name": "at", "type": "timestamptz"},
        {"id": 4, "name": "user", "type": {"type": "struct", "fields": [{"id": 5, "name": "age", "type": "int"}]}},
        {"id": 6, "name": "tags", "type": {"type": "list", "element-id": 7, "element": "string"}},
        {"id": 8, "name": "odd", "type": "variant"}
    ]});
    let names = json!([{"field-id": 1, "names": ["id", "ident"]}, {"field-id": 4, "names": ["u"], "fields": [{"field-id": 5, "names": ["a"]}]}]);
    let columns = schema::read(&schema, names).unwrap();
    let types: Vec<String> = columns.iter().map(|column| column.field.data_type().to_string()).collect();
    assert_eq!(types[..3], ["Int64", "Decimal128(12, 2)", "Timestamp(µs, \"UTC\")"]);
    let place = |id, names: &[&str]| At::Numbered { id, names: names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(columns[0].place, place(1, &["id", "ident"]));
    assert_eq!((&columns[3].place, &columns[3].inside[0].place), (&place(4, &["u"]), &place(5, &["a"])));
    assert_eq!(columns[4].inside[0].place, place(7, &[]));
    assert_eq!((columns[5].field.data_type(), columns[5].field.metadata().len()), (&DataType::Null, 1));
    for (field, expected) in
        [(json!({"name": "x", "type": "int"}), "number of \"x\""), (json!({"id": 1, "type": "int"}), "without a name")]
    {
        let told = schema::read(&json!({"fields": [field]}), Value::Null).map(drop).unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn places_are_those_that_stores_know() {
    for (uri, expected) in [
        ("s3://b/k", "s3://b/k"),
        ("s3a://b/k", "s3://b/k"),
        ("file:///a/b", "/a/b"),
        ("file:/a/b", "/a/b"),
        ("/a/b=c d", "/a/b=c d"),
    ] {
        assert_eq!(local(uri), expected);
    }
}

/// The columns that partitions say: as they are, in every way that the table was ever laid out.
#[test]
fn only_what_every_layout_has_is_constant() {
    let field =
        |source: i64, transform: &str, name: &str| json!({"source-id": source, "transform": transform, "name": name});
    let mut of = metadata();
    of["partition-specs"] = json!([
        {"spec-id": 0, "fields": [field(1, "identity", "a"), field(2, "identity", "b"), field(3, "day", "c")]},
        {"spec-id": 1, "fields": [field(2, "identity", "b2"), field(3, "identity", "c")]}
    ]);
    let metadata = parse(&of).unwrap();
    let fields: Vec<Value> = (1..4).map(|id| json!({"id": id, "name": format!("c{id}"), "type": "int"})).collect();
    let columns = schema::read(&json!({ "fields": fields }), Value::Null).unwrap();
    assert_eq!(metadata.constant(&columns), [1]);
    assert_eq!(
        (metadata.partition_field(0, &columns[1]), metadata.partition_field(1, &columns[1])),
        (Some("b"), Some("b2"))
    );
}
