//! Rows of one kind of a worker that are kept as long as they are young: files that are written as the rows come. A checkpoint has the
//! new file and goes on using the ones before, so that each row is written once.
//!
//! ```text
//! unfinished/<start>/<worker>/  rows since the last checkpoint, and files that are being merged
//! checkpoints/<number>/         the finished ones, each where the first checkpoint is that has it
//!
//! 8 files of about one size  -> one, by a thread of its own, without what is too old
//! all of it too old          -> no checkpoint has it any more
//! ```
//!
//! The first column of a row is its time, by which it grows old.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use headwater_clocks::{EventTime, Span, Tick};
use headwater_connectors::storage::make_dir;
use headwater_connectors::threads::Helper;

use super::contribution::StateFile;
use super::files::failed;
use super::state_file;
use super::store::StateStore;
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, Generation};

/// Files of a tier that are merged into one of the next.
pub const MERGED_AT_ONCE: usize = 8;
const LOWEST_TIER_BYTES: u64 = 64 << 10;

pub struct RowLog {
    store: Arc<StateStore>,
    generation: Generation,
    /// What every file of it has: its name is the first part of theirs.
    like: StateFile,
    /// For how long a row is kept.
    keep: Span,
    writing: Option<Writing>,
    files: Vec<StateFile>,
    merge: Option<Merge>,
}

/// A file that is being written.
struct Writing {
    path: PathBuf,
    writer: state_file::Writer,
    span: (EventTime, EventTime),
}

/// A file that is whole, but in no checkpoint yet.
struct Written {
    path: PathBuf,
    bytes: u64,
    xxh3: u64,
    span: (EventTime, EventTime),
}

/// Files that are being merged. Dropped, it waits for the thread, which stops.
struct Merge {
    inputs: Vec<StateFile>,
    stop: Arc<AtomicBool>,
    thread: Option<Helper<Option<Written>, Failure>>,
}

impl RowLog {
    pub fn new(store: Arc<StateStore>, generation: Generation, like: StateFile, keep: Span) -> RowLog {
        RowLog { store, generation, like, keep, writing: None, files: vec![], merge: None }
    }

    /// Goes on with a file of an earlier run.
    pub fn carry(&mut self, file: &StateFile) {
        let StateFile { owner, of, .. } = self.like;
        self.files.push(StateFile { owner, of, ..file.clone() });
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        if self.writing.is_none() {
            self.writing = Some(Writing::create(self.unfinished("new")?, rows)?);
        }
        self.writing.iter_mut().try_for_each(|writing| writing.write(rows))
    }

    fn unfinished(&self, what: &str) -> Result<PathBuf, Failure> {
        let dir = self.store.unfinished(self.generation, self.like.worker);
        make_dir(&dir).map_err(|e| failed("creating", &dir, e))?;
        Ok(dir.join(format!("{}-{what}.parquet", self.like.name)))
    }

    /// The files of a checkpoint at `t`, up to which all is written.
    pub fn cut(&mut self, number: CheckpointNumber, t: Tick) -> Result<Vec<StateFile>, Failure> {
        let left = t.left(self.keep);
        if let Some(writing) = self.writing.take() {
            let written = writing.finish()?;
            self.place((number, left), written, "")?;
        }
        if let Some(merge) = self.merge.take_if(|merge| merge.is_finished()) {
            let inputs = merge.inputs.clone();
            match merge.join() {
                Ok(merged) => {
                    self.files.retain(|file| !inputs.contains(file));
                    if let Some(written) = merged {
                        self.place((number, left), written, "-merged")?;
                    }
                }
                // All of it is still there, and merged with the next ones.
                Err(failure) => tracing::warn!("files of a state were not merged: {}", failure.message()),
            }
        }
        self.files.retain(|file| file.span.is_none_or(|(_, last)| last > left));
        if self.merge.is_none()
            && let Some(inputs) = worth_merging(&self.files, number)
        {
            let path = self.unfinished("merged")?;
            self.merge = Some(Merge::start(self.store.clone(), inputs, path, left)?);
        }
        Ok(self.files.clone())
    }

