//! Where a job's state is kept: a local directory, or an object store with a local directory beside it.
//!
//! ```text
//! <state>/generations/<generation>.json              the starts: see `generations`
//! <state>/checkpoints/<number>/*.parquet             parts; some are used by later checkpoints, too
//! <state>/checkpoints/<number>/manifest.json         created last: without it there is no checkpoint
//! <state>/unfinished/<generation>/<worker>/          see `journal`
//! <state>/lease.json                                 object stores: see `lease`
//! <local>/staging/<process>/                         object stores: parts on their way, and what is unfinished
//! ```
//!
//! Workers never wait for an object store. They write parts to local files, which a thread of their own sends; one that does not
//! answer is tried until it does, and the job goes on meanwhile. Only at the end of a run that is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_connectors::Error;
use headwater_connectors::storage::{Storage, make_dir};

use super::contribution::{StateFile, StateFileName};
use super::files;
use super::stats::CheckpointStats;
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, Generation, Id, WorkerId};
use crate::job::Job;

pub const CHECKPOINTS: &str = "checkpoints";
const UNFINISHED: &str = "unfinished";
const STAGING: &str = "staging";
/// Where workers have what of their windows is not in memory. Nothing of it outlives its process.
pub const LEDGER: &str = "ledger";

/// Between two attempts. Each one asks an object store again and again for about a minute.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_STEP: Duration = Duration::from_millis(50);

/// What must not be removed.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// All that lies there.
    pub numbers: BTreeSet<CheckpointNumber>,
    pub files: BTreeSet<StateFileName>,
}

impl Used {
    pub fn has(&self, number: CheckpointNumber, name: &str) -> bool {
        self.numbers.contains(&number) || self.files.contains(&(number, name.to_owned()))
    }
}

pub struct StateStore {
    pub storage: Storage,
    local: PathBuf,
    /// Of this process.
    staging: PathBuf,
    /// The run is at its end.
    ending: AtomicBool,
    /// The run was asked to stop.
    stop: Arc<AtomicBool>,
    /// One thread at a time brings parts.
    bringing: Mutex<()>,
    /// By checkpoint that this run knows: its parts.
    uses: Mutex<BTreeMap<CheckpointNumber, BTreeSet<StateFileName>>>,
    /// What no manifest has yet.
    awaited: Mutex<Used>,
    /// Parts that are as they were written.
    whole: Mutex<BTreeSet<StateFileName>>,
    /// What the run goes on from was read.
    restored: AtomicBool,
    pub stats: CheckpointStats,
}

impl StateStore {
    pub fn open(job: &Job, process: usize, stop: Arc<AtomicBool>) -> Result<StateStore, Failure> {
        let local = job.state.local.clone();
        Ok(StateStore {
            storage: Storage::open(&job.state.path)?,
            staging: local.join(STAGING).join(process.to_string()),
            local,
            ending: AtomicBool::new(false),
            stop,
            bringing: Mutex::new(()),
            uses: Mutex::default(),
            awaited: Mutex::default(),
            whole: Mutex::default(),
            restored: AtomicBool::new(false),
            stats: CheckpointStats::default(),
        })
    }

    /// Removes what an earlier run left on this machine. Process 0 calls it while no other process has a plan yet.
    pub fn clear(&self) -> Result<(), Failure> {
        self.storage.local().map_or(Ok(()), |root| remove_dir(&root.join(UNFINISHED)))?;
        for left in std::fs::read_dir(self.local.join(LEDGER)).into_iter().flatten().flatten() {
            // It is only room on the disk: a worker that is there again begins with an empty directory anyway.
            let _ = std::fs::remove_dir_all(left.path());
        }
        remove_dir(&self.local.join(STAGING))
    }

    /// As any other process, which may be on a machine of its own: removes what it left there itself.
    pub fn clear_own(&self) -> Result<(), Failure> {
        remove_dir(&self.staging)
    }

    /// A start begins.
    pub fn begin(&self) {
        self.ending.store(false, Ordering::Relaxed);
        self.restored.store(false, Ordering::Relaxed);
    }

