//! A backfill: for each row of a spine, what the rows of groups and views were at its time.
//!
//! ```text
//! spine      -> labels     keys and moments, parted by key                                        `spine`, `labels`
//! histories \
//! streams   --> events     planned, stamped and shaped as in a run; of keys that have a label,    `scan`, `admit`
//!                          parted by key                                                          `shards`
//! tables    -> lookups     before them, with all of their versions: events as they are seen at    `tables`, `lookups`
//!                          each tick
//! a shard    -> rows       labels and events side by side, in order of time                       `sweep`, operators' `probe`
//! what is made of rows     replayed: the job's own dataflow, and of its changes those that labels ask for  `replay`
//! rows       -> out        put back into the order of the spine, beside its own columns           `write`, `derive`
//! ```
//!
//! Several processes share the work (`workers`, `cluster::links`): each reads its part of the histories and streams, and has its part of the
//! shards, whose events it gets from all; process 0 plans, gets the rows of all, and writes them.
//!
//! Shards and rows beyond the budget lie in a file without a name (`spill`), so what is larger than memory works, and nothing is
//! left behind. No result depends on the number of threads or processes, on the budget, or on the order in which events are read.

mod admit;
mod as_key;
pub mod asked;
mod derive;
mod encoded;
mod labels;
mod lookups;
pub mod memory;
mod planned;
pub mod replay;
pub mod request;
mod runs;
mod scan;
pub mod scratch;
pub mod served;
mod shards;
mod spill;
mod spine;
mod sweep;
mod tables;
pub mod watch;
mod workers;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater_connectors::settings::Endpoint;
use headwater_connectors::table::{Source, TableWriter, Target};
use headwater_operators::keys;
use headwater_operators::probe::Enter;
use serde::{Deserialize, Serialize};

use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec, RowsId, SourceId};
use crate::catalog::open::open_for_events;
use crate::catalog::opened::Opened;
use crate::cluster::Cluster;
use crate::cluster::links::Untaken;
use crate::job::Job;
use labels::Labels;
use memory::Budget;
use planned::Planned;
use replay::Replay;
use replay::rows::{row_of_nothing, rows as rows_at};
use request::{Done, Known, Request};
use scan::Scan;
use served::KeptAdmissions;
use shards::{Parted, Storage};
use spill::Spill;
use spine::Spine;
use sweep::{GroupRows, Swept, are_of_block, sweep};
use watch::{Phase, Watch};
use workers::Workers;

/// Records of a shard, about: its keys, its order and its inputs lie near each other while it is worked out.
const SHARD_RECORDS: u64 = 32 << 10;

/// What is read stays as it is.
fn check_apart(job: &Job, request: &Request) -> Result<(), Failure> {
    let Target::Path(out) = &request.out else { return Ok(()) };
    let file = |path: &str| std::fs::canonicalize(path).ok();
    let is_spine = |spine: &String| spine == out || file(spine).is_some_and(|spine| file(out) == Some(spine));
    if matches!(&request.spine, Source::Path(spine) if is_spine(spine)) {
        return Err(Failure::Usage(format!("--out {out} is the spine: write training rows to another file")));
    }
    let to = Endpoint::of_file(&std::path::absolute(out).unwrap_or_default());
    match job.sources.iter().find(|source| source.reads(&to)) {
        Some(source) => Err(Failure::Usage(format!("--out {out} is a file that {} reads", source.describe()))),
        None => Ok(()),
    }
}

/// In so many shards keys are parted: of each there are about as many events as one puts in order at once, and each process has some.
fn shards(records: u64, processes: usize) -> usize {
    let shards = (records / SHARD_RECORDS).max(processes as u64);
    shards.next_power_of_two().clamp(1, keys::SHARDS) as usize
}

/// What each process opens. Process 0 alone writes rows, and looks for what was admitted late.
struct Opening {
    opened: Arc<Opened>,
    spine: Spine,
    out: Option<TableWriter>,
    kept: Option<KeptAdmissions>,
}

/// What came of reading, in one process.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    records: u64,
    /// By source and reason: of what is swept, and of what is replayed.
    dead_letters: Vec<((SourceId, String), u64)>,
    replayed: Vec<((SourceId, String), u64)>,
    unfit_sums: u64,
    failed_rows: u64,
    spilled: u64,
}

