//! Lookups in tables: what an event meets is what was true at its time, and a fact that comes late corrects what it was a part of.

use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::backfill::read_table;
use crate::support::*;

/// The worked example of docs/collections.md.
const EXAMPLE: &str = r#"
name = "example"
tick = "1s"
[sources.payments]
event_time = "ts"
arrival_time = "a"
schema = { ts = "timestamp", a = "timestamp", card = "string", merchant = "string", amount = "int64" }
stream = { type = "jsonl", path = "payments.jsonl" }
[tables.merchants]
key = "merchant"
event_time = "ts"
arrival_time = "a"
deleted = "gone"
schema = { ts = "timestamp", a = "timestamp", merchant = "string", r = "int64", gone = "bool" }
stream = { type = "jsonl", path = "merchants.jsonl" }
[features.cards]
source = "payments"
lookup.m = { table = "merchants", on = "merchant" }
key = "card"
[features.cards.columns]
spend = { agg = "sum", of = "amount * m.r", window = "1h" }
n = { agg = "count", window = "1h" }
"#;

fn at(time: &str) -> String {
    format!("2026-01-05T{time}:00Z")
}

#[test]
fn a_version_that_comes_late_corrects_what_it_concerns() {
    let dir = tempfile::tempdir().unwrap();
    let payment = |ts, amount| {
        json!({ "ts": at(ts), "a": at(ts), "card": "c", "merchant": "m1", "amount": amount }).to_string() + "\n"
    };
    let version = |ts, a, r: Value, gone| {
        json!({ "ts": at(ts), "a": at(a), "merchant": "m1", "r": r, "gone": gone }).to_string() + "\n"
    };
    // The last one, of another card, only tells the time.
    let later = payment("12:00", 0).replace("\"c\"", "\"other\"");
    let payments = payment("10:10", 10) + &payment("10:20", 5) + &payment("10:55", 1) + &later;
    let versions = version("09:00", "09:00", 2.into(), false)
        + &version("10:15", "10:40", 3.into(), false)
        + &version("10:30", "10:50", Value::Null, true);
    std::fs::write(dir.path().join("payments.jsonl"), payments).unwrap();
    std::fs::write(dir.path().join("merchants.jsonl"), versions).unwrap();
    let path = dir.path().join("job.toml");
    std::fs::write(&path, EXAMPLE.to_owned() + OUTPUTS).unwrap();
    run_to_end(&path, "2");
    let told = |line: &Value| {
        let row = |name: &str| line["row"][name].as_i64();
        (line["key"]["card"] == "c").then(|| {
            let time = line["time"].as_str().unwrap()[11..16].to_owned();
            (time, line["diff"].as_i64().unwrap(), row("spend"), row("n").unwrap())
        })
    };
    let found: Vec<_> = json_lines(&changes(dir.path())).iter().filter_map(told).collect();
    let expected = [
        ("10:10", 1, Some(20), 1),
        ("10:20", -1, Some(20), 1),
        ("10:20", 1, Some(30), 2),
        ("10:40", -1, Some(30), 2),
        ("10:40", 1, Some(35), 2),
        ("10:55", -1, Some(35), 2),
        ("10:55", 1, Some(35), 3),
        ("11:10", -1, Some(35), 3),
        ("11:10", 1, Some(15), 2),
        ("11:20", -1, Some(15), 2),
        ("11:20", 1, None, 1),
        ("11:55", -1, None, 1),
    ];
    let expected: Vec<_> = expected.iter().map(|(t, diff, spend, n)| ((*t).to_owned(), *diff, *spend, *n)).collect();
    assert_eq!(found, expected);
    let checked = finish(run(&["check", path.to_str().unwrap()]), 0).stdout;
    assert!(checked.contains("looked up in table merchants"), "{checked}");
}

