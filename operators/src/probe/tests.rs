//! Rows at labels against tables, and against a look at every event for each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::types::{Float64Type, Int64Type, UInt64Type};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::DataType;
use headwater_clocks::Span;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::rows::{FIRST_COLUMN, IS_THERE};
use super::{Enter, Probe, Shard, labels};
use crate::accumulators::ColumnPlan;
use crate::events;
use crate::key_codec::KeyCodec;

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) key: &'static str,
    pub(super) ts: i64,
    pub(super) visible: i64,
    pub(super) x: Option<i64>,
}

pub(super) type Label = (&'static str, i64);

pub(super) fn column(aggregate: &str, input: Option<usize>, length: Option<i64>) -> ColumnPlan {
    let (name, length) = (format!("{aggregate} {length:?}"), length.map(Span::from_us));
    ColumnPlan { name, aggregate: aggregate.parse().unwrap(), input, length }
}

fn encode(keys: impl Iterator<Item = &'static str>) -> arrow::array::BinaryArray {
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(keys));
    KeyCodec::new(&[DataType::Utf8]).unwrap().encode(&[keys]).unwrap()
}

/// Inputs: `x`, and `x` as a float.
pub(super) fn event_batch(events: &[Event]) -> RecordBatch {
    let x = Int64Array::from_iter(events.iter().map(|e| e.x));
    let float = Float64Array::from_iter(events.iter().map(|e| e.x.map(|x| x as f64 / 3.0)));
    let times = |of: fn(&Event) -> i64| Int64Array::from_iter_values(events.iter().map(of));
    events::batch(
        &events::schema(&[DataType::Int64, DataType::Float64], false),
        encode(events.iter().map(|e| e.key)),
        times(|e| e.ts),
        times(|e| e.visible),
        None,
        vec![Arc::new(x), Arc::new(float)],
    )
    .unwrap()
}

pub(super) fn label_batch(labels: &[(u64, Label)]) -> RecordBatch {
    let at = Int64Array::from_iter_values(labels.iter().map(|(_, (_, at))| *at));
    let row = UInt64Array::from_iter_values(labels.iter().map(|(row, _)| *row));
    labels::batch(encode(labels.iter().map(|(_, (key, _))| *key)), at, row).unwrap()
}

/// The rows in the order of the labels, which come in some batches, as events do.
fn rows(probe: &mut Probe, labels: &[Label], events: &[Event], batches: usize) -> RecordBatch {
    let numbered: Vec<(u64, Label)> = (0..).zip(labels.iter().copied()).collect();
    let size = |all: usize| all.div_ceil(batches).max(1);
    let labels: Vec<_> = numbered.chunks(size(numbered.len())).map(label_batch).collect();
    let events: Vec<_> = events.chunks(size(events.len())).map(event_batch).collect();
    let rows = if batches % 2 == 1 {
        probe.rows(&labels, &events).unwrap()
    } else {
        piecewise(probe, &labels, &events, batches)
    };
    let mut order: Vec<(u64, u64)> =
        rows["_row"].as_primitive::<UInt64Type>().values().iter().copied().zip(0..).collect();
    order.sort_unstable();
    assert!(order.iter().map(|(row, _)| *row).eq(0..numbered.len() as u64), "a row for each label");
    take_record_batch(&rows, &UInt64Array::from_iter_values(order.iter().map(|(_, at)| *at))).unwrap()
}

/// The same of events that come in ordered batches, one after the other.
fn piecewise(probe: &mut Probe, labels: &[RecordBatch], events: &[RecordBatch], pieces: usize) -> RecordBatch {
    let shard = probe.begin(labels);
    let ordered = shard.order(events).unwrap();
    let (all, size) = (ordered.num_rows(), ordered.num_rows().div_ceil(pieces * 4).max(1));
    for start in (0..all.max(1)).step_by(size) {
        let next = (start + size < all).then(|| Shard::begins(&ordered, start + size));
        probe.take(&shard, &ordered.slice(start, size.min(all - start)), next);
    }
    probe.finish().unwrap()
}

