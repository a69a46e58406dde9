//! Rows made of rows, against what a search over all rows gives, at every tick, for one worker and for three.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use arrow::array::types::{Int64Type, UInt64Type};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::DataType;
use differential_dataflow::input::InputSession;
use headwater_clocks::Tick;
use rand::{Rng, SeedableRng};
use timely::dataflow::operators::probe::Handle as ProbeHandle;

use super::aggregate::{AggregatePlan, aggregate};
use super::distinct::distinct;
use super::join::{JoinKind, Nulls, join};
use super::top::{OrderCodec, placed, top};
use super::{Bytes, Keyed, Rows};
use crate::accumulators::ColumnPlan;
use crate::key_codec::KeyCodec;

/// A key and a value, by side; and by how many there are more at a tick.
type Change = (usize, (i64, Option<i64>), i64, isize);
/// A row, its tick, and by how many it becomes more.
type Update = (Vec<Option<i64>>, Tick, isize);
/// By tick, the rows that are there after it.
type Told = BTreeMap<i64, Vec<Vec<Option<i64>>>>;

const TICKS: i64 = 12;

fn codec(columns: usize) -> KeyCodec {
    KeyCodec::new(&vec![DataType::Int64; columns]).unwrap()
}

fn bytes(values: &[Option<i64>]) -> Bytes {
    let columns: Vec<ArrayRef> =
        values.iter().map(|value| Arc::new(Int64Array::from(vec![*value])) as ArrayRef).collect();
    codec(values.len()).encode(&columns).unwrap().value(0).to_vec()
}

/// Rows come and go, and never more of them go than there are.
fn changes(seed: u64) -> Vec<Change> {
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let (mut all, mut there) = (vec![], vec![]);
    for tick in 0..TICKS {
        for _ in 0..rng.random_range(0..6) {
            if !there.is_empty() && rng.random_bool(0.4) {
                let (side, row) = there.swap_remove(rng.random_range(0..there.len()));
                all.push((side, row, tick, -1));
            } else {
                let row = (rng.random_range(0..4), rng.random_bool(0.9).then(|| rng.random_range(0..5)));
                let side = rng.random_range(0..2);
                there.push((side, row));
                all.push((side, row, tick, 1));
            }
        }
    }
    all
}

/// The rows of a side after a tick.
fn at(changes: &[Change], side: usize, tick: i64) -> Vec<(i64, Option<i64>)> {
    let mut counts: BTreeMap<(i64, Option<i64>), isize> = BTreeMap::new();
    for (of, row, when, diff) in changes {
        if *of == side && *when <= tick {
            *counts.entry(*row).or_default() += diff;
        }
    }
    counts.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row, n as usize)).collect()
}

type Build = dyn for<'s> Fn(Keyed<'s>, Keyed<'s>) -> Rows<'s> + Send + Sync;

/// What a dataflow over the two sides has after each tick; its rows have so many columns.
fn run(workers: usize, changes: Vec<Change>, decode: fn(&[u8]) -> Vec<Option<i64>>, build: Arc<Build>) -> Told {
    let told: Arc<Mutex<Vec<Update>>> = Arc::default();
    let out = told.clone();
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    let guards = timely::execute(config, move |worker| {
        let (mut left, mut right) = (InputSession::new(), InputSession::new());
        let probe = ProbeHandle::new();
        let (index, peers, out) = (worker.index(), worker.peers(), out.clone());
        worker.dataflow::<Tick, _, _>(|scope| {
            let (left, right) = (left.to_collection(scope), right.to_collection(scope));
            build(left, right)
                .inspect(move |(row, time, diff)| out.lock().unwrap().push((decode(row), *time, *diff)))
                .probe_with(&probe);
        });
        for tick in 0..TICKS {
            let mine = changes.iter().enumerate().filter(|(n, (.., when, _))| *when == tick && n % peers == index);
            for (_, (side, (key, value), _, diff)) in mine {
                let row = (bytes(&[Some(*key)]), bytes(&[Some(*key), *value]));
                [&mut left, &mut right][*side].update(row, *diff);
            }
            // Several ticks at once are done one by one.
            let next = Tick::from_us(tick + 1);
            left.advance_to(next);
            right.advance_to(next);
            if tick % 3 == 0 {
                left.flush();
                right.flush();
                worker.step_while(|| probe.less_than(&next));
            }
        }
    });
    drop(guards);
    let told = std::mem::take(&mut *told.lock().unwrap());
    let after = |tick| {
        let mut counts: BTreeMap<Vec<Option<i64>>, isize> = BTreeMap::new();
        told.iter()
            .filter(|(_, when, _)| *when <= Tick::from_us(tick))
            .for_each(|(row, _, diff)| *counts.entry(row.clone()).or_default() += diff);
        assert!(counts.values().all(|n| *n >= 0), "{counts:?} at {tick}");
        counts.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row, n as usize)).collect()
    };
    (0..TICKS).map(|tick| (tick, after(tick))).collect()
}

#[track_caller]
fn check(
    decode: fn(&[u8]) -> Vec<Option<i64>>,
    build: Arc<Build>,
    model: impl Fn(&[(i64, Option<i64>)], &[(i64, Option<i64>)]) -> Vec<Vec<Option<i64>>>,
) {
    for seed in 0..12 {
        let changes = changes(seed);
        let expected: Told = (0..TICKS)
            .map(|tick| {
                let mut rows = model(&at(&changes, 0, tick), &at(&changes, 1, tick));
                rows.sort();
                (tick, rows)
            })
            .collect();
        for workers in [1, 3] {
            assert_eq!(
                run(workers, changes.clone(), decode, build.clone()),
                expected,
                "seed {seed}, {workers} workers"
            );
        }
    }
}