/// Payments of cards with shops whose rates and owners change, now and then late; by every kind of window.
const JOB: &str = r#"
name = "lookups"
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
lateness = "40s"
deleted = "rate < 0"
schema = { ts = "timestamp", a = "timestamp", shop = "string", rate = "int64", owner = "string", p = "int32", o = "int64" }
history = { type = "jsonl", path = "shops/history.jsonl" }
stream = { type = "jsonl", path = "shops/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[features.cards]
source = "pay"
lookup.s = { table = "shops", on = "shop" }
key = "card"
where = "s.rate IS NULL OR s.rate <> 2"
[features.cards.columns]
spent = { agg = "sum", of = "x * s.rate", windows = ["10s", "all"] }
most = { agg = "max", of = "s.rate", windows = ["10s", "all"] }
owners = { agg = "count_distinct", of = "s.owner", windows = ["30s", "all"] }
rates = { agg = "last_n", n = 3, of = "s.rate", window = "30s" }
odd = { agg = "sum", of = "100 / (s.rate - 3)", window = "1m" }
[features.owners]
source = "pay"
lookup.s = { table = "shops", on = "shop" }
key = "s.owner"
columns = { n = { agg = "count", windows = ["10s", "all"] }, first = { agg = "first", of = "card", window = "all" } }
[features.tens]
source = "pay"
lookup.s = { table = "shops", on = "shop" }
key = "s.owner"
window = { tumbling = "10s" }
columns = { n = { agg = "count" }, mode = { agg = "mode", of = "s.rate" } }
[features.plain]
source = "pay"
key = "card"
columns = { n = { agg = "count", windows = ["10s"] }, odd = { agg = "sum", of = "100 / (x - 3)", window = "1m" } }
"#;

fn write(dir: &Path, events: usize) -> PathBuf {
    let mut random = StdRng::seed_from_u64(7);
    let (mut now, mut pay, mut shops) = (START, vec![], vec![]);
    let late = |random: &mut StdRng| if random.random_bool(0.3) { random.random_range(0..50 * SECOND) } else { 0 };
    for _ in 0..events {
        now += random.random_range(0..20_000);
        let (card, shop) = (random.random_range(0..30), random.random_range(0..8));
        let (ts, x) = (now - late(&mut random), random.random_range(0..9));
        pay.push((
            card % 2,
            json!({ "ts": ts, "a": now, "card": format!("c{card}"), "shop": format!("s{shop}"), "x": x }),
        ));
        if random.random_bool(0.1) {
            let (shop, rate) = (random.random_range(0..8usize), random.random_range(-1..5));
            let (ts, owner) = (now - late(&mut random), format!("o{}", random.random_range(0..4)));
            let line = json!({ "ts": ts, "a": now, "shop": format!("s{shop}"), "rate": rate, "owner": owner });
            shops.push((shop % 2, line));
        }
    }
    write_log(&dir.join("pay"), &pay, pay.len() / 3);
    write_log(&dir.join("shops"), &shops, shops.len() / 2);
    let path = dir.join("job.toml");
    std::fs::write(&path, [JOB, OUTPUTS, CHECKPOINTS].concat()).unwrap();
    path
}

/// A price announced for a time that lies behind the table's history, and before the end of the events'.
#[test]
fn a_version_that_was_announced_is_there_from_its_time_on() {
    let dir = tempfile::tempdir().unwrap();
    let of = |ts, a, of: Value| {
        let mut record = json!({ "ts": at(ts), "a": at(a), "merchant": "m1" });
        record.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        record.to_string() + "\n"
    };
    let payment = |ts, amount: i64| of(ts, ts, json!({ "card": "c", "amount": amount }));
    let version = |ts, a, r: i64| of(ts, a, json!({ "r": r, "gone": false }));
    std::fs::write(dir.path().join("payments.jsonl"), payment("10:10", 10) + &payment("10:55", 1)).unwrap();
    std::fs::write(dir.path().join("merchants.jsonl"), version("09:00", "09:00", 2) + &version("10:50", "10:40", 3))
        .unwrap();
    let path = dir.path().join("job.toml");
    std::fs::write(&path, EXAMPLE.replace("stream = {", "history = {") + OUTPUTS).unwrap();
    run_to_end(&path, "2");
    let told = changes(dir.path());
    let rows: Vec<Value> =
        told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["row"].clone()).collect();
    assert_eq!(rows, [json!({ "spend": 23, "n": 2 })], "{told}");
}

