//! A job that was changed goes on: what did not change resumes, what is new is computed from today's history and stream up to
//! the same tick, what is gone leaves the store.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::support::headwater;

const START_US: i64 = 1_735_689_600_000_000;

const HEAD: &str = r#"
name = "changed"
tick = "10ms"
[sources.tx]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "30s"
schema = { ts = "timestamp", a = "timestamp", k = "string", x = "float64", m = "string", z = "int64", p = "int32", o = "int64" }
history = { type = "jsonl", path = "history.jsonl" }
stream = { type = "jsonl", path = "stream/*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
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

const BEFORE: &str = r#"
[features.card]
source = "tx"
key = "k"
[features.card.columns]
n    = { agg = "count", windows = ["1m", "10m"] }
s    = { agg = "sum", of = "x", windows = ["1m", "all"] }
d    = { agg = "count_distinct", of = "m", window = "5m" }
gone = { agg = "max", of = "x", window = "20m" }
[features.short]
source = "tx"
key = "m"
columns = { n = { agg = "count", window = "1s" }, long = { agg = "count", window = "all" } }
[features.hourly]
source = "tx"
key = "k"
window = { tumbling = "1m" }
columns = { n = { agg = "count" }, s = { agg = "sum", of = "x" } }
[features.dropped]
source = "tx"
key = "m"
columns = { n = { agg = "count", window = "1m" } }
"#;

const AFTER: &str = r#"
[features.card]
source = "tx"
key = "k"
[features.card.columns]
top  = { agg = "top_k", of = "m", k = 2, window = "5m" }
n    = { agg = "count", windows = ["1m", "2m", "10m"] }
all  = { agg = "sum", of = "x", window = "all" }
s    = { agg = "sum", of = "x", window = "1m" }
per  = { agg = "sum", of = "100 / z", window = "30s" }
d    = { agg = "count_distinct", of = "m", window = "5m" }
[features.short]
source = "tx"
key = "m"
columns = { n = { agg = "count", window = "1s" } }
[features.by_minute]
source = "tx"
key = "k"
window = { tumbling = "1m" }
columns = { s = { agg = "sum", of = "x" }, n = { agg = "count" } }
[features.session]
source = "tx"
key = "k"
window = { session = "5s" }
columns = { n = { agg = "count" }, l = { agg = "last", of = "x" } }
"#;

const GROUPS: [&str; 4] = ["card", "short", "by_minute", "session"];

/// A log in three partitions, and how much of it each file has.
struct Log {
    lines: Vec<(usize, String)>,
}

impl Log {
    fn random(events: usize, seed: u64) -> Log {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut offsets, mut now) = ([0; 3], START_US);
        let line = |_| {
            now += rng.random_range(0..20_000);
            let delay = if rng.random_range(0..5) == 0 { rng.random_range(0..60_000_000) } else { 0 };
            let p = rng.random_range(0..3);
            offsets[p] += 1;
            let text = format!(
                r#"{{"ts":{},"a":{now},"k":"c{}","x":{},"m":"m{}","z":{},"p":{p},"o":{}}}"#,
                now - delay,
                rng.random_range(0..200),
                f64::from(rng.random_range(1..50_000)) / 100.0,
                rng.random_range(0..9),
                rng.random_range(0..500),
                offsets[p] - 1,
            );
            (p, text)
        };
        Log { lines: (0..events).map(line).collect() }
    }

    /// The history has the log up to one place without what `lost` names, the stream all of it up to another.
    fn write(&self, dir: &Path, history: usize, stream: usize, lost: impl Fn(&str) -> bool) {
        let mut files = [const { String::new() }; 3];
        self.lines[..stream].iter().for_each(|(p, line)| writeln!(files[*p], "{line}").unwrap());
        std::fs::create_dir_all(dir.join("stream")).unwrap();
        for (p, text) in files.iter().enumerate() {
            std::fs::write(dir.join(format!("stream/{p}.jsonl")), text).unwrap();
        }
        let held = self.lines[..history].iter().filter(|(_, line)| !lost(line));
        std::fs::write(dir.join("history.jsonl"), held.map(|(_, line)| format!("{line}\n")).collect::<String>())
            .unwrap();
    }
}

