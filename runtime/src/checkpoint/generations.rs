//! Generations: the starts of a job, counted in its state. What an older one still writes never counts.
//!
//! A start takes the next generation by creating `generations/<generation>.json`, which has one winner. In it stands the start's
//! *base*: the newest checkpoint that counted then. The numbers of a generation's checkpoints begin with it, so two generations
//! never write to one place.
//!
//! ```text
//! generation 4   checkpoints 4..1  4..2              4..3 (it slept, and writes this now)
//! generation 5                           base 4..2         5..1  5..2
//! generation 6                                                         base 5..2
//! counts         4..1  4..2  5..1  5..2, and not 4..3: a later generation began without it
//! ```

use headwater_clocks::WallClock;
use headwater_connectors::storage::Storage;
use serde::{Deserialize, Serialize};

use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, Generation};

/// Checkpoints that a generation has numbers for: one a second for 30 years.
const NUMBERS: u64 = 1_000_000_000;

const GENERATIONS: &str = "generations";
/// How many are kept: a start that sleeps through that many others is not expected to wake up.
const KEPT: usize = 100;

/// One start of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub generation: Generation,
    /// The newest checkpoint that counted; 0: none, or none that it wanted.
    pub base: CheckpointNumber,
    /// For people.
    pub host: String,
    pub pid: u32,
    #[serde(rename = "started_us")]
    pub started: WallClock,
}

/// All starts that are known, the newest last.
#[derive(Clone, Debug, Default)]
pub struct Starts(Vec<Start>);

impl Starts {
    pub fn read(storage: &Storage) -> Result<Starts, Failure> {
        let mut starts = vec![];
        for generation in numbers(storage)? {
            let name = name(generation);
            // One that is gone was so old that it was removed meanwhile.
            if let Some((bytes, _)) = storage.read(&name)? {
                starts.push(serde_json::from_slice(&bytes).unwrap_or_else(|e| {
                    tracing::warn!("{} is damaged, all checkpoints before it count: {e}", storage.shown(&name));
                    Start {
                        generation,
                        base: CheckpointNumber::LAST,
                        host: String::new(),
                        pid: 0,
                        started: WallClock::BEFORE_ALL,
                    }
                }));
            }
        }
        Ok(Starts(starts))
    }

    /// Whether a checkpoint is one that a start may go on from.
    pub fn count(&self, number: CheckpointNumber) -> bool {
        !self.0.iter().any(|start| start.generation > of_number(number) && start.base < number)
    }

    pub fn newest(&self) -> Generation {
        self.0.last().map_or(Generation::NONE, |start| start.generation)
    }

    /// Takes the next generation, `after` this one too.
    pub fn take(&mut self, storage: &Storage, base: CheckpointNumber, after: Generation) -> Result<(), Failure> {
        let start = Start {
            generation: self.newest().max(after).next(),
            base,
            host: host(),
            pid: std::process::id(),
            started: WallClock::now(),
        };
        let name = name(start.generation);
        let text = serde_json::to_vec_pretty(&start).expect("a start is plain data");
        if !storage.create(&name, &text)? {
            return Err(Failure::Running(format!("another start was faster: it has {}", storage.shown(&name))));
        }
        // A store that does not know conditions obeys.
        if storage.create(&name, b"{}")? {
            return Err(Failure::Running(format!(
                "{}: this store overwrites what must only be created: it knows no conditional writes (If-None-Match), \
                 and cannot keep a state",
                storage.shown(&name)
            )));
        }
        self.0.push(start);
        for old in self.0.iter().rev().skip(KEPT) {
            storage.remove(&self::name(old.generation))?;
        }
        Ok(())
    }
}

/// The first number of a generation's checkpoints, less one.
pub fn numbers_of(generation: Generation) -> CheckpointNumber {
    CheckpointNumber::of(generation.number() * NUMBERS)
}

/// The generation that gives a checkpoint its number.
pub fn of_number(number: CheckpointNumber) -> Generation {
    Generation::of(number.number() / NUMBERS)
}

/// Fails if there is a newer generation than this process has.
pub fn check(storage: &Storage, generation: Generation) -> Result<(), Failure> {
    let newest = newest(storage)?;
    if newest > generation { Err(overtaken(storage, newest, generation)) } else { Ok(()) }
}