#[test]
fn any_number_of_workers_makes_the_same_rows() {
    let outputs = ["1", "3"].map(|workers| {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 4_000);
        run_to_end(&path, workers);
        (changes(dir.path()), dead_letters(dir.path()))
    });
    assert!(outputs[0].0.lines().count() > 5_000, "there are changes");
    assert!(outputs[0].0 == outputs[1].0, "changes by one worker and by three");
    assert_eq!(outputs[0].1, outputs[1].1, "dead letters by one worker and by three");
    let letters = &outputs[0].1;
    let mut records: Vec<String> = letters
        .iter()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            format!("{} {} {} {}", line["source"], line["reason"], line["partition"], line["offset"])
        })
        .collect();
    records.sort_unstable();
    records.dedup();
    assert_eq!(records.len(), letters.len(), "a record is a dead letter once for each reason");
    assert!(letters.iter().any(|line| line.contains("expression")) && letters.iter().any(|line| line.contains("late")));
}

/// One who starts later finds a history that ends later; from its seam on the rows are the same.
#[test]
fn wherever_the_histories_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 2_000);
    run_to_end(&path, "1");
    let whole = changes(dir.path());
    let other = tempfile::tempdir().unwrap();
    let again = write(other.path(), 2_000);
    let read = |dir: &Path, name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    for table in ["pay", "shops"] {
        let streams: String = ["0", "1"].map(|p| read(other.path(), &format!("{table}/stream{p}.jsonl"))).concat();
        let some: Vec<&str> = streams
            .lines()
            .filter(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["a"].as_i64().unwrap() < START + 12 * SECOND
            })
            .collect();
        std::fs::write(other.path().join(format!("{table}/history.jsonl")), some.join("\n") + "\n").unwrap();
    }
    run_to_end(&again, "2");
    let cut = changes(other.path());
    let last = |text: &str| {
        let lines = json_lines(text);
        let mut rows = std::collections::BTreeMap::new();
        for line in lines {
            let at = format!("{} {} {}", line["features"], line["key"], line["window"]);
            match line["diff"].as_i64() {
                Some(1) => drop(rows.insert(at, line["row"].clone())),
                _ => drop(rows.remove(&at)),
            }
        }
        rows.retain(|at, _| !at.contains("tens"));
        rows
    };
    assert_eq!(last(&whole), last(&cut));
}

