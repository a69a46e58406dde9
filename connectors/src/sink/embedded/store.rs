//! The database: rows and marks, read and written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use headwater_clocks::{EventTime, Tick, Time};

use super::open::{REMEDY, open_patiently, opening};
use crate::sink::changes::Changes;
use crate::sink::{Claim, Claimed, GroupShape, Lookup, Marks, RowText, Store};
use crate::{Error, Result};

/// What this binary writes and reads.
const FORMAT: i64 = 1;
pub(super) const FORMAT_KEY: &[u8] = b"\0format";
const IMAGE_KEY: &[u8] = b"\0image";
const WHOLE_KEY: &[u8] = b"\0whole";
/// Rows are committed in batches of this many, each all or nothing.
const BATCH_ROWS: usize = 10_000;
/// What is in memory alone has to be read from the journal when the store is opened.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The number of the full refresh, changed_at and window end, before the row's text.
const HEAD_BYTES: usize = 24;

/// The store in its directory. A clone shares it.
#[derive(Clone)]
pub struct Embedded {
    path: PathBuf,
    db: Database,
    pub(super) rows: Keyspace,
    groups: Arc<[GroupShape]>,
    full_refresh: i64,
    /// What the rows of this start mean.
    meaning: i64,
    /// By group; `None` where the next write sets it whatever it was.
    upto: Vec<Option<Tick>>,
}

impl Embedded {
    /// Opens the store in the directory `path`, or makes it. It is this process's until the last clone is gone.
    ///
    /// # Errors
    /// `Config`: another process has it, or it is of another format. `World`: it cannot be opened, or is damaged.
    pub fn open(path: &Path, groups: &[GroupShape]) -> Result<Embedded> {
        let failed = |e: fjall::Error| opening(path, e);
        let db = open_patiently(path)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = db.keyspace("rows", options).map_err(failed)?;
        let groups: Arc<[GroupShape]> = groups.into();
        let upto = vec![None; groups.len()];
        let mut store = Embedded { path: path.into(), db, rows, groups, full_refresh: 0, meaning: 0, upto };
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
    ///
    /// # Errors
    /// `World`: it cannot be read, or is damaged.
    pub fn again(&self) -> Result<Embedded> {
        let mut store = self.clone();
        store.look()?;
        Ok(store)
    }

    pub(super) fn claimed(mut self, claim: &Claim) -> Result<Claimed> {
        let is_whole = self.is_whole(claim.meaning)?;
        let marks = claim.groups.iter().map(|group| self.marks(*group)).collect::<Result<_>>()?;
        Ok(Claimed { generation: 0, marks, is_whole, held: Some(Arc::new(self)) })
    }

    /// Takes up what an earlier start has left.
    fn look(&mut self) -> Result<()> {
        self.full_refresh = self.number(IMAGE_KEY)?.unwrap_or(0);
        for group in 0..self.groups.len() {
            self.upto[group] = self.tick("upto", group)?;
        }
        Ok(())
    }

    /// Opens the store of a job that does not run, to look rows up.
    ///
    /// # Errors
    /// `Config`: there is none. And as of `open`.
    pub fn read_only(path: &Path, groups: &[GroupShape]) -> Result<Embedded> {
        if !path.join("version").exists() {
            return Err(Error::Config(format!("no embedded store at {}: the job has not run yet", path.display())));
        }
        Embedded::open(path, groups)
    }

    /// Says what the rows of this start mean: what columns are, and how rows and fields are called. Returns whether the store has all rows
    /// of that meaning already, and no others.
    ///
    /// # Errors
    /// `World`: it cannot be read, or is damaged.
    pub fn is_whole(&mut self, meaning: i64) -> Result<bool> {
        self.meaning = meaning;
        Ok(self.number(WHOLE_KEY)? == Some(meaning))
    }

    /// What an earlier start has left of a group.
    ///
    /// # Errors
    /// `World`: it cannot be read, or is damaged.
    pub fn marks(&self, group: usize) -> Result<Marks> {
        Ok(Marks { upto: self.tick("upto", group)?, as_of: self.tick("as_of", group)? })
    }

    fn mark(&self, name: &str, group: usize) -> Vec<u8> {
        format!("\0{name}\0{}", self.groups[group].name).into_bytes()
    }

    fn tick(&self, mark: &str, group: usize) -> Result<Option<Tick>> {
        Ok(self.number(&self.mark(mark, group))?.map(Tick::from_us))
    }

    fn number(&self, key: &[u8]) -> Result<Option<i64>> {
        match self.rows.get(key).map_err(|e| self.failed("reading", e))? {
            Some(bytes) => Ok(Some(i64_at(&bytes, 0).ok_or_else(|| self.damaged())?)),
            None => Ok(None),
        }
    }

    pub(super) fn put(&self, key: &[u8], number: i64) -> Result<()> {
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
            let window = (EventTime::from_us(start), EventTime::from_us(i64_at(value, 16)?));
            Some(RowText {
                key: String::from_utf8(text.to_vec()).ok()?,
                window: self.groups[group].windowed().then_some(window),
                row: String::from_utf8(value.get(HEAD_BYTES..)?.to_vec()).ok()?,
                changed_at: Tick::from_us(i64_at(value, 8)?),
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

/// The start of a row's window, so that its bytes are in order; without a window, 0.
fn in_order(start: Option<EventTime>) -> [u8; 8] {
    (start.map_or(0, EventTime::us) ^ i64::MIN).to_be_bytes()
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Store for Embedded {
    fn write(&mut self, group: usize, changes: &RecordBatch, upto: Tick) -> Result<()> {
        if self.upto[group].is_none_or(|held| held < upto) {
            self.put(&self.mark("upto", group), upto.us())?;
            self.upto[group] = Some(upto);
        }
        let view = Changes::new(&self.groups[group], changes);
        let name = self.groups[group].name.as_bytes();
        let mut newest = view.newest(|key, row| {
            key.extend_from_slice(name);
            key.push(0);
            view.key.write(key, row);
            key.push(0);
            key.extend_from_slice(&in_order(view.window(row).map(|(start, _)| start)));
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
                    value.extend_from_slice(&view.time(*row).us().to_le_bytes());
                    value.extend_from_slice(&view.window(*row).map_or(0, |(_, end)| end.us()).to_le_bytes());
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
            self.upto.fill(None);
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

    fn set_as_of(&mut self, group: usize, as_of: Tick) -> Result<()> {
        self.put(&self.mark("as_of", group), as_of.us())
    }
}

impl Lookup for Embedded {
    fn as_of(&mut self, group: usize) -> Result<Option<Tick>> {
        self.tick("as_of", group)
    }

    fn get(&mut self, group: usize, key: &str, window_start: Option<EventTime>) -> Result<Vec<RowText>> {
        let mut prefix = self.prefix(group, key);
        let mut found = Vec::new();
        if window_start.is_some() || !self.groups[group].windowed() {
            prefix.extend_from_slice(&in_order(window_start));
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
