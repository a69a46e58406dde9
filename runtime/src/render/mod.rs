//! One worker of a run: its dataflows, put together from their operators, and stepped until the run ends.
//!
//! ```text
//! feed -> groups -> store rows -> as_of         coordinator (a dataflow of its own): reports -> worker 0 -> T -> feed
//!   |        '-----> changelog
//!   '--------------> dead letters
//! ```
//!
//! What is new in a changed job may be computed by a shadow: then a worker has all of this twice, the second time without
//! sinks. See `plan::side`.
//!
//! - `dataflow`: the nodes of the job's graph, each given what its inputs have put out
//! - a file a kind of node: `source`, `lookup` with `rows_before`, `group`, `view` (and `nodes`, of its query, and `links`), `sink_rows`, `sink_changes`,
//!   `dead_letters`; and beside groups and views, `earlier`; or, where rows of the past are replayed, `caught` in the place of `sink_rows`,
//!   `sink_changes` and `dead_letters`
//! - `checkpointing`: when checkpoints are taken

pub mod caught;
mod checkpointing;
mod dataflow;
mod dead_letters;
mod derived;
mod earlier;
mod group;
mod lines;
mod links;
mod lookup;
mod nodes;
mod rendering;
mod rows_before;
pub mod shared;
mod sink_changes;
mod sink_rows;
mod source;
mod view;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_clocks::{Span, Tick};
use headwater_connectors::threads::{Helper, guarded};
use timely::communication::WorkerGuards;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::worker::Worker;

use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::{GroupId, Id, WorkerId};
use crate::base::peer::Peer;
use crate::checkpoint::threads::Sending;
use crate::coordinate::barrier::{CatchUpBarrier, OfSide};
use crate::coordinate::channel::{self, CoordinatorHandle};
use crate::coordinate::checkpointing::Checkpointing;
use crate::coordinate::clock::{Clock, Rules};
use crate::coordinate::coordinator::Coordinator;
use crate::coordinate::merger::CheckpointMerger;
use crate::coordinate::messages::Announcement;
use crate::observe::status::ProcessStatus;
use crate::plan::mode::Mode;
use crate::plan::side::Side;
use crate::sink::stores::StoreHandle;
use crate::sink::thread::Backlog;
use caught::Caught;
use checkpointing::{checkpointing, saving};
use dead_letters::dead_letters_backlog;
use rendering::{Rendering, Wiring};
use shared::Shared;
use sink_rows::Stores;

/// Rows that may wait for a store, or to become lines, before the windows stand still.
const WAITING_ROWS_MAX: usize = 200_000;

/// Runs one worker to the end. One that fails takes its dataflows down, and the others theirs once they hear of it: nobody else learns
/// that it does not go on. Where the process ends with the run it holds still, so that nothing is told any more.
pub fn work(worker: &mut Worker, shared: &Shared) {
    match guarded(|| try_work(worker, shared)) {
        Ok(Ended::Done) => return,
        Ok(Ended::Abandoned) => {}
        Err(failure) => shared.failures.tell(failure),
    }
    if shared.ends_process {
        loop {
            std::thread::park();
        }
    }
    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
}

/// Waits for workers, on a thread of its own, and tells that all is done.
pub fn joined(guards: WorkerGuards<()>, failures: &Failures) -> Result<Helper<(), Failure>, Failure> {
    let told = failures.clone();
    failures.spawn("workers", move || {
        let panicked = |_| Failure::Running("a worker panicked, see above".to_owned());
        guards.join().into_iter().try_for_each(|worker| worker.map_err(panicked))?;
        told.done();
        Ok::<(), Failure>(())
    })
}

enum Ended {
    Done,
    /// Another worker has failed.
    Abandoned,
}

fn try_work(worker: &mut Worker, shared: &Shared) -> Result<Ended, Failure> {
    let barrier = Rc::new(CatchUpBarrier::new(shared.opened.job.tick, shared.start.goes_on_at(Side::Live)));
    let saving = saving(shared, WorkerId::at(worker.index()))?;
    let mut running = vec![];
    for side in shared.start.plan.sides() {
        let of_side = OfSide { side, barrier: barrier.clone() };
        running.push(Running::start(worker, shared, of_side, saving.as_ref())?);
    }
    drop(saving);
    while running.iter().any(|side| !side.is_done()) {
        worker.step_or_park(Some(Duration::from_millis(5)));
        running.iter_mut().try_for_each(|side| side.look(shared))?;
        if shared.abandoned.load(Ordering::Relaxed) {
            return Ok(Ended::Abandoned);
        }
    }
    running.iter().try_for_each(Running::check_end)?;
    while worker.has_dataflows() && worker.step_or_park(Some(Duration::from_millis(5))) {
        if shared.abandoned.load(Ordering::Relaxed) {
            return Ok(Ended::Abandoned);
        }
    }
    Ok(Ended::Done)
}

