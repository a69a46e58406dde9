//! Which partition of a stream a key is of: a function of the log, wherever a run was stopped and however much of it is read at once.

use serde_json::json;

use crate::support::*;

/// A table that a view reads.
const TABLE: &str = r#"
name = "gone"
tick = "1s"
[sources.lines]
event_time = "ts"
time_unit = "us"
schema = { shop = "string", ts = "timestamp" }
stream = { type = "jsonl", path = "stream*.jsonl" }
[features.all]
source = "lines"
key = "shop"
columns = { n = { agg = "count", window = "all" } }
[tables.shops]
key = "shop"
event_time = "ts"
time_unit = "us"
lateness = "0s"
deleted = "gone"
schema = { shop = "string", ts = "timestamp", gone = "bool" }
stream = { type = "jsonl", path = "stream*.jsonl" }
[views.open]
key = "shop"
sql = "SELECT shop FROM shops"
"#;

/// Events that replace one another, in a window of ten seconds.
const REPLACED: &str = r#"
name = "replaced"
tick = "1s"
[sources.orders]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
primary_key = "shop"
deleted = "gone"
schema = { shop = "string", ts = "timestamp", a = "timestamp", gone = "bool" }
stream = { type = "jsonl", path = "stream*.jsonl" }
[features.shops]
source = "orders"
key = "shop"
columns = { n = { agg = "count", window = "10s" } }
"#;

/// The lines of two partitions.
type Part = [String; 2];

fn line(shop: &str, at: i64, gone: bool) -> String {
    early(shop, at, at, gone)
}

/// One that has arrived before its time.
fn early(shop: &str, arrives: i64, at: i64, gone: bool) -> String {
    let [ts, a] = [at, arrives].map(|seconds| START + seconds * SECOND);
    json!({ "shop": shop, "ts": ts, "a": a, "gone": gone }).to_string() + "\n"
}

/// The changelog and the dead letters of a job that is run once for each part, which is added to what was there.
fn told(job: &str, parts: &[&Part], workers: [&str; 2]) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.toml");
    std::fs::write(&path, [job, OUTPUTS, CHECKPOINTS].concat()).unwrap();
    let mut there = Part::default();
    for (part, workers) in parts.iter().zip(workers) {
        for (p, (there, more)) in there.iter_mut().zip(*part).enumerate() {
            *there += more;
            std::fs::write(dir.path().join(format!("stream{p}.jsonl")), there).unwrap();
        }
        finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
    }
    (changes(dir.path()), dead_letters(dir.path()))
}

fn both((a, b): (&Part, &Part)) -> Part {
    [a[0].clone() + &b[0], a[1].clone() + &b[1]]
}

/// A table's key that is gone, and of which no version is left, keeps its partition.
#[test]
fn a_key_of_a_table_that_is_gone() {
    let first = [line("a", 0, false) + &line("a", 10, true) + &line("b", 60, false), line("c", 60, false)];
    let then = [line("b", 90, true), line("a", 80, false) + &line("c", 90, true)];
    let at_once = told(TABLE, &[&both((&first, &then))], ["2", "2"]);
    assert!(at_once.1.len() == 1 && at_once.1[0].contains("moved key"), "{:?}", at_once.1);
    assert_eq!(told(TABLE, &[&first, &then], ["1", "3"]), at_once, "in two parts");
}

/// A key whose event has left the windows may come in another partition; one whose event is inside, or is still to come, may not.
#[test]
fn a_key_that_is_remembered_no_more() {
    let first = [
        line("a", 0, false) + &line("b", 18, false) + &line("z", 20, false),
        early("c", 1, 25, false) + &line("y", 20, false),
    ];
    let then = [
        line("c", 21, false) + &line("z", 60, false),
        line("b", 22, false) + &line("a", 23, false) + &line("a", 25, true) + &line("y", 60, false),
    ];
    let at_once = told(REPLACED, &[&both((&first, &then))], ["2", "2"]);
    let reasons = ["moved key"].map(|reason| at_once.1.iter().filter(|line| line.contains(reason)).count());
    assert_eq!(reasons, [2], "b, and c in the other partition: {:?}", at_once.1);
    assert!(at_once.0.contains(r#""key":{"shop":"a"},"time":"2026-01-05T00:00:23Z","diff":1"#), "{}", at_once.0);
    assert_eq!(told(REPLACED, &[&first, &then], ["1", "3"]), at_once, "in two parts");
}
