//! One worker of a run: its dataflows, put together from their operators, and stepped until the run ends.
//!
//! ```text
//! feed -> windows -> store rows -> as_of        coordinator (a dataflow of its own): reports -> worker 0 -> T -> feed
//!   |        '-----> changelog
//!   '--------------> dead letters
//! ```
//!
//! What is new in a changed job may be worked out beside the rows: then a worker has all of this twice, the second time without
//! sinks. See `plan::side`.
//!
//! - `graph`: the operators of a side
//! - `state`: what is kept for the groups, from one checkpoint to the next
//! - `lines`: changelogs and dead letters, taken up where they were left

mod graph;
mod lines;
pub mod shared;
mod state;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_connectors::Error;
use headwater_operators::operator::Watch;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::worker::Worker;

use crate::base::failure::Failure;
use crate::base::id::{GroupId, Id, IdVec, SinkId};
use crate::checkpoint::local::Local;
use crate::checkpoint::threads::Sending;
use crate::coordinate::barrier::{CatchUpBarrier, OfSide};
use crate::coordinate::channel::{self, CoordinatorHandle};
use crate::coordinate::checkpointing::Checkpointing;
use crate::coordinate::clock::{Clock, Rules};
use crate::coordinate::coordinator::Coordinator;
use crate::coordinate::messages::Announcement;
use crate::coordinate::sides::Sides;
use crate::observe::status::ProcessStatus;
use crate::plan::mode::Mode;
use crate::plan::side::Side;
use crate::sink::lines::ToWake;
use crate::sink::stores::StoreHandle;
use crate::sink::thread::Backlog;
use graph::{Built, build, readers};
use lines::letters_of;
use shared::Shared;
use state::{checkpointing, journals, save, saving, states};

/// Rows that may wait for a store, or to become lines, before the windows stand still.
const WAITING_ROWS_MAX: usize = 200_000;

/// Runs one worker to the end.
pub fn work(worker: &mut Worker, shared: &Shared) {
    if let Err(failure) = try_work(worker, shared) {
        // The main thread ends the process.
        shared.failures.tell(failure);
        loop {
            std::thread::park();
        }
    }
}

fn try_work(worker: &mut Worker, shared: &Shared) -> Result<(), Failure> {
    let barrier = Rc::new(CatchUpBarrier::new(shared.opened.job.tick_us, shared.start.goes_on_at(Side::Shown)));
    let saving = saving(shared, worker.index())?;
    let mut running = vec![];
    for side in shared.start.plan.sides() {
        let of_side = OfSide { side, barrier: barrier.clone() };
        running.push(Running::start(worker, shared, of_side, saving.as_ref())?);
    }
    drop(saving);
    while running.iter().any(|side| !side.is_done()) {
        worker.step_or_park(Some(Duration::from_millis(5)));
        running.iter_mut().try_for_each(|side| side.look(shared))?;
    }
    running.iter().try_for_each(Running::check_end)?;
    while worker.has_dataflows() && worker.step_or_park(Some(Duration::from_millis(5))) {}
    Ok(())
}

/// One side of a worker, while it runs.
struct Running {
    side: Side,
    /// The worker's number within its process.
    local: usize,
    handles: IdVec<SinkId, Option<StoreHandle>>,
    faults: Rc<RefCell<Option<Error>>>,
    watch: Rc<RefCell<Watch>>,
    checkpoint: Rc<RefCell<Local>>,
    coordinator: CoordinatorHandle,
    /// Where everything ends.
    done: ProbeHandle<i64>,
}

