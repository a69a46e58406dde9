//! One worker of a run: its dataflows, put together from their operators, and stepped until the run ends.
//!
//! ```text
//! feed -> windows -> store rows -> as_of        clock (a dataflow of its own): reports -> worker 0 -> T -> feed
//!   |        '-----> changelog
//!   '--------------> dead letters
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use headwater_connectors::sink::changelog::ChangelogFile;
use headwater_connectors::sink::dead_letters::DeadLetterFile;
use headwater_connectors::stream::Start;
use headwater_connectors::{Error, sink::Store};
use headwater_operators::group::{Outputs, State};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::operator::{Watch, windows};
use timely::dataflow::operators::{Concatenate, Probe, probe::Handle as ProbeHandle};
use timely::worker::Worker;

use crate::clock::{self, ClockHandle, Rules};
use crate::failure::Failure;
use crate::job::{ChangesTo, SinkTo};
use crate::opened::Opened;
use crate::plan::{Plan, wall_clock_us};
use crate::run::Mode;
use crate::sink::files::{write_changelog, write_letters};
use crate::sink::segments::SegmentFiles;
use crate::sink::stores::{Marked, Marking, StoreHandle, mark_as_of, store_rows};
use crate::source::effs::Effs;
use crate::source::feed::{self, Parts, SourceReader};
use crate::source::history;
use crate::source::partition::Partition;
use crate::source::seam::Seam;
use crate::status::{Board, GroupStatus, ProcessStatus};

/// Opens the store of a sink for a worker.
pub type OpenStore = Box<dyn Fn(usize) -> Result<Box<dyn Store>, Failure> + Send + Sync>;

/// What every worker of a process is given.
pub struct Shared {
    pub opened: Arc<Opened>,
    pub plan: Arc<Plan>,
    /// By source.
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
    pub failed: Sender<Failure>,
    pub local_workers: usize,
}

/// Bytes of the ledgers of one worker that may stay in memory.
const LEDGER_BYTES_MAX: usize = 64 << 20;
/// Rows that may wait for a store before the windows stand still.
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
    watch.borrow_mut().hold = hold(&handles);
    let states = states(shared, index)?;
    let to_wake: Rc<RefCell<Vec<Rc<timely::scheduling::Activator>>>> = Rc::default();
    let clock = clock(worker, shared, to_wake.clone(), watch.clone(), handles.clone());
    let losses = clock.clone();
    let readers = readers(shared, index, peers)?;
    let done = build(
        worker,
        shared,
        Built { handles: &handles, faults: &faults, watch: &watch, states, clock, readers, to_wake },
    )?;
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
        if handles.iter().flatten().filter(|store| store.take_lost()).count() > 0 {
            losses.want_image();
        }
        note_counters(&mut shared.board.worker(local), &watch.borrow());
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

