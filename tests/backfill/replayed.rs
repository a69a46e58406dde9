//! What is replayed: every row that runs have published of views, of links, of groups that look up in groups and of events that replace one
//! another, asked for at its tick, comes back to the bit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use arrow::array::types::TimestampMicrosecondType;
use arrow::array::{AsArray, RecordBatch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::as_served::{assert_same, compare, cuts, published_of, run_to_end};
use super::data::{Event, Log, Order, Sides, job, log, write_history, write_stream};
use super::processes::same_bytes as of_processes;
use super::served::{assert_served_of, begin, live_job_of, send};
use super::{backfill, ints, read_table, texts, times, write_table};
use crate::support::*;

/// `every` looks up the row of `cards` just before; the views are over groups of moments and of windows, and over each other; the links are of
/// rows that grow old.
const FEATURES: &str = r#"
[features.cards]
source = "s"
key = "k"
columns = { n = { agg = "count", windows = ["30m", "all"] }, s = { agg = "sum", of = "x", windows = ["2h"] } }
[features.every]
source = "s"
lookup.h = { features = "cards", on = "k" }
key = "k"
where = "h.n_all is null or m <> 'a' or h.n_30m < 6"
[features.every.columns]
n      = { agg = "count", windows = ["30m", "all"] }
odd    = { agg = "count", where = "x > h.s_2h", windows = ["30m"] }
before = { agg = "sum", of = "h.n_all", windows = ["2h", "all"] }
last   = { agg = "last", of = "h.s_2h", windows = ["2h"] }
[features.every.derived]
share = "odd_30m / nullif(n_30m, 0)"
[features.pairs]
source = "s"
key = ["q", "k"]
columns = { n = { agg = "count", windows = ["10m"] }, f = { agg = "sum", of = "f", windows = ["1h"] } }
[features.hourly]
source = "s"
key = "k"
window = { tumbling = "1h" }
columns = { n = { agg = "count" }, m = { agg = "max", of = "m" } }
[views.busy]
key = "k"
sql = "SELECT k, sum(n_10m) AS n, count(*) AS kinds, sum(f_1h) AS f FROM pairs GROUP BY k HAVING count(*) > 1"
[views.both]
key = "k"
sql = "SELECT c.k AS k, c.n_all AS n, b.n AS busy, e.share AS share FROM cards c JOIN every e ON c.k = e.k LEFT JOIN busy b ON c.k = b.k"
[views.hours]
key = "k"
sql = "SELECT k, max(n) AS most, count(*) AS hours FROM hourly GROUP BY k"
[links.rings]
from = "pairs"
entity = "k"
shared = "q"
"#;

const NAMES: [&str; 7] = ["cards", "every", "pairs", "busy", "both", "hours", "rings"];

#[test]
fn at_every_seam() {
    let log = log(23, 220, 3, 4);
    let all: Vec<usize> = log.iter().map(Vec::len).collect();
    let mut compared = BTreeMap::new();
    for (records, workers) in [(0, 1), (60, 3), (150, 1), (220, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (cuts, sides) = match records {
            0 => (vec![0; 3], Sides::Stream),
            220 => (all.clone(), Sides::History),
            records => (cuts(&log, records), Sides::Both),
        };
        fs::write(dir.join("job.toml"), job(sides, FEATURES)).unwrap();
        write_history(dir, &log, &cuts, if workers == 1 { Order::Log } else { Order::Mixed });
        write_stream(dir, &log, None);
        run_to_end(dir, &["--workers", &workers.to_string()]);
        for name in NAMES {
            let published = published_of(dir, i64::MIN, &[name]);
            *compared.entry(name).or_insert(0) +=
                assert_same(dir, &published, 4 - workers, &format!("cut at {cuts:?}"));
        }
        same_bytes(dir, &log);
    }
    assert!(compared.values().all(|rows| *rows > 50), "there is something to compare: {compared:?}");
}

/// All of them for random labels, by other numbers of workers and in less memory.
fn same_bytes(dir: &Path, log: &Log) {
    let mut rng = StdRng::seed_from_u64(7);
    let events: Vec<&Event> = log.iter().flatten().collect();
    let near: Vec<&Event> = (0..300).map(|_| events[rng.random_range(0..events.len())]).collect();
    let at: Vec<i64> = near.iter().map(|event| event.arrived + rng.random_range(-HOUR..HOUR)).collect();
    let spine = RecordBatch::try_from_iter_with_nullable([
        ("k", texts(near.iter().map(|event| (event.x != Some(1)).then_some(event.k.as_str()))), true),
        ("q", ints(near.iter().map(|event| Some(event.q))), true),
        ("at", times(at.iter().map(|at| (at % 17 > 0).then_some(*at))), true),
    ]);
    write_table(&dir.join("spine.parquet"), &spine.unwrap());
    let mut first: Option<Vec<u8>> = None;
    for (workers, memory) in [("1", "1GiB"), ("3", "1GiB"), ("2", "16MiB")] {
        let args = ["--out", "out.parquet", "--workers", workers, "--memory", memory, "--features"];
        finish(backfill(dir, &[&args[..], &[&NAMES.join(",")]].concat()), 0);
        let bytes = fs::read(dir.join("out.parquet")).unwrap();
        assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes, "{workers} workers, {memory}");
    }
    of_processes(dir, &[(2, 1), (3, 2)], &["--features", &NAMES.join(",")], &[]);
    let rows = read_table(&dir.join("out.parquet"));
    assert_eq!(rows.num_columns(), 3 + 3 + 7 + 2 + 3 + 3 + 2 + 3);
    // Without a row, a group counts 0 and a view says nothing.
    for (name, nulls) in [("cards__n_all", false), ("busy__n", true), ("rings__size", true)] {
        let column = &rows[name];
        assert_eq!((0..rows.num_rows()).any(|row| column.is_null(row)), nulls, "{name}");
    }
    let left: Vec<_> = fs::read_dir(dir.join(".headwater/train/backfill")).into_iter().flatten().collect();
    assert!(left.is_empty(), "nothing is left: {left:?}");
}

/// A run that is stopped and goes on.
#[test]
fn over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(29, 240, 2, 3);
    fs::write(dir.join("job.toml"), job(Sides::Both, FEATURES)).unwrap();
    write_history(dir, &log, &cuts(&log, 70), Order::Log);
    for (records, workers) in [(130, "1"), (200, "3"), (240, "2")] {
        write_stream(dir, &log, Some(&cuts(&log, records)));
        run_to_end(dir, &["--workers", workers]);
    }
    assert!(assert_same(dir, &published_of(dir, i64::MIN, &NAMES), 2, "restarted") > 1500);
}