#[test]
fn tables() {
    // (events as (ts, visible, x), length, [(moment, count, sum, max) at arrival, and in hindsight])
    type Row = (i64, i64, Option<i64>, Option<i64>);
    type Table = (&'static str, &'static [(i64, i64, Option<i64>)], Option<i64>, &'static [Row], &'static [Row]);
    let tables: [Table; 6] = [
        ("no event", &[], Some(10), &[(0, 0, None, None)], &[(i64::MAX, 0, None, None)]),
        (
            "an event counts at its tick, and leaves at the first one that is the window's length after it",
            &[(3, 3, Some(7))],
            Some(10),
            &[(2, 0, None, None), (3, 1, Some(7), Some(7)), (12, 1, Some(7), Some(7)), (13, 0, None, None)],
            &[(2, 0, None, None), (3, 1, Some(7), Some(7)), (12, 1, Some(7), Some(7)), (13, 0, None, None)],
        ),
        (
            "late: known from 7 on, but in hindsight from 5",
            &[(3, 3, Some(2)), (5, 7, Some(9))],
            Some(10),
            &[(6, 1, Some(2), Some(2)), (7, 2, Some(11), Some(9)), (14, 1, Some(9), Some(9)), (15, 0, None, None)],
            &[(4, 1, Some(2), Some(2)), (5, 2, Some(11), Some(9)), (14, 1, Some(9), Some(9)), (15, 0, None, None)],
        ),
        (
            "too late for its window",
            &[(3, 13, Some(2)), (4, 13, Some(3))],
            Some(10),
            &[(12, 0, None, None), (13, 1, Some(3), Some(3)), (14, 0, None, None)],
            &[(12, 2, Some(5), Some(3)), (13, 1, Some(3), Some(3)), (14, 0, None, None)],
        ),
        (
            "over all time nothing leaves",
            &[(3, 3, Some(2)), (-500, 400, None), (300, 300, Some(1))],
            None,
            &[(2, 0, None, None), (300, 2, Some(3), Some(2)), (400, 3, Some(3), Some(2))],
            &[(-501, 0, None, None), (-500, 1, None, None), (3, 2, Some(2), Some(2)), (i64::MAX, 3, Some(3), Some(2))],
        ),
        (
            "labels before, between, after, twice, in any order",
            &[(10, 10, Some(1)), (20, 20, Some(1))],
            Some(15),
            &[
                (25, 1, Some(1), Some(1)),
                (20, 2, Some(2), Some(1)),
                (i64::MIN, 0, None, None),
                (20, 2, Some(2), Some(1)),
            ],
            &[(20, 2, Some(2), Some(1)), (1000, 0, None, None), (10, 1, Some(1), Some(1)), (20, 2, Some(2), Some(1))],
        ),
    ];
    for (about, table, length, at_arrival, in_hindsight) in tables {
        let events: Vec<Event> = table.iter().map(|&(ts, visible, x)| Event { key: "a", ts, visible, x }).collect();
        let columns = [column("count", None, length), column("sum", Some(0), length), column("max", Some(0), length)];
        for (enter, expected) in [(Enter::Visible, at_arrival), (Enter::Happened, in_hindsight)] {
            let mut probe = Probe::new(&columns, &[DataType::Int64, DataType::Float64], enter);
            let labels: Vec<Label> = expected.iter().map(|(at, ..)| ("a", *at)).collect();
            let found = rows(&mut probe, &labels, &events, 1);
            let word = |column: usize, at: usize| {
                let column = found.column(FIRST_COLUMN + column).as_primitive::<Int64Type>();
                column.is_valid(at).then(|| column.value(at))
            };
            let are_there = found.column(IS_THERE).as_boolean();
            (0..labels.len())
                .for_each(|at| assert_eq!(are_there.value(at), word(0, at) > Some(0), "{about}, {enter:?}"));
            let found: Vec<Row> =
                (0..labels.len()).map(|at| (labels[at].1, word(0, at).unwrap(), word(1, at), word(2, at))).collect();
            assert_eq!(found, expected, "{about}, {enter:?}");
        }
    }
}

