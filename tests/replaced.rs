//! Events that replace one another: of each key the last record counts, and what it replaces is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::*;

/// The worked example of docs/collections.md.
const EXAMPLE: &str = r#"
name = "example"
tick = "1s"
[sources.payments]
event_time = "ts"
arrival_time = "a"
primary_key = "id"
deleted = "status = 'cancelled'"
schema = { id = "int64", ts = "timestamp", a = "timestamp", card = "string", amount = "int64", status = "string" }
stream = { type = "jsonl", path = "payments.jsonl" }
[features.cards]
source = "payments"
key = "card"
columns = { n = { agg = "count", window = "1h" }, spend = { agg = "sum", of = "amount", window = "1h" } }
[features.hours]
source = "payments"
key = "card"
window = { tumbling = "1h" }
columns = { spend = { agg = "sum", of = "amount" } }
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
"#;

#[test]
fn what_is_replaced_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let at = |time: &str| format!("2026-01-05T{time}:00Z");
    let payment = |id, ts: &str, a: &str, card, amount: i64, status: &str| {
        json!({ "id": id, "ts": at(ts), "a": at(a), "card": card, "amount": amount, "status": status }).to_string()
            + "\n"
    };
    let payments = payment(1, "10:10", "10:10", "c", 10, "made")
        + &payment(2, "10:20", "10:20", "c", 5, "made")
        // The amount was wrong.
        + &payment(1, "10:10", "10:30", "c", 7, "made")
        // Once more the same.
        + &payment(1, "10:10", "10:31", "c", 7, "made")
        + &payment(2, "10:20", "10:40", "c", 5, "cancelled")
        // Too late for the hour.
        + &payment(1, "10:10", "11:05", "c", 9, "made")
        + &payment(3, "12:00", "12:00", "other", 0, "made");
    std::fs::write(dir.path().join("payments.jsonl"), payments).unwrap();
    let path = dir.path().join("job.toml");
    std::fs::write(&path, EXAMPLE).unwrap();
    run_to_end(&path, "2");
    let told = |line: &Value| {
        let (time, of) = (&line["time"].as_str().unwrap()[11..16], line["features"].as_str().unwrap());
        let row = |name: &str| line["row"][name].to_string();
        (line["key"]["card"] == "c").then(|| format!("{time} {of} {} {} {}", line["diff"], row("n"), row("spend")))
    };
    let found: Vec<String> = json_lines(&changes(dir.path())).iter().filter_map(told).collect();
    let expected = [
        "10:10 cards 1 1 10",
        "10:10 hours 1 null 10",
        "10:20 cards -1 1 10",
        "10:20 cards 1 2 15",
        "10:20 hours -1 null 10",
        "10:20 hours 1 null 15",
        "10:30 cards -1 2 15",
        "10:30 cards 1 2 12",
        "10:30 hours -1 null 15",
        "10:30 hours 1 null 12",
        "10:40 cards -1 2 12",
        "10:40 cards 1 1 7",
        "10:40 hours -1 null 12",
        "10:40 hours 1 null 7",
        "11:05 cards -1 1 7",
        "11:05 cards 1 1 9",
        "11:10 cards -1 1 9",
    ];
    assert_eq!(found, expected);
    let letters = json_lines(&dead_letters(dir.path()).join("\n"));
    let reasons: Vec<_> =
        letters.iter().map(|letter| (letter["reason"].as_str().unwrap(), letter["offset"].as_i64())).collect();
    assert_eq!(reasons, [("late", Some(5))]);
    let checked = finish(run(&["check", path.to_str().unwrap()]), 0).stdout;
    assert!(checked.contains("keys are remembered as long as a window may hold their events"), "{checked}");
    let spine = finish(
        run(&[
            "backfill",
            path.to_str().unwrap(),
            "--spine",
            "s.parquet",
            "--time",
            "t",
            "--out",
            "o.parquet",
            "--features",
            "cards",
        ]),
        2,
    );
    assert!(
        spine.stderr.contains("replace one another: a backfill of such a group is not built yet"),
        "{}",
        spine.stderr
    );
}