/// Of a `primary_key`: each record is all that is known of its key.
const KEYED: &str = r#"
[features.every]
source = "s"
key = "k"
where = "x is null or x > -3"
columns = { n = { agg = "count", windows = ["30m", "all"] }, s = { agg = "sum", of = "x", windows = ["30m", "all"] } }
[features.every.derived]
each = "s_all / nullif(n_all, 0)"
[features.pairs]
source = "s"
key = ["q", "k"]
columns = { n = { agg = "count", windows = ["2h"] }, m = { agg = "max", of = "m", windows = ["2h"] } }
[views.sums]
key = "k"
sql = "SELECT k, sum(n_2h) AS n, max(m_2h) AS m FROM pairs GROUP BY k"
"#;

fn keyed_job(sides: Sides) -> String {
    let key = "time_unit = \"us\"\nprimary_key = [\"k\", \"m\"]\n";
    job(sides, KEYED).replacen("time_unit = \"us\"\n", key, 1)
}

#[test]
fn events_that_replace_one_another() {
    let log = log(31, 200, 1, 3);
    for (records, workers) in [(0, 1), (120, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (at, sides) = if records == 0 { (vec![0], Sides::Stream) } else { (cuts(&log, records), Sides::Both) };
        fs::write(dir.join("job.toml"), keyed_job(sides)).unwrap();
        write_history(dir, &log, &at, Order::Log);
        write_stream(dir, &log, None);
        run_to_end(dir, &["--workers", &workers.to_string()]);
        let published = published_of(dir, i64::MIN, &["every", "pairs", "sums"]);
        assert!(assert_same(dir, &published, 4 - workers, &format!("cut at {at:?}")) > 200);
        in_hindsight(dir, &log, &(4 - workers).to_string());
    }
}

/// In hindsight there is of each key the record that came last.
fn in_hindsight(dir: &Path, log: &Log, workers: &str) {
    let last: BTreeMap<(&str, &str), &Event> = log[0].iter().map(|event| ((&*event.k, event.m), event)).collect();
    let labels: Vec<(&str, i64)> =
        log[0].iter().flat_map(|event| [0, -1, 29 * MINUTE].map(|by| (&*event.k, event.ts + by))).collect();
    let spine = RecordBatch::try_from_iter([
        ("k", texts(labels.iter().map(|(k, _)| Some(*k)))),
        ("at", times(labels.iter().map(|(_, at)| Some(*at)))),
    ]);
    write_table(&dir.join("spine.parquet"), &spine.unwrap());
    let args = ["--out", "out.parquet", "--known", "event", "--features", "every", "--workers", workers];
    finish(backfill(dir, &args), 0);
    of_processes(dir, &[(2, 1), (3, 2)], &["--known", "event", "--features", "every"], &[]);
    let found = read_table(&dir.join("out.parquet"));
    let inside = |(k, at): &(&str, i64), length: Option<i64>| -> Vec<&Event> {
        let of_key = last.values().filter(|event| event.k == *k && event.x.is_none_or(|x| x > -3));
        of_key.filter(|event| event.ts <= *at && length.is_none_or(|w| event.ts > at - w)).copied().collect()
    };
    for (window, length) in [("30m", Some(30 * MINUTE)), ("all", None)] {
        let counts = labels.iter().map(|label| Some(inside(label, length).len() as i64));
        assert_eq!(&found[&*format!("every__n_{window}")], &ints(counts), "{window}");
        let sum = |events: Vec<&Event>| events.iter().filter_map(|event| event.x).reduce(|a, b| a + b);
        let sums = labels.iter().map(|label| sum(inside(label, length)));
        assert_eq!(&found[&*format!("every__s_{window}")], &ints(sums), "{window}");
    }
}

#[test]
fn what_has_no_hindsight_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("job.toml"), job(Sides::Stream, FEATURES)).unwrap();
    write_stream(dir, &log(1, 10, 1, 2), None);
    for (features, expected) in [
        (None, "`every` looks up in group `cards`"),
        (Some("busy"), "`busy` is a view"),
        (Some("cards,rings"), "`rings` is links"),
    ] {
        let features = features.map(|names| ["--features", names]);
        let args = ["--out", "o.parquet", "--known", "event"];
        let told =
            finish(backfill(dir, &[&args[..], features.as_ref().map_or(&[], |all| &all[..])].concat()), 2).stderr;
        assert!(told.contains(expected) && told.contains("no hindsight"), "{told}");
    }
}

