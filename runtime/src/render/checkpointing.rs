//! When the checkpoints of a run are taken, and what becomes of them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use headwater_clocks::Tick;

use super::shared::Shared;
use crate::base::failure::Failure;
use crate::base::id::WorkerId;
use crate::checkpoint::admissions::SavedLog;
use crate::checkpoint::in_progress::CheckpointInProgress;
use crate::checkpoint::threads::Committing;
use crate::coordinate::checkpointing::Checkpointing;
use crate::coordinate::merger::{CheckpointMerger, SideSaver};
use crate::plan::side::Side;

/// Worker 0 takes checkpoints. A job without any stream has none, nor has a replay: it reads all anew each time.
pub fn saving(shared: &Shared, worker: WorkerId) -> Result<Option<Rc<CheckpointMerger>>, Failure> {
    if worker != WorkerId::FIRST || !shared.opened.has_stream() || shared.catch.is_some() {
        return Ok(None);
    }
    let committing = Committing::start(shared.state.clone(), shared.starts.clone(), &shared.failures)?;
    let keep = shared.opened.job.state.admissions_keep;
    let admissions = keep.map(|keep| {
        let (plan, manifest) = (&shared.start.plan, shared.start.manifest());
        let published = plan.rows_from.iter().max().copied().filter(|upto| *upto > Tick::BEFORE_ALL);
        let t = manifest.and_then(|manifest| manifest.t_of_rows());
        SavedLog::go_on(manifest.and_then(|manifest| manifest.admissions.as_ref()), t, published, keep)
    });
    let (start, state) = (shared.start.clone(), shared.state.clone());
    Ok(Some(Rc::new(CheckpointMerger::new(start, shared.mode, state, committing, admissions))))
}

/// When a side's checkpoints are taken, and what becomes of them.
pub fn checkpointing(
    shared: &Shared,
    side: Side,
    merger: &Rc<CheckpointMerger>,
    in_progress: Rc<RefCell<CheckpointInProgress>>,
    workers: usize,
) -> Checkpointing {
    let every = Duration::from_micros(shared.opened.job.state.checkpoint_every.us().unsigned_abs());
    let saver = SideSaver::new(side, merger.clone(), in_progress);
    // What tables hold is read as a whole before any event is looked up, and which events are in force is known at the end.
    let within_history = !shared.opened.remembers_records();
    Checkpointing::new(every, shared.start.plan.checkpoints, Box::new(saver), workers, within_history)
}
