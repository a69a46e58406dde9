//! Training rows: count, sum and max over 1h, 1d and 7d for 1M labels over 10M events of 100k skewed cards, of which one in a hundred comes
//! up to an hour late; beside DuckDB and Polars, installed here, in one run, with results compared. Then how time and memory grow with
//! events and with labels, and whether an event costs more where a card has many of them or windows are long.
//! On a busy machine CPU time tells more than the clock. `HEADWATER_BENCH_MEMORY` is `--memory`. Floor: the parquet crate alone reads the
//! columns.

mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{DAY_US, END_US, Run};

const CARDS: u32 = 100_000;
const SPAN_US: i64 = 30 * DAY_US;

fn main() {
    let (events, labels) = (support::scale(10_000_000), support::scale(1_000_000));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_history(dir, events, CARDS);
    write_spine(dir, labels, CARDS);
    println!("backfill: {labels} labels, {events} events of {CARDS} cards, 9 columns over 1h, 1d and 7d");
    let floor = support::median((0..support::rounds()).map(|_| support::timed(|| read_columns(dir)).1).collect());
    support::line("floor: the parquet crate reads the columns", events, floor, None);
    let job = write_job(dir, ["1h", "1d", "7d"]);
    for (known, windows) in [("arrival", "as known at arrival"), ("event", "in hindsight")] {
        let runs: Vec<_> = (0..support::rounds()).map(|_| backfill(dir, &job, known)).collect();
        support::tell(&format!("headwater, {windows}"), events, &runs, Some(floor));
    }
    peers(dir, events, floor);
    println!("how it grows");
    for events in [1_000_000, 10_000_000, 50_000_000].map(support::scale) {
        write_history(dir, events, CARDS);
        support::tell(&format!("{events} events, {labels} labels"), events, &[backfill(dir, &job, "arrival")], None);
    }
    write_history(dir, events, CARDS);
    for labels in [10_000, 100_000, 1_000_000, 10_000_000].map(support::scale) {
        write_spine(dir, labels, CARDS);
        support::tell(&format!("{events} events, {labels} labels"), events, &[backfill(dir, &job, "arrival")], None);
    }
    println!("what is larger than its memory");
    let (many_events, many_labels) = (support::scale(50_000_000), support::scale(10_000_000));
    write_history(dir, many_events, CARDS);
    write_spine(dir, many_labels, CARDS);
    let about = format!("{many_events} events, {many_labels} labels, --memory 1GiB");
    support::tell(&about, many_events, &[backfill_in(dir, &job, "arrival", Some("1GiB"))], None);
    println!("what an event costs");
    for (cards, windows) in [
        (1_000_000, ["1h", "1d", "7d"]),
        (10_000, ["1h", "1d", "7d"]),
        (100, ["1h", "1d", "7d"]),
        (CARDS, ["1m", "15m", "2h"]),
        (CARDS, ["2d", "10d", "30d"]),
    ] {
        write_history(dir, events, cards);
        write_spine(dir, labels, cards);
        let job = write_job(dir, windows);
        let about = format!("{cards} cards, windows of {}", windows.join(", "));
        support::tell(&about, events, &[backfill(dir, &job, "arrival")], None);
    }
}

fn backfill(dir: &Path, job: &Path, known: &str) -> Run {
    backfill_in(dir, job, known, std::env::var("HEADWATER_BENCH_MEMORY").ok().as_deref())
}

fn backfill_in(dir: &Path, job: &Path, known: &str, memory: Option<&str>) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.env("HEADWATER_LOG", "warn").arg("backfill").arg(job).args(["--time", "at", "--known", known]);
    command.arg("--spine").arg(dir.join("spine.parquet")).arg("--out").arg(dir.join("headwater.parquet"));
    command.args(memory.into_iter().flat_map(|memory| ["--memory", memory]));
    support::watched(&mut command)
}

/// DuckDB and Polars on the same files, from a venv that is made once.
fn peers(dir: &Path, events: usize, floor: Duration) {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("backfill-peers");
    let python = venv.join("bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/support/peers.py");
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb", "polars"]));
    let mut compare = Command::new(&python);
    compare.arg(&script).arg("compare").arg(dir.join("headwater.parquet"));
    for engine in ["duckdb", "polars"] {
        let out = dir.join(format!("{engine}.parquet"));
        let one = || support::watched(Command::new(&python).arg(&script).arg(engine).arg(dir).arg(&out));
        let runs: Vec<_> = (0..support::rounds()).map(|_| one()).collect();
        support::tell(&format!("{engine}, in hindsight"), events, &runs, Some(floor));
        compare.arg(out);
    }
    run(&mut compare);
}

fn write_job(dir: &Path, windows: [&str; 3]) -> PathBuf {
    let windows = format!("windows = {windows:?}");
    let text = format!(
        r#"
name = "train"
[sources.tx]
event_time = "ts"
arrival_time = "arrived"
[sources.tx.history]
type = "parquet"
path = "history/*.parquet"
[features.card]
source = "tx"
key = "card_id"
[features.card.columns]
n = {{ agg = "count", {windows} }}
s = {{ agg = "sum", of = "cents", {windows} }}
m = {{ agg = "max", of = "cents", {windows} }}
"#
    );
    support::write_job(dir, &text)
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn write_history(dir: &Path, rows: usize, cards: u32) {
    let mut rng = StdRng::seed_from_u64(42);
    // Fewer files than before are all that there is.
    std::fs::remove_dir_all(dir.join("history")).unwrap_or_default();
    support::parquet(dir, rows, |first, many| {
        let arrived: Vec<i64> = (first..first + many).map(|i| arrival(i, rows)).collect();
        let ts: Vec<i64> = arrived.iter().map(|at| at - late(&mut rng)).collect();
        vec![
            ("ts", times(ts.into_iter())),
            ("arrived", times(arrived.into_iter())),
            ("card_id", ints((0..many).map(|_| i64::from(support::card(&mut rng, cards))))),
            ("cents", Arc::new(Int64Array::from_iter_values((0..many).map(|_| rng.random_range(1..2_000_000))))),
        ]
    });
}

fn late(rng: &mut StdRng) -> i64 {
    let most = if rng.random_bool(0.01) { 3_600_000_000 } else { 5_000_000 };
    rng.random_range(0..most)
}

fn arrival(i: usize, rows: usize) -> i64 {
    END_US - SPAN_US + (i as i128 * i128::from(SPAN_US) / rows as i128) as i64
}

fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn write_spine(dir: &Path, rows: usize, cards: u32) {
    let mut rng = StdRng::seed_from_u64(7);
    let card: Vec<i64> = (0..rows).map(|_| i64::from(support::card(&mut rng, cards))).collect();
    let at: Vec<i64> = (0..rows).map(|_| END_US - rng.random_range(0..SPAN_US)).collect();
    let columns = [("card_id", ints(card.into_iter())), ("at", times(at.into_iter()))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(dir.join("spine.parquet")).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// On as many threads as there are cores.
fn read_columns(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir.join("history")).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &PathBuf| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
        reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>()
    };
    std::thread::scope(|scope| {
        let of_thread = |thread: usize| files.iter().skip(thread).step_by(threads).map(read).sum::<usize>();
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || of_thread(thread))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}
