//! The faults of a round: which comes when, how often each kind has happened, and what ends those that last.
//!
//! Step n of a round draws its pause, its fault and all of that fault's numbers from the seed and n alone. A fault that cannot
//! happen just then (nothing to damage, nobody to freeze) does nothing and is drawn again.

use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::inflict::Inflicting;
use super::round::{Round, wait_for};

/// Its name; its weight among the others; what does it, and says whether it happened.
type Fault = (&'static str, u32, fn(&mut Inflicting) -> bool);

const FAULTS: [Fault; 18] = [
    ("kill one", 8, |faults| faults.kill_one()),
    ("kill all", 5, |faults| faults.kill_all()),
    ("rescale", 3, |faults| faults.rescale()),
    ("stop cleanly and rescale", 3, |faults| faults.stop_cleanly()),
    ("freeze a process", 4, |faults| faults.freeze_process()),
    ("abandon a frozen process", 2, |faults| faults.abandon()),
    ("freeze the broker", 3, |faults| faults.freeze_broker()),
    ("restart the broker", 1, |faults| faults.restart_broker()),
    ("freeze Redis", 4, |faults| faults.freeze_redis()),
    ("restart Redis", 3, |faults| faults.restart_redis()),
    ("Redis loses its last writes", 3, |faults| faults.redis_loses_some()),
    ("Redis loses everything", 2, |faults| faults.redis_loses_all()),
    ("damage a checkpoint", 5, |faults| faults.damage_checkpoint()),
    ("tear the files of lines", 4, |faults| faults.tear_lines()),
    ("cut connections", 6, |faults| faults.cut()),
    ("fill the disk", 2, |faults| faults.fill_disk()),
    ("limit the size of files", 1, |faults| faults.limit_files()),
    ("change the job", 2, |faults| faults.change_job()),
];

/// In so many rounds each kind has been the one that a round begins with twice.
pub const ROUNDS_FOR_ALL: usize = 2 * FAULTS.len();

/// What ends a fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Undo {
    ThawProcess(usize),
    ThawBroker,
    ThawRedis,
    OpenKafka,
    OpenRedis,
    EmptyDisk,
    LiftLimit,
}

/// How often each kind of fault happened, and was drawn where it could not happen.
#[derive(Default)]
pub struct Tally([(usize, usize); FAULTS.len()]);

impl Tally {
    fn count(&mut self, kind: usize, happened: bool) {
        let (yes, no) = &mut self.0[kind];
        *(if happened { yes } else { no }) += 1;
    }

    /// Those among `chosen()` that never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        chosen().into_iter().filter(|kind| self.0[*kind].0 == 0).map(|kind| FAULTS[kind].0).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{:28} {:>8} {:>14}", "fault", "happened", "was impossible")?;
        let lines = FAULTS.iter().zip(&self.0);
        lines.into_iter().try_for_each(|((name, ..), (yes, no))| writeln!(f, "{name:28} {yes:>8} {no:>14}"))
    }
}

/// The kinds that `HEADWATER_CHAOS_ONLY` leaves.
fn chosen() -> Vec<usize> {
    let only = std::env::var("HEADWATER_CHAOS_ONLY").ok();
    let is_chosen = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|part| name.contains(part)));
    (0..FAULTS.len()).filter(|kind| is_chosen(FAULTS[*kind].0)).collect()
}

/// For as long, then undoes what lasts.
pub fn inflict(round: &Round, length: Duration, seed: u64, tally: &mut Tally) {
    let step_rng = |step: u64| StdRng::seed_from_u64((seed << 16) + step);
    let mut inflicting = Inflicting::new(round, step_rng(0));
    let end = Instant::now() + length;
    let chosen = chosen();
    // Rounds take turns with the one that they begin with: as soon as it can happen.
    let mut first = Some(chosen[seed as usize % chosen.len()]);
    let pause_ms = if round.scenario.to_end { 20..500 } else { 20..1500 };
    for step in 1.. {
        if Instant::now() >= end || !round.failures.all().is_empty() || round.cluster.is_done() {
            break;
        }
        inflicting.rng = step_rng(step);
        let pause = inflicting.rng.random_range(pause_ms.clone());
        inflicting.wait(Duration::from_millis(pause));
        if first.is_some_and(|kind| inflicting.one(kind, tally)) {
            first = None;
            continue;
        }
        let mut left: Vec<usize> = chosen.iter().copied().filter(|kind| first != Some(*kind)).collect();
        while let Ok(kind) = left.choose_weighted(&mut inflicting.rng, |kind| FAULTS[*kind].1).copied() {
            if inflicting.one(kind, tally) {
                break;
            }
            left.retain(|other| *other != kind);
        }
    }
    all_well_again(inflicting);
}

/// Undoes what lasts, and sees that every damage has been noticed.
fn all_well_again(mut inflicting: Inflicting) {
    let round = inflicting.round;
    inflicting.wait(Duration::ZERO);
    for (_, undo) in std::mem::take(&mut inflicting.undo) {
        inflicting.end(undo);
    }
    round.world.open();
    let told = |number: u64| round.cluster.has_said(&format!("checkpoint {number} is damaged"));
    for number in inflicting.damaged {
        if !wait_for(Duration::from_secs(20), || told(number)) {
            round.failures.add(format!("nobody says that checkpoint {number} is damaged"));
        }
    }
}

impl Inflicting<'_, '_> {
    /// A fault of this kind, if it can happen.
    fn one(&mut self, kind: usize, tally: &mut Tally) -> bool {
        let (name, _, inflict) = FAULTS[kind];
        self.round.diary.note(name);
        let begun = Instant::now();
        let happened = inflict(self);
        tally.count(kind, happened);
        if !happened {
            self.note("it cannot happen");
        } else if begun.elapsed() > Duration::from_secs(1) {
            self.note(&format!("it took {:?}", begun.elapsed()));
        }
        happened
    }

    /// Waits, and undoes what is over meanwhile.
    pub fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            while let Some(at) = self.undo.iter().position(|(when, _)| *when <= now) {
                let (_, undo) = self.undo.remove(at);
                self.end(undo);
            }
            if now >= end {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn lasts(&mut self, ms: std::ops::Range<u64>, undo: Undo) {
        let time = Duration::from_millis(self.rng.random_range(ms));
        self.note(&format!("for {time:?}: until {undo:?}"));
        self.undo.push((Instant::now() + time, undo));
    }

    pub fn note(&self, what: &str) {
        self.round.diary.note(&format!("    {what}"));
    }

    pub fn is_under_way(&self, undo: Undo) -> bool {
        self.undo.iter().any(|(_, known)| *known == undo)
    }

    fn end(&mut self, undo: Undo) {
        self.note(&format!("{undo:?}"));
        let world = self.round.world;
        match undo {
            // It may have been killed meanwhile.
            Undo::ThawProcess(process) => _ = self.round.cluster.signal(process, "CONT"),
            Undo::ThawBroker => world.kafka.stop("CONT"),
            Undo::ThawRedis => world.redis.stop("CONT"),
            Undo::OpenKafka => world.kafka_proxy.open(),
            Undo::OpenRedis => world.redis_proxy.open(),
            Undo::EmptyDisk => self.round.disk.empty(),
            Undo::LiftLimit => {
                self.round.cluster.limit_files(None);
                self.kill_all();
            }
        }
    }
}
