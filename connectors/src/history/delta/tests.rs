//! Logs as writers of tables make them, written by hand; tables of real writers are read end to end.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, MapBuilder, StringArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field};
use headwater_clocks::WallClock;
use roaring::RoaringTreemap;
use serde_json::json;

use super::*;
use crate::history::lake::tests::{numbered, rows, write};

const ID: &str = r#"{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}},{"name":"dt","type":"date","nullable":true,"metadata":{}}]}"#;

fn data(dir: &Path, name: &str, ids: std::ops::Range<i64>) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    write(&dir.join(name), vec![(Field::new("id", DataType::Int64, true), ids)]);
}

fn commit(dir: &Path, version: u64, actions: &[Value]) {
    let log = dir.join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
    std::fs::write(log.join(format!("{version:020}.json")), text).unwrap();
}

fn first(schema: &str, protocol: Value, configuration: Value) -> Vec<Value> {
    let meta = json!({"metaData": {"id": "x", "schemaString": schema, "partitionColumns": ["dt"], "configuration": configuration}});
    vec![json!({"commitInfo": {"inCommitTimestamp": 1000}}), json!({ "protocol": protocol }), meta]
}

fn add(path: &str, dt: Option<&str>) -> Value {
    json!({"add": {"path": path, "partitionValues": {"dt": dt}, "size": 1, "dataChange": true}})
}

fn open(dir: &Path, which: Which, pinned: Option<&Pinned>) -> Result<Arc<dyn History>> {
    let place = dir.display().to_string();
    Delta { path: place.clone(), place, which }.open(pinned)
}

fn ids(history: &dyn History) -> Vec<String> {
    rows(history, &[("id", DataType::Int64), ("dt", DataType::Date32)])
}

/// Three versions: two files; one of them goes for another; a third one, whose name needs escapes.
fn three_versions(dir: &Path) {
    data(dir, "a.parquet", 0..2);
    data(dir, "dt=2026-01-02/b.parquet", 2..4);
    data(dir, "c%20.parquet", 4..5);
    let mut actions = first(ID, json!({"minReaderVersion": 1, "minWriterVersion": 2}), json!({}));
    actions.extend([add("a.parquet", Some("2026-01-01")), json!({"txn": {"appId": "x"}})]);
    commit(dir, 0, &actions);
    // Of one version the order says nothing.
    let remove = json!({"remove": {"path": "a.parquet", "dataChange": true}});
    commit(dir, 1, &[json!({"commitInfo": {"inCommitTimestamp": 2000}}), add("dt=2026-01-02/b.parquet", None), remove]);
    commit(dir, 2, &[json!({"commitInfo": {"inCommitTimestamp": 3000}}), add("c%2520.parquet", Some(""))]);
}

#[test]
fn a_version_is_what_its_commits_have_made_of_it() {
    let dir = tempfile::tempdir().unwrap();
    three_versions(dir.path());
    let (first, second, third) =
        (&["0 2026-01-01", "1 2026-01-01"][..], &["2 -", "3 -"][..], &["4 -", "2 -", "3 -"][..]);
    for (which, version, expected) in [
        (Which::Newest, 2, third),
        (Which::Version(0), 0, first),
        (Which::Version(1), 1, second),
        (Which::AsOf(WallClock::from_us(2_500_000)), 1, second),
        (Which::AsOf(WallClock::from_us(2_000_000)), 1, second),
        (Which::AsOf(WallClock::from_us(i64::MAX)), 2, third),
    ] {
        let history = open(dir.path(), which, None).unwrap();
        assert_eq!(ids(history.as_ref()), expected, "{which:?}");
        let pinned = history.pinned().clone();
        assert_eq!(pinned.version, Some(format!("version {version}")), "{which:?}");
        // What is pinned stays, whatever is asked for.
        let again = open(dir.path(), Which::Newest, Some(&pinned)).unwrap();
        assert_eq!((again.pinned(), ids(again.as_ref())), (&pinned, ids(history.as_ref())), "{which:?}");
    }
    for (which, expected) in [
        (Which::Version(3), "has no version 3: its newest is 2"),
        (Which::AsOf(WallClock::from_us(999_999)), "does not reach back to 1970-01-01 00:00:00.999999 UTC"),
    ] {
        let Err(Error::Config(told)) = open(dir.path(), which, None).map(drop) else { panic!("{which:?}") };
        assert!(told.ends_with(expected), "{told}");
    }
    let Err(Error::Config(told)) = open(&dir.path().join("none"), Which::Newest, None).map(drop) else { panic!() };
    assert!(told.starts_with("there is no Delta table at "), "{told}");
}

