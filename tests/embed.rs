//! The library within another program: jobs side by side in this process, with the rows of processes of their own; and what goes wrong in
//! one is an error of that one.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headwater::{Failure, Handle, Job, Options};

/// With two kinds of windows, a changelog and dead letters.
const CLICKS: &str = r#"
name = "clicks"
tick = "1s"
[sources.clicks]
event_time = "ts"
time_unit = "s"
schema = { ts = "int64", user = "string", x = "float64" }
stream = { type = "jsonl", path = "clicks*.jsonl" }
[features.users]
source = "clicks"
key = "user"
columns = { n = { agg = "count", windows = ["1m", "all"] }, x = { agg = "sum", of = "x", window = "all" } }
[features.minutes]
source = "clicks"
key = "user"
window = { tumbling = "1m" }
retain = "1d"
columns = { n = { agg = "count" } }
[sinks.online]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
"#;

fn clicks(dir: &Path) {
    let line = |n: i64| format!("{{\"ts\":{},\"user\":\"u{}\",\"x\":{}.5}}\n", 1_767_571_200 + n, n % 7, n % 11);
    for part in 0..2 {
        let text: String = (0..3000).filter(|n| n % 2 == part).map(line).collect();
        std::fs::write(dir.join(format!("clicks{part}.jsonl")), text + "not json\n").unwrap();
    }
    std::fs::write(dir.join("job.toml"), CLICKS).unwrap();
}

/// The job of the checkpoints in `tests/data`: every window and aggregate.
fn kept(dir: &Path) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints");
    std::fs::create_dir_all(dir.join("stream")).unwrap();
    for file in ["job.toml", "history.jsonl", "stream/0.jsonl", "stream/1.jsonl"] {
        std::fs::copy(data.join(file), dir.join(file)).unwrap();
    }
}

fn until_end(dir: &Path, workers: usize) -> Handle {
    let job = Job::from_file(dir.join("job.toml")).unwrap_or_else(|faults| panic!("{faults}"));
    headwater::run(job, Options { until_end: true, workers, ..Options::default() }).unwrap()
}

/// What the command puts out, of a job in a directory of its own.
fn of_command(write: fn(&Path), groups: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_headwater")).current_dir(dir.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["run", "--until-end", "job.toml"]);
    let mut all: Vec<String> = groups.iter().map(|group| run(&["export", "job.toml", group])).collect();
    all.push(std::fs::read_to_string(dir.path().join("changes.jsonl")).unwrap());
    all
}

/// The same of a run that has ended in this process.
fn of_library(dir: &Path, groups: &[&str]) -> Vec<String> {
    let job = Job::from_file(dir.join("job.toml")).unwrap();
    let export = |group: &&str| {
        let mut rows = String::new();
        headwater::export(&job, group, |row| rows += &format!("{row}\n")).unwrap();
        rows
    };
    let mut all: Vec<String> = groups.iter().map(export).collect();
    all.push(std::fs::read_to_string(dir.join("changes.jsonl")).unwrap());
    all
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn jobs_run_side_by_side() {
    const KEPT: [&str; 5] = ["trailing", "every_key", "tumbling", "hopping", "session"];
    const USERS: [&str; 2] = ["users", "minutes"];
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    kept(dirs[0].path());
    clicks(dirs[1].path());
    clicks(dirs[2].path());
    // A third one follows its stream meanwhile.
    let live = Job::from_file(dirs[2].path().join("job.toml")).unwrap();
    let live = headwater::run(live, Options { workers: 2, ..Options::default() }).unwrap();
    let runs = [until_end(dirs[0].path(), 2), until_end(dirs[1].path(), 3)];
    for (run, name) in runs.into_iter().zip(["kept", "clicks"]) {
        let status = run.wait().unwrap();
        assert_eq!(status.job, name);
        assert!(status.groups.iter().all(|group| group.counts.rows > 0));
    }
    assert_eq!(of_library(dirs[0].path(), &KEPT), of_command(kept, &KEPT));
    assert_eq!(of_library(dirs[1].path(), &USERS), of_command(clicks, &USERS));

    let lifetime = |live: &Handle| {
        live.get("users", &[("user", "u0")]).is_ok_and(|rows| rows[..].concat().contains("\"n_all\":429"))
    };
    wait_until("the rows of the live job", || live.status().is_some() && lifetime(&live));
    assert!(!live.is_finished());
    let mut users = 0;
    live.export("users", |_| users += 1).unwrap();
    assert_eq!(users, 7);
    live.stop();
    assert_eq!(live.wait().unwrap().sources[0].dead_letters["malformed"], 2);
    // It goes on from its checkpoint, in this process as in another.
    let status = until_end(dirs[2].path(), 1).wait().unwrap();
    assert_eq!((status.sources[0].counts.records, status.groups[0].counts.rows), (0, 7));
}

/// A worker that cannot go on ends its run and no other, and what it held is free again.
#[test]
fn a_failure_is_of_its_run() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    clicks(dir.path());
    clicks(other.path());
    // Worker 0 cannot open its changelog; the other two have nothing to complain of.
    std::fs::create_dir(dir.path().join("changes.jsonl")).unwrap();
    let (run, beside) = (until_end(dir.path(), 3), until_end(other.path(), 2));
    match run.wait() {
        Err(Failure::Running(told)) => assert!(told.contains("changes.jsonl"), "{told}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(beside.wait().unwrap().groups[0].counts.rows, 7);
    std::fs::remove_dir(dir.path().join("changes.jsonl")).unwrap();
    assert_eq!(until_end(dir.path(), 3).wait().unwrap().groups[0].counts.rows, 7);
}

#[test]
fn what_is_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    clicks(dir.path());
    let job = Job::from_file(dir.path().join("job.toml")).unwrap();
    assert!(matches!(
        headwater::run(job.clone(), Options { workers: 0, ..Options::default() }),
        Err(Failure::Usage(_))
    ));
    // Two runs of one job: the second finds the state taken.
    let first = headwater::run(job.clone(), Options::default()).unwrap();
    wait_until("the first run", || first.status().is_some());
    let second = headwater::run(job.clone(), Options::default()).unwrap().wait().unwrap_err();
    assert!(second.to_string().contains("another run holds"), "{second}");
    drop(first);
    // Names are known once the sources are open.
    let text = CLICKS.replace("of = \"x\"", "of = \"y\"");
    let wrong = Job::from_toml(&text, dir.path()).unwrap();
    match headwater::run(wrong, Options::default()).unwrap().wait() {
        Err(Failure::Job(faults)) => assert!(faults.to_string().starts_with("job.toml:12:"), "{faults}"),
        other => panic!("{other:?}"),
    }
    let faults = Job::from_toml("name = 1\n[sources]\n", dir.path()).unwrap_err();
    let places: Vec<String> = faults.faults.iter().map(|fault| faults.place(fault)).collect();
    assert!(places.contains(&"job.toml:1:8".to_owned()), "{places:?}");
    assert!(headwater::get(&job, "users", &[("usr", "u0")]).is_err());
}
