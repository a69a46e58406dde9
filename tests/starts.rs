//! How a run starts and stops, on files alone: a long backlog before the first tick, two starts, a stop before the end.

use std::fmt::Write;
use std::path::Path;

use crate::support::{Running, finish, headwater, spawn, until};

fn start(dir: &Path, args: &[&str]) -> Running {
    spawn(headwater().current_dir(dir).args(args))
}

fn job(dir: &Path, tick: &str) {
    let text = format!(
        "name = \"starts\"\ntick = \"{tick}\"\n[sources.tx]\nevent_time = \"ts\"\n[sources.tx.schema]\nts = \"timestamp\"\nk = \"string\"\n\
         [sources.tx.stream]\ntype = \"jsonl\"\npath = \"s*.jsonl\"\n[features.g]\nsource = \"tx\"\nkey = \"k\"\n\
         columns = {{ n = {{ agg = \"count\", window = \"all\" }} }}\n[sinks.local]\ntype = \"embedded\"\n"
    );
    std::fs::write(dir.join("job.toml"), text).unwrap();
}

fn events(n: usize, step_ms: usize) -> String {
    let pad = "x".repeat(200);
    let mut lines = String::new();
    for i in 0..n {
        writeln!(lines, r#"{{"ts":{},"k":"c{}","pad":"{pad}"}}"#, 1_700_000_000_000 + i * step_ms, i % 7).unwrap();
    }
    lines
}

/// It answers from now on, and holds its state.
fn has_started(dir: &Path) {
    until("an endpoint", || dir.join(".headwater/starts/endpoint.json").exists().then_some(()));
}

/// The group's rows, as JSON lines.
fn exported(dir: &Path) -> String {
    finish(start(dir, &["export", "job.toml", "g"]), 0).stdout
}

/// 60 MB lie below the first tick: more than a worker's credits. The partition that keeps `T` from beginning is read all the same.
#[test]
fn a_long_backlog_before_the_first_tick() {
    let dir = tempfile::tempdir().unwrap();
    job(dir.path(), "1h");
    std::fs::write(dir.path().join("s0.jsonl"), events(250_000, 1)).unwrap();
    finish(start(dir.path(), &["run", "job.toml", "--until-end"]), 0);
    let rows = exported(dir.path());
    assert_eq!(rows.lines().count(), 7);
    assert!(rows.contains(r#""row":{"n":35715}"#), "{rows}");
}

#[test]
fn a_second_start_on_the_same_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    job(dir.path(), "10ms");
    std::fs::write(dir.path().join("s0.jsonl"), events(10, 1)).unwrap();
    let first = start(dir.path(), &["run", "job.toml"]);
    has_started(dir.path());
    let told = finish(start(dir.path(), &["run", "job.toml"]), 1).stderr;
    assert!(told.contains("another run holds"), "{told}");
    first.terminate();
}

/// Whoever waits for the rows at the end must not take what is there for them.
#[test]
fn a_stop_before_the_end_is_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    job(dir.path(), "1us");
    std::fs::write(dir.path().join("s0.jsonl"), events(400_000, 3_600_000)).unwrap();
    let mut stopped = start(dir.path(), &["run", "job.toml", "--until-end"]);
    has_started(dir.path());
    stopped.signal("TERM");
    let status = stopped.wait();
    if status.success() {
        // It was faster than the signal: then every event is in the rows.
        let rows = exported(dir.path());
        assert!(rows.contains(r#""row":{"n":57143}"#), "{rows}");
        return;
    }
    assert_eq!(status.code(), Some(1), "{}", stopped.log());
    assert!(stopped.log().contains("stopped before the end"), "{}", stopped.log());
}
