//! What a spine may be, and what is said of one that cannot be.

use std::path::Path;
use std::sync::Arc;

use arrow::array::types::{Int32Type, Int64Type};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
    Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray, RecordBatch, StringViewArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};

use super::{backfill, ints, read_table, texts, times, write_table};
use crate::support::*;

/// Keys of each type that a key may have.
const JOB: &str = r#"
name = "spines"
[sources.s]
event_time = "ts"
[sources.s.schema]
ts = "timestamp"
i = "int32"
k = "string"
b = "bool"
day = "date"
moment = "timestamp"
price = "decimal128(10, 2)"
[sources.s.history]
type = "jsonl"
path = "events.jsonl"
[features.by_i]
source = "s"
key = "i"
columns = { n = { agg = "count", window = "all" } }
[features.by_k]
source = "s"
key = "k"
columns = { n = { agg = "count", windows = ["1h", "all"] }, last = { agg = "last_n", of = "i", n = 2, window = "all" } }
[features.by_rest]
source = "s"
key = ["b", "day", "moment", "price"]
columns = { n = { agg = "count", window = "all" } }
[features.hourly]
source = "s"
key = "k"
window = { tumbling = "1h" }
columns = { n = { agg = "count" } }
"#;

/// Three events: of the keys 1 and 7.
fn events(dir: &Path) {
    let line = |minute: i64, i: i64, k: &str| {
        let ts = format!("2026-01-05T00:{minute:02}:00Z");
        format!(
            "{{\"ts\":\"{ts}\",\"i\":{i},\"k\":\"{k}\",\"b\":true,\"day\":\"2026-01-0{i}\",\"moment\":\"{ts}\",\"price\":{i}.50}}\n"
        )
    };
    std::fs::write(dir.join("events.jsonl"), line(10, 1, "a") + &line(20, 7, "b") + &line(30, 1, "a")).unwrap();
    std::fs::write(dir.join("job.toml"), JOB).unwrap();
}

fn spine(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn counts(batch: &RecordBatch, column: &str) -> Vec<i64> {
    batch[column].as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn keys_and_times_of_another_width() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    events(dir);
    let hour = START + HOUR;
    let keys: Vec<(&str, &str, ArrayRef, Vec<i64>)> = vec![
        ("by_i", "i", Arc::new(Int64Array::from(vec![Some(1), Some(7), Some(1 << 40), None])), vec![2, 1, 0, 0]),
        ("by_i", "i", Arc::new(Int16Array::from(vec![Some(1), Some(7), Some(-1), None])), vec![2, 1, 0, 0]),
        ("by_i", "i", Arc::new(UInt8Array::from(vec![Some(1), Some(7), Some(255), None])), vec![2, 1, 0, 0]),
        ("by_i", "i", new_null_array(&DataType::Null, 4), vec![0; 4]),
        ("by_k", "k", Arc::new(LargeStringArray::from(vec![Some("a"), Some("b"), Some(""), None])), vec![2, 1, 0, 0]),
        ("by_k", "k", Arc::new(StringViewArray::from(vec![Some("a"), Some("b"), Some("A"), None])), vec![2, 1, 0, 0]),
        (
            "by_k",
            "k",
            Arc::new([Some("a"), Some("b"), Some("c"), None].into_iter().collect::<DictionaryArray<Int32Type>>()),
            vec![2, 1, 0, 0],
        ),
    ];
    let moments: [ArrayRef; 4] = [
        times([Some(hour); 4]),
        Arc::new(TimestampSecondArray::from(vec![hour / SECOND; 4])),
        Arc::new(TimestampMillisecondArray::from(vec![hour / 1000; 4]).with_timezone("+05:30")),
        Arc::new(TimestampNanosecondArray::from(vec![hour * 1000 + 999; 4])),
    ];
    for (at, (group, key, column, expected)) in keys.into_iter().enumerate() {
        let spine = spine(vec![("at", moments[at % 4].clone()), (key, column.clone())]);
        write_table(&dir.join("spine.parquet"), &spine);
        finish(backfill(dir, &["--out", "out.parquet", "--features", group]), 0);
        let found = read_table(&dir.join("out.parquet"));
        let name = if group == "by_i" { "by_i__n" } else { "by_k__n_all" };
        assert_eq!(counts(&found, name), expected, "{column:?}");
        assert_eq!(found.columns()[..2], *spine.columns(), "carried through as it was");
    }
}

#[test]
fn a_key_of_several_types() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    events(dir);
    let ten = START + 10 * MINUTE;
    let price = Decimal128Array::from(vec![1500, 1500, 1501]).with_precision_and_scale(20, 3).unwrap();
    write_table(
        &dir.join("spine.parquet"),
        &spine(vec![
            ("price", Arc::new(price)),
            ("moment", Arc::new(TimestampNanosecondArray::from(vec![ten * 1000 + 5; 3]))),
            ("at", times([Some(ten), Some(ten - 1), Some(ten)])),
            ("day", Arc::new(Date32Array::from(vec![20_454; 3]))),
            ("b", Arc::new(BooleanArray::from(vec![true; 3]))),
        ]),
    );
    finish(backfill(dir, &["--out", "out.parquet", "--features", "by_rest"]), 0);
    assert_eq!(counts(&read_table(&dir.join("out.parquet")), "by_rest__n"), [1, 0, 0]);
}