impl Running {
    fn start(
        worker: &mut Worker,
        shared: &Shared,
        of_side: OfSide,
        saving: Option<&Rc<Sides>>,
    ) -> Result<Running, Failure> {
        let (index, peers) = (worker.index(), worker.peers());
        let OfSide { side, barrier } = of_side.clone();
        let handles = store_handles(shared, side, index)?;
        let faults: Rc<RefCell<Option<Error>>> = Rc::default();
        let watch = Rc::new(RefCell::new(Watch::default()));
        watch.borrow_mut().hold = hold(&handles, shared.backlogs.clone());
        let checkpoint: Rc<RefCell<Local>> = Rc::default();
        if shared.state.storage.local().is_none() {
            checkpoint.borrow_mut().sending =
                Some(Sending::start(shared.state.clone(), index as u32, &shared.failures)?);
        }
        let journals = journals(shared, side, (index, peers));
        let states = states(shared, side, &journals, (index, peers))?;
        watch.borrow_mut().save = Some(save(shared, journals, (index, peers), checkpoint.clone()));
        let to_wake: ToWake = Rc::default();
        let checkpointing = saving.map(|saving| checkpointing(shared, side, saving, checkpoint.clone(), peers));
        let heard = heard(shared, to_wake.clone(), watch.clone(), checkpoint.clone(), handles.clone());
        // What the rows' side says of a process has both sides in it.
        let on_status = if side == Side::Shown { shared.on_status.clone() } else { Arc::new(|_, _| ()) };
        let coordinator = coordinator(shared, of_side, checkpointing, peers);
        let coordinator = channel::build(worker, coordinator, heard, on_status);
        let built = Built {
            side,
            handles: &handles,
            faults: &faults,
            watch: &watch,
            checkpoint: &checkpoint,
            states,
            coordinator: coordinator.clone(),
            barrier: &barrier,
            readers: readers(shared, side, index, peers)?,
            to_wake,
        };
        let done = build(worker, shared, built)?;
        let local = index % shared.local_workers;
        Ok(Running { side, local, handles, faults, watch, checkpoint, coordinator, done })
    }

    fn is_done(&self) -> bool {
        self.done.with_frontier(|f| f.is_empty())
    }

    /// Hears what has gone wrong and what was saved, and tells how far it is.
    fn look(&mut self, shared: &Shared) -> Result<(), Failure> {
        if let Some(fault) = self.faults.borrow_mut().take() {
            return Err(fault.into());
        }
        if let Some(fault) = self.watch.borrow_mut().fault.take() {
            return Err(Failure::Running(fault.to_string()));
        }
        let board = shared.board.of(self.side);
        let lost = |handle: &Option<StoreHandle>| handle.as_ref().is_some_and(StoreHandle::take_lost);
        for (sink, _) in self.handles.pairs().filter(|(_, handle)| lost(handle)) {
            self.coordinator.want_image();
            board.worker(self.local).sinks[sink].losses += 1;
        }
        let in_sinks = |t: i64| self.done.with_frontier(|f| f.iter().next().is_none_or(|frontier| *frontier > t));
        self.checkpoint.borrow_mut().hear();
        if let Some(contribution) = self.checkpoint.borrow().contribution(self.coordinator.contributed(), in_sinks) {
            self.coordinator.contribute(contribution);
        }
        let mut status = board.worker(self.local);
        note_counters(&mut status, &self.watch.borrow());
        note_waiting(&mut status, shared, self.side, &self.handles, self.local == 0);
        Ok(())
    }

    fn check_end(&self) -> Result<(), Failure> {
        let announced = self.coordinator.announced();
        let lost = self.handles.iter().flatten().any(StoreHandle::take_lost);
        if lost || self.coordinator.wanted_image() > announced.image || announced.image_from > announced.t {
            let told =
                "a store lost writes while the last ones were written; start again to write everything once more";
            return Err(Failure::Running(told.to_owned()));
        }
        Ok(())
    }
}

fn hold(handles: &[Option<StoreHandle>], backlogs: Arc<Vec<Backlog>>) -> Option<Box<dyn Fn() -> bool>> {
    let stores: Vec<StoreHandle> = handles.iter().flatten().cloned().collect();
    let is_behind = move || backlogs.iter().map(|b| b.load(Ordering::Relaxed)).sum::<usize>() > WAITING_ROWS_MAX;
    Some(Box::new(move || is_behind() || stores.iter().any(|s| s.waiting() > WAITING_ROWS_MAX)))
}

fn note_counters(status: &mut ProcessStatus, watch: &Watch) {
    for (group, counters) in status.groups.iter_mut().zip(&watch.counters) {
        group.counts = *counters;
    }
}

/// `first`: of this process's workers. It tells what the whole process knows, too.
fn note_waiting(
    status: &mut ProcessStatus,
    shared: &Shared,
    side: Side,
    handles: &IdVec<SinkId, Option<StoreHandle>>,
    first: bool,
) {
    let first_of_all = first && side == Side::Shown;
    let lines = |backlog: usize| if first { shared.backlogs[backlog].load(Ordering::Relaxed) } else { 0 };
    for (id, sink) in status.sinks.pairs_mut() {
        let waiting = handles[id].as_ref().map_or(0, StoreHandle::waiting);
        sink.waiting = (waiting + if side == Side::Shown { lines(id.index()) } else { 0 }) as u64;
    }
    status.letters_waiting = lines(letters_of(shared, side)) as u64;
    status.state_failures = if first_of_all { shared.state.watched.failures() } else { 0 };
}