    /// Puts a file where the checkpoint is that has it first, unless all of it is too old.
    fn place(
        &mut self,
        (number, left): (CheckpointNumber, EventTime),
        written: Written,
        suffix: &str,
    ) -> Result<(), Failure> {
        if written.span.1 <= left {
            return std::fs::remove_file(&written.path).map_err(|e| failed("removing", &written.path, e));
        }
        let name = format!("{}{suffix}.parquet", self.like.name);
        let path = self.store.written(number, self.like.worker).join(&name);
        std::fs::rename(&written.path, &path).map_err(|e| failed("writing", &path, e))?;
        let Written { bytes, xxh3, span, .. } = written;
        self.files.push(StateFile { number, name, bytes, xxh3, span: Some(span), ..self.like.clone() });
        Ok(())
    }
}

/// The files of the lowest tier that has enough of them. Those of the newest checkpoint may not be there for all to see yet.
fn worth_merging(files: &[StateFile], newest: CheckpointNumber) -> Option<Vec<StateFile>> {
    let mut tiers: BTreeMap<u32, Vec<&StateFile>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.number < newest) {
        let tier = (file.bytes / LOWEST_TIER_BYTES).checked_ilog(MERGED_AT_ONCE as u64).map_or(0, |tier| tier + 1);
        tiers.entry(tier).or_default().push(file);
    }
    let full = tiers.into_values().find(|files| files.len() >= MERGED_AT_ONCE)?;
    Some(full.into_iter().cloned().collect())
}

/// The times of rows.
fn times(rows: &RecordBatch) -> impl Iterator<Item = EventTime> + '_ {
    rows.column(0).as_primitive::<Int64Type>().values().iter().map(|ts| EventTime::from_us(*ts))
}

impl Writing {
    fn create(path: PathBuf, rows: &RecordBatch) -> Result<Writing, Failure> {
        let writer = state_file::Writer::create(&path, rows.schema()).map_err(|e| failed("creating", &path, e))?;
        Ok(Writing { path, writer, span: (EventTime::AFTER_ALL, EventTime::BEFORE_ALL) })
    }

    fn write(&mut self, rows: &RecordBatch) -> Result<(), Failure> {
        for ts in times(rows) {
            self.span = (self.span.0.min(ts), self.span.1.max(ts));
        }
        self.writer.write(rows).map_err(|e| failed("writing to", &self.path, e))
    }

    fn finish(self) -> Result<Written, Failure> {
        let Writing { path, writer, span } = self;
        let (bytes, xxh3) = writer.finish().map_err(|e| failed("writing to", &path, e))?;
        Ok(Written { path, bytes, xxh3, span })
    }
}

impl Merge {
    /// `left`: rows up to there are too old.
    fn start(store: Arc<StateStore>, inputs: Vec<StateFile>, path: PathBuf, left: EventTime) -> Result<Merge, Failure> {
        let stop: Arc<AtomicBool> = Arc::default();
        let (files, stopped) = (inputs.clone(), stop.clone());
        let work = move || merge(&store, &files, path, left, &stopped);
        Ok(Merge { inputs, stop, thread: Some(Helper::start("state-merge", work)?) })
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(Helper::is_finished)
    }