fn hold(handles: &[Option<StoreHandle>]) -> Option<Box<dyn Fn() -> bool>> {
    let stores: Vec<StoreHandle> = handles.iter().flatten().cloned().collect();
    Some(Box::new(move || stores.iter().any(|s| s.waiting() > WAITING_ROWS_MAX)))
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

/// By sink: the store's thread, where this worker writes to it. The embedded store is written by worker 0 alone.
fn store_handles(shared: &Shared, index: usize) -> Result<Vec<Option<StoreHandle>>, Failure> {
    let replace = shared.fresh && shared.mode == Mode::UntilEnd;
    let open = |(i, sink): (usize, &crate::job::Sink)| match sink.to {
        SinkTo::Redis { .. } => Ok(Some(StoreHandle::start((shared.open_store)(i)?, replace))),
        SinkTo::Embedded if index == 0 => Ok(Some(StoreHandle::start((shared.open_store)(i)?, replace))),
        _ => Ok(None),
    };
    shared.opened.job.sinks.iter().enumerate().map(open).collect()
}

fn states(shared: &Shared, index: usize) -> Result<Vec<State>, Failure> {
    let job = &shared.opened.job;
    let mut states = vec![];
    for (i, (group, open)) in job.groups.iter().zip(&shared.opened.groups).enumerate() {
        let sinks = || job.sinks.iter().filter(|s| s.groups.contains(&i));
        let outputs = Outputs {
            changes: sinks().any(|s| matches!(s.to, SinkTo::Changes(_))),
            rows_from: sinks().any(|s| !matches!(s.to, SinkTo::Changes(_))).then_some(shared.plan.rows_from[i]),
        };
        let start = shared.plan.sources[group.source].s.unwrap_or(i64::MAX);
        let plan = open.plan(job, group, start);
        let dir = job.state.local.join("ledger").join(format!("worker-{index}")).join(&group.name);
        let segments = SegmentFiles::create(&dir)
            .map_err(|e| Failure::Running(format!("creating the ledger's directory {}: {e}", dir.display())))?;
        let codec =
            KeyCodec::new(&open.key_types).map_err(|e| Failure::Running(format!("keys of {}: {e}", group.name)))?;
        let resident = LEDGER_BYTES_MAX / job.groups.len();
        states.push(State::new(&plan, codec, open.shape.schema.clone(), outputs, Box::new(segments), resident));
    }
    Ok(states)
}

fn clock(
    worker: &mut Worker,
    shared: &Shared,
    to_wake: Rc<RefCell<Vec<Rc<timely::scheduling::Activator>>>>,
    watch: Rc<RefCell<Watch>>,
    stores: Vec<Option<StoreHandle>>,
) -> ClockHandle {
    let rules = Rules {
        tick: shared.opened.job.tick_us,
        s: shared.plan.sources.iter().map(|p| p.s).collect(),
        until_end: shared.mode == Mode::UntilEnd,
        end_at_least: shared.plan.end_at_least,
    };
    let image = Cell::new(0);
    let (t, sources) = (Cell::new(None), shared.opened.job.groups.iter().map(|g| g.source).collect::<Vec<_>>());
    let interrupted = shared.interrupted.clone();
    let heard: Rc<dyn Fn(&clock::Announcement)> = Rc::new(move |announcement| {
        if image.replace(announcement.image) < announcement.image {
            stores.iter().flatten().for_each(StoreHandle::begin_image);
            watch.borrow_mut().image_from = announcement.image_from;
        }
        if let Some(now) = announcement.t.filter(|_| t.replace(announcement.t) < announcement.t) {
            let horizon = |(group, source): (usize, &usize)| Some((group, now, *announcement.horizons.get(*source)?));
            watch.borrow_mut().horizons.extend(sources.iter().enumerate().filter_map(horizon));
        }
        if announcement.last && announcement.stopped {
            // What an earlier start has published stays, until a later one has passed it.
            interrupted.store(true, Ordering::Relaxed);
        } else if announcement.last {
            watch.borrow_mut().rows_by = announcement.t;
        }
        to_wake.borrow().iter().for_each(|activator| activator.activate());
    });
    clock::build(worker, rules, heard, shared.on_status.clone())
}

/// The partitions that this worker reads: every `peers`-th.
fn readers(shared: &Shared, index: usize, peers: usize) -> Result<Vec<SourceReader>, Failure> {
    let mut readers = vec![];
    let mut number = 0;
    for (source, (open, plan)) in shared.opened.sources.iter().zip(&shared.plan.sources).enumerate() {
        let Some(stream) = &open.stream else { continue };
        let mut mine = vec![];
        for partition in &plan.partitions {
            if number % peers == index {
                mine.push(partition.clone());
            }
            number += 1;
        }
        if mine.is_empty() {
            continue;
        }
        let starts: Vec<Start> = mine.iter().map(|p| Start { partition: p.partition, offset: p.start }).collect();
        let mut reader = stream.reader(&starts, &open.wanted)?;
        let thread = std::thread::current();
        reader.on_ready(Box::new(move || thread.unpark()));
        let partitions = mine.into_iter().map(|p| Partition::new(p, wall_clock_us())).collect();
        readers.push(SourceReader { source, reader, partitions });
    }
    Ok(readers)
}

struct Built<'a> {
    handles: &'a [Option<StoreHandle>],
    faults: &'a Rc<RefCell<Option<Error>>>,
    watch: &'a Rc<RefCell<Watch>>,
    states: Vec<State>,
    clock: ClockHandle,
    readers: Vec<SourceReader>,
    to_wake: Rc<RefCell<Vec<Rc<timely::scheduling::Activator>>>>,
}

