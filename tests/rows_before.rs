//! Lookups in groups: an event meets the row that was there just before it, and that never changes.

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
schema = { ts = "timestamp", a = "timestamp", card = "string", amount = "int64" }
stream = { type = "jsonl", path = "payments.jsonl" }
[features.odd]
source = "payments"
lookup.h = { features = "cards", on = "card" }
key = "card"
columns = { over = { agg = "count", where = "amount > 2 * h.mean", window = "1d" }, seen = { agg = "last_n", n = 9, of = "h.n_1h", window = "1d" } }
[features.cards]
source = "payments"
key = "card"
columns = { n = { agg = "count", windows = ["1h"] }, sum = { agg = "sum", of = "amount", window = "1h" } }
derived = { mean = "sum * 1.0 / n_1h" }
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
"#;

#[test]
fn an_event_meets_the_row_just_before() {
    let dir = tempfile::tempdir().unwrap();
    let at = |time: &str| format!("2026-01-05T{time}:00Z");
    let payment = |ts, a, amount| json!({ "ts": at(ts), "a": at(a), "card": "c", "amount": amount }).to_string() + "\n";
    // The third comes late: what the second has met stays as it was.
    let payments = payment("10:10", "10:10", 10)
        + &payment("10:20", "10:20", 25)
        + &payment("10:15", "10:30", 40)
        + &payment("11:16", "11:16", 60)
        + &payment("12:30", "12:30", 9);
    std::fs::write(dir.path().join("payments.jsonl"), payments).unwrap();
    let path = dir.path().join("job.toml");
    std::fs::write(&path, EXAMPLE).unwrap();
    for workers in ["1", "3"] {
        run_to_end(&path, workers);
        let lines = json_lines(&changes(dir.path()));
        let odd = lines.iter().filter(|line| line["features"] == "odd" && line["diff"] == 1);
        let rows: Vec<(String, Value)> =
            odd.map(|line| (line["time"].as_str().unwrap()[11..16].to_owned(), line["row"].clone())).collect();
        let expected = [
            ("10:10", json!({ "over": 0, "seen": null })),
            // The mean is 10.
            ("10:20", json!({ "over": 1, "seen": [1] })),
            // By its event time it is before the second, and it meets what was served when it came: two, with a mean of 17.5.
            ("10:30", json!({ "over": 2, "seen": [1, 2] })),
            // Of the hour before only the second is left, at 11:15.
            ("11:16", json!({ "over": 3, "seen": [1, 1, 2] })),
            // By then the row is gone.
            ("12:30", json!({ "over": 3, "seen": [1, 1, 2] })),
        ];
        let expected: Vec<(String, Value)> =
            expected.into_iter().map(|(time, row)| (time.to_owned(), row)).take(4).collect();
        assert_eq!(rows, expected, "by {workers} workers");
    }
    let checked = finish(run(&["check", path.to_str().unwrap()]), 0).stdout;
    assert!(checked.contains("looked up in features cards by card, as h: the row just before"), "{checked}");
    assert!(checked.contains("its rows are looked up by odd"), "{checked}");
}