/// A pinned version whose files or log are cleaned is gone, which is no fault of the job.
#[test]
fn a_pinned_version_may_go() {
    let dir = tempfile::tempdir().unwrap();
    three_versions(dir.path());
    let pinned = open(dir.path(), Which::Version(1), None).unwrap().pinned().clone();
    let gone = |expected: &str| {
        let Err(Error::Changed(told)) = open(dir.path(), Which::Newest, Some(&pinned)).map(drop) else { panic!() };
        assert!(told.contains(expected), "{told}");
    };
    let file = dir.path().join("dt=2026-01-02/b.parquet");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    gone("b.parquet was pinned, and is gone");
    std::fs::write(&file, bytes).unwrap();
    std::fs::remove_file(dir.path().join("_delta_log/00000000000000000000.json")).unwrap();
    gone("commit 0 is gone from its log");
}

/// What a reader here does not know is refused by its name.
#[test]
fn what_is_not_known_is_refused() {
    let schema = |of: &str| {
        format!(r#"{{"type":"struct","fields":[{{"name":"dt","type":{of},"nullable":true,"metadata":{{}}}}]}}"#)
    };
    let features = |names: &[&str]| json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": names});
    for (schema, protocol, configuration, expected) in [
        (
            schema("\"date\""),
            features(&["deletionVectors", "rowTracking2"]),
            json!({}),
            "it asks its readers for \"rowTracking2\"",
        ),
        (schema("\"date\""), json!({"minReaderVersion": 4}), json!({}), "readers of version 4: up to 3"),
        (
            schema("\"date\""),
            features(&[]),
            json!({"delta.columnMapping.mode": "magic"}),
            "maps its columns by \"magic\"",
        ),
        ("{}".to_owned(), features(&[]), json!({}), "a struct without `fields`"),
        (
            schema("\"date\""),
            features(&["columnMapping"]),
            json!({"delta.columnMapping.mode": "id"}),
            "does not say the number of \"dt\"",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        commit(dir.path(), 0, &first(&schema, protocol, configuration));
        let told = open(dir.path(), Which::Newest, None).map(drop).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
    // A type that is not known harms only who names it.
    let dir = tempfile::tempdir().unwrap();
    commit(
        dir.path(),
        0,
        &first(
            &schema("\"variant\"").replace("]}", r#",{"name":"v","type":"variant","metadata":{}}]}"#).replacen(
                "\"variant\"",
                "\"date\"",
                1,
            ),
            features(&[]),
            json!({}),
        ),
    );
    let history = open(dir.path(), Which::Newest, None).unwrap();
    let why = history.schema().unwrap().field(1).metadata()[crate::UNUSABLE].clone();
    assert_eq!(why, "column \"v\" is of the type variant, which is not known here");
    assert!(history.pieces(&[]).unwrap().is_empty());
}

/// What a checkpoint of Parquet says of files.
fn adds(path: &Path, names: &[&str]) {
    let mut partitions = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for _ in names {
        partitions.keys().append_value("dt");
        partitions.values().append_value("2026-01-31");
        partitions.append(true).unwrap();
    }
    let partitions = partitions.finish();
    let fields = vec![
        Field::new("path", DataType::Utf8, true),
        Field::new("partitionValues", partitions.data_type().clone(), true),
        Field::new("size", DataType::Int64, true),
    ];
    let sizes: ArrayRef = Arc::new(Int64Array::from_iter_values(names.iter().map(|_| 1)));
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(names.to_vec())), Arc::new(partitions), sizes];
    let add = StructArray::new(fields.into(), columns, None);
    write(path, vec![(Field::new("add", add.data_type().clone(), true), Arc::new(add))]);
}

/// Checkpoints in parts, and those with files beside them; a part that is missing makes none.
#[test]
fn checkpoints_of_every_kind() {
    let actions = |more: &[Value]| {
        let all =
            first(ID, json!({"minReaderVersion": 3, "readerFeatures": ["v2Checkpoint", "typeWidening"]}), json!({}));
        all.iter().chain(more).map(|action| format!("{action}\n")).collect::<String>()
    };
    let id = "80a083e8-7026-4e79-81be-64bd76c43a11";
    for kind in ["parts", "v2"] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("_delta_log");
        for (at, name) in ["a.parquet", "b.parquet", "c.parquet"].into_iter().enumerate() {
            data(dir.path(), name, at as i64..at as i64 + 1);
        }
        std::fs::create_dir_all(&log).unwrap();
        match kind {
            "parts" => {
                std::fs::write(log.join(format!("{:020}.json", 3)), actions(&[add("a.parquet", None)])).unwrap();
                adds(&log.join(format!("{:020}.checkpoint.{:010}.{:010}.parquet", 4, 1, 2)), &["a.parquet"]);
            }
            _ => {
                let sidecar = json!({"sidecar": {"path": "files.parquet", "sizeInBytes": 1, "modificationTime": 1}});
                let text = actions(&[sidecar, add("a.parquet", None), json!({"checkpointMetadata": {"version": 4}})]);
                std::fs::write(log.join(format!("{:020}.checkpoint.{id}.json", 4)), text).unwrap();
                adds(&log.join("_sidecars/files.parquet"), &["b.parquet"]);
            }
        }
        commit(dir.path(), 5, &[add("c.parquet", None)]);
        let opened = open(dir.path(), Which::Newest, None);
        if kind == "parts" {
            // The other part is not there, and neither are the commits before it.
            let Err(Error::Config(told)) = opened.map(drop) else { panic!() };
            assert!(told.contains("commit 0 is gone"), "{told}");
            // The two parts say all files, but no schema: that is in the commit between.
            adds(&log.join(format!("{:020}.checkpoint.{:010}.{:010}.parquet", 4, 2, 2)), &["b.parquet"]);
            commit(
                dir.path(),
                5,
                &[&first(ID, json!({"minReaderVersion": 1}), json!({}))[1..], &[add("c.parquet", None)]].concat(),
            );
            assert_eq!(
                ids(open(dir.path(), Which::Newest, None).unwrap().as_ref()),
                ["0 2026-01-31", "1 2026-01-31", "2 -"]
            );
            continue;
        }
        assert_eq!(ids(opened.unwrap().as_ref()), ["0 -", "1 2026-01-31", "2 -"]);
        let before = open(dir.path(), Which::Version(4), None).unwrap();
        assert_eq!(ids(before.as_ref()), ["0 -", "1 2026-01-31"]);
        std::fs::remove_file(log.join("_sidecars/files.parquet")).unwrap();
        let told = open(dir.path(), Which::Newest, None).map(drop).unwrap_err().to_string();
        assert!(told.contains("_sidecars/files.parquet"), "{told}");
    }
}

