//! What a run admitted late, by its newest checkpoint: so that a backfill finds what was served, and not only what could have been.
//!
//! ```text
//! the checkpoint's log   (source, partition, offset) -> tick      of a source whose records are what they were
//! its positions          what lies past them was not read by its `T`: it counts from the tick after that at the earliest
//! a record of the scan   V = the later of its own tick and that one
//! ```
//!
//! Records are known again by their offsets. A history has these where the seam is by offset; of another one it cannot be told any more
//! which of its rows were late.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater_clocks::{Offset, Span, Tick};
use headwater_connectors::storage::make_dir;

use super::workers::Workers;
use crate::base::failure::Failure;
use crate::base::id::{IdVec, ScanId};
use crate::checkpoint::admissions::{self, Admission, SavedLog};
use crate::checkpoint::contribution::StateFile;
use crate::checkpoint::files::{failed, measure};
use crate::checkpoint::store::{StateStore, object_name};
use crate::checkpoint::{manifest, state_file};
use crate::job::{Job, SeamBy, Source};
use crate::plan::Plan;
use crate::plan::position::Position;
use crate::plan::replay::LateRecords;
use crate::plan::scan::Scan;

/// How often the newest checkpoint is looked for, where a running job removes one while it is read.
const ATTEMPTS: usize = 3;

/// What the newest checkpoint of a job says of admissions.
pub struct KeptAdmissions {
    /// Every tick up to it is in the checkpoint.
    pub t: Tick,
    keep: Span,
    kept: SavedLog,
    files: Vec<StateFile>,
    /// By source (see `source_hash`) and partition: how far it was read by then.
    read_to: BTreeMap<u64, BTreeMap<i32, Offset>>,
}

impl KeptAdmissions {
    /// Looks for them. A job that keeps none, or has not run yet, is an error.
    pub fn find(job: &Job) -> Result<KeptAdmissions, Failure> {
        let Some(keep) = job.state.admissions_keep else {
            return Err(Failure::Usage(format!(
                "{}: --known served needs the ticks at which a run admitted records late: set `admissions = true` in [state], and what \
                 is served from then on is known (`--known arrival` is the same but for those)",
                job.places.show(job.state.at)
            )));
        };
        let none = || format!("--known served: {} has no checkpoint of a run that keeps admissions", job.state.path);
        let newest = manifest::newest(&StateStore::open(job, 0, Arc::default())?)?;
        let Some((t, found)) = newest.and_then(|found| Some((found.t_of_rows()?, found))) else {
            return Err(Failure::Usage(none() + ": run the job first"));
        };
        let Some(kept) = found.admissions else { return Err(Failure::Usage(none() + " yet: start it again")) };
        let read_to = read_to(&found.plan, &found.positions);
        let files = found.files.into_iter().filter(|file| !file.has_owner()).collect();
        Ok(KeptAdmissions { t, keep, kept, files, read_to })
    }

    /// Reads those that matter to labels of a span of time, by the scans of a plan.
    fn read(&self, job: &Job, plan: &Plan, (first, last): (Tick, Tick)) -> Result<IdVec<ScanId, LateRecords>, Failure> {
        let sources: BTreeSet<u64> = plan.scans.iter().map(admissions::source_hash).collect();
        let matters = |a: &Admission| sources.contains(&a.source) && a.tick > first && a.visible <= last;
        let store = StateStore::open(job, 0, Arc::default())?;
        let mut all = read_all(&store, &self.files, &job.state.local, &matters);
        for _ in 1..ATTEMPTS {
            if all.is_ok() {
                break;
            }
            // A running job may have taken other checkpoints meanwhile, and removed this one.
            all = read_all(&store, &KeptAdmissions::find(job)?.files, &job.state.local, &matters);
        }
        let all = all?;
        let next = self.t + job.tick;
        let of_scan = |scan: &Scan| {
            let source = admissions::source_hash(scan);
            let mut by_partition: BTreeMap<i32, Vec<(Offset, Tick)>> = BTreeMap::new();
            for admission in all.iter().filter(|admission| admission.source == source) {
                by_partition.entry(admission.partition).or_default().push((admission.offset, admission.tick));
            }
            by_partition.values_mut().for_each(|of_partition| of_partition.sort_unstable());
            warn_of_the_lost(&job.sources[scan.source], scan, &by_partition);
            LateRecords { by_partition, unread: self.read_to.get(&source).cloned().map(|read| (read, next)) }
        };
        Ok(plan.scans.iter().map(of_scan).collect())
    }

    /// Says what of a span of time cannot be told. `looks_back`: whether some rows keep what their events met before it.
    pub fn warn_of_the_unknown(&self, (first, last): (Tick, Tick), looks_back: bool) {
        let is_asked = |upto: &Tick| first <= *upto || looks_back && self.kept.unknown_upto.is_some();
        if let Some(upto) = self.unknown_upto().filter(is_asked) {
            let carried = match looks_back {
                true => ", and so is what events met by then in the rows of other groups, which later rows keep",
                false => "",
            };
            tracing::warn!(
                "up to {upto} it is not known which records were admitted late: rows there are as known at arrival{carried}"
            );
        }
        if last > self.t {
            let t = self.t;
            tracing::warn!("the newest checkpoint is of {t}: rows after it are as known at arrival");
        }
    }