/// Works it out.
pub fn backfill(job: Job, request: &Request, watch: &Watch, stop: &AtomicBool) -> Result<Done, Failure> {
    check_apart(&job, request)?;
    let asked = asked::rows(&job, request.features.as_deref(), request.known)?;
    let spill = Spill::new(request.spill_dir(&job));
    let scratch = spill.dir().path();
    if request.spine.is_remote() || request.out.is_remote() {
        spill.dir().make()?;
    }
    let mut cluster = Cluster::connect(&request.cluster(), &job, &request.flags(), stop)?;
    let spine = |opened: &Opened| Spine::open(opened, &asked, request, scratch);
    let decide = |job: Job| {
        for warning in &job.warnings {
            tracing::warn!("{}: {}", job.places.show(warning.at), warning.message);
        }
        let kept = (request.known == Known::Served).then(|| KeptAdmissions::find(&job)).transpose()?;
        let opened = Arc::new(open_for_events(job, &IdVec::new())?);
        let spine = spine(&opened)?;
        let out = TableWriter::to(&request.out, spine.schema(), scratch)?.on_threads(request.workers);
        let planned = Planned::of(&opened, &asked)?;
        if request.known.enter() == Enter::Visible {
            planned.warn_of_lost_lateness(&opened);
        }
        Ok((Opening { opened, spine, out: Some(out), kept }, planned))
    };
    let follow = |job: Job, planned: &Planned| {
        let opened = Arc::new(planned.open(job)?);
        Ok(Opening { spine: spine(&opened)?, opened, out: None, kept: None })
    };
    let (Opening { opened, spine, out, kept }, planned) = cluster.agree(decide, follow, job)?;
    let workers = Workers::new(request.workers, stop, cluster.links()?);
    let budget = Budget::new(request.memory / 2);
    let work = Work { opened, spine, planned, kept, known: request.known, workers: &workers, watch };
    workers.told(work.all(out, work.storage(request, &budget, &spill)))
}

/// A backfill at work, on one of its processes.
struct Work<'w> {
    opened: Arc<Opened>,
    spine: Spine,
    planned: Planned,
    kept: Option<KeptAdmissions>,
    known: Known,
    workers: &'w Workers<'w>,
    watch: &'w Watch,
}

/// Events of groups, and changes of what is replayed: each of a group or a view.
#[derive(Default)]
struct Made<'a> {
    events: Vec<Swept<'a>>,
    changes: Vec<(RowsId, usize, Parted<'a>)>,
}

impl<'w> Work<'w> {
    /// Half of the memory is for what is kept. A quarter is for what threads collect, each for each group, and hold twice for a moment; the
    /// rest for a shard on each, whose events are there three times while they are put in order.
    fn storage<'a>(&self, request: &Request, budget: &'a Budget, spill: &'a Spill) -> Storage<'a>
    where
        'w: 'a,
    {
        let each = request.memory / 8 / request.workers.max(1) as u64;
        let groups = self.spine.groups.len().max(1);
        let chunk_bytes = (each / groups as u64).clamp(1 << 20, 32 << 20) as usize;
        Storage { budget, spill, links: self.workers.links(), chunk_bytes, shard_bytes: (each / 2) as usize }
    }

    /// `out`: of process 0.
    fn all(&self, out: Option<TableWriter>, storage: Storage) -> Result<Done, Failure> {
        let (of_replay, of_scan): (Vec<_>, Vec<_>) =
            self.spine.groups.iter().copied().partition(|(rows, _)| asked::is_replayed(&self.opened.job, *rows));
        let (scan, replay) = self.workers.together(|| {
            let replay = || Replay::open(&self.opened, &of_replay, self.known, &self.planned, storage.spill.dir());
            let replay = (!of_replay.is_empty()).then(replay).transpose()?;
            Ok((Scan::plan(&self.opened, &groups_of(&self.opened.job, &of_scan), self.known, &self.planned)?, replay))
        })?;
        let records = scan.records() + replay.as_ref().map_or(0, Replay::records);
        let labels = self.labels(shards(records, self.workers.process().1), storage)?;
        if let (Some(kept), Some(span)) = (&self.kept, labels.span()) {
            kept.warn_of_the_unknown(span, replay.as_ref().is_some_and(Replay::looks_back));
        }
        let (made, mut counts) = self.read(&labels, &scan, (replay.as_ref(), &of_replay), storage)?;
        let (rows, unfit_sums) = self.rows(&labels, made, storage)?;
        counts.unfit_sums += unfit_sums;
        counts.spilled = storage.spill.bytes();
        let mut done = Done { rows: labels.rows(), columns: self.spine.appended(), ..Done::default() };
        done.count(&self.workers.of_each(|| Ok(counts))?);
        let failed_rows = self.workers.first_at_last(|| self.write(&rows, out, labels.rows()))?;
        done.failed_rows += failed_rows.unwrap_or(0);
        Ok(done)
    }

