//! `run`: plans the start, opens the stores, and runs the workers until the end or a signal.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use headwater_connectors::format::text::format_time;
use headwater_connectors::sink::embedded::Embedded;
use headwater_connectors::sink::redis::{self, Redis, RedisGroup};
use headwater_connectors::sink::{GroupShape, Marks, Store};

use crate::checkpoint::generations::{self, Starts};
use crate::checkpoint::lease::Lease;
use crate::checkpoint::{self, Manifest, StateStore};
use crate::cluster::{self, Cluster};
use crate::dataflow::{self, Shared};
use crate::failure::Failure;
use crate::job::{self, Group, Job, SinkTo, Window};
use crate::opened::{self, Opened};
use crate::plan::{self, Changed, Parts, Plan, wall_clock_us};
use crate::source::effs::Effs;
use crate::source::seam::Seam;
use crate::status::{Board, GroupStatus, ProcessStatus, SinkStatus, SourceStatus};

/// Whether a run follows its streams, or stops at the ends that they had at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Mode {
    Follow,
    UntilEnd,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub job: PathBuf,
    pub until_end: bool,
    pub fresh: bool,
    pub cluster: cluster::Options,
}

impl Options {
    /// What every process of a cluster must be told alike.
    fn flags(&self) -> &'static str {
        match (self.until_end, self.fresh) {
            (true, true) => "--until-end --fresh",
            (true, false) => "--until-end",
            (false, true) => "--fresh",
            (false, false) => "",
        }
    }
}

/// What others may watch of a run.
#[derive(Clone)]
pub struct Watching {
    pub opened: Arc<Opened>,
    pub plan: Arc<Plan>,
    pub mode: Mode,
    pub state: Arc<StateStore>,
    /// On process 0: how often the job was started, ever.
    pub starts: u64,
    /// This process's workers.
    pub board: Board,
    /// On process 0: every process's status, by its first worker.
    pub statuses: Arc<Mutex<std::collections::BTreeMap<usize, ProcessStatus>>>,
    /// By sink: the embedded store that this process writes.
    pub embedded: Vec<Option<Embedded>>,
}

impl Watching {
    /// The whole job; before the first word of any process, what this one knows.
    pub fn status(&self) -> ProcessStatus {
        let statuses = self.statuses.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if statuses.is_empty() {
            return self.board.sum();
        }
        let mut sum = ProcessStatus::default();
        statuses.values().for_each(|status| sum.add(status));
        sum
    }
}

/// Runs a job to its end. `watch`: called once all is set up, before the first row is read; what it returns lives as long
/// as the run. Where what is new in a changed job has been worked out beside the rows, the run starts again with both: then it is
/// called again, and given what it has returned.
pub fn run<W>(
    options: &Options,
    stop: Arc<AtomicBool>,
    mut watch: impl FnMut(Watching, Option<W>) -> Result<W, Failure>,
) -> Result<ProcessStatus, Failure> {
    let (job, warnings) = job::load(&options.job).map_err(Failure::Job)?;
    for warning in warnings {
        tracing::warn!("{}:{}:{}: {}", job.file.display(), warning.at.line, warning.at.column, warning.message);
    }
    let mode =
        if options.until_end || job.sources.iter().all(|s| s.stream.is_none()) { Mode::UntilEnd } else { Mode::Follow };
    let _lock = if options.cluster.process == 0 { Some(lock(&job)?) } else { None };
    let state = Arc::new(StateStore::open(&job, options.cluster.process, stop.clone())?);
    let lease = lease(&job, &state, options, &stop)?;
    let mut run =
        Run { options, job, mode, fresh: options.fresh, state, lease, stop, has_begun: false, embedded: None };
    let mut watcher = None;
    let mut before = None;
    loop {
        run.has_begun = false;
        let (status, again) = match (run.once(&mut watch, &mut watcher), before) {
            // Asked to stop between two starts, it has stopped.
            (Err(_), Some(status)) if !run.has_begun && run.stop.load(Ordering::Relaxed) => (status, false),
            (outcome, _) => outcome?,
        };
        if !again || run.stop.load(Ordering::Relaxed) {
            run.stop.store(true, Ordering::Relaxed);
            return Ok(status);
        }
        tracing::info!("what is new has come as far as the rows: it goes in");
        // What is there is what it goes on from.
        (run.fresh, before) = (false, Some(status));
    }
}

