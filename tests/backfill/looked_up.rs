//! Groups that look up in tables: every row that runs have published, asked for at its tick, comes back to the bit. Versions come late, some
//! too late, some are removed and some have no time of their own; keys are out of tables, so that a version moves events from row to row.

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::as_served::{assert_same, cuts, published, run_to_end};
use super::data::{Event, Log, Order, Sides, job, log, write_history, write_stream};
use super::processes::same_bytes;
use super::served::{assert_served, begin, live_job_of};
use super::{backfill, ints, read_table, texts, times, write_table};
use crate::support::*;

/// `every` looks up a rate that has a past, and by it something that has none; `pairs` have the owner in their key.
const FEATURES: &str = r#"
[tables.rates]
key          = "word"
event_time   = "valid_from"
arrival_time = "arrived"
time_unit    = "us"
lateness     = "20m"
deleted      = "gone"
schema       = { word = "string", valid_from = "timestamp", arrived = "timestamp", rate = "int64", k = "string", gone = "bool" }
history      = { type = "jsonl", path = "rates/history.jsonl" }
stream       = { type = "jsonl", path = "rates/stream.jsonl" }
[tables.limits]
key          = "rate"
arrival_time = "arrived"
time_unit    = "us"
schema       = { rate = "int64", arrived = "timestamp", most = "float64" }
stream       = { type = "jsonl", path = "limits/stream.jsonl" }
[features.every]
source = "s"
lookup.r = { table = "rates", on = "m" }
lookup.l = { table = "limits", on = "r.rate" }
key = "k"
where = "r.rate is null or r.rate <> 2"
[features.every.columns]
n    = { agg = "count", windows = ["1m", "30m", "2h", "all"] }
s    = { agg = "sum", of = "x * r.rate", windows = ["1m", "2h", "all"] }
sf   = { agg = "sum", of = "f * l.most", windows = ["1m", "30m", "all"] }
low  = { agg = "min", of = "x - r.rate", windows = ["1m", "2h", "all"] }
high = { agg = "max", of = "r.k", windows = ["1m", "2h", "all"] }
vs   = { agg = "var_samp", of = "r.rate", windows = ["30m", "all"] }
fst  = { agg = "first", of = "r.rate", windows = ["1m", "2h", "all"] }
lst  = { agg = "last", of = "r.k", windows = ["1m", "2h", "all"] }
cd   = { agg = "count_distinct", of = "r.k", windows = ["1m", "2h", "all"] }
top  = { agg = "top_k", of = "r.rate", k = 2, windows = ["30m", "all"] }
md   = { agg = "mode", of = "r.k", windows = ["30m", "all"] }
ln   = { agg = "last_n", of = "r.rate", n = 3, windows = ["1m", "2h", "all"] }
acd  = { agg = "approx_count_distinct", of = "x + r.rate", windows = ["30m", "all"] }
p90  = { agg = "approx_percentile", of = "l.most", p = 0.9, windows = ["30m", "all"] }
dear = { agg = "count", where = "x > l.most", windows = ["30m", "all"] }
[features.every.derived]
each = "s_2h / nullif(n_2h, 0)"
[features.pairs]
source = "s"
lookup.r = { table = "rates", on = "m" }
key = ["q", "r.k"]
columns = { n = { agg = "count", windows = ["10m"] }, best = { agg = "max", of = "x * r.rate", windows = ["1h"] } }
"#;

/// A line of a table, and when it came.
type Line = (i64, String);

/// Versions of rates, which come when events do, and what is known of limits.
fn tables(log: &Log, seed: u64) -> (Vec<Line>, Vec<Line>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut arrivals: Vec<i64> = log.iter().flatten().map(|event| event.arrived).collect();
    arrivals.sort_unstable();
    let (mut rates, mut limits) = (vec![], vec![]);
    for (number, arrived) in arrivals.iter().enumerate().filter(|(number, _)| number % 5 == 0) {
        let word = ["a", "b", "long enough to lie elsewhere"][rng.random_range(0..3)];
        // By up to twice what is taken as it says.
        let late = [0, 0, 10, 600, 1_100, 2_400][rng.random_range(0..6)] * SECOND;
        let (rate, k) = (rng.random_range(1..5), ["k0", "k1", "k2"][rng.random_range(0..3)]);
        let gone = number > 0 && rng.random_bool(0.15);
        // A removal may have no time of its own.
        let from = if gone && rng.random_bool(0.5) { "null".to_owned() } else { (arrived - late).to_string() };
        let line = format!(
            "{{\"word\":{word:?},\"valid_from\":{from},\"arrived\":{arrived},\"rate\":{rate},\"k\":{k:?},\"gone\":{gone}}}\n"
        );
        rates.push((*arrived, line));
        if number % 15 == 0 {
            let most = rng.random_range(-20..80) as f64 / 8.0;
            limits.push((*arrived, format!("{{\"rate\":{rate},\"arrived\":{arrived},\"most\":{most:?}}}\n")));
        }
    }
    (rates, limits)
}

