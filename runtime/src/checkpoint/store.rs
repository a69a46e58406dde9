//! Where a job's state is kept: a local directory, or an object store with a local directory beside it.
//!
//! ```text
//! <state>/generations/<generation>.json              the starts: see `generations`
//! <state>/checkpoints/<number>/*.parquet             parts
//! <state>/checkpoints/<number>/manifest.json         created last: without it there is no checkpoint
//! <state>/lease.json                                 object stores: see `lease`
//! <local>/staging/<process>/                         object stores: parts on their way
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

use super::watched::Watched;
use super::{Manifest, Part, files};
use crate::failure::Failure;
use crate::job::Job;

pub const CHECKPOINTS: &str = "checkpoints";

/// Between two attempts. Each one asks an object store again and again for about a minute.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_STEP: Duration = Duration::from_millis(50);

pub struct StateStore {
    pub storage: Storage,
    /// Of all processes, and of this one.
    all_staging: PathBuf,
    staging: PathBuf,
    /// The run is at its end.
    ending: AtomicBool,
    /// The run was asked to stop.
    stop: Arc<AtomicBool>,
    /// One thread at a time brings parts.
    bringing: Mutex<()>,
    /// By checkpoint that this run knows: those in whose directories its parts lie.
    uses: Mutex<BTreeMap<u64, BTreeSet<u64>>>,
    /// Those whose parts are being written, or wait for their manifest.
    awaited: Mutex<BTreeSet<u64>>,
    pub watched: Watched,
}

impl StateStore {
    pub fn open(job: &Job, process: usize, stop: Arc<AtomicBool>) -> Result<StateStore, Failure> {
        let all_staging = job.state.local.join("staging");
        Ok(StateStore {
            storage: Storage::open(&job.state.path)?,
            staging: all_staging.join(process.to_string()),
            all_staging,
            ending: AtomicBool::new(false),
            stop,
            bringing: Mutex::new(()),
            uses: Mutex::default(),
            awaited: Mutex::default(),
            watched: Watched::default(),
        })
    }

    /// Removes what an earlier run left on its way. Process 0 calls it while no other process has a plan yet.
    pub fn clear_staging(&self) -> Result<(), Failure> {
        remove_dir(&self.all_staging)
    }

    /// From now on a store that is away is an error.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed)
    }

    /// A checkpoint may go on using parts of an earlier one.
    pub fn note_use(&self, manifest: &Manifest) {
        let used = manifest.parts.iter().map(|part| part.number).collect();
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).insert(manifest.number, used);
    }

    /// Says which parts may still become those of a checkpoint.
    pub fn await_parts(&self, numbers: BTreeSet<u64>) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    /// By those that are kept, by any that is to come, and by what has none yet. Drops what is known of others.
    pub fn used_by(&self, kept: &[u64], newest: u64) -> BTreeSet<u64> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.retain(|number, _| kept.contains(number) || *number > newest);
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        uses.values().flatten().chain(awaited.iter()).copied().collect()
    }

    /// Where a worker of this process writes its parts of a checkpoint.
    pub fn written(&self, number: u64, worker: u32) -> PathBuf {
        match self.storage.local() {
            Some(root) => root.join(CHECKPOINTS),
            None => self.staging.join("sent").join(worker.to_string()),
        }
        .join(number.to_string())
    }

    /// Sends a worker's parts to where everybody sees them.
    pub fn send(&self, number: u64, worker: u32, parts: &[Part]) -> Result<(), Failure> {
        // Whoever writes a part has read what it goes on from. Others may remove it at the same time.
        let _ = std::fs::remove_dir_all(self.brought());
        let dir = self.written(number, worker);
        for part in parts {
            let (name, path) = (part_name(number, &part.name), dir.join(&part.name));
            self.patiently(|| self.storage.upload(&name, &path))?;
            std::fs::remove_file(&path).map_err(|e| Failure::Running(format!("removing {}: {e}", path.display())))?;
        }
        remove_dir(&dir)
    }

    /// A part as a local file, and what is wrong with it if it is not as it was written.
    pub fn part(&self, part: &Part) -> Result<Result<PathBuf, String>, Failure> {
        let name = part_name(part.number, &part.name);
        if let Some(root) = self.storage.local() {
            let path = root.join(&name);
            return Ok(whole(&path, part)
                .map(|()| path)
                .map_err(|why| format!("{}: {why}", self.storage.shown(&name))));
        }
        let _alone = self.bringing.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.brought().join(part.number.to_string());
        let path = dir.join(&part.name);
        if path.metadata().is_ok_and(|found| found.len() == part.bytes) {
            return Ok(Ok(path));
        }
        make_dir(&dir).map_err(|e| Failure::Running(format!("creating {}: {e}", dir.display())))?;
        let unfinished = dir.join(format!("{}.tmp", part.name));
        match self.storage.download(&name, part.bytes, &unfinished) {
            Err(e @ Error::World { transient: true, .. }) => return Err(e.into()),
            Err(e) => return Ok(Err(e.to_string())),
            Ok(()) => {}
        }
        if let Err(why) = whole(&unfinished, part) {
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
            self.watched.failed();
            tracing::warn!("no checkpoint meanwhile, the job goes on and tries again: {error}");
            let mut pause = PAUSE;
            while !pause.is_zero() && !self.is_ending() {
                std::thread::sleep(PAUSE_STEP);
                pause = pause.saturating_sub(PAUSE_STEP);
            }
        }
    }
}

pub fn part_name(number: u64, part: &str) -> String {
    format!("{CHECKPOINTS}/{number}/{part}")
}

fn whole(path: &Path, part: &Part) -> Result<(), String> {
    let found = files::measure(path).map_err(|e| e.to_string())?;
    if found == (part.bytes, part.xxh3) { Ok(()) } else { Err("it is not as it was written".to_owned()) }
}

fn remove_dir(dir: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::Running(format!("removing {}: {e}", dir.display())))
        }
        _ => Ok(()),
    }
}
