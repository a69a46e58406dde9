//! Fuzz: inputs that others write, mutated at random; whatever comes of them, it is an error or a result, soon and in little memory.
//!
//! ```text
//! samples (made here)  ->  mutated by a seed  ->  a target reads it  ->  fine: any answer
//!                                                                        not: a panic, an abort, a minute, gigabytes
//! ```
//!
//! A seed makes the same input again, on any machine: `./dev fuzz --target parquet --seed 123`. Before an input is read its seed
//! is written down, so that one that ends the process can be told too. A new target is a file and a line in `TARGETS`.
//!
//! `HEADWATER_FUZZ_MINUTES`: how long, all targets together (`./dev fuzz`; as a part of all tests: `SECONDS_SHORT`);
//! `HEADWATER_FUZZ_TARGET`: one target alone; `HEADWATER_FUZZ_SEED`: this input alone.

mod avro;
mod checkpoint;
mod csv;
mod debezium;
mod explode;
mod expression;
mod http;
mod job;
mod json;
mod lakes;
mod mutate;
mod parquet;
mod protobuf;
mod redis;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::now_us;

/// Something that reads inputs.
trait Target: Sync {
    fn name(&self) -> &'static str;

    /// Inputs as they should be, from which mutated ones are made.
    fn samples(&self) -> Vec<Vec<u8>>;

    /// Parts that mean something in such an input.
    fn words(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads an input. Errors are fine; what is not, panics.
    fn read(&self, input: &[u8]);
}

const TARGETS: [&dyn Target; 14] = [
    &parquet::Parquet,
    &json::Json,
    &csv::Csv,
    &debezium::Debezium,
    &avro::Avro,
    &lakes::AvroFile,
    &lakes::DeltaLog,
    &protobuf::Protobuf,
    &explode::Explode,
    &job::JobFile,
    &expression::Expressions,
    &checkpoint::Checkpoint,
    &redis::Redis,
    &http::Http,
];

const SECONDS_SHORT: f64 = 50.0;
/// How long one input may take, and how much memory the process may have by it.
const PATIENCE: Duration = Duration::from_secs(60);
const MEMORY_BYTES_MAX: u64 = 3 << 30;

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.is_empty())
}

fn number(variable: &str) -> Option<f64> {
    set(variable).map(|text| text.parse().unwrap_or_else(|e| panic!("{variable}: {e}")))
}

#[test]
fn inputs() {
    let only = set("HEADWATER_FUZZ_TARGET");
    let targets: Vec<_> = TARGETS.iter().filter(|t| only.as_deref().is_none_or(|only| only == t.name())).collect();
    assert!(!targets.is_empty(), "there is no such target: {only:?}");
    let minutes = number("HEADWATER_FUZZ_MINUTES");
    let seconds = minutes.map_or(SECONDS_SHORT, |minutes| minutes * 60.0) / targets.len() as f64;
    let seed = number("HEADWATER_FUZZ_SEED").map(|seed| seed as u64);
    let first = seed.unwrap_or(if minutes.is_some() { now_us() as u64 / 1000 % 1_000_000 * 1_000_000 } else { 1 });
    for target in targets {
        let inputs = fuzz(*target, first, if seed.is_some() { 0.0 } else { seconds });
        eprintln!("fuzz: {}: {inputs} inputs from seed {first} on", target.name());
    }
}

/// Reads inputs for so long, at least one; how many it were.
fn fuzz(target: &dyn Target, first: u64, seconds: f64) -> u64 {
    let samples = target.samples();
    samples.iter().for_each(|sample| target.read(sample));
    let began = Instant::now();
    let (seed, over) = (AtomicU64::new(first), AtomicBool::new(false));
    // Beside other tests the memory is theirs too.
    let bytes_max = set("HEADWATER_FUZZ_MINUTES").map_or(u64::MAX, |_| MEMORY_BYTES_MAX);
    let again = |seed: u64| format!("./dev fuzz --target {} --seed {seed}", target.name());
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&seed, &over, bytes_max, &again));
        while seed.load(Ordering::Relaxed) == first || began.elapsed().as_secs_f64() < seconds {
            let now = seed.load(Ordering::Relaxed);
            std::fs::write(note(), again(now)).unwrap();
            let rng = &mut StdRng::seed_from_u64(now);
            let input = mutate::mutated(rng, &samples, target.words());
            let outcome = catch_unwind(AssertUnwindSafe(|| target.read(&input)));
            if outcome.is_err() {
                over.store(true, Ordering::Relaxed);
                panic!("a panic, see above. Again: {}", again(now));
            }
            seed.store(now + 1, Ordering::Relaxed);
        }
        over.store(true, Ordering::Relaxed);
    });
    seed.load(Ordering::Relaxed) - first
}

/// Where the last input is told: of one that ends the process nothing else can.
fn note() -> PathBuf {
    std::env::temp_dir().join("headwater-fuzz-last")
}

/// Ends the process at an input that takes too long, or too much memory.
fn watch(seed: &AtomicU64, over: &AtomicBool, bytes_max: u64, again: &(dyn Fn(u64) -> String + Sync)) {
    let (mut last, mut since) = (u64::MAX, Instant::now());
    while !over.load(Ordering::Relaxed) {
        let now = seed.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let bytes = memory_bytes();
        if since.elapsed() > PATIENCE || bytes > bytes_max {
            eprintln!("fuzz: {:?} and {bytes} bytes of memory. Again: {}", since.elapsed(), again(now));
            #[expect(clippy::disallowed_methods, reason = "the process is the test's own")]
            std::process::exit(1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the process holds in memory; where that is not to be known, nothing.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
