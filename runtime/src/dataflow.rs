//! One worker of a run: its dataflows, put together from their operators, and stepped until the run ends.
//!
//! ```text
//! feed -> windows -> store rows -> as_of        clock (a dataflow of its own): reports -> worker 0 -> T -> feed
//!   |        '-----> changelog
//!   '--------------> dead letters
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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

use crate::checkpoint::generations::Starts;
use crate::checkpoint::{self, Committing, Contribution, GroupJournal, Local, Manifest, Noted, Sending, StateStore};
use crate::clock::{self, Announcement, Checkpoints, ClockHandle, Rules};
use crate::failure::Failure;
use crate::job::{ChangesTo, SinkTo};
use crate::opened::{self, Opened};
use crate::plan::{Plan, wall_clock_us};
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
    pub parts: Arc<crate::plan::Parts>,
    /// By reading.
    pub seams: Arc<Vec<Seam>>,
    pub effs: Arc<Vec<Effs>>,
    pub mode: Mode,
    pub fresh: bool,
    pub board: Board,
    pub stop: Arc<AtomicBool>,
    /// Set where the run was stopped before its end.
    pub interrupted: Arc<AtomicBool>,
    /// Worker 0 leaves here what the processes say of themselves.
    pub on_status: Arc<dyn Fn(usize, ProcessStatus) + Send + Sync>,
    pub open_store: OpenStore,
    /// By sink, and of the dead letters: what waits to become lines.
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
    let (index, peers) = (worker.index(), worker.peers());
    let handles = store_handles(shared, index)?;
    let faults: Rc<RefCell<Option<Error>>> = Rc::default();
    let watch = Rc::new(RefCell::new(Watch::default()));
    watch.borrow_mut().hold = hold(&handles, shared.backlogs.clone());
    let checkpoint: Rc<RefCell<Local>> = Rc::default();
    if shared.state.storage.local().is_none() {
        checkpoint.borrow_mut().sending =
            Some(Sending::start(shared.state.clone(), index as u32, shared.failed.clone())?);
    }
    let journals = journals(shared, index, peers);
    let states = states(shared, &journals, index, peers)?;
    watch.borrow_mut().save = Some(save(shared, journals, (index, peers), checkpoint.clone()));
    let to_wake: ToWake = Rc::default();
    let clock = clock(worker, shared, to_wake.clone(), watch.clone(), checkpoint.clone(), handles.clone())?;
    let losses = clock.clone();
    let readers = readers(shared, index, peers)?;
    let done = build(
        worker,
        shared,
        Built {
            handles: &handles,
            faults: &faults,
            watch: &watch,
            checkpoint: &checkpoint,
            states,
            clock,
            readers,
            to_wake,
        },
    )?;
    let mut contributed = 0;
    let local = index % shared.local_workers;
    while done.with_frontier(|f| !f.is_empty()) {
        worker.step_or_park(Some(Duration::from_millis(5)));
        if let Some(fault) = faults.borrow_mut().take() {
            return Err(fault.into());
        }
        if let Some(fault) = watch.borrow_mut().fault.take() {
            return Err(Failure::Running(fault.to_string()));
        }
        if let Some(fault) = handles.iter().flatten().find_map(StoreHandle::take_fault) {
            return Err(fault.into());
        }
        for (sink, _) in handles.iter().enumerate().filter(|(_, s)| s.as_ref().is_some_and(StoreHandle::take_lost)) {
            losses.want_image();
            shared.board.worker(local).sinks[sink].losses += 1;
        }
        let in_sinks = |t: i64| done.with_frontier(|f| f.iter().next().is_none_or(|frontier| *frontier > t));
        checkpoint.borrow_mut().hear();
        if let Some(contribution) = checkpoint.borrow().contribution(contributed, in_sinks) {
            contributed = contribution.number;
            losses.saved(contribution);
        }
        let mut status = shared.board.worker(local);
        note_counters(&mut status, &watch.borrow());
        note_waiting(&mut status, shared, &handles, local == 0);
    }
    let announced = losses.announced();
    let lost = handles.iter().flatten().any(StoreHandle::take_lost);
    if lost || losses.wanted_image() > announced.image || announced.image_from > announced.t {
        let told = "a store lost writes while the last ones were written; start again to write everything once more";
        return Err(Failure::Running(told.to_owned()));
    }
    while worker.has_dataflows() && worker.step_or_park(Some(Duration::from_millis(5))) {}
    Ok(())
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
fn note_waiting(status: &mut ProcessStatus, shared: &Shared, handles: &[Option<StoreHandle>], first: bool) {
    let lines = |sink: usize| if first { shared.backlogs[sink].load(Ordering::Relaxed) } else { 0 };
    for (i, sink) in status.sinks.iter_mut().enumerate() {
        sink.waiting = (handles[i].as_ref().map_or(0, StoreHandle::waiting) + lines(i)) as u64;
    }
    status.letters_waiting = lines(handles.len()) as u64;
    status.state_failures = if first { shared.state.watched.failures() } else { 0 };
}

