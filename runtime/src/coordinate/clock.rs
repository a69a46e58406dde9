//! The clock: worker 0 gathers what every partition can still bring, and announces `T`.
//!
//! `T` reaches `t` when no partition can still bring a record with `eff <= t`. A partition whose end is not confirmed and
//! that brings nothing for `stall_limit` is left out until it answers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::scheduling::Activator;
use timely::worker::Worker;

use crate::checkpoint::contribution::Contribution;
use crate::observe::status::ProcessStatus;
use crate::plan::side::Side;

/// What a worker says of its partitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub worker: usize,
    pub history_done: bool,
    /// Slices of history that it has sent, and the checkpoint for which it reads no more of them.
    pub slices: i64,
    pub paused: u64,
    pub partitions: Vec<PartitionReport>,
    /// By reading that may get more of them: the wall clock of the newest look whose partitions are all in here.
    pub looked: Vec<(u32, i64)>,
    /// The tick at which all that was read has come in, but for events from the future.
    pub reaches: Option<i64>,
    /// This process was asked to stop.
    pub stop: bool,
    /// The number of the image of the stores that this worker asks for; 0: no other than the first.
    pub image: u64,
    /// Once a checkpoint: what it has put into it, when that is in all its sinks.
    pub saved: Option<Contribution>,
    /// Now and then, from the first worker of a process.
    pub status: Option<ProcessStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionReport {
    pub reading: u32,
    pub partition: i32,
    /// No record with an `eff` up to here can come any more; `i64::MAX`: none at all.
    pub clock: i64,
    /// No later record has a smaller one.
    pub eff: Option<i64>,
    /// It has been at its end for `idle_limit`: no window is kept for it.
    pub idle: bool,
    pub left_out: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Everybody has read its history: streams may be read.
    pub history_done: bool,
    /// Nobody reads any history until a checkpoint of this number has been asked for.
    pub pause: u64,
    /// The job's own time, once it has begun.
    pub t: Option<i64>,
    /// By source, since `t`: no record that counts in a window has a smaller `eff`.
    pub horizons: Vec<i64>,
    /// Nothing is published after it.
    pub last: bool,
    /// It is the last because somebody asked to stop, not because the end was reached.
    pub stopped: bool,
    /// Nobody asked: what was worked out beside the rows goes in, and the run starts again.
    pub again: bool,
    /// Readings with a partition that is left out: the `_as_of` of their groups stays.
    pub stalled: Vec<u32>,
    /// How often stores have to be written anew, and the tick at which it begins the last time: a store lost writes.
    pub image: u64,
    pub image_from: Option<i64>,
    /// The newest checkpoint: its number and its tick.
    pub checkpoint: Option<(u64, i64)>,
}

/// What worker 0 decides by.
pub struct Rules {
    pub tick: i64,
    /// By reading.
    pub s: Vec<Option<i64>>,
    /// Stop where every partition has ended (there may be none at all).
    pub until_end: bool,
    pub end_at_least: i64,
    /// Where the run goes on from a checkpoint: its tick, unless something new has to come as far first; and the horizons there.
    pub restored: Option<(Option<i64>, Vec<i64>)>,
    /// How checkpoints are taken, if they are.
    pub checkpoints: Option<Checkpoints>,
    /// Where a run has two sides: which one this is, and what it knows of the other.
    pub between: Option<(Side, Rc<Between>)>,
}

/// What the clocks of two sides know of each other, on worker 0.
#[derive(Default)]
pub struct Between {
    tick: i64,
    near_us: i64,
    /// `T` of both, and up to where what is beside is worked out.
    shown: Cell<Option<i64>>,
    beside: Cell<Option<i64>>,
    finished: RefCell<Option<ProbeHandle<i64>>>,
    meets: Cell<bool>,
}

impl Between {
    /// `shown`: `T` of the rows at the start.
    pub fn new(tick: i64, near_us: i64, shown: Option<i64>) -> Between {
        Between { tick, near_us, shown: Cell::new(shown), ..Between::default() }
    }

    /// `finished`: up to where what is beside is worked out.
    pub fn watch(&self, finished: ProbeHandle<i64>) {
        *self.finished.borrow_mut() = Some(finished);
    }

    /// Whether what is beside is so near that both stop. Once it is, it stays so.
    fn meets(&self) -> bool {
        let finished = self.finished.borrow().as_ref().and_then(|f| f.with_frontier(|f| f.iter().next().copied()));
        let finished = finished.filter(|_| self.beside.get().is_some());
        let is_near = |(finished, shown): (i64, i64)| finished > shown.saturating_sub(self.near_us);
        self.meets.set(self.meets.get() || finished.zip(self.shown.get()).is_some_and(is_near));
        self.meets.get()
    }

