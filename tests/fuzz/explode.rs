//! Records with lists that a group explodes: a job runs over them as one file, and as a file for each record. Whatever they hold, both give the
//! same rows and dead letters.

use std::path::Path;

use headwater::{Job, Options};

use super::Target;

const JOB: &str = r#"
name = "lists"
tick = "1s"
[sources.e]
event_time = "ts"
schema = { ts = "timestamp", k = "string", items = "list<struct<x: int64, s: string, l: list<int64>>>" }
history = { type = "jsonl", path = "h/*.jsonl" }
[features.f]
source = "e"
explode = "items"
key = { s = "coalesce(item.s, k)" }
where = "item.x is null or item.x < 100"
columns = { n = { agg = "count", window = "all" }, x = { agg = "sum", of = "item.x * 2", window = "all" }, l = { agg = "sum", of = "item.l[1]", window = "all" } }
[features.g]
source = "e"
explode = "items"
key = "k"
columns = { n = { agg = "count", window = "all" } }
[features.h]
source = "e"
key = "k"
columns = { n = { agg = "count", window = "all" }, x = { agg = "sum", of = "array_length(items)", window = "all" } }
[dead_letters]
type = "jsonl"
path = "letters.jsonl"
"#;

pub(super) struct Explode;

impl Target for Explode {
    fn name(&self) -> &'static str {
        "explode"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let records = [
            r#"{"ts":1767268800000,"k":"a","items":[{"x":1,"s":"p","l":[5,6]},{"x":200,"s":"q"},{"x":null,"l":[]}]}"#,
            r#"{"ts":1767268801000,"k":"b","items":[]}"#,
            r#"{"ts":1767268802000,"k":"a","items":null}"#,
            r#"{"ts":1767268803000,"k":null,"items":[null,{"x":3},{"s":"p","x":"4"}]}"#,
            r#"{"ts":"2026-01-01T12:00:04Z","items":[{"l":[1,2,3],"x":9223372036854775807,"s":""}],"k":"b"}"#,
        ];
        let sample = |records: &[&str]| records.join("\n").into_bytes();
        vec![sample(&records), sample(&records[..2]), sample(&records[3..])]
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "[",
            "]",
            "[]",
            "{}",
            "null",
            "\"items\":[",
            "\"l\":[",
            "\"x\":",
            "\"s\":\"p\"",
            ",",
            "}\n{",
            "[[1]]",
            "-1",
            "1.5",
        ]
    }

    fn read(&self, input: &[u8]) {
        let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
        let together = of_files(&[input]);
        // Of a file alone, a mark at its start says nothing.
        if input.windows(3).any(|bytes| bytes == b"\xef\xbb\xbf") {
            return;
        }
        if let (Some(together), Some(alone)) = (together, of_files(&lines)) {
            assert_eq!(together, alone, "{}", String::from_utf8_lossy(input));
        }
    }
}

/// The rows of the groups, and the dead letters. `None`: a file is refused.
fn of_files(files: &[&[u8]]) -> Option<(Vec<String>, Vec<String>)> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("h")).unwrap();
    for (number, bytes) in files.iter().enumerate() {
        std::fs::write(dir.path().join(format!("h/{number:04}.jsonl")), bytes).unwrap();
    }
    let job = Job::from_toml(JOB, dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    let run = headwater::run(job.clone(), Options { until_end: true, ..Options::default() }).unwrap();
    if let Err(failure) = run.wait() {
        assert!(failure.to_string().contains("jsonl"), "no file is named: {failure}");
        return None;
    }
    let mut rows = vec![];
    for group in ["f", "g", "h"] {
        headwater::export(&job, group, |row| rows.push(format!("{group} {row}"))).unwrap();
    }
    Some((rows, letters(dir.path())))
}

fn letters(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("letters.jsonl")).unwrap_or_default();
    let mut letters: Vec<String> = text.lines().map(str::to_owned).collect();
    letters.sort_unstable();
    letters
}