/// Every aggregate, by a look at all events.
pub(super) fn model(aggregate: &str, inside: &[&Event]) -> String {
    let values: Vec<(i64, i64)> = inside.iter().filter_map(|e| Some((e.ts, e.x?))).collect();
    let xs: Vec<i64> = values.iter().map(|(_, x)| *x).collect();
    let mut counts = BTreeMap::<i64, usize>::new();
    xs.iter().for_each(|x| *counts.entry(*x).or_default() += 1);
    let mut ranked: Vec<(std::cmp::Reverse<usize>, i64)> =
        counts.iter().map(|(x, n)| (std::cmp::Reverse(*n), *x)).collect();
    ranked.sort_unstable();
    let mut newest = values.clone();
    newest.sort_unstable_by(|a, b| b.cmp(a));
    let list = |all: Vec<i64>| if all.is_empty() { "null".to_owned() } else { format!("{all:?}") };
    let one = |value: Option<i64>| value.map_or("null".to_owned(), |v| v.to_string());
    let n = xs.len() as f64;
    match aggregate {
        "count" => inside.len().to_string(),
        "sum" => one((!xs.is_empty()).then(|| xs.iter().sum())),
        "avg" if xs.is_empty() => "null".to_owned(),
        "avg" => format!("{:?}", xs.iter().sum::<i64>() as f64 / n),
        "min" => one(xs.iter().copied().min()),
        "max" => one(xs.iter().copied().max()),
        "first" => one(values.iter().min().map(|(_, x)| *x)),
        "last" => one(values.iter().max().map(|(_, x)| *x)),
        "count_distinct" => xs.iter().collect::<BTreeSet<_>>().len().to_string(),
        "mode" => one(ranked.first().map(|(_, x)| *x)),
        "top_k(3)" => list(ranked.iter().take(3).map(|(_, x)| *x).collect()),
        "last_n(3)" => list(newest.iter().take(3).map(|(_, x)| *x).collect()),
        other => panic!("{other}"),
    }
}

pub(super) const AGGREGATES: [&str; 11] =
    ["count", "sum", "avg", "min", "max", "first", "last", "count_distinct", "mode", "top_k(3)", "last_n(3)"];

pub(super) fn shown(column: &ArrayRef, at: usize) -> String {
    if column.is_null(at) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(at).to_string(),
        DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(at)),
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(at);
            format!("{:?}", values.as_primitive::<Int64Type>().values().to_vec())
        }
        other => panic!("{other}"),
    }
}

pub(super) const KEYS: [&str; 5] = ["a", "b", "c", "never seen", "never asked for"];

pub(super) fn random_events(rng: &mut StdRng, number: usize) -> Vec<Event> {
    let one = |rng: &mut StdRng| {
        let ts = rng.random_range(-100..400);
        let late = if rng.random_bool(0.3) { rng.random_range(0..200) } else { 0 };
        let key = KEYS[[0, 0, 0, 1, 1, 2, 4][rng.random_range(0..7)]];
        Event { key, ts, visible: ts + late, x: rng.random_bool(0.8).then(|| rng.random_range(-4..5)) }
    };
    (0..number).map(|_| one(rng)).collect()
}

#[test]
fn as_a_look_at_every_event_says() {
    for seed in 0..80 {
        let mut rng = StdRng::seed_from_u64(seed);
        let lengths = &[Some(1), Some(30), Some(200), None][..3 + seed as usize % 2];
        let column = |aggregate: &str, length| column(aggregate, (aggregate != "count").then_some(0), length);
        let columns: Vec<ColumnPlan> =
            AGGREGATES.iter().flat_map(|name| lengths.iter().map(|length| column(name, *length))).collect();
        let number = rng.random_range(0..120);
        let events = random_events(&mut rng, number);
        let count = rng.random_range(0..60);
        let labels: Vec<Label> =
            (0..count).map(|_| (KEYS[rng.random_range(0..4)], rng.random_range(-150..700))).collect();
        for enter in [Enter::Visible, Enter::Happened] {
            let mut probe = Probe::new(&columns, &[DataType::Int64, DataType::Float64], enter);
            let found = rows(&mut probe, &labels, &events, rng.random_range(1..5));
            for (at, (key, now)) in labels.iter().enumerate() {
                for (c, plan) in columns.iter().enumerate() {
                    let entered = |e: &&Event| match enter {
                        Enter::Visible => e.visible <= *now,
                        Enter::Happened => e.ts <= *now,
                    };
                    let young = |e: &&Event| plan.length.is_none_or(|length| e.ts > now - length.us());
                    let inside: Vec<&Event> =
                        events.iter().filter(|e| e.key == *key).filter(entered).filter(young).collect();
                    let expected = model(AGGREGATES[c / lengths.len()], &inside);
                    let found = shown(found.column(FIRST_COLUMN + c), at);
                    assert_eq!(found, expected, "seed {seed}, {enter:?}: {} of {key} at {now}", plan.name);
                }
            }
        }
    }
}