fn of_groups(dir: &Path, groups: &str, args: &[&str]) -> Command {
    of_job(dir, &format!("{HEAD}{groups}"), args)
}

fn of_job(dir: &Path, job: &str, args: &[&str]) -> Command {
    std::fs::write(dir.join("job.toml"), job).unwrap();
    let mut command = headwater();
    command.args(args).arg(dir.join("job.toml")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(dir: &Path, groups: &str, workers: &str) -> Output {
    let done = of_groups(dir, groups, &["run", "--until-end", "--workers", workers]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done
}

/// Rows by key and window; without the tick at which they changed.
fn exported(dir: &Path, group: &str) -> BTreeMap<String, Value> {
    let mut command = headwater();
    let done = command.arg("export").arg(dir.join("job.toml")).arg(group).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().map(|line| row(&serde_json::from_str(line).unwrap())).collect()
}

fn row(line: &Value) -> (String, Value) {
    (format!("{} {}", line["key"], line["window"]["start"]), line["row"].clone())
}

/// What a changelog comes to, by group.
fn folded(dir: &Path) -> BTreeMap<String, BTreeMap<String, Value>> {
    let text = std::fs::read_to_string(dir.join("changes.jsonl")).unwrap();
    let mut groups = BTreeMap::<_, BTreeMap<_, _>>::new();
    for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if line.get("resume").is_some_and(Value::is_null) {
            groups.clear();
            continue;
        }
        let rows = groups.entry(line["features"].as_str().unwrap().to_owned()).or_default();
        let (key, row) = row(&line);
        if line["diff"] == 1 {
            assert_eq!(rows.insert(key, row), None, "a row comes where one is: {line}");
        } else {
            assert_eq!(rows.remove(&key), Some(row), "what goes is what was there: {line}");
        }
    }
    groups
}

/// The changelog comes to what is in the store; of windows it has those too that have left.
fn assert_folds(dir: &Path, what: &str) {
    let mut all = folded(dir);
    for group in GROUPS {
        let (kept, folded) = (exported(dir, group), all.remove(group).unwrap_or_default());
        let differs = kept.iter().find(|(key, row)| folded.get(*key) != Some(*row));
        assert!(
            differs.is_none(),
            "{what}: the changelog of {group}: {differs:?}, not {:?}",
            differs.map(|(k, _)| folded.get(k))
        );
        assert!(kept.len() == folded.len() || !["card", "short"].contains(&group), "{what}: {group} has others too");
    }
    assert!(all.is_empty(), "{what}: groups that are gone: {:?}", all.keys());
}

/// What a run of the changed job gives that never was another one.
fn anew(log: &Log, history: usize, stream: usize) -> Vec<BTreeMap<String, Value>> {
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path(), history, stream, |_| false);
    run(dir.path(), AFTER, "2");
    GROUPS.map(|group| exported(dir.path(), group)).into()
}

fn assert_same(dir: &Path, expected: &[BTreeMap<String, Value>], what: &str) {
    for (group, expected) in GROUPS.iter().zip(expected) {
        let found = exported(dir, group);
        let differ = expected.iter().find(|(key, row)| found.get(*key) != Some(*row));
        assert!(found == *expected, "{what}, {group}: {} and {} rows, {differ:?}", found.len(), expected.len());
    }
}

/// Kills a run some time after its first checkpoint.
fn killed(dir: &Path, groups: &str, rng: &mut StdRng) {
    let command = of_groups(dir, groups, &["run", "--until-end", "--workers", "2"]);
    kill(dir, command, Duration::from_millis(rng.random_range(0..60)));
}

/// Returns the number of the checkpoint.
fn kill(dir: &Path, mut command: Command, after: Duration) -> u64 {
    let newest = || {
        let numbers = std::fs::read_dir(dir.join("state/checkpoints"));
        let whole =
            numbers.into_iter().flatten().filter_map(|e| e.ok().filter(|e| e.path().join("manifest.json").exists()));
        whole.filter_map(|e| e.file_name().to_str()?.parse::<u64>().ok()).max().unwrap_or(0)
    };
    let (before, begun) = (newest(), Instant::now());
    let mut child = command.spawn().unwrap();
    while newest() == before && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(after);
    let _ = child.kill();
    child.wait().unwrap();
    newest()
}

#[test]
fn columns_and_groups_come_and_go() {
    let log = Log::random(30_000, 1);
    let expected = anew(&log, 20_000, 30_000);
    // The history of today ends before the tick at which the job stood, and after it.
    for (stood, history) in [(25_000, 5_000), (15_000, 20_000)] {
        let dir = tempfile::tempdir().unwrap();
        log.write(dir.path(), 5_000, stood, |_| false);
        run(dir.path(), BEFORE, "2");
        log.write(dir.path(), history, 30_000, |_| false);
        let done = run(dir.path(), AFTER, "1");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(said.contains("new columns") && said.contains("top n_2m per"), "{said}");
        assert!(said.contains("a new group") && said.contains("session"), "{said}");
        assert!(said.contains("removed=\"card.gone_20m") || said.contains("card.gone"), "{said}");
        assert_same(dir.path(), &expected, "changed once");
        assert_folds(dir.path(), "changed once");
        run(dir.path(), AFTER, "3");
        assert_same(dir.path(), &expected, "and run again");
        assert_folds(dir.path(), "and run again");
        // With nothing new to read, the rows are told anew all the same.
        run(dir.path(), &AFTER.replace("top  = ", "best = "), "2");
        assert_folds(dir.path(), "a new name");
    }
}

#[test]
fn killed_while_the_new_ones_are_on_their_way() {
    let log = Log::random(30_000, 2);
    let expected = anew(&log, 5_000, 30_000);
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    log.write(dir.path(), 5_000, 28_000, |_| false);
    killed(dir.path(), BEFORE, &mut rng);
    run(dir.path(), BEFORE, "2");
    log.write(dir.path(), 5_000, 30_000, |_| false);
    for _ in 0..4 {
        killed(dir.path(), AFTER, &mut rng);
    }
    run(dir.path(), AFTER, "3");
    assert_same(dir.path(), &expected, "killed");
    assert_folds(dir.path(), "killed");
}

/// In which order columns and groups stand in the file does not count, wherever the job was killed.
#[test]
fn killed_and_in_another_order() {
    let log = Log::random(30_000, 6);
    let expected = anew(&log, 20_000, 30_000);
    let mut rng = StdRng::seed_from_u64(7);
    let (card, others) = AFTER.split_at(AFTER.find("[features.short]").unwrap());
    let (head, columns) = card.split_once("columns]\n").unwrap();
    let columns: Vec<&str> = columns.lines().rev().collect();
    let reordered = format!("{others}{head}columns]\n{}\n", columns.join("\n"));
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        log.write(dir.path(), 20_000, 30_000, |_| false);
        killed(dir.path(), AFTER, &mut rng);
        run(dir.path(), &reordered, "2");
        assert_same(dir.path(), &expected, "in another order");
        assert_folds(dir.path(), "in another order");
    }
}