/// Orders that are changed and cancelled, of which some come in another partition; by every kind of window.
const JOB: &str = r#"
name = "replaced"
[sources.orders]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "5s"
primary_key = "id"
deleted = "gone"
schema = { id = "string", ts = "timestamp", a = "timestamp", card = "string", shop = "string", x = "int64", gone = "bool", p = "int32", o = "int64" }
history = { type = "jsonl", path = "orders/history.jsonl" }
stream = { type = "jsonl", path = "orders/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[sources.more]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
schema = { ts = "timestamp", a = "timestamp", card = "string", x = "int64", p = "int32", o = "int64" }
history = { type = "jsonl", path = "more/history.jsonl" }
stream = { type = "jsonl", path = "more/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[tables.shops]
key = "shop"
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "40s"
schema = { ts = "timestamp", a = "timestamp", shop = "string", rate = "int64", owner = "string", p = "int32", o = "int64" }
history = { type = "jsonl", path = "shops/history.jsonl" }
stream = { type = "jsonl", path = "shops/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[features.cards]
source = ["orders", "more"]
key = "card"
where = "x <> 2"
columns = { n = { agg = "count", windows = ["10s", "all"] }, most = { agg = "max", of = "x", windows = ["10s", "all"] }, odd = { agg = "sum", of = "100 / (x - 3)", window = "30s" } }
[features.owners]
source = "orders"
lookup.s = { table = "shops", on = "shop" }
key = "s.owner"
columns = { spent = { agg = "sum", of = "x * s.rate", windows = ["10s", "1m"] }, rates = { agg = "last_n", n = 3, of = "s.rate", window = "30s" } }
[features.tens]
source = "orders"
lookup.s = { table = "shops", on = "shop" }
key = "card"
window = { tumbling = "10s" }
columns = { n = { agg = "count" }, mode = { agg = "mode", of = "s.rate" } }
[features.hops]
source = "orders"
key = "shop"
window = { hopping = "4s", every = "1s" }
columns = { n = { agg = "count" }, x = { agg = "sum", of = "x" } }
{MORE}[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
[state]
path = "state"
checkpoint_every = "1ms"
"#;

/// Groups that look up in the rows of those: by a column, by what is looked up in a table, and in one another.
const LOOKING: &str = r#"
[features.met]
source = "orders"
lookup.h = { features = "cards", on = "card" }
lookup.s = { table = "shops", on = "shop" }
lookup.w = { features = "owners", on = "s.owner" }
key = "card"
[features.met.columns]
seen = { agg = "sum", of = "h.n_10s", windows = ["10s", "all"] }
high = { agg = "count", where = "x > h.most_10s", windows = ["10s"] }
spent = { agg = "last_n", n = 4, of = "w.spent_10s", window = "20s" }
fails = { agg = "sum", of = "100 / (h.n_10s - 3)", window = "20s" }
[features.chain]
source = ["more", "orders"]
lookup.d = { features = "met", on = "card" }
key = "card"
window = { tumbling = "10s" }
columns = { n = { agg = "count", of = "d.seen_10s" }, most = { agg = "max", of = "d.seen_all" } }
"#;

fn write(dir: &Path, events: usize, groups: &str) -> PathBuf {
    let mut random = StdRng::seed_from_u64(11);
    let (mut now, mut orders, mut more, mut shops) = (START, vec![], vec![], vec![]);
    let late = |random: &mut StdRng| if random.random_bool(0.3) { random.random_range(0..20 * SECOND) } else { 0 };
    for _ in 0..events {
        now += random.random_range(0..20_000);
        let (id, shop, x) = (random.random_range(0..200usize), random.random_range(0..8), random.random_range(0..9));
        // Some are from the future, so that a later record is visible first.
        let ahead = if random.random_bool(0.1) { random.random_range(0..3 * SECOND) } else { 0 };
        let (ts, gone) = (now - late(&mut random) + ahead, random.random_bool(0.1));
        let ts = if gone && random.random_bool(0.5) { Value::Null } else { ts.into() };
        let card = format!("c{}", random.random_range(0..30));
        let home = if random.random_bool(0.01) { 1 - id % 2 } else { id % 2 };
        orders.push((
            home,
            json!({ "id": format!("o{id}"), "ts": ts, "a": now, "card": card, "shop": format!("s{shop}"), "x": x, "gone": gone }),
        ));
        if random.random_bool(0.3) {
            let ts = now - late(&mut random);
            more.push((0, json!({ "ts": ts, "a": now, "card": format!("c{}", random.random_range(0..30)), "x": x })));
        }
        if random.random_bool(0.1) {
            let (shop, rate) = (random.random_range(0..8usize), random.random_range(0..5));
            let (ts, owner) = (now - late(&mut random), format!("o{}", random.random_range(0..4)));
            shops.push((
                shop % 2,
                json!({ "ts": ts, "a": now, "shop": format!("s{shop}"), "rate": rate, "owner": owner }),
            ));
        }
    }
    write_log(&dir.join("orders"), &orders, orders.len() / 3);
    write_log(&dir.join("more"), &more, more.len() / 2);
    write_log(&dir.join("shops"), &shops, shops.len() / 2);
    let path = dir.join("job.toml");
    std::fs::write(&path, JOB.replace("{MORE}", groups)).unwrap();
    path
}

#[test]
fn any_number_of_workers_makes_the_same_rows() {
    any_number_of_workers("");
}

#[test]
fn any_number_of_workers_makes_the_same_rows_just_before() {
    any_number_of_workers(LOOKING);
}

fn any_number_of_workers(more: &str) {
    let outputs = ["1", "3"].map(|workers| {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 4_000, more);
        run_to_end(&path, workers);
        (changes(dir.path()), dead_letters(dir.path()))
    });
    assert!(outputs[0].0.lines().count() > 5_000, "there are changes");
    for group in ["met", "chain"].iter().filter(|_| !more.is_empty()) {
        let of_group = format!("\"features\":\"{group}\"");
        assert!(outputs[0].0.lines().filter(|line| line.contains(&of_group)).count() > 500, "of {group}");
    }
    assert!(outputs[0].0 == outputs[1].0, "changes by one worker and by three");
    assert_eq!(outputs[0].1, outputs[1].1, "dead letters by one worker and by three");
    for reason in ["moved key", "late", "expression"] {
        assert!(outputs[0].1.iter().any(|line| line.contains(reason)), "a dead letter {reason}");
    }
}

/// A run that goes on from its checkpoint, by another number of workers, makes what one run makes.
#[test]
fn a_run_in_parts_makes_what_one_run_makes() {
    a_run_in_parts("");
}

#[test]
fn a_run_in_parts_meets_the_rows_just_before() {
    a_run_in_parts(LOOKING);
}

fn a_run_in_parts(more: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 4_000, more);
    run_to_end(&path, "1");
    let parts = tempfile::tempdir().unwrap();
    let path = write(parts.path(), 4_000, more);
    let logs =
        ["orders", "more", "shops"].map(|log| [0, 1].map(|p| parts.path().join(format!("{log}/stream{p}.jsonl"))));
    let logs = logs.into_iter().flatten().map(|log| (std::fs::read_to_string(&log).unwrap(), log)).collect::<Vec<_>>();
    let mut went_on = 0;
    for (until, workers) in [(22, "2"), (27, "1"), (31, "3"), (1_000, "2")] {
        for (text, log) in &logs {
            let is_there = |line: &&str| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["a"].as_i64().unwrap() <= START + until * SECOND
            };
            let some: Vec<&str> = text.lines().filter(is_there).collect();
            std::fs::write(log, some.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        let ran = finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
        went_on += usize::from(ran.stderr.contains("going on from a checkpoint at T"));
    }
    assert_eq!(went_on, 3, "parts go on from checkpoints");
    assert!(changes(dir.path()) == changes(parts.path()), "changes of one run and of four");
    assert_eq!(dead_letters(dir.path()), dead_letters(parts.path()));
}

/// Killed whenever, it makes what an undisturbed run makes.
#[test]
fn killed_and_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 3_000, LOOKING);
    run_to_end(&path, "1");
    let killed = tempfile::tempdir().unwrap();
    let path = write(killed.path(), 3_000, LOOKING);
    let arguments = ["run", path.to_str().unwrap(), "--until-end", "--workers", "2"];
    for after in [150, 300, 450, 600] {
        let running = run(&arguments);
        std::thread::sleep(std::time::Duration::from_millis(after));
        running.kill();
    }
    finish(run(&arguments), 0);
    assert!(changes(dir.path()) == changes(killed.path()), "changes of a run and of one that was killed");
    assert_eq!(dead_letters(dir.path()), dead_letters(killed.path()));
}

/// One record of the model's log.
#[derive(Clone, Debug)]
struct Record {
    id: u8,
    partition: usize,
    eff: i64,
    ts: i64,
    card: u8,
    x: i64,
    gone: bool,
}

impl Record {
    fn visible(&self) -> i64 {
        self.eff.max(self.ts).div_euclid(TICK) * TICK
            + if self.eff.max(self.ts).rem_euclid(TICK) > 0 { TICK } else { 0 }
    }
}

/// By definition: of each key the last of what is visible.
fn in_force(log: &[Record], t: i64) -> BTreeMap<u8, &Record> {
    let mut last = BTreeMap::new();
    for record in log.iter().filter(|record| record.visible() <= t) {
        last.insert(record.id, record);
    }
    last.retain(|_, record| !record.gone);
    last
}

/// (count, sum) over 2 s and over all, by card.
fn rows(log: &[Record], t: i64) -> BTreeMap<u8, [(i64, i64); 2]> {
    let mut rows: BTreeMap<u8, [(i64, i64); 2]> = BTreeMap::new();
    for record in in_force(log, t).into_values() {
        let row = rows.entry(record.card).or_default();
        if record.ts > t - 2 * SECOND {
            row[0] = (row[0].0 + 1, row[0].1 + record.x);
        }
        row[1] = (row[1].0 + 1, row[1].1 + record.x);
    }
    rows
}

/// How many events of its card each had in the 2 s just before it, summed by card: what it has met never changes, whatever replaces the others.
fn met(log: &[Record], t: i64) -> BTreeMap<u8, i64> {
    let mut met: BTreeMap<u8, i64> = BTreeMap::new();
    for record in in_force(log, t).into_values() {
        let before = rows(log, record.visible() - TICK);
        *met.entry(record.card).or_default() += before.get(&record.card).map_or(0, |row| row[0].0);
    }
    met
}

/// At every tick the rows are those of the definition.
#[test]
fn agrees_with_the_definition() {
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut now, mut log) = (START, vec![]);
        for _ in 0..150 {
            now += random.random_range(0..100_000);
            let ts = now + random.random_range(-SECOND..SECOND / 2);
            let id = random.random_range(0..12);
            let (card, x, gone) = (random.random_range(0..3), random.random_range(0..5), random.random_bool(0.2));
            log.push(Record { id, partition: usize::from(id % 2), eff: now, ts, card, x, gone });
        }
        let dir = tempfile::tempdir().unwrap();
        for p in [0, 1] {
            let line = |r: &Record| {
                json!({ "id": r.id, "ts": r.ts, "a": r.eff, "card": r.card, "x": r.x, "gone": r.gone }).to_string()
                    + "\n"
            };
            let text: String = log.iter().filter(|record| record.partition == p).map(line).collect();
            std::fs::write(dir.path().join(format!("stream{p}.jsonl")), text).unwrap();
        }
        let job = r#"
name = "model"
[sources.orders]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
primary_key = "id"
deleted = "gone"
schema = { id = "int64", ts = "timestamp", a = "timestamp", card = "int64", x = "int64", gone = "bool" }
stream = { type = "jsonl", path = "stream*.jsonl" }
[features.cards]
source = "orders"
key = "card"
columns = { n = { agg = "count", windows = ["2s", "all"] }, x = { agg = "sum", of = "x", windows = ["2s", "all"] } }
[features.met]
source = "orders"
lookup.h = { features = "cards", on = "card" }
key = "card"
columns = { n = { agg = "sum", of = "h.n_2s", window = "all" } }
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
"#;
        let path = dir.path().join("job.toml");
        std::fs::write(&path, job).unwrap();
        run_to_end(&path, if seed % 2 == 0 { "1" } else { "3" });
        let end = log.iter().map(|record| record.eff.div_euclid(TICK) * TICK + TICK).max().unwrap();
        let ticks: BTreeSet<i64> = log
            .iter()
            .flat_map(|r| [r.visible(), r.visible().max(r.ts.div_euclid(TICK) * TICK + TICK + 2 * SECOND)])
            .filter(|t| *t < end)
            .collect();
        let lines = json_lines(&changes(dir.path()));
        let mut told = lines.iter().peekable();
        let mut found: BTreeMap<u8, [(i64, i64); 2]> = BTreeMap::new();
        let mut found_met: BTreeMap<u8, i64> = BTreeMap::new();
        for t in ticks {
            while let Some(line) = told.next_if(|line| micros(line["time"].as_str().unwrap()) <= t) {
                let (card, row) = (line["key"]["card"].as_u64().unwrap() as u8, &line["row"]);
                if line["features"] == "met" {
                    match line["diff"].as_i64() {
                        Some(1) => drop(found_met.insert(card, row["n"].as_i64().unwrap_or(0))),
                        _ => drop(found_met.remove(&card)),
                    }
                    continue;
                }
                let of = |window: &str| {
                    (row[format!("n_{window}")].as_i64().unwrap(), row[format!("x_{window}")].as_i64().unwrap_or(0))
                };
                match line["diff"].as_i64() {
                    Some(1) => drop(found.insert(card, [of("2s"), of("all")])),
                    _ => drop(found.remove(&card)),
                }
            }
            assert_eq!(found, rows(&log, t), "seed {seed} at {t}");
            assert_eq!(found_met, met(&log, t), "seed {seed} at {t}");
        }
        assert!(lines.len() > 100, "there are changes");
    }
}