/// A run that goes on from its checkpoint, by another number of workers, makes what one run makes.
#[test]
fn a_run_in_parts_makes_what_one_run_makes() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 4_000);
    run_to_end(&path, "1");
    let parts = tempfile::tempdir().unwrap();
    let path = write(parts.path(), 4_000);
    let logs = ["pay/stream0", "pay/stream1", "shops/stream0", "shops/stream1"]
        .map(|log| parts.path().join(format!("{log}.jsonl")))
        .map(|log| (std::fs::read_to_string(&log).unwrap(), log));
    let mut went_on = 0;
    for (until, workers) in [(22, "2"), (27, "1"), (31, "3"), (1_000, "2")] {
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

const OF_TOPIC: &str = r#"
name = "{NAME}"
tick = "1s"
[sources.payments]
event_time = "ts"
lateness = "1h"
schema = { ts = "timestamp", merchant = "string", amount = "int64" }
stream = { type = "jsonl", path = "payments.jsonl" }
[tables.merchants]
key = "merchant"
schema = { merchant = "string", r = "int64" }
stream = { type = "kafka", brokers = "{BROKERS}", topic = "{TOPIC}" }
[features.all]
source = "payments"
lookup.m = { table = "merchants", on = "merchant" }
key = "merchant"
columns = { rates = { agg = "last_n", n = 9, of = "m.r", window = "all" }, n = { agg = "count", window = "all" } }
"#;

/// A table from a topic: its versions are in force from when they were written on, and records without a value remove rows.
#[test]
fn a_table_from_a_topic() {
    let case = need!(Case::new("table_topic"));
    let topic = Topic::new(&case.kafka, &case.name, 1);
    let minute = |minute: i64| START + minute * MINUTE;
    let version = |key: &str, r: Option<i64>, at: i64| {
        let value = r.map(|r| json!({ "merchant": key, "r": r }).to_string());
        topic.send_with_key(0, (Some(key.as_bytes()), value.as_ref().map(String::as_bytes)), minute(at));
    };
    version("a", Some(1), 0);
    version("17", Some(2), 0);
    version("a", Some(3), 10);
    version("a", None, 20);
    topic.send_with_key(0, (None, None), minute(21));
    version("17", None, 25);
    version("a", Some(4), 30);
    version("z", Some(0), 60);
    topic.flush();
    // The last ones tell how late it is.
    let payments = [("a", 5), ("17", 6), ("a", 15), ("a", 25), ("17", 24), ("17", 26), ("a", 35), ("z", 61)];
    let line = |(merchant, at): (&str, i64)| {
        json!({ "ts": minute(at) / 1000, "merchant": merchant, "amount": 1 }).to_string() + "\n"
    };
    std::fs::write(case.path("payments.jsonl"), payments.map(line).concat()).unwrap();
    let job = case.job("job.toml", &(OF_TOPIC.to_owned() + OUTPUTS));
    run_to_end(&job, "2");
    let mut rows = std::collections::BTreeMap::new();
    for line in case.lines("changes.jsonl").iter().filter(|line| line["diff"] == 1) {
        rows.insert(line["key"]["merchant"].as_str().unwrap().to_owned(), line["row"].clone());
    }
    assert_eq!(rows["a"], json!({ "rates": [4, 3, 1], "n": 4 }));
    assert_eq!(rows["17"], json!({ "rates": [2, 2], "n": 3 }));
    let letters = case.lines("dead_letters.jsonl");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((&letters[0]["reason"], &letters[0]["offset"]), (&json!("malformed"), &json!(4)));
}

/// Orders of several items, of which each looks up for itself: in a table, and in the rows of another group.
const OF_ITEMS: &str = r#"
name = "items"
tick = "1s"
[sources.orders]
event_time = "ts"
arrival_time = "a"
schema = { ts = "timestamp", a = "timestamp", id = "int64", items = "list<struct<sku: string, n: int64>>" }
stream = { type = "jsonl", path = "orders.jsonl" }
[tables.prices]
key = "sku"
event_time = "ts"
arrival_time = "a"
schema = { ts = "timestamp", a = "timestamp", sku = "string", price = "int64" }
stream = { type = "jsonl", path = "prices.jsonl" }
[features.met]
source = "orders"
explode = "items"
lookup.h = { features = "skus", on = "item.sku" }
key = "item.sku"
columns = { n = { agg = "count", window = "all" }, seen = { agg = "sum", of = "h.n", window = "all" } }
[features.skus]
source = "orders"
explode = "items"
lookup.p = { table = "prices", on = "item.sku" }
key = "item.sku"
columns = { n = { agg = "count", window = "all" }, spend = { agg = "sum", of = "item.n * p.price", window = "all" } }
[features.totals]
source = "orders"
explode = "items"
lookup.p = { table = "prices", on = "item.sku" }
key = "id"
columns = { spend = { agg = "sum", of = "item.n * p.price", window = "all" } }
"#;

#[test]
fn each_element_of_a_list_looks_up_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let order = |id: i64, time: &str, items: Value| {
        json!({ "ts": at(time), "a": at(time), "id": id, "items": items }).to_string() + "\n"
    };
    let price = |ts, a, sku, price| json!({ "ts": at(ts), "a": at(a), "sku": sku, "price": price }).to_string() + "\n";
    let item = |sku: &str, n: i64| json!({ "sku": sku, "n": n });
    let orders = [
        order(1, "10:10", json!([item("x", 2), item("y", 1), item("x", 1)])),
        order(2, "10:20", json!([])),
        order(3, "10:30", json!("none")),
        order(4, "10:50", json!([item("x", 1), item("y", 1)])),
    ];
    let prices = price("09:00", "09:00", "x", 3) + &price("09:00", "09:00", "y", 5);
    // It comes late, and concerns two of the first order's items.
    let prices = [prices, price("10:05", "10:40", "x", 4)];
    let path = dir.path().join("job.toml");
    std::fs::write(&path, [OF_ITEMS, OUTPUTS, CHECKPOINTS].concat()).unwrap();
    let write = |orders: &[String], prices: &[String]| {
        std::fs::write(dir.path().join("orders.jsonl"), orders.concat()).unwrap();
        std::fs::write(dir.path().join("prices.jsonl"), prices.concat()).unwrap();
    };
    let told = |line: &Value| {
        let (time, of) = (&line["time"].as_str().unwrap()[11..16], line["features"].as_str().unwrap());
        (line["diff"] == 1).then(|| format!("{time} {of} {} {}", line["key"], line["row"]))
    };
    let expected = [
        r#"10:10 met {"sku":"x"} {"n":2,"seen":null}"#,
        r#"10:10 met {"sku":"y"} {"n":1,"seen":null}"#,
        r#"10:10 skus {"sku":"x"} {"n":2,"spend":9}"#,
        r#"10:10 skus {"sku":"y"} {"n":1,"spend":5}"#,
        r#"10:10 totals {"id":1} {"spend":14}"#,
        r#"10:40 skus {"sku":"x"} {"n":2,"spend":12}"#,
        r#"10:40 totals {"id":1} {"spend":17}"#,
        r#"10:50 met {"sku":"x"} {"n":3,"seen":2}"#,
        r#"10:50 met {"sku":"y"} {"n":2,"seen":1}"#,
        r#"10:50 skus {"sku":"x"} {"n":3,"spend":16}"#,
        r#"10:50 skus {"sku":"y"} {"n":2,"spend":10}"#,
        r#"10:50 totals {"id":4} {"spend":9}"#,
    ];
    let check = || {
        let found: Vec<String> = json_lines(&changes(dir.path())).iter().filter_map(told).collect();
        assert_eq!(found, expected);
        let letters = json_lines(&dead_letters(dir.path()).join("\n"));
        let letters: Vec<_> =
            letters.iter().map(|of| (of["reason"].as_str().unwrap(), of["offset"].as_i64())).collect();
        assert_eq!(letters, [("expression", Some(2))]);
    };
    write(&orders, &prices);
    for workers in ["1", "3"] {
        run_to_end(&path, workers);
        check();
    }
    // What a run goes on from holds the elements and what they have looked up.
    write(&orders[..2], &prices[..1]);
    run_to_end(&path, "2");
    write(&orders, &prices);
    let ran = finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", "3"]), 0);
    assert!(ran.stderr.contains("going on from a checkpoint at T"), "{}", ran.stderr);
    check();
    // So do training rows.
    let [spine, out] = ["spine.parquet", "out.parquet"].map(|file| dir.path().join(file));
    let labels = ["10:30", "10:45", "10:55"].map(|time| micros(&at(time)));
    write_columns(&spine, &[("sku", texts(&["x", "x", "y"])), ("t", times(&labels))]);
    let [job, spine, to] = [&path, &spine, &out].map(|path| path.to_str().unwrap());
    let ask = ["backfill", job, "--spine", spine, "--time", "t", "--features", "skus", "--out", to];
    finish(run(&ask), 0);
    let rows = read_table(&out);
    let column = |name: &str| rows[name].as_primitive::<Int64Type>().values().to_vec();
    assert_eq!((column("skus__n"), column("skus__spend")), (vec![2, 2, 2], vec![9, 12, 10]));
}

