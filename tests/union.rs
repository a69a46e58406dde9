//! A group over several sources is as one over a single source that has the records of all: the same rows at every tick, whichever history
//! ends first, by any number of workers, killed and restarted, and when its job is changed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::support::*;

const EVENTS: usize = 12_000;
/// Of the one source, and of the other.
const PARTITIONS: usize = 2;

/// `UNION` and `SINGLE` groups are the same, but for their sources.
const SOURCES: &str = r#"
name = "union"
[sources.pay]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "30s"
schema = { ts = "timestamp", a = "timestamp", k = "string", x = "int64", shop = "string", p = "int32", o = "int64" }
history = { type = "jsonl", path = "pay/history.jsonl" }
stream = { type = "jsonl", path = "pay/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[sources.back]
event_time = "happened"
arrival_time = "a"
time_unit = "ms"
lateness = "5s"
schema = { happened = "timestamp", a = "timestamp", k = "string", fee = "int64", p = "int32", o = "int64" }
history = { type = "jsonl", path = "back/history.jsonl" }
stream = { type = "jsonl", path = "back/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[sources.all]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "30s"
schema = { ts = "timestamp", a = "timestamp", k = "string", x = "int64", shop = "string", fee = "int64", p = "int32", o = "int64" }
history = { type = "jsonl", path = "all/history.jsonl" }
stream = { type = "jsonl", path = "all/stream*.jsonl" }
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

const GROUPS: &str = r#"
[features.NAME_card]
source = OF
key = "k"
where = "fee IS NOT NULL OR x <> 5"
[features.NAME_card.columns]
n     = { agg = "count", windows = ["10s", "all"] }
spent = { agg = "sum", of = "coalesce(x, 0) - coalesce(fee, 0)", windows = ["10s", "all"] }
most  = { agg = "max", of = "fee", window = "1m" }
odd   = { agg = "sum", of = "100 / (x - 3)", window = "1m" }
[features.NAME_shop]
source = OF
key = ["k", "shop"]
columns = { n = { agg = "count", window = "all" } }
[features.NAME_tens]
source = OF
key = "k"
window = { tumbling = "10s" }
columns = { n = { agg = "count" }, fees = { agg = "sum", of = "fee" } }
[features.NAME_visits]
source = OF
key = "k"
window = { session = "2s" }
columns = { n = { agg = "count" }, shops = { agg = "count_distinct", of = "shop" } }
"#;

const NAMES: [&str; 4] = ["card", "shop", "tens", "visits"];

/// What the groups get in a changed job.
const NEW: &str = "most  = { agg = \"max\", of = \"fee\", window = \"1m\" }\nleast = { agg = \"min\", of = \"coalesce(x, fee)\", window = \"all\" }";

fn job(groups: &str) -> String {
    let of = |name: &str, sources: &str| groups.replace("NAME", name).replace("OF", sources);
    SOURCES.to_owned() + &of("union", r#"["pay", "back"]"#) + &of("single", r#""all""#)
}

/// The texts of a source's files.
#[derive(Default)]
struct Files {
    history: String,
    streams: BTreeMap<usize, String>,
}

impl Files {
    fn add(&mut self, partition: usize, line: &str, is_in_history: bool) {
        if is_in_history {
            writeln!(self.history, "{line}").unwrap();
        }
        // What the history has is in the stream too.
        writeln!(self.streams.entry(partition).or_default(), "{line}").unwrap();
    }

    fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("history.jsonl"), &self.history).unwrap();
        for (partition, text) in &self.streams {
            std::fs::write(dir.join(format!("stream{partition}.jsonl")), format!("{text}no JSON\n")).unwrap();
        }
    }
}

/// Writes the job, and its events from `start` on. One history ends long before the other.
fn write(dir: &Path, start: i64) -> PathBuf {
    let mut random = StdRng::seed_from_u64(11);
    let [mut pay, mut back, mut all] = [Files::default(), Files::default(), Files::default()];
    let mut offsets = [0; 2 * PARTITIONS];
    let mut now = start;
    for n in 0..EVENTS {
        // Whole milliseconds, as one of the sources has them.
        now += random.random_range(0..10) * 1000;
        let late = if random.random_range(0..5) == 0 { random.random_range(0..60_000) } else { 0 } * 1000;
        let (ts, k, x) = (now - late, random.random_range(0..40), random.random_range(0..9));
        let is_payment = random.random_bool(0.7);
        let p = random.random_range(0..PARTITIONS);
        let of_all = if is_payment { p } else { p + PARTITIONS };
        let o = offsets[of_all];
        offsets[of_all] += 1;
        let is_in_history = n < if is_payment { EVENTS / 2 } else { EVENTS / 4 };
        if is_payment {
            let shop = if k % 7 == 0 { "null".to_owned() } else { format!("\"s{}\"", n % 5) };
            let line = format!(r#"{{"ts":{ts},"a":{now},"k":"c{k}","x":{x},"shop":{shop},"p":{p},"o":{o}}}"#);
            pay.add(p, &line, is_in_history);
            all.add(of_all, &line, is_in_history);
        } else {
            // Neither the shop nor the amount is a column of it, whatever its records say.
            let (ms, arrived) = (ts / 1000, now / 1000);
            let line = format!(
                r#"{{"happened":{ms},"a":{arrived},"k":"c{k}","fee":{x},"shop":"none","x":3,"p":{p},"o":{o}}}"#
            );
            back.add(p, &line, is_in_history);
            let line = format!(r#"{{"ts":{ts},"a":{now},"k":"c{k}","fee":{x},"p":{of_all},"o":{o}}}"#);
            all.add(of_all, &line, is_in_history);
        }
    }
    for (name, files) in [("pay", pay), ("back", back), ("all", all)] {
        files.write(&dir.join(name));
    }
    let path = dir.join("job.toml");
    std::fs::write(&path, job(GROUPS)).unwrap();
    path
}

/// Runs to the end.
fn run_to_end(path: &Path, workers: &str) {
    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
}

/// The rows of a group, but for its name.
fn exported(path: &Path, group: &str) -> String {
    finish(run(&["export", path.to_str().unwrap(), group]), 0).stdout
}

/// The changes of all groups whose names begin so, without that.
fn changes(dir: &Path, prefix: &str) -> Vec<Value> {
    let lines = json_lines(&std::fs::read_to_string(dir.join("changes.jsonl")).unwrap());
    let own = |mut line: Value| {
        // Where it begins anew, since its rows are others, a line says so and nothing of a group.
        let group = line["features"].as_str()?.strip_prefix(prefix)?.to_owned();
        line["features"] = group.into();
        Some(line)
    };
    lines.into_iter().filter_map(own).collect()
}

/// What is told of dead letters, by the partition that it is of in the one source; in order, since none is promised.
fn dead_letters(dir: &Path, sources: &[(&str, usize)]) -> Vec<String> {
    let lines = json_lines(&std::fs::read_to_string(dir.join("dead_letters.jsonl")).unwrap());
    let told = |line: &Value| {
        let (_, from) = sources.iter().find(|(name, _)| line["source"] == *name)?;
        let partition = line["partition"].as_u64().unwrap() as usize + from;
        let [reason, offset, arrival, late] = ["reason", "offset", "arrival", "late_by_us"].map(|key| &line[key]);
        Some(format!("{reason} {partition} {offset} {arrival} {late}"))
    };
    let mut told: Vec<String> = lines.iter().filter_map(told).collect();
    told.sort_unstable();
    told
}

/// A union's rows, changes and dead letters are those of the one source.
fn check_same(dir: &Path, what: &str) {
    let path = dir.join("job.toml");
    for name in NAMES {
        let [union, single] = ["union", "single"].map(|of| exported(&path, &format!("{of}_{name}")));
        // Those of windows leave the store.
        assert!(union.lines().count() > 20 || !["card", "shop"].contains(&name), "{what}: {name} has rows");
        assert!(union == single, "{what}: {name}\n{union}\n{single}");
    }
    let [union, single] = ["union_", "single_"].map(|prefix| changes(dir, prefix));
    let differs = union.iter().zip(&single).find(|(union, single)| union != single);
    assert!(union.len() > 5_000 && union.len() == single.len() && differs.is_none(), "{what}: {differs:?}");
    let union = dead_letters(dir, &[("pay", 0), ("back", PARTITIONS)]);
    assert_eq!(union, dead_letters(dir, &[("all", 0)]), "{what}");
    for reason in ["malformed", "expression", "null key", "late"] {
        assert!(union.iter().any(|line| line.contains(reason)), "{what}: {reason}");
    }
}

#[test]
fn as_one_source_that_has_all() {
    let outputs = ["1", "3"].map(|workers| {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), START);
        run_to_end(&path, workers);
        check_same(dir.path(), workers);
        std::fs::read_to_string(dir.path().join("changes.jsonl")).unwrap()
    });
    assert!(outputs[0] == outputs[1], "by one worker and by three");
}

#[test]
fn killed_and_started_again() {
    let [dir, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let path = write(dir.path(), START);
    run_to_end(&write(other.path(), START), "2");
    let mut random = StdRng::seed_from_u64(12);
    for workers in ["2", "1", "3"] {
        let before = newest_checkpoint(&dir.path().join("state"));
        let mut running = run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]);
        until("a checkpoint", || {
            let newest = newest_checkpoint(&dir.path().join("state"));
            (newest > before || !running.is_running()).then_some(())
        });
        std::thread::sleep(std::time::Duration::from_millis(random.random_range(0..30)));
        running.kill();
    }
    run_to_end(&path, "2");
    check_same(dir.path(), "killed");
    let [killed, whole] = [&dir, &other].map(|dir| std::fs::read_to_string(dir.path().join("changes.jsonl")).unwrap());
    assert!(killed == whole, "as if it had never been killed");
}

