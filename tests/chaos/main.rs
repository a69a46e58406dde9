//! Chaos: a job whose processes, services, files and connections fail at random, round after round; whatever happened, what it has
//! put out is what a model and an undisturbed run say.
//!
//! ```text
//! producer -> topic -> [proxy] -> job: 1..3 processes, started again by a supervisor -> [proxy] -> Redis <- poller: nothing goes back
//!                        ^ cut        ^ killed, frozen, rescaled; disk full, files torn  |   ^ cut      ^ killed, frozen, loses writes
//!                                                                                        '-> changelog, dead letters, embedded store
//! then                   no more faults; `run --until-end`
//! compared               every store, the changelog played, the dead letters
//! ```
//!
//! A round is made from its seed, so one that failed can be tried again, though faults and threads do not meet in the same
//! instant twice. `HEADWATER_CHAOS_MINUTES`: as many rounds as go into it (`./dev chaos`); `HEADWATER_CHAOS_SEED`: the seed of the
//! first one; `HEADWATER_CHAOS_ONLY`: parts of the names of faults; `HEADWATER_CHAOS_TELL`: faults are told as they happen.

mod cluster;
mod faults;
mod history;
#[allow(dead_code)]
#[path = "../one_result/model.rs"]
mod model;
mod outcome;
mod poller;
mod proxy;
mod round;
mod scenario;
#[path = "../support/mod.rs"]
mod support;
mod topic;
mod world;

use std::time::{Duration, Instant};

use support::now_us;
use world::World;

const LENGTH: Duration = Duration::from_secs(10);
/// The part of all tests.
const ROUNDS: u64 = 2;

fn number(variable: &str) -> Option<f64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|e| panic!("{variable}: {e}")))
}

#[test]
fn rounds() {
    let Some(world) = World::new() else { return };
    let minutes = number("HEADWATER_CHAOS_MINUTES");
    let seed = number("HEADWATER_CHAOS_SEED").map(|seed| seed as u64);
    let first = seed.unwrap_or(if minutes.is_some() { now_us() as u64 / 1000 % 1_000_000 * 1000 } else { 1 });
    let began = Instant::now();
    let more = |round: u64| match minutes {
        None => round < ROUNDS,
        Some(minutes) => round == 0 || began.elapsed().as_secs_f64() < minutes * 60.0,
    };
    for seed in (0..).take_while(|round| more(*round)).map(|round| first + round) {
        let begun = Instant::now();
        let dir = world.case.path(&format!("round-{seed}"));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| round::run(&world, seed, LENGTH, &dir)));
        world.open();
        let wrong = match outcome {
            Ok(Ok(summary)) => {
                eprintln!("seed {seed}: {summary}, {:.0} s", begun.elapsed().as_secs_f64());
                let _ = std::fs::remove_dir_all(&dir);
                continue;
            }
            Ok(Err(wrong)) => wrong,
            Err(_) => "the harness panicked, see above".to_owned(),
        };
        let kept = std::env::temp_dir().join(format!("headwater-chaos-{seed}-{}", std::process::id()));
        let copied = std::process::Command::new("cp").arg("-a").arg(world.case.dir.path()).arg(&kept).status();
        panic!("seed {seed} failed, everything is in {} ({copied:?})\n{wrong}", kept.display());
    }
}