    fn join(mut self) -> Result<Option<Written>, Failure> {
        self.thread.take().map_or(Ok(None), Helper::join)
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Nobody wants what it made.
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn merge(
    store: &StateStore,
    inputs: &[StateFile],
    path: PathBuf,
    left: EventTime,
    stop: &AtomicBool,
) -> Result<Option<Written>, Failure> {
    let mut merged: Option<Writing> = None;
    for input in inputs {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let from = store.fetch(input)?.map_err(Failure::Running)?;
        for batch in state_file::read(&from).map_err(|e| failed("reading", &from, e))? {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let batch = batch.map_err(|e| failed("reading", &from, e))?;
            let held: BooleanArray = times(&batch).map(|ts| Some(ts > left)).collect();
            let batch = filter_record_batch(&batch, &held).map_err(|e| failed("reading", &from, e))?;
            match &mut merged {
                Some(merged) => merged.write(&batch)?,
                none => none.insert(Writing::create(path.clone(), &batch)?).write(&batch)?,
            }
        }
        store.used(input);
    }
    // Not one row was held.
    match merged.filter(|merged| merged.span.0 <= merged.span.1) {
        Some(merged) => merged.finish().map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::{ArrayRef, Int64Array};

    use headwater_operators::group::Piece;

    use super::*;
    use crate::base::id::{ColumnSetId, Id, WorkerId};
    use crate::ingest::testing;
    use crate::plan::side::Side;
    use headwater_clocks::Time;

    const SOURCE: &str = "event_time = \"ts\"\ntime_unit = \"us\"\nschema = { ts = \"int64\", card = \"string\" }\n\
                          stream = { type = \"jsonl\", path = \"*.jsonl\" }";
    const LONGEST: i64 = 1000;

    fn rows(times: impl Iterator<Item = i64>) -> RecordBatch {
        let times: ArrayRef = Arc::new(Int64Array::from_iter_values(times));
        RecordBatch::try_from_iter([("_ts", times)]).unwrap()
    }

    fn held_in(store: &StateStore, files: &[StateFile]) -> Vec<i64> {
        let mut all = vec![];
        for file in files {
            let path = store.fetch(file).unwrap().unwrap();
            for batch in state_file::read(&path).unwrap() {
                all.extend(times(&batch.unwrap()).map(Time::us));
            }
        }
        all.sort_unstable();
        all
    }

    /// A hundred checkpoints: what the last one has is what a window still holds, in few files.
    #[test]
    fn each_row_is_in_one_file_until_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.jsonl"), "{\"ts\":1,\"card\":\"a\"}\n").unwrap();
        let job = testing::open(dir.path(), SOURCE).job;
        let store = Arc::new(StateStore::open(&job, 0, Arc::default()).unwrap());
        let like = StateFile::of_nobody("some-worker-0".to_owned(), (WorkerId::FIRST, 1));
        let mut log = RowLog::new(store.clone(), Generation::of(1), like, Span::from_us(LONGEST));
        let (mut last, mut merged) = (vec![], 0);
        for number in 1..=100 {
            let (now, late) = (number as i64 * 20, (1..=number as i64).map(|n| n * 20 - LONGEST + 7));
            let number = CheckpointNumber::of(number);
            log.write(&rows(now - 20..now)).unwrap();
            // One that comes late.
            log.write(&rows([now - LONGEST + 7].into_iter())).unwrap();
            make_dir(&store.written(number, WorkerId::FIRST)).unwrap();
            let files = log.cut(number, Tick::from_us(now)).unwrap();
            merged += files.iter().filter(|file| file.number == number && file.name.contains("merged")).count();
            let found = held_in(&store, &files);
            let mut held: Vec<i64> = (0..now).chain(late).filter(|ts| *ts > now - LONGEST).collect();
            held.sort_unstable();
            let found: Vec<i64> = found.into_iter().filter(|ts| *ts > now - LONGEST).collect();
            assert_eq!(found, held, "at {now}");
            let names: BTreeSet<_> = files.iter().map(StateFile::name).collect();
            assert_eq!(names.len(), files.len());
            last = files;
            while log.merge.as_ref().is_some_and(|merge| !merge.is_finished()) {
                std::thread::yield_now();
            }
        }
        assert!(merged > 5 && last.len() <= MERGED_AT_ONCE + 1, "{merged} were merged, {} are left", last.len());

        // Nothing came for long: nothing is left.
        let number = CheckpointNumber::of(101);
        make_dir(&store.written(number, WorkerId::FIRST)).unwrap();
        assert_eq!(log.cut(number, Tick::from_us(100_000)).unwrap(), []);
    }

    #[test]
    fn files_of_about_one_size_are_merged() {
        let file = |bytes| StateFile {
            number: CheckpointNumber::of(1),
            owner: 0,
            worker: WorkerId::FIRST,
            workers: 1,
            piece: Piece::Ledger,
            of: ColumnSetId::at(0),
            side: Side::Live,
            name: String::new(),
            bytes,
            xxh3: 0,
            span: None,
        };
        let merges = |sizes: &[u64]| {
            let files: Vec<StateFile> = sizes.iter().map(|bytes| file(*bytes)).collect();
            worth_merging(&files, CheckpointNumber::of(2))
                .map(|files| files.iter().map(|file| file.bytes).collect::<Vec<_>>())
        };
        assert_eq!(merges(&[1; 7]), None);
        assert_eq!(merges(&[1; 8]), Some(vec![1; 8]));
        assert_eq!(merges(&[[100_000; 7], [1; 7]].concat()), None);
        assert_eq!(merges(&[[1 << 30; 8], [600_000; 8]].concat()), Some(vec![600_000; 8]));
    }
}
