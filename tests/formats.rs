//! Checkpoints that earlier versions wrote, `tests/data/checkpoints/NAME`: a run goes on from each, and its output is what one without any
//! checkpoint puts out, to the byte.
//!
//! Each is what a run left that was killed after it had read its streams and before its checkpoint of that was whole (see `write.sh`
//! there): ledgers in the journal, closed windows, events that are not visible yet, numbers that are wide; lines and rows past the
//! checkpoint, which have to be cut back. A format that is in the list of those that are read has a fixture here.

use std::path::{Path, PathBuf};
use std::process::Command;

const GROUPS: [&str; 5] = ["trailing", "every_key", "tumbling", "hopping", "session"];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// A directory with the job and its data, and with what `state` names beside them.
fn dir(state: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["job.toml", "history.jsonl"] {
        std::fs::copy(data().join(file), dir.path().join(file)).unwrap();
    }
    copy(&data().join("stream"), &dir.path().join("stream"));
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

/// Everything that a run to the end puts out: rows by group, the changelog, and the dead letters, whose order is not promised. And its log.
fn output(dir: &Path, workers: &str) -> (Vec<(String, String)>, String) {
    let (_, log) = headwater(dir, "run", &["--until-end", "--workers", workers]);
    let mut all: Vec<_> =
        GROUPS.iter().map(|group| (group.to_string(), headwater(dir, "export", &[group]).0)).collect();
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
    let dir = dir(None);
    for (name, text) in output(dir.path(), "2").0 {
        let expected = data().join("expected").join(&name);
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&expected, &text).unwrap();
        }
        assert!(text == std::fs::read_to_string(&expected).unwrap(), "{name} is another");
    }
}

/// What is expected of a fixture where that differs from what a run without a checkpoint puts out.
fn expected(name: &str, file: &str) -> String {
    let dir = data().join("expected");
    std::fs::read_to_string(dir.join(format!("{name}.{file}")))
        .or_else(|_| std::fs::read_to_string(dir.join(file)))
        .unwrap()
}

fn goes_on_from(name: &str) {
    for workers in ["2", "3", "1"] {
        let dir = dir(Some(name));
        let (found, log) = output(dir.path(), workers);
        assert!(log.contains("going on from a checkpoint at T = 2026-01-05T0"), "{log}");
        assert!(!log.contains("changed") && !log.contains("WARN"), "it is the same job: {log}");
        for (file, text) in found {
            let expected = expected(name, &file);
            let parts = text.lines().zip(expected.lines()).find(|(a, b)| a != b);
            assert!(text == expected, "{workers} workers, {file}: {parts:?}");
        }
    }
}

/// It does not say what the rows of its changelog mean: they are told anew.
#[test]
fn format_2() {
    goes_on_from("format-2");
}

#[test]
fn format_3() {
    goes_on_from("format-3");
}