/// Rows that only a column had that is gone leave the store, also where the first start without it was killed at once.
#[test]
fn removed_and_killed_at_once() {
    let log = Log::random(4_000, 8);
    let head = HEAD.replace("[sinks.changes]\ntype = \"jsonl\"\npath = \"changes.jsonl\"\n", "").replace("1ms", "1h");
    let job = |windows: &str| {
        let columns = format!("n = {{ agg = \"count\", windows = {windows} }}");
        format!("{head}[features.card]\nsource = \"tx\"\nkey = \"k\"\ncolumns = {{ {columns} }}\n")
    };
    let (old, new) = (job(r#"["1s", "all"]"#), job(r#"["1s"]"#));
    let run = |dir: &Path, job: &str| {
        let done = of_job(dir, job, &["run", "--until-end"]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        exported(dir, "card")
    };
    let [dir, fresh] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    [&dir, &fresh].iter().for_each(|dir| log.write(dir.path(), 1_000, 4_000, |_| false));
    let before = run(dir.path(), &old);
    let number = kill(dir.path(), of_job(dir.path(), &new, &["run", "--until-end"]), Duration::ZERO);
    let manifest = dir.path().join(format!("state/checkpoints/{number}/manifest.json"));
    assert!(std::fs::read_to_string(manifest).unwrap().contains(r#""finished":false"#), "it was killed too late");
    let (found, expected) = (run(dir.path(), &new), run(fresh.path(), &new));
    assert!(found.len() < before.len());
    assert_eq!(found, expected);
}

/// What did not change does not look at the history again; what is new takes it as it is today.
#[test]
fn each_has_a_seam_of_its_own() {
    let log = Log::random(4_000, 4);
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path(), 2_000, 3_000, |_| false);
    let group = |columns: &str| format!("[features.card]\nsource = \"tx\"\nkey = \"m\"\ncolumns = {{ {columns} }}\n");
    run(dir.path(), &group("n = { agg = \"count\", window = \"all\" }"), "1");
    log.write(dir.path(), 2_000, 4_000, |line| line.contains("\"m\":\"m3\""));
    let both = "same = { agg = \"count\", window = \"all\" }, x = { agg = \"sum\", of = \"1\", window = \"all\" }";
    run(dir.path(), &group(both), "2");
    let count = |lines: &[(usize, String)]| lines.iter().filter(|(_, line)| line.contains("\"m\":\"m3\"")).count();
    let rows = exported(dir.path(), "card");
    let row = &rows["{\"m\":\"m3\"} null"];
    assert_eq!(row["same"], count(&log.lines), "it was counted when it was there");
    assert_eq!(row["x"], count(&log.lines[2_000..]), "today's history has lost it");
}

/// A record that only a new column cannot use is told once; nothing is told again.
#[test]
fn dead_letters_are_told_for_what_is_new_alone() {
    let mut log = Log::random(3_000, 5);
    let places = [200, 2_000, 2_900];
    places.iter().for_each(|n| log.lines[*n].1 = log.lines[*n].1.replace("\"x\":", "\"x\":\"no\",\"y\":"));
    log.lines[2_900].1 = log.lines[2_900].1.replace("\"z\":", "\"z\":0,\"y\":");
    let dir = tempfile::tempdir().unwrap();
    let group = |columns: &str| format!("[features.card]\nsource = \"tx\"\nkey = \"m\"\ncolumns = {{ {columns} }}\n");
    let old = "s = { agg = \"sum\", of = \"x\", window = \"all\" }";
    log.write(dir.path(), 1_000, 2_500, |_| false);
    run(dir.path(), &group(old), "1");
    log.write(dir.path(), 1_000, 3_000, |_| false);
    run(dir.path(), &group(&format!("{old}, per = {{ agg = \"sum\", of = \"100 / z\", window = \"all\" }}")), "2");

    let by_zero = log.lines.iter().filter(|(_, line)| line.contains("\"z\":0,"));
    let payloads: Vec<&str> =
        by_zero.chain(places[..2].iter().map(|n| &log.lines[*n])).map(|(_, line)| &**line).collect();
    let mut expected: Vec<(String, &str)> = payloads.into_iter().map(|line| ("expression".to_owned(), line)).collect();
    expected.sort_unstable();
    let dead_letters = std::fs::read_to_string(dir.path().join("dead_letters.jsonl")).unwrap();
    let dead_letters: Vec<Value> = dead_letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |letter: &Value, field: &str| letter[field].as_str().unwrap().to_owned();
    let mut found: Vec<(String, String)> =
        dead_letters.iter().map(|l| (text(l, "reason"), text(l, "payload"))).collect();
    found.sort_unstable();
    assert!(expected.len() > 3, "{expected:?}");
    assert_eq!(found, expected.into_iter().map(|(reason, line)| (reason, line.to_owned())).collect::<Vec<_>>());
}