    /// From now on a store that is away is an error.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed)
    }

    /// A checkpoint may go on using parts of an earlier one.
    pub fn note_use(&self, number: CheckpointNumber, files: &[StateFile]) {
        let used = files.iter().map(StateFile::name).collect();
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).insert(number, used);
    }

    /// Says what may still become a part of a checkpoint.
    pub fn await_files(&self, files: Used) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// By those that are kept, by any that is to come, and by what has none yet. Drops what is known of others.
    pub fn used_by(&self, kept: &[CheckpointNumber], newest: CheckpointNumber) -> Used {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.retain(|number, _| kept.contains(number) || *number > newest);
        let mut used = self.awaited.lock().unwrap_or_else(PoisonError::into_inner).clone();
        used.files.extend(uses.values().flatten().cloned());
        let is_used = |(number, name): &StateFileName| used.has(*number, name);
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).retain(is_used);
        used
    }

    /// Where a worker of this process writes its parts of a checkpoint.
    pub fn written(&self, number: CheckpointNumber, worker: WorkerId) -> PathBuf {
        match self.storage.local() {
            Some(root) => root.join(CHECKPOINTS),
            None => self.staging.join("sent").join(worker.number().to_string()),
        }
        .join(number.to_string())
    }

    /// Where a worker of this process writes what is of no checkpoint yet; a file is moved from there to `written`.
    pub fn unfinished(&self, generation: Generation, worker: WorkerId) -> PathBuf {
        let dir = self.storage.local().unwrap_or(&self.staging).join(UNFINISHED);
        dir.join(generation.to_string()).join(worker.number().to_string())
    }

    /// Whoever writes a file has read what it goes on from, and so have all the others.
    pub fn forget_brought(&self) -> Result<(), Failure> {
        if self.restored.swap(true, Ordering::Relaxed) { Ok(()) } else { remove_dir(&self.brought()) }
    }

    /// A file was read once more.
    pub fn used(&self, file: &StateFile) {
        if self.storage.local().is_none() {
            // It is only room on the disk.
            let _ = std::fs::remove_file(self.brought().join(file.number.to_string()).join(&file.name));
        }
    }

    /// Sends a worker's new files to where everybody sees them.
    pub fn send(&self, number: CheckpointNumber, worker: WorkerId, files: &[StateFile]) -> Result<(), Failure> {
        let dir = self.written(number, worker);
        for file in files.iter().filter(|file| file.number == number) {
            let (name, path) = (object_name(number, &file.name), dir.join(&file.name));
            self.patiently(|| self.storage.upload(&name, &path))?;
            std::fs::remove_file(&path).map_err(|e| Failure::Running(format!("removing {}: {e}", path.display())))?;
        }
        remove_dir(&dir)
    }

    /// A file of a checkpoint, fetched if it is not local; and what is wrong with it if it is not as it was written.
    pub fn fetch(&self, file: &StateFile) -> Result<Result<PathBuf, String>, Failure> {
        let name = object_name(file.number, &file.name);
        if let Some(root) = self.storage.local() {
            let path = root.join(&name);
            if self.whole.lock().unwrap_or_else(PoisonError::into_inner).contains(&file.name()) {
                return Ok(Ok(path));
            }
            let found = whole(&path, file)?;
            if found.is_ok() {
                self.whole.lock().unwrap_or_else(PoisonError::into_inner).insert(file.name());
            }
            return Ok(found.map(|()| path).map_err(|why| format!("{}: {why}", self.storage.shown(&name))));
        }
        let _alone = self.bringing.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.brought().join(file.number.to_string());
        let path = dir.join(&file.name);
        if path.metadata().is_ok_and(|found| found.len() == file.bytes) {
            return Ok(Ok(path));
        }
        make_dir(&dir).map_err(|e| Failure::Running(format!("creating {}: {e}", dir.display())))?;
        let unfinished = dir.join(format!("{}.tmp", file.name));
        let is_there = self.storage.download(&name, file.bytes, &unfinished)?;
        let found = if is_there { whole(&unfinished, file)? } else { Err(GONE) };
        if let Err(why) = found {
            return Ok(Err(format!("{}: {why}", self.storage.shown(&name))));
        }
        let renamed = std::fs::rename(&unfinished, &path);
        renamed.map_err(|e| Failure::Running(format!("writing {}: {e}", path.display())))?;
        Ok(Ok(path))
    }

    fn brought(&self) -> PathBuf {
        self.staging.join("brought")
    }

    /// Tries until it is done. An object store that is away is no reason to end a run; a fault of a local disk is.
    pub fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Failure> {
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error @ Error::World { transient: true, .. }) => error,
                Err(error) => return Err(error.into()),
            };
            if self.is_ending() {
                return Err(Failure::Running(format!(
                    "{error}\n  the last checkpoint of this run is not written: the next start goes on from the one before"
                )));
            }
            self.stats.failed();
            tracing::warn!("no checkpoint meanwhile, the job goes on and tries again: {error}");
            let mut pause = PAUSE;
            while !pause.is_zero() && !self.is_ending() {
                std::thread::sleep(PAUSE_STEP);
                pause = pause.saturating_sub(PAUSE_STEP);
            }
        }
    }
}

pub fn object_name(number: CheckpointNumber, name: &str) -> String {
    format!("{CHECKPOINTS}/{number}/{name}")
}

const GONE: &str = "it is gone";

/// What is wrong with a file. A disk that does not read it is a fault of its own: the file may be as good as it was.
fn whole(path: &Path, file: &StateFile) -> Result<Result<(), &'static str>, Failure> {
    match files::measure(path) {
        Ok(found) if found == (file.bytes, file.xxh3) => Ok(Ok(())),
        Ok(_) => Ok(Err("it is not as it was written")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Err(GONE)),
        Err(e) => Err(Failure::Running(format!(
            "reading {}: {e}\n  hint: if this stays so, remove that file: the checkpoint before is used then",
            path.display()
        ))),
    }
}

fn remove_dir(dir: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::Running(format!("removing {}: {e}", dir.display())))
        }
        _ => Ok(()),
    }
}
