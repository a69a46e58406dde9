//! The ends of a reader's partitions, asked for over and over by a thread of the reader's own.
//!
//! ```text
//! wall clock    100          110          120          130
//! asked          |------->    |------->    |------->
//! answered        end 7        end 7        end 9
//! position        5      7                  7       9
//! confirmed       -      at 100   at 110    -       at 120
//! ```
//!
//! An answer to a question sent at `w` says: no record lay at or past `end` at `w`. Every record below `position` has been
//! returned by `poll`, so once `position` has reached an answer's `end`, the end was confirmed at that answer's `w`, whenever
//! the records came out. The two numbers need no order between the threads.
//!
//! With `isolation.level = read_committed` both speak of the last stable offset: records past it belong to transactions that
//! are still open, and nobody sees them yet.
//!
//! How `position` gets to an end that has no record before it (a transaction's marker, an aborted transaction, a compacted
//! tail): librdkafka queues a `PartitionEOF` behind the partition's records when the broker names as the end the offset that
//! is to be fetched next. Its text names that offset: everything below it has been polled, or is nothing that can be. It
//! comes after one more fetch, so at most `fetch.wait.max.ms` after the last record.
//!
//! Not promised: a broker that was deposed and does not know it yet confirms its own, older end.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater_clocks::{Offset, WallClock};

use super::link::{END, Link, Topic, cause, login_help};
use crate::threads::{Helper, ThreadError, guarded};
use crate::{Error, Result};

/// From one question to the next, near the ends.
const CADENCE: Duration = Duration::from_millis(10);
/// The same while all partitions are far behind: then the ends are only for show.
const CADENCE_BEHIND: Duration = Duration::from_millis(50);
const FAR_BEHIND: i64 = 10_000;
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long questions keep to groups by leader after one has failed.
const SPLIT_FOR: Duration = Duration::from_secs(5);
/// How long something must last before it counts as the truth and not as a broker that has just started.
const FINAL_AFTER: Duration = Duration::from_secs(10);

/// What the asking thread and the reader share.
pub(super) struct EndPoller {
    shared: Arc<Shared>,
}

struct Shared {
    link: Arc<Link>,
    partitions: Vec<i32>,
    /// Each partition's position, as the reader last told.
    positions: Vec<AtomicI64>,
    found: Mutex<EndAnswers>,
    stop: Condvar,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

struct EndAnswers {
    answers: Vec<Option<Answer>>,
    failure: Option<Failure>,
    stopped: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// One past the last offset.
    pub end: Offset,
    /// The wall clock when the question was sent.
    pub asked: WallClock,
}

/// What only the user can mend.
enum Failure {
    Missing,
    Denied,
    Login(String),
    Shrunk {
        partition: i32,
        position: Offset,
        end: Offset,
    },
    /// The asking thread panicked.
    Bug(ThreadError),
}

impl Shared {
    fn position(&self, slot: usize) -> Offset {
        Offset::at(self.positions[slot].load(Ordering::Relaxed))
    }
}

impl EndPoller {
    /// # Errors
    /// `World`: the system gives no thread.
    pub fn start(link: Arc<Link>, starts: &[(i32, Offset)]) -> Result<EndPoller> {
        let shared = Arc::new(Shared {
            link,
            partitions: starts.iter().map(|(partition, _)| *partition).collect(),
            positions: starts.iter().map(|(_, offset)| AtomicI64::new(offset.number())).collect(),
            found: Mutex::new(EndAnswers { answers: vec![None; starts.len()], failure: None, stopped: false }),
            stop: Condvar::new(),
            wake: Mutex::new(None),
        });
        if !starts.is_empty() {
            let mut asker = Asker::new(Arc::clone(&shared));
            let told = Arc::clone(&shared);
            let asking = move || {
                let asked = guarded(|| {
                    asker.run();
                    Ok(())
                });
                if let Err(bug) = asked {
                    told.found().failure = Some(Failure::Bug(bug));
                    told.wake().iter().for_each(|wake| wake());
                }
                Ok::<(), ThreadError>(())
            };
            Helper::start("kafka-ends", asking)
                .map_err(|e| Error::world(format!("reading topic {}", shared.link.topic), e))?;
        }
        Ok(EndPoller { shared })
    }

