//! One worker of a run: its dataflows, put together from their operators, and stepped until the run ends.
//!
//! ```text
//! feed -> windows -> store rows -> as_of        clock (a dataflow of its own): reports -> worker 0 -> T -> feed
//!   |        '-----> changelog
//!   '--------------> dead letters
//! ```
//!
//! What is new in a changed job may be worked out beside the rows: then a worker has all of this twice, the second time without
//! sinks. See `plan::Side`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use headwater_connectors::format::text::format_time;
use headwater_connectors::sink::changelog::Changelog;
use headwater_connectors::sink::dead_letters;
use headwater_connectors::sink::lines::{Left, LineFile, LineTopic, Lines};
use headwater_connectors::stream::Start;
use headwater_connectors::{Error, sink::Store};
use headwater_operators::group::{Outputs, State};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::keys;
use headwater_operators::ledger::SegmentError;
use headwater_operators::operator::{Save, Watch, windows};
use timely::dataflow::operators::{Concatenate, Probe, probe::Handle as ProbeHandle};
use timely::worker::Worker;

use crate::checkpoint::generations::{self, Starts};
use crate::checkpoint::{
    self, Committing, Contribution, GroupJournal, Local, Noted, Saved, Sending, Sides, StateStore,
};
use crate::clock::{self, Announcement, Between, Checkpoints, ClockHandle, Rules};
use crate::failure::Failure;
use crate::job::{ChangesTo, Job, SinkTo};
use crate::opened::{self, Opened};
use crate::plan::{self, Plan, Reading, Side, wall_clock_us};
use crate::run::Mode;
use crate::sink::lines::{Letters, Named, Step, ToWake, write_changelog, write_letters};
use crate::sink::segments::SegmentFiles;
use crate::sink::stores::{Marked, Marking, StoreHandle, mark_as_of, store_rows};
use crate::sink::writer::{Backlog, Writer};
use crate::source::effs::Effs;
use crate::source::feed::{self, Lane, Parts, SourceReader};
use crate::source::history;
use crate::source::newcomers::Newcomers;
use crate::source::partition::Partition;
use crate::source::seam::Seam;
use crate::status::{Board, GroupStatus, ProcessStatus};

/// Opens the store of a sink for a worker.
pub type OpenStore = Box<dyn Fn(usize) -> Result<Box<dyn Store>, Failure> + Send + Sync>;

/// What every worker of a process is given.
pub struct Shared {
    pub opened: Arc<Opened>,
    pub plan: Arc<Plan>,
    pub state: Arc<StateStore>,
    /// On process 0: all starts of the job, this one the last.
    pub starts: Arc<Starts>,
    /// By side.
    pub parts: Vec<Arc<crate::plan::Parts>>,
    /// By reading.
    pub seams: Arc<Vec<Seam>>,
    pub effs: Arc<Vec<Effs>>,
    pub mode: Mode,
    pub fresh: bool,
    pub board: Board,
    pub stop: Arc<AtomicBool>,
    /// Set where the run was stopped before its end; and where it starts again at once.
    pub interrupted: Arc<AtomicBool>,
    pub again: Arc<AtomicBool>,
    /// Worker 0 leaves here what the processes say of themselves.
    pub on_status: Arc<dyn Fn(usize, ProcessStatus) + Send + Sync>,
    pub open_store: OpenStore,
    /// By sink, and of each side's dead letters: what waits to become lines.
    pub backlogs: Arc<Vec<Backlog>>,
    pub failed: Sender<Failure>,
    pub local_workers: usize,
}

/// Bytes of the ledgers of one worker that may stay in memory.
const LEDGER_BYTES_MAX: usize = 64 << 20;
/// Rows that may wait for a store, or to become lines, before the windows stand still.
const WAITING_ROWS_MAX: usize = 200_000;

