//! The embedded store: the newest row a key and window, in a fjall database of this machine.
//!
//! ```text
//! group \0 key as JSON \0 window start (8 bytes, big endian, sign flipped)  ->  refresh, changed_at, window end, row as JSON
//! \0 as_of \0 group, \0 upto \0 group                                       ->  a mark
//! \0 format, \0 full refresh                                                       ->  what wrote this, and the number of the last full refresh
//! \0 whole                                                                  ->  what the rows mean, once all of them are there
//! ```
//!
//! Rows and marks share one keyspace, so that whatever a crash takes is a tail of what was written: a mark is never there
//! without the rows before it. One process holds the store; within it, clones read while another writes.
//!
//! Every row carries the number of the full refresh that it was last written in or after: what a sweep finds with an older one
//! was not in the full refresh.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::changes::Changes;
use super::{
    Claim, Claimed, GroupShape, HeldStore, Home, JobRows, Lookup, Marks, RowText, SinkConfig, SinkKind, Store,
    StoreConfig, Takes,
};
use crate::settings::{Endpoint, Kind, Settings};
use crate::{Error, Result};

/// What this binary writes and reads.
const FORMAT: i64 = 1;
const FORMAT_KEY: &[u8] = b"\0format";
const IMAGE_KEY: &[u8] = b"\0image";
const WHOLE_KEY: &[u8] = b"\0whole";
/// Rows are committed in batches of this many, each all or nothing.
const BATCH_ROWS: usize = 10_000;
/// What is in memory alone has to be read from the journal when the store is opened.
const MEMTABLE_BYTES: u64 = 16 << 20;
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);
const REMEDY: &str = "if this stays so, remove its directory: the next start writes every row anew";
/// The number of the full refresh, changed_at and window end, before the row's text.
const HEAD_BYTES: usize = 24;

const ELSEWHERE: &str =
    "the state is in an object store, so say where the embedded store is kept, like path = \"store\"";
const UNSAID: &str = "without a sink, rows go to an embedded store, and the state is in an object store, so say where the embedded store \
                      is kept, like path = \"store\": in [sinks.NAME] with type = \"embedded\"";

/// The embedded store as a kind of sink.
pub static EMBEDDED: &EmbeddedKind = &EmbeddedKind;

/// See [`EMBEDDED`].
#[derive(Debug)]
pub struct EmbeddedKind;

impl Kind for EmbeddedKind {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["path"]
    }
}

impl SinkKind for EmbeddedKind {
    fn takes(&self) -> Takes {
        Takes::Rows
    }

    fn read(&self, settings: &mut dyn Settings, home: &Home) -> SinkConfig {
        let path = settings.path("path");
        if path.is_none() && home.is_remote && !settings.has("path") {
            settings.missing("path", ELSEWHERE);
        }
        SinkConfig::Rows(Arc::new(EmbeddedConfig { path: path.unwrap_or_else(|| in_home(home)) }))
    }
}

/// The sink of a job that names none.
pub(super) fn unsaid(home: &Home) -> (SinkConfig, Option<&'static str>) {
    let config = EmbeddedConfig { path: in_home(home) };
    (SinkConfig::Rows(Arc::new(config)), home.is_remote.then_some(UNSAID))
}

fn in_home(home: &Home) -> PathBuf {
    home.dir.join("embedded")
}

#[derive(Debug)]
struct EmbeddedConfig {
    path: PathBuf,
}

impl StoreConfig for EmbeddedConfig {
    fn describe(&self) -> String {
        format!("embedded store in {}", self.path.display())
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::Sole("embedded store"))
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn claim(&self, rows: &JobRows, claim: &Claim) -> Result<Claimed> {
        Embedded::open(&self.path, rows.groups)?.claimed(claim)
    }

    fn open(&self, rows: &JobRows, _: u64, _: Arc<AtomicBool>) -> Result<Box<dyn Store>> {
        Ok(Box::new(Embedded::open(&self.path, rows.groups)?))
    }

    fn lookup(&self, rows: &JobRows) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(Embedded::read_only(&self.path, rows.groups)?))
    }
}

impl HeldStore for Embedded {
    fn claim(&self, claim: &Claim) -> Result<Claimed> {
        self.again()?.claimed(claim)
    }