    pub fn answer(&self, slot: usize) -> Option<Answer> {
        self.shared.found().answers[slot]
    }

    pub fn set_position(&self, slot: usize, position: Offset) {
        self.shared.positions[slot].store(position.number(), Ordering::Relaxed);
    }

    /// Called after every answer.
    pub fn set_wake(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.wake() = Some(wake);
    }

    /// An error once the topic cannot be read any more.
    ///
    /// # Errors
    /// `World`: the topic cannot be read any more.
    pub fn check(&self) -> Result<()> {
        let link = &self.shared.link;
        let doing = || format!("reading topic {} at {}", link.topic, link.brokers);
        match &self.shared.found().failure {
            None => Ok(()),
            Some(Failure::Missing) => Err(Error::world(doing(), "the topic is not there any more: was it deleted?")),
            Some(Failure::Denied) => Err(link.denied()),
            Some(Failure::Login(cause)) => Err(Error::world(doing(), cause)),
            Some(Failure::Bug(bug)) => Err(Error::world(doing(), bug)),
            Some(Failure::Shrunk { partition, position, end }) => Err(Error::Gap(format!(
                "topic {}, partition {partition}: it ends at offset {end}, before offset {position} that was reached \
                 already; was the topic made anew?",
                link.topic
            ))),
        }
    }
}

impl Drop for EndPoller {
    /// The thread ends by itself when its question is answered; nothing is called from it any more.
    fn drop(&mut self) {
        *self.shared.wake() = None;
        self.shared.found().stopped = true;
        self.shared.stop.notify_all();
    }
}

impl Shared {
    fn found(&self) -> MutexGuard<'_, EndAnswers> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) -> MutexGuard<'_, Option<Arc<dyn Fn() + Send + Sync>>> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own state.
struct Asker {
    shared: Arc<Shared>,
    groups: Vec<Group>,
    last_failure: Option<Instant>,
    trial: Trial,
}

/// Partitions that are asked for in one go.
struct Group {
    slots: Vec<usize>,
    due: Instant,
    failures: u32,
}

/// Since when each suspicion has held without a break.
#[derive(Default)]
struct Trial {
    missing: Option<Instant>,
    denied: Option<Instant>,
    login: Option<Instant>,
    shrunk: Option<Instant>,
}

impl Asker {
    fn new(shared: Arc<Shared>) -> Asker {
        let slots = (0..shared.partitions.len()).collect();
        let groups = vec![Group { slots, due: Instant::now(), failures: 0 }];
        Asker { shared, groups, last_failure: None, trial: Trial::default() }
    }

    fn run(&mut self) {
        loop {
            for group in 0..self.groups.len() {
                if self.groups[group].due <= Instant::now() {
                    self.ask(group);
                }
            }
            self.regroup();
            let due = self.groups.iter().map(|group| group.due).min().unwrap_or_else(Instant::now);
            if self.stopped_before(due) {
                return;
            }
        }
    }