fn write_lines<'a>(path: &Path, lines: impl Iterator<Item = &'a Line>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, lines.map(|(_, line)| line.as_str()).collect::<String>()).unwrap();
}

/// What had come before some time is in histories, what came before another one in streams too.
fn write_tables(dir: &Path, (rates, limits): &(Vec<Line>, Vec<Line>), history: i64, stream: i64) {
    write_lines(&dir.join("rates/history.jsonl"), rates.iter().filter(|(arrived, _)| *arrived < history));
    write_lines(&dir.join("rates/stream.jsonl"), rates.iter().filter(|(arrived, _)| *arrived < stream));
    write_lines(&dir.join("limits/stream.jsonl"), limits.iter().filter(|(arrived, _)| *arrived < stream));
}

/// When the first record came that does not lie before some offsets.
fn begins(log: &Log, cuts: &[usize]) -> i64 {
    let rest = log.iter().zip(cuts).flat_map(|(records, cut)| &records[*cut..]);
    rest.map(|event| event.arrived).min().unwrap_or(i64::MAX)
}

#[test]
fn at_every_seam() {
    let log = log(13, 240, 3, 4);
    let tables = tables(&log, 1);
    let mut compared = 0;
    for (records, of_tables, workers) in [(1, 60, 1), (60, 10, 3), (121, 121, 1), (200, 230, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let at = cuts(&log, records);
        fs::write(dir.join("job.toml"), job(Sides::Both, FEATURES)).unwrap();
        write_history(dir, &log, &at, if workers == 1 { Order::Log } else { Order::Mixed });
        write_stream(dir, &log, None);
        write_tables(dir, &tables, begins(&log, &cuts(&log, of_tables)), i64::MAX);
        run_to_end(dir, &["--workers", &workers.to_string()]);
        compared += assert_same(dir, &published(dir, i64::MIN), 4 - workers, &format!("cut at {at:?}"));
        for known in ["arrival", "event"] {
            same_bytes(dir, &[(2, 2), (3, 1)], &["--known", known], &[]);
        }
    }
    assert!(compared > 1500, "there is something to compare: {compared}");
}

/// A run that is stopped and goes on, while versions come that correct what it has published.
#[test]
fn over_restarts() {
    for workers in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let log = log(19, 260, 2, 3);
        let tables = tables(&log, 2);
        fs::write(dir.join("job.toml"), job(Sides::Both, FEATURES)).unwrap();
        write_history(dir, &log, &cuts(&log, 70), Order::Log);
        let history = begins(&log, &cuts(&log, 50));
        for records in [130, 200, 260] {
            let at = cuts(&log, records);
            write_stream(dir, &log, Some(&at));
            write_tables(dir, &tables, history, begins(&log, &at));
            run_to_end(dir, &["--workers", &workers.to_string()]);
        }
        let told = published(dir, i64::MIN);
        assert!(assert_same(dir, &told, workers, "restarted") > 500);
    }
}

