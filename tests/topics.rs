//! The changelog and the dead letters in Kafka: marks, order, keys, and that whoever folds the topic has the rows, however often the
//! job was killed, and the broker too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::*;

const SINKS: &str = r#"
[sinks.local]
type = "embedded"
[sinks.changes]
type    = "kafka"
brokers = "{SINK_BROKERS}"
topic   = "{TOPIC}_changes"
[dead_letters]
type    = "kafka"
brokers = "{SINK_BROKERS}"
topic   = "{TOPIC}_letters"
[state]
path = "state"
checkpoint_every = "20ms"
[features.hourly]
source = "events"
key    = "card"
window = { tumbling = "1h" }
retain = "1000d"
columns = { n = { agg = "count" }, spend = { agg = "sum", of = "amount" } }
"#;

const SHORT: [(&str, Option<i64>); 3] = [("1s", Some(SECOND)), ("1h", Some(HOUR)), ("all", None)];

/// A history and a topic, and a job that writes to topics of `brokers`.
fn write_job(case: &Case, brokers: &str, log: &Log, cuts: &[usize]) -> String {
    write_parquet(&case.path("history/a.parquet"), &history_of(log, cuts));
    let text = job(HISTORY, BY_OFFSET, &(SINKS.replace("{SINK_BROKERS}", brokers) + &cards(&SHORT)));
    // What comes late is late only for the hours.
    let text = text.replace("[sources.events]\n", "[sources.events]\nlateness = \"1m\"\n");
    case.job("job.toml", &text).to_str().unwrap().to_owned()
}

fn sink_topics(case: &Case, brokers: &str) {
    for (which, partitions) in [("changes", 3), ("letters", 2)] {
        Topic::new(brokers, &format!("{}_{which}", case.name), partitions);
    }
}

fn events(seed: u64, n: usize) -> (Random, Log) {
    let mut random = Random(seed);
    let events = random.events(n, 40, START, START + 2 * HOUR);
    let log = random.part(&events, 2, &[]);
    (random, log)
}

/// Rows by key and window: as `export` tells them, and as `fold.py` makes them of a topic.
type Told = BTreeMap<(String, String), Value>;

fn told(lines: &str) -> Told {
    let row = |line: Value| ((line["key"].to_string(), line["window"].to_string()), line["row"].clone());
    json_lines(lines).into_iter().map(row).collect()
}

fn exported(job: &str, group: &str) -> Told {
    told(&finish(run(&["export", job, group]), 0).stdout)
}

fn folded(lines: &str, group: &str) -> Told {
    let fold = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/changelog/fold.py");
    let mut child =
        Command::new("python3").arg(fold).arg(group).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, lines) = (child.stdin.take().unwrap(), lines.to_owned());
    let feeder = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "fold.py failed");
    feeder.join().unwrap().unwrap();
    told(&String::from_utf8(done.stdout).unwrap())
}

/// As kcat prints a topic.
fn printed(records: &[Vec<Record>]) -> String {
    let line = |(p, records): (usize, &Vec<Record>)| -> String {
        records.iter().map(|record| format!("{p}\t{}\n", record.value)).collect()
    };
    records.iter().enumerate().map(line).collect()
}

/// What a reader makes of the topic is what the store has, and every partition is in order.
fn assert_folds(case: &Case, brokers: &str, job: &str) -> Vec<Vec<Record>> {
    let records = records(brokers, &format!("{}_changes", case.name));
    records.iter().for_each(|records| assert_ordered(records));
    let lines = printed(&records);
    for group in ["cards", "hourly"] {
        let (folded, exported) = (folded(&lines, group), exported(job, group));
        assert!(!exported.is_empty());
        let differ: Vec<_> = exported.iter().filter(|(key, row)| folded.get(*key) != Some(*row)).collect();
        let first = differ.first().map(|(key, row)| (key, row, folded.get(*key)));
        let counts = [folded.len(), exported.len(), differ.len()];
        assert!(folded == exported, "{group}: rows, those of the store, and those that differ: {counts:?}: {first:?}");
    }
    records
}

