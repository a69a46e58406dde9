//! What the benches share: a card-payment history, a job over it, and a line of figures.

#![allow(dead_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The allocator that users get.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub const DAY_US: i64 = 86_400_000_000;
/// Where every history ends.
pub const END_US: i64 = 1_767_225_600_000_000;
pub const PARTITIONS: i64 = 4;

/// Of a job: Parquet files and JSON lines, with a seam in time, and a group by card.
pub const SOURCE: &str = r#"
[sources.tx]
event_time = "ts"
time_unit = "us"
[sources.tx.history]
type = "parquet"
path = "history/*.parquet"
[sources.tx.stream]
type = "jsonl"
path = "stream/*.jsonl"
[sources.tx.seam]
by = "time"
allow_gap = true
[features.card]
source = "tx"
key = "card_id"
"#;

/// Skewed like payments are: few cards have many.
pub fn card(rng: &mut StdRng, cards: u32) -> u32 {
    let x: f64 = rng.random();
    ((x * x * x) * f64::from(cards)) as u32
}

pub fn amount(rng: &mut StdRng) -> f64 {
    f64::from(rng.random_range(1..50_000)) / 100.0
}

/// Writes rows into `history`, in files of a million. `columns`: of the rows from a first one on, so many.
pub fn parquet(dir: &Path, rows: usize, mut columns: impl FnMut(usize, usize) -> Vec<(&'static str, ArrayRef)>) {
    std::fs::create_dir_all(dir.join("history")).unwrap();
    for (file, first) in (0..rows).step_by(1_000_000).enumerate() {
        let batch = RecordBatch::try_from_iter(columns(first, (rows - first).min(1_000_000))).unwrap();
        let file = File::create(dir.join(format!("history/part-{file:03}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// Writes `rows` payments of `cards` cards over 29 days, in files of a million, in order of time.
pub fn history(dir: &Path, rows: usize, cards: u32) {
    std::fs::create_dir_all(dir).unwrap();
    let mut rng = StdRng::seed_from_u64(42);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(250_000))
        .build();
    for (file, first) in (0..rows).step_by(1_000_000).enumerate() {
        let many = (rows - first).min(1_000_000);
        let time =
            |i: usize| END_US - 29 * DAY_US + ((first + i) as i128 * i128::from(29 * DAY_US) / rows as i128) as i64;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values((0..many).map(time)).with_timezone("UTC"))),
            (
                "card_id",
                Arc::new(StringArray::from_iter_values(
                    (0..many).map(|_| format!("card-{:06}", card(&mut rng, cards))),
                )),
            ),
            (
                "amount",
                Arc::new(Float64Array::from_iter_values(
                    (0..many).map(|_| f64::from(rng.random_range(1..50_000)) / 100.0),
                )),
            ),
            (
                "kafka_partition",
                Arc::new(Int32Array::from_iter_values((0..many).map(|i| (i as i64 % PARTITIONS) as i32))),
            ),
            (
                "kafka_offset",
                Arc::new(Int64Array::from_iter_values((0..many).map(|i| (first + i) as i64 / PARTITIONS))),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = dir.join(format!("part-{file:03}.parquet"));
        let mut writer =
            ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties.clone())).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// Count, sum and max over four windows: 12 columns.
pub const FEATURES: &str = r#"
[features.card]
source = "tx"
key = "card_id"
[features.card.columns]
n = { agg = "count", windows = ["1h", "1d", "7d", "30d"] }
spend = { agg = "sum", of = "amount", windows = ["1h", "1d", "7d", "30d"] }
top = { agg = "max", of = "amount", windows = ["1h", "1d", "7d", "30d"] }
"#;

pub fn write_job(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("job.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// The median of some runs.
pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

/// What a command took, from its start to its end.
pub struct Run {
    /// The most bytes of it that were resident.
    pub peak: usize,
    pub took: Duration,
    /// On all cores together: what a busy machine changes less.
    pub cpu: Duration,
}

/// Runs a command to its end.
pub fn watched(command: &mut Command) -> Run {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    let (mut peak, mut cpu) = (0, Duration::ZERO);
    loop {
        peak = resident_at_most(child.id()).unwrap_or(peak);
        cpu = cpu_time(child.id()).unwrap_or(cpu);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return Run { peak, took: start.elapsed(), cpu };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Of all threads of a process, in the kernel too.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything: a clock of 100 ticks a second.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

fn resident_at_most(pid: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? * 1024)
}

pub fn line(name: &str, count: usize, took: Duration, floor: Option<Duration>) {
    let rate = count as f64 / took.as_secs_f64();
    let ratio =
        floor.map_or_else(String::new, |f| format!("   {:.2} x its floor", took.as_secs_f64() / f.as_secs_f64()));
    println!("{name:<44} {:>8.3} s {:>12.0} /s{ratio}", took.as_secs_f64(), rate);
}

/// The median time, of cores too, and the most memory of some runs.
pub fn tell(name: &str, count: usize, runs: &[Run], floor: Option<Duration>) {
    let of_all = |of: fn(&Run) -> Duration| median(runs.iter().map(of).collect());
    let peak = runs.iter().map(|run| run.peak).max().unwrap_or(0);
    let cpu = of_all(|run| run.cpu).as_secs_f64();
    line(&format!("{name}, {} MiB, {cpu:.1} s of CPU", peak >> 20), count, of_all(|run| run.took), floor);
}

/// How long it takes, of many times.
pub fn percentiles(name: &str, all: &[Duration]) {
    let mut all = all.to_vec();
    all.sort();
    let at = |p: f64| {
        all.get(((all.len() as f64 * p) as usize).min(all.len().saturating_sub(1)))
            .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    };
    println!("{name:<44} p50 {:>7.2} ms   p99 {:>7.2} ms   ({} times)", at(0.5), at(0.99), all.len());
}

pub fn rounds() -> usize {
    std::env::var("HEADWATER_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

pub fn scale(full: usize) -> usize {
    std::env::var("HEADWATER_BENCH_SCALE")
        .ok()
        .and_then(|n| n.parse::<f64>().ok())
        .map_or(full, |s| (full as f64 * s) as usize)
}