/// Rows that a bitmap names are not there, whether it lies in a file or in the log.
#[test]
fn deleted_rows_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    data(dir.path(), "a.parquet", 0..8);
    let deleted: RoaringTreemap = [0, 4, 7].into_iter().collect();
    let mut bytes = 1_681_511_377u32.to_le_bytes().to_vec();
    deleted.serialize_into(&mut bytes).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(&bytes);
    let file = [&[1][..], &(bytes.len() as u32).to_be_bytes(), &bytes, &crc.sum().to_be_bytes()].concat();
    let name = "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
    for (prefix, directory) in [("", ""), ("ab", "ab/")] {
        let path = dir.path().join(format!("{directory}{name}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &file).unwrap();
        // The example of the protocol.
        let text = format!("{prefix}^-aqEH.-t@S}}K{{vb[*k^");
        let vector = json!({"storageType": "u", "pathOrInlineDv": text, "offset": 1, "sizeInBytes": bytes.len(), "cardinality": 3});
        let mut actions = first(ID, json!({"minReaderVersion": 3, "readerFeatures": ["deletionVectors"]}), json!({}));
        actions.push(json!({"add": {"path": "a.parquet", "partitionValues": {"dt": null}, "deletionVector": vector}}));
        commit(dir.path(), 0, &actions);
        let history = open(dir.path(), Which::Newest, None).unwrap();
        assert_eq!(ids(history.as_ref()), ["1 -", "2 -", "3 -", "5 -", "6 -"]);
        // The file with fewer of its rows is another one for the log: it takes the place of the first.
        let removed = json!({"remove": {"path": "a.parquet", "deletionVector": vector}});
        commit(dir.path(), 1, &[removed, add("a.parquet", None)]);
        assert_eq!(ids(open(dir.path(), Which::Newest, None).unwrap().as_ref()).len(), 8);
        std::fs::remove_file(dir.path().join("_delta_log/00000000000000000001.json")).unwrap();
        std::fs::write(&path, &file[..file.len() - 2]).unwrap();
        let told = open(dir.path(), Which::Newest, None).map(drop).unwrap_err().to_string();
        assert!(told.contains(name) && told.ends_with("it ends too early"), "{told}");
    }
}

/// Columns under names that they do not have in files, by these or by their numbers.
#[test]
fn mapped_columns_are_found() {
    for mode in ["name", "id"] {
        let dir = tempfile::tempdir().unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2));
        let inside =
            arrow::array::StructArray::new(vec![numbered("col-3", DataType::Int64, 3)].into(), vec![ids.clone()], None);
        let user = numbered("col-2", DataType::Struct(inside.fields().clone()), 2);
        write(
            &dir.path().join("a.parquet"),
            vec![(numbered("col-1", DataType::Int64, 1), ids), (user, Arc::new(inside))],
        );
        let field = |name: &str, of: Value, id: u32| {
            let metadata =
                json!({"delta.columnMapping.id": id, "delta.columnMapping.physicalName": format!("col-{id}")});
            json!({"name": name, "type": of, "nullable": true, "metadata": metadata})
        };
        let user = json!({"type": "struct", "fields": [field("age in years", json!("long"), 3)]});
        let fields = json!([field("id", json!("long"), 1), field("user", user, 2), field("dt", json!("date"), 4)]);
        let schema = json!({"type": "struct", "fields": fields}).to_string();
        let mut actions = first(&schema, json!({"minReaderVersion": 2}), json!({"delta.columnMapping.mode": mode}));
        actions.push(json!({"add": {"path": "a.parquet", "partitionValues": {"col-4": "2026-01-31"}}}));
        commit(dir.path(), 0, &actions);
        let history = open(dir.path(), Which::Newest, None).unwrap();
        let found = rows(
            history.as_ref(),
            &[
                ("id", DataType::Int64),
                ("user.age in years", DataType::Int64),
                ("user", history.schema().unwrap().field(1).data_type().clone()),
                ("dt", DataType::Date32),
            ],
        );
        assert_eq!(found, ["0 0 {age in years: 0} 2026-01-31", "1 1 {age in years: 1} 2026-01-31"], "{mode}");
    }
}

