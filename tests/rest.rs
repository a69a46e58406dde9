//! A batch that comes to more than is made of at once: what was read and not taken yet is no part of a checkpoint, and is read again.
//!
//! ```text
//! read        0 ................................................ 3000     one batch: all that a partition holds
//! taken       0 ...... 188 ..... 376 ...                                  each event has a text of 64,000 bytes
//! checkpoint                     376                                      killed here, it goes on from 376
//! ```

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use crate::support::*;

const EVENTS: i64 = 3000;

const JOB: &str = r#"
name = "rest"
tick = "10ms"
[sources.e]
event_time = "ts"
time_unit = "us"
lateness = "1s"
schema = { ts = "timestamp", k = "string", m = "string" }
stream = { type = "jsonl", path = "stream/*.jsonl" }
[features.f]
source = "e"
key = "k"
[features.f.columns]
n = { agg = "count", windows = ["1s", "all"] }
d = { agg = "count_distinct", of = "repeat(m, 64000)", window = "1s" }
l = { agg = "sum", of = "length(m)", window = "all" }
[features.t]
source = "e"
key = "m"
window = { tumbling = "1s" }
columns = { n = { agg = "count", of = "repeat(m, 64000)" } }
[sinks.online]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
[state]
path = "state"
checkpoint_every = "1ms"
"#;

/// Two partitions, of which each is read at once. Some events come late.
fn write_job(dir: &Path) -> String {
    std::fs::create_dir(dir.join("stream")).unwrap();
    for partition in 0..2 {
        let mut text = String::new();
        for n in 0..EVENTS {
            let late = if n % 7 == 0 { 2_500_000 } else { 0 };
            let ts = 1_767_225_600_000_000 + 5_000 * n + partition - late;
            let line = format!("{{\"ts\":{ts},\"k\":\"c{}\",\"m\":\"{}\"}}", n % 5, n % 3);
            writeln!(text, "{}", if n % 500 == 499 { "not json" } else { &line }).unwrap();
        }
        assert!(text.len() < 256 << 10, "a partition is read at once");
        std::fs::write(dir.join(format!("stream/{partition}.jsonl")), text).unwrap();
    }
    let job = dir.join("job.toml");
    std::fs::write(&job, JOB).unwrap();
    job.to_str().unwrap().to_owned()
}

/// How far partitions were read, by the manifests that are there.
fn positions(dir: &Path) -> BTreeSet<i64> {
    let entries = std::fs::read_dir(dir.join("state/checkpoints")).into_iter().flatten().flatten();
    let manifests = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("manifest.json")).ok());
    let manifests = manifests.filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let all = manifests.flat_map(|manifest| manifest["positions"].as_array().cloned().unwrap_or_default());
    all.filter_map(|position| position["offset"].as_i64()).collect()
}

/// Rows, the changelog and the dead letters, whose order is not promised.
fn output(dir: &Path, job: &str) -> Vec<String> {
    let mut all: Vec<String> = ["f", "t"].map(|group| finish(run(&["export", job, group]), 0).stdout).into();
    all.push(std::fs::read_to_string(dir.join("changes.jsonl")).unwrap());
    let letters = std::fs::read_to_string(dir.join("dead_letters.jsonl")).unwrap();
    let mut letters: Vec<&str> = letters.lines().collect();
    letters.sort_unstable();
    all.push(letters.join("\n"));
    all
}

#[test]
fn what_is_read_and_not_taken_is_read_again() {
    let whole = tempfile::tempdir().unwrap();
    let job = write_job(whole.path());
    finish(run(&["run", &job, "--until-end", "--workers", "1"]), 0);
    let expected = output(whole.path(), &job);
    let letters = expected[3].lines();
    assert_eq!(letters.clone().filter(|line| line.contains("malformed")).count() as i64, 2 * EVENTS / 500);
    assert!(letters.filter(|line| line.contains("late")).count() > 100);

    let dir = tempfile::tempdir().unwrap();
    let job = write_job(dir.path());
    let (mut inside, mut newest) = (0, 0);
    for workers in ["2", "1", "3", "1", "2", "1"] {
        let mut running = run(&["run", &job, "--until-end", "--workers", workers]);
        // Killed where a checkpoint has something of a batch, and not all of it.
        let found = until("a checkpoint inside of a batch, or the end", || {
            let found = positions(dir.path()).into_iter().find(|at| *at > newest && *at < EVENTS);
            (found.is_some() || !running.is_running()).then_some(found)
        });
        running.kill();
        let Some(found) = found else { break };
        (inside, newest) = (inside + 1, newest.max(found));
    }
    assert!(inside > 1, "it is too quick to be killed inside of a batch");
    finish(run(&["run", &job, "--until-end", "--workers", "2"]), 0);
    for ((found, expected), what) in
        output(dir.path(), &job).iter().zip(&expected).zip(["f", "t", "changes", "dead letters"])
    {
        assert!(found == expected, "{what}: {:?}", found.lines().zip(expected.lines()).find(|(a, b)| a != b));
    }
}
