//! Views: rows that are at every tick what their query gives over the rows of others, whoever makes them and however often that is interrupted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::*;

/// Payments of cards in shops; what shops are is in a table.
const JOB: &str = r#"
name = "views"
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
key = "card"
[features.cards.columns]
n = { agg = "count", windows = ["5s", "all"] }
spent = { agg = "sum", of = "x", windows = ["5s", "all"] }
shop = { agg = "last", of = "shop", window = "all" }
[features.by_shop]
source = "pay"
key = "shop"
columns = { n = { agg = "count", window = "5s" }, cards = { agg = "count_distinct", of = "card", window = "30s" } }
[features.tens]
source = "pay"
key = "card"
window = { tumbling = "10s" }
retain = "25s"
columns = { n = { agg = "count" } }
[views.at_shops]
key = "card"
sql = """
SELECT c.card, c.shop, c.spent_5s, c.spent_all, s.n AS busy, t.owner, 100 / (t.rate - 1) AS odd
FROM cards AS c
JOIN by_shop AS s ON c.shop = s.shop
LEFT JOIN shops AS t ON c.shop = t.shop
"""
[views.owners]
key = "owner"
sql = """
SELECT owner, count(*) AS cards, sum(spent_5s) AS spent, max(card) AS newest, avg(busy) AS busy
FROM at_shops WHERE owner IS NOT NULL GROUP BY owner HAVING count(*) > 1
"""
[views.best]
key = ["shop", "place"]
sql = """
SELECT shop, place, card, spent_all FROM (
  SELECT *, row_number() OVER (PARTITION BY shop ORDER BY spent_all DESC) AS place FROM at_shops
) AS q WHERE place <= 2
"""
[views.windows]
key = "card"
sql = "SELECT card, count(*) AS n, sum(n) AS events, max(window_end) AS newest FROM tens GROUP BY card"
[views.total]
key = "k"
sql = "SELECT 'all' AS k, count(*) AS cards, sum(spent_all) AS spent FROM cards"
[views.quiet]
key = "shop"
sql = "SELECT shop FROM shops EXCEPT SELECT shop FROM by_shop"
[sinks.online]
type = "embedded"
"#;

const VIEWS: [&str; 6] = ["at_shops", "owners", "best", "windows", "total", "quiet"];

fn write(dir: &Path, events: usize) -> PathBuf {
    let mut random = StdRng::seed_from_u64(11);
    let (mut now, mut pay, mut shops) = (START, vec![], vec![]);
    let late = |random: &mut StdRng| if random.random_bool(0.2) { random.random_range(0..30 * SECOND) } else { 0 };
    for _ in 0..events {
        now += random.random_range(0..40_000);
        let (card, shop) = (random.random_range(0..20), random.random_range(0..6));
        let (ts, x) = (now - late(&mut random), random.random_range(0..9));
        let line = json!({ "ts": ts, "a": now, "card": format!("c{card}"), "shop": format!("s{shop}"), "x": x });
        pay.push((card % 2, line));
        if random.random_bool(0.1) {
            let (shop, rate) = (random.random_range(0..8usize), random.random_range(-1..5));
            let (ts, owner) = (now - late(&mut random), format!("o{}", random.random_range(0..3)));
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

fn run_to_end(path: &Path, workers: &str) {
    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
}

/// The rows of every view as stores have them, with when they changed last.
fn exports(path: &Path) -> String {
    VIEWS.map(|view| finish(run(&["export", path.to_str().unwrap(), view]), 0).stdout).concat()
}

#[test]
fn any_number_of_workers_makes_the_same_rows() {
    let outputs = ["1", "3"].map(|workers| {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 2_000);
        run_to_end(&path, workers);
        (changes(dir.path()), exports(&path))
    });
    for view in VIEWS {
        let lines = outputs[0].0.lines().filter(|line| line.contains(&format!("\"features\":\"{view}\""))).count();
        assert!(lines > 1, "{view} has {lines} changes");
    }
    assert!(outputs[0].0 == outputs[1].0, "changes by one worker and by three");
    assert_eq!(outputs[0].1, outputs[1].1);
}

/// What is there at a time, by group or view and key (with the window's start, where there is one).
type Rows = BTreeMap<String, BTreeMap<String, (Value, Value)>>;

/// At every tick a view is what its query gives over what the groups have at that tick.
#[test]
fn at_every_tick_views_are_of_what_they_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 1_500);
    run_to_end(&path, "2");
    let lines = json_lines(&changes(dir.path()));
    let mut rows = Rows::new();
    let mut looked = 0;
    for tick in lines.chunk_by(|a, b| a["time"] == b["time"]) {
        for line in tick {
            let key = format!("{}{}", line["key"], line["window"]);
            let of = rows.entry(line["features"].as_str().unwrap().to_owned()).or_default();
            match line["diff"].as_i64() {
                Some(1) => assert!(of.insert(key, (line["key"].clone(), line["row"].clone())).is_none(), "{line}"),
                _ => assert_eq!(of.remove(&key).map(|(_, row)| row), Some(line["row"].clone()), "{line}"),
            }
        }
        looked += check_views(&rows, &tick[0]["time"]);
    }
    assert!(looked > 300, "{looked} ticks");
}

