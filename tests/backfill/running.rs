//! How a backfill runs: the same bytes whatever it runs on, nothing left of what was stopped, and what the seam refuses.

use std::path::Path;

use arrow::array::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::data::{EVERY_AGGREGATE, Order, Sides, job, log, write_history, write_stream};
use super::{backfill, ints, texts, times, write_table};
use crate::support::*;

/// A spine of random labels of `log`'s keys.
pub fn write_spine(dir: &Path, rows: usize, keys: usize) {
    let mut rng = StdRng::seed_from_u64(1);
    let keys: Vec<String> = (0..rows).map(|_| format!("k{}", rng.random_range(0..keys + 1))).collect();
    let spine = RecordBatch::try_from_iter_with_nullable([
        ("k", texts(keys.iter().map(|key| Some(key.as_str()))), true),
        ("q", ints((0..rows).map(|_| Some(rng.random_range(0..3)))), true),
        ("at", times((0..rows).map(|_| Some(START + rng.random_range(0..48 * HOUR)))), true),
    ]);
    write_table(&dir.join("spine.parquet"), &spine.unwrap());
}

#[test]
fn the_same_bytes_on_any_threads_in_any_memory() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(5, 20_000, 3, 400);
    let cuts: Vec<usize> = log.iter().map(|records| records.len() * 3 / 4).collect();
    std::fs::write(dir.join("job.toml"), job(Sides::Both, EVERY_AGGREGATE)).unwrap();
    write_history(dir, &log, &cuts, Order::Log);
    write_stream(dir, &log, None);
    write_spine(dir, 30_000, 400);
    let mut first: Option<Vec<u8>> = None;
    for (workers, memory) in [("1", "1GiB"), ("3", "1GiB"), ("2", "16MiB"), ("5", "16MiB")] {
        let out = finish(backfill(dir, &["--out", "out.parquet", "--workers", workers, "--memory", memory]), 0);
        assert_eq!(out.stderr.contains("went to disk"), memory == "16MiB", "{}", out.stderr);
        let bytes = std::fs::read(dir.join("out.parquet")).unwrap();
        let first = first.get_or_insert_with(|| bytes.clone());
        assert!(*first == bytes, "{workers} workers, {memory}");
    }
    assert!(!dir.join(".headwater/train/backfill").exists(), "nothing is left where it spilled");
}

#[test]
fn what_is_stopped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(6, 30_000, 2, 50);
    std::fs::write(dir.join("job.toml"), job(Sides::Stream, EVERY_AGGREGATE)).unwrap();
    write_stream(dir, &log, None);
    write_spine(dir, 30_000, 50);
    let files = || {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let before = files();
    let mut running = backfill(dir, &["--out", "out.parquet", "--workers", "1"]);
    until("the rows are begun", || (files().len() > before.len()).then_some(()));
    running.signal("INT");
    let status = running.wait();
    let mut after = files();
    // Its state's directory may have been made.
    after.retain(|name| name != ".headwater");
    if status.success() {
        // It was faster than the signal.
        after.retain(|name| name != "out.parquet");
    } else {
        assert_eq!(status.code(), Some(1), "{}", running.log());
        assert!(running.log().contains("stopped before it was done"), "{}", running.log());
    }
    assert_eq!(after, before);
}

#[test]
fn a_gap_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(7, 100, 2, 5);
    write_history(dir, &log, &[10, 10], Order::Mixed);
    let lost: Vec<Vec<_>> = log.iter().map(|records| records[20..].to_vec()).collect();
    write_stream(dir, &lost, None);
    write_spine(dir, 10, 5);
    let text = job(Sides::Both, EVERY_AGGREGATE).replace("stream/*.jsonl\"\n", "stream/*.jsonl\"\nfirst_offset = 20\n");
    std::fs::write(dir.join("job.toml"), &text).unwrap();
    let told = finish(backfill(dir, &["--out", "out.parquet"]), 3).stderr;
    assert!(told.contains("offsets 10..19 are gone") && told.contains("allow_gap"), "{told}");
    assert!(!dir.join("out.parquet").exists());
    std::fs::write(dir.join("job.toml"), text.replace("offset = \"o\" }", "offset = \"o\", allow_gap = true }"))
        .unwrap();
    let told = finish(backfill(dir, &["--out", "out.parquet"]), 0).stderr;
    assert!(told.contains("offsets 10..19 are gone"), "{told}");
}

#[test]
fn dead_letters_are_counted_and_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(8, 100, 1, 5);
    write_stream(dir, &log, None);
    write_spine(dir, 10, 5);
    let stream = dir.join("stream/0.jsonl");
    let lines = std::fs::read_to_string(&stream).unwrap();
    std::fs::write(&stream, format!("no record\n{{\"k\":\"k1\",\"arrived\":{START}}}\n{lines}no record\n")).unwrap();
    std::fs::write(dir.join("job.toml"), job(Sides::Stream, EVERY_AGGREGATE)).unwrap();
    let told = finish(backfill(dir, &["--out", "out.parquet"]), 0).stderr;
    assert!(told.contains("dead letters: 2 malformed, 1 null event time"), "{told}");
    assert!(!dir.join(".headwater/train/dead_letters.jsonl").exists(), "the job's own are left alone");
}

#[test]
fn a_history_that_has_lost_its_lateness_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(8, 50, 1, 5);
    write_history(dir, &log, &[log[0].len()], Order::Log);
    write_spine(dir, 10, 5);
    let text = job(Sides::History, EVERY_AGGREGATE);
    for (text, known, told) in [
        (text.clone(), "arrival", false),
        (text.replace("arrival_time = \"arrived\"\n", ""), "arrival", true),
        (text.replace("arrival_time = \"arrived\"\n", ""), "event", false),
    ] {
        std::fs::write(dir.join("job.toml"), text).unwrap();
        let stderr = finish(backfill(dir, &["--out", "out.parquet", "--known", known]), 0).stderr;
        assert_eq!(stderr.contains("does not say when records arrived"), told, "{known}: {stderr}");
    }
}

#[test]
fn spine_and_rows_in_an_object_store() {
    let s3 = need!(S3::shared());
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(11, 60, 1, 5);
    write_stream(dir, &log, None);
    write_spine(dir, 500, 5);
    std::fs::write(dir.join("job.toml"), job(Sides::Stream, EVERY_AGGREGATE)).unwrap();
    finish(backfill(dir, &["--out", "out.parquet"]), 0);
    let place = format!("backfills/{:x}", now_us());
    s3.put(&format!("{place}/spine.parquet"), &std::fs::read(dir.join("spine.parquet")).unwrap());
    let url = |name: &str| format!("s3://headwater/{place}/{name}");
    let of_store = |spine: &str, out: &str, code: i32| {
        let args = ["backfill", "job.toml", "--time", "at", "--spine", spine, "--out", out];
        finish(spawn(headwater().current_dir(dir).args(args).envs(s3.env())), code).stderr
    };
    of_store(&url("spine.parquet"), &url("rows.parquet"), 0);
    let found = s3.get(&format!("{place}/rows.parquet"));
    assert_eq!(found, std::fs::read(dir.join("out.parquet")).unwrap(), "the same bytes");
    assert!(!dir.join(".headwater/train/backfill").exists(), "no scratch is left");
    let told = of_store(&url("none.parquet"), &url("other.parquet"), 2);
    assert!(told.contains("none.parquet is not there"), "{told}");
    assert_eq!(s3.list(&place).len(), 2);
}