/// By sink: the store's thread, where this worker writes to it. A store that one process has to itself is written by worker 0 alone.
fn store_handles(shared: &Shared, side: Side, index: usize) -> Result<IdVec<SinkId, Option<StoreHandle>>, Failure> {
    let image = (!shared.start.plan.is_stored).then_some(shared.fresh && shared.mode == Mode::UntilEnd);
    // Rows of groups that are still worked out stay as they were.
    let plan = &shared.start.plan;
    let spared: Vec<GroupId> = plan.groups.ids().filter(|group| plan.side_of(*group) == Side::Beside).collect();
    let start = |sink| StoreHandle::start((shared.open_store)(sink)?, image, &spared, &shared.failures);
    let open = |(id, sink): (SinkId, &crate::job::Sink)| match sink.to.store().filter(|_| side == Side::Shown) {
        Some(store) if index == 0 || !store.is_exclusive() => start(id).map(Some),
        Some(_) | None => Ok(None),
    };
    shared.opened.job.sinks.pairs().map(open).collect()
}

/// Decides for all workers, on worker 0.
fn coordinator(shared: &Shared, of_side: OfSide, checkpointing: Option<Checkpointing>, workers: usize) -> Coordinator {
    let (start, plan, side) = (&shared.start, &shared.start.plan, of_side.side);
    let rules = Rules {
        tick: shared.opened.job.tick_us,
        s: plan.readings.iter().map(|reading| reading.s.filter(|_| reading.side == side)).collect(),
        until_end: shared.mode == Mode::UntilEnd,
        end_at_least: plan.end_at_least,
    };
    // Where the run goes on from a checkpoint, it is at its tick, unless something new has to come as far first.
    let announced = match start.from {
        Some(_) => Announcement { t: start.goes_on_at(side), horizons: start.horizons(), ..Announcement::default() },
        None => Announcement::default(),
    };
    let of_side = plan.is_beside().then_some(of_side);
    Coordinator::new(Clock::new(rules, workers), checkpointing, of_side, announced)
}

type Heard = Rc<dyn Fn(&Announcement)>;

/// What a worker does when the coordinator has announced something.
fn heard(
    shared: &Shared,
    to_wake: ToWake,
    watch: Rc<RefCell<Watch>>,
    checkpoint: Rc<RefCell<Local>>,
    stores: IdVec<SinkId, Option<StoreHandle>>,
) -> Heard {
    let (image, asked) = (Cell::new(0), Cell::new(shared.start.plan.checkpoints));
    let start = shared.start.clone();
    let t = Cell::new(None);
    let (interrupted, again, state) = (shared.interrupted.clone(), shared.again.clone(), shared.state.clone());
    Rc::new(move |announcement: &Announcement| {
        if image.replace(announcement.image) < announcement.image {
            stores.iter().flatten().for_each(StoreHandle::begin_image);
            watch.borrow_mut().image_from = announcement.image_from;
        }
        if let Some(now) = announcement.t.filter(|_| t.replace(announcement.t) < announcement.t) {
            let plan = &start.plan;
            let horizon = |group: GroupId| Some((group.index(), now, plan.horizon(group, &announcement.horizons)?));
            watch.borrow_mut().horizons.extend(plan.groups.ids().filter_map(horizon));
        }
        if let Some((number, t)) = announcement.checkpoint.filter(|(number, _)| asked.replace(*number) < *number) {
            watch.borrow_mut().checkpoints.push_back((number, t));
            checkpoint.borrow_mut().want(number, t);
        }
        if announcement.again {
            again.store(true, Ordering::Relaxed);
        } else if announcement.last {
            state.end();
        }
        if announcement.last && announcement.stopped {
            // What an earlier start has published stays, until a later one has passed it.
            interrupted.store(true, Ordering::Relaxed);
        } else if announcement.last {
            watch.borrow_mut().rows_by = announcement.t;
        }
        to_wake.borrow().iter().for_each(|activator| activator.activate());
    })
}