/// Columns of any type, nested too, and what a file says beside them; several groups, in the order of the job; lists.
#[test]
fn everything_else_is_carried_through() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    events(dir);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let inner = vec![
        (Arc::new(Field::new("x", DataType::Utf8, true)), texts([Some("x"), None, Some("")])),
        (Arc::new(Field::new("y", lists.data_type().clone(), true)), Arc::new(lists.clone()) as ArrayRef),
    ];
    let nested = StructArray::from(inner);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("weight", Arc::new(Float64Array::from(vec![-0.0, f64::NAN, 0.1]))),
        ("k", texts([Some("b"), Some("a"), None])),
        ("raw", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None, Some(b"")]))),
        ("nested", Arc::new(nested)),
        ("at", times([Some(START + 25 * MINUTE), Some(START + HOUR + 10 * MINUTE), Some(START)])),
        ("lists", Arc::new(lists)),
        ("price", Arc::new(Decimal128Array::from(vec![1, 2, 3]).with_precision_and_scale(38, 9).unwrap())),
        ("i", Arc::new(Int32Array::from(vec![1, 7, 7]))),
        ("kind", Arc::new(["x", "y", "x"].into_iter().collect::<DictionaryArray<Int32Type>>())),
    ];
    let plain = spine(columns);
    let schema =
        Schema::new_with_metadata(plain.schema().fields().clone(), [("pandas".to_owned(), "{}".to_owned())].into());
    let spine = RecordBatch::try_new(Arc::new(schema), plain.columns().to_vec()).unwrap();
    write_table(&dir.join("spine.parquet"), &spine);
    write_table(&dir.join("spine.arrow"), &spine);
    for (from, to) in [
        ("spine.parquet", "out.parquet"),
        ("spine.parquet", "out.arrow"),
        ("spine.arrow", "out.parquet"),
        ("spine.arrow", "out.feather"),
    ] {
        finish(backfill(dir, &["--spine", from, "--out", to, "--features", "by_k,by_i"]), 0);
        let found = read_table(&dir.join(to));
        assert_eq!(found.columns()[..9], *spine.columns(), "{from} to {to}");
        assert_eq!(found.schema().fields()[..9], spine.schema().fields()[..], "{from} to {to}");
        assert_eq!(found.schema().metadata(), spine.schema().metadata(), "{from} to {to}");
        let names: Vec<String> = found.schema().fields()[9..].iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["by_i__n", "by_k__n_1h", "by_k__n_all", "by_k__last"], "in the order of the job");
        assert_eq!(counts(&found, "by_i__n"), [1, 1, 0]);
        assert_eq!(counts(&found, "by_k__n_1h"), [1, 1, 0]);
        assert_eq!(counts(&found, "by_k__n_all"), [1, 2, 0]);
        let expected = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(7)]),
            Some(vec![Some(1), Some(1)]),
            None,
        ]);
        assert_eq!(
            found["by_k__last"].as_list::<i32>().iter().collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_empty_spine_has_columns_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    events(dir);
    for rows in [vec![], vec![None; 3]] {
        let keys = texts(rows.iter().copied());
        let at = times(rows.iter().map(|_| None));
        write_table(&dir.join("spine.parquet"), &spine(vec![("k", keys), ("at", at)]));
        finish(backfill(dir, &["--out", "out.parquet", "--features", "by_k"]), 0);
        let found = read_table(&dir.join("out.parquet"));
        assert_eq!((found.num_rows(), found.num_columns()), (rows.len(), 5));
        assert_eq!(counts(&found, "by_k__n_all"), vec![0; rows.len()]);
    }
}

