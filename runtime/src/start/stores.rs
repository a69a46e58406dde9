//! The stores of a run: taken over from the start before, then opened for each worker.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater_connectors::sink::{Claim, Claimed, GroupShape, HeldStore, JobRows, Store, StoreConfig};

use crate::base::failure::Failure;
use crate::base::id::{Generation, Id, SinkId};
use crate::catalog::opened::Opened;
use crate::job::{Job, Sink};
use crate::plan::Plan;

/// The shapes of a job's groups, and behind them those of its views.
pub fn shapes(opened: &Opened) -> Vec<GroupShape> {
    opened.job.all_rows().map(|rows| opened.shape(rows).clone()).collect()
}

/// Takes a store over. `generation`: of this start of the job; `held`: the store, if this process has it open.
pub fn claim(
    (job, sink, store): (&Job, &Sink, &dyn StoreConfig),
    (groups, meaning): (&[GroupShape], i64),
    generation: Generation,
    held: Option<&Arc<dyn HeldStore>>,
) -> Result<Claimed, Failure> {
    let groups_of_sink: Vec<usize> = sink.rows.iter().map(|group| group.index()).collect();
    let claim = Claim { groups: &groups_of_sink, state_generation: generation.number().checked_sub(1), meaning };
    Ok(match held {
        Some(held) => held.claim(&claim)?,
        None => store.claim(&JobRows { job: &job.name, groups }, &claim)?,
    })
}

/// Opens the store of a sink for a worker.
pub fn open_store(
    (job, groups): (&Job, &[GroupShape]),
    plan: &Plan,
    held: Option<&Arc<dyn HeldStore>>,
    sink: SinkId,
    stop: &Arc<AtomicBool>,
) -> Result<Box<dyn Store>, Failure> {
    if let Some(held) = held {
        return Ok(held.store());
    }
    let store = job.sinks[sink].to.store().unwrap_or_else(|| panic!("{sink:?} takes no rows"));
    Ok(store.open(&JobRows { job: &job.name, groups }, plan.generations[sink], stop.clone())?)
}