    fn store(&self) -> Box<dyn Store> {
        Box::new(self.clone())
    }

    fn lookup(&self) -> Box<dyn Lookup> {
        Box::new(self.clone())
    }
}

/// The store in its directory. A clone shares it.
#[derive(Clone)]
pub struct Embedded {
    path: PathBuf,
    db: Database,
    rows: Keyspace,
    groups: Arc<[GroupShape]>,
    full_refresh: i64,
    /// What the rows of this start mean.
    meaning: i64,
    /// By group; `None` where the next write sets it whatever it was.
    upto_us: Vec<Option<i64>>,
}

impl Embedded {
    /// Opens the store in the directory `path`, or makes it. It is this process's until the last clone is gone.
    pub fn open(path: &Path, groups: &[GroupShape]) -> Result<Embedded> {
        let failed = |e: fjall::Error| opening(path, e);
        let db = open_patiently(path)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = db.keyspace("rows", options).map_err(failed)?;
        let groups: Arc<[GroupShape]> = groups.into();
        let upto_us = vec![None; groups.len()];
        let mut store = Embedded { path: path.into(), db, rows, groups, full_refresh: 0, meaning: 0, upto_us };
        match store.number(FORMAT_KEY)? {
            Some(FORMAT) => {}
            Some(format) => {
                return Err(Error::Config(format!(
                    "the embedded store {} has format {format}, this binary reads {FORMAT}",
                    path.display()
                )));
            }
            None => store.put(FORMAT_KEY, FORMAT)?,
        }
        store.look()?;
        Ok(store)
    }

    /// The same store for another start of the job in this process, whoever still reads it. Nobody writes it any more.
    pub fn again(&self) -> Result<Embedded> {
        let mut store = self.clone();
        store.look()?;
        Ok(store)
    }

    fn claimed(mut self, claim: &Claim) -> Result<Claimed> {
        let is_whole = self.is_whole(claim.meaning)?;
        let marks = claim.groups.iter().map(|group| self.marks(*group)).collect::<Result<_>>()?;
        Ok(Claimed { generation: 0, marks, is_whole, held: Some(Arc::new(self)) })
    }

    /// Takes up what an earlier start has left.
    fn look(&mut self) -> Result<()> {
        self.full_refresh = self.number(IMAGE_KEY)?.unwrap_or(0);
        for group in 0..self.groups.len() {
            self.upto_us[group] = self.number(&self.mark("upto", group))?;
        }
        Ok(())
    }

    /// Opens the store of a job that does not run, to look rows up; `Error::Config` where there is none.
    pub fn read_only(path: &Path, groups: &[GroupShape]) -> Result<Embedded> {
        if !path.join("version").exists() {
            return Err(Error::Config(format!("no embedded store at {}: the job has not run yet", path.display())));
        }
        Embedded::open(path, groups)
    }

    /// Says what the rows of this start mean: what columns are, and how rows and fields are called. Returns whether the store has all rows
    /// of that meaning already, and no others.
    pub fn is_whole(&mut self, meaning: i64) -> Result<bool> {
        self.meaning = meaning;
        Ok(self.number(WHOLE_KEY)? == Some(meaning))
    }

    /// What an earlier start has left of a group.
    pub fn marks(&self, group: usize) -> Result<Marks> {
        Ok(Marks {
            upto_us: self.number(&self.mark("upto", group))?,
            as_of_us: self.number(&self.mark("as_of", group))?,
        })
    }

    fn mark(&self, name: &str, group: usize) -> Vec<u8> {
        format!("\0{name}\0{}", self.groups[group].name).into_bytes()
    }

    fn number(&self, key: &[u8]) -> Result<Option<i64>> {
        match self.rows.get(key).map_err(|e| self.failed("reading", e))? {
            Some(bytes) => Ok(Some(i64_at(&bytes, 0).ok_or_else(|| self.damaged())?)),
            None => Ok(None),
        }
    }

    fn put(&self, key: &[u8], number: i64) -> Result<()> {
        self.commit_with(|batch| batch.insert(&self.rows, key, number.to_le_bytes()))
    }