/// Builds the main dataflow; the probe is where everything ends.
fn build(worker: &mut Worker, shared: &Shared, built: Built) -> Result<ProbeHandle<i64>, Failure> {
    let (index, peers) = (worker.index(), worker.peers());
    let opened = &shared.opened;
    let (plan, effs) = (shared.plan.clone(), shared.effs.clone());
    let reading = history::read(opened.clone(), plan, effs, index, peers, std::thread::current());
    let (changelogs, letters_file) = open_files(shared, index)?;
    let (finished, everything) = (ProbeHandle::new(), ProbeHandle::new());
    worker.dataflow_named::<i64, _, _>("job", |scope| {
        let stored = vec![everything.clone()];
        let clock = built.clock.clone();
        let parts = |_| Parts {
            opened: opened.clone(),
            plan: shared.plan.clone(),
            seams: shared.seams.clone(),
            mode: shared.mode,
            worker: index,
            peers,
            local: index % shared.local_workers,
            history: reading,
            readers: built.readers,
            clock: clock.clone(),
            finished: finished.clone(),
            stored,
            board: shared.board.clone(),
            stop: shared.stop.clone(),
            fault: built.faults.clone(),
        };
        let fed = feed::feed(scope, parts);
        built.to_wake.borrow_mut().push(fed.activator);
        let out = windows(fed.events, built.states, built.watch.clone());
        built.to_wake.borrow_mut().push(Rc::new(out.activator));
        let rows = out.rows.probe_with(&finished);
        let mut ends = vec![write_letters(fed.letters, letters_file, built.faults.clone())];
        for (i, sink) in opened.job.sinks.iter().enumerate() {
            let groups = sink.groups.clone();
            match &sink.to {
                SinkTo::Changes(_) => {
                    let file = changelogs.borrow_mut()[i].take();
                    ends.push(write_changelog(out.changes.clone(), file, groups, built.faults.clone()));
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
    let s = |g: &usize| shared.plan.sources[job.groups[*g].source].s;
    let from = groups.iter().filter_map(|g| s(g).map(|s| s.max(shared.plan.rows_from[*g]))).max();
    let marked = |g: &usize| {
        let untouched = shared.plan.rows_from[*g] == i64::MIN;
        Some(Marked { group: *g, source: job.groups[*g].source as u32, s: s(g)?, untouched })
    };
    let groups = groups.iter().filter_map(marked).collect();
    Marking { tick: job.tick_us, from: from.unwrap_or(i64::MAX), groups, clock }
}

type Files = (RefCell<Vec<Option<ChangelogFile>>>, Option<DeadLetterFile>);

/// Process 0's first worker writes the files.
fn open_files(shared: &Shared, index: usize) -> Result<Files, Failure> {
    let job = &shared.opened.job;
    let shapes: Vec<_> = shared.opened.groups.iter().map(|g| g.shape.clone()).collect();
    let mut changelogs = vec![];
    for sink in &job.sinks {
        changelogs.push(match &sink.to {
            SinkTo::Changes(ChangesTo::Jsonl { path }) if index == 0 => Some(ChangelogFile::create(path, &shapes)?),
            _ => None,
        });
    }
    let letters = match &job.dead_letters {
        ChangesTo::Jsonl { path } if index == 0 => Some(DeadLetterFile::create(path)?),
        _ => None,
    };
    Ok((RefCell::new(changelogs), letters))
}
