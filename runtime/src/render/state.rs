//! What a worker keeps for its groups: filled from the checkpoint that the run goes on from, written to the next ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use headwater_operators::group::{Outputs, State};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::keys;
use headwater_operators::ledger::SegmentError;
use headwater_operators::limits::Limits;
use headwater_operators::operator::Save;

use super::shared::Shared;
use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec, PartId};
use crate::catalog::parts::Part;
use crate::checkpoint::journal::GroupJournal;
use crate::checkpoint::local::Local;
use crate::checkpoint::store::LEDGER;
use crate::checkpoint::threads::Committing;
use crate::checkpoint::{self, generations};
use crate::coordinate::checkpointing::Checkpointing;
use crate::coordinate::sides::{SideSaver, Sides};
use crate::plan::mode::Mode;
use crate::plan::side::Side;
use crate::sink::segments::SegmentFiles;

/// Bytes of the ledgers of one worker that may stay in memory.
const LEDGER_BYTES_MAX: usize = 64 << 20;

/// What a worker keeps for each group.
pub fn states(
    shared: &Shared,
    side: Side,
    journals: &IdVec<GroupId, GroupJournal>,
    (index, peers): (usize, usize),
) -> Result<IdVec<GroupId, State>, Failure> {
    let job = &shared.opened.job;
    let mut states = IdVec::new();
    let of_worker = match side {
        Side::Shown => format!("worker-{index}"),
        Side::Beside => format!("worker-{index}-beside"),
    };
    for (id, group) in job.groups.pairs() {
        let open = &shared.opened.groups[id];
        let sinks = || job.sinks.iter().filter(|s| side == Side::Shown && s.groups.contains(&id));
        let outputs = Outputs {
            changes: sinks().any(|s| s.to.lines().is_some()),
            rows_from: sinks().any(|s| s.to.store().is_some()).then_some(shared.start.plan.rows_from[id]),
        };
        let plan = shared.parts[side as usize].plan(&shared.opened, id);
        let dir = job.state.local.join(LEDGER).join(&of_worker).join(&group.name);
        let segments = SegmentFiles::create(&dir)
            .map_err(|e| Failure::Running(format!("creating the ledger's directory {}: {e}", dir.display())))?;
        let codec =
            KeyCodec::new(&open.key_types).map_err(|e| Failure::Running(format!("keys of {}: {e}", group.name)))?;
        let limits = Limits::with_ledger_bytes(LEDGER_BYTES_MAX / job.groups.len());
        let mut state = State::new(&plan, codec, open.shape.schema.clone(), outputs, Box::new(segments), limits);
        if side == Side::Beside {
            state.hide();
        }
        if shared.start.plan.told_anew {
            state.tell_anew();
        }
        if shared.mode == Mode::Follow {
            state.enter_later(job.tick_us);
        }
        if shared.opened.has_stream() {
            state.keep_journal(Box::new(journals[id].clone()));
        }
        restore(shared, (id, side), (&mut state, &journals[id]), (index, peers))?;
        if shared.start.plan.is_stored {
            state.spare_image();
        }
        states.push(state);
    }
    Ok(states)
}

/// Fills a group's state with what it held at the checkpoint that the run goes on from.
fn restore(
    shared: &Shared,
    (group, side): (GroupId, Side),
    (state, journal): (&mut State, &GroupJournal),
    (index, peers): (usize, usize),
) -> Result<(), Failure> {
    let plan = &shared.start.plan;
    let Some(manifest) = shared.start.manifest() else { return Ok(()) };
    let resumed = plan.resumed(group, side).unwrap_or_else(|| vec![None; plan.groups[group].parts.len()]);
    let failed = |e: SegmentError| Failure::Running(e.to_string());
    // Beside the rows nothing was published.
    let floor = plan.floor.filter(|_| side == Side::Shown);
    state.resume(floor, &resumed, plan.groups[group].renewed).map_err(failed)?;
    let Some(saved) = plan.groups[group].saved else { return Ok(()) };
    let owns = |key: &[u8]| keys::owner(keys::hash(key), peers) == index as u64;
    checkpoint::state::read(&shared.state, manifest, saved, (state, journal), owns)?;
    let saved_at = plan.done(plan.groups[group].first()).or(manifest.t).filter(|_| plan.side_of(group) == side);
    if let Some((t, horizon)) = saved_at.zip(plan.horizon(group, &shared.start.horizons())) {
        state.close_after(t, horizon);
    }
    Ok(())
}

/// The journal of each group's ledger.
pub fn journals(shared: &Shared, side: Side, worker: (usize, usize)) -> IdVec<GroupId, GroupJournal> {
    let longest = |part: &Part| part.plan.columns.iter().filter_map(|column| column.length).max().unwrap_or(0);
    let journal = |(group, parts): (GroupId, &IdVec<PartId, Part>)| {
        let longest: Vec<i64> = parts.iter().map(longest).collect();
        let generation = generations::of_number(shared.start.plan.checkpoints);
        GroupJournal::new(shared.state.clone(), generation, group, worker, &longest)
    };
    shared.parts[side as usize].groups.pairs().map(journal).collect()
}

/// Writes this worker's parts of checkpoints.
pub fn save(
    shared: &Shared,
    journals: IdVec<GroupId, GroupJournal>,
    (index, peers): (usize, usize),
    local: Rc<RefCell<Local>>,
) -> Save {
    let (store, index, peers) = (shared.state.clone(), index as u32, peers as u32);
    Box::new(move |number, t, states| {
        let begun = Instant::now();
        let mut parts = vec![];
        for ((group, journal), state) in journals.pairs().zip(states) {
            let written = checkpoint::state::write(&store, number, (group, index, peers), state, journal, t);
            parts.extend(written.map_err(|e| SegmentError(e.message()))?);
        }
        local.borrow_mut().wrote(number, parts, begun.elapsed());
        Ok(())
    })
}

/// Worker 0 takes checkpoints. A job without any stream has none: it reads all anew each time.
pub fn saving(shared: &Shared, index: usize) -> Result<Option<Rc<Sides>>, Failure> {
    if index > 0 || !shared.opened.has_stream() {
        return Ok(None);
    }
    let committing = Committing::start(shared.state.clone(), shared.starts.clone(), &shared.failures)?;
    Ok(Some(Rc::new(Sides::new(shared.start.clone(), shared.mode, shared.state.clone(), committing))))
}

/// When a side's checkpoints are taken, and what becomes of them.
pub fn checkpointing(
    shared: &Shared,
    side: Side,
    sides: &Rc<Sides>,
    local: Rc<RefCell<Local>>,
    workers: usize,
) -> Checkpointing {
    let every = Duration::from_micros(shared.opened.job.state.checkpoint_every_us.unsigned_abs());
    let saver = SideSaver::new(side, sides.clone(), local);
    Checkpointing::new(every, shared.start.plan.checkpoints, Box::new(saver), workers)
}
