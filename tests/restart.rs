//! A run that is killed goes on from its last checkpoint, by any number of workers, and its whole output is the same to the byte.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::headwater;

const START_US: i64 = 1_735_689_600_000_000;
const EVENTS: usize = 60_000;

const JOB: &str = r#"
name = "restart"
tick = "10ms"
[sources.tx]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "30s"
schema = { ts = "timestamp", a = "timestamp", k = "string", x = "float64", m = "string", p = "int32", o = "int64" }
history = { type = "jsonl", path = "history*.jsonl" }
stream = { type = "jsonl", path = "stream/*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[features.trailing]
source = "tx"
key = "k"
[features.trailing.columns]
n       = { agg = "count", windows = ["1m", "10m", "all"] }
s       = { agg = "sum", of = "x", windows = ["1m", "10m"] }
top     = { agg = "max", of = "x", window = "10m" }
d       = { agg = "count_distinct", of = "m", windows = ["10m", "all"] }
often   = { agg = "top_k", of = "m", k = 2, window = "5m" }
usual   = { agg = "mode", of = "m", windows = ["1m", "all"] }
first   = { agg = "first", of = "m", window = "5m" }
latest  = { agg = "last_n", of = "x", n = 3, window = "5m" }
spread  = { agg = "stddev_pop", of = "x", window = "5m" }
about   = { agg = "approx_count_distinct", of = "m", window = "5m" }
high    = { agg = "approx_percentile", of = "x", p = 0.9, window = "5m" }
[features.tumbling]
source = "tx"
key = "k"
window = { tumbling = "1m" }
columns = { n = { agg = "count" }, s = { agg = "sum", of = "x" }, d = { agg = "count_distinct", of = "m" } }
[features.hopping]
source = "tx"
key = ["k", "m"]
window = { hopping = "1m", every = "20s" }
columns = { n = { agg = "count" }, l = { agg = "last", of = "x" } }
[features.session]
source = "tx"
key = "k"
window = { session = "5s" }
columns = { n = { agg = "count" }, often = { agg = "top_k", of = "m", k = 2 }, usual = { agg = "mode", of = "x" } }
[sinks.online]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
[state]
path = "state"
checkpoint_every = "1ms"
"#;

/// Writes a job with a history and a stream of three partitions.
fn write_job(dir: &Path) -> PathBuf {
    write_job_of(dir, EVENTS, EVENTS / 5)
}

/// The first so many of the events are in the history.
fn write_job_of(dir: &Path, events: usize, in_history: usize) -> PathBuf {
    let mut rng = StdRng::seed_from_u64(9);
    let (mut history, mut streams, mut offsets) = (String::new(), vec![String::new(); 3], [0; 3]);
    let mut now = START_US;
    for n in 0..events {
        now += rng.random_range(0..10_000);
        let delay = if rng.random_range(0..5) == 0 { rng.random_range(0..60_000_000) } else { 0 };
        let p = rng.random_range(0..3);
        let line = format!(
            r#"{{"ts":{},"a":{now},"k":"c{}","x":{},"m":"m{}","p":{p},"o":{}}}"#,
            now - delay,
            rng.random_range(0..300),
            f64::from(rng.random_range(1..50_000)) / 100.0,
            rng.random_range(0..9),
            offsets[p],
        );
        offsets[p] += 1;
        // What the history has is in the stream too.
        let to_history = if n < in_history { Some(&mut history) } else { None };
        for text in to_history.into_iter().chain([&mut streams[p]]) {
            writeln!(text, "{line}").unwrap();
        }
    }
    std::fs::create_dir_all(dir.join("stream")).unwrap();
    std::fs::write(dir.join("history.jsonl"), history).unwrap();
    for (p, text) in streams.iter().enumerate() {
        std::fs::write(dir.join(format!("stream/{p}.jsonl")), format!("{text}not json\n")).unwrap();
    }
    let job = dir.join("job.toml");
    std::fs::write(&job, JOB).unwrap();
    job
}

fn start(job: &Path, workers: usize) -> Child {
    let workers = workers.to_string();
    let mut command = headwater();
    command.args(["run", "--until-end", "--workers", &workers]).arg(job);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Everything that a run has put out: rows by group, the changelog, and the dead letters, whose order is not promised.
fn output(dir: &Path) -> Vec<String> {
    let export = |group| {
        let mut command = headwater();
        let done = command.arg("export").arg(dir.join("job.toml")).arg(group).output().unwrap();
        succeeded(&done);
        String::from_utf8(done.stdout).unwrap()
    };
    let mut all: Vec<String> = ["trailing", "tumbling", "hopping", "session"].into_iter().map(export).collect();
    all.push(std::fs::read_to_string(dir.join("changes.jsonl")).unwrap());
    let dead_letters = std::fs::read_to_string(dir.join("dead_letters.jsonl")).unwrap();
    let mut dead_letters: Vec<&str> = dead_letters.lines().collect();
    dead_letters.sort_unstable();
    all.push(dead_letters.join("\n"));
    all
}

fn assert_same(found: &[String], expected: &[String], what: &str) {
    for (name, (found, expected)) in
        ["trailing", "tumbling", "hopping", "session", "changes", "dead letters"].iter().zip(found.iter().zip(expected))
    {
        let parts = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert!(found == expected, "{what}, {name}: {} and {} bytes, {parts:?}", found.len(), expected.len());
    }
}

/// What an uninterrupted run puts out.
fn expected() -> Vec<String> {
    expected_of(write_job)
}

fn expected_of(write: impl Fn(&Path) -> PathBuf) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    succeeded(&start(&write(dir.path()), 2).wait_with_output().unwrap());
    output(dir.path())
}

/// The checkpoints that are whole, and have something in them besides the plan.
fn checkpoints(dir: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(dir.join("state/checkpoints")) else { return vec![] };
    let has_parts = |e: &std::fs::DirEntry| {
        let manifest = std::fs::read_to_string(e.path().join("manifest.json")).unwrap_or_default();
        manifest.contains("\"piece\"")
    };
    let whole = entries.filter_map(|e| e.ok().filter(has_parts));
    let mut numbers: Vec<u64> = whole.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Waits until a run has written a checkpoint past a number, or is at its end. Whether it is.
fn ended_before(child: &mut Child, dir: &Path, number: u64) -> bool {
    let begun = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        if checkpoints(dir).last().is_some_and(|newest| *newest > number) {
            return false;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint after {number}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts a run, and kills it some way into what comes after its first checkpoint.
fn killed(job: &Path, workers: usize, rng: &mut StdRng) {
    let dir = job.parent().unwrap();
    let newest = checkpoints(dir).last().copied().unwrap_or(0);
    let mut child = start(job, workers);
    assert!(!ended_before(&mut child, dir, newest), "it was to be killed after a checkpoint");
    std::thread::sleep(Duration::from_millis(rng.random_range(0..80)));
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn killed_again_and_again_and_rescaled() {
    let expected = expected();
    let dir = tempfile::tempdir().unwrap();
    let job = write_job(dir.path());
    let mut rng = StdRng::seed_from_u64(4);
    for workers in [2, 1, 3, 2, 2] {
        killed(&job, workers, &mut rng);
    }
    succeeded(&start(&job, 3).wait_with_output().unwrap());
    assert_same(&output(dir.path()), &expected, "after five kills");
    assert!(checkpoints(dir.path()).len() <= 3, "the last few are kept");
}

/// What was read of the history is not read again, and the plan stays the one that was made first.
#[test]
fn killed_while_the_history_is_read() {
    let write = |dir: &Path| write_job_of(dir, 420_000, 400_000);
    let expected = expected_of(write);
    let dir = tempfile::tempdir().unwrap();
    let job = write(dir.path());
    let seam = || {
        let plan = std::fs::read_to_string(dir.path().join("state/plan.json")).unwrap();
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        (plan["readings"][0]["s"].clone(), plan["read"].clone())
    };
    let (mut seams, mut rng) = (vec![], StdRng::seed_from_u64(6));
    for workers in [1, 2, 1] {
        killed(&job, workers, &mut rng);
        seams.push(seam());
        // Not of the plan.
        std::fs::write(dir.path().join("history-new.jsonl"), "no history at all\n").unwrap();
    }
    let done = start(&job, 2).wait_with_output().unwrap();
    succeeded(&done);
    seams.push(seam());
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("going on"), "{said}");
    assert!(seams.iter().all(|(s, _)| *s == seams[0].0), "{seams:?}");
    let read = seams.iter().filter(|(_, read)| read.as_object().is_some_and(|read| !read.is_empty()));
    assert!(read.count() > 0, "something of the history was not read again: {seams:?}");
    assert_same(&output(dir.path()), &expected, "killed in the history");
}

/// What has reached its end goes on from there: nothing is written twice.
#[test]
fn run_again_at_the_end() {
    let expected = expected();
    let dir = tempfile::tempdir().unwrap();
    let job = write_job(dir.path());
    for workers in [1, 3, 2] {
        succeeded(&start(&job, workers).wait_with_output().unwrap());
        assert_same(&output(dir.path()), &expected, "run again");
    }
}

/// A run to the end keeps the ends that it found, whatever it goes on from, until it has reached them.
#[test]
fn its_ends_stay() {
    let thirds = |dir: &Path| {
        let job = write_job(dir);
        std::fs::write(&job, JOB.replace("1ms", "1h")).unwrap();
        let texts = (0..3).map(|p| std::fs::read_to_string(dir.join(format!("stream/{p}.jsonl"))).unwrap());
        let texts: Vec<String> = texts.collect();
        let grow = move |dir: &Path, to: usize| {
            for (p, text) in texts.iter().enumerate() {
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                let grown: String = lines[..lines.len() * to / 3].concat();
                std::fs::write(dir.join(format!("stream/{p}.jsonl")), grown).unwrap();
            }
        };
        (job, grow)
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [(job, grow), (killed, grow_killed)] = [0, 1].map(|dir| thirds(dirs[dir].path()));
    let mut expected = vec![];
    for third in 1..=3 {
        grow(dirs[0].path(), third);
        succeeded(&start(&job, 2).wait_with_output().unwrap());
        expected.push(output(dirs[0].path()));
    }
    let dir = dirs[1].path();
    grow_killed(dir, 1);
    succeeded(&start(&killed, 2).wait_with_output().unwrap());
    grow_killed(dir, 2);
    let newest = checkpoints(dir).last().copied().unwrap();
    let mut child = start(&killed, 2);
    assert!(!ended_before(&mut child, dir, newest), "it was to be killed before its first checkpoint");
    child.kill().unwrap();
    child.wait().unwrap();
    let manifest = dir.join(format!("state/checkpoints/{}/manifest.json", checkpoints(dir).last().unwrap()));
    assert!(std::fs::read_to_string(manifest).unwrap().contains(r#""finished":false"#), "it was killed too late");
    grow_killed(dir, 3);
    for (expected, what) in expected[1..].iter().zip(["the ends at its start", "the ends at the next start"]) {
        succeeded(&start(&killed, 3).wait_with_output().unwrap());
        assert_same(&output(dir), expected, what);
    }
}

const LAGGING: &str = r#"
name = "lagging"
[sources.tx]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
schema = { ts = "timestamp", a = "timestamp", k = "string" }
stream = { type = "jsonl", path = "stream/*.jsonl" }
[features.tens]
source = "tx"
key = "k"
window = { tumbling = "10s" }
retain = "1d"
columns = { n = { agg = "count" } }
[sinks.online]
type = "embedded"
[state]
path = "state"
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
"#;

/// A partition whose end lies behind the others' keeps its windows: what it brings to the next run is not late.
#[test]
fn a_partition_that_lags_keeps_its_windows() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("stream")).unwrap();
    std::fs::write(path("job.toml"), LAGGING).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let begin = (now - 200).div_euclid(10) * 10 * 1_000_000;
    let lines = |key: &str, seconds: &[f64]| -> String {
        let at = |s: &f64| begin + (s * 1e6) as i64;
        seconds.iter().map(|s| format!("{{\"ts\":{0},\"a\":{0},\"k\":\"{key}\"}}\n", at(s))).collect()
    };
    // So many that they are not read at once.
    let ahead: Vec<f64> = (0..100_000).map(|n| f64::from(n) / 1000.0).collect();
    std::fs::write(path("stream/0.jsonl"), lines("ahead", &ahead)).unwrap();
    for (seconds, expected) in [(&[0.0, 1.0, 2.0][..], 3), (&[0.0, 1.0, 2.0, 4.0], 4), (&[0.0, 1.0, 2.0, 4.0, 8.0], 5)]
    {
        std::fs::write(path("stream/1.jsonl"), lines("behind", seconds)).unwrap();
        succeeded(&start(&path("job.toml"), 2).wait_with_output().unwrap());
        let mut command = headwater();
        let done = command.arg("export").arg(path("job.toml")).arg("tens").output().unwrap();
        succeeded(&done);
        let rows = String::from_utf8(done.stdout).unwrap();
        let behind: Vec<&str> = rows.lines().filter(|line| line.contains("behind")).collect();
        let row = format!(r#""row":{{"n":{expected}}}"#);
        assert!(behind.len() == 1 && behind[0].contains(&row), "{behind:?}");
        assert_eq!(std::fs::read_to_string(path("dead_letters.jsonl")).unwrap(), "");
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let expected = expected();
    let dir = tempfile::tempdir().unwrap();
    let job = write_job(dir.path());
    let mut rng = StdRng::seed_from_u64(5);
    killed(&job, 2, &mut rng);
    killed(&job, 2, &mut rng);
    let (newest, part) = newest_part(dir.path());
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let done = start(&job, 1).wait_with_output().unwrap();
    succeeded(&done);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains(&format!("checkpoint {newest} is damaged")), "{said}");
    assert_same(&output(dir.path()), &expected, "from the one before");
}

/// A store is left as it is where it has every row already; not where the rows that it has are others.
#[test]
fn a_store_with_other_rows() {
    let to_end = |dir: &Path, text: &str| {
        std::fs::write(dir.join("job.toml"), text).unwrap();
        succeeded(&start(&dir.join("job.toml"), 2).wait_with_output().unwrap());
    };
    let exported = |dir: &Path| {
        let command = |group| headwater().arg("export").arg(dir.join("job.toml")).arg(group).output();
        ["trailing", "hopping"].map(|group| String::from_utf8(command(group).unwrap().stdout).unwrap())
    };
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_job_of(dir.path(), 2000, 500);
    write_job_of(other.path(), 2000, 500);
    to_end(dir.path(), JOB);
    // A column and a group are called something else.
    let renamed = JOB.replace("about   =", "around  =").replace("[features.hopping]", "[features.x]");
    let renamed =
        renamed.replace("[features.tumbling]", "[features.hopping]").replace("[features.x]", "[features.tumbling]");
    to_end(dir.path(), &renamed);
    to_end(other.path(), &renamed);
    assert!(exported(other.path())[0].contains("\"around\""));
    assert_eq!(exported(dir.path()), exported(other.path()));

    // Another job writes the store, and is killed before it has a checkpoint.
    let shrunk: Vec<&str> = renamed.lines().filter(|line| !line.starts_with("around")).collect();
    std::fs::write(dir.path().join("job.toml"), shrunk.join("\n").replace("\"1ms\"", "\"1h\"")).unwrap();
    let mut live = headwater();
    let mut live = live.arg("run").arg(dir.path().join("job.toml")).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !exported(dir.path())[0].contains("c1") || exported(dir.path())[0].contains("around") {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not write its rows");
        std::thread::sleep(Duration::from_millis(20));
    }
    live.kill().unwrap();
    live.wait().unwrap();
    to_end(dir.path(), &renamed);
    let [rows, _] = exported(dir.path());
    assert!(rows.lines().count() > 100 && rows.lines().all(|row| row.contains("\"around\"")), "{rows}");
}

/// Reading fails for a moment only: a start passes the newest checkpoint over, and cuts lines back for the one before. Whoever
/// starts next must not go on from the newest, although it is whole again.
#[test]
fn what_was_passed_over_stays_so() {
    let expected = expected();
    let dir = tempfile::tempdir().unwrap();
    let job = write_job(dir.path());
    // The plan is the first one, and no other is written but at the end.
    std::fs::write(&job, JOB.replace("\"1ms\"", "\"1h\"")).unwrap();
    succeeded(&start(&job, 2).wait_with_output().unwrap());
    let (newest, part) = newest_part(dir.path());
    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, &whole[..whole.len() / 2]).unwrap();

    let length = || std::fs::metadata(dir.path().join("changes.jsonl")).unwrap().len();
    let (before, begun) = (length(), Instant::now());
    let mut child = start(&job, 2);
    while length() == before && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not go on");
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let said = child.wait_with_output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains(&format!("checkpoint {newest} is damaged")));
    assert!(length() < before, "killed before it was at the end again");
    assert!(!checkpoints(dir.path()).contains(&newest), "it is none any more");

    std::fs::write(&part, &whole).unwrap();
    succeeded(&start(&job, 1).wait_with_output().unwrap());
    assert_same(&output(dir.path()), &expected, "after the newest was passed over");
}

/// The largest part of the newest checkpoint that has any of its own: one that a start writes before anything else has those of others.
fn newest_part(dir: &Path) -> (u64, PathBuf) {
    let own = |number: &u64| parts(dir, *number).pop().map(|part| (*number, part));
    checkpoints(dir).iter().rev().find_map(own).expect("a checkpoint has parts")
}

/// The parts of a checkpoint, the largest last.
fn parts(dir: &Path, number: u64) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join(format!("state/checkpoints/{number}"))).unwrap();
    let mut parts: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    parts.retain(|path| path.extension().is_some_and(|e| e == "parquet"));
    parts.sort_by_key(|path| path.metadata().unwrap().len());
    parts
}

/// A file in which another line has taken the last one's place.
#[test]
fn a_stream_that_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let job = write_job(dir.path());
    succeeded(&start(&job, 2).wait_with_output().unwrap());
    let file = dir.path().join("stream/1.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let last = text.lines().count() - 1;
    std::fs::write(&file, text.replace("not json\n", "no json!\nno json\n")).unwrap();
    let refused = start(&job, 2).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(
        said.contains(&format!("partition 1: offset {last}, the last that was read, holds another record")),
        "{said}"
    );
    std::fs::write(&file, text + "no json\n").unwrap();
    succeeded(&start(&job, 1).wait_with_output().unwrap());
}