/// Runs one worker to the end.
pub fn work(worker: &mut Worker, shared: &Shared) {
    if let Err(failure) = try_work(worker, shared) {
        // The main thread ends the process; nobody listens only when it is ending already.
        let _ = shared.failed.send(failure);
        loop {
            std::thread::park();
        }
    }
}

fn try_work(worker: &mut Worker, shared: &Shared) -> Result<(), Failure> {
    let between = Rc::new(Between::new(
        shared.opened.job.tick_us,
        plan::near_us(shared.opened.job.tick_us),
        shared.plan.goes_on_at(Side::Shown),
    ));
    let saving = saving(shared, worker.index())?;
    let mut running = vec![];
    for side in shared.plan.sides() {
        running.push(Running::start(worker, shared, side, &between, saving.as_ref())?);
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
    handles: Vec<Option<StoreHandle>>,
    faults: Rc<RefCell<Option<Error>>>,
    watch: Rc<RefCell<Watch>>,
    checkpoint: Rc<RefCell<Local>>,
    clock: ClockHandle,
    /// Where everything ends.
    done: ProbeHandle<i64>,
    /// The last checkpoint that it has put its part into.
    contributed: u64,
}

impl Running {
    fn start(
        worker: &mut Worker,
        shared: &Shared,
        side: Side,
        between: &Rc<Between>,
        saving: Option<&Rc<Sides>>,
    ) -> Result<Running, Failure> {
        let (index, peers) = (worker.index(), worker.peers());
        let handles = store_handles(shared, side, index)?;
        let faults: Rc<RefCell<Option<Error>>> = Rc::default();
        let watch = Rc::new(RefCell::new(Watch::default()));
        watch.borrow_mut().hold = hold(&handles, shared.backlogs.clone());
        let checkpoint: Rc<RefCell<Local>> = Rc::default();
        if shared.state.storage.local().is_none() {
            checkpoint.borrow_mut().sending =
                Some(Sending::start(shared.state.clone(), index as u32, shared.failed.clone())?);
        }
        let journals = journals(shared, side, (index, peers));
        let states = states(shared, side, &journals, (index, peers))?;
        watch.borrow_mut().save = Some(save(shared, journals, (index, peers), checkpoint.clone()));
        let to_wake: ToWake = Rc::default();
        let rules = rules(shared, side, between, checkpoints(shared, side, saving, checkpoint.clone()));
        let heard = heard(shared, to_wake.clone(), watch.clone(), checkpoint.clone(), handles.clone());
        // What the rows' side says of a process has both sides in it.
        let on_status = if side == Side::Shown { shared.on_status.clone() } else { Arc::new(|_, _| ()) };
        let clock = clock::build(worker, rules, heard, on_status);
        let built = Built {
            side,
            handles: &handles,
            faults: &faults,
            watch: &watch,
            checkpoint: &checkpoint,
            states,
            clock: clock.clone(),
            between,
            readers: readers(shared, side, index, peers)?,
            to_wake,
        };
        let done = build(worker, shared, built)?;
        let local = index % shared.local_workers;
        Ok(Running { side, local, handles, faults, watch, checkpoint, clock, done, contributed: 0 })
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
        if let Some(fault) = self.handles.iter().flatten().find_map(StoreHandle::take_fault) {
            return Err(fault.into());
        }
        let board = shared.board.of(self.side);
        let lost = |handle: &Option<StoreHandle>| handle.as_ref().is_some_and(StoreHandle::take_lost);
        for (sink, _) in self.handles.iter().enumerate().filter(|(_, handle)| lost(handle)) {
            self.clock.want_image();
            board.worker(self.local).sinks[sink].losses += 1;
        }
        let in_sinks = |t: i64| self.done.with_frontier(|f| f.iter().next().is_none_or(|frontier| *frontier > t));
        self.checkpoint.borrow_mut().hear();
        if let Some(contribution) = self.checkpoint.borrow().contribution(self.contributed, in_sinks) {
            self.contributed = contribution.number;
            self.clock.saved(contribution);
        }
        let mut status = board.worker(self.local);
        note_counters(&mut status, &self.watch.borrow());
        note_waiting(&mut status, shared, self.side, &self.handles, self.local == 0);
        Ok(())
    }

    fn check_end(&self) -> Result<(), Failure> {
        let announced = self.clock.announced();
        let lost = self.handles.iter().flatten().any(StoreHandle::take_lost);
        if lost || self.clock.wanted_image() > announced.image || announced.image_from > announced.t {
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
        *group = GroupStatus {
            events: counters.events,
            too_old: counters.too_old,
            unfit_sums: counters.unfit_sums,
            keys: counters.keys,
            open_windows: counters.open_windows,
            dropped: counters.dropped,
            rows: counters.rows,
            changes: counters.changes,
            ledger_bytes: counters.ledger_bytes,
            dead_letters: std::mem::take(&mut group.dead_letters),
        };
    }
}

/// `first`: of this process's workers. It tells what the whole process knows, too.
fn note_waiting(status: &mut ProcessStatus, shared: &Shared, side: Side, handles: &[Option<StoreHandle>], first: bool) {
    let first_of_all = first && side == Side::Shown;
    let lines = |sink: usize| if first { shared.backlogs[sink].load(Ordering::Relaxed) } else { 0 };
    for (i, sink) in status.sinks.iter_mut().enumerate() {
        let waiting = handles[i].as_ref().map_or(0, StoreHandle::waiting);
        sink.waiting = (waiting + if side == Side::Shown { lines(i) } else { 0 }) as u64;
    }
    status.letters_waiting = lines(letters_of(shared, side)) as u64;
    status.state_failures = if first_of_all { shared.state.watched.failures() } else { 0 };
}

/// The place of a side's dead letters among the backlogs.
fn letters_of(shared: &Shared, side: Side) -> usize {
    shared.opened.job.sinks.len() + usize::from(side == Side::Beside)
}

/// By sink: the store's thread, where this worker writes to it. The embedded store is written by worker 0 alone.
fn store_handles(shared: &Shared, side: Side, index: usize) -> Result<Vec<Option<StoreHandle>>, Failure> {
    let image = (!shared.plan.is_stored).then_some(shared.fresh && shared.mode == Mode::UntilEnd);
    // Rows of groups that are still worked out stay as they were.
    let spared: Vec<usize> =
        (0..shared.plan.groups.len()).filter(|group| shared.plan.side_of(*group) == Side::Beside).collect();
    let start = |sink| Ok(Some(StoreHandle::start((shared.open_store)(sink)?, image, spared.clone())));
    let open = |(i, sink): (usize, &crate::job::Sink)| match sink.to {
        _ if side == Side::Beside => Ok(None),
        SinkTo::Redis { .. } => start(i),
        SinkTo::Embedded if index == 0 => start(i),
        _ => Ok(None),
    };
    shared.opened.job.sinks.iter().enumerate().map(open).collect()
}

/// Writes this worker's parts of checkpoints.
fn save(
    shared: &Shared,
    journals: Vec<GroupJournal>,
    (index, peers): (usize, usize),
    local: Rc<RefCell<Local>>,
) -> Save {
    let (store, index, peers) = (shared.state.clone(), index as u32, peers as u32);
    Box::new(move |number, t, states| {
        let begun = Instant::now();
        let mut parts = vec![];
        for (group, (state, journal)) in (0..).zip(states.iter_mut().zip(&journals)) {
            let written = checkpoint::write(&store, number, (group, index, peers), state, journal, t);
            parts.extend(written.map_err(|e| SegmentError(e.message()))?);
        }
        local.borrow_mut().wrote(number, parts, begun.elapsed());
        Ok(())
    })
}

/// By group.
fn journals(shared: &Shared, side: Side, worker: (usize, usize)) -> Vec<GroupJournal> {
    let longest =
        |part: &crate::plan::Part| part.plan.columns.iter().filter_map(|column| column.length).max().unwrap_or(0);
    let journal = |(group, parts): (usize, &Vec<crate::plan::Part>)| {
        let longest: Vec<i64> = parts.iter().map(longest).collect();
        let generation = generations::of_number(shared.plan.checkpoints);
        GroupJournal::new(shared.state.clone(), generation, group, worker, &longest)
    };
    shared.parts[side as usize].groups.iter().enumerate().map(journal).collect()
}

/// Fills a group's state with what it held at the checkpoint that the run goes on from.
fn restore(
    shared: &Shared,
    (group, side): (usize, Side),
    (state, journal): (&mut State, &GroupJournal),
    (index, peers): (usize, usize),
) -> Result<(), Failure> {
    let plan = &shared.plan;
    let Some(manifest) = &plan.restored else { return Ok(()) };
    let resumed = plan.resumed(group, side).unwrap_or_else(|| vec![None; plan.groups[group].parts.len()]);
    let failed = |e: SegmentError| Failure::Running(e.to_string());
    // Beside the rows nothing was published.
    let floor = plan.floor.filter(|_| side == Side::Shown);
    state.resume(floor, &resumed, plan.groups[group].renewed).map_err(failed)?;
    let Some(saved) = plan.groups[group].saved else { return Ok(()) };
    let owns = |key: &[u8]| keys::owner(keys::hash(key), peers) == index as u64;
    checkpoint::read(&shared.state, manifest, saved, (state, journal), owns)?;
    let reading = plan.groups[group].parts[0].reading;
    let saved_at = plan.readings[reading].done.or(manifest.t).filter(|_| plan.side_of(group) == side);
    if let Some((t, horizon)) = saved_at.zip(plan.horizons().get(reading)) {
        state.close_after(t, *horizon);
    }
    Ok(())
}

fn states(
    shared: &Shared,
    side: Side,
    journals: &[GroupJournal],
    (index, peers): (usize, usize),
) -> Result<Vec<State>, Failure> {
    let job = &shared.opened.job;
    let mut states = vec![];
    let of_worker = match side {
        Side::Shown => format!("worker-{index}"),
        Side::Beside => format!("worker-{index}-beside"),
    };
    for (i, (group, open)) in job.groups.iter().zip(&shared.opened.groups).enumerate() {
        let sinks = || job.sinks.iter().filter(|s| side == Side::Shown && s.groups.contains(&i));
        let outputs = Outputs {
            changes: sinks().any(|s| matches!(s.to, SinkTo::Changes(_))),
            rows_from: sinks().any(|s| !matches!(s.to, SinkTo::Changes(_))).then_some(shared.plan.rows_from[i]),
        };
        let plan = shared.parts[side as usize].plan(&shared.opened, i);
        let dir = job.state.local.join("ledger").join(&of_worker).join(&group.name);
        let segments = SegmentFiles::create(&dir)
            .map_err(|e| Failure::Running(format!("creating the ledger's directory {}: {e}", dir.display())))?;
        let codec =
            KeyCodec::new(&open.key_types).map_err(|e| Failure::Running(format!("keys of {}: {e}", group.name)))?;
        let resident = LEDGER_BYTES_MAX / job.groups.len();
        let mut state = State::new(&plan, codec, open.shape.schema.clone(), outputs, Box::new(segments), resident);
        if side == Side::Beside {
            state.hide();
        }
        if shared.mode == Mode::Follow {
            state.enter_later(job.tick_us);
        }
        if shared.opened.has_stream() {
            state.keep_journal(Box::new(journals[i].clone()));
        }
        restore(shared, (i, side), (&mut state, &journals[i]), (index, peers))?;
        if shared.plan.is_stored {
            state.spare_image();
        }
        states.push(state);
    }
    Ok(states)
}

fn rules(shared: &Shared, side: Side, between: &Rc<Between>, checkpoints: Option<Checkpoints>) -> Rules {
    let plan = &shared.plan;
    Rules {
        tick: shared.opened.job.tick_us,
        s: plan.readings.iter().map(|reading| reading.s.filter(|_| reading.side == side)).collect(),
        until_end: shared.mode == Mode::UntilEnd,
        end_at_least: plan.end_at_least,
        restored: plan.restored.as_ref().map(|_| (plan.goes_on_at(side), plan.horizons())),
        checkpoints,
        between: plan.is_beside().then(|| (side, between.clone())),
    }
}

type Heard = Rc<dyn Fn(&Announcement)>;

/// What a worker does when the clock has announced something.
fn heard(
    shared: &Shared,
    to_wake: ToWake,
    watch: Rc<RefCell<Watch>>,
    checkpoint: Rc<RefCell<Local>>,
    stores: Vec<Option<StoreHandle>>,
) -> Heard {
    let (image, asked) = (Cell::new(0), Cell::new(shared.plan.checkpoints));
    let of_groups: Vec<usize> = shared.plan.groups.iter().map(|group| group.parts[0].reading).collect();
    let t = Cell::new(None);
    let (interrupted, again, state) = (shared.interrupted.clone(), shared.again.clone(), shared.state.clone());
    Rc::new(move |announcement: &Announcement| {
        if image.replace(announcement.image) < announcement.image {
            stores.iter().flatten().for_each(StoreHandle::begin_image);
            watch.borrow_mut().image_from = announcement.image_from;
        }
        if let Some(now) = announcement.t.filter(|_| t.replace(announcement.t) < announcement.t) {
            let horizon = |(group, reading): (usize, &usize)| Some((group, now, *announcement.horizons.get(*reading)?));
            watch.borrow_mut().horizons.extend(of_groups.iter().enumerate().filter_map(horizon));
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

/// Worker 0 takes checkpoints. A job without any stream has none: it reads all anew each time.
fn saving(shared: &Shared, index: usize) -> Result<Option<Rc<Sides>>, Failure> {
    if index > 0 || !shared.opened.has_stream() {
        return Ok(None);
    }
    let committing = Committing::start(shared.state.clone(), shared.starts.clone(), shared.failed.clone())?;
    Ok(Some(Rc::new(Sides::new(shared.plan.clone(), shared.mode, shared.state.clone(), committing))))
}

fn checkpoints(
    shared: &Shared,
    side: Side,
    saving: Option<&Rc<Sides>>,
    local: Rc<RefCell<Local>>,
) -> Option<Checkpoints> {
    let (saving, of_sinks) = (saving?.clone(), local.clone());
    let begun_us = Rc::new(Cell::new(None));
    let begun = begun_us.clone();
    let (asking, waiting) = (saving.clone(), saving.clone());
    let commit = move |asked: &Announcement, contributions: Vec<Contribution>| {
        let of_sinks = of_sinks.borrow();
        let left = |(name, noted): (&String, &Noted)| Some((name.clone(), noted.left.clone()?));
        let lines = of_sinks.lines.iter().filter_map(left).collect();
        saving.saved(side, Saved::of(side, asked, contributions, lines, begun_us.get()));
    };
    Some(Checkpoints {
        every: Duration::from_micros(shared.opened.job.state.checkpoint_every_us.unsigned_abs()),
        number: shared.plan.checkpoints,
        next: Box::new(move || asking.ask(side)),
        want: Box::new(move |n, t| {
            begun.set(Some(wall_clock_us()));
            local.borrow_mut().want(n, t);
        }),
        commit: Box::new(commit),
        committing: Box::new(move || waiting.is_busy()),
    })
}

/// The partitions that this worker reads: every `peers`-th.
fn readers(shared: &Shared, side: Side, index: usize, peers: usize) -> Result<Vec<SourceReader>, Failure> {
    let mut readers = vec![];
    let mut number = 0;
    for (source, open) in shared.opened.sources.iter().enumerate() {
        let Some(stream) = &open.stream else { continue };
        let mut lanes: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
        let is_read = |plan: &Reading| (plan.source, plan.side) == (source, side);
        for (reading, plan) in shared.plan.readings.iter().enumerate().filter(|(_, plan)| is_read(plan)) {
            for partition in &plan.partitions {
                let of_reading = Partition::new(reading, partition.clone(), wall_clock_us());
                lanes.entry(partition.partition).or_default().push(of_reading);
            }
        }
        let mut mine = vec![];
        for (partition, readings) in lanes {
            if number % peers == index {
                mine.push(Lane { partition, exhausted: false, readings });
            }
            number += 1;
        }
        if mine.is_empty() {
            continue;
        }
        let start = |lane: &Lane| {
            let offset = lane.readings.iter().map(|partition| partition.plan.start).min().unwrap_or(0);
            Start { partition: lane.partition, offset }
        };
        let starts: Vec<Start> = mine.iter().map(start).collect();
        let mut reader = stream.reader(&starts, &open.wanted)?;
        let thread = std::thread::current();
        reader.on_ready(Box::new(move || thread.unpark()));
        readers.push(SourceReader { source, reader, lanes: mine });
    }
    Ok(readers)
}

struct Built<'a> {
    side: Side,
    handles: &'a [Option<StoreHandle>],
    faults: &'a Rc<RefCell<Option<Error>>>,
    watch: &'a Rc<RefCell<Watch>>,
    checkpoint: &'a Rc<RefCell<Local>>,
    states: Vec<State>,
    clock: ClockHandle,
    between: &'a Between,
    readers: Vec<SourceReader>,
    to_wake: ToWake,
}

/// Builds a side's dataflow; the probe is where everything ends.
fn build(worker: &mut Worker, shared: &Shared, built: Built) -> Result<ProbeHandle<i64>, Failure> {
    let (index, peers) = (worker.index(), worker.peers());
    let opened = &shared.opened;
    let (plan, effs, side) = (shared.plan.clone(), shared.effs.clone(), built.side);
    let of_side = shared.parts[side as usize].clone();
    let reading = history::read(opened.clone(), plan, of_side.clone(), effs, index, peers, std::thread::current());
    let newcomers = match shared.mode {
        Mode::Follow => Newcomers::all(opened, &shared.plan, side, (index, peers))?,
        Mode::UntilEnd => vec![],
    };
    let (mut changelogs, letters) = open_lines(shared, side, index)?;
    {
        let names = changelogs.values().filter(|lines| lines.writer.is_some()).map(|lines| &lines.name);
        let names = names.chain(letters.writer.as_ref().map(|_| &letters.name));
        built.checkpoint.borrow_mut().lines = names.map(|name| (name.clone(), Noted::default())).collect();
    }
    let (finished, everything) = (ProbeHandle::new(), ProbeHandle::new());
    if side == Side::Beside {
        built.between.watch(finished.clone());
    }
    worker.dataflow_named::<i64, _, _>(if side == Side::Beside { "beside" } else { "job" }, |scope| {
        let stored = vec![everything.clone()];
        let clock = built.clock.clone();
        let parts = |_| Parts {
            opened: opened.clone(),
            plan: shared.plan.clone(),
            parts: of_side,
            seams: shared.seams.clone(),
            mode: shared.mode,
            worker: index,
            peers,
            local: index % shared.local_workers,
            history: reading,
            readers: built.readers,
            newcomers,
            clock: clock.clone(),
            finished: finished.clone(),
            stored,
            board: shared.board.of(side),
            stop: shared.stop.clone(),
            checkpoint: built.checkpoint.clone(),
            fault: built.faults.clone(),
        };
        let fed = feed::feed(scope, parts);
        built.to_wake.borrow_mut().push(fed.activator);
        let out = windows(fed.events, built.states, built.watch.clone());
        built.to_wake.borrow_mut().push(Rc::new(out.activator));
        let rows = out.rows.probe_with(&finished);
        let mut ends = vec![write_letters(
            fed.letters,
            letters,
            built.checkpoint.clone(),
            (built.to_wake.clone(), built.faults.clone()),
        )];
        if side == Side::Beside {
            // Nobody takes any rows, but how far they are is asked.
            ends.push(store_rows(rows.clone(), None, vec![], |routed| routed.to));
        }
        for (i, sink) in opened.job.sinks.iter().enumerate().filter(|_| side == Side::Shown) {
            let groups = sink.groups.clone();
            match &sink.to {
                SinkTo::Changes(_) => {
                    let Some(lines) = changelogs.remove(&i) else { continue };
                    let (checkpoint, faults) =
                        (built.checkpoint.clone(), (built.to_wake.clone(), built.faults.clone()));
                    ends.push(write_changelog(out.changes.clone(), lines, groups, checkpoint, faults));
                }
                to => {
                    let embedded = matches!(to, SinkTo::Embedded);
                    let handle = built.handles[i].clone();
                    let marker = handle.clone().filter(|_| index == 0);
                    let owner =
                        move |routed: &headwater_operators::exchange::Routed| if embedded { 0 } else { routed.to };
                    let acknowledged = store_rows(rows.clone(), handle, groups.clone(), owner);
                    ends.push(mark_as_of(acknowledged, marker, marking(shared, &groups, clock.clone())));
                }
            }
        }
        scope.concatenate(ends).probe_with(&everything);
    });
    Ok(everything)
}

fn marking(shared: &Shared, groups: &[usize], clock: ClockHandle) -> Marking {
    let job = &shared.opened.job;
    let s = |g: &usize| shared.plan.of_group(*g).s.filter(|_| shared.plan.side_of(*g) == Side::Shown);
    let from = groups.iter().filter_map(|g| s(g).map(|s| s.max(shared.plan.rows_from[*g]))).max();
    let marked = |g: &usize| {
        let untouched = shared.plan.rows_from[*g] == i64::MIN;
        let readings = shared.plan.groups[*g].parts.iter().map(|part| part.reading as u32).collect();
        Some(Marked { group: *g, readings, s: s(g)?, untouched })
    };
    let groups = groups.iter().filter_map(marked).collect();
    let is_stored = shared.plan.is_stored;
    Marking { tick: job.tick_us, is_stored, from: from.unwrap_or(i64::MAX), groups, clock }
}

/// Opens a file or a topic, taken up where the checkpoint left it if the run goes on from one.
fn open(shared: &Shared, name: &str, to: &ChangesTo) -> Result<Box<dyn Lines>, Error> {
    let left = left(shared, name).filter(|left| opened::is_left(left, to));
    if let (Some(floor), None) = (shared.plan.floor, left) {
        let t = format_time(floor);
        tracing::warn!(
            "{name} begins with what comes after T = {t}: start with --fresh to have what was before in it too"
        );
    }
    match (to, left) {
        (ChangesTo::Jsonl { path }, Some(Left::Bytes(bytes))) => Ok(Box::new(LineFile::resume(path, *bytes)?)),
        (ChangesTo::Jsonl { path }, _) => Ok(Box::new(LineFile::create(path)?)),
        (ChangesTo::Kafka(kafka), left) => {
            let resume = left.and(shared.plan.floor);
            Ok(Box::new(LineTopic::open(&opened::kafka_config(kafka), resume, shared.stop.clone())?))
        }
    }
}

fn left<'a>(shared: &'a Shared, name: &str) -> Option<&'a Left> {
    shared.plan.restored.as_deref().and_then(|manifest| manifest.lines.get(name))
}

/// Where dead letters lie that wait beside the others. A device has no place beside it.
fn letters_beside(job: &Job) -> PathBuf {
    match &job.dead_letters {
        ChangesTo::Jsonl { path } if path.metadata().map_or(true, |found| found.is_file()) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{name}.beside"))
        }
        _ => job.state.local.join("dead_letters.jsonl.beside"),
    }
}

/// The dead letters of a side. A file is one side's alone, since each is cut back for itself: what is beside has one of its own, which
/// the first start without that side adds to the other.
fn open_letters(shared: &Shared, side: Side) -> Result<(&'static str, Box<dyn Lines>), Error> {
    let job = &shared.opened.job;
    let beside = letters_beside(job);
    match (side, &job.dead_letters) {
        (Side::Beside, ChangesTo::Kafka(kafka)) => {
            let lines = LineTopic::join(&opened::kafka_config(kafka), shared.stop.clone())?;
            Ok((checkpoint::LETTERS_BESIDE, Box::new(lines)))
        }
        (Side::Beside, ChangesTo::Jsonl { .. }) => {
            let left = left(shared, checkpoint::LETTERS_BESIDE).filter(|_| shared.plan.goes_on_beside());
            let lines = match left {
                Some(Left::Bytes(bytes)) => LineFile::resume(&beside, *bytes)?,
                _ => LineFile::create(&beside)?,
            };
            Ok((checkpoint::LETTERS_BESIDE, Box::new(lines)))
        }
        (Side::Shown, to) => {
            let mut lines = open(shared, checkpoint::DEAD_LETTERS, to)?;
            let left = left(shared, checkpoint::LETTERS_BESIDE)
                .filter(|_| !shared.plan.is_beside() && shared.plan.goes_on_beside());
            match left {
                // An older checkpoint may name what a newer one had taken over already.
                Some(Left::Bytes(bytes)) if beside.metadata().map_or(0, |found| found.len()) < *bytes => {
                    tracing::warn!("{} is gone: dead letters of what was new are not added", beside.display());
                }
                Some(Left::Bytes(bytes)) => dead_letters::add(lines.as_mut(), &beside, *bytes)?,
                // They are among the others by now, or void.
                _ if !shared.plan.is_beside() && beside.exists() => drop(std::fs::remove_file(&beside)),
                _ => {}
            }
            Ok((checkpoint::DEAD_LETTERS, lines))
        }
    }
}

type Changelogs = BTreeMap<usize, Named<Step>>;

/// Process 0's first worker writes changelogs, by sink, and dead letters.
fn open_lines(shared: &Shared, side: Side, index: usize) -> Result<(Changelogs, Named<Letters>), Failure> {
    let job = &shared.opened.job;
    let shapes: Vec<_> = shared.opened.groups.iter().map(|g| g.shape.clone()).collect();
    let mut changelogs = Changelogs::new();
    for (i, sink) in job.sinks.iter().enumerate().filter(|_| side == Side::Shown) {
        let SinkTo::Changes(to) = &sink.to else { continue };
        let mut lines = Named { name: checkpoint::changelog(&sink.name), writer: None };
        if index == 0 {
            let changelog = Changelog::new(&shapes);
            let write = move |to: &mut dyn Lines, step: Step| changelog.write(to, &step);
            lines.writer = Some(Writer::start(open(shared, &lines.name, to)?, shared.backlogs[i].clone(), write));
        }
        changelogs.insert(i, lines);
    }
    let mut letters = Named { name: String::new(), writer: None };
    if index == 0 {
        let write = |to: &mut dyn Lines, letters: Letters| dead_letters::write(to, &letters);
        let (name, lines) = open_letters(shared, side)?;
        let backlog = shared.backlogs[letters_of(shared, side)].clone();
        letters = Named { name: name.to_owned(), writer: Some(Writer::start(lines, backlog, write)) };
    }
    Ok((changelogs, letters))
}