#[test]
fn what_cannot_be_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    events(dir);
    let good: Vec<(&str, ArrayRef)> = vec![
        ("k", texts([Some("a")])),
        ("i", ints([Some(1)])),
        ("at", times([Some(START)])),
        ("seconds", ints([Some(START / SECOND)])),
        ("by_i__n", ints([None])),
    ];
    write_table(&dir.join("spine.parquet"), &spine(good));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    write_table(&dir.join("floats.parquet"), &spine(vec![("i", floats), ("at", times([Some(START)]))]));
    write_table(&dir.join("texts.parquet"), &spine(vec![("k", ints([Some(1)])), ("at", times([Some(START)]))]));
    std::fs::write(dir.join("labels.csv"), "k,at\n").unwrap();
    let out = ["--out", "out.parquet"];
    let rows: [(&[&str], &[&str]); 16] = [
        (&["--features", "by_kk"], &["no group or view `by_kk`", "did you mean `by_k`?"]),
        (&["--features", "hourly"], &["`hourly` has tumbling windows"]),
        (&["--features", "by_k", "--time", "att"], &["no column `att`", "did you mean `at`?"]),
        (&["--features", "by_k", "--time", "seconds"], &["`seconds` is int64, expected a timestamp"]),
        (&["--features", "by_rest"], &["no column `b`, which is in the key of `by_rest`"]),
        (&["--features", "by_i"], &["has a column `by_i__n` already"]),
        (&["--features", "by_i", "--spine", "floats.parquet"], &["`i` is float64", "`by_i`", "int32", "pandas"]),
        (&["--features", "by_k", "--spine", "texts.parquet"], &["`k` is int64", "`by_k` it is string"]),
        (&["--features", "by_k", "--spine", "none.parquet"], &["none.parquet cannot be opened"]),
        (&["--features", "by_k", "--spine", "labels.csv"], &["labels.csv", "write it as Parquet"]),
        (&["--features", "by_k", "--out", "no/dir/out.parquet"], &["no/dir/out.parquet cannot be written"]),
        (&["--features", "by_k", "--out", "out.txt"], &["expected .parquet"]),
        (&["--features", "by_k", "--out", "./spine.parquet"], &["is the spine"]),
        (&["--features", "by_k", "--out", "events.jsonl"], &["is a file that source `s` reads"]),
        (&["--features", "by_k", "--known", "served"], &["--known served needs the ticks"]),
        (&["--features", "by_k", "--memory", "lots"], &["512MiB"]),
    ];
    for (args, told) in rows {
        let args: Vec<&str> = if args.contains(&"--out") { args.to_vec() } else { [args, &out].concat() };
        let stderr = finish(backfill(dir, &args), 2).stderr;
        told.iter().for_each(|told| assert!(stderr.contains(told), "{args:?}: {told:?} is not in: {stderr}"));
    }
    assert!(!dir.join("out.parquet").exists());
}
