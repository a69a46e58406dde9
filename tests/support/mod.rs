//! What the end-to-end tests share: a job of one's own in a directory of its own, the binary run on it with a deadline, a real
//! Kafka, a real Redis, and a brute-force model that says what the rows should be.
//!
//! Every test has its own topic and job name, so tests run side by side.

mod collections;
mod events;
mod input;
mod job;
mod kafka;
mod model;
mod process;
pub mod python;
mod redis;
mod registry;
mod s3;
mod services;
mod topic;
mod yaml;

pub use collections::*;
pub use events::*;
pub use input::*;
pub use job::*;
pub use kafka::*;
pub use model::*;
pub use process::*;
pub use redis::*;
pub use registry::*;
pub use s3::*;
pub use services::*;
pub use topic::*;
pub use yaml::*;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;

/// 2026-01-05, a Monday.
pub const START: i64 = 1_767_571_200 * SECOND;
/// The default tick.
pub const TICK: i64 = 10_000;

/// How long anything may take that is waited for.
pub const WAIT: Duration = Duration::from_secs(60);

/// The services under test, and the directory of a test's own files.
pub struct Case {
    pub name: String,
    pub kafka: String,
    pub redis: String,
    pub scripts: PathBuf,
    pub dir: tempfile::TempDir,
}

impl Case {
    /// `None` when there are no services to test on.
    pub fn new(test: &str) -> Option<Case> {
        let (kafka, redis) = (service("HEADWATER_TEST_KAFKA")?, service("HEADWATER_TEST_REDIS")?);
        let scripts = service("HEADWATER_TEST_SERVICES")?;
        let unique = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let name = format!("{test}_{unique:x}");
        Some(Case { name, kafka, redis, scripts: scripts.into(), dir: tempfile::tempdir().unwrap() })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Writes a job. In its text `NAME`, `BROKERS`, `TOPIC` and `REDIS` in braces stand for this case's own.
    pub fn job(&self, file: &str, text: &str) -> PathBuf {
        let text = text
            .replace("{NAME}", &self.name)
            .replace("{TOPIC}", &self.name)
            .replace("{BROKERS}", &self.kafka)
            .replace("{REDIS}", &self.redis);
        std::fs::write(self.path(file), text).unwrap();
        self.path(file)
    }

    /// The lines of a JSON lines file, none if it is not there.
    pub fn lines(&self, file: &str) -> Vec<Value> {
        json_lines(&std::fs::read_to_string(self.path(file)).unwrap_or_default())
    }

    /// The local state directory of the job.
    pub fn local(&self) -> PathBuf {
        self.path(&format!(".headwater/{}", self.name))
    }

    pub fn dead_letters(&self) -> Vec<Value> {
        self.lines(&format!(".headwater/{}/dead_letters.jsonl", self.name))
    }

    /// The rows of the embedded store by key text, and what `_as_of` says.
    pub fn exported(&self, job: &Path, group: &str) -> (Rows, i64) {
        let out = finish(run(&["export", job.to_str().unwrap(), group]), 0);
        let mut as_of = None;
        let mut rows = Rows::new();
        for line in json_lines(&out.stdout) {
            let at = micros(line["as_of"].as_str().unwrap());
            assert_eq!(*as_of.get_or_insert(at), at, "one `as_of` for all rows");
            rows.insert(line["key"]["card"].as_str().unwrap().to_owned(), row_of(&line["row"]));
        }
        (rows, as_of.expect("rows"))
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        // One that a test has taken away has nothing left either.
        let _ = forget(&self.redis, &self.name);
    }
}

/// The newest checkpoint under a state's path that has a tick; 0: none.
pub fn newest_checkpoint(state: &Path) -> u64 {
    let entries = std::fs::read_dir(state.join("checkpoints")).into_iter().flatten().flatten();
    let manifest = |e: &std::fs::DirEntry| std::fs::read_to_string(e.path().join("manifest.json"));
    let whole = entries.filter(|e| manifest(e).is_ok_and(|text| !text.contains(r#""t":null"#)));
    whole.filter_map(|e| e.file_name().to_str()?.parse().ok()).max().unwrap_or(0)
}

pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Tries until it succeeds; says what was waited for when it does not.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < WAIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

/// RFC 3339 in UTC, as microseconds.
pub fn micros(text: &str) -> i64 {
    let array = arrow::array::StringArray::from(vec![text]);
    let kind = arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    let cast = arrow::compute::cast(&array, &kind).unwrap_or_else(|e| panic!("{text}: {e}"));
    use arrow::array::AsArray;
    cast.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0)
}