const OF_TOPIC: &str = r#"
name = "{NAME}"
[sources.orders]
event_time = "ts"
primary_key = "id"
schema = { id = "string", ts = "timestamp", card = "string", x = "int64" }
stream = { type = "kafka", brokers = "{BROKERS}", topic = "{TOPIC}" }
[features.cards]
source = "orders"
key = "card"
columns = { n = { agg = "count", window = "all" }, x = { agg = "sum", of = "x", window = "all" } }
[dead_letters]
type = "jsonl"
path = "dead_letters.jsonl"
"#;

/// A compacted topic: its keys are those of the records, and records without a value remove. It says the same whether or not it was compacted.
#[test]
fn a_compacted_topic_with_tombstones() {
    let case = need!(Case::new("replaced_topic"));
    let kafka = Service::start_with(&case, "kafka", &["log.cleaner.backoff.ms=300"]);
    let settings =
        ["cleanup.policy=compact", "segment.ms=1000", "min.cleanable.dirty.ratio=0.01", "delete.retention.ms=600000"];
    let topic = Topic::with(&kafka.address, &case.name, 1, &settings);
    let mut expected: BTreeMap<String, (String, i64)> = BTreeMap::new();
    let mut random = StdRng::seed_from_u64(3);
    let job = case.job("job.toml", &OF_TOPIC.replace("{BROKERS}", &kafka.address));
    let mut send = |sent: std::ops::Range<i64>| {
        for n in sent {
            let id = format!("o{}", random.random_range(0..40));
            let ts = START + n * SECOND;
            if random.random_bool(0.15) {
                topic.send_with_key(0, (Some(id.as_bytes()), None), ts);
                expected.remove(&id);
            } else {
                let (card, x) = (format!("c{}", random.random_range(0..5)), random.random_range(0..9));
                let value = json!({ "id": id, "ts": ts / 1000, "card": card, "x": x }).to_string();
                topic.send_with_key(0, (Some(id.as_bytes()), Some(value.as_bytes())), ts);
                expected.insert(id, (card, x));
            }
        }
        topic.flush();
        let mut rows: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for (card, x) in expected.values() {
            let row = rows.entry(card.clone()).or_default();
            *row = (row.0 + 1, row.1 + x);
        }
        rows
    };
    let exported = || {
        let out = finish(run(&["export", job.to_str().unwrap(), "cards"]), 0).stdout;
        let row = |line: &Value| {
            let card = line["key"]["card"].as_str().unwrap().to_owned();
            (card, (line["row"]["n"].as_i64().unwrap(), line["row"]["x"].as_i64().unwrap_or(0)))
        };
        json_lines(&out).iter().map(row).collect::<BTreeMap<_, _>>()
    };
    let rows = send(0..400);
    finish(run(&["run", job.to_str().unwrap(), "--until-end"]), 0);
    assert_eq!(exported(), rows);
    std::thread::sleep(std::time::Duration::from_millis(1_100)); // a segment ends with the first record after a second
    let rows = send(400..600);
    let arguments = ["run", job.to_str().unwrap(), "--until-end", "--workers", "2"];
    let killed = run(&arguments);
    std::thread::sleep(std::time::Duration::from_millis(300));
    killed.kill();
    finish(run(&arguments), 0);
    assert_eq!(exported(), rows);
    // Some of what was replaced is there no more: a run that begins anew finds the same.
    until("the topic is compacted", || (topic.records(0) < 500).then_some(()));
    finish(run(&["run", job.to_str().unwrap(), "--until-end", "--fresh"]), 0);
    assert_eq!(exported(), rows);
    assert_eq!(case.lines("dead_letters.jsonl"), Vec::<Value>::new());
}
