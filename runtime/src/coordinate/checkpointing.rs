//! Checkpointing: when the next checkpoint is asked for, and when one is whole.
//!
//! ```text
//! idle ----(time has come, at a tick that nobody has seen yet)--------------------> asked (number, T)
//!   \--(time has come, the history is read)--> pausing --(all stand still)-------> asked (number, between slices)
//! asked --(every worker has put its part into it)--> saved, and written by a thread of its own --> idle
//! last tick of the run: asked in any case; it replaces one that is under way
//! ```

use std::time::{Duration, Instant};

use headwater_clocks::Tick;

use super::messages::{Announcement, Report};
use crate::base::id::{CheckpointNumber, IdVec, WorkerId};
use crate::checkpoint::contribution::Contribution;

/// A checkpoint takes no more than this share of the time.
const PAUSE_PER_CHECKPOINT: u32 = 10;

/// Gives checkpoints their numbers, and makes them of what the workers have put into them.
pub trait Saver {
    /// A number for the next one.
    fn number(&self) -> CheckpointNumber;

    /// That one is wanted, at a dataflow time. Worker 0 hears of it before anybody else.
    fn want(&self, number: CheckpointNumber, t: Tick);

    /// All contributions are there to the one that was announced so.
    fn save(&self, asked: &Announcement, contributions: Vec<Contribution>);

    /// Whether one is still being written.
    fn is_busy(&self) -> bool;
}

pub struct Checkpointing {
    every: Duration,
    saver: Box<dyn Saver>,
    /// Whether there may be one between two slices of the history.
    within_history: bool,
    /// The newest number; how that one was announced; and the newest that was whole.
    number: CheckpointNumber,
    asked: Announcement,
    saved: CheckpointNumber,
    /// From when on the next one may be asked for.
    next_at: Instant,
    /// By worker, the newest.
    contributions: IdVec<WorkerId, Option<Contribution>>,
}

impl Checkpointing {
    /// `number`: the last one that was given.
    pub fn new(
        every: Duration,
        number: CheckpointNumber,
        saver: Box<dyn Saver>,
        workers: usize,
        within_history: bool,
    ) -> Checkpointing {
        Checkpointing {
            every,
            saver,
            within_history,
            number,
            asked: Announcement::default(),
            saved: number,
            next_at: Instant::now() + every,
            contributions: IdVec::filled(None, workers),
        }
    }

    /// A worker has put its part into a checkpoint. Where every one has, it is one.
    pub fn contributed(&mut self, worker: WorkerId, contribution: Contribution) {
        self.contributions[worker] = Some(contribution);
        let Some((number, _)) = self.asked.checkpoint else { return };
        let all = self.contributions.iter().all(|c| c.as_ref().is_some_and(|c| c.number == number));
        if all && self.saved < number {
            let contributions: Vec<Contribution> = self.contributions.iter_mut().filter_map(Option::take).collect();
            let took = contributions.iter().map(|c| c.took).max().unwrap_or_default();
            self.saver.save(&self.asked, contributions);
            self.saved = number;
            self.next_at = Instant::now() + self.every.max(took * PAUSE_PER_CHECKPOINT);
        }
    }

    /// Whether a checkpoint was asked for and is not written yet.
    pub fn is_under_way(&self) -> bool {
        self.saved < self.number || self.saver.is_busy()
    }

    /// Whether workers are told to stand still between two slices of the history.
    pub fn is_pausing(&self, announced: &Announcement) -> bool {
        announced.pause > self.number
    }

    /// Has `next` ask for a checkpoint, if it is time: at a tick that nobody has seen yet, or the last one. `reports`: once every
    /// worker has reported.
    pub fn ask_if_due(&mut self, announced: &Announcement, next: &mut Announcement, reports: Option<&[&Report]>) {
        // The last one is asked for in any case: it replaces one that is under way.
        let last = next.last != announced.last;
        if self.is_under_way() && !last {
            return;
        }
        let is_time = Instant::now() >= self.next_at;
        match next.t {
            Some(t) if last || next.t > announced.t && is_time => self.ask(next, t),
            Some(_) => {}
            None if next.last || next.history_done => {}
            None if self.is_pausing(next) => {
                let paused = |reports: &&[&Report]| reports.iter().all(|report| report.paused == next.pause);
                if let Some(reports) = reports.filter(paused) {
                    let slices = reports.iter().map(|report| report.slices).max().unwrap_or(0);
                    self.ask(next, Tick::of_slice(slices));
                }
            }
            None if is_time && self.within_history => next.pause = self.number.next(),
            None => {}
        }
    }

