//! A backfill: for each row of a spine, what the groups' rows were at its time.
//!
//! ```text
//! spine      -> labels     keys and moments, parted by key                                        `spine`, `labels`
//! histories \
//! streams   --> events     planned, stamped and shaped as in a run; of keys that have a label,    `scan`, `admit`
//!                          parted by key                                                          `shards`
//! tables    -> lookups     before them, with all of their versions: events as they are seen at    `tables`, `lookups`
//!                          each tick
//! a shard    -> rows       labels and events side by side, in order of time                       `sweep`, operators' `probe`
//! rows       -> out        put back into the order of the spine, beside its own columns           `write`, `derive`
//! ```
//!
//! Shards and rows beyond the budget lie in a file without a name (`spill`), so what is larger than memory works, and nothing is
//! left behind. No result depends on the number of threads, on the budget, or on the order in which events are read.

mod admit;
mod as_key;
mod asked;
mod derive;
mod labels;
mod lookups;
pub mod memory;
pub mod request;
mod runs;
mod scan;
pub mod served;
mod shards;
mod spill;
mod spine;
mod sweep;
mod tables;
pub mod watch;
mod workers;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater_clocks::WallClock;
use headwater_connectors::settings::Endpoint;
use headwater_connectors::table::{Source, TableWriter, Target};

use crate::base::failure::Failure;
use crate::catalog::open::open_for_events;
use crate::job::Job;
use labels::Labels;
use memory::Budget;
use request::{Done, Known, Request};
use scan::Scan;
use served::KeptAdmissions;
use shards::Storage;
use spill::Spill;
use spine::Spine;
use watch::{Phase, Watch};
use workers::Workers;

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

/// Works it out.
pub fn backfill(job: Job, request: &Request, watch: &Watch, stop: &AtomicBool) -> Result<Done, Failure> {
    check_apart(&job, request)?;
    let groups = asked::groups(&job, request.features.as_deref())?;
    for warning in &job.warnings {
        tracing::warn!("{}: {}", job.places.show(warning.at), warning.message);
    }
    let kept = (request.known == Known::Served).then(|| KeptAdmissions::find(&job)).transpose()?;
    let scratch = request.spill.clone().unwrap_or_else(|| job.state.local.join("backfill"));
    let spill = Spill::new(&scratch);
    if request.spine.is_remote() || request.out.is_remote() {
        spill.make_dir()?;
    }
    let opened = Arc::new(open_for_events(job)?);
    let workers = Workers::new(request.workers, stop);
    let spine = Spine::open(&opened, &groups, request, &scratch)?;
    let mut out = TableWriter::to(&request.out, spine.schema(), &scratch)?.on_threads(request.workers);
    let budget = Budget::new(request.memory / 2);
    let storage = storage(request, groups.len(), &budget, &spill);
    let scan = Scan::plan(&opened, &groups, request.known, WallClock::now())?;
    watch.enter(Phase::Spine, spine.rows());
    let labels = Labels::read(&spine, scan.shards(), storage, (&workers, watch))?;
    let (events, read) = scan.read(&spine, &labels, kept.as_ref(), storage, (&workers, watch))?;
    let mut done =
        Done { rows: labels.rows(), dead_letters: read.dead_letters(), records: read.records, ..Done::default() };
    let rows = sweep::sweep(&opened, (&spine, &labels), events, storage, (&workers, watch))?;
    done.unfit_sums = rows.unfit_sums;
    done.columns = spine.appended();
    done.failed_rows = write::write(&opened, (&spine, &rows), &mut out, (&workers, watch), labels.rows())?;
    out.finish()?;
    done.spilled = spill.bytes();
    Ok(done)
}