    /// What is beside stays a tick behind the rows: so it enters at a tick of its own.
    fn bound(&self) -> Option<i64> {
        self.shown.get().map(|shown| shown.saturating_sub(self.tick))
    }
}

/// What is no further behind goes in: rows stand still until it has caught up.
const NEAR_US: i64 = 5_000_000;

/// How far behind the rows what is new may be in order to go in.
pub fn near_us(tick: i64) -> i64 {
    NEAR_US.max(tick.saturating_mul(2))
}

/// When checkpoints are taken, and what is done with one that is whole.
pub struct Checkpoints {
    pub every: Duration,
    /// The last number that was given, and gives the next one.
    pub number: u64,
    pub next: Box<dyn Fn() -> u64>,
    /// On worker 0: the next one is wanted. It hears of it before anybody else.
    pub want: Box<dyn Fn(u64, i64)>,
    /// On worker 0: all contributions are there to the checkpoint that was announced so.
    pub commit: Commit,
    /// Whether that is still going on.
    pub committing: Box<dyn Fn() -> bool>,
}

/// Is given the announcement of the checkpoint, and everybody's contribution.
pub type Commit = Box<dyn Fn(&Announcement, Vec<Contribution>)>;

/// How far an event of a partition that nobody has seen yet may lie before the look that did not show it.
const UNSEEN_MARGIN_US: i64 = 10_000_000;

/// A checkpoint takes no more than this share of the time.
const PAUSE_PER_CHECKPOINT: u32 = 10;

struct Clock {
    rules: Rules,
    reports: Vec<Option<Report>>,
    /// By worker, the newest.
    contributions: Vec<Option<Contribution>>,
    announced: Announcement,
    /// How the newest checkpoint was announced; from when on the next one may be.
    asked: Announcement,
    next_at: Instant,
    committed: u64,
}

impl Clock {
    fn update(&mut self) -> bool {
        let mut next = self.decide();
        let wanted = self.reports.iter().flatten().map(|r| r.image).max().unwrap_or(0);
        if wanted > next.image && !next.last {
            // Every worker hears of it before it sees this tick.
            (next.image, next.image_from) = (wanted, next.t.map(|t| t.saturating_add(1)));
        }
        self.ask_for_checkpoint(&mut next);
        let changed = next != self.announced;
        if let Some((side, between)) = &self.rules.between {
            let t = if *side == Side::Shown { &between.shown } else { &between.beside };
            t.set(next.t);
        }
        self.announced = next;
        changed
    }

    /// At a tick that nobody has seen yet, or the last one.
    fn ask_for_checkpoint(&mut self, next: &mut Announcement) {
        let Some(checkpoints) = &self.rules.checkpoints else { return };
        // The last one is asked for in any case: it replaces one that is under way.
        let last = next.last != self.announced.last;
        if self.is_under_way() && !last {
            return;
        }
        match next.t {
            Some(t) => {
                let time = Instant::now() >= self.next_at;
                if last || next.t > self.announced.t && time {
                    self.ask(next, t);
                }
            }
            None if next.last || next.history_done => {}
            None if next.pause > checkpoints.number => {
                let known = || self.reports.iter().flatten();
                if known().count() == self.reports.len() && known().all(|report| report.paused == next.pause) {
                    let slices = known().map(|report| report.slices).max().unwrap_or(0);
                    self.ask(next, i64::MIN + slices);
                }
            }
            None if Instant::now() >= self.next_at => next.pause = checkpoints.number + 1,
            None => {}
        }
    }

    /// Whether a checkpoint was asked for and is not written yet.
    fn is_under_way(&self) -> bool {
        self.rules.checkpoints.as_ref().is_some_and(|c| self.committed < c.number || (c.committing)())
    }

    /// `t`: a dataflow time.
    fn ask(&mut self, next: &mut Announcement, t: i64) {
        let Some(checkpoints) = &mut self.rules.checkpoints else { return };
        checkpoints.number = (checkpoints.next)();
        next.checkpoint = Some((checkpoints.number, t));
        self.asked = next.clone();
        (checkpoints.want)(checkpoints.number, t);
    }

    fn is_pausing(&self) -> bool {
        self.rules.checkpoints.as_ref().is_some_and(|checkpoints| self.announced.pause > checkpoints.number)
    }

