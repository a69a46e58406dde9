//! Chaos: a job whose processes, services, files and connections fail at random, round after round; whatever happened, what it has
//! put out is what a model and an undisturbed run say.
//!
//! ```text
//! producer -> topics -> [proxy] -> job: 1..3 processes, started again by a supervisor -> [proxy] -> Redis <- poller: nothing goes back
//!                         ^ cut        ^ killed, frozen, rescaled, changed; disk full, files torn  |   ^ cut      ^ killed, frozen, loses writes
//!                                                                                         '-> changelogs, dead letters, embedded store
//! then                    no more faults; `run --until-end`
//! compared                every store, the changelogs played, the dead letters; views and links with what they read, at many ticks
//! ```
//!
//! Every job has groups with each kind of window, which a model knows; which tables, lookups, replaced records, derived columns, views and
//! links it has beside them is drawn (`collections`), and these are compared with the undisturbed run.
//!
//! A round is made from its seed, so one that failed can be tried again. What comes again: the job, the history, what the records
//! say and in which order, the faults in theirs, each with its pause, its length and its numbers. What does not, because time and
//! network are real: when records arrive and how many there are, what a thread does at the instant of a fault and so what runs
//! and what lies there to be hit, which fault steps in for one that cannot happen just then.
//!
//! Faults are counted, and told at the end: over a long run every kind has happened.
//!
//! `HEADWATER_CHAOS_MINUTES`: as many rounds as go into it (`./dev chaos`); `HEADWATER_CHAOS_SEED`: the seed of the first one;
//! `HEADWATER_CHAOS_ONLY`: parts of the names of faults; `HEADWATER_CHAOS_TELL`: faults are told as they happen.

mod cluster;
mod collections;
mod consistent;
mod faults;
mod feed;
mod history;
mod inflict;
mod outcome;
mod poller;
mod proxy;
mod rest;
mod round;
mod scenario;
mod topic;
mod verdict;
mod world;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use self::faults::{ROUNDS_FOR_ALL, Tally};
use self::world::World;
use crate::support::{need, now_us};

/// How long faults come.
const LENGTH: Duration = Duration::from_secs(10);
/// As a part of all tests: how many rounds, and how long faults come.
const ROUNDS: u64 = 2;
const LENGTH_SHORT: Duration = Duration::from_secs(5);
const FAILURES_MAX: usize = 5;

fn number(variable: &str) -> Option<f64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|e| panic!("{variable}: {e}")))
}

#[test]
fn rounds() {
    let world = need!(World::new());
    let minutes = number("HEADWATER_CHAOS_MINUTES");
    let seed = number("HEADWATER_CHAOS_SEED").map(|seed| seed as u64);
    let first = seed.unwrap_or(if minutes.is_some() { now_us() as u64 / 1000 % 1_000_000 * 1000 } else { 1 });
    let began = Instant::now();
    let more = |round: u64| match minutes {
        None => round < ROUNDS,
        Some(minutes) => round == 0 || began.elapsed().as_secs_f64() < minutes * 60.0,
    };
    let length = if minutes.is_some() { LENGTH } else { LENGTH_SHORT };
    let (mut failed, mut tally, mut rounds) = (vec![], Tally::default(), 0);
    for seed in (0..).take_while(|round| more(*round)).map(|round| first + round) {
        if !succeeds(&world, seed, length, &mut tally) {
            failed.push(seed);
        }
        rounds += 1;
        if failed.len() == FAILURES_MAX {
            break;
        }
    }
    eprintln!("{rounds} rounds\n{tally}");
    assert!(failed.is_empty(), "these seeds failed, see above: {failed:?}");
    let missing = tally.missing();
    if rounds < ROUNDS_FOR_ALL {
        eprintln!("that each fault has happened is not asserted: {rounds} of {ROUNDS_FOR_ALL} rounds");
    }
    assert!(
        rounds < ROUNDS_FOR_ALL || missing.is_empty(),
        "in {rounds} rounds these faults never happened: {missing:?}"
    );
}

/// Runs a round. What lies in its directory is kept if it fails.
fn succeeds(world: &World, seed: u64, length: Duration, tally: &mut Tally) -> bool {
    let begun = Instant::now();
    let dir = world.case.path(&format!("round-{seed}"));
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| round::run(world, seed, length, &dir, tally)));
    world.open();
    let wrong = match outcome {
        Ok(Ok(summary)) => {
            eprintln!("seed {seed}: {summary}, {:.0} s", begun.elapsed().as_secs_f64());
            std::fs::remove_dir_all(&dir).unwrap();
            return true;
        }
        Ok(Err(wrong)) => wrong,
        Err(_) => "the harness panicked, see above".to_owned(),
    };
    let kept = std::env::temp_dir().join(format!("headwater-chaos-{seed}"));
    let moved = std::fs::rename(&dir, &kept);
    eprintln!("seed {seed} FAILED, everything is in {} ({moved:?})\n{wrong}", kept.display());
    false
}