/// What the starts of a run have in common.
struct Run<'a> {
    options: &'a Options,
    job: Job,
    mode: Mode,
    fresh: bool,
    state: Arc<StateStore>,
    lease: Option<Lease>,
    stop: Arc<AtomicBool>,
    /// Whether a start has come to its workers.
    has_begun: bool,
    /// By sink, once they are open.
    embedded: Option<Vec<Option<Embedded>>>,
}

impl Run<'_> {
    /// One start, to its end. Returns whether another has to follow.
    fn once<W>(
        &mut self,
        watch: &mut impl FnMut(Watching, Option<W>) -> Result<W, Failure>,
        watcher: &mut Option<W>,
    ) -> Result<(ProcessStatus, bool), Failure> {
        let (options, mode, stop) = (self.options, self.mode, self.stop.clone());
        let state = self.state.clone();
        state.begin();
        let mut cluster = Cluster::connect(&options.cluster, &self.job, options.flags(), &stop)?;
        let (mut starts, mut embedded) = (Starts::default(), vec![]);
        let held = self.embedded.take().unwrap_or_default();
        let decide = |job| plan_start(job, mode, self.fresh, &state, &mut starts, (&held, &mut embedded));
        let (opened, plan) = cluster.agree(decide, |job, plan| opened::open(job, Some(plan)), self.job.clone())?;
        let (opened, plan) = (Arc::new(opened), Arc::new(plan));
        say_plan(&opened, &plan);
        let parts = plan.sides().into_iter().map(|side| Parts::open(&opened, &plan, side).map(Arc::new));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let (seams, effs) = (Arc::new(Seam::all(&opened, &plan)?), Arc::new(Effs::all(&opened, &plan, &parts[0])?));
        // No process but the first has any.
        embedded.resize_with(opened.job.sinks.len(), || None);
        self.embedded = Some(embedded.clone());
        let empty = parts.iter().map(|parts| empty_status(&opened, &plan, parts)).collect::<Result<Vec<_>, _>>()?;
        let board = Board::new(options.cluster.workers, &empty);
        let statuses: Arc<Mutex<std::collections::BTreeMap<usize, ProcessStatus>>> = Arc::default();
        let watching = Watching {
            opened: opened.clone(),
            plan: plan.clone(),
            mode,
            state: state.clone(),
            starts: starts.newest(),
            board: board.clone(),
            statuses: statuses.clone(),
            embedded: embedded.clone(),
        };
        *watcher = Some(watch(watching.clone(), watcher.take())?);
        let (interrupted, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (failed, failures) = channel();
        let on_status =
            move |worker, status| drop(statuses.lock().unwrap_or_else(|p| p.into_inner()).insert(worker, status));
        let shapes: Vec<GroupShape> = opened.groups.iter().map(|g| g.shape.clone()).collect();
        let (opened_stores, plan_stores) = (opened.clone(), plan.clone());
        let stop_stores = stop.clone();
        let shared = Shared {
            opened: opened.clone(),
            plan: plan.clone(),
            state,
            starts: Arc::new(starts),
            parts,
            seams,
            effs,
            mode,
            fresh: self.fresh,
            board,
            stop: stop.clone(),
            interrupted: interrupted.clone(),
            again: again.clone(),
            on_status: Arc::new(on_status),
            open_store: Box::new(move |sink| {
                open_store(&opened_stores.job, &shapes, &plan_stores, &embedded, sink, &stop_stores)
            }),
            backlogs: Arc::new((0..opened.job.sinks.len() + 2).map(|_| Arc::default()).collect()),
            failed: failed.clone(),
            local_workers: options.cluster.workers,
        };
        self.has_begun = true;
        let guards = cluster.execute(move |worker| dataflow::work(worker, &shared))?;
        let finished = std::thread::spawn(move || drop(guards.join()));
        drop(failed);
        let outcome = match first_failure(&failures, self.lease.as_ref()) {
            Some(failure) => Err(failure),
            None => {
                let joined = finished.join().map_err(|_| Failure::Running("a worker panicked, see above".to_owned()));
                joined.map(|()| watching.status())
            }
        };
        let again = again.load(Ordering::Relaxed);
        if outcome.is_err() || !again {
            stop.store(true, Ordering::Relaxed);
            *watcher = None;
        }
        match outcome {
            Ok(_) if mode == Mode::UntilEnd && interrupted.load(Ordering::Relaxed) => Err(Failure::Running(
                "stopped before the end was reached: run it again for the rows at the end".to_owned(),
            )),
            outcome => outcome.map(|status| (status, again)),
        }
    }
}