    /// Where every worker has put its part into the newest checkpoint, it is one.
    fn commit(&mut self) {
        let (Some(checkpoints), Some((number, _))) = (&self.rules.checkpoints, self.asked.checkpoint) else { return };
        let all = self.contributions.iter().all(|c| c.as_ref().is_some_and(|c| c.number == number));
        if all && self.committed < number {
            let contributions: Vec<Contribution> = self.contributions.iter_mut().filter_map(Option::take).collect();
            let took = contributions.iter().map(|c| c.took).max().unwrap_or_default();
            (checkpoints.commit)(&self.asked, contributions);
            self.committed = number;
            self.next_at = Instant::now() + checkpoints.every.max(took * PAUSE_PER_CHECKPOINT);
        }
    }

    fn decide(&self) -> Announcement {
        let before = &self.announced;
        if before.last {
            return before.clone();
        }
        let known: Vec<&Report> = self.reports.iter().flatten().collect();
        // An end that has been reached is reached, whoever asked to stop meanwhile.
        let ended = known.len() == self.reports.len()
            && self.rules.until_end
            && known.iter().all(|r| r.history_done && r.partitions.iter().all(|p| p.clock == i64::MAX));
        if !ended && known.iter().any(|r| r.stop) {
            return Announcement { last: true, stopped: true, ..before.clone() };
        }
        // Nobody stands still for a store that is away.
        let again = known.len() == self.reports.len() && self.meets() && !self.is_under_way();
        if again {
            return Announcement { last: true, stopped: true, again, ..before.clone() };
        }
        if known.len() < self.reports.len() || known.iter().any(|r| !r.history_done) || self.is_pausing() {
            return before.clone();
        }
        let before = &Announcement { history_done: true, ..before.clone() };
        let partitions = || known.iter().flat_map(|r| &r.partitions);
        let mut stalled: Vec<u32> = partitions().filter(|p| p.left_out).map(|p| p.reading).collect();
        stalled.sort_unstable();
        stalled.dedup();
        let reading = partitions().filter(|p| !p.left_out).map(|p| p.clock).min();
        if ended {
            let t = self.end(&known);
            let horizons = t.map_or_else(|| before.horizons.clone(), |t| self.horizons(t));
            return Announcement { t, horizons, last: true, stalled, ..before.clone() };
        }
        let s = self.rules.s.iter().flatten().min();
        let t =
            reading.filter(|c| *c != i64::MAX).map(|c| c.div_euclid(self.rules.tick).saturating_mul(self.rules.tick));
        let t = match &self.rules.between {
            Some((Side::Beside, between)) => t.zip(between.bound()).map(|(t, bound)| t.min(bound)),
            _ => t,
        };
        let t = t.filter(|t| s.is_some_and(|s| t >= s)).max(before.t);
        let horizons = t.filter(|_| t > before.t).map(|t| self.horizons(t)).unwrap_or_else(|| before.horizons.clone());
        Announcement { t, horizons, last: false, stalled, ..before.clone() }
    }

    /// The rows decide; what is beside follows.
    fn meets(&self) -> bool {
        match &self.rules.between {
            Some((Side::Shown, between)) => between.meets(),
            Some((Side::Beside, between)) => between.meets.get(),
            None => false,
        }
    }

    fn horizons(&self, t: i64) -> Vec<i64> {
        let mut horizons = vec![t; self.rules.s.len()];
        let partitions = self.reports.iter().flatten().flat_map(|r| &r.partitions);
        // What has ended goes on in the next run; where it never had a record, nothing is kept for it.
        for partition in partitions.filter(|p| p.clock != i64::MAX || p.eff.is_some()) {
            let horizon = &mut horizons[partition.reading as usize];
            let eff = partition.eff.unwrap_or(i64::MIN);
            *horizon = (*horizon).min(if partition.idle { partition.clock } else { eff });
        }
        for (reading, looked) in self.reports.iter().flatten().flat_map(|r| &r.looked) {
            let horizon = &mut horizons[*reading as usize];
            *horizon = (*horizon).min(looked.saturating_sub(UNSEEN_MARGIN_US));
        }
        let rising = |(reading, horizon): (usize, i64)| {
            self.announced.horizons.get(reading).map_or(horizon, |before| horizon.max(*before))
        };
        horizons.into_iter().enumerate().map(rising).collect()
    }

    /// The last tick of a run that ends.
    fn end(&self, known: &[&Report]) -> Option<i64> {
        let s = self.rules.s.iter().flatten().max().copied()?;
        let reached = known.iter().filter_map(|r| r.reaches).max().unwrap_or(s);
        Some(s.max(reached).max(self.rules.end_at_least).max(self.announced.t.unwrap_or(s)))
    }
}