#[test]
fn partitions_are_values_of_their_types() {
    use DataType::*;
    let micros = crate::history::parquet::schema::micros;
    for (text, data_type, expected) in [
        (Some("5"), Int32, Some("5")),
        (Some("-5"), Int64, Some("-5")),
        (Some("x y"), Utf8, Some("x y")),
        (Some(""), Utf8, Some("")),
        (None, Int64, Some("")),
        (Some("true"), Boolean, Some("true")),
        (Some("1.50"), Decimal128(5, 2), Some("1.50")),
        (Some("2026-01-31"), Date32, Some("2026-01-31")),
        (Some("2026-01-31 10:00:00"), micros(), Some("2026-01-31T10:00:00Z")),
        (Some("2026-01-31 10:00:00.123456"), micros(), Some("2026-01-31T10:00:00.123456Z")),
        (Some("2026-01-31T10:00:00.5Z"), micros(), Some("2026-01-31T10:00:00.500Z")),
        (Some("x"), Int32, None),
        (Some("300"), Int8, None),
    ] {
        let found = schema::constant(text, &data_type);
        let shown = found.map(|value| arrow::util::display::array_value_to_string(&value, 0).unwrap());
        assert_eq!(shown.as_deref(), expected, "{text:?} as {data_type}");
    }
}