    /// Commits a batch: all or nothing, handed to the system when it returns.
    fn commit_with(&self, fill: impl FnOnce(&mut OwnedWriteBatch)) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        fill(&mut batch);
        batch.commit().map_err(|e| self.failed("writing", e))
    }

    /// Where a group's rows of a key lie, without the window's start.
    fn prefix(&self, group: usize, key: &str) -> Vec<u8> {
        let name = &self.groups[group].name;
        let mut prefix = Vec::with_capacity(name.len() + key.len() + 10);
        prefix.extend_from_slice(name.as_bytes());
        prefix.push(0);
        prefix.extend_from_slice(key.as_bytes());
        prefix.push(0);
        prefix
    }

    fn row_text(&self, group: usize, key: &[u8], value: &[u8]) -> Result<RowText> {
        let parse = || {
            let key = &key[self.groups[group].name.len() + 1..];
            let (text, start) = key.split_at_checked(key.len().checked_sub(9)?)?;
            let start = i64::from_be_bytes(start[1..].try_into().ok()?) ^ i64::MIN;
            let window = self.groups[group].windowed().then_some((start, i64_at(value, 16)?));
            Some(RowText {
                key: String::from_utf8(text.to_vec()).ok()?,
                window,
                row: String::from_utf8(value.get(HEAD_BYTES..)?.to_vec()).ok()?,
                changed_at_us: i64_at(value, 8)?,
            })
        };
        parse().ok_or_else(|| self.damaged())
    }

    fn failed(&self, doing: &str, cause: fjall::Error) -> Error {
        Error::world(format!("{doing} the embedded store {}", self.path.display()), cause)
    }

    fn damaged(&self) -> Error {
        let cause = format!("it is damaged: an entry is cut short; {REMEDY}");
        Error::world(format!("reading the embedded store {}", self.path.display()), cause)
    }
}

/// Whoever looks up a row of a job that does not run holds its store for a moment; a start waits for that.
fn open_patiently(path: &Path) -> Result<Database> {
    let began = Instant::now();
    remove_unfinished(path)
        .map_err(|e| Error::world(format!("cannot open the embedded store {}", path.display()), e))?;
    loop {
        match Database::builder(path).open() {
            Err(fjall::Error::Locked) if began.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_RETRY),
            opened => return opened.map_err(|e| opening(path, e)),
        }
    }
}

/// A start that was killed while it made the store has left something that cannot be opened. Nothing was in it yet.
fn remove_unfinished(path: &Path) -> std::io::Result<()> {
    let [journal, version] = ["0.jnl", "version"].map(|name| path.join(name));
    let is_made = version.metadata().is_ok_and(|version| version.len() > 0);
    if is_made || !journal.exists() || path.join("keyspaces").read_dir()?.next().is_some() {
        return Ok(());
    }
    let lock = File::open(path.join("lock"))?;
    match lock.try_lock() {
        // Whoever holds it is making the store just now.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(e)) => return Err(e),
        Ok(()) => {}
    }
    if version.exists() {
        std::fs::remove_file(version)?;
    }
    std::fs::remove_file(journal)
}