    fn labels<'a>(&self, shards: usize, storage: Storage<'a>) -> Result<Labels<'a>, Failure> {
        self.watch.enter(Phase::Spine, self.spine.rows());
        let mut labels = None;
        let fingerprints = self.workers.of_each(|| {
            let read = Labels::read(&self.spine, shards, storage, (self.workers, self.watch))?;
            Ok(labels.insert(read).fingerprint())
        })?;
        match fingerprints.iter().position(|fingerprint| *fingerprint != fingerprints[0]) {
            Some(other) => Err(Failure::Usage(format!(
                "process {other} reads another spine than process 0: --spine must be the same everywhere"
            ))),
            None => Ok(labels.expect("what is told was read")),
        }
    }

    /// Reads what labels ask for. `replay`: of what is replayed, and what that is.
    fn read<'a>(
        &self,
        labels: &Labels,
        scan: &Scan,
        (replay, of_replay): (Option<&Replay>, &[(RowsId, usize)]),
        storage: Storage<'a>,
    ) -> Result<(Made<'a>, Counts), Failure> {
        let by = (self.workers, self.watch);
        let (events, read) = scan.read(labels, self.kept.as_ref(), storage, by)?;
        let dead_letters = read.dead_letters().into_iter().collect();
        let mut counts = Counts { records: read.records, dead_letters, ..Counts::default() };
        let mut made = Made { events, changes: vec![] };
        let Some(replay) = replay else { return Ok((made, counts)) };
        let told = match self.known {
            Known::Event => {
                let (caught, told) = replay.events(labels, storage, by)?;
                made.events.extend(Swept::all(&groups_of(&self.opened.job, of_replay), caught));
                told
            }
            Known::Arrival | Known::Served => {
                let (caught, told) = replay.changes(labels, self.kept.as_ref(), storage, by)?;
                made.changes.extend(of_replay.iter().zip(caught).map(|((rows, set), caught)| (*rows, *set, caught)));
                // In hindsight no row of the replay is asked for.
                (counts.unfit_sums, counts.failed_rows) = (told.unfit_sums, told.failed_rows);
                told
            }
        };
        counts.records += told.records;
        counts.replayed = told.dead_letters.into_iter().collect();
        Ok((made, counts))
    }

    /// Works out the rows of this process's labels; process 0 gets those of all. Returns how many sums did not fit, too.
    fn rows<'a>(
        &self,
        labels: &Labels,
        made: Made,
        storage: Storage<'a>,
    ) -> Result<(Vec<GroupRows<'a>>, u64), Failure> {
        let (by, groups) = ((self.workers, self.watch), &self.spine.groups);
        let all = labels.rows() * groups.len() as u64 / self.workers.process().1 as u64;
        self.watch.enter(Phase::Rows, Some(all));
        let of = |(channel, (id, _)): (usize, &(RowsId, usize))| {
            Ok(GroupRows::new(row_of_nothing(&self.opened, *id)?, labels.rows(), channel, storage))
        };
        let rows = groups.iter().enumerate().map(of).collect::<Result<Vec<_>, Failure>>()?;
        let of = |id: RowsId| &rows[groups.iter().position(|(rows, _)| *rows == id).expect("a group of the spine")];
        let work_out = || {
            let mut unfit_sums = 0;
            for swept in made.events {
                let to = of(swept.group.into());
                unfit_sums += sweep(&self.opened, (self.known.enter(), labels), swept, to, by)?;
            }
            for (id, set, changes) in made.changes {
                rows_at((labels.parted(set), &changes), of(id), by)?;
            }
            Ok(unfit_sums)
        };
        let take = |(_, channel): (usize, u32), message: Vec<u8>| {
            let rows = rows.get(channel as usize).ok_or(Untaken::Senseless)?;
            rows.parted.take(message, |rows, block| are_of_block(rows, block, labels.rows()))
        };
        let unfit_sums = self.workers.exchange(take, work_out)?;
        Ok((rows, unfit_sums))
    }

    /// Returns how many rows have a null since a derived column failed.
    fn write(&self, rows: &[GroupRows], out: Option<TableWriter>, total: u64) -> Result<u64, Failure> {
        let Some(mut out) = out else { return Ok(0) };
        let failed = write::write(&self.opened, (&self.spine, rows), &mut out, (self.workers, self.watch), total)?;
        out.finish()?;
        Ok(failed)
    }
}

/// Of groups and views, the groups.
fn groups_of(job: &Job, rows: &[(RowsId, usize)]) -> Vec<(GroupId, usize)> {
    rows.iter().filter_map(|(rows, set)| Some((job.owner(*rows).group()?, *set))).collect()
}

impl Done {
    /// Adds what each process has counted.
    fn count(&mut self, all: &[Counts]) {
        let (mut swept, mut replayed) = (BTreeMap::new(), BTreeMap::new());
        for counts in all {
            self.records += counts.records;
            self.unfit_sums += counts.unfit_sums;
            self.failed_rows += counts.failed_rows;
            self.spilled += counts.spilled;
            counts.dead_letters.iter().for_each(|(of, n)| *swept.entry(of).or_insert(0) += n);
            counts.replayed.iter().for_each(|(of, n)| *replayed.entry(of).or_insert(0) += n);
        }
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        let sources: BTreeSet<_> = swept.keys().chain(replayed.keys()).copied().collect();
        for of in sources {
            // What both have read is a dead letter once.
            let n = swept.get(of).max(replayed.get(of)).copied().unwrap_or(0);
            *reasons.entry(of.1.clone()).or_default() += n;
        }
        self.dead_letters = reasons.into_iter().collect();
    }
}