/// By sink: the store's thread, where this worker writes to it. The embedded store is written by worker 0 alone.
fn store_handles(shared: &Shared, index: usize) -> Result<Vec<Option<StoreHandle>>, Failure> {
    let image = (!shared.plan.spared).then_some(shared.fresh && shared.mode == Mode::UntilEnd);
    let open = |(i, sink): (usize, &crate::job::Sink)| match sink.to {
        SinkTo::Redis { .. } => Ok(Some(StoreHandle::start((shared.open_store)(i)?, image))),
        SinkTo::Embedded if index == 0 => Ok(Some(StoreHandle::start((shared.open_store)(i)?, image))),
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
            parts.extend(written.map_err(|e| SegmentError(e.to_string()))?);
        }
        local.borrow_mut().wrote(number, parts, begun.elapsed());
        Ok(())
    })
}

/// By group.
fn journals(shared: &Shared, index: usize, peers: usize) -> Vec<GroupJournal> {
    let length = |column: &headwater_operators::accumulators::ColumnPlan| column.length;
    let longest = |part: &crate::plan::Part| part.plan.columns.iter().filter_map(length).max().unwrap_or(0);
    let journal = |(group, parts): (usize, &Vec<crate::plan::Part>)| {
        let longest: Vec<i64> = parts.iter().map(longest).collect();
        GroupJournal::new(shared.state.clone(), group, (index, peers), &longest)
    };
    shared.parts.0.iter().enumerate().map(journal).collect()
}

/// Fills a group's state with what it held at the checkpoint that the run goes on from.
fn restore(
    shared: &Shared,
    group: usize,
    state: &mut State,
    journal: &GroupJournal,
    (index, peers): (usize, usize),
) -> Result<(), Failure> {
    let plan = &shared.plan;
    let Some(manifest) = &plan.restored else { return Ok(()) };
    let resumed = plan.resumed(group).unwrap_or_else(|| vec![None; shared.parts.0[group].len()]);
    let failed = |e: SegmentError| Failure::Running(e.to_string());
    state.resume(plan.floor, &resumed, plan.groups[group].renewed).map_err(failed)?;
    let Some(saved) = plan.groups[group].saved else { return Ok(()) };
    let owns = |key: &[u8]| keys::owner(keys::hash(key), peers) == index as u64;
    checkpoint::read(&shared.state, manifest, saved, (state, journal), owns)?;
    let reading = plan.groups[group].parts[0].reading;
    let saved_at = plan.readings[reading].done.or(manifest.t);
    if let Some((t, horizon)) = saved_at.zip(horizons(plan).get(reading)) {
        state.close_after(t, *horizon);
    }
    Ok(())
}

/// By reading, where the checkpoint left off: windows that closed before it are gone.
fn horizons(plan: &Plan) -> Vec<i64> {
    let mut horizons = vec![i64::MIN; plan.readings.len()];
    let known = plan.restored.iter().flat_map(|manifest| &manifest.horizons);
    for (now, horizon) in plan.moved.iter().zip(known).filter_map(|(now, horizon)| Some((now.as_ref()?, horizon))) {
        horizons[*now] = *horizon;
    }
    horizons
}

fn states(shared: &Shared, journals: &[GroupJournal], index: usize, peers: usize) -> Result<Vec<State>, Failure> {
    let job = &shared.opened.job;
    let mut states = vec![];
    for (i, (group, open)) in job.groups.iter().zip(&shared.opened.groups).enumerate() {
        let sinks = || job.sinks.iter().filter(|s| s.groups.contains(&i));
        let outputs = Outputs {
            changes: sinks().any(|s| matches!(s.to, SinkTo::Changes(_))),
            rows_from: sinks().any(|s| !matches!(s.to, SinkTo::Changes(_))).then_some(shared.plan.rows_from[i]),
        };
        let plan = shared.parts.plan(&shared.opened, i);
        let dir = job.state.local.join("ledger").join(format!("worker-{index}")).join(&group.name);
        let segments = SegmentFiles::create(&dir)
            .map_err(|e| Failure::Running(format!("creating the ledger's directory {}: {e}", dir.display())))?;
        let codec =
            KeyCodec::new(&open.key_types).map_err(|e| Failure::Running(format!("keys of {}: {e}", group.name)))?;
        let resident = LEDGER_BYTES_MAX / job.groups.len();
        let mut state = State::new(&plan, codec, open.shape.schema.clone(), outputs, Box::new(segments), resident);
        if shared.opened.has_stream() {
            state.keep_journal(Box::new(journals[i].clone()));
        }
        restore(shared, i, &mut state, &journals[i], (index, peers))?;
        if shared.plan.spared {
            state.spare_image();
        }
        states.push(state);
    }
    Ok(states)
}

