//! What tests of tables, lookups, replaced records, views and links share: what their jobs end with, a log that lies in a history and a
//! stream, and what a run to its end leaves in the job's directory.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::{finish, run};

/// Of a job: where its changes go, and what could not be used.
pub const OUTPUTS: &str = r#"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
"#;

/// Of a job: a checkpoint whenever there can be one.
pub const CHECKPOINTS: &str = r#"
[state]
path = "state"
checkpoint_every = "1ms"
"#;

/// Each on a line of its own.
pub fn write_lines(path: &Path, lines: &[Value]) {
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// A log in two partitions, whose first part is history too.
pub fn write_log(dir: &Path, lines: &[(usize, Value)], in_history: usize) {
    std::fs::create_dir_all(dir).unwrap();
    let (mut history, mut streams, mut offsets) = (String::new(), [String::new(), String::new()], [0; 2]);
    for (n, (p, line)) in lines.iter().enumerate() {
        let mut line = line.clone();
        (line["p"], line["o"]) = ((*p).into(), offsets[*p].into());
        offsets[*p] += 1;
        writeln!(streams[*p], "{line}").unwrap();
        if n < in_history {
            writeln!(history, "{line}").unwrap();
        }
    }
    std::fs::write(dir.join("history.jsonl"), history).unwrap();
    for (p, text) in streams.iter().enumerate() {
        std::fs::write(dir.join(format!("stream{p}.jsonl")), text).unwrap();
    }
}

/// Runs a job from its beginning.
pub fn run_to_end(path: &Path, workers: &str) {
    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--fresh", "--workers", workers]), 0);
}

/// What its changelog says.
pub fn changes(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("changes.jsonl")).unwrap()
}

/// Dead letters come in no promised order.
pub fn dead_letters(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("dead_letters.jsonl")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}
