//! Checkpoints: a run that goes on from one whose files are not what they were.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::Target;

pub(super) struct Checkpoint;

/// A job that has run, and the files of its checkpoint. An input is one of them after its number.
static RUN: LazyLock<(tempfile::TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let job = "name = \"fuzz\"\ntick = \"1s\"\n[sources.tx]\nevent_time = \"ts\"\nschema = { ts = \"timestamp\", k = \"string\" }\n\
               [sources.tx.stream]\ntype = \"jsonl\"\npath = \"s.jsonl\"\n[features.g]\nsource = \"tx\"\nkey = \"k\"\n\
               columns = { n = { agg = \"count\", windows = [\"1h\", \"all\"] } }\n";
    std::fs::write(dir.path().join("job.toml"), job).unwrap();
    let events: String =
        (0..40).map(|n| format!("{{\"ts\":{},\"k\":\"c{}\"}}\n", 1_767_268_800_000i64 + n * 1000, n % 5)).collect();
    std::fs::write(dir.path().join("s.jsonl"), events).unwrap();
    assert_eq!(run(dir.path()).0, Some(0));
    let mut files = vec![];
    find(&dir.path().join(".headwater/fuzz"), &mut files);
    files.retain(|file| !file.components().any(|part| part.as_os_str() == "sinks" || part.as_os_str() == "embedded"));
    files.sort();
    assert!(!files.is_empty());
    (dir, files)
});

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { find(&path, files) } else { files.push(path) }
    }
}

/// The exit code, and what was told.
fn run(dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    let output = command.current_dir(dir).args(["run", "job.toml", "--until-end"]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

impl Target for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let (_, files) = &*RUN;
        let numbered =
            |(number, file): (usize, &PathBuf)| [&[number as u8][..], &std::fs::read(file).unwrap()].concat();
        files.iter().enumerate().map(numbered).collect()
    }

    fn read(&self, input: &[u8]) {
        let (dir, files) = &*RUN;
        let Some((number, bytes)) = input.split_first() else { return };
        let file = &files[usize::from(*number) % files.len()];
        let copy = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(format!("{}/.", dir.path().display())).arg(copy.path()).status();
        assert!(copied.unwrap().success());
        std::fs::write(copy.path().join(file.strip_prefix(dir.path()).unwrap()), bytes).unwrap();
        let (code, told) = run(copy.path());
        assert!(code.is_some_and(|code| code <= 3) && !told.contains("bug"), "{code:?}: {told}");
    }
}