fn clock(
    worker: &mut Worker,
    shared: &Shared,
    to_wake: ToWake,
    watch: Rc<RefCell<Watch>>,
    checkpoint: Rc<RefCell<Local>>,
    stores: Vec<Option<StoreHandle>>,
) -> Result<ClockHandle, Failure> {
    let rules = Rules {
        tick: shared.opened.job.tick_us,
        s: shared.plan.readings.iter().map(|p| p.s).collect(),
        until_end: shared.mode == Mode::UntilEnd,
        end_at_least: shared.plan.end_at_least,
        restored: shared.plan.restored.as_ref().map(|manifest| {
            let whole = shared.plan.readings.iter().all(|reading| reading.restored);
            (manifest.t.filter(|_| whole), horizons(&shared.plan))
        }),
        checkpoints: checkpoints(shared, worker.index(), checkpoint.clone())?,
    };
    let (image, asked) = (Cell::new(0), Cell::new(shared.plan.checkpoints));
    let of_groups: Vec<usize> = shared.plan.groups.iter().map(|group| group.parts[0].reading).collect();
    let t = Cell::new(None);
    let (interrupted, state) = (shared.interrupted.clone(), shared.state.clone());
    let heard: Rc<dyn Fn(&clock::Announcement)> = Rc::new(move |announcement: &Announcement| {
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
        if announcement.last {
            state.end();
        }
        if announcement.last && announcement.stopped {
            // What an earlier start has published stays, until a later one has passed it.
            interrupted.store(true, Ordering::Relaxed);
        } else if announcement.last {
            watch.borrow_mut().rows_by = announcement.t;
        }
        to_wake.borrow().iter().for_each(|activator| activator.activate());
    });
    Ok(clock::build(worker, rules, heard, shared.on_status.clone()))
}

/// Worker 0 takes checkpoints. A job without any stream has none: it reads all anew each time.
fn checkpoints(shared: &Shared, index: usize, local: Rc<RefCell<Local>>) -> Result<Option<Checkpoints>, Failure> {
    let (opened, plan, mode) = (shared.opened.clone(), shared.plan.clone(), shared.mode);
    if index > 0 || !opened.has_stream() {
        return Ok(None);
    }
    let every = Duration::from_micros(opened.job.state.checkpoint_every_us.unsigned_abs());
    let (number, of_sinks) = (plan.checkpoints, local.clone());
    let begun_us = Rc::new(Cell::new(None));
    let begun = begun_us.clone();
    let committing = Rc::new(Committing::start(shared.state.clone(), shared.starts.clone(), shared.failed.clone())?);
    let commits = committing.clone();
    let commit = move |asked: &Announcement, contributions: Vec<Contribution>| {
        let of_sinks = of_sinks.borrow();
        let left = |(name, noted): (&String, &Noted)| Some((name.clone(), noted.left.clone()?));
        let mut read = plan.read.clone();
        contributions.iter().for_each(|c| read.extend(&c.read));
        committing.commit(Manifest {
            format: checkpoint::FORMAT,
            number: asked.checkpoint.map_or(0, |(number, _)| number),
            t: asked.t,
            begun_us: begun_us.get(),
            horizons: asked.horizons.clone(),
            mode,
            finished: asked.last && !asked.stopped,
            plan: plan.at(asked.t, read),
            positions: contributions.iter().flat_map(|c| &c.positions).copied().collect(),
            parts: contributions.iter().flat_map(|c| &c.parts).cloned().collect(),
            lines: of_sinks.lines.iter().filter_map(left).collect(),
        });
    };
    Ok(Some(Checkpoints {
        every,
        number,
        want: Box::new(move |n, t| {
            begun.set(Some(wall_clock_us()));
            local.borrow_mut().want(n, t);
        }),
        commit: Box::new(commit),
        committing: Box::new(move || commits.is_busy()),
    }))
}

