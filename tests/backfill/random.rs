//! Random spines over random logs, against a look at every event for every label: at arrival and in hindsight, over history, stream and
//! both.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::types::Int64Type;
use arrow::array::{Array, AsArray, RecordBatch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::data::{Event, Log, Order, Sides, job, log, write_history, write_stream};
use super::{backfill, ints, read_table, texts, times, write_table};
use crate::support::*;

const TICK: i64 = SECOND;

const GROUPS: &str = r#"
[features.by_k]
source = "s"
key = "k"
where = "m <> 'b'"
[features.by_k.columns]
n = { agg = "count", windows = ["1m", "30m", "all"] }
s = { agg = "sum", of = "x", windows = ["1m", "30m", "all"] }
m = { agg = "max", of = "x", windows = ["1m", "30m", "all"] }
d = { agg = "count_distinct", of = "x", windows = ["1m", "30m", "all"] }
[features.by_both]
source = "s"
key = ["q", "k"]
[features.by_both.columns]
n = { agg = "count", windows = ["10m"] }
l = { agg = "last", of = "x", windows = ["10m"] }
"#;

/// An event with the tick from which on it is visible.
struct Seen<'a> {
    event: &'a Event,
    v: i64,
}

/// By offset, the effective time is the running maximum over the whole log, wherever it is cut. A history alone has no order.
fn seen(log: &Log, sides: Sides) -> Vec<Seen<'_>> {
    let mut all = vec![];
    for records in log {
        let mut eff = i64::MIN;
        for event in records {
            eff = if sides == Sides::History { event.arrived } else { eff.max(event.arrived) };
            all.push(Seen { event, v: up(eff.max(event.ts), TICK) });
        }
    }
    all
}

#[derive(Clone, Debug)]
struct Label {
    k: Option<String>,
    q: Option<i64>,
    at: Option<i64>,
}

fn label(rng: &mut StdRng, log: &Log) -> Label {
    let events: Vec<&Event> = log.iter().flatten().collect();
    let near = events[rng.random_range(0..events.len())];
    let at = match rng.random_range(0..8) {
        0 => near.ts,
        1 => near.arrived + rng.random_range(-1..=1),
        2 => near.ts + 1_800 * SECOND,
        3 => START - 100 * HOUR,
        4 => START + 10_000 * HOUR,
        _ => near.arrived + rng.random_range(-3_600..3_600) * SECOND / 2,
    };
    let k = if rng.random_bool(0.1) { "nobody".to_owned() } else { near.k.clone() };
    Label {
        k: rng.random_bool(0.95).then_some(k),
        q: rng.random_bool(0.95).then_some(if rng.random_bool(0.1) { 77 } else { near.q }),
        at: rng.random_bool(0.95).then_some(at),
    }
}

/// The columns of a group over its windows, as `data` has them: the number, and what of it is asked.
fn expected(seen: &[Seen], label: &Label, known: &str) -> Vec<Option<i64>> {
    let inside = |passes: &dyn Fn(&Event) -> bool, length: Option<i64>| -> Vec<&Event> {
        let Some(at) = label.at else { return vec![] };
        let tick = at.div_euclid(TICK) * TICK;
        let counts = |s: &&Seen| match known {
            "arrival" => s.v <= tick && length.is_none_or(|length| s.event.ts > tick - length),
            _ => s.event.ts <= at && length.is_none_or(|length| s.event.ts > at - length),
        };
        seen.iter().filter(|s| passes(s.event)).filter(counts).map(|s| s.event).collect()
    };
    let of_k = |event: &Event| label.k.as_ref() == Some(&event.k) && event.m != "b";
    let of_both = |event: &Event| label.k.as_ref() == Some(&event.k) && label.q == Some(event.q);
    let windows = [Some(MINUTE), Some(30 * MINUTE), None].map(|length| inside(&of_k, length));
    let xs = |events: &[&Event]| events.iter().filter_map(|event| event.x).collect::<Vec<i64>>();
    let mut row = vec![];
    row.extend(windows.iter().map(|events| Some(events.len() as i64)));
    row.extend(windows.iter().map(|events| (!xs(events).is_empty()).then(|| xs(events).iter().sum())));
    row.extend(windows.iter().map(|events| xs(events).into_iter().max()));
    row.extend(windows.iter().map(|events| Some(xs(events).into_iter().collect::<BTreeSet<_>>().len() as i64)));
    let both = inside(&of_both, Some(10 * MINUTE));
    row.push(Some(both.len() as i64));
    row.push(both.iter().filter_map(|event| Some((event.ts, event.x?))).max().map(|(_, x)| x));
    row
}

fn check(dir: &Path, seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let sides = [Sides::Both, Sides::Both, Sides::History, Sides::Stream][seed as usize % 4];
    let number = rng.random_range(20..200);
    let log = log(seed, number, rng.random_range(1..4), rng.random_range(1..6));
    let cut = |records: &Vec<Event>| match sides {
        Sides::History => records.len(),
        Sides::Stream => 0,
        Sides::Both => rng.random_range(0..=records.len()),
    };
    let cuts: Vec<usize> = log.iter().map(cut).collect();
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("job.toml"), job(sides, GROUPS)).unwrap();
    let order = if rng.random() { Order::Log } else { Order::Mixed };
    write_history(dir, &log, &cuts, order);
    write_stream(dir, &log, None);
    let labels: Vec<Label> = (0..rng.random_range(0..150)).map(|_| label(&mut rng, &log)).collect();
    // Some rows twice.
    let labels: Vec<Label> = labels.iter().chain(labels.iter().step_by(7)).cloned().collect();
    let spine = RecordBatch::try_from_iter_with_nullable([
        ("at", times(labels.iter().map(|label| label.at)), true),
        ("q", ints(labels.iter().map(|label| label.q)), true),
        ("k", texts(labels.iter().map(|label| label.k.as_deref())), true),
        ("number", ints((0..labels.len() as i64).map(Some)), true),
    ]);
    let spine = spine.unwrap();
    write_table(&dir.join("spine.parquet"), &spine);
    let seen = seen(&log, sides);
    for known in ["arrival", "event"] {
        let workers = rng.random_range(1..4).to_string();
        finish(backfill(dir, &["--out", "out.parquet", "--known", known, "--workers", &workers]), 0);
        let found = read_table(&dir.join("out.parquet"));
        assert_eq!(found.columns()[..4], *spine.columns(), "the spine as it was, in its order");
        for (row, label) in labels.iter().enumerate() {
            let cells = found.columns()[4..].iter().map(|column| column.as_primitive::<Int64Type>());
            let cells: Vec<Option<i64>> = cells.map(|column| column.is_valid(row).then(|| column.value(row))).collect();
            let about = format!("seed {seed}, {sides:?} {cuts:?} {order:?}, {known}, row {row}: {label:?}");
            assert_eq!(cells, expected(&seen, label, known), "{about}");
        }
    }
    labels.len()
}

#[test]
fn as_a_look_at_every_event_says() {
    let dir = tempfile::tempdir().unwrap();
    let check = |lane: u64| -> usize {
        (lane..32).step_by(4).map(|seed| check(&dir.path().join(seed.to_string()), seed)).sum()
    };
    let compared: usize = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..4).map(|lane| scope.spawn(move || check(lane))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum::<usize>()
    });
    assert!(compared > 1000, "there is something to compare: {compared}");
}