fn opening(path: &Path, cause: fjall::Error) -> Error {
    match cause {
        fjall::Error::Locked => Error::Config(format!(
            "the embedded store {} is in use: a job is running with it; while it runs, `headwater get` and `headwater \
             export` ask that job through the endpoint.json in its local state directory",
            path.display()
        )),
        fjall::Error::InvalidVersion(_) => {
            Error::Config(format!("the embedded store {} was written by another version: {cause}", path.display()))
        }
        _ => {
            let first: &(dyn std::error::Error + 'static) = &cause;
            let of_the_disk =
                std::iter::successors(Some(first), |cause| cause.source()).any(|cause| cause.is::<std::io::Error>());
            let cause = if of_the_disk { cause.to_string() } else { format!("{cause}; {REMEDY}") };
            Error::world(format!("cannot open the embedded store {}", path.display()), cause)
        }
    }
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Store for Embedded {
    fn write(&mut self, group: usize, changes: &RecordBatch, upto_us: i64) -> Result<()> {
        if self.upto_us[group].is_none_or(|held| held < upto_us) {
            self.put(&self.mark("upto", group), upto_us)?;
            self.upto_us[group] = Some(upto_us);
        }
        let view = Changes::new(&self.groups[group], changes);
        let name = self.groups[group].name.as_bytes();
        let mut newest = view.newest(|key, row| {
            key.extend_from_slice(name);
            key.push(0);
            view.key.write(key, row);
            key.push(0);
            let start = view.window(row).map_or(0, |(start, _)| start);
            key.extend_from_slice(&(start ^ i64::MIN).to_be_bytes());
        });
        // Neighbours are put beside each other, where the cache has what is around them.
        newest.sort_unstable();
        let mut value = Vec::new();
        for rows in newest.chunks(BATCH_ROWS) {
            self.commit_with(|batch| {
                for (key, row) in rows {
                    if view.diffs[*row] < 0 {
                        batch.remove(&self.rows, key.as_slice());
                        continue;
                    }
                    value.clear();
                    value.extend_from_slice(&self.full_refresh.to_le_bytes());
                    value.extend_from_slice(&view.times[*row].to_le_bytes());
                    value.extend_from_slice(&view.window(*row).map_or(0, |(_, end)| end).to_le_bytes());
                    view.row.write(&mut value, *row);
                    batch.insert(&self.rows, key.as_slice(), value.as_slice());
                }
            })?;
        }
        Ok(())
    }

    fn begin_full_refresh(&mut self, replace: bool) -> Result<()> {
        self.full_refresh += 1;
        self.commit_with(|batch| {
            batch.remove(&self.rows, WHOLE_KEY);
            batch.insert(&self.rows, IMAGE_KEY, self.full_refresh.to_le_bytes());
        })?;
        if replace {
            self.upto_us.fill(None);
        }
        Ok(())
    }

    fn sweep(&mut self, spared: &[usize]) -> Result<u64> {
        let spared: Vec<Vec<u8>> =
            spared.iter().map(|group| [self.groups[*group].name.as_bytes(), b"\0"].concat()).collect();
        let marks: Vec<_> =
            (0..self.groups.len()).flat_map(|g| [self.mark("upto", g), self.mark("as_of", g)]).collect();
        let keeps = |key: &[u8], value: &[u8]| match key.first() {
            Some(0) => key == FORMAT_KEY || key == IMAGE_KEY || marks.iter().any(|mark| mark == key),
            _ => i64_at(value, 0) == Some(self.full_refresh) || spared.iter().any(|group| key.starts_with(group)),
        };
        let (mut swept, mut gone) = (0, Vec::new());
        let remove = |gone: &mut Vec<fjall::UserKey>| {
            self.commit_with(|batch| gone.drain(..).for_each(|key| batch.remove(&self.rows, key)))
        };
        for entry in self.rows.iter() {
            let (key, value) = entry.into_inner().map_err(|e| self.failed("reading", e))?;
            if keeps(&key, &value) {
                continue;
            }
            swept += u64::from(key[0] != 0);
            gone.push(key);
            if gone.len() == BATCH_ROWS {
                remove(&mut gone)?;
            }
        }
        remove(&mut gone)?;
        if spared.is_empty() {
            self.put(WHOLE_KEY, self.meaning)?;
        }
        Ok(swept)
    }

    fn set_as_of(&mut self, group: usize, as_of_us: i64) -> Result<()> {
        self.put(&self.mark("as_of", group), as_of_us)
    }
}

impl Lookup for Embedded {
    fn as_of(&mut self, group: usize) -> Result<Option<i64>> {
        self.number(&self.mark("as_of", group))
    }

    fn get(&mut self, group: usize, key: &str, window_start_us: Option<i64>) -> Result<Vec<RowText>> {
        let mut prefix = self.prefix(group, key);
        let mut found = Vec::new();
        if let Some(start) = window_start_us.or((!self.groups[group].windowed()).then_some(0)) {
            prefix.extend_from_slice(&(start ^ i64::MIN).to_be_bytes());
            if let Some(value) = self.rows.get(&prefix).map_err(|e| self.failed("reading", e))? {
                found.push(self.row_text(group, &prefix, &value)?);
            }
            return Ok(found);
        }
        for entry in self.rows.prefix(prefix) {
            let (key, value) = entry.into_inner().map_err(|e| self.failed("reading", e))?;
            found.push(self.row_text(group, &key, &value)?);
        }
        Ok(found)
    }

    fn scan(&mut self, group: usize, each: &mut dyn FnMut(RowText) -> Result<()>) -> Result<()> {
        for entry in self.rows.prefix(format!("{}\0", self.groups[group].name)) {
            let (key, value) = entry.into_inner().map_err(|e| self.failed("reading", e))?;
            each(self.row_text(group, &key, &value)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOUR, plain, windowed};
    use super::*;

    fn shapes() -> Vec<GroupShape> {
        vec![plain().shape, windowed().shape]
    }

    fn scanned(store: &mut Embedded, group: usize) -> Vec<(String, Option<i64>, String, i64)> {
        let mut rows = Vec::new();
        store
            .scan(group, &mut |r| {
                rows.push((r.key, r.window.map(|w| w.0), r.row, r.changed_at_us));
                Ok(())
            })
            .unwrap();
        rows
    }

    fn row(key: &str, start: Option<i64>, x: &str, at: i64) -> (String, Option<i64>, String, i64) {
        (format!(r#"{{"card":"{key}"}}"#), start, format!(r#"{{"x":{x}}}"#), at)
    }

    #[test]
    fn the_last_change_of_a_key_and_window_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(&dir.path().join("embedded"), &shapes()).unwrap();
        let reader = &mut store.clone();
        let cards = [
            ("b", 0, Some(1.0), 10, 1),
            ("a", 0, Some(1.0), 10, 1),
            ("a", 0, Some(2.0), 20, 1),
            ("a", 0, Some(1.0), 20, -1),
            ("gone", 0, Some(1.0), 10, 1),
            ("gone", 0, Some(1.0), 20, -1),
        ];
        store.write(0, &plain().batch(&cards), 20).unwrap();
        let hours = [("a", HOUR, None, 15, 1), ("a", -HOUR, Some(3.0), 15, 1), ("ab", 0, Some(4.0), 15, 1)];
        store.write(1, &windowed().batch(&hours), 20).unwrap();
        store.set_as_of(0, 20).unwrap();

        assert_eq!(scanned(reader, 0), [row("a", None, "2.0", 20), row("b", None, "1.0", 10)]);
        assert_eq!(
            scanned(reader, 1),
            [row("a", Some(-HOUR), "3.0", 15), row("a", Some(HOUR), "null", 15), row("ab", Some(0), "4.0", 15)]
        );
        let key = r#"{"card":"a"}"#;
        assert_eq!(reader.get(0, key, None).unwrap().len(), 1);
        assert_eq!(reader.get(1, key, None).unwrap().len(), 2);
        assert_eq!(reader.get(1, key, Some(HOUR)).unwrap()[0].window, Some((HOUR, 2 * HOUR)));
        assert_eq!(reader.get(0, r#"{"card":"x"}"#, None).unwrap(), []);
        assert_eq!((reader.as_of(0).unwrap(), reader.as_of(1).unwrap()), (Some(20), None));
    }

    /// Another version of this binary goes on with the store.
    #[test]
    fn its_bytes_are_what_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(&dir.path().join("embedded"), &shapes()).unwrap();
        store.begin_full_refresh(false).unwrap();
        store.write(0, &plain().batch(&[("a", 0, Some(1.5), 10, 1)]), 100).unwrap();
        store.write(1, &windowed().batch(&[("b", -HOUR, None, 20, 1)]), 100).unwrap();
        store.set_as_of(0, 50).unwrap();
        assert!(!store.is_whole(7).unwrap());
        store.sweep(&[]).unwrap();
        let entries = store.rows.iter().map(|entry| entry.into_inner().unwrap());
        let found: Vec<(Vec<u8>, Vec<u8>)> = entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let number = |number: i64| number.to_le_bytes().to_vec();
        let value = |numbers: [i64; 3], row: &str| {
            [number(numbers[0]), number(numbers[1]), number(numbers[2]), row.into()].concat()
        };
        let [first, second] = [plain().shape.name, windowed().shape.name];
        let key = |group: &str, card: &str, start: i64| {
            let flipped = (start as u64 ^ 1 << 63).to_be_bytes();
            [group.as_bytes(), b"\0{\"card\":\"", card.as_bytes(), b"\"}\0", &flipped].concat()
        };
        let mut expected = vec![
            (format!("\0as_of\0{first}").into_bytes(), number(50)),
            (b"\0format".to_vec(), number(1)),
            (b"\0image".to_vec(), number(1)),
            (format!("\0upto\0{first}").into_bytes(), number(100)),
            (format!("\0upto\0{second}").into_bytes(), number(100)),
            (b"\0whole".to_vec(), number(7)),
            (key(&first, "a", 0), value([1, 10, 0], r#"{"x":1.5}"#)),
            (key(&second, "b", -HOUR), value([1, 20, 0], r#"{"x":null}"#)),
        ];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_image_sweeps_what_it_does_not_have() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("embedded");
        let mut store = Embedded::open(&path, &shapes()).unwrap();
        store.begin_full_refresh(false).unwrap();
        store.write(0, &plain().batch(&[("old", 0, None, 10, 1), ("kept", 0, None, 10, 1)]), 100).unwrap();
        store.write(1, &windowed().batch(&[("a", 0, None, 10, 1)]), 100).unwrap();
        store.set_as_of(1, 100).unwrap();
        assert_eq!(store.sweep(&[]).unwrap(), 0);
        assert!(!store.is_whole(7).unwrap());
        assert_eq!(store.sweep(&[]).unwrap(), 0);
        let mut again = store.again().unwrap();
        drop(store);
        assert!(!again.is_whole(8).unwrap() && again.is_whole(7).unwrap());
        again.begin_full_refresh(false).unwrap();
        assert_eq!(again.sweep(&[0, 1]).unwrap(), 0, "what is spared stays");
        assert!(!again.is_whole(7).unwrap(), "some groups are not all");
        assert_eq!(scanned(&mut again, 0).len() + scanned(&mut again, 1).len(), 3);
        drop(again);

        // The next start has one group only.
        let mut store = Embedded::open(&path, &shapes()[..1]).unwrap();
        assert_eq!(store.marks(0).unwrap(), Marks { upto_us: Some(100), as_of_us: None });
        store.begin_full_refresh(false).unwrap();
        store.write(0, &plain().batch(&[("kept", 0, Some(1.0), 10, 1), ("x", 0, None, 10, 1)]), 50).unwrap();
        store.write(0, &plain().batch(&[("x", 0, None, 20, -1)]), 50).unwrap();
        assert_eq!(store.marks(0).unwrap().upto_us, Some(100), "it never falls");
        assert_eq!(store.sweep(&[]).unwrap(), 2);
        assert_eq!(scanned(&mut store, 0), [row("kept", None, "1.0", 10)]);
        drop(store);

        let mut store = Embedded::open(&path, &shapes()).unwrap();
        assert_eq!(store.marks(1).unwrap(), Marks::default(), "its marks went with its rows");
        store.begin_full_refresh(true).unwrap();
        store.write(0, &plain().batch(&[]), 50).unwrap();
        assert_eq!(store.marks(0).unwrap().upto_us, Some(50), "but for a full refresh that replaces");
        assert_eq!(store.sweep(&[]).unwrap(), 1);
    }

    #[test]
    fn a_start_that_was_killed_while_it_made_the_store_is_in_nobodys_way() {
        for left in [&["lock", "0.jnl"][..], &["lock", "0.jnl", "version"]] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("embedded");
            std::fs::create_dir_all(path.join("keyspaces")).unwrap();
            left.iter().for_each(|name| drop(File::create_new(path.join(name)).unwrap()));
            let mut store = Embedded::open(&path, &shapes()).unwrap();
            store.write(0, &plain().batch(&[("a", 0, Some(1.0), 10, 1)]), 10).unwrap();
            drop(store);
            let mut store = Embedded::open(&path, &shapes()).unwrap();
            assert_eq!(scanned(&mut store, 0), [row("a", None, "1.0", 10)]);
        }
    }

    #[test]
    fn one_process_holds_it_and_another_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("embedded");
        let Err(error) = Embedded::read_only(&path, &shapes()) else { panic!("there is none") };
        assert!(error.to_string().contains("no embedded store at"), "{error}");
        let store = Embedded::open(&path, &shapes()).unwrap();
        let Err(error) = Embedded::read_only(&path, &shapes()) else { panic!("it is locked") };
        assert!(error.to_string().contains("a job is running"), "{error}");
        store.put(FORMAT_KEY, 99).unwrap();
        drop(store);
        let Err(error) = Embedded::read_only(&path, &shapes()) else { panic!("it is another format") };
        assert!(error.to_string().contains("has format 99, this binary reads 1"), "{error}");
    }
}