/// One side of a worker, while it runs.
struct Running {
    side: Side,
    /// The worker's number within its process.
    local: usize,
    stores: Stores,
    wiring: Wiring,
    coordinator: CoordinatorHandle,
    /// Where everything ends.
    done: ProbeHandle<Tick>,
}

impl Running {
    fn start(
        worker: &mut Worker,
        shared: &Shared,
        of_side: OfSide,
        saving: Option<&Rc<CheckpointMerger>>,
    ) -> Result<Running, Failure> {
        let OfSide { side, barrier } = of_side.clone();
        let of = Rendering { shared, side, peer: Peer { worker: WorkerId::at(worker.index()), peers: worker.peers() } };
        let (stores, wiring) = (sink_rows::open(of)?, Wiring::default());
        wiring.windows.borrow_mut().hold = hold(&stores, shared.backlogs.clone());
        if shared.state.storage.local().is_none() {
            let sending = Sending::start(shared.state.clone(), of.peer.worker, &shared.failures)?;
            wiring.checkpoint.borrow_mut().sending = Some(sending);
        }
        let states = group::open(of, &wiring)?;
        let in_progress = wiring.checkpoint.clone();
        let checkpointing = saving.map(|saving| checkpointing(shared, side, saving, in_progress, of.peer.peers));
        // What the live side says of a process has both sides in it.
        let on_status = if side == Side::Live { shared.on_status.clone() } else { Arc::new(|_, _| ()) };
        let coordinator = coordinator(shared, of_side, checkpointing, of.peer.peers);
        let coordinator = channel::build(worker, coordinator, on_announcement(of, &wiring, stores.clone()), on_status);
        let done = dataflow::build(worker, of, (&wiring, &coordinator), (&stores, states), &barrier)?;
        Ok(Running { side, local: of.local(), stores, wiring, coordinator, done })
    }

    fn is_done(&self) -> bool {
        self.done.with_frontier(|f| f.is_empty())
    }

    /// Hears what has gone wrong and what was saved, and tells how far it is.
    fn look(&mut self, shared: &Shared) -> Result<(), Failure> {
        if let Some(fault) = self.wiring.faults.borrow_mut().take() {
            return Err(fault.into());
        }
        if let Some(fault) = self.wiring.windows.borrow_mut().fault.take() {
            return Err(Failure::Running(fault.to_string()));
        }
        let board = shared.board.of(self.side);
        let lost = |handle: &Option<StoreHandle>| handle.as_ref().is_some_and(StoreHandle::take_lost);
        for (sink, _) in self.stores.pairs().filter(|(_, handle)| lost(handle)) {
            self.coordinator.want_full_refresh();
            board.worker(self.local).sinks[sink].losses += 1;
        }
        let in_sinks = |t: Tick| self.done.with_frontier(Tick::of_frontier).is_none_or(|frontier| frontier > t);
        self.wiring.checkpoint.borrow_mut().hear();
        if let Some(contribution) =
            self.wiring.checkpoint.borrow().contribution(self.coordinator.contributed(), in_sinks)
        {
            self.coordinator.contribute(contribution);
        }
        let mut status = board.worker(self.local);
        let Wiring { windows, derived_failures, .. } = &self.wiring;
        group::note_counters(&mut status, &windows.borrow(), &derived_failures.borrow());
        view::note_counters(&mut status, &self.wiring);
        earlier::note_counters(&mut status, &self.wiring);
        note_waiting(&mut status, shared, self.side, &self.stores, self.local == 0);
        Ok(())
    }

    fn check_end(&self) -> Result<(), Failure> {
        let announced = self.coordinator.announced();
        let lost = self.stores.iter().flatten().any(StoreHandle::take_lost);
        if lost
            || self.coordinator.wanted_full_refresh() > announced.full_refresh
            || announced.full_refresh_from > announced.t
        {
            let told =
                "a store lost writes while the last ones were written; start again to write everything once more";
            return Err(Failure::Running(told.to_owned()));
        }
        Ok(())
    }
}

fn hold(stores: &Stores, backlogs: Arc<Vec<Backlog>>) -> Option<Box<dyn Fn() -> bool>> {
    let stores: Vec<StoreHandle> = stores.iter().flatten().cloned().collect();
    let is_behind = move || backlogs.iter().map(|b| b.load(Ordering::Relaxed)).sum::<usize>() > WAITING_ROWS_MAX;
    Some(Box::new(move || is_behind() || stores.iter().any(|s| s.waiting() > WAITING_ROWS_MAX)))
}