/// A worker's end of the clock.
#[derive(Clone)]
pub struct ClockHandle {
    outbox: Rc<RefCell<VecDeque<Report>>>,
    announced: Rc<RefCell<Announcement>>,
    sender: Rc<Activator>,
    open: Rc<RefCell<bool>>,
    image: Rc<Cell<u64>>,
    /// The number of the newest checkpoint that this worker has put its part into; and that part, until it is sent.
    saved: Rc<Cell<u64>>,
    contribution: Rc<RefCell<Option<Contribution>>>,
}

impl ClockHandle {
    pub fn report(&self, report: Report) {
        self.outbox.borrow_mut().push_back(report);
        self.sender.activate();
    }

    pub fn announced(&self) -> Announcement {
        self.announced.borrow().clone()
    }

    /// A store of this worker lost writes: every worker has to write everything again.
    pub fn want_image(&self) {
        self.image.set(self.announced.borrow().image + 1);
    }

    /// This worker has put its part into a checkpoint.
    pub fn saved(&self, contribution: Contribution) {
        self.saved.set(contribution.number);
        *self.contribution.borrow_mut() = Some(contribution);
    }

    pub fn newest_saved(&self) -> u64 {
        self.saved.get()
    }

    /// What is to be sent of a checkpoint.
    pub fn take_contribution(&self) -> Option<Contribution> {
        self.contribution.borrow_mut().take()
    }

    pub fn wanted_image(&self) -> u64 {
        self.image.get()
    }

    /// This worker has nothing more to say.
    pub fn close(&self) {
        *self.open.borrow_mut() = false;
        self.sender.activate();
    }
}

/// Builds the clock's own dataflow. `heard`: called with an announcement's arrival; `statuses`: where worker 0 leaves what
/// the processes say of themselves.
pub fn build(
    worker: &mut Worker,
    rules: Rules,
    heard: Rc<dyn Fn(&Announcement)>,
    on_status: Arc<dyn Fn(usize, ProcessStatus) + Send + Sync>,
) -> ClockHandle {
    let peers = worker.peers();
    let outbox: Rc<RefCell<VecDeque<Report>>> = Rc::default();
    let (t, horizons) = rules.restored.clone().unwrap_or_default();
    let before = Announcement { t, horizons, ..Announcement::default() };
    let announced = Rc::new(RefCell::new(before.clone()));
    let open = Rc::new(RefCell::new(true));
    let sender = worker.dataflow_named::<u64, _, _>("clock", |scope| {
        let mut builder = OperatorBuilder::new("reports".to_owned(), scope);
        let sender = scope.activator_for(builder.operator_info().address);
        let (output, reports) = builder.new_output();
        let mut output = OutputBuilder::from(output);
        let (pending, still_open) = (outbox.clone(), open.clone());
        builder.build(move |mut capabilities| {
            move |_| {
                if let Some(capability) = capabilities.first() {
                    output.activate().session(capability).give_iterator(pending.borrow_mut().drain(..));
                }
                if !*still_open.borrow() {
                    capabilities.clear();
                }
            }
        });
        let next_at = Instant::now() + rules.checkpoints.as_ref().map_or(Duration::ZERO, |c| c.every);
        let committed = rules.checkpoints.as_ref().map_or(0, |c| c.number);
        let asked = before.clone();
        let (reports_of, contributions) = (vec![None; peers], vec![None; peers]);
        let mut clock =
            Clock { rules, reports: reports_of, contributions, announced: before, asked, next_at, committed };
        let announcements = reports.unary_frontier(Exchange::new(|_: &Report| 0), "clock", move |_, _| {
            move |(input, _), output| {
                input.for_each_stamp(|capability, reports| {
                    let mut came = false;
                    for mut report in reports.flat_map(|batch| batch.drain(..)) {
                        if let Some(status) = report.status.take() {
                            on_status(report.worker, status);
                        }
                        let worker = report.worker;
                        if let Some(contribution) = report.saved.take() {
                            clock.contributions[worker] = Some(contribution);
                        }
                        clock.reports[worker] = Some(report);
                        came = true;
                    }
                    clock.commit();
                    if came && clock.update() {
                        let to_all = (0..peers as u64).map(|to| (to, clock.announced.clone()));
                        output.session(&capability.delayed(&0, 0)).give_iterator(to_all);
                    }
                });
            }
        });
        let latest = announced.clone();
        announcements.sink(Exchange::new(|(to, _): &(u64, Announcement)| *to), "hear", move |(input, _)| {
            input.for_each_stamp(|_, batches| {
                for (_, announcement) in batches.flat_map(|batch| batch.drain(..)) {
                    heard(&announcement);
                    *latest.borrow_mut() = announcement;
                }
            });
        });
        Rc::new(sender)
    });
    ClockHandle {
        outbox,
        announced,
        sender,
        open,
        image: Rc::default(),
        saved: Rc::default(),
        contribution: Rc::default(),
    }
}