/// The partitions that this worker reads: every `peers`-th.
fn readers(shared: &Shared, index: usize, peers: usize) -> Result<Vec<SourceReader>, Failure> {
    let mut readers = vec![];
    let mut number = 0;
    for (source, open) in shared.opened.sources.iter().enumerate() {
        let Some(stream) = &open.stream else { continue };
        let mut lanes: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
        for (reading, plan) in shared.plan.readings.iter().enumerate().filter(|(_, plan)| plan.source == source) {
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
    handles: &'a [Option<StoreHandle>],
    faults: &'a Rc<RefCell<Option<Error>>>,
    watch: &'a Rc<RefCell<Watch>>,
    checkpoint: &'a Rc<RefCell<Local>>,
    states: Vec<State>,
    clock: ClockHandle,
    readers: Vec<SourceReader>,
    to_wake: ToWake,
}

/// Builds the main dataflow; the probe is where everything ends.
fn build(worker: &mut Worker, shared: &Shared, built: Built) -> Result<ProbeHandle<i64>, Failure> {
    let (index, peers) = (worker.index(), worker.peers());
    let opened = &shared.opened;
    let (plan, effs) = (shared.plan.clone(), shared.effs.clone());
    let reading = history::read(opened.clone(), plan, shared.parts.clone(), effs, index, peers, std::thread::current());
    let newcomers = match shared.mode {
        Mode::Follow => Newcomers::all(opened, &shared.plan, index, peers)?,
        Mode::UntilEnd => vec![],
    };
    let (mut changelogs, letters) = open_lines(shared, index)?;
    {
        let names = changelogs.values().filter(|lines| lines.writer.is_some()).map(|lines| &lines.name);
        let names = names.chain(letters.writer.as_ref().map(|_| &letters.name));
        built.checkpoint.borrow_mut().lines = names.map(|name| (name.clone(), Noted::default())).collect();
    }
    let (finished, everything) = (ProbeHandle::new(), ProbeHandle::new());
    worker.dataflow_named::<i64, _, _>("job", |scope| {
        let stored = vec![everything.clone()];
        let clock = built.clock.clone();
        let parts = |_| Parts {
            opened: opened.clone(),
            plan: shared.plan.clone(),
            parts: shared.parts.clone(),
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
            board: shared.board.clone(),
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
        for (i, sink) in opened.job.sinks.iter().enumerate() {
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
    let s = |g: &usize| shared.plan.of_group(*g).s;
    let from = groups.iter().filter_map(|g| s(g).map(|s| s.max(shared.plan.rows_from[*g]))).max();
    let marked = |g: &usize| {
        let untouched = shared.plan.rows_from[*g] == i64::MIN;
        let readings = shared.plan.groups[*g].parts.iter().map(|part| part.reading as u32).collect();
        Some(Marked { group: *g, readings, s: s(g)?, untouched })
    };
    let groups = groups.iter().filter_map(marked).collect();
    let spared = shared.plan.spared;
    Marking { tick: job.tick_us, spared, from: from.unwrap_or(i64::MAX), groups, clock }
}

/// Opens a file or a topic, taken up where the checkpoint left it if the run goes on from one.
fn open(shared: &Shared, name: &str, to: &ChangesTo) -> Result<Box<dyn Lines>, Error> {
    let restored = shared.plan.restored.as_deref();
    let left = restored.and_then(|manifest| manifest.lines.get(name)).filter(|left| opened::is_left(left, to));
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

type Changelogs = BTreeMap<usize, Named<Step>>;

/// Process 0's first worker writes changelogs, by sink, and dead letters.
fn open_lines(shared: &Shared, index: usize) -> Result<(Changelogs, Named<Letters>), Failure> {
    let job = &shared.opened.job;
    let shapes: Vec<_> = shared.opened.groups.iter().map(|g| g.shape.clone()).collect();
    let mut changelogs = Changelogs::new();
    for (i, sink) in job.sinks.iter().enumerate() {
        let SinkTo::Changes(to) = &sink.to else { continue };
        let mut lines = Named { name: checkpoint::changelog(&sink.name), writer: None };
        if index == 0 {
            let changelog = Changelog::new(&shapes);
            let write = move |to: &mut dyn Lines, step: Step| changelog.write(to, &step);
            lines.writer = Some(Writer::start(open(shared, &lines.name, to)?, shared.backlogs[i].clone(), write));
        }
        changelogs.insert(i, lines);
    }
    let mut letters = Named { name: checkpoint::DEAD_LETTERS.to_owned(), writer: None };
    if index == 0 {
        let write = |to: &mut dyn Lines, letters: Letters| dead_letters::write(to, &letters);
        let lines = open(shared, &letters.name, &job.dead_letters)?;
        letters.writer = Some(Writer::start(lines, shared.backlogs[job.sinks.len()].clone(), write));
    }
    Ok((changelogs, letters))
}
