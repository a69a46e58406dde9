//! Inputs that lie, and inputs that would kill: an error that names the file, or a dead letter, and everybody else's values.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::statistics::Statistics;

use crate::support::{headwater_in as headwater, reasons_of_dead_letters, texts, times, write_columns as write};

const HOUR: i64 = 3_600_000_000;
/// 2026-01-01T12:00:00Z
const NOON: i64 = 1_767_268_800_000_000;

/// The job of these tests: a Parquet history `h/*.parquet` of `ts` and `k`, perhaps a stream of JSON lines `s.jsonl`.
fn job(path: &str, stream: bool, columns: &str) -> String {
    let stream = if stream { "[sources.e.stream]\ntype = \"jsonl\"\npath = \"s.jsonl\"\n" } else { "" };
    format!(
        "name = \"wrong\"\ntick = \"1s\"\n[sources.e]\nevent_time = \"ts\"\n[sources.e.history]\ntype = \"parquet\"\npath = \"{path}\"\n\
         {stream}[sources.e.seam]\nallow_gap = true\n[features.f]\nsource = \"e\"\nkey = \"k\"\ncolumns = {{ {columns} }}\n"
    )
}

fn rows(dir: &Path, job: &str) -> String {
    let ran = headwater(dir, &["export", job, "f"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    let row = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        format!("{}: {}", line["key"]["k"].as_str().unwrap(), line["row"])
    };
    ran.told.lines().map(row).collect::<Vec<_>>().join("; ")
}

fn dead_letters(dir: &Path) -> Vec<String> {
    reasons_of_dead_letters(dir, "wrong")
}

/// The statistics of the first column become these.
fn claim(path: &Path, min: i64, max: i64) {
    let bytes = std::fs::read(path).unwrap();
    let length = bytes[bytes.len() - 8..][..4].try_into().map(u32::from_le_bytes).unwrap() as usize;
    let (data, footer) = bytes.split_at(bytes.len() - 8 - length);
    let metadata = ParquetMetaDataReader::decode_metadata(&footer[..length]).unwrap();
    let group = metadata.row_group(0).clone();
    let mut columns = group.columns().to_vec();
    let statistics = Statistics::int64(Some(min), Some(max), None, Some(0), false);
    columns[0] = columns[0].clone().into_builder().set_statistics(statistics).build().unwrap();
    let group = group.into_builder().set_column_metadata(columns).build().unwrap();
    let file = metadata.file_metadata();
    let pairs = file.key_value_metadata().cloned();
    let orders = file.column_orders().cloned();
    let file = FileMetaData::new(file.version(), file.num_rows(), None, pairs, file.schema_descr_ptr(), orders);
    let mut footer = vec![];
    ParquetMetaDataWriter::new(&mut footer, &ParquetMetaData::new(file, vec![group])).finish().unwrap();
    std::fs::write(path, [data, &footer].concat()).unwrap();
}

/// A writer that shifted its statistics by a time zone: the seam would lie elsewhere, and events count twice or never.
#[test]
fn statistics_that_do_not_fit_the_rows_end_the_run_before_anything_is_published() {
    for hours in [-8, 0, 8] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let file = dir.join("h/a.parquet");
        write(&file, &[("ts", times(&[NOON; 5])), ("k", texts(&["a"; 5]))]);
        claim(&file, NOON + hours * HOUR, NOON + hours * HOUR);
        let event = |hours: i64| format!("{{\"ts\":{},\"k\":\"a\"}}\n", (NOON + hours * HOUR) / 1000);
        std::fs::write(dir.join("s.jsonl"), [-1, 0, 1, 2].map(event).concat()).unwrap();
        std::fs::write(dir.join("job.toml"), job("h/*.parquet", true, "n = { agg = \"count\", window = \"all\" }"))
            .unwrap();
        let ran = headwater(dir, &["run", "job.toml", "--until-end"]);
        if hours == 0 {
            assert_eq!((ran.code, rows(dir, "job.toml").as_str()), (Some(0), r#"a: {"n":7}"#), "{}", ran.told);
            continue;
        }
        assert_eq!(ran.code, Some(1), "{}", ran.told);
        assert!(
            ran.told.contains("h/a.parquet as Parquet: column \"ts\" holds 2026-01-01 12:00:00 UTC, and its"),
            "{}",
            ran.told
        );
        assert_eq!(rows(dir, "job.toml"), "");
    }
}

/// A panic of a library on what a file holds is no bug of ours.
#[test]
fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = dir.join("h/a.parquet");
    write(&file, &[("ts", times(&[NOON; 50])), ("k", texts(&["a"; 50]))]);
    std::fs::write(dir.join("job.toml"), job("h/*.parquet", false, "n = { agg = \"count\", window = \"all\" }"))
        .unwrap();
    let whole = std::fs::read(&file).unwrap();
    for (from, to) in [(4, 60), (whole.len() - 60, whole.len() - 8), (whole.len() - 8, whole.len() - 4)] {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0xff);
        std::fs::write(&file, &bytes).unwrap();
        let ran = headwater(dir, &["run", "job.toml", "--fresh"]);
        assert_eq!(ran.code, Some(1), "{}", ran.told);
        assert!(ran.told.contains("h/a.parquet as Parquet: ") && !ran.told.contains("bug"), "{}", ran.told);
    }
}