/// As a file: by time, group, key and diff, from one mark to the next; and each record's key is its line's.
fn assert_ordered(records: &[Record]) {
    assert!(records.first().is_none_or(|first| first.value == r#"{"resume":null}"#), "{:?}", records.first());
    let mut before = None;
    for record in records {
        let line = record.json();
        if record.is_mark() {
            assert_eq!(record.key, None);
            before = None;
            // What comes is after what the mark leaves.
            if let Some(resume) = line["resume"].as_str() {
                before = Some((micros(resume), usize::MAX, String::new(), 0));
            }
            continue;
        }
        let group = ["hourly", "cards"].iter().position(|name| line["features"] == *name).unwrap();
        let (time, diff) = (micros(line["time"].as_str().unwrap()), line["diff"].as_i64().unwrap());
        let now = (time, group, line["key"].to_string(), diff);
        assert!(
            before
                .as_ref()
                .is_none_or(|before| (before.0, before.1, &before.2, before.3) <= (now.0, now.1, &now.2, now.3)),
            "{before:?} {now:?}"
        );
        before = Some(now);
        let window = line["window"]["start"].as_str().map_or(String::new(), |start| format!(r#","window":"{start}""#));
        let expected = format!(r#"{{"features":{},"key":{}{window}}}"#, line["features"], line["key"]);
        assert_eq!(record.key.as_deref(), Some(expected.as_str()));
    }
}

fn marks(records: &[Record]) -> Vec<Value> {
    records.iter().filter(|record| record.is_mark()).map(|record| record.json()["resume"].clone()).collect()
}

/// Dead letters that stand, told once but for those of the history.
fn dead_letters(case: &Case, brokers: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for Record { value, time, .. } in standing(brokers, &format!("{}_letters", case.name)) {
        assert!(all.insert(value.clone()) || time.is_none(), "told twice: {value}");
    }
    all
}

#[test]
fn a_fresh_run_voids_what_was_there() {
    let case = need!(Case::new("topic_fresh"));
    let (_, log) = events(70, 4000);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    topic.send(0, Some(b"no json"), START + 2 * HOUR);
    topic.flush();
    sink_topics(&case, &case.kafka);
    let job = write_job(&case, &case.kafka, &log, &[500, 700]);
    for (workers, starts) in [("1", 1), ("3", 2)] {
        finish(run(&["run", &job, "--until-end", "--fresh", "--workers", workers]), 0);
        let records = assert_folds(&case, &case.kafka, &job);
        records.iter().for_each(|records| assert_eq!(marks(records), vec![Value::Null; starts]));
    }
    // Run again at the end, it goes on from there, with nothing to add.
    finish(run(&["run", &job, "--until-end"]), 0);
    let records = assert_folds(&case, &case.kafka, &job);
    for records in &records {
        assert!(records.last().unwrap().is_mark() && marks(records)[2].is_string(), "{:?}", records.last());
    }

    // A file has the same lines.
    let in_files = std::fs::read_to_string(&job).unwrap();
    let (head, rest) = in_files.split_once("[sinks.changes]").unwrap();
    let (_, rest) = rest.split_once("[state]\npath = \"state\"").unwrap();
    let files = "[sinks.changes]\ntype = \"jsonl\"\npath = \"changes.jsonl\"\n[state]\npath = \"state_of_files\"";
    let other = case.job("files.toml", &format!("{head}{files}{rest}"));
    finish(run(&["run", other.to_str().unwrap(), "--until-end"]), 0);
    let text = std::fs::read_to_string(case.path("changes.jsonl")).unwrap();
    let mut in_file: Vec<&str> = text.lines().collect();
    let second = |records: &Vec<Record>| {
        let begin = records.iter().rposition(|record| record.value == r#"{"resume":null}"#).unwrap();
        records[begin..]
            .iter()
            .filter(|record| !record.is_mark())
            .map(|record| record.value.clone())
            .collect::<Vec<_>>()
    };
    let mut in_topic: Vec<String> = records.iter().flat_map(second).collect();
    in_file.sort_unstable();
    in_topic.sort_unstable();
    assert!(in_file == in_topic, "{} and {} lines", in_file.len(), in_topic.len());
    let text = std::fs::read_to_string(case.path("state_of_files/dead_letters.jsonl")).unwrap();
    let in_file: BTreeSet<String> = text.lines().map(String::from).collect();
    assert!(
        in_file.iter().any(|line| line.contains(r#""reason":"late""#))
            && in_file.iter().any(|line| line.contains("no json"))
    );
    assert_eq!(dead_letters(&case, &case.kafka), in_file);
}

#[test]
fn killed_again_and_again_the_topic_folds_to_the_rows() {
    let case = need!(Case::new("topic_killed"));
    let (mut random, log) = events(71, 30_000);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    sink_topics(&case, &case.kafka);
    let job = write_job(&case, &case.kafka, &log, &[2000, 3000]);
    for kill in 0..6 {
        let (before, workers) = (newest_checkpoint(&case.path("state")), ["1", "2", "3"][random.below(3) as usize]);
        let mut running = run(&["run", &job, "--workers", workers]);
        // The first is killed whenever it may be, the others some way behind a checkpoint.
        until("a checkpoint", || {
            (kill == 0 || newest_checkpoint(&case.path("state")) > before || !running.is_running()).then_some(())
        });
        std::thread::sleep(std::time::Duration::from_millis(random.below(600)));
        assert!(running.is_running(), "{}", running.log());
        running.kill();
        // Something comes between two starts.
        let now = now_us() / 1000 * 1000;
        for event in random.events(200, 40, now - SECOND, now) {
            topic.send_event(random.below(2) as usize, &event);
        }
        topic.send(0, Some(b"no json"), now);
        topic.flush();
    }
    finish(run(&["run", &job, "--until-end"]), 0);
    let records = assert_folds(&case, &case.kafka, &job);
    assert!(records.iter().any(|records| marks(records).iter().any(Value::is_string)), "it went on from a checkpoint");
    assert_eq!(dead_letters(&case, &case.kafka).iter().filter(|line| line.contains("no json")).count(), 6);

    // As the page of the example says it.
    let tool = Command::new(case.scripts.join("kafka"))
        .args([
            "tool",
            "consumer.ConsoleConsumer",
            "--bootstrap-server",
            &case.kafka,
            "--from-beginning",
            "--timeout-ms",
            "5000",
        ])
        .args(["--topic", &format!("{}_changes", case.name), "--formatter-property", "print.partition=true"])
        .output()
        .unwrap();
    let lines = String::from_utf8(tool.stdout).unwrap();
    assert_eq!(folded(&lines, "cards"), exported(&job, "cards"));

    // Rows that are others than before are told anew, all of them.
    let text = std::fs::read_to_string(&job).unwrap();
    for (old, new) in [("n     = ", "ever  = { agg = \"count\", window = \"all\" }\nn     = "), ("most  = ", "# ")] {
        std::fs::write(&job, text.replace(old, new)).unwrap();
        finish(run(&["run", &job, "--until-end", "--workers", "2"]), 0);
        let records = assert_folds(&case, &case.kafka, &job);
        assert!(records.iter().all(|records| marks(records).last() == Some(&Value::Null)), "{new}");
    }
}

#[test]
fn a_broker_that_is_killed_and_frozen_meanwhile() {
    let case = need!(Case::new("topic_broker"));
    let broker = Service::start(&case, "kafka");
    let (mut random, log) = events(72, 4000);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    sink_topics(&case, &broker.address);
    let job = write_job(&case, &broker.address, &log, &[1000, 1000]);
    let running = run(&["run", &job, "--workers", "2"]);
    let mut produce = |seconds: i64| {
        let begun = now_us();
        while now_us() - begun < seconds * SECOND {
            let now = now_us() / 1000 * 1000;
            let card = format!("c{}", random.below(40));
            topic.send_event(
                random.below(2) as usize,
                &Event { card, amount: Some(1.0), ok: true, ts: now, arrived: now },
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        topic.flush();
    };
    produce(2);
    until("lines in the topic", || (newest_checkpoint(&case.path("state")) > 0).then_some(()));
    broker.stop("KILL");
    produce(4);
    let warned = until("a warning", || Some(running.log()).filter(|log| log.contains("does not acknowledge")));
    assert!(warned.contains("lines are sent again until it does, and the job waits"), "{warned}");
    broker.again();
    until("word of it", || running.log().contains("acknowledges again").then_some(()));
    produce(1);
    broker.stop("STOP");
    produce(4);
    broker.stop("CONT");
    produce(1);
    running.terminate();
    finish(run(&["run", &job, "--until-end"]), 0);
    assert_folds(&case, &broker.address, &job);
}

#[test]
fn what_is_wrong_with_a_topic_is_told_with_its_place() {
    let case = need!(Case::new("topic_wrong"));
    let (_, log) = events(73, 100);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    sink_topics(&case, &case.kafka);
    let job = write_job(&case, &case.kafka, &log, &[10, 10]);
    let text = std::fs::read_to_string(&job).unwrap();
    let wrong =
        text.replace("_changes\"", "_chances\"").replace("_letters\"\n", "_letters\"\nproperties = { acks = 1 }\n");
    std::fs::write(&job, wrong).unwrap();
    for command in ["check", "run"] {
        let said = finish(run(&[command, &job]), 2).stderr;
        assert!(said.contains(&format!("has no topic \"{}_chances\"", case.name)), "{said}");
        assert!(said.contains("property \"acks\" can only be \"all\""), "{said}");
        assert_eq!(said.matches("job.toml:").count(), 2, "{said}");
    }
    std::fs::write(&job, text).unwrap();
    let said = finish(run(&["check", &job]), 0).stdout;
    assert!(said.contains(&format!("changelog topic {}_changes at {}", case.name, case.kafka)), "{said}");
}

const LONG_HISTORY: &str = r#"
name = "{NAME}"
tick = "10ms"
[sources.tx]
event_time = "ts"
time_unit = "us"
schema = { ts = "timestamp", k = "string" }
history = { type = "jsonl", path = "history.jsonl", complete_until = 2026-01-05T01:00:00Z }
stream = { type = "jsonl", path = "stream.jsonl" }
[features.keys]
source = "tx"
key = "k"
columns = { n = { agg = "count", windows = ["1m", "1h", "all"] }, d = { agg = "count_distinct", of = "k", window = "10m" } }
[sinks.local]
type = "embedded"
[dead_letters]
type    = "kafka"
brokers = "{BROKERS}"
topic   = "{TOPIC}_letters"
[state]
path = "state"
checkpoint_every = "1ms"
"#;

/// What a checkpoint has of the history is not read again: its dead letters stay.
#[test]
fn killed_while_the_history_is_read() {
    let case = need!(Case::new("topic_history"));
    Topic::new(&case.kafka, &format!("{}_letters", case.name), 2);
    let (mut texts, mut expected) = ([String::new(), String::new()], BTreeSet::new());
    for n in 0..1_510_000_i64 {
        let ts = START + n * HOUR / 1_500_000;
        let text = &mut texts[usize::from(ts >= START + HOUR)];
        text.push_str(&format!("{{\"ts\":{ts},\"k\":\"c{}\"}}\n", n % 1000));
        if n % 1000 == 999 {
            text.push_str(&format!("no json {n}\n"));
            expected.insert(format!("no json {n}"));
        }
    }
    std::fs::write(case.path("history.jsonl"), &texts[0]).unwrap();
    std::fs::write(case.path("stream.jsonl"), &texts[1]).unwrap();
    let path = case.job("job.toml", LONG_HISTORY);
    let job = path.to_str().unwrap();
    let manifests = || {
        let entries = std::fs::read_dir(case.path("state/checkpoints")).into_iter().flatten().flatten();
        let text = |e: std::fs::DirEntry| std::fs::read_to_string(e.path().join("manifest.json")).ok();
        entries.filter_map(text).collect::<Vec<_>>()
    };
    let is_slice = |text: &String| text.contains(r#""t":null"#) && text.contains(r#""piece""#);
    // One that is too quick to be killed there begins anew.
    let killed = (0..20).any(|_| {
        let mut running = run(&["run", job, "--until-end", "--fresh"]);
        let slice = until("a checkpoint while the history is read, or the end", || {
            let found = manifests().iter().any(is_slice);
            (found || !running.is_running()).then_some(found)
        });
        running.kill();
        slice && manifests().iter().all(|text| text.contains(r#""t":null"#))
    });
    assert!(killed, "it is always too quick");
    finish(run(&["run", job, "--until-end"]), 0);
    let payload = |line: String| json_lines(&line)[0]["payload"].as_str().unwrap().to_owned();
    let found: BTreeSet<String> = dead_letters(&case, &case.kafka).into_iter().map(payload).collect();
    let missing: Vec<_> = expected.difference(&found).take(5).collect();
    assert!(found == expected, "{} and {} letters, missing {missing:?}", found.len(), expected.len());
}