/// Of a source that no group reads only what has no event time is a dead letter; of a table that nobody reads whatever is wrong.
#[test]
fn what_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let job = r#"
name = "unread"
[sources.payments]
event_time = "ts"
schema = { ts = "timestamp", card = "string" }
stream = { type = "jsonl", path = "payments.jsonl" }
[sources.others]
event_time = "ts"
arrival_time = "a"
schema = { ts = "timestamp", a = "timestamp" }
history = { type = "jsonl", path = "others.history.jsonl" }
stream = { type = "jsonl", path = "others.jsonl" }
[tables.shops]
key = "shop"
event_time = "ts"
schema = { ts = "timestamp", shop = "string" }
stream = { type = "jsonl", path = "shops.jsonl" }
[features.cards]
source = "payments"
key = "card"
columns = { n = { agg = "count", window = "all" } }
"#;
    let write = |file: &str, lines: &[Value]| write_lines(&dir.path().join(file), lines);
    write("payments.jsonl", &[json!({ "ts": at("10:00"), "card": "c" })]);
    write("others.history.jsonl", &[json!({ "ts": at("10:00"), "a": at("10:00") }), json!({ "ts": "?" })]);
    // From the future, without a time, malformed.
    let future = json!({ "ts": at("23:00"), "a": at("10:10"), "shop": "s" });
    write("others.jsonl", &[future.clone(), json!({ "a": at("10:20") }), json!([])]);
    write("shops.jsonl", &[json!({ "ts": at("10:30"), "shop": null }), json!({ "shop": "s" }), json!("")]);
    let path = dir.path().join("job.toml");
    std::fs::write(&path, job.to_owned() + OUTPUTS).unwrap();
    run_to_end(&path, "2");
    let letters = json_lines(&dead_letters(dir.path()).join("\n"));
    let told = |of: &Value| format!("{} {} {}", of["source"], of["reason"], of["offset"]).replace('"', "");
    let mut letters: Vec<String> = letters.iter().map(told).collect();
    letters.sort();
    let expected = [
        "others malformed 2",
        "others malformed null",
        "others null event time 1",
        "shops malformed 2",
        "shops null event time 1",
        "shops null key 0",
    ];
    assert_eq!(letters, expected);
    let checked = finish(run(&["check", path.to_str().unwrap()]), 0).stdout;
    assert!(checked.contains("no group reads it: it moves T, and of its records only those"), "{checked}");
    assert!(checked.contains("nobody reads it: it moves T, and its dead letters are told"), "{checked}");
}

