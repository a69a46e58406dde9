//! Several processes that share a backfill: the same bytes as one gives; and they end together, and leave nothing.

use std::fs;
use std::path::Path;

use super::data::{EVERY_AGGREGATE, Order, Sides, job, log, write_history, write_stream};
use super::running::write_spine;
use super::{backfill_with, write_table};
use crate::support::*;

/// Some processes with some workers each, in a directory of their own or in the same.
struct Processes {
    number: usize,
    workers: usize,
    hosts: String,
}

impl Processes {
    fn new(dir: &Path, number: usize, workers: usize) -> Processes {
        let names: Vec<String> = (0..number).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let file = dir.join("hosts");
        fs::write(&file, names.join("\n")).unwrap();
        Processes { number, workers, hosts: file.to_str().unwrap().to_owned() }
    }

    fn start(&self, process: usize, dir: &Path, args: &[&str], env: &[(&str, String)]) -> Running {
        let Processes { number, workers, hosts } = self;
        let numbers = [*number, process, *workers].map(|number| number.to_string());
        let flags = ["--processes", "--process", "--workers"].iter().zip(&numbers);
        let of_cluster: Vec<&str> = flags.flat_map(|(flag, number)| [*flag, number.as_str()]).collect();
        let secret = ("HEADWATER_SECRET", "s3cret".to_owned());
        backfill_with(dir, &[&of_cluster[..], &["--hosts", hosts], args].concat(), &[env, &[secret]].concat())
    }

    fn all(&self, dir: &Path, args: &[&str], env: &[(&str, String)]) -> Vec<Running> {
        (0..self.number).map(|process| self.start(process, dir, args, env)).collect()
    }
}

/// What is told at the end, but for what differs from run to run.
fn told(stderr: &str) -> Vec<&str> {
    let done = stderr.lines().find_map(|line| line.split_once("done: ")).expect("it tells what came of it").1;
    done.split("; ").filter(|part| !part.contains("seconds") && !part.contains("went to disk")).collect()
}

/// One process alone, and as many with as many workers as are named.
pub fn same_bytes(dir: &Path, clusters: &[(usize, usize)], args: &[&str], env: &[(&str, String)]) {
    let args = [args, &["--out", "out.parquet"]].concat();
    let alone = finish(backfill_with(dir, &args, env), 0).stderr;
    let expected = fs::read(dir.join("out.parquet")).unwrap();
    for (number, workers) in clusters {
        fs::remove_file(dir.join("out.parquet")).unwrap();
        let processes = Processes::new(dir, *number, *workers);
        let runs: Vec<String> = processes.all(dir, &args, env).into_iter().map(|run| finish(run, 0).stderr).collect();
        let about = format!("{number} x {workers}, {args:?}");
        assert!(fs::read(dir.join("out.parquet")).unwrap() == expected, "{about}: other bytes");
        assert_eq!(told(&runs[0]), told(&alone), "{about}");
        runs[1..].iter().for_each(|run| assert_eq!(told(run), ["process 0 has written the rows"], "{about}"));
        assert!(runs.iter().all(|run| !run.contains("lost")), "{about}: {runs:?}");
    }
    assert_eq!(left(dir), Vec::<String>::new());
}

/// What lies where processes spill.
fn left(dir: &Path) -> Vec<String> {
    let jobs = fs::read_dir(dir.join(".headwater")).into_iter().flatten();
    let all = jobs.flat_map(|job| fs::read_dir(job.unwrap().path()).into_iter().flatten());
    let names = all.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("backfill")).collect()
}

/// A directory with a job over a history and a stream, and a spine.
fn prepare(dir: &Path, events: usize, labels: usize) {
    let log = log(5, events, 3, 400);
    let cuts: Vec<usize> = log.iter().map(|records| records.len() * 3 / 4).collect();
    fs::write(dir.join("job.toml"), job(Sides::Both, EVERY_AGGREGATE)).unwrap();
    write_history(dir, &log, &cuts, Order::Log);
    write_stream(dir, &log, None);
    write_spine(dir, labels, 400);
    // Nobody's, and a wrong one.
    let stream = dir.join("stream/1.jsonl");
    let lines = fs::read_to_string(&stream).unwrap();
    fs::write(&stream, lines + "no record\n").unwrap();
}

#[test]
fn the_same_bytes_in_any_number_of_processes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir, 6_000, 9_000);
    for known in ["arrival", "event"] {
        same_bytes(dir, &[(1, 2), (2, 1), (2, 2), (3, 1), (3, 2)], &["--known", known], &[]);
    }
    // Fewer keys than processes; and nothing at all.
    write_spine(dir, 3, 1);
    same_bytes(dir, &[(3, 1)], &[], &[]);
    write_spine(dir, 0, 1);
    same_bytes(dir, &[(3, 1)], &[], &[]);
}

#[test]
fn what_does_not_fit_into_memory_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir, 20_000, 40_000);
    same_bytes(dir, &[(2, 1)], &["--memory", "16MiB"], &[]);
    let spilled = Processes::new(dir, 2, 1).all(dir, &["--memory", "16MiB", "--out", "out.parquet"], &[]);
    let told: Vec<String> = spilled.into_iter().map(|run| finish(run, 0).stderr).collect();
    assert!(told[0].contains("went to disk"), "{}", told[0]);
}

/// Every name in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "hosts" && name != ".headwater");
    names.sort();
    names
}