/// Groups that look up in each other and in a table: by a column, by what is looked up in the table, and by what a row says.
const JOB: &str = r#"
name = "rows"
[sources.pay]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "20s"
schema = { ts = "timestamp", a = "timestamp", card = "string", shop = "string", x = "int64", p = "int32", o = "int64" }
history = { type = "jsonl", path = "pay/history.jsonl" }
stream = { type = "jsonl", path = "pay/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[tables.shops]
key = "shop"
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "30s"
deleted = "rate < 0"
schema = { ts = "timestamp", a = "timestamp", shop = "string", rate = "int64", owner = "string", p = "int32", o = "int64" }
history = { type = "jsonl", path = "shops/history.jsonl" }
stream = { type = "jsonl", path = "shops/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[features.chain]
source = "pay"
lookup.d = { features = "odd", on = "card" }
lookup.w = { features = "owners", on = "d.who" }
key = "shop"
columns = { far = { agg = "last_n", n = 5, of = "d.seen_10s", window = "20s" }, of_owner = { agg = "sum", of = "w.n_all", windows = ["10s", "all"] } }
[features.odd]
source = "pay"
lookup.h = { features = "cards", on = "card" }
lookup.s = { table = "shops", on = "shop" }
lookup.w = { features = "owners", on = "s.owner" }
key = "card"
where = "h._there OR x > 1"
[features.odd.columns]
seen = { agg = "sum", of = "h.spent_all", windows = ["10s", "all"] }
high = { agg = "count", where = "x > h.mean", windows = ["10s"] }
owner = { agg = "last_n", n = 4, of = "w.n_10s", window = "20s" }
who = { agg = "last", of = "s.owner", window = "all" }
fails = { agg = "sum", of = "100 / (h.spent_all - 7)", window = "20s" }
[features.cards]
source = "pay"
lookup.s = { table = "shops", on = "shop" }
key = "card"
columns = { spent = { agg = "sum", of = "x * s.rate", windows = ["10s", "all"] }, n = { agg = "count", window = "30s" } }
derived = { mean = "spent_10s * 1.0 / nullif(n, 0)" }
[features.owners]
source = "pay"
lookup.s = { table = "shops", on = "shop" }
key = "s.owner"
columns = { n = { agg = "count", windows = ["10s", "all"] } }
[features.tens]
source = "pay"
lookup.h = { features = "cards", on = "card" }
key = "shop"
window = { tumbling = "10s" }
columns = { n = { agg = "count", of = "h.n" }, most = { agg = "max", of = "h.spent_10s" } }
"#;

/// `of_history`: how many of three parts of the events are history too.
fn write(dir: &Path, events: usize, of_history: usize) -> PathBuf {
    let mut random = StdRng::seed_from_u64(11);
    let (mut now, mut pay, mut shops) = (START, vec![], vec![]);
    let late = |random: &mut StdRng| if random.random_bool(0.3) { random.random_range(0..40 * SECOND) } else { 0 };
    for _ in 0..events {
        now += random.random_range(0..20_000);
        let (card, shop) = (random.random_range(0..20), random.random_range(0..8));
        // Some happen only after they are known.
        let ts = if random.random_bool(0.05) { now + 3 * SECOND } else { now - late(&mut random) };
        let x = random.random_range(0..9);
        pay.push((
            card % 2,
            json!({ "ts": ts, "a": now, "card": format!("c{card}"), "shop": format!("s{shop}"), "x": x }),
        ));
        if random.random_bool(0.05) {
            let (shop, rate) = (random.random_range(0..8usize), random.random_range(-1..5));
            let (ts, owner) = (now - late(&mut random), format!("o{}", random.random_range(0..4)));
            shops.push((
                shop % 2,
                json!({ "ts": ts, "a": now, "shop": format!("s{shop}"), "rate": rate, "owner": owner }),
            ));
        }
    }
    write_log(&dir.join("pay"), &pay, pay.len() * of_history / 3);
    write_log(&dir.join("shops"), &shops, shops.len() * of_history / 3);
    let path = dir.join("job.toml");
    std::fs::write(&path, [JOB, OUTPUTS, CHECKPOINTS].concat()).unwrap();
    path
}

#[test]
fn any_number_of_workers_makes_the_same_rows() {
    let outputs = ["1", "3"].map(|workers| {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 2_500, 1);
        run_to_end(&path, workers);
        (changes(dir.path()), dead_letters(dir.path()))
    });
    assert!(outputs[0].0.lines().count() > 5_000, "there are changes");
    for group in ["chain", "odd", "tens"] {
        let of_group = format!("\"features\":\"{group}\"");
        assert!(outputs[0].0.lines().filter(|line| line.contains(&of_group)).count() > 100, "of {group}");
    }
    assert!(outputs[0].0 == outputs[1].0, "changes by one worker and by three");
    assert_eq!(outputs[0].1, outputs[1].1, "dead letters by one worker and by three");
    assert!(outputs[0].1.iter().any(|line| line.contains("expression")));
}

/// What an event of the history met is what a run from the beginning would have shown: wherever the histories end, rows come to be the same.
#[test]
fn wherever_the_histories_end() {
    let rows = [0, 1, 2, 3].map(|of_history| {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 1_500, of_history);
        run_to_end(&path, if of_history == 1 { "2" } else { "1" });
        let mut rows = std::collections::BTreeMap::new();
        for line in json_lines(&changes(dir.path())) {
            let at = format!("{} {} {}", line["features"], line["key"], line["window"]);
            match line["diff"].as_i64() {
                Some(1) => drop(rows.insert(at, line["row"].clone())),
                _ => drop(rows.remove(&at)),
            }
        }
        // Windows that are gone at the seam are told of by nobody.
        rows.retain(|at, _| !at.contains("tens"));
        rows
    });
    assert!(rows[0].len() > 30);
    assert!(rows.iter().all(|other| *other == rows[0]), "{rows:#?}");
}

/// A run that goes on from its checkpoint, by another number of workers, makes what one run makes.
#[test]
fn a_run_in_parts_makes_what_one_run_makes() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 3_000, 1);
    run_to_end(&path, "1");
    let parts = tempfile::tempdir().unwrap();
    let path = write(parts.path(), 3_000, 1);
    let logs = ["pay/stream0", "pay/stream1", "shops/stream0", "shops/stream1"]
        .map(|log| parts.path().join(format!("{log}.jsonl")))
        .map(|log| (std::fs::read_to_string(&log).unwrap(), log));
    let mut went_on = 0;
    for (until, workers) in [(15, "2"), (19, "1"), (24, "3"), (1_000, "2")] {
        for (text, log) in &logs {
            let is_there = |line: &&str| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["a"].as_i64().unwrap() <= START + until * SECOND
            };
            let some: Vec<&str> = text.lines().filter(is_there).collect();
            std::fs::write(log, some.join("\n") + "\n").unwrap();
        }
        let ran = finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
        went_on += usize::from(ran.stderr.contains("going on from a checkpoint at T"));
    }
    assert_eq!(went_on, 3, "parts go on from checkpoints");
    assert!(changes(dir.path()) == changes(parts.path()), "changes of one run and of four");
    assert_eq!(dead_letters(dir.path()), dead_letters(parts.path()));
}

/// The same job in SQL: a join with a group is the row just before.
#[test]
fn a_join_is_a_lookup() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 300, 1);
    run_to_end(&path, "1");
    let whole = changes(dir.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find("[features.tens]").unwrap();
    let end = begin + text[begin..].find("[sinks.changes]").unwrap();
    let sql = r#"[features.tens]
sql = """
SELECT shop, COUNT(h.n) AS n, MAX(h.spent_10s) AS most
FROM pay LEFT JOIN cards AS h ON h.card = pay.card
GROUP BY shop, TUMBLE(ts, INTERVAL '10 seconds')
"""
"#;
    std::fs::write(&path, text[..begin].to_owned() + sql + &text[end..]).unwrap();
    run_to_end(&path, "1");
    assert!(whole == changes(dir.path()), "in SQL it is the same");
}