/// Views that no table is a part of, worked out from the groups. (Windowed rows leave a view without a word in the changelog.)
fn check_views(rows: &Rows, time: &Value) -> usize {
    let of = |name: &str| rows.get(name).cloned().unwrap_or_default();
    let (cards, by_shop, at_shops) = (of("cards"), of("by_shop"), of("at_shops"));
    // A view begins with the table that it reads.
    if at_shops.is_empty() {
        return 0;
    }
    let shop_of = |row: &Value| by_shop.get(&format!("{}null", json!({ "shop": row["shop"] }))).cloned();
    let joined: BTreeMap<String, Value> = cards
        .iter()
        .filter_map(|(key, (_, row))| {
            let (_, shop) = shop_of(row)?;
            Some((key.clone(), json!([row["shop"], row["spent_5s"], row["spent_all"], shop["n"]])))
        })
        .collect();
    let found: BTreeMap<String, Value> = at_shops
        .iter()
        .map(|(key, (_, row))| (key.clone(), json!([row["shop"], row["spent_5s"], row["spent_all"], row["busy"]])))
        .collect();
    assert_eq!(found, joined, "at_shops at {time}");
    let total: Vec<&Value> = cards.values().map(|(_, row)| &row["spent_all"]).collect();
    let sum: i64 = total.iter().filter_map(|spent| spent.as_i64()).sum();
    let found: Vec<Value> = of("total").into_values().map(|(_, row)| row).collect();
    assert_eq!(found, [json!({ "cards": total.len(), "spent": sum })], "total at {time}");
    let mut owners: BTreeMap<String, (i64, i64, bool)> = BTreeMap::new();
    for (_, row) in at_shops.values().filter(|(_, row)| !row["owner"].is_null()) {
        let entry = owners.entry(row["owner"].to_string()).or_default();
        *entry = (entry.0 + 1, entry.1 + row["spent_5s"].as_i64().unwrap_or(0), entry.2 | !row["spent_5s"].is_null());
    }
    owners.retain(|_, owner| owner.0 > 1);
    let found: BTreeMap<String, (i64, i64, bool)> = of("owners")
        .into_values()
        .map(|(key, row)| {
            let spent = row["spent"].as_i64();
            (key["owner"].to_string(), (row["cards"].as_i64().unwrap(), spent.unwrap_or(0), spent.is_some()))
        })
        .collect();
    assert_eq!(found, owners, "owners at {time}");
    let mut best: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for (key, row) in at_shops.values() {
        let spent = row["spent_all"].as_i64().unwrap_or(i64::MAX);
        best.entry(row["shop"].to_string()).or_default().push((-spent, key["card"].to_string()));
    }
    let places = best.into_iter().flat_map(|(shop, mut all)| {
        all.sort();
        (1..).zip(all).take(2).map(move |(place, (_, card))| (format!("{shop} {place}"), card)).collect::<Vec<_>>()
    });
    let found: BTreeMap<String, String> = of("best")
        .into_values()
        .map(|(key, row)| (format!("{} {}", key["shop"], key["place"]), row["card"].to_string()))
        .collect();
    assert_eq!(found, places.collect(), "best at {time}");
    1
}

/// What comes of the job where its streams grow from part to part. Each part is killed, so many times, once it has a checkpoint more, and
/// then run to its end, by another number of workers.
fn in_parts(dir: &Path, kills: usize) -> PathBuf {
    let path = write(dir, 2_000);
    let logs = ["pay/stream0", "pay/stream1", "shops/stream0", "shops/stream1"]
        .map(|log| dir.join(format!("{log}.jsonl")))
        .map(|log| (std::fs::read_to_string(&log).unwrap(), log));
    let mut went_on = 0;
    for (until_s, workers) in [(24, "2"), (29, "1"), (34, "3"), (1_000, "2")] {
        for (text, log) in &logs {
            let is_there = |line: &&str| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["a"].as_i64().unwrap() <= START + until_s * SECOND
            };
            let some: Vec<&str> = text.lines().filter(is_there).collect();
            std::fs::write(log, some.join("\n") + "\n").unwrap();
        }
        for _ in 0..kills {
            let mut running = run(&["run", path.to_str().unwrap(), "--until-end", "--workers", "2"]);
            let before = newest_checkpoint(&dir.join("state"));
            until("a checkpoint more, or the end", || {
                let is_new = newest_checkpoint(&dir.join("state")) > before;
                (is_new || !running.is_running()).then_some(())
            });
            running.kill();
        }
        let ran = finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
        went_on += usize::from(ran.stderr.contains("going on from a checkpoint at T"));
    }
    assert!(went_on >= 3, "parts go on from checkpoints: {went_on}");
    path
}