    /// `t`: a dataflow time.
    fn ask(&mut self, next: &mut Announcement, t: Tick) {
        self.number = self.saver.number();
        next.checkpoint = Some((self.number, t));
        self.asked = next.clone();
        self.saver.want(self.number, t);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use headwater_clocks::Time;

    /// What is asked of it, as words.
    #[derive(Clone, Default)]
    struct Told(Rc<RefCell<Vec<String>>>);

    fn at(t: Tick) -> String {
        t.slice().map_or_else(|| t.us().to_string(), |number| format!("slice {number}"))
    }

    impl Saver for Told {
        fn number(&self) -> CheckpointNumber {
            let told = self.0.borrow();
            CheckpointNumber::of(told.iter().filter(|word| word.starts_with("want")).count() as u64 + 1)
        }

        fn want(&self, number: CheckpointNumber, t: Tick) {
            self.0.borrow_mut().push(format!("want {number} at {}", at(t)));
        }

        fn save(&self, asked: &Announcement, contributions: Vec<Contribution>) {
            let (number, t) = asked.checkpoint.unwrap();
            self.0.borrow_mut().push(format!("save {number} at {} of {}", at(t), contributions.len()));
        }

        fn is_busy(&self) -> bool {
            false
        }
    }

    /// Of two workers; `every`: of no time at all, so that it is always time.
    struct Case {
        told: Told,
        checkpointing: Checkpointing,
        announced: Announcement,
    }

    impl Case {
        fn new() -> Case {
            let told = Told::default();
            let checkpointing =
                Checkpointing::new(Duration::ZERO, CheckpointNumber::NONE, Box::new(told.clone()), 2, true);
            Case { told, checkpointing, announced: Announcement::default() }
        }

        fn announce(&mut self, change: impl Fn(&mut Announcement), reports: &[Report]) {
            let mut next = self.announced.clone();
            change(&mut next);
            let reports: Vec<&Report> = reports.iter().collect();
            let all = (reports.len() == 2).then_some(&reports[..]);
            self.checkpointing.ask_if_due(&self.announced, &mut next, all);
            self.announced = next;
        }

        fn contribute(&mut self, worker: u32, number: u64) {
            let contribution = Contribution { number: CheckpointNumber::of(number), ..Contribution::default() };
            self.checkpointing.contributed(WorkerId::from(worker), contribution);
        }

        fn told(&self) -> Vec<String> {
            self.told.0.take()
        }
    }

    #[test]
    fn one_after_the_other_at_ticks_of_their_own() {
        let mut case = Case::new();
        case.announce(|next| (next.history_done, next.t) = (true, Some(Tick::from_us(10))), &[]);
        assert_eq!(case.told.0.borrow().as_slice(), ["want 1 at 10"]);
        case.announce(|next| next.t = Some(Tick::from_us(20)), &[]);
        case.contribute(0, 1);
        assert_eq!(case.told.0.borrow().len(), 1, "it is under way");
        case.contribute(1, 1);
        case.announce(|_| (), &[]);
        case.announce(|next| next.t = Some(Tick::from_us(30)), &[]);
        assert_eq!(case.told.0.borrow()[1..], ["save 1 at 10 of 2", "want 2 at 30"]);
        case.announce(|next| next.last = true, &[]);
        [(0, 2), (1, 3), (0, 3)].into_iter().for_each(|(worker, number)| case.contribute(worker, number));
        assert_eq!(case.told.0.borrow()[3..], ["want 3 at 30", "save 3 at 30 of 2"], "the last one replaces it");
    }

    #[test]
    fn between_slices_once_all_stand_still() {
        let mut case = Case::new();
        let report = |slices, paused| Report { slices, paused: CheckpointNumber::of(paused), ..Report::default() };
        case.announce(|_| (), &[]);
        assert!(case.announced.pause == CheckpointNumber::of(1) && case.checkpointing.is_pausing(&case.announced));
        case.announce(|_| (), &[report(3, 1)]);
        case.announce(|_| (), &[report(3, 1), report(5, 0)]);
        assert_eq!(case.told(), [""; 0], "one is still reading");
        case.announce(|_| (), &[report(3, 1), report(5, 1)]);
        assert_eq!(case.told(), ["want 1 at slice 5"]);
        assert!(!case.checkpointing.is_pausing(&case.announced));
    }
}
