//! `run`: plans the start, opens the stores, and runs the workers until the end or a signal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::{IdVec, WorkerId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::open::open;
use crate::catalog::opened::Opened;
use crate::checkpoint::generations::Starts;
use crate::checkpoint::lease::Lease;
use crate::checkpoint::resumption::Start;
use crate::checkpoint::store::StateStore;
use crate::cluster::{self, Cluster};
use crate::ingest::effs::Effs;
use crate::ingest::seam::Seam;
use crate::job::Job;
use crate::observe::earlier::Earlier;
use crate::observe::status::{Board, ProcessStatus};
use crate::observe::view::{HeldStores, RunView};
use crate::plan::mode::Mode;
use crate::render;
use crate::render::shared::{Shared, empty_status};
use crate::serve_log::ServeLog;
use crate::start::decide::Planner;
use crate::start::log::log_plan;
use crate::start::meaning;
use crate::start::pinned::pinned;
use crate::start::stores::{open_store, shapes};

#[derive(Clone, Debug)]
pub struct Options {
    pub until_end: bool,
    pub fresh: bool,
    pub cluster: cluster::options::Options,
    /// Whether the process ends with the run: then nobody waits for what is left of one that has failed.
    pub ends_process: bool,
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

/// Runs a job to its end. `watch`: called once all is set up, before the first row is read; what it returns lives as long
/// as the run. Where a shadow has caught up, the run starts again with both as one dataflow: then it is
/// called again, and given what it has returned.
pub fn run<W>(
    job: Job,
    options: &Options,
    stop: Arc<AtomicBool>,
    mut watch: impl FnMut(RunView, Option<W>) -> Result<W, Failure>,
) -> Result<ProcessStatus, Failure> {
    for warning in &job.warnings {
        tracing::warn!("{}: {}", job.places.show(warning.at), warning.message);
    }
    let mode =
        if options.until_end || job.sources.iter().all(|s| s.stream.is_none()) { Mode::UntilEnd } else { Mode::Follow };
    let _lock = if options.cluster.process == 0 { Some(lock(&job)?) } else { None };
    let state = Arc::new(StateStore::open(&job, options.cluster.process, stop.clone())?);
    let lease = lease(&job, &state, options, &stop)?;
    let serve_log = if options.cluster.process == 0 { ServeLog::open(&job)?.map(Arc::new) } else { None };
    let (fresh, has_begun, stores) = (options.fresh, false, None);
    let mut run =
        Run { options, job, mode, fresh, state, lease, stop, has_begun, stores, serve_log: serve_log.clone() };
    let outcome = run.all(&mut watch);
    serve_log.iter().for_each(|log| log.finish());
    outcome
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
    /// Once they are open.
    stores: Option<HeldStores>,
    /// Process 0 serves, and it writes down what.
    serve_log: Option<Arc<ServeLog>>,
}

impl Run<'_> {
    /// Each start, until no other has to follow.
    fn all<W>(
        &mut self,
        watch: &mut impl FnMut(RunView, Option<W>) -> Result<W, Failure>,
    ) -> Result<ProcessStatus, Failure> {
        let (mut watcher, mut before) = (None, None);
        loop {
            self.has_begun = false;
            let (status, again) = match (self.once(watch, &mut watcher), before) {
                // Asked to stop between two starts, it has stopped.
                (Err(_), Some(status)) if !self.has_begun && self.stop.load(Ordering::Relaxed) => (status, false),
                (outcome, _) => outcome?,
            };
            if !again || self.stop.load(Ordering::Relaxed) {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(status);
            }
            tracing::info!("what is new has come as far as the rows: it goes in");
            // What is there is what it goes on from.
            (self.fresh, before) = (false, Some(status));
        }
    }