/// A column that is new in both enters both at once: what it needs of the sources is read once more, by a shadow.
#[test]
fn a_changed_job() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), now_us() / 1000 * 1000 - HOUR);
    // While it starts, nobody answers yet.
    let least = || {
        let mut export = run(&["export", path.to_str().unwrap(), "union_card"]);
        let rows = if export.wait().success() { finish(export, 0).stdout } else { String::new() };
        rows.lines().filter(|line| line.contains("\"least\":") && !line.contains("\"least\":null")).count()
    };
    run_to_end(&path, "2");
    check_same(dir.path(), "before");
    std::fs::write(&path, job(&GROUPS.replace(NEW.lines().next().unwrap(), NEW))).unwrap();
    let running = run(&["run", path.to_str().unwrap(), "--workers", "2"]);
    until("the new column", || (least() > 20).then_some(()));
    let log = running.log();
    running.terminate();
    assert!(log.contains("what is new catches up meanwhile"), "{log}");
    check_same(dir.path(), "changed");
    // The other order means the same: nothing is computed anew.
    let turned = std::fs::read_to_string(&path).unwrap().replace(r#"["pay", "back"]"#, r#"["back", "pay"]"#);
    std::fs::write(&path, turned).unwrap();
    let told = finish(run(&["check", path.to_str().unwrap()]), 0).stdout;
    assert!(told.contains("resumed") && !told.contains("computed "), "{told}");
    assert!(told.contains("features union_card, of pay and back"), "{told}");
}