    fn stopped_before(&self, due: Instant) -> bool {
        let mut found = self.shared.found();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if found.stopped || left.is_zero() {
                return found.stopped;
            }
            found = self.shared.stop.wait_timeout(found, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn ask(&mut self, group: usize) {
        let slots = self.groups[group].slots.clone();
        let partitions: Vec<i32> = slots.iter().map(|&slot| self.shared.partitions[slot]).collect();
        let reached: Vec<Offset> = slots.iter().map(|&slot| self.shared.position(slot)).collect();
        // A group whose broker is away must not hold up the others.
        let timeout = if self.groups.len() > 1 && self.groups[group].failures > 0 { TIMEOUT / 5 } else { TIMEOUT };
        let (asked, begun) = (WallClock::now(), Instant::now());
        match self.shared.link.offsets(&partitions, END, timeout) {
            Ok(ends) => {
                self.note(&slots, &reached, &ends, asked);
                self.shared.link.answered(&partitions);
                (self.trial.missing, self.trial.denied, self.trial.login) = (None, None, None);
                self.groups[group].failures = 0;
                // Never busy for more than half of the time.
                self.groups[group].due = begun + self.cadence(&slots).max(2 * begun.elapsed());
            }
            Err(error) => {
                let trouble = self.shared.link.trouble();
                let refused = trouble.as_ref().filter(|trouble| trouble.is_refusal()).map(login_help);
                self.shared.link.failed(&partitions, &cause(trouble, error));
                self.judge(refused);
                self.last_failure = Some(Instant::now());
                let failures = self.groups[group].failures;
                self.groups[group].due = Instant::now() + Duration::from_millis(20 << failures.min(5));
                self.groups[group].failures = failures + 1;
            }
        }
    }

    fn cadence(&self, slots: &[usize]) -> Duration {
        let found = self.shared.found();
        let near = slots.iter().any(|&slot| {
            let position = self.shared.position(slot);
            found.answers[slot].is_none_or(|answer| answer.end.past(position) < FAR_BEHIND)
        });
        if near { CADENCE } else { CADENCE_BEHIND }
    }

    /// `reached` are the positions from before the question: an end below one of them is not the end of the log that was
    /// read, and confirms nothing.
    fn note(&mut self, slots: &[usize], reached: &[Offset], ends: &[Option<Offset>], asked: WallClock) {
        let mut shrunk = None;
        let mut found = self.shared.found();
        for ((&slot, &position), &end) in slots.iter().zip(reached).zip(ends) {
            match end {
                Some(end) if end < position => {
                    shrunk = Some(Failure::Shrunk { partition: self.shared.partitions[slot], position, end });
                }
                Some(end) => found.answers[slot] = Some(Answer { end, asked }),
                None => {}
            }
        }
        match shrunk {
            Some(failure) if lasts(&mut self.trial.shrunk) => found.failure = Some(failure),
            Some(_) => {}
            None => self.trial.shrunk = None,
        }
        drop(found);
        let wake = self.shared.wake();
        wake.iter().for_each(|wake| wake());
    }

    /// A question failed: is it something that will not pass by itself?
    fn judge(&mut self, refused: Option<String>) {
        let topic = self.shared.link.topic(TIMEOUT);
        let Trial { missing, denied, login, .. } = &mut self.trial;
        let failure = match (topic, refused) {
            (Ok(Topic::Missing), _) => lasts(missing).then_some(Failure::Missing),
            (Ok(Topic::Denied), _) => lasts(denied).then_some(Failure::Denied),
            (Err(_), Some(cause)) => lasts(login).then_some(Failure::Login(cause)),
            (Ok(Topic::Found(_)), _) => {
                (*missing, *denied, *login) = (None, None, None);
                None
            }
            // No answer says nothing.
            (Err(_), None) => None,
        };
        if failure.is_some() {
            self.shared.found().failure = failure;
            self.shared.wake().iter().for_each(|wake| wake());
        }
    }

    /// After a failure the brokers are asked one by one, so that one of them does not silence all; later together again.
    fn regroup(&mut self) {
        let Some(last_failure) = self.last_failure else { return };
        if last_failure.elapsed() > SPLIT_FOR {
            *self = Asker::new(Arc::clone(&self.shared));
        } else if self.groups.len() == 1
            && self.groups[0].slots.len() > 1
            && let Ok(Topic::Found(leaders)) = self.shared.link.topic(TIMEOUT)
        {
            self.groups = by_leader(&self.shared.partitions, &leaders);
        }
    }
}

fn by_leader(partitions: &[i32], leaders: &[(i32, i32)]) -> Vec<Group> {
    let mut groups = std::collections::BTreeMap::<Option<i32>, Vec<usize>>::new();
    for (slot, partition) in partitions.iter().enumerate() {
        let leader = leaders.iter().find(|(p, _)| p == partition).map(|(_, leader)| *leader);
        groups.entry(leader).or_default().push(slot);
    }
    groups.into_values().map(|slots| Group { slots, due: Instant::now(), failures: 0 }).collect()
}

/// Whether this suspicion, which holds now, has held for long enough.
fn lasts(since: &mut Option<Instant>) -> bool {
    since.get_or_insert_with(Instant::now).elapsed() >= FINAL_AFTER
}