/// What `get` has served of them is what they were.
#[test]
fn what_was_served_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let log = log(37, 160, 2, 3);
    let text = job(Sides::Stream, FEATURES) + "[serve_log]\npath = \"served\"\n";
    fs::write(dir.join("job.toml"), text).unwrap();
    write_stream(dir, &log, None);
    run_to_end(dir, &["--workers", "2"]);
    let of_job = |args: &[&str]| spawn(headwater().current_dir(dir).args(&args[..1]).arg("job.toml").args(&args[1..]));
    for name in ["every", "busy", "both", "rings"] {
        for key in ["k=k0", "k=k1", "k=nobody"] {
            let mut got = of_job(&["get", name, key]);
            assert!(got.wait().code().is_some_and(|code| code == 0 || code == 1), "{name} {key}: {}", got.log());
        }
    }
    let told = finish(of_job(&["verify", "--json"]), 0).stdout;
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    let groups = report["groups"].as_array().unwrap();
    let names: Vec<&str> = groups.iter().map(|group| group["group"].as_str().unwrap()).collect();
    assert_eq!(names, ["both", "busy", "every", "rings"], "{told}");
    assert_eq!((&report["unexplained"], &report["rows"]), (&0.into(), &12.into()), "{told}");
    // A value that no run has published is found.
    let other = text_of_another_value(dir);
    assert!(other.contains("busy"), "{other}");
}

/// Writes a row into the log that was never served; what `verify` says of it.
fn text_of_another_value(dir: &Path) -> String {
    let day = fs::read_dir(dir.join("served")).unwrap().map(|found| found.unwrap().path()).next().unwrap();
    let file = fs::read_dir(&day).unwrap().map(|found| found.unwrap().path()).next().unwrap();
    let rows = read_table(&file);
    let (first, last) = (times_of(&rows, 2), times_of(&rows, 2));
    let mut columns = rows.columns().to_vec();
    columns[0] = texts((0..rows.num_rows()).map(|_| Some("busy")));
    columns[1] = texts((0..rows.num_rows()).map(|_| Some("{\"k\":\"k0\"}")));
    columns[3] = texts((0..rows.num_rows()).map(|_| Some("{\"n\":-7,\"kinds\":3,\"f\":0.5}")));
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    write_table(&day.join(format!("served-{first}-{last}-other.parquet")), &rows);
    let verify = spawn(headwater().current_dir(dir).args(["verify", "job.toml"]));
    finish(verify, 1).stdout
}

fn times_of(rows: &RecordBatch, column: usize) -> i64 {
    rows.column(column).as_primitive::<TimestampMicrosecondType>().value(0)
}

/// A live run that admits records late, of which rows just before, views and links are made.
#[test]
fn as_a_live_run_had_them() {
    let case = need!(Case::new("replayed"));
    let topic = Topic::new(&case.kafka, &case.name, super::served::PARTITIONS);
    let mut random = Random(83);
    send(&topic, &mut random, 0..1);
    let path = case.job("job.toml", &live_job_of(FEATURES, "admissions = true\n"));
    let running = begin(&case, &path, "2");
    send(&topic, &mut random, 0..6);
    std::thread::sleep(std::time::Duration::from_millis(600));
    running.terminate();
    let names = ["every", "busy", "both", "rings"];
    let published = published_of(case.dir.path(), i64::MIN, &names);
    assert_served_of(&case, "replayed", &[], &published);
    // What was late before the first label is in what events have met.
    let ticks: BTreeSet<i64> = published.values().flat_map(BTreeMap::keys).copied().collect();
    let last = published_of(case.dir.path(), *ticks.iter().rev().nth(ticks.len() / 5).unwrap(), &names);
    let served = compare(case.dir.path(), &last, TICK, &["--known", "served"], &[]);
    assert!(served.compared > 50, "there is something to compare: {}", served.compared);
    assert!(served.different.is_empty(), "{} of {}:\n{}", served.different.len(), served.compared, served.different[0]);
}
