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

use crate::base::failure::Failure;
use crate::base::id::{IdVec, ScanId};
use crate::checkpoint::admissions::{self, Admission, Kept};
use crate::checkpoint::contribution::StateFile;
use crate::checkpoint::files::{failed, measure};
use crate::checkpoint::store::{StateStore, object_name};
use crate::checkpoint::{manifest, state_file};
use crate::job::{Job, SeamBy, Source};
use crate::plan::Plan;
use crate::plan::position::Position;
use crate::plan::scan::Scan;

/// How often the newest checkpoint is looked for, where a running job removes one while it is read.
const ATTEMPTS: usize = 3;

/// What the newest checkpoint of a job says of admissions.
pub struct KeptAdmissions {
    /// Every tick up to it is in the checkpoint.
    pub t: Tick,
    keep: Span,
    kept: Kept,
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
        let files = found.files.into_iter().filter(|file| !file.has_group()).collect();
        Ok(KeptAdmissions { t, keep, kept, files, read_to })
    }

    /// Reads those that matter to labels of a span of time, by the scans of a plan.
    pub fn read(&self, job: &Job, plan: &Plan, (first, last): (Tick, Tick)) -> Result<Served, Failure> {
        self.warn_of_the_unknown((first, last));
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
        let mut by_scan: IdVec<ScanId, BTreeMap<i32, Vec<(Offset, Tick)>>> =
            IdVec::filled(BTreeMap::new(), plan.scans.len());
        for (id, scan) in plan.scans.pairs() {
            let source = admissions::source_hash(scan);
            for admission in all.iter().filter(|admission| admission.source == source) {
                by_scan[id].entry(admission.partition).or_default().push((admission.offset, admission.tick));
            }
            by_scan[id].values_mut().for_each(|of_partition| of_partition.sort_unstable());
            warn_of_the_lost(&job.sources[scan.source], scan, &by_scan[id]);
        }
        let read_to = plan.scans.iter().map(|scan| self.read_to.get(&admissions::source_hash(scan)).cloned()).collect();
        Ok(Served { by_scan, read_to, next: self.t + job.tick() })
    }

    /// What of a span of time cannot be told.
    fn warn_of_the_unknown(&self, (first, last): (Tick, Tick)) {
        if let Some(upto) = self.unknown_upto().filter(|upto| first <= *upto) {
            tracing::warn!(
                "up to {upto} it is not known which records were admitted late: rows there are as known at arrival"
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
pub struct Served {
    /// By scan and partition, in the order of offsets.
    by_scan: IdVec<ScanId, BTreeMap<i32, Vec<(Offset, Tick)>>>,
    /// How far each partition was read by the checkpoint, and the first tick that may have more. `None`: it did not have the source.
    read_to: IdVec<ScanId, Option<BTreeMap<i32, Offset>>>,
    next: Tick,
}

impl Served {
    /// The tick from which on a record counted, if it was read too late for its own.
    pub fn tick(&self, scan: ScanId, (partition, offset): (i32, Offset)) -> Option<Tick> {
        // A partition that it did not have has come since.
        let is_unread = |read: &BTreeMap<i32, Offset>| read.get(&partition).is_none_or(|read| offset >= *read);
        if self.read_to[scan].as_ref().is_some_and(is_unread) {
            return Some(self.next);
        }
        let of_partition = self.by_scan[scan].get(&partition)?;
        let at = of_partition.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        Some(of_partition[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn what_was_late_and_what_was_not_read_yet() {
        let (at, tick) = (Offset::at, Tick::from_us);
        let late = BTreeMap::from([(0, vec![(at(3), tick(70)), (at(8), tick(90))])]);
        let served = Served {
            by_scan: IdVec::from(vec![late, BTreeMap::new()]),
            read_to: IdVec::from(vec![Some(BTreeMap::from([(0, at(10))])), None]),
            next: tick(110),
        };
        for (scan, partition, offset, expected) in [
            (0, 0, 3, Some(70)),
            (0, 0, 4, None),
            (0, 0, 8, Some(90)),
            (0, 0, 9, None),
            (0, 0, 10, Some(110)),
            (0, 1, 0, Some(110)),
            (1, 0, 10, None),
        ] {
            let found = served.tick(ScanId::at(scan), (partition, at(offset)));
            assert_eq!(found, expected.map(tick), "{scan} {partition} {offset}");
        }
    }
}
