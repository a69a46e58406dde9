//! Checkpoints that earlier versions wrote, `tests/data/checkpoints/NAME`: a run goes on from each, and its output is what one without any
//! checkpoint puts out, to the byte.
//!
//! Each is what a run left that was killed after it had read its streams and before its checkpoint of that was whole (see `write.sh`
//! there): ledgers in the journal, closed windows, events that are not visible yet, numbers that are wide; what is held beside groups;
//! lines and rows past the checkpoint, which have to be cut back. A format that is in the list of those that are read has a fixture here,
//! and so has every piece of a checkpoint.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{finish, run, until};

/// What checkpoints are of.
struct Job {
    /// Where it lies.
    dir: &'static str,
    /// It, and what it reads.
    inputs: &'static [&'static str],
    /// Its groups and views.
    rows: &'static [&'static str],
    /// What its log may warn of.
    warns: &'static [&'static str],
}

/// Every window, every aggregate, every kind of key and of value.
const WINDOWS: Job = Job {
    dir: ".",
    inputs: &["job.toml", "history.jsonl", "stream"],
    rows: &["trailing", "every_key", "tumbling", "hopping", "session"],
    warns: &[],
};

/// Everything that is held beside groups.
const COLLECTIONS: Job = Job {
    dir: "collections",
    inputs: &["job.toml", "limits.jsonl", "orders", "shops", "visits"],
    rows: &["cards", "owners", "minutes", "met", "visited", "used", "busy", "ring"],
    // Earlier rows are kept for ever; and its files lie elsewhere than they did.
    warns: &["is kept in memory, as often as it changed", "files that came to this history are not read"],
};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints")
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// A directory with the job and its data, and with what `state` names beside them.
fn dir(job: &Job, state: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    job.inputs.iter().for_each(|input| copy(&data().join(job.dir).join(input), &dir.path().join(input)));
    state.iter().for_each(|name| copy(&data().join(name), dir.path()));
    dir
}

fn headwater(dir: &Path, command: &str, args: &[&str]) -> (String, String) {
    let mut headwater = Command::new(env!("CARGO_BIN_EXE_headwater"));
    let output = headwater.arg(command).arg(dir.join("job.toml")).args(args).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{err}");
    (out, err)
}

/// Everything that a run to the end puts out: rows by group and view, the changelog, and the dead letters, whose order is not promised. And
/// its log.
fn output(job: &Job, dir: &Path, workers: &str) -> (Vec<(String, String)>, String) {
    let (_, log) = headwater(dir, "run", &["--until-end", "--workers", workers]);
    let mut all: Vec<_> = job.rows.iter().map(|of| (of.to_string(), headwater(dir, "export", &[of]).0)).collect();
    for file in ["changes.jsonl", "dead_letters.jsonl"] {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        if file == "dead_letters.jsonl" {
            lines.sort_unstable();
        }
        all.push((file.to_owned(), lines.join("\n") + "\n"));
    }
    (all, log)
}

/// What is expected is in files, so that it was the same when the checkpoints were written.
#[test]
fn without_a_checkpoint() {
    without(&WINDOWS);
}

#[test]
fn collections_without_a_checkpoint() {
    without(&COLLECTIONS);
}

fn without(job: &Job) {
    let dir = dir(job, None);
    for (name, text) in output(job, dir.path(), "2").0 {
        let expected = data().join(job.dir).join("expected").join(&name);
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&expected, &text).unwrap();
        }
        assert!(text == std::fs::read_to_string(&expected).unwrap(), "{name} is another");
    }
}

/// What is expected of a fixture where that differs from what a run without a checkpoint puts out.
fn expected(job: &Job, name: &str, file: &str) -> String {
    let dir = data().join(job.dir).join("expected");
    std::fs::read_to_string(dir.join(format!("{name}.{file}")))
        .or_else(|_| std::fs::read_to_string(dir.join(file)))
        .unwrap()
}

fn goes_on_from(job: &Job, name: &str) {
    for workers in ["2", "3", "1"] {
        let dir = dir(job, Some(name));
        let (found, log) = output(job, dir.path(), workers);
        assert!(log.contains("going on from a checkpoint at T = 2026-01-05T0"), "{log}");
        let is_known = |line: &&str| job.warns.iter().any(|known| line.contains(known));
        let odd = |line: &str| line.contains("changed") || line.contains("WARN");
        assert!(!log.lines().filter(|line| !is_known(line)).any(odd), "it is the same job: {log}");
        for (file, text) in found {
            let expected = expected(job, name, &file);
            let parts = text.lines().zip(expected.lines()).find(|(a, b)| a != b);
            assert!(text == expected, "{workers} workers, {file}: {parts:?}");
        }
    }
}

/// It does not say what the rows of its changelog mean: they are told anew.
#[test]
fn format_2() {
    goes_on_from(&WINDOWS, "format-2");
}

#[test]
fn format_3() {
    goes_on_from(&WINDOWS, "format-3");
}

#[test]
fn format_3_of_collections() {
    goes_on_from(&COLLECTIONS, "format-3-collections");
}

/// What it has of rows as they were is told by a run that goes on from it.
#[test]
fn format_3_of_earlier_rows() {
    let dir = dir(&COLLECTIONS, Some("format-3-collections"));
    let job = dir.path().join("job.toml");
    let job = job.to_str().unwrap();
    let running = run(&["run", job, "--workers", "3"]);
    let get = |name: &str, key: &str, at: &str| run(&["get", job, name, key, "--at", &format!("2026-01-05T00:{at}Z")]);
    let is_there = || get("cards", "card=c0", "12:00").wait().success().then_some(());
    until("earlier rows can be read", is_there);
    for (name, key, at, row) in [
        (
            "cards",
            "card=c0",
            "10:00",
            r#"{"n_1m":0,"n_all":5,"spent":26,"most_5m":26,"most_all":33,"over":1,"mean":5.2}"#,
        ),
        (
            "cards",
            "card=c0",
            "12:00",
            r#"{"n_1m":1,"n_all":6,"spent":1,"most_5m":1,"most_all":33,"over":0,"mean":0.16666666666666666}"#,
        ),
        ("minutes", "shop=s1", "11:00", r#"{"n":1,"worth":66}"#),
        ("busy", "owner=ann", "09:00", r#"{"pairs":3,"orders":4,"most":32}"#),
        ("busy", "owner=ann", "11:00", r#"{"pairs":4,"orders":4,"most":35}"#),
    ] {
        let found = finish(get(name, key, at), 0).stdout;
        assert!(found.contains(&format!("\"row\":{row}")), "{name} {key} at {at}: {found}");
    }
    running.terminate();
}
