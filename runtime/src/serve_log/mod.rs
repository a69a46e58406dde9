//! The serve log: which rows were served, to whom it may concern: `headwater verify` holds them against a backfill.
//!
//! ```text
//! a read -> a bounded queue -> a thread of its own -> files of Parquet, a new one when it is large enough, or old enough
//! ```
//!
//! No read waits for it: where the queue is full a row is not written down, and that is counted. What is written is sampled by key, so that
//! all that was served of a key is there, or nothing. See `file` for what is in a file.

mod file;
mod noted;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use headwater_connectors::storage::Storage;
use headwater_connectors::threads::Helper;
use xxhash_rust::xxh3::xxh3_64;

use crate::base::failure::Failure;
use crate::job::{Job, ServeLog as Settings};
#[cfg(feature = "command")]
pub use file::{parse_name, schema};
use noted::Message;
pub use noted::{Counts, Noted};
use writer::Writer;

/// Rows that wait to be written, and bytes of their texts.
const WAITING_ROWS_MAX: usize = 16 << 10;
const WAITING_BYTES_MAX: usize = 64 << 20;

pub struct ServeLog {
    sample: f64,
    to: SyncSender<Message>,
    /// Of the rows in the queue.
    bytes: Arc<AtomicUsize>,
    pub counts: Arc<Counts>,
    ending: Arc<AtomicBool>,
    thread: Mutex<Option<Helper<(), Failure>>>,
}

impl ServeLog {
    /// That of a job. `None`: it has none.
    pub fn open(job: &Job) -> Result<Option<ServeLog>, Failure> {
        job.serve_log.as_ref().map(ServeLog::start).transpose()
    }

    fn start(settings: &Settings) -> Result<ServeLog, Failure> {
        let storage = Storage::open(&settings.path)?;
        let (to, rows) = sync_channel(WAITING_ROWS_MAX);
        let (bytes, counts, ending): (Arc<AtomicUsize>, Arc<Counts>, Arc<AtomicBool>) = Default::default();
        let writer = Writer::new(storage, settings.roll_every, counts.clone(), ending.clone());
        let left = bytes.clone();
        let work = move || {
            writer.run(&rows, &left);
            Ok(())
        };
        let thread = Helper::start("serve-log", work)?;
        Ok(ServeLog { sample: settings.sample, to, bytes, counts, ending, thread: Mutex::new(Some(thread)) })
    }

    /// Whether what is served of a key is written down.
    pub fn has(&self, key: &str) -> bool {
        self.sample >= 1.0 || (xxh3_64(key.as_bytes()) as f64) < self.sample * 2f64.powi(64)
    }

    /// Writes it down, if there is room. Does not block.
    pub fn note(&self, noted: Noted) {
        let bytes = noted.bytes();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = if before + bytes > WAITING_BYTES_MAX { None } else { Some(self.to.try_send(Message::Row(noted))) };
        if let None | Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) = sent {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is there, and ends. What is noted later is dropped.
    pub fn finish(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.ending.store(true, Ordering::Relaxed);
        // Where the queue is full the thread is awake, and sees that by itself.
        let _ = self.to.try_send(Message::End);
        thread.join().unwrap_or_else(|failure| tracing::warn!("the serve log: {}", failure.message()));
    }
}

impl Drop for ServeLog {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use headwater_connectors::table::Table;

    use headwater_clocks::{Tick, WallClock};

    use super::file::Times;
    use super::*;

    fn settings(path: &Path, sample: f64, roll_every: Duration) -> Settings {
        Settings { path: path.display().to_string(), sample, roll_every }
    }

    fn noted(i: i64) -> Noted {
        Noted {
            group: "g".to_owned(),
            key: format!(r#"{{"k":"k{}"}}"#, i % 50),
            time: WallClock::from_us(i * 1_000_000),
            row: (i % 3 > 0).then(|| format!(r#"{{"n":{i}}}"#)),
            changed_at: (i % 3 > 0).then(|| Tick::from_us(i * 1_000_000 - 5)),
            as_of: Some(Tick::from_us(i * 1_000_000 - 7)),
        }
    }

    /// All files, by their names; and how many rows each has.
    fn files(dir: &Path) -> Vec<(Times, u64)> {
        let names = Storage::open(dir.to_str().unwrap()).unwrap().list("").unwrap();
        let rows = |name: &String| {
            let path = dir.join(name);
            Table::open(path.to_str().unwrap(), dir).unwrap().rows().unwrap()
        };
        // One on its way has another name.
        names.iter().filter_map(|name| Some((parse_name(name)?, rows(name)))).collect()
    }

    #[test]
    fn all_is_there_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let log = ServeLog::start(&settings(dir.path(), 1.0, Duration::from_secs(3600))).unwrap();
        (0..1000).for_each(|i| log.note(noted(i)));
        log.finish();
        assert_eq!(
            files(dir.path()),
            [(Times { first: WallClock::from_us(0), last: WallClock::from_us(999_000_000) }, 1000)]
        );
        assert_eq!(log.counts.rows.load(Ordering::Relaxed), 1000);
        log.note(noted(1));
        assert_eq!(log.counts.dropped.load(Ordering::Relaxed), 1, "it has ended");
    }

    #[test]
    fn a_file_is_written_when_it_is_old_enough() {
        let dir = tempfile::tempdir().unwrap();
        let log = ServeLog::start(&settings(dir.path(), 1.0, Duration::from_millis(20))).unwrap();
        for i in 0..3 {
            log.note(noted(i));
            let begun = Instant::now();
            while files(dir.path()).len() <= i as usize {
                assert!(begun.elapsed() < Duration::from_secs(20), "it is written by itself");
                std::thread::yield_now();
            }
        }
        // A file is there a moment before it is counted.
        log.finish();
        assert_eq!(log.counts.files.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn of_a_key_there_is_all_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let log = ServeLog::start(&settings(dir.path(), 0.3, Duration::from_secs(3600))).unwrap();
        let keys: Vec<String> = (0..10_000).map(|i| format!(r#"{{"k":{i}}}"#)).collect();
        let there = keys.iter().filter(|key| log.has(key)).count();
        assert!((2_700..3_300).contains(&there), "{there}");
        assert!(keys.iter().all(|key| log.has(key) == log.has(key)));
        let none = ServeLog::start(&settings(dir.path(), 0.0, Duration::from_secs(3600))).unwrap();
        assert!(!keys.iter().any(|key| none.has(key)));
    }

    /// A log that cannot be written drops rows, and says how many: nobody waits for it.
    #[test]
    fn a_full_queue_drops_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "no directory").unwrap();
        let log = ServeLog::start(&settings(&dir.path().join("file/log"), 1.0, Duration::ZERO)).unwrap();
        let many = 3 * WAITING_ROWS_MAX as u64;
        let row = "x".repeat(2 << 10);
        (0..many as i64).for_each(|i| log.note(Noted { row: Some(row.clone()), ..noted(i) }));
        log.finish();
        assert_eq!(log.counts.dropped.load(Ordering::Relaxed), many, "none of it is there");
        assert!(log.counts.failures.load(Ordering::Relaxed) > 0);
    }
}