/// The newest generation; 0: there was no start.
pub fn newest(storage: &Storage) -> Result<Generation, headwater_connectors::Error> {
    Ok(numbers(storage)?.last().copied().unwrap_or(Generation::NONE))
}

pub fn overtaken(storage: &Storage, newest: Generation, generation: Generation) -> Failure {
    let name = name(newest);
    let start = storage.read(&name).ok().flatten().and_then(|(bytes, _)| serde_json::from_slice::<Start>(&bytes).ok());
    let who = start.map_or_else(String::new, |start| format!(", on {}, pid {}", start.host, start.pid));
    Failure::Running(format!(
        "a newer start of this job has taken over (generation {newest}{who}; this process has {generation}): it writes nothing more to {}",
        storage.shown("")
    ))
}

fn numbers(storage: &Storage) -> Result<Vec<Generation>, headwater_connectors::Error> {
    let names = storage.list(GENERATIONS)?;
    let number = |name: &String| {
        let number = name.strip_prefix(GENERATIONS)?.strip_prefix('/')?.strip_suffix(".json")?;
        number.parse().ok().map(Generation::of)
    };
    let mut numbers: Vec<Generation> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn name(generation: Generation) -> String {
    format!("{GENERATIONS}/{generation}.json")
}

/// The host's name, for people.
pub fn host() -> String {
    let name = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    name.map_or_else(|| "an unknown host".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: CheckpointNumber = CheckpointNumber::NONE;

    /// The `n`th checkpoint of a generation.
    fn number(generation: u64, n: u64) -> CheckpointNumber {
        CheckpointNumber::of(numbers_of(Generation::of(generation)).number() + n)
    }

    fn start(generation: u64, base: CheckpointNumber) -> Start {
        Start {
            generation: Generation::of(generation),
            base,
            host: String::new(),
            pid: 1,
            started: WallClock::BEFORE_ALL,
        }
    }

    #[test]
    fn what_an_older_generation_writes_late_does_not_count() {
        let starts = Starts(vec![start(4, ANY), start(5, number(4, 2)), start(6, number(5, 2))]);
        let rows = [(4, 1, true), (4, 2, true), (4, 3, false), (5, 1, true), (5, 2, true), (5, 3, false), (6, 1, true)];
        for (generation, n, counts) in rows {
            assert_eq!(starts.count(number(generation, n)), counts, "{generation} {n}");
        }
        let fresh = Starts(vec![start(4, ANY), start(5, ANY)]);
        assert!(!fresh.count(number(4, 1)) && fresh.count(number(5, 1)), "a fresh start begins without any");
    }

    #[test]
    fn one_start_takes_a_generation() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        let mut first = Starts::read(&storage).unwrap();
        let mut second = first.clone();
        first.take(&storage, ANY, Generation::NONE).unwrap();
        let refused = second.take(&storage, ANY, Generation::NONE).unwrap_err().to_string();
        assert!(refused.contains("another start was faster"), "{refused}");
        let mut third = Starts::read(&storage).unwrap();
        third.take(&storage, CheckpointNumber::of(7), Generation::NONE).unwrap();
        assert_eq!(third.newest(), Generation::of(2));
        check(&storage, Generation::of(2)).unwrap();
        let overtaken = check(&storage, Generation::of(1)).unwrap_err().to_string();
        assert!(overtaken.contains("generation 2, on "), "{overtaken}");
    }

    #[test]
    fn what_is_damaged_or_gone_is_passed() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path().to_str().unwrap()).unwrap();
        Starts::read(&storage).unwrap().take(&storage, ANY, Generation::NONE).unwrap();
        std::fs::write(dir.path().join(name(Generation::of(1))), "{").unwrap();
        let mut starts = Starts::read(&storage).unwrap();
        starts.take(&storage, number(1, 3), Generation::NONE).unwrap();
        assert_eq!(starts.newest(), Generation::of(2));
        assert!(starts.count(number(1, 3)) && !starts.count(number(1, 4)));

        std::fs::remove_dir_all(dir.path().join(GENERATIONS)).unwrap();
        let mut starts = Starts::read(&storage).unwrap();
        starts.take(&storage, number(2, 1), Generation::of(2)).unwrap();
        assert_eq!(starts.newest(), Generation::of(3), "its checkpoints have numbers of their own");
    }
}