    /// One start, to its end. Returns whether another has to follow.
    fn once<W>(
        &mut self,
        watch: &mut impl FnMut(RunView, Option<W>) -> Result<W, Failure>,
        watcher: &mut Option<W>,
    ) -> Result<(ProcessStatus, bool), Failure> {
        let (options, mode, stop) = (self.options, self.mode, self.stop.clone());
        let state = self.state.clone();
        state.begin();
        let mut cluster = Cluster::connect(&options.cluster, &self.job, options.flags(), &stop)?;
        let (opened, start, starts, stores) = self.agree(&mut cluster)?;
        let plan = &start.plan;
        log_plan(&opened, plan);
        let sets = plan.sides().into_iter().map(|side| ColumnSets::open(&opened, plan, side).map(Arc::new));
        let sets = sets.collect::<Result<Vec<_>, _>>()?;
        let (seams, effs) = (Arc::new(Seam::all(&opened, plan)?), Arc::new(Effs::all(&opened, plan, &sets[0])?));
        let empty = sets.iter().map(|sets| empty_status(&opened, plan, sets)).collect::<Result<Vec<_>, _>>()?;
        let board = Board::new(options.cluster.workers, &empty);
        let statuses: Arc<Mutex<BTreeMap<WorkerId, ProcessStatus>>> = Arc::default();
        let earlier = Arc::new(Earlier::new(&opened.job));
        let view = RunView {
            opened: opened.clone(),
            start: start.clone(),
            mode,
            state: state.clone(),
            starts: starts.newest(),
            board: board.clone(),
            statuses: statuses.clone(),
            stores: stores.clone(),
            earlier: earlier.clone(),
            serve_log: self.serve_log.clone(),
        };
        *watcher = Some(watch(view.clone(), watcher.take())?);
        let (interrupted, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (failures, outcome) = Failures::new();
        self.lease.iter().for_each(|lease| lease.report_to(&failures));
        let abandoned = Arc::new(AtomicBool::new(false));
        let on_status =
            move |worker, status| drop(statuses.lock().unwrap_or_else(|p| p.into_inner()).insert(worker, status));
        let shapes = shapes(&opened);
        let (opened_stores, start_stores) = (opened.clone(), start.clone());
        let stop_stores = stop.clone();
        let shared = Shared {
            opened: opened.clone(),
            start: start.clone(),
            state,
            starts: Arc::new(starts),
            sets,
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
                let of_job = (&opened_stores.job, shapes.as_slice());
                open_store(of_job, &start_stores.plan, stores[sink].as_ref(), sink, &stop_stores)
            }),
            earlier,
            meanings: opened.job.all_rows().map(|rows| meaning::of_rows(plan, &opened, rows)).collect(),
            backlogs: Arc::new((0..opened.job.sinks.len() + 2).map(|_| Arc::default()).collect()),
            failures: failures.clone(),
            local_workers: options.cluster.workers,
            abandoned: abandoned.clone(),
            ends_process: options.ends_process,
            catch: None,
        };
        self.has_begun = true;
        let guards = cluster.execute(move |worker| render::work(worker, &shared))?;
        let workers = render::joined(guards, &failures)?;
        let outcome = outcome.next();
        if outcome.is_err() {
            stop.store(true, Ordering::Relaxed);
            abandoned.store(true, Ordering::Relaxed);
            if !options.ends_process {
                // What is left is of no use; why it failed is known.
                let _ = workers.join();
            }
        }
        let again = again.load(Ordering::Relaxed);
        if outcome.is_err() || !again {
            stop.store(true, Ordering::Relaxed);
            *watcher = None;
        }
        match outcome {
            Ok(_) if mode == Mode::UntilEnd && interrupted.load(Ordering::Relaxed) => Err(Failure::Running(
                "stopped before the end was reached: run it again for the rows at the end".to_owned(),
            )),
            outcome => outcome.map(|()| (view.status(), again)),
        }
    }

    /// What process 0 decides, and what only it has: all starts of the job, and by sink the store that is its alone.
    fn agree(&mut self, cluster: &mut Cluster) -> Result<(Arc<Opened>, Arc<Start>, Starts, HeldStores), Failure> {
        let held = self.stores.take().unwrap_or_default();
        let mut planner = Planner {
            mode: self.mode,
            fresh: self.fresh,
            state: &self.state,
            held: &held,
            starts: Starts::default(),
            taken: IdVec::new(),
        };
        let state = &self.state;
        let follow = |job, start: &Start| {
            state.clear_own()?;
            let pinned = pinned(&job, &start.plan);
            open(job, &pinned, &start.plan.pins)
        };
        let (opened, start) = cluster.agree(|job| planner.decide(job), follow, self.job.clone())?;
        let Planner { starts, taken: mut stores, .. } = planner;
        stores.grow_to(opened.job.sinks.len());
        self.stores = Some(stores.clone());
        Ok((Arc::new(opened), Arc::new(start), starts, stores))
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
    let made = std::fs::create_dir_all(&job.state.local);
    made.map_err(|e| Failure::Running(format!("making the directory {}: {e}", job.state.local.display())))?;
    let file = std::fs::File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::Running(format!(
            "another run holds {}: stop it first{}",
            path.display(),
            match &*job.places.file {
                "" => String::new(),
                file => format!(" (`headwater status {file}` tells what it does)"),
            }
        ))),
        Err(std::fs::TryLockError::Error(e)) => Err(failed(e)),
    }
}