/// The first failure of anybody, or of the lease. `None`: all is done.
fn first_failure(failures: &Receiver<Failure>, lease: Option<&Lease>) -> Option<Failure> {
    loop {
        if let Some(Err(failure)) = lease.map(Lease::check) {
            return Some(failure);
        }
        match failures.recv_timeout(Duration::from_millis(200)) {
            Ok(failure) => return Some(failure),
            // Every worker holds a sender until it is done, and one that failed never is.
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// A state in an object store has nothing that could be locked.
fn lease(job: &Job, state: &StateStore, options: &Options, stop: &AtomicBool) -> Result<Option<Lease>, Failure> {
    let needed = options.cluster.process == 0 && state.storage.local().is_none();
    needed.then(|| Lease::take(&state.storage, &job.state.local, stop)).transpose()
}

/// One start at a time owns the state directory: its files would be torn by two. Held until the file is dropped.
fn lock(job: &Job) -> Result<std::fs::File, Failure> {
    let path = job.state.local.join("lock");
    let failed = |e: std::io::Error| Failure::Running(format!("locking {}: {e}", path.display()));
    std::fs::create_dir_all(&job.state.local).map_err(failed)?;
    let file = std::fs::File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::Running(format!(
            "another run holds {}: stop it first (`headwater status {}` tells what it does)",
            path.display(),
            job.file.display()
        ))),
        Err(std::fs::TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// On process 0: what is decided before the first row is read, and written down.
fn plan_start(
    job: Job,
    mode: Mode,
    fresh: bool,
    state: &StateStore,
    starts: &mut Starts,
    (held, embedded): (&[Option<Embedded>], &mut Vec<Option<Embedded>>),
) -> Result<(Opened, Plan), Failure> {
    let mut opened = opened::open(job, None)?;
    state.clear_staging()?;
    let found;
    (found, *starts) = checkpoint::take_over(state, fresh)?;
    let found = found.filter(|_| opened.has_stream()).map(|manifest| {
        let changed = Changed::between(&manifest.plan, &opened);
        tell_changes(&opened, &manifest, &changed);
        (manifest, changed)
    });
    let unchanged = found.as_ref().is_some_and(|(_, changed)| changed.is_nothing);
    let mut plan = match found.filter(|(manifest, changed)| changed.goes_on(manifest)) {
        None => plan::plan(&opened, wall_clock_us(), mode == Mode::Follow)?,
        Some((manifest, changed)) => {
            let plan = plan::go_on(&opened, manifest, &changed, wall_clock_us(), mode)?;
            tell_new_files(&opened, &plan);
            opened = opened::open(opened.job, Some(&plan))?;
            plan
        }
    };
    plan.checkpoints = generations::numbers_of(starts.newest());
    if let Some(manifest) = &plan.restored {
        match manifest.t_of_rows() {
            Some(t) => tracing::info!(number = manifest.number, "going on from a checkpoint at T = {}", format_time(t)),
            None => tracing::info!(number = manifest.number, "going on with the history, by the plan made then"),
        }
    }
    let shapes: Vec<GroupShape> = opened.groups.iter().map(|g| g.shape.clone()).collect();
    plan.is_stored = unchanged && plan.is_as_published();
    for (number, sink) in opened.job.sinks.iter().enumerate() {
        generations::check(&state.storage, starts.newest())?;
        let held = held.get(number).and_then(Option::as_ref);
        let meaning = plan.meaning(&opened, sink);
        let Claimed { generation, marks, store, is_whole } =
            claim((&opened.job, sink), (&shapes, meaning), starts.newest(), held)?;
        plan.generations.push(generation);
        let saved_at = plan.restored.as_ref().and_then(|manifest| manifest.t);
        // A Redis may have been emptied, or filled from elsewhere, meanwhile.
        plan.is_stored &= match sink.to {
            SinkTo::Changes(_) => true,
            SinkTo::Embedded => is_whole && marks.iter().all(|marks| marks.as_of_us >= saved_at),
            SinkTo::Redis { .. } => false,
        };
        embedded.push(store);
        for (group, marks) in sink.groups.iter().zip(marks) {
            let upto = marks.upto_us.max(marks.as_of_us).unwrap_or(i64::MIN);
            plan.rows_from[*group] = plan.rows_from[*group].max(upto);
            if !fresh {
                plan.end_at_least = plan.end_at_least.max(upto);
            }
        }
    }
    let tick = opened.job.tick_us;
    let whole = |t: &mut i64| *t = if *t == i64::MIN { *t } else { headwater_operators::ledger::up(*t, tick) };
    plan.rows_from.iter_mut().for_each(whole);
    whole(&mut plan.end_at_least);
    plan::set_beside(&mut plan, tick, mode == Mode::Follow);
    if plan.is_beside() {
        tracing::info!("rows go on as they are, and what is new is computed beside them");
    }
    write_down(&opened.job, &plan)?;
    let new = (0..plan.readings.len()).any(|reading| plan.is_new(reading));
    if opened.has_stream() && new {
        plan.checkpoints += 1;
        plan.first_manifest(mode).commit(state, starts)?;
    }
    Ok((opened, plan))
}

/// Tells what has changed in a job that goes on, or that it does not.
fn tell_changes(opened: &Opened, manifest: &Manifest, changed: &Changed) {
    if changed.is_nothing {
        return;
    }
    if !changed.goes_on(manifest) {
        tracing::warn!("the job has changed since its last checkpoint: everything is computed anew from the history");
        return;
    }
    for (group, changed) in opened.job.groups.iter().zip(&changed.groups).filter(|(_, changed)| !changed.new.is_empty())
    {
        let names: Vec<&str> = changed.new.iter().map(|column| group.columns[*column].name.as_str()).collect();
        let what = if changed.old.is_some() { "new columns" } else { "a new group" };
        tracing::info!(group = group.name, columns = names.join(" "), "{what}: computed from the history");
    }
    if !changed.removed.is_empty() {
        tracing::info!(removed = changed.removed.join(" "), "no longer in the job");
    }
}

/// Beside a stream, a source of history alone is read once.
fn tell_new_files(opened: &Opened, plan: &Plan) {
    for (number, open) in opened.sources.iter().enumerate().filter(|(_, open)| open.stream.is_none()) {
        let Some(history) = &open.history else { continue };
        let read = plan.readings.iter().filter(|reading| reading.source == number);
        let known: BTreeSet<&str> = read.flat_map(|r| &r.pinned.files).map(|file| file.path.as_str()).collect();
        let new = history.pinned().files.iter().filter(|file| !known.contains(file.path.as_str())).count();
        if new > 0 {
            let source = &opened.job.sources[number].name;
            tracing::warn!(source, files = new, "files that came to this history are not read: they wait for --fresh");
        }
    }
}

/// A sink that was taken over from an earlier start.
#[derive(Default)]
struct Claimed {
    generation: u64,
    /// By group: what is in it.
    marks: Vec<Marks>,
    store: Option<Embedded>,
    /// It has an image of what the job is now.
    is_whole: bool,
}

/// `meaning`: of the sink's rows; `held`: the store, if this process has it open.
fn claim(
    (job, sink): (&Job, &job::Sink),
    (shapes, meaning): (&[GroupShape], i64),
    generation: u64,
    held: Option<&Embedded>,
) -> Result<Claimed, Failure> {
    match &sink.to {
        SinkTo::Changes(_) => Ok(Claimed::default()),
        SinkTo::Embedded => {
            let mut store = held.map_or_else(|| Embedded::open(&embedded_path(job), shapes), Embedded::again)?;
            let is_whole = store.is_whole(meaning)?;
            let marks = sink.groups.iter().map(|g| store.marks(*g)).collect::<Result<_, _>>()?;
            Ok(Claimed { generation: 0, marks, store: Some(store), is_whole })
        }
        SinkTo::Redis { url } => {
            // One more than the state's before this start.
            let generation = redis::claim(url, &job.name, generation.checked_sub(1))?;
            let name = |g: &usize| &shapes[*g].name;
            let marks = sink.groups.iter().map(|g| redis::marks(url, &job.name, name(g))).collect::<Result<_, _>>()?;
            Ok(Claimed { generation, marks, ..Claimed::default() })
        }
    }
}

/// The groups as a Redis sink of theirs is told of them. Its groups are those of the job, whichever it lists.
pub fn redis_groups(job: &Job, shapes: &[GroupShape]) -> Vec<RedisGroup> {
    let size = |window| match window {
        Window::Tumbling { size_us } | Window::Hopping { size_us, .. } => Some(size_us),
        Window::Trailing | Window::Session { .. } => None,
    };
    let group = |(group, shape): (&Group, &GroupShape)| RedisGroup {
        shape: shape.clone(),
        retain_us: group.retain_us,
        size_us: size(group.window),
    };
    job.groups.iter().zip(shapes).map(group).collect()
}

pub fn embedded_path(job: &Job) -> PathBuf {
    job.state.embedded.clone()
}

fn plan_path(job: &Job) -> PathBuf {
    job.state.local.join("plan.json")
}

fn write_down(job: &Job, plan: &Plan) -> Result<(), Failure> {
    let path = plan_path(job);
    let text = serde_json::to_vec_pretty(plan).expect("a plan is plain data");
    let failed = |e| Failure::Running(format!("writing {}: {e}", path.display()));
    std::fs::create_dir_all(&job.state.local).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)
}

fn open_store(
    job: &Job,
    shapes: &[GroupShape],
    plan: &Plan,
    embedded: &[Option<Embedded>],
    sink: usize,
    stop: &Arc<AtomicBool>,
) -> Result<Box<dyn Store>, Failure> {
    match (&job.sinks[sink].to, &embedded[sink]) {
        (SinkTo::Embedded, Some(store)) => Ok(Box::new(store.clone())),
        (SinkTo::Redis { url }, _) => {
            let groups = redis_groups(job, shapes);
            Ok(Box::new(Redis::open(url, &job.name, &groups, plan.generations[sink], stop.clone())?))
        }
        _ => unreachable!("only stores are opened"),
    }
}

fn empty_status(opened: &Opened, plan: &Plan, parts: &Parts) -> Result<ProcessStatus, Failure> {
    let rows = crate::source::history::rows_left(opened, plan, parts)?;
    Ok(ProcessStatus {
        history_rows_total: rows,
        sources: vec![SourceStatus::default(); opened.sources.len()],
        groups: vec![GroupStatus::default(); opened.groups.len()],
        sinks: vec![SinkStatus::default(); opened.job.sinks.len()],
        ..ProcessStatus::default()
    })
}

/// Tells where history and stream meet.
fn say_plan(opened: &Opened, plan: &Plan) {
    for (conf, source) in plan.readings.iter().map(|reading| (&opened.job.sources[reading.source], reading)) {
        for warning in &source.warnings {
            tracing::warn!(source = conf.name, "{warning}");
        }
        for partition in &source.partitions {
            tracing::info!(
                source = conf.name,
                partition = partition.partition,
                history_offset = partition.history_offset,
                first_read = partition.start,
                end = partition.end,
                "seam"
            );
        }
    }
}