/// `first`: of this process's workers. It tells what the whole process knows, too.
fn note_waiting(status: &mut ProcessStatus, shared: &Shared, side: Side, stores: &Stores, first: bool) {
    let first_of_all = first && side == Side::Live;
    let lines = |backlog: usize| if first { shared.backlogs[backlog].load(Ordering::Relaxed) } else { 0 };
    for (id, sink) in status.sinks.pairs_mut() {
        let waiting = stores[id].as_ref().map_or(0, StoreHandle::waiting);
        sink.waiting = (waiting + if side == Side::Live { lines(id.index()) } else { 0 }) as u64;
    }
    status.dead_letters_waiting = lines(dead_letters_backlog(shared, side)) as u64;
    status.state_failures = if first_of_all { shared.state.stats.failures() } else { 0 };
}

/// Decides for all workers, on worker 0.
fn coordinator(shared: &Shared, of_side: OfSide, checkpointing: Option<Checkpointing>, workers: usize) -> Coordinator {
    let (start, plan, side) = (&shared.start, &shared.start.plan, of_side.side);
    let rules = Rules {
        tick: shared.opened.job.tick,
        s: plan.scans.iter().map(|scan| scan.s.filter(|_| scan.side == side)).collect(),
        until_end: shared.mode == Mode::UntilEnd,
        end_at_least: plan.end_at_least,
        end_at_most: plan.until().unwrap_or(Tick::AFTER_ALL),
    };
    // Where the run goes on from a checkpoint, it is at its tick, unless something new has to come as far first.
    let announced = match start.from {
        Some(_) => Announcement { t: start.goes_on_at(side), horizons: start.horizons(), ..Announcement::default() },
        None => Announcement::default(),
    };
    let of_side = plan.has_shadow().then_some(of_side);
    Coordinator::new(Clock::new(rules, workers), checkpointing, of_side, announced)
}

type OnAnnouncement = Rc<dyn Fn(&Announcement)>;

/// What a worker does when the coordinator has announced something.
fn on_announcement(of: Rendering, wiring: &Wiring, stores: Stores) -> OnAnnouncement {
    let shared = of.shared;
    // Process 0 is asked.
    let earlier = (of.side == Side::Live && of.peer.is_first()).then(|| shared.earlier.clone());
    let Wiring { windows, checkpoint, to_wake, lookups, .. } = wiring.clone();
    let (full_refresh, asked) = (Cell::new(0), Cell::new(shared.start.plan.checkpoints));
    let start = shared.start.clone();
    let grace: Vec<Span> = start.plan.groups.ids().map(|group| shared.opened.grace(group)).collect();
    let t = Cell::new(None);
    let (interrupted, again, state) = (shared.interrupted.clone(), shared.again.clone(), shared.state.clone());
    // In hindsight an event may be corrected that no window holds any more.
    let keeps_all = shared.catch.as_ref().is_some_and(|catch| catch.what == Caught::Events);
    Rc::new(move |announcement: &Announcement| {
        if full_refresh.replace(announcement.full_refresh) < announcement.full_refresh {
            stores.iter().flatten().for_each(StoreHandle::begin_full_refresh);
            let from = announcement.full_refresh_from.unwrap_or(Tick::BEFORE_ALL);
            windows.borrow_mut().full_refresh = Some((announcement.full_refresh, from));
        }
        if let Some(now) = announcement.t.filter(|_| t.replace(announcement.t) < announcement.t) {
            let plan = &start.plan;
            let horizon = |group: GroupId| {
                let horizon = plan.horizon(group, &announcement.horizons)? - grace[group.index()];
                Some((group, now, horizon))
            };
            windows.borrow_mut().horizons.extend(plan.groups.ids().filter_map(horizon));
            let stands = |rows| plan.scans_behind(rows).iter().any(|scan| announcement.stalled.contains(scan));
            earlier.iter().for_each(|earlier| earlier.reached(now, stands));
            if !keeps_all {
                for orders in lookups.borrow().iter() {
                    orders.borrow_mut().horizons.push((now, announcement.horizons.clone()));
                }
            }
        }
        if let Some((number, t)) = announcement.checkpoint.filter(|(number, _)| asked.replace(*number) < *number) {
            windows.borrow_mut().checkpoints.push_back((number, t));
            for orders in lookups.borrow().iter() {
                orders.borrow_mut().to_save.push_back((number, t));
            }
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
            windows.borrow_mut().last_tick = announcement.t;
        }
        to_wake.borrow().iter().for_each(|activator| activator.activate());
    })
}