#[test]
fn columns_that_nothing_names_are_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let int = |x: i32| -> ArrayRef { Arc::new(Int32Array::from(vec![x])) };
    let long = |x: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![x])) };
    let columns = |x: ArrayRef, u: ArrayRef| [("ts", times(&[NOON])), ("k", texts(&["a"])), ("x", x), ("u", u)];
    write(&dir.join("data/a.parquet"), &columns(int(1), int(1)));
    write(&dir.join("data/b.parquet"), &columns(long(1 << 40), texts(&["b"])));
    std::fs::create_dir(dir.join("jobs")).unwrap();
    let sum = |of: &str| {
        job("../data/*.parquet", false, &format!("x = {{ agg = \"sum\", of = \"{of}\", window = \"all\" }}"))
    };
    std::fs::write(dir.join("jobs/job.toml"), sum("x")).unwrap();
    let ran = headwater(dir, &["run", "jobs/job.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    assert_eq!(rows(dir, "jobs/job.toml"), r#"a: {"x":1099511627777}"#);
    // Who names it is told, at its place.
    std::fs::write(dir.join("jobs/job.toml"), sum("x + length(u)")).unwrap();
    let ran = headwater(dir, &["check", "jobs/job.toml"]);
    assert_eq!(ran.code, Some(2));
    let told = ["jobs/job.toml:13:37: error: column \"u\" has two types: Int32 in ", "/data/a.parquet, but Utf8 in "];
    assert!(told.iter().all(|told| ran.told.contains(told)), "{}", ran.told);
    std::fs::write(dir.join("jobs/job.toml"), sum("x").replace("key = \"k\"", "key = \"u\"")).unwrap();
    assert!(headwater(dir, &["check", "jobs/job.toml"]).told.contains("has two types"));
}

/// Four rows in one file, or each in its own: one that is no text is one dead letter.
#[test]
fn one_bad_value_fails_by_itself() {
    let brands: [&[u8]; 4] = [b"ann", b"bob", &[0xff, 0xfe], b"eve"];
    for files in [1, 4] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (n, brands) in brands.chunks(4 / files).enumerate() {
            let columns = [
                ("ts", times(&vec![NOON; brands.len()])),
                ("k", texts(&vec!["a"; brands.len()])),
                ("brand", Arc::new(BinaryArray::from_vec(brands.to_vec())) as ArrayRef),
            ];
            write(&dir.join(format!("h/{n}.parquet")), &columns);
        }
        let columns = "b = { agg = \"count_distinct\", of = \"cast(brand as varchar)\", window = \"all\" }";
        std::fs::write(dir.join("job.toml"), job("h/*.parquet", false, columns)).unwrap();
        let ran = headwater(dir, &["run", "job.toml"]);
        assert_eq!(ran.code, Some(0), "{}", ran.told);
        assert_eq!((rows(dir, "job.toml").as_str(), dead_letters(dir).len()), (r#"a: {"b":3}"#, 1), "{files} files");
    }
}

/// Arithmetic that does not fit, a text without an end, a key without an end: dead letters, and the other events count.
#[test]
fn records_that_ask_for_too_much_are_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let ts = NOON / 1000;
    let key = |length: usize| "x".repeat(length);
    // `{"k":"..."}` is eight bytes longer.
    let (longest, too_long, far_too_long) = (key((32 << 10) - 8), key((32 << 10) - 7), key(70_000));
    let records = [
        format!(r#"{{"ts":{ts},"k":"good","q":3,"width":5}}"#),
        format!(r#"{{"ts":{ts},"k":"good","q":9223372036854775807,"width":5}}"#),
        format!(r#"{{"ts":{ts},"k":"good","q":1,"width":9223372036854775807}}"#),
        format!(r#"{{"ts":{ts},"k":"{longest}","q":1,"width":1}}"#),
        format!(r#"{{"ts":{ts},"k":"{too_long}","q":1,"width":1}}"#),
        format!(r#"{{"ts":{ts},"k":"{far_too_long}","q":1,"width":1}}"#),
    ];
    std::fs::write(dir.join("s.jsonl"), records.join("\n") + "\n").unwrap();
    let job = "name = \"wrong\"\ntick = \"1s\"\n[sources.e]\nevent_time = \"ts\"\n\
               schema = { ts = \"timestamp\", k = \"string\", q = \"int64\", width = \"int64\" }\n\
               [sources.e.stream]\ntype = \"jsonl\"\npath = \"s.jsonl\"\n[features.f]\nsource = \"e\"\nkey = \"k\"\n\
               [features.f.columns]\nn = { agg = \"count\", window = \"all\" }\n\
               q = { agg = \"sum\", of = \"q * 2\", window = \"all\" }\n\
               w = { agg = \"max\", of = \"lpad('7', width, '0')\", window = \"all\" }\n";
    std::fs::write(dir.join("job.toml"), job).unwrap();
    for _ in 0..2 {
        let ran = headwater(dir, &["run", "job.toml", "--until-end"]);
        assert_eq!(ran.code, Some(0), "{}", ran.told);
        let expected = format!(r#"good: {{"n":3,"q":8,"w":"00007"}}; {longest}: {{"n":1,"q":2,"w":"7"}}"#);
        assert_eq!(rows(dir, "job.toml"), expected);
        assert_eq!(dead_letters(dir), ["expression", "expression", "long key", "long key"]);
    }
    let ran = headwater(dir, &["get", "job.toml", "f", &format!("k={far_too_long}")]);
    assert!(ran.code == Some(1) && ran.told.contains("not found"), "{}", ran.told);
}

#[test]
fn a_broker_that_is_away_hides_no_fault_of_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let text = job("nothing/*.parquet", true, "n = { agg = \"count\", window = \"all\" }");
    let text = text
        .replace("type = \"jsonl\"\npath = \"s.jsonl\"", "type = \"kafka\"\nbrokers = \"127.0.0.1:1\"\ntopic = \"t\"");
    std::fs::write(dir.path().join("job.toml"), text).unwrap();
    let ran = headwater(dir.path(), &["check", "job.toml"]);
    assert_eq!(ran.code, Some(2), "{}", ran.told);
    assert!(ran.told.contains("job.toml:5:") && ran.told.contains("nothing"), "{}", ran.told);
}

/// A job over lines: a history, or a stream.
fn lines(side: &str, kind: &str) -> String {
    let has_schema = kind.contains("jsonl") || kind.contains("csv");
    let schema = if has_schema { "schema = { ts = \"timestamp\", k = \"string\" }\n" } else { "" };
    format!(
        "name = \"wrong\"\n[sources.e]\nevent_time = \"ts\"\n{schema}{side} = {{ {kind} }}\n\
         [features.f]\nsource = \"e\"\nkey = \"k\"\ncolumns = {{ n = {{ agg = \"count\", window = \"all\" }} }}\n\
         [sinks.c]\ntype = \"jsonl\"\npath = \"changes.jsonl\"\n"
    )
}

#[test]
fn a_file_of_another_kind_is_named() {
    let record = "{\"ts\":1767268800000,\"k\":\"a\"}";
    let utf_16: Vec<u8> = format!("{record}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("jsonl", b"\x1f\x8b\x08\0\0\0".to_vec(), "it is packed with gzip: let its name end in `.gz`"),
        ("csv", b"\x28\xb5\x2f\xfd\x04".to_vec(), "it is packed with Zstandard: let its name end in `.zst`"),
        (
            "jsonl",
            b"BZh91AY&SY\x01".to_vec(),
            "it is packed with bzip2: pack it with gzip (`.gz`) or Zstandard (`.zst`)",
        ),
        ("jsonl", utf_16.clone(), "it is UTF-16: write it as UTF-8"),
        ("csv", utf_16, "it is UTF-16: write it as UTF-8"),
        ("jsonl", format!("[{record},\n{record}]\n").into_bytes(), "it is one JSON array: JSON lines are one object"),
        ("jsonl", record.replace(',', ",\n ").replace('{', "{\n ").into_bytes(), "its objects lie in several lines"),
        ("csv", record.as_bytes().to_vec(), "it is JSON, and no header of CSV: that is type = \"jsonl\""),
        ("jsonl", b"PAR1\x15\0".to_vec(), "it is a Parquet file: that is type = \"parquet\""),
        (
            "parquet",
            b"\x1f\x8b\x08\0 and so on and on and on".to_vec(),
            "it is no Parquet file: it is packed with gzip",
        ),
        ("avro", b"PAR1\x15\0 and so on".to_vec(), "it is no Avro file: it is a Parquet file"),
    ];
    for (kind, bytes, expected) in rows {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir(dir.join("h")).unwrap();
        std::fs::write(dir.join("h/a.dat"), &bytes).unwrap();
        std::fs::write(dir.join("job.toml"), lines("history", &format!("type = \"{kind}\", path = \"h/*\""))).unwrap();
        for command in ["run", "check"] {
            let ran = headwater(dir, &[command, "job.toml"]);
            assert_eq!(ran.code, Some(1), "{command}: {}", ran.told);
            assert!(ran.told.contains("h/a.dat") && ran.told.contains(expected), "{command}, {expected}: {}", ran.told);
        }
        assert!(!dir.join("changes.jsonl").exists(), "{expected}");
    }
    // One bad record is data, the first one too.
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("a.jsonl"), format!("[1,2]\n{record}\n")).unwrap();
    std::fs::write(dir.join("job.toml"), lines("history", "type = \"jsonl\", path = \"a.jsonl\"")).unwrap();
    let ran = headwater(dir, &["run", "job.toml"]);
    assert_eq!((ran.code, dead_letters(dir)), (Some(0), vec!["malformed".to_owned()]), "{}", ran.told);
}

#[test]
fn what_malformed_records_of_a_stream_look_like_is_told() {
    let columns = "type = \"csv\", path = \"s\", columns = [\"ts\", \"k\"]";
    for (kind, record, expected) in [
        ("type = \"jsonl\", path = \"s\"", &b"[{\"ts\":1767268800000,\"k\":\"a\"}]"[..], "it is a JSON array"),
        ("type = \"jsonl\", path = \"s\"", b"\x1f\x8b\x08\0\0", "it is packed with gzip"),
        (
            "type = \"jsonl\", path = \"s\"",
            b"\0\0\0\0\x07{\"ts\":1767268800000}",
            "name the registry in `[...stream.registry]`",
        ),
        (columns, b"ts,k", "it is a header line: `columns` says the names, so send records alone"),
        (columns, b"1767268800000;a", "its fields are parted by \";\": say delimiter = \";\""),
        (columns, b"1767268800000,a,b", "it has 3 fields, and `columns` names 2"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::write(dir.join("s"), record).unwrap();
        std::fs::write(dir.join("job.toml"), lines("stream", kind)).unwrap();
        let ran = headwater(dir, &["check", "job.toml", "--sample", "5"]);
        assert_eq!(ran.code, Some(0), "{}", ran.told);
        assert!(ran.told.contains("hint: of 1 that is malformed: ") && ran.told.contains(expected), "{}", ran.told);
        let ran = headwater(dir, &["run", "job.toml", "--until-end"]);
        assert_eq!(ran.code, Some(0), "{}", ran.told);
        assert!(ran.told.contains("a record is malformed: ") && ran.told.contains(expected), "{}", ran.told);
        assert_eq!(dead_letters(dir), ["malformed"]);
    }
}