/// A key's own partition is that in which it came first, also where the history of another one already has it.
#[test]
fn a_key_that_came_first_in_what_the_history_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let job = r#"
name = "moved"
[sources.payments]
event_time = "ts"
schema = { ts = "timestamp", shop = "string" }
history = { type = "jsonl", path = "payments.jsonl" }
[tables.shops]
key = "shop"
event_time = "ts"
schema = { ts = "timestamp", shop = "string", rate = "int64", p = "int32", o = "int64" }
history = { type = "jsonl", path = "shops/history.jsonl" }
stream = { type = "jsonl", path = "shops/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[features.met]
source = "payments"
lookup.s = { table = "shops", on = "shop" }
key = "shop"
columns = { rates = { agg = "last_n", n = 9, of = "s.rate", window = "all" } }
"#;
    let version = |ts: &str, rate: i64| json!({ "ts": at(ts), "shop": "s", "rate": rate });
    let mut in_history = version("10:20", 1);
    (in_history["p"], in_history["o"]) = (0.into(), 0.into());
    std::fs::create_dir(dir.path().join("shops")).unwrap();
    let write = |file: &str, lines: &[Value]| write_lines(&dir.path().join(file), lines);
    write("shops/history.jsonl", &[in_history]);
    write("shops/stream0.jsonl", &[version("10:20", 1)]);
    write("shops/stream1.jsonl", &[version("10:10", 2)]);
    write("payments.jsonl", &[json!({ "ts": at("10:15"), "shop": "s" }), json!({ "ts": at("10:30"), "shop": "s" })]);
    let path = dir.path().join("job.toml");
    std::fs::write(&path, job.to_owned() + OUTPUTS).unwrap();
    for workers in ["1", "3"] {
        run_to_end(&path, workers);
        let rows: Vec<Value> = json_lines(&changes(dir.path())).into_iter().map(|line| line["row"].clone()).collect();
        assert_eq!(rows, [json!({ "rates": [2, 2] })]);
        let letters = json_lines(&dead_letters(dir.path()).join("\n"));
        let letters: Vec<_> = letters.iter().map(|of| (of["reason"].as_str(), of["partition"].as_i64())).collect();
        assert_eq!(letters, [(Some("moved key"), Some(0))]);
    }
}

