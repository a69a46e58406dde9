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
//! Shards and rows beyond the budget lie in a file without a name (`spill`), so what is larger than memory works, and nothing is
//! left behind. No result depends on the number of threads, on the budget, or on the order in which events are read.

mod admit;
mod as_key;
pub mod asked;
mod derive;
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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater_connectors::settings::Endpoint;
use headwater_connectors::table::{Source, TableWriter, Target};
use headwater_operators::keys;
use headwater_operators::probe::Enter;

use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec, RowsId, SourceId};
use crate::catalog::open::open_for_events;
use crate::job::Job;
use labels::Labels;
use memory::Budget;
use planned::Planned;
use replay::Replay;
use replay::rows::{row_of_nothing, rows as rows_at};
use request::{Done, Known, Request};
use scan::Scan;
use served::KeptAdmissions;
use shards::Storage;
use spill::Spill;
use spine::Spine;
use sweep::{GroupRows, Swept, sweep};
use watch::{Phase, Watch};
use workers::Workers;

/// Records of a shard, about: its keys, its order and its inputs lie near each other while it is worked out.
const SHARD_RECORDS: u64 = 32 << 10;

/// Half of the memory is for what is kept. A quarter is for what threads collect, each for each group, and hold twice for a moment; the
/// rest for a shard on each, whose events are there three times while they are put in order.
fn storage<'a>(request: &Request, groups: usize, budget: &'a Budget, spill: &'a Spill) -> Storage<'a> {
    let each = request.memory / 8 / request.workers.max(1) as u64;
    let chunk_bytes = (each / groups.max(1) as u64).clamp(1 << 20, 32 << 20) as usize;
    Storage { budget, spill, chunk_bytes, shard_bytes: (each / 2) as usize }
}

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

/// In so many shards keys are parted: of each there are about as many events as one puts in order at once.
fn shards(records: u64) -> usize {
    (records / SHARD_RECORDS).next_power_of_two().clamp(1, keys::SHARDS) as usize
}

/// Works it out.
pub fn backfill(job: Job, request: &Request, watch: &Watch, stop: &AtomicBool) -> Result<Done, Failure> {
    check_apart(&job, request)?;
    let (asked, known) = (asked::rows(&job, request.features.as_deref(), request.known)?, request.known);
    for warning in &job.warnings {
        tracing::warn!("{}: {}", job.places.show(warning.at), warning.message);
    }
    let kept = (known == Known::Served).then(|| KeptAdmissions::find(&job)).transpose()?;
    let scratch = request.spill.clone().unwrap_or_else(|| job.state.local.join("backfill"));
    let spill = Spill::new(&scratch);
    if request.spine.is_remote() || request.out.is_remote() {
        spill.make_dir()?;
    }
    let opened = Arc::new(open_for_events(job, &IdVec::new())?);
    let workers = Workers::new(request.workers, stop);
    let spine = Spine::open(&opened, &asked, request, &scratch)?;
    let mut out = TableWriter::to(&request.out, spine.schema(), &scratch)?.on_threads(request.workers);
    let budget = Budget::new(request.memory / 2);
    let storage = storage(request, asked.len(), &budget, &spill);
    let planned = Planned::of(&opened, &asked)?;
    if known.enter() == Enter::Visible {
        planned.warn_of_lost_lateness(&opened);
    }
    let (of_replay, of_scan): (Vec<_>, Vec<_>) =
        spine.groups.iter().copied().partition(|(rows, _)| asked::is_replayed(&opened.job, *rows));
    let scan = Scan::plan(&opened, &groups_of(&opened.job, &of_scan), known, &planned)?;
    let replay = || Replay::open(&opened, &of_replay, known, &planned, &scratch);
    let replay = (!of_replay.is_empty()).then(replay).transpose()?;
    let records = scan.records() + replay.as_ref().map_or(0, Replay::records);
    watch.enter(Phase::Spine, spine.rows());
    let labels = Labels::read(&spine, shards(records), storage, (&workers, watch))?;
    if let (Some(kept), Some(span)) = (&kept, labels.span()) {
        kept.warn_of_the_unknown(span, replay.as_ref().is_some_and(Replay::looks_back));
    }
    let (mut events, read) = scan.read(&labels, kept.as_ref(), storage, (&workers, watch))?;
    let mut done = Done { rows: labels.rows(), columns: spine.appended(), records: read.records, ..Done::default() };
    let (mut dead_letters, mut changes) = (read.dead_letters(), vec![]);
    if let Some(replay) = &replay {
        let told = match known {
            Known::Event => {
                let (caught, told) = replay.events(&labels, storage, (&workers, watch))?;
                events.extend(Swept::all(&groups_of(&opened.job, &of_replay), caught));
                told
            }
            Known::Arrival | Known::Served => {
                let (caught, told) = replay.changes(&labels, kept.as_ref(), storage, (&workers, watch))?;
                changes = caught;
                // In hindsight no row of the replay is asked for.
                (done.unfit_sums, done.failed_rows) = (told.unfit_sums, told.failed_rows);
                told
            }
        };
        done.records += told.records;
        for (of, n) in told.dead_letters {
            // What both have read is a dead letter once.
            let of_both = dead_letters.entry(of).or_default();
            *of_both = n.max(*of_both);
        }
    }
    watch.enter(Phase::Rows, Some(labels.rows() * spine.groups.len() as u64));
    let (mut rows, unfit_sums) = sweep(&opened, (known.enter(), &labels), events, storage, (&workers, watch))?;
    for ((id, set), changes) in of_replay.iter().zip(changes) {
        let of_labels = (labels.parted(*set), changes);
        let nothing = row_of_nothing(&opened, *id)?;
        rows.insert(*id, rows_at(of_labels, nothing, labels.rows(), (&workers, watch))?);
    }
    let rows: Vec<GroupRows> = spine.groups.iter().filter_map(|(id, _)| rows.remove(id)).collect();
    done.unfit_sums += unfit_sums;
    done.dead_letters = by_reason(&dead_letters);
    done.failed_rows += write::write(&opened, (&spine, &rows), &mut out, (&workers, watch), labels.rows())?;
    out.finish()?;
    done.spilled = spill.bytes();
    Ok(done)
}

/// Of groups and views, the groups.
fn groups_of(job: &Job, rows: &[(RowsId, usize)]) -> Vec<(GroupId, usize)> {
    rows.iter().filter_map(|(rows, set)| Some((job.owner(*rows).group()?, *set))).collect()
}

/// Whatever their source.
fn by_reason(dead_letters: &BTreeMap<(SourceId, String), u64>) -> Vec<(String, u64)> {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    dead_letters.iter().for_each(|((_, reason), n)| *reasons.entry(reason.clone()).or_default() += n);
    reasons.into_iter().collect()
}