/// Whatever else is asked for, in whatever order and batches, and whatever was asked before: a label's row is its own. Of every
/// aggregate.
#[test]
fn a_row_depends_on_its_label_alone() {
    let names =
        ["var_pop", "stddev_samp", "approx_count_distinct", "approx_percentile(0.9)", "sum", "top_k(2)", "first"];
    let columns: Vec<ColumnPlan> =
        names.iter().flat_map(|name| [Some(40), Some(150), None].map(|length| column(name, Some(1), length))).collect();
    let mut rng = StdRng::seed_from_u64(5);
    let mut events = random_events(&mut rng, 400);
    let labels: Vec<Label> = (0..100).map(|_| (KEYS[rng.random_range(0..4)], rng.random_range(-150..700))).collect();
    let new = || Probe::new(&columns, &[DataType::Int64, DataType::Float64], Enter::Visible);
    let mut used = new();
    let together = rows(&mut used, &labels, &events, 3);
    let alone: Vec<RecordBatch> =
        labels.iter().map(|label| rows(&mut new(), &[*label], &events, 1).slice(0, 1)).collect();
    let alone = concat_batches(alone[0].schema_ref(), &alone).unwrap();
    events.shuffle(&mut rng);
    let again = rows(&mut used, &labels, &events, 7);
    for (c, plan) in columns.iter().enumerate() {
        assert_eq!(together.column(FIRST_COLUMN + c), alone.column(FIRST_COLUMN + c), "{}", plan.name);
        assert_eq!(together.column(FIRST_COLUMN + c), again.column(FIRST_COLUMN + c), "{}", plan.name);
    }
}

#[test]
fn a_key_without_events_has_counts_alone() {
    let columns = [
        column("count", None, Some(5)),
        column("count_distinct", Some(0), None),
        column("approx_count_distinct", Some(0), Some(5)),
        column("sum", Some(0), Some(5)),
        column("top_k(2)", Some(0), Some(5)),
    ];
    let mut probe = Probe::new(&columns, &[DataType::Int64, DataType::Float64], Enter::Visible);
    let empty = probe.empty().unwrap();
    let row: Vec<String> = (0..columns.len()).map(|c| shown(empty.column(FIRST_COLUMN + c), 0)).collect();
    assert_eq!(row, ["0", "0", "0", "null", "null"]);
    let asked = rows(&mut probe, &[("a", 7)], &[], 1);
    assert_eq!(asked.columns()[IS_THERE..], empty.columns()[IS_THERE..]);
}

#[test]
fn sums_that_do_not_fit_are_counted() {
    let columns = [column("sum", Some(0), Some(10))];
    let mut probe = Probe::new(&columns, &[DataType::Int64, DataType::Float64], Enter::Visible);
    let event = |ts| Event { key: "a", ts, visible: ts, x: Some(i64::MAX) };
    let found = rows(&mut probe, &[("a", 1), ("a", 5), ("a", 5), ("a", 11)], &[event(1), event(5)], 1);
    assert_eq!(
        (0..4).map(|at| shown(found.column(FIRST_COLUMN), at)).collect::<Vec<_>>(),
        [&i64::MAX.to_string(), "null", "null", &i64::MAX.to_string()]
    );
    assert_eq!(probe.unfit_sums(), 2);
}
