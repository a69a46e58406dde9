//! What checkpoints cost: a stream into 1M cards with an exact window of 7 days, on 2 workers, with a checkpoint every 30 s; and how
//! soon a run that goes on from the last one has published rows as of then. The events end now, so that little has grown old.
//! Floor: the same without checkpoints, but for the one at the end.

mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, StringArray, TimestampMicrosecondArray};
use headwater_clocks::{Time, WallClock, format_time};
use rand::SeedableRng;
use rand::rngs::StdRng;
use support::{DAY_US, PARTITIONS};

const CARDS: u32 = 1_000_000;

fn main() {
    let (history, stream) = (support::scale(10_000_000), support::scale(10_000_000));
    let end = WallClock::now().us() - DAY_US;
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path(), history, end);
    write_stream(dir.path(), stream, end);
    println!("checkpoint: {history} events of 7 days, {CARDS} cards, then {stream} events of a stream, 2 workers");
    let took = |every: &str| {
        let job = support::write_job(dir.path(), &JOB.replace("SOURCE", support::SOURCE).replace("EVERY", every));
        let one = |_| {
            // A store that is there already is spared the rows that it had.
            let _ = std::fs::remove_dir_all(dir.path().join("state"));
            support::timed(|| finish(start(&job, &["--until-end"]))).1
        };
        (job.clone(), support::median((0..support::rounds()).map(one).collect()))
    };
    let (_, floor) = took("1h");
    support::line("floor: without checkpoints", history + stream, floor, None);
    let (job, with) = took("30s");
    support::line("a checkpoint every 30 s", history + stream, with, Some(floor));
    println!(
        "the state                                    {:>8.0} MiB",
        bytes_of_newest(dir.path()) as f64 / 1048576.0
    );
    let restarts = (0..support::rounds()).map(|_| restart(&job)).collect();
    println!("from the start to the first published row    {:>8.3} s", support::median(restarts).as_secs_f64());
}

const JOB: &str = r#"
name = "checkpoint"
SOURCE
[features.card.columns]
n     = { agg = "count", windows = ["1h", "7d"] }
spend = { agg = "sum", of = "amount", windows = ["1h", "7d"] }
top   = { agg = "max", of = "amount", window = "7d" }
[state]
path = "state"
checkpoint_every = "EVERY"
"#;

fn write_history(dir: &Path, rows: usize, end: i64) {
    let mut rng = StdRng::seed_from_u64(42);
    support::parquet(dir, rows, |first, many| {
        let time = |i: usize| end - ((rows - first - i) as i128 * i128::from(7 * DAY_US) / rows as i128) as i64;
        let cards: Vec<String> = (0..many).map(|_| format!("card-{:07}", support::card(&mut rng, CARDS))).collect();
        vec![
            ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values((0..many).map(time)).with_timezone("UTC"))),
            ("card_id", Arc::new(StringArray::from_iter_values(cards))),
            ("amount", Arc::new(Float64Array::from_iter_values((0..many).map(|_| support::amount(&mut rng))))),
        ]
    });
}

/// The day after `end`, in four partitions.
fn write_stream(dir: &Path, rows: usize, end: i64) {
    let mut rng = StdRng::seed_from_u64(43);
    std::fs::create_dir_all(dir.join("stream")).unwrap();
    for partition in 0..PARTITIONS {
        let file = std::fs::File::create(dir.join(format!("stream/{partition}.jsonl"))).unwrap();
        let mut file = std::io::BufWriter::new(file);
        let mut line = String::new();
        for i in (partition as usize..rows).step_by(PARTITIONS as usize) {
            let ts = end + 1 + (i as i128 * i128::from(DAY_US) / rows as i128) as i64;
            let (card, amount) = (support::card(&mut rng, CARDS), support::amount(&mut rng));
            line.clear();
            writeln!(line, r#"{{"ts":{ts},"card_id":"card-{card:07}","amount":{amount}}}"#).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
    }
}

fn start(job: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(["run", "--workers", "2"])
        .args(args)
        .arg(job)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn finish(mut child: Child) {
    assert!(child.wait().unwrap().success());
}

/// How long a run that goes on takes until its rows are in the store, as of a moment after its start.
fn restart(job: &Path) -> Duration {
    let (begun, now) = (Instant::now(), format_time(WallClock::now().us()));
    let mut child = start(job, &[]);
    let published = loop {
        let status =
            Command::new(env!("CARGO_BIN_EXE_headwater")).args(["status", "--json"]).arg(job).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        if status["groups"][0]["as_of"].as_str().is_some_and(|as_of| *as_of > *now) {
            break begun.elapsed();
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(20));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    published
}

/// Bytes of the newest checkpoint's files.
fn bytes_of_newest(dir: &Path) -> u64 {
    let numbers = std::fs::read_dir(dir.join("state/checkpoints")).unwrap();
    let newest = numbers.filter_map(|e| e.unwrap().file_name().to_str()?.parse::<u64>().ok()).max().unwrap();
    let manifest = std::fs::read(dir.join(format!("state/checkpoints/{newest}/manifest.json"))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["parts"].as_array().unwrap().iter().filter_map(|part| part["bytes"].as_u64()).sum()
}