    /// Of rows up to there not every admission is known.
    pub fn unknown_upto(&self) -> Option<Tick> {
        self.kept.unknown_upto.max(Some(self.t - self.keep))
    }

    /// Spans of ticks at which readers saw the rows of a run that was killed: after the first, up to the second.
    pub fn replayed(&self) -> &[(Tick, Tick)] {
        &self.kept.replayed
    }
}

fn read_to(plan: &Plan, positions: &[Position]) -> BTreeMap<u64, BTreeMap<i32, Offset>> {
    let mut all: BTreeMap<u64, BTreeMap<i32, Offset>> = BTreeMap::new();
    for position in positions {
        let of_source = all.entry(admissions::source_hash(&plan.scans[position.scan])).or_default();
        let known = of_source.entry(position.partition).or_insert(position.offset);
        *known = position.offset.max(*known);
    }
    all
}

/// What is late in the history of a source whose seam does not know its offsets.
fn warn_of_the_lost(source: &Source, scan: &Scan, late: &BTreeMap<i32, Vec<(Offset, Tick)>>) {
    let starts = scan.partitions.iter().map(|partition| (partition.partition, partition.start));
    let starts: BTreeMap<i32, Offset> = starts.collect();
    let in_history = |(partition, all): (&i32, &Vec<(Offset, Tick)>)| {
        starts.get(partition).map_or(all.len(), |start| all.partition_point(|(offset, _)| offset < start))
    };
    let lost: usize = late.iter().map(in_history).sum();
    if lost > 0 && !matches!(source.seam.by, SeamBy::Offset { .. }) {
        tracing::warn!(
            source = source.name,
            "{lost} records that were admitted late are in the history now, which does not say their offsets: they count from their own \
             ticks on (a seam `by = \"offset\"` would tell them)"
        );
    }
}

fn read_all(
    store: &StateStore,
    files: &[StateFile],
    scratch: &Path,
    matters: &dyn Fn(&Admission) -> bool,
) -> Result<Vec<Admission>, Failure> {
    let mut all = vec![];
    for file in files {
        let brought = bring(store, file, scratch)?;
        let path = brought.path();
        if measure(path).map_err(|e| failed("reading", path, e))? != (file.bytes, file.xxh3) {
            return Err(failed("reading", path, "it is not as it was written"));
        }
        for batch in state_file::read(path).map_err(|e| failed("reading", path, e))? {
            let batch = batch.map_err(|e| failed("reading", path, e))?;
            let admissions = admissions::read(&batch);
            let admissions = admissions.ok_or_else(|| failed("reading", path, "it is no log of admissions"))?;
            all.extend(admissions.into_iter().filter(matters));
        }
    }
    Ok(all)
}

/// A file of the state, where it can be read.
enum Brought {
    InPlace(PathBuf),
    /// Removed once it was read.
    Copy(PathBuf),
}

impl Brought {
    fn path(&self) -> &Path {
        let (Brought::InPlace(path) | Brought::Copy(path)) = self;
        path
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        if let Brought::Copy(path) = self {
            // It is only room on the disk.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bring(store: &StateStore, file: &StateFile, scratch: &Path) -> Result<Brought, Failure> {
    let name = object_name(file.number, &file.name);
    if let Some(root) = store.storage.local() {
        return Ok(Brought::InPlace(root.join(name)));
    }
    make_dir(scratch).map_err(|e| failed("creating", scratch, e))?;
    let copy = Brought::Copy(scratch.join(format!("admissions-{}-{}", std::process::id(), file.name)));
    match store.storage.download(&name, file.bytes, copy.path())? {
        true => Ok(copy),
        false => Err(failed("reading", copy.path(), "it is gone")),
    }
}

/// At which ticks records of some scans were admitted late.
pub struct Served(pub IdVec<ScanId, Arc<LateRecords>>);

impl Served {
    /// Those of a plan's scans that matter to labels of a span of time. `kept`: by what process 0 finds them; so all have the same, though
    /// a running job takes checkpoints meanwhile.
    pub fn of(
        kept: Option<&KeptAdmissions>,
        (job, plan): (&Job, &Plan),
        span: (Tick, Tick),
        workers: &Workers,
    ) -> Result<Served, Failure> {
        let read = || match kept {
            Some(kept) => kept.read(job, plan, span),
            None => Ok(plan.scans.iter().map(|_| LateRecords::default()).collect()),
        };
        let late: IdVec<ScanId, LateRecords> = workers.of_first(read)?;
        Ok(Served(late.into_iter().map(Arc::new).collect()))
    }

    /// The tick from which on a record counted, if it was read too late for its own.
    pub fn tick(&self, scan: ScanId, at: (i32, Offset)) -> Option<Tick> {
        self.0[scan].tick(at)
    }
}
