//! The workers of a replay: those of a run that ends, without anything that it would write; of all processes, where several share the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use headwater_connectors::threads::guarded;

use super::super::watch::Watch;
use super::super::workers::Workers;
use super::caught::Sent;
use crate::base::failure::Failure;
use crate::base::failures::{Failures, Outcome};
use crate::base::id::{IdVec, ScanId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::Opened;
use crate::checkpoint::generations::Starts;
use crate::checkpoint::resumption::Start;
use crate::checkpoint::store::StateStore;
use crate::cluster::Cluster;
use crate::cluster::options::Options;
use crate::ingest::effs::Effs;
use crate::ingest::seam::Seam;
use crate::observe::earlier::Earlier;
use crate::observe::status::{Board, ProcessStatus};
use crate::plan::Plan;
use crate::plan::mode::Mode;
use crate::plan::side::Side;
use crate::render;
use crate::render::caught::Catch;
use crate::render::shared::{Shared, empty_status};

/// Batches that may wait to be collected, before workers do.
const WAITING: usize = 64;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is known before workers start: of what the history's offsets and arrivals say, each process finds all.
pub struct Prepared {
    plan: Plan,
    sets: ColumnSets,
    seams: IdVec<ScanId, Seam>,
    effs: IdVec<ScanId, Effs>,
}

impl Prepared {
    pub fn of(opened: &Opened, plan: Plan) -> Result<Prepared, Failure> {
        let sets = ColumnSets::open(opened, &plan, Side::Live)?;
        let (seams, effs) = (Seam::all(opened, &plan)?, Effs::all(opened, &plan, &sets)?);
        Ok(Prepared { plan, sets, seams, effs })
    }
}

/// Runs it to its end. `catch`: what is caught, given where it goes, whence `take` has it. Returns what was read, and what was wrong.
///
/// Over several processes all begin at about the same time: they wait for each other's workers, and not for long.
pub fn run(
    opened: &Arc<Opened>,
    prepared: Prepared,
    catch: impl FnOnce(SyncSender<Option<Sent>>) -> Catch,
    take: impl FnMut(Sent) -> Result<(), Failure> + Send,
    (workers, watch): (&Workers, &Watch),
) -> Result<ProcessStatus, Failure> {
    let (sender, receiver) = sync_channel(WAITING);
    let abandoned = Arc::new(AtomicBool::new(false));
    let (failures, outcome) = Failures::new();
    let shared = shared(opened, prepared, catch(sender.clone()), (workers, &abandoned), &failures)?;
    let board = shared.board.clone();
    let abandon = || {
        if !abandoned.swap(true, Ordering::Relaxed) {
            // Workers that hold still say nothing.
            failures.tell(Failure::Running("the replay was stopped".to_owned()));
        }
    };
    let abandon: &(dyn Fn() + Sync) = &abandon;
    let collecting = Collecting { receiver, board: &board, abandon, workers, watch };
    let (executed, collected) = std::thread::scope(|scope| {
        // Where it panics, nobody takes any more what workers send.
        let collecting = scope.spawn(move || guarded(|| collecting.all(take)).inspect_err(|_| abandon()));
        let executed = execute(shared, workers, (&failures, &outcome), &abandoned);
        // Nobody sends any more.
        let _ = sender.send(None);
        let collected = collecting.join().expect("what panics is guarded");
        (executed, collected)
    });
    collected?;
    // Stopped, or left by another process, it fails in ways that say nothing.
    workers.check()?;
    executed?;
    Ok(board.sum())
}

fn shared(
    opened: &Arc<Opened>,
    Prepared { plan, sets, seams, effs }: Prepared,
    catch: Catch,
    (workers, abandoned): (&Workers, &Arc<AtomicBool>),
    failures: &Failures,
) -> Result<Shared, Failure> {
    let board = Board::new(workers.number(), &[empty_status(opened, &plan, &sets)?]);
    Ok(Shared {
        opened: opened.clone(),
        state: Arc::new(StateStore::open(&opened.job, 0, Arc::default())?),
        starts: Arc::new(Starts::default()),
        start: Arc::new(Start { plan, from: None }),
        sets: vec![Arc::new(sets)],
        seams: Arc::new(seams),
        effs: Arc::new(effs),
        mode: Mode::UntilEnd,
        fresh: true,
        board,
        stop: Arc::default(),
        interrupted: Arc::default(),
        again: Arc::default(),
        on_status: Arc::new(|_, _| ()),
        open_store: Box::new(|_| Err(Failure::Running("a replay has no stores".to_owned()))),
        earlier: Arc::new(Earlier::new(&opened.job)),
        meanings: IdVec::new(),
        backlogs: Arc::new((0..2).map(|_| Arc::default()).collect()),
        failures: failures.clone(),
        local_workers: workers.number(),
        abandoned: abandoned.clone(),
        ends_process: workers.links().is_some(),
        catch: Some(catch),
    })
}

/// Of a cluster the processes end with a replay that fails. Then nobody waits for its workers: they hold still.
fn execute(
    shared: Shared,
    workers: &Workers,
    (failures, outcome): (&Failures, &Outcome),
    abandoned: &AtomicBool,
) -> Result<(), Failure> {
    let options = workers.links().map_or_else(|| Options::alone(workers.number()), |links| links.options().clone());
    // Whoever begins meanwhile is none of these.
    let cluster = Cluster::connect(&options, &shared.opened.job, "backfill, its replay", abandoned)?;
    let ends_process = shared.ends_process;
    let guards = cluster.execute(move |worker| render::work(worker, &shared))?;
    let joining = render::joined(guards, failures)?;
    let outcome = outcome.next();
    if outcome.is_err() {
        abandoned.store(true, Ordering::Relaxed);
        if ends_process {
            return outcome;
        }
    }
    // Why it failed is known.
    let _ = joining.join();
    outcome
}

/// Takes what workers send, and looks how far they are.
struct Collecting<'a> {
    receiver: Receiver<Option<Sent>>,
    board: &'a Board,
    abandon: &'a (dyn Fn() + Sync),
    workers: &'a Workers<'a>,
    watch: &'a Watch,
}

impl Collecting<'_> {
    fn all(&self, mut take: impl FnMut(Sent) -> Result<(), Failure>) -> Result<(), Failure> {
        let (mut failed, mut looked, mut seen) = (Ok(()), Instant::now(), 0);
        loop {
            match self.receiver.recv_timeout(LOOK_EVERY) {
                Ok(Some(sent)) if failed.is_ok() => {
                    failed = take(sent);
                    if failed.is_err() {
                        (self.abandon)();
                    }
                }
                // What comes yet is of no use, but nobody may wait for it to be taken.
                Ok(Some(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                let read = records(&self.board.sum());
                self.watch.add(read.saturating_sub(seen) as usize);
                seen = read.max(seen);
                if self.workers.check().is_err() {
                    (self.abandon)();
                }
            }
        }
        failed
    }
}

/// How many were read.
pub fn records(status: &ProcessStatus) -> u64 {
    status.history_rows_read + status.sources.iter().map(|source| source.counts.records).sum::<u64>()
}