/// Whatever ends one of them while it is at work ends all.
#[test]
fn they_end_together() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir, 20_000, 40_000);
    let before = names(dir);
    for (ended, signal) in [(1, "KILL"), (1, "INT"), (0, "INT"), (2, "TERM")] {
        let processes = Processes::new(dir, 3, 1);
        let spill = format!("spill-{signal}-{ended}");
        let runs = processes.all(dir, &["--memory", "16MiB", "--spill", &spill, "--out", "out.parquet"], &[]);
        // It gets the rows of all, which wait for it then.
        let at_work = dir.join(format!("{spill}/process-0"));
        until("a process that spills", || at_work.exists().then_some(()));
        runs[ended].signal(signal);
        for (process, mut run) in runs.into_iter().enumerate() {
            let status = run.wait();
            let log = run.log();
            if process == ended && signal == "KILL" {
                continue;
            }
            assert_eq!(status.code(), Some(1), "{signal} {ended}: {log}");
            assert!(!log.contains("panicked") && !log.contains("bug"), "{log}");
            let errors: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
            let expected = match (signal, process == ended) {
                ("KILL", _) => format!("(process {ended})"),
                (_, true) => "stopped before it was done: nothing was written".to_owned(),
                (_, false) => format!("(process {ended}) failed:"),
            };
            assert!(errors.first().is_some_and(|error| error.contains(&expected)), "{signal} {ended}: {log}");
            if signal == "KILL" {
                assert_eq!(log.matches("lost ").count(), 1, "{log}");
            }
        }
        let mut after = names(dir);
        if signal == "KILL" {
            // It leaves its own.
            after.retain(|name| *name != spill);
        }
        assert_eq!(after, before, "{signal} {ended}");
    }
}

const REPLAYED: &str = r#"
[features.pairs]
source = "s"
key = ["q", "k"]
columns = { n = { agg = "count", windows = ["10m"] }, f = { agg = "sum", of = "f", windows = ["1h"] } }
[views.busy]
key = "k"
sql = "SELECT k, sum(n_10m) AS n, count(*) AS kinds, sum(f_1h) AS f FROM pairs GROUP BY k"
"#;

#[test]
fn they_end_together_in_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir, 20_000, 2_000);
    fs::write(dir.join("job.toml"), job(Sides::Both, REPLAYED)).unwrap();
    let before = names(dir);
    for (ended, signal) in [(1, "KILL"), (0, "INT"), (1, "INT")] {
        let processes = Processes::new(dir, 2, 1);
        let runs = processes.all(dir, &["--features", "pairs,busy", "--out", "out.parquet"], &[]);
        until("the workers of the replay", || {
            (runs[0].log().matches("all processes are here").count() == 2).then_some(())
        });
        runs[ended].signal(signal);
        for (process, mut run) in runs.into_iter().enumerate() {
            let status = run.wait();
            let log = run.log();
            if process == ended && signal == "KILL" {
                continue;
            }
            assert_eq!(status.code(), Some(1), "{signal} {ended}: {log}");
            assert!(!log.contains("panicked") && !log.contains("bug"), "{log}");
            // The dataflow's own connection may be seen to close before it is heard why.
            let told = ["lost 127.0.0.1", "stopped before it was done"].map(|told| log.matches(told).count());
            match (signal, process == ended) {
                ("KILL", _) => assert_eq!(told, [1, 0], "{signal} {ended}: {log}"),
                (_, true) => assert_eq!(told, [0, 1], "{signal} {ended}: {log}"),
                (_, false) => assert!(told == [1, 0] || told == [0, 1], "{signal} {ended}: {log}"),
            }
        }
        assert_eq!(names(dir), before, "{signal} {ended}");
    }
}

#[test]
fn what_is_not_the_same_is_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, other) = (dir.path(), other.path());
    prepare(dir, 300, 100);
    prepare(other, 300, 100);
    let out = ["--out", "out.parquet"];
    let processes = Processes::new(dir, 2, 1);
    let mut first = processes.start(0, dir, &out, &[]);
    let another = job(Sides::Both, EVERY_AGGREGATE) + "# another\n";
    fs::write(other.join("job.toml"), another).unwrap();
    let told = finish(processes.start(1, other, &out, &[]), 2).stderr;
    assert!(told.contains("it runs another job: its file of `train` has another content"), "{told}");
    let told = finish(processes.start(1, dir, &[&out[..], &["--known", "event"]].concat(), &[]), 2).stderr;
    assert!(told.contains("it has the options `backfill --time at --known arrival`"), "{told}");
    assert!(first.is_running(), "{}", first.log());
    first.signal("INT");
    finish(first, 1);
    // Of the same job another spine.
    let spine = super::read_table(&dir.join("spine.parquet"));
    write_table(&dir.join("other.parquet"), &spine.slice(1, spine.num_rows() - 1));
    let processes = Processes::new(dir, 2, 1);
    let first = processes.start(0, dir, &out, &[]);
    let second = processes.start(1, dir, &[&out[..], &["--spine", "other.parquet"]].concat(), &[]);
    for run in [first, second] {
        let told = finish(run, 2).stderr;
        assert!(told.contains("process 1 reads another spine than process 0"), "{told}");
    }
    assert!(!dir.join("out.parquet").exists());
}

#[test]
fn what_is_missing_is_told_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir, 300, 100);
    let out = ["--out", "out.parquet"];
    let alone = Processes::new(dir, 2, 1);
    let told = finish(alone.start(0, dir, &[&out[..], &["--join-timeout", "300ms"]].concat(), &[]), 1).stderr;
    assert!(told.contains("these are still missing"), "{told}");
    // A spine that one process does not see.
    let processes = Processes::new(dir, 2, 1);
    let first = processes.start(0, dir, &out, &[]);
    let second = processes.start(1, dir, &[&out[..], &["--spine", "nowhere.parquet"]].concat(), &[]);
    let told = [first, second].map(|run| finish(run, 2).stderr);
    assert!(told.iter().all(|told| told.contains("nowhere.parquet cannot be opened")), "{told:?}");
    assert!(!dir.join("out.parquet").exists());
}
