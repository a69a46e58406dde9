//! How a run starts and stops, on files alone: a long backlog before the first tick, two starts, a stop before the end.

use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn headwater(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.current_dir(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    headwater(dir, args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until something is there, or gives up loudly.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
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

fn terminate(child: Child) -> Output {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    child.wait_with_output().unwrap()
}

/// 60 MB lie below the first tick: more than a worker's credits. The partition that keeps `T` from beginning is read all the same.
#[test]
fn a_long_backlog_before_the_first_tick() {
    let dir = tempfile::tempdir().unwrap();
    job(dir.path(), "1h");
    std::fs::write(dir.path().join("s0.jsonl"), events(250_000, 1)).unwrap();
    let child = headwater(dir.path(), &["run", "job.toml", "--until-end"]).spawn().unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    let rows = text(&run(dir.path(), &["export", "job.toml", "g"]).stdout);
    assert_eq!(rows.lines().count(), 7);
    assert!(rows.contains(r#""row":{"n":35715}"#), "{rows}");
}

#[test]
fn a_second_start_on_the_same_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    job(dir.path(), "10ms");
    std::fs::write(dir.path().join("s0.jsonl"), events(10, 1)).unwrap();
    let first = headwater(dir.path(), &["run", "job.toml"]).spawn().unwrap();
    until("the first run has its endpoint", || dir.path().join(".headwater/starts/endpoint.json").exists());
    let second = run(dir.path(), &["run", "job.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another run holds"), "{}", text(&second.stderr));
    let first = terminate(first);
    assert!(first.status.success(), "{}", text(&first.stderr));
}

/// Whoever waits for the rows at the end must not take what is there for them.
#[test]
fn a_stop_before_the_end_is_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    job(dir.path(), "1us");
    std::fs::write(dir.path().join("s0.jsonl"), events(400_000, 3_600_000)).unwrap();
    let child = headwater(dir.path(), &["run", "job.toml", "--until-end"]).spawn().unwrap();
    until("the run has its endpoint", || dir.path().join(".headwater/starts/endpoint.json").exists());
    let stopped = terminate(child);
    if stopped.status.success() {
        // It was faster than the signal: then every event is in the rows.
        let rows = text(&run(dir.path(), &["export", "job.toml", "g"]).stdout);
        assert!(rows.contains(r#""row":{"n":57143}"#), "{rows}");
        return;
    }
    assert_eq!(stopped.status.code(), Some(1), "{}", text(&stopped.stderr));
    assert!(text(&stopped.stderr).contains("stopped before the end"), "{}", text(&stopped.stderr));
}

#[test]
fn what_is_not_there_yet_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let told = run(dir.path(), &["backfill", "job.toml", "--spine", "f.parquet"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(text(&told.stderr).contains("`backfill` is not supported yet"), "{}", text(&told.stderr));
}