/// No key is longer than 32 KiB: a longer text finds nothing, and is not kept; nor is a row with such a key.
#[test]
fn a_long_text_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let event = |k: &str, n: usize| json!({ "ts": at("10:10"), "k": k, "n": n }).to_string() + "\n";
    let many = (0..3000).map(|n| event("m", 1_000_000 + n));
    let events = [event("a", 32 << 10), event("b", (32 << 10) + 1), event("c", 2_000_000)].into_iter().chain(many);
    std::fs::write(dir.path().join("events.jsonl"), events.collect::<String>()).unwrap();
    let row = |k: &str, n: usize| json!({ "k": k.repeat(n), "v": 1 }).to_string() + "\n";
    std::fs::write(dir.path().join("rows.jsonl"), row("a", 32 << 10) + &row("b", (32 << 10) + 1)).unwrap();
    let job = r#"
name = "long"
tick = "1s"
[sources.events]
event_time = "ts"
schema = { ts = "timestamp", k = "string", n = "int64" }
stream = { type = "jsonl", path = "events.jsonl" }
[tables.rows]
key = "k"
schema = { k = "string", v = "int64" }
history = { type = "jsonl", path = "rows.jsonl" }
[features.f]
source = "events"
lookup.r = { table = "rows", on = "repeat(k, n)" }
key = "k"
columns = { n = { agg = "count", window = "all" }, v = { agg = "sum", of = "r.v", window = "all" } }
"#;
    let path = dir.path().join("job.toml");
    std::fs::write(&path, job).unwrap();
    let path = path.to_str().unwrap();
    finish(run(&["run", path, "--until-end"]), 0);
    let rows = json_lines(&finish(run(&["export", path, "f"]), 0).stdout);
    let rows: Vec<String> = rows.iter().map(|row| format!("{} {}", row["key"]["k"], row["row"])).collect();
    let expected =
        [r#""a" {"n":1,"v":1}"#, r#""b" {"n":1,"v":null}"#, r#""c" {"n":1,"v":null}"#, r#""m" {"n":3000,"v":null}"#];
    assert_eq!(rows, expected);
    // One asks for more than a text may have, and one row of the table has a key that nobody can ask for.
    let letters = std::fs::read_to_string(dir.path().join(".headwater/long/dead_letters.jsonl")).unwrap();
    let mut letters: Vec<_> =
        json_lines(&letters).into_iter().map(|of| (of["source"].clone(), of["reason"].clone())).collect();
    letters.sort_by_key(|(source, _)| source.to_string());
    assert_eq!(letters, [("events".into(), "expression".into()), ("rows".into(), "long key".into())]);
}