/// Also when rows had changed last is what it was, wherever the run was stopped.
#[test]
fn a_run_in_parts_makes_what_one_run_makes() {
    let whole = tempfile::tempdir().unwrap();
    let path = write(whole.path(), 2_000);
    run_to_end(&path, "1");
    for kills in [0, 2] {
        let dir = tempfile::tempdir().unwrap();
        let parts = in_parts(dir.path(), kills);
        assert!(
            changes(whole.path()) == changes(dir.path()),
            "changes of one run and of parts, killed {kills} times each"
        );
        assert_eq!(exports(&path), exports(&parts), "killed {kills} times each");
    }
}

/// A view that is changed is another one: stores and changelog have what it means now. What it reads goes on.
#[test]
fn a_view_that_is_changed() {
    const CHANGED: &str = r#"
name = "changed"
tick = "1s"
[sources.pay]
event_time = "ts"
schema = { ts = "timestamp", card = "string", x = "int64" }
stream = { type = "jsonl", path = "pay.jsonl" }
[features.cards]
source = "pay"
key = "card"
columns = { n = { agg = "count", windows = ["10s", "all"] }, x = { agg = "sum", of = "x", window = "all" } }
[views.total]
key = "k"
sql = "SELECT 'all' AS k, count(*) AS n FROM cards"
[sinks.online]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.toml");
    let payment = |at: i64, card: &str, x: i64| {
        json!({ "ts": (START + at * SECOND) / 1000, "card": card, "x": x }).to_string() + "\n"
    };
    let first = payment(0, "a", 1) + &payment(1, "b", 2) + &payment(5, "a", 3);
    std::fs::write(dir.path().join("pay.jsonl"), &first).unwrap();
    std::fs::write(&path, CHANGED).unwrap();
    run_to_end(&path, "1");
    std::fs::write(dir.path().join("pay.jsonl"), first + &payment(8, "c", 4)).unwrap();
    std::fs::write(&path, CHANGED.replace("count(*) AS n", "count(*) AS n, sum(x) AS x")).unwrap();
    let ran = finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    assert!(ran.stderr.contains("going on from a checkpoint at T"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the changelog begins anew"), "{}", ran.stderr);
    let row: Value =
        serde_json::from_str(&finish(run(&["get", path.to_str().unwrap(), "total", "k=all"]), 0).stdout).unwrap();
    assert_eq!(row["row"], json!({ "n": 3, "x": 10 }));
    let lines = json_lines(&changes(dir.path()));
    let anew = lines.iter().rposition(|line| line["resume"] == Value::Null && line.get("resume").is_some()).unwrap();
    let of_view = lines[anew..].iter().filter(|line| line["features"] == "total");
    let told: Vec<(i64, Value)> = of_view.map(|line| (line["diff"].as_i64().unwrap(), line["row"].clone())).collect();
    let (two, three) = (json!({ "n": 2, "x": 6 }), json!({ "n": 3, "x": 10 }));
    assert_eq!(told, [(1, two.clone()), (-1, two), (1, three)]);
}

/// What a user asks of views: what they are, their rows, how they are.
#[test]
fn views_are_told_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 500);
    let job = path.to_str().unwrap();
    let checked = finish(run(&["check", job]), 0).stdout;
    assert!(checked.contains("view owners, of at_shops"), "{checked}");
    assert!(checked.contains("spent   int64"), "{checked}");
    run_to_end(&path, "2");
    let row: Value = serde_json::from_str(&finish(run(&["get", job, "total", "k=all"]), 0).stdout).unwrap();
    assert_eq!((&row["key"], &row["row"]["cards"]), (&json!({ "k": "all" }), &json!(20)));
    let parquet = dir.path().join("owners.parquet");
    finish(run(&["export", job, "at_shops", "--out", parquet.to_str().unwrap()]), 0);
    assert!(parquet.metadata().unwrap().len() > 0);
    let told = finish(run(&["catalog", job, "--search", "newest"]), 0).stdout;
    assert!(told.contains("view owners") && told.contains("of        at_shops, by owner"), "{told}");
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 10);
    for (from, to, expected) in [
        (
            "HAVING count(*) > 1\n",
            "HAVING median(n) > 1\n",
            "job.toml:52:61: error: the aggregate `median` is not supported: did you mean `approx_percentile(value, 0.5)`?",
        ),
        (
            "FROM tens GROUP BY card",
            "FROM ten GROUP BY card",
            "error: `ten` is no group, table or view: did you mean `tens`?",
        ),
        (
            "key = \"owner\"",
            "key = \"cards\"",
            "error: it does not follow that `key` tells the rows apart: what tells rows apart is `owner`",
        ),
        ("FROM at_shops WHERE owner", "FROM best WHERE owner", "unknown column `owner`"),
        ("'all' AS k, count(*)", "'all' AS k, now() AS t, count(*)", "`now` is not allowed"),
        (
            "FROM cards AS c\n",
            "FROM best AS c\n",
            "error: views and links must not go in circles: at_shops reads best reads at_shops",
        ),
        ("[views.quiet]", "[views.cards]", "error: view `cards` has the name of a feature group"),
    ] {
        let text = JOB.replacen(from, to, 1);
        assert_ne!(text, JOB, "{from}");
        std::fs::write(&path, text).unwrap();
        let said = finish(run(&["check", path.to_str().unwrap()]), 2).stderr;
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}