fn ints(columns: usize, row: &[u8]) -> Vec<Option<i64>> {
    let columns = codec(columns).decode([row].into_iter()).unwrap();
    columns.iter().map(|column| column.as_primitive::<Int64Type>().iter().next().flatten()).collect()
}

fn two(row: &[u8]) -> Vec<Option<i64>> {
    ints(2, row)
}

fn four(row: &[u8]) -> Vec<Option<i64>> {
    ints(4, row)
}

#[test]
fn joins() {
    use JoinKind::*;
    for kind in [Inner, Left, Right, Full, Semi, Anti] {
        let is_of_left = matches!(kind, Semi | Anti);
        let nulls = || Nulls { left: bytes(&[None, None]), right: bytes(&[None, None]) };
        let build: Arc<Build> = Arc::new(move |left, right| join(left, right, kind, nulls()));
        check(if is_of_left { two } else { four }, build, |left, right| {
            let mut rows = vec![];
            let whole = |row: &(i64, Option<i64>)| [Some(row.0), row.1];
            for a in left {
                let partners: Vec<_> = right.iter().filter(|b| b.0 == a.0).collect();
                match kind {
                    Semi | Anti => rows.extend((partners.is_empty() == (kind == Anti)).then(|| whole(a).to_vec())),
                    _ => rows.extend(partners.iter().map(|b| [whole(a), whole(b)].concat())),
                }
                if partners.is_empty() && matches!(kind, Left | Full) {
                    rows.push([whole(a), [None, None]].concat());
                }
            }
            for b in right.iter().filter(|b| matches!(kind, Right | Full) && left.iter().all(|a| a.0 != b.0)) {
                rows.push([[None, None], whole(b)].concat());
            }
            rows
        });
    }
}

#[test]
fn distinct_keys() {
    let build: Arc<Build> = Arc::new(|left, _| distinct(left));
    check(
        |row| ints(1, row),
        build,
        |left, _| {
            let keys: std::collections::BTreeSet<i64> = left.iter().map(|row| row.0).collect();
            keys.into_iter().map(|key| vec![Some(key)]).collect()
        },
    );
}

/// count, sum, min and count_distinct of the values, by key and of all.
#[test]
fn aggregates() {
    for is_whole in [false, true] {
        let build: Arc<Build> = Arc::new(move |left, _| {
            let names = [("count", None), ("sum", Some(1)), ("min", Some(1)), ("count_distinct", Some(1))];
            let column = |(name, input): (&str, Option<usize>)| ColumnPlan {
                name: name.to_owned(),
                aggregate: name.parse().unwrap(),
                input,
                length: None,
            };
            let plan = AggregatePlan {
                columns: names.into_iter().map(column).collect(),
                inputs: vec![DataType::Int64, DataType::Int64],
                is_whole,
            };
            let keyed = left.map(move |(key, row)| (if is_whole { vec![] } else { key }, row));
            aggregate(keyed, plan, Rc::new(RefCell::new(0))).unwrap()
        });
        let decode: fn(&[u8]) -> Vec<Option<i64>> = if is_whole { four } else { |row| ints(5, row) };
        check(decode, build, |left, _| {
            let mut groups: BTreeMap<Option<i64>, Vec<Option<i64>>> = BTreeMap::new();
            if is_whole {
                groups.insert(None, vec![]);
            }
            left.iter().for_each(|(key, value)| groups.entry((!is_whole).then_some(*key)).or_default().push(*value));
            let row = |(key, values): (Option<i64>, Vec<Option<i64>>)| {
                let known: Vec<i64> = values.iter().flatten().copied().collect();
                let sum = (!known.is_empty()).then(|| known.iter().sum());
                let different: std::collections::BTreeSet<&i64> = known.iter().collect();
                let rest = [Some(values.len() as i64), sum, known.iter().min().copied(), Some(different.len() as i64)];
                key.map(Some).into_iter().chain(rest).collect()
            };
            groups.into_iter().map(row).collect()
        });
    }
}

/// The two greatest values of each key, nulls last, with their numbers.
#[test]
fn first_rows() {
    let build: Arc<Build> = Arc::new(|left, _| {
        let ordered = left.map(|(key, row)| {
            let order = OrderCodec::new(&[(DataType::Int64, true, false)]).unwrap();
            let value = codec(2).decode([row.as_slice()].into_iter()).unwrap().remove(1);
            let place = order.encode(&[value]).unwrap().remove(0);
            (key, placed(&place, &row))
        });
        top(ordered, 2, true)
    });
    fn numbered(row: &[u8]) -> Vec<Option<i64>> {
        let codec = KeyCodec::new(&[DataType::Int64, DataType::Int64, DataType::UInt64]).unwrap();
        let columns = codec.decode([row].into_iter()).unwrap();
        let number = columns[2].as_primitive::<UInt64Type>().value(0) as i64;
        let int = |column: &ArrayRef| column.is_valid(0).then(|| column.as_primitive::<Int64Type>().value(0));
        vec![int(&columns[0]), int(&columns[1]), Some(number)]
    }
    check(numbered, build, |left, _| {
        let mut keys: BTreeMap<i64, Vec<Option<i64>>> = BTreeMap::new();
        left.iter().for_each(|(key, value)| keys.entry(*key).or_default().push(*value));
        let first = |(key, mut values): (i64, Vec<Option<i64>>)| {
            values.sort_by_key(|value| std::cmp::Reverse(*value));
            (1..).zip(values).take(2).map(|(n, value)| vec![Some(key), value, Some(n)]).collect::<Vec<_>>()
        };
        keys.into_iter().flat_map(first).collect()
    });
}