/// The worked example of `docs/collections.md`: at its ticks, and in hindsight.
#[test]
fn what_was_known_and_what_is_known_now() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let time = |clock: &str| format!("\"2026-01-01T{clock}:00Z\"");
    let version = |from: &str, arrived: &str, r: u8, gone: bool| {
        format!("{{\"m\":\"m1\",\"from\":{},\"a\":{},\"r\":{r},\"gone\":{gone}}}\n", time(from), time(arrived))
    };
    let event =
        |at: &str, amount: u8| format!("{{\"card\":\"c\",\"m\":\"m1\",\"amount\":{amount},\"ts\":{}}}\n", time(at));
    let versions =
        [version("09:00", "09:00", 2, false), version("10:15", "10:40", 3, false), version("10:30", "10:50", 0, true)];
    fs::write(dir.join("table.jsonl"), versions.concat()).unwrap();
    fs::write(dir.join("events.jsonl"), [event("10:10", 10), event("10:20", 5), event("10:55", 1)].concat()).unwrap();
    fs::write(
        dir.join("job.toml"),
        r#"
name = "worked"
tick = "1s"
[tables.merchants]
key = "m"
event_time = "from"
arrival_time = "a"
deleted = "gone"
schema = { m = "string", from = "timestamp", a = "timestamp", r = "int64", gone = "bool" }
stream = { type = "jsonl", path = "table.jsonl" }
[sources.s]
event_time = "ts"
schema = { card = "string", m = "string", amount = "int64", ts = "timestamp" }
stream = { type = "jsonl", path = "events.jsonl" }
[features.f]
source = "s"
lookup.facts = { table = "merchants", on = "m" }
key = "card"
columns = { spend = { agg = "sum", of = "amount * facts.r", window = "1h" }, n = { agg = "count", window = "1h" } }
"#,
    )
    .unwrap_or_else(|e| panic!("{e}"));
    // As known then, and in hindsight: the sum, and the count.
    let table = [
        ("10:09", [(None, 0), (None, 0)]),
        ("10:10", [(Some(20), 1), (Some(20), 1)]),
        ("10:20", [(Some(30), 2), (Some(35), 2)]),
        ("10:39", [(Some(30), 2), (Some(35), 2)]),
        ("10:40", [(Some(35), 2), (Some(35), 2)]),
        ("10:50", [(Some(35), 2), (Some(35), 2)]),
        ("10:55", [(Some(35), 3), (Some(35), 3)]),
        ("11:10", [(Some(15), 2), (Some(15), 2)]),
        ("11:20", [(None, 1), (None, 1)]),
        ("11:55", [(None, 0), (None, 0)]),
    ];
    let at = table.iter().map(|(clock, _)| Some(micros(time(clock).trim_matches('"'))));
    let cards = table.iter().map(|_| Some("c"));
    let spine = arrow::array::RecordBatch::try_from_iter([("card", texts(cards)), ("at", times(at))]).unwrap();
    write_table(&dir.join("spine.parquet"), &spine);
    for (known, place) in [("arrival", 0), ("event", 1)] {
        finish(backfill(dir, &["--out", "out.parquet", "--known", known]), 0);
        let found = read_table(&dir.join("out.parquet"));
        assert_eq!(&found["f__spend"], &ints(table.iter().map(|(_, rows)| rows[place].0)), "{known}");
        assert_eq!(&found["f__n"], &ints(table.iter().map(|(_, rows)| Some(rows[place].1))), "{known}");
    }
}

/// What a live run looks up, of a topic whose versions say no time: some come too late for their ticks.
const LIVE: &str = r#"
[tables.rates]
key    = "word"
schema = { word = "string", rate = "int64" }
[tables.rates.stream]
type    = "kafka"
brokers = "{BROKERS}"
topic   = "{NAME}_rates"
[features.every]
source = "s"
lookup.r = { table = "rates", on = "m" }
key = "k"
columns = { n = { agg = "count", windows = ["1m", "all"] }, s = { agg = "sum", of = "x * r.rate", windows = ["1m", "all"] } }
[features.pairs]
source = "s"
lookup.r = { table = "rates", on = "m" }
key = ["q", "k"]
where = "r.rate > 3"
columns = { n = { agg = "count", windows = ["10m"] }, l = { agg = "last_n", of = "r.rate", n = 3, windows = ["1h"] } }
"#;

/// Sends events of this moment, and versions that are later with every step (see `served::send`).
fn send(events: &Topic, rates: &Topic, random: &mut Random, steps: std::ops::Range<i64>) {
    for step in steps {
        for _ in 0..4 {
            let now = now_us() / 1000 * 1000;
            for m in ["a", "b"] {
                let (k, q) = (format!("k{}", random.below(3)), random.below(3) as i64);
                let (x, f, fee) = (Some(random.below(9) as i64), 0.5, 1);
                let event = Event { k, q, x, f, fee, m, ts: now, arrived: now };
                events.send(0, Some(event.json().trim_end().as_bytes()), now);
            }
            let version =
                format!("{{\"word\":\"{}\",\"rate\":{}}}", ["a", "b"][random.below(2) as usize], random.below(9));
            rates.send(0, Some(version.as_bytes()), now - (step * 3 + 1) * 250_000);
            events.flush();
            rates.flush();
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

#[test]
fn versions_that_a_live_run_admits_late() {
    let case = need!(Case::new("served_versions"));
    let events = Topic::new(&case.kafka, &case.name, 1);
    let rates = Topic::new(&case.kafka, &format!("{}_rates", case.name), 1);
    let mut random = Random(76);
    send(&events, &rates, &mut random, 0..1);
    let text = live_job_of(LIVE, "admissions = true\ncheckpoint_every = \"500ms\"\n");
    let running = begin(&case, &case.job("job.toml", &text), "2");
    send(&events, &rates, &mut random, 1..11);
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.terminate();
    assert_served(&case, "versions", &[]);
}
