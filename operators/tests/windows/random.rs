//! Random groups and events: however the events come in and the ticks are finished, the changes are the model's.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use headwater_operators::accumulators::{Aggregate, ColumnPlan};
use headwater_operators::group::Plan;
use headwater_operators::ledger::up;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::drive::{Group, Run, assert_same};
use crate::model::{self, Change, Event};
use crate::values::Value;

const CASES: u64 = 3000;

#[derive(Debug)]
pub struct Case {
    pub group: Arc<Group>,
    pub events: Vec<Event>,
    /// The last tick.
    pub to: i64,
}

/// How events come in, and how ticks are finished.
#[derive(Clone, Debug)]
struct Way {
    name: &'static str,
    /// What `advance` is asked for, one after the other. Events come just before the first that makes them visible.
    targets: Vec<i64>,
    /// Events in a batch at most.
    batch: usize,
    shuffled: bool,
    budget: usize,
    /// While a backlog is worked off, events come that are due after it.
    eager: bool,
    take_often: bool,
    resident_max: usize,
}

#[test]
fn every_way_gives_the_same_changes() {
    for seed in 0..CASES {
        let mut rng = StdRng::seed_from_u64(seed);
        let case = Case::random(&mut rng);
        let Case { group, events, to } = &case;
        let mut ticks = model::eventful_ticks(&group.plan, events, *to);
        if (to - group.plan.start) / group.plan.tick < 300 {
            ticks = model::every_tick(&group.plan, *to);
        }
        let expected = model::changes(&group.plan, events, &ticks);
        for way in case.ways(&ticks, &mut rng) {
            case.check(&way, &expected, &mut rng, &|| format!("seed {seed}, {}: {way:?}, {:?}", way.name, group.plan));
        }
    }
}

impl Case {
    pub fn random(rng: &mut StdRng) -> Case {
        let tick = *[1, 7, 100, 10_000].choose(rng).unwrap();
        let start = up(rng.random_range(-5_000..5_000), tick);
        let plan = random_plan(tick, start, rng);
        let keys = if rng.random() { vec![DataType::Utf8] } else { vec![DataType::Int64, DataType::Utf8] };
        let events = random_events(&plan, &keys, rng);
        let last = events.iter().map(|e| e.visible).max().unwrap_or(start);
        let past = longest(&plan) + 3 * tick;
        let to = up(last + rng.random_range(0..past + past / 3), tick);
        Case { group: Arc::new(Group { plan, keys }), events, to }
    }

    fn ways(&self, ticks: &BTreeSet<i64>, rng: &mut StdRng) -> Vec<Way> {
        let Plan { start, tick, .. } = self.group.plan;
        let spill = |rng: &mut StdRng| if rng.random() { 0 } else { 1 << 20 };
        let at_once = Way {
            name: "everything at once",
            targets: vec![self.to],
            batch: usize::MAX,
            shuffled: false,
            budget: usize::MAX,
            eager: false,
            take_often: false,
            resident_max: 1 << 20,
        };
        let spilled = Way { name: "spilled", resident_max: 0, ..at_once.clone() };
        let tick_by_tick = Way {
            name: "tick by tick",
            targets: ticks.iter().copied().chain([self.to]).collect(),
            take_often: true,
            resident_max: spill(rng),
            ..at_once.clone()
        };
        let in_pieces = Way {
            name: "in pieces",
            targets: [start - tick, start, start + rng.random_range(0..=self.to - start), self.to].into(),
            batch: rng.random_range(1..8),
            shuffled: true,
            budget: rng.random_range(1..4),
            eager: true,
            take_often: rng.random(),
            resident_max: spill(rng),
        };
        vec![at_once, spilled, tick_by_tick, in_pieces]
    }

    fn check(&self, way: &Way, expected: &[Change], rng: &mut StdRng, context: &dyn Fn() -> String) {
        let Plan { start, tick, .. } = self.group.plan;
        let rows_from =
            if rng.random() { start } else { start + tick * rng.random_range(0..=(self.to - start) / tick) };
        // At the end rows are asked for, whatever `rows_from` says.
        let rows_from = if rng.random_bool(0.2) { i64::MAX } else { rows_from };
        let mut run = Run::new(&self.group, way.resident_max, rows_from, self.to);
        self.drive(way, &mut run, rng);
        assert_same(&run.sorted_changes(), expected, context);
        assert_eq!(run.rows, model::rows(expected), "{}", context());
        let counters = run.state.counters();
        assert_eq!(counters.events, self.events.len() as u64, "{}", context());
        assert_eq!(counters.too_old, model::too_old(&self.group.plan, &self.events) as u64, "{}", context());
        assert_eq!(counters.rows, run.rows.len() as u64, "{}", context());
    }

    fn drive(&self, way: &Way, run: &mut Run, rng: &mut StdRng) {
        let mut waiting = self.events.clone();
        if way.shuffled {
            waiting.shuffle(rng);
        }
        for &target in &way.targets {
            let (now, later) = waiting.into_iter().partition(|e| e.visible <= target);
            waiting = later;
            insert(run, now, way.batch);
            loop {
                let done = run.advance(target, way.budget);
                if way.take_often || done == self.to {
                    run.take(done);
                }
                if done == target {
                    break;
                }
                if way.eager && rng.random_bool(0.3) {
                    let some = rng.random_range(0..=waiting.len());
                    insert(run, waiting.split_off(some), way.batch);
                }
            }
        }
        assert!(waiting.is_empty());
    }
}

fn insert(run: &mut Run, events: Vec<Event>, batch: usize) {
    events.chunks(batch.min(events.len().max(1))).for_each(|events| run.insert(events));
}

fn longest(plan: &Plan) -> i64 {
    plan.columns.iter().filter_map(|c| c.length).max().unwrap_or(plan.tick)
}

fn random_plan(tick: i64, start: i64, rng: &mut StdRng) -> Plan {
    let types = [
        DataType::Float64,
        DataType::Float64,
        DataType::Float32,
        DataType::Int64,
        DataType::Int16,
        DataType::UInt64,
        DataType::Decimal128(38, 2),
        DataType::Decimal128(9, 0),
        DataType::Utf8,
        DataType::Boolean,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    ];
    let inputs: Vec<DataType> = (0..rng.random_range(1..4)).map(|_| types.choose(rng).unwrap().clone()).collect();
    let length = |rng: &mut StdRng| match rng.random_range(0..4) {
        0 => rng.random_range(1..=tick),
        1 => tick * rng.random_range(1..10),
        2 => rng.random_range(1..tick * 40),
        _ => tick * rng.random_range(1..1_000),
    };
    let lengths: Vec<i64> = (0..rng.random_range(1..4)).map(|_| length(rng)).collect();
    let lifetime = rng.random_bool(0.3);
    let aggregates = [Aggregate::Count, Aggregate::Sum, Aggregate::Avg, Aggregate::Min, Aggregate::Max];
    let mut columns = Vec::new();
    let wanted = rng.random_range(1..7);
    while columns.len() < wanted {
        let aggregate = *aggregates.choose(rng).unwrap();
        let input = rng.random_bool(0.85).then(|| rng.random_range(0..inputs.len()));
        let length = if lifetime && rng.random_bool(0.3) { None } else { lengths.choose(rng).copied() };
        if aggregate.result(input.map(|i| &inputs[i])).is_some() {
            columns.push(ColumnPlan { name: format!("c{}", columns.len()), aggregate, input, length });
        }
    }
    Plan::trailing(columns, inputs, tick, start)
}

/// Ties, late ones, some far too old, some from the future; and before all that a history.
fn random_events(plan: &Plan, keys: &[DataType], rng: &mut StdRng) -> Vec<Event> {
    let wild = rng.random_bool(0.5);
    let key_count = rng.random_range(1..4);
    let history = rng.random_range(0..30);
    let longest = longest(plan);
    let pace = rng.random_range(1..=3 * plan.tick);
    let mut now = plan.start;
    let mut event = |n: i32| {
        if n >= history && rng.random_bool(0.7) {
            now += rng.random_range(0..pace);
        }
        let ts = match rng.random_range(0..10) {
            0..4 => now,
            4..9 => now - rng.random_range(0..=longest + longest / 4) / rng.random_range(1..50),
            _ if n < history => now - longest,
            _ if wild && rng.random_bool(0.2) => i64::MIN + rng.random_range(0..10),
            _ => now + rng.random_range(0..2 * plan.tick + longest / 4),
        };
        let visible = up(now.max(ts), plan.tick).max(plan.start);
        let key = rng.random_range(0..key_count);
        let part = |t: &DataType| if *t == DataType::Utf8 { Value::Text(format!("k{key}")) } else { Value::Int(key) };
        let values = plan.inputs.iter().map(|t| random_value(t, wild, rng)).collect();
        Event { key: keys.iter().map(part).collect(), ts, visible, values }
    };
    (0..history + 50).map(&mut event).collect()
}

fn random_value(data_type: &DataType, wild: bool, rng: &mut StdRng) -> Value {
    if rng.random_bool(0.15) {
        return Value::Null;
    }
    let far = wild && rng.random_bool(0.3);
    match data_type {
        DataType::Boolean => Value::Bool(rng.random()),
        DataType::Utf8 => Value::Text(["", "a", "ab", "b", "\u{e9}", "\u{10000}"].choose(rng).unwrap().to_string()),
        DataType::Float64 if far => Value::Float(far_float(rng).to_bits()),
        DataType::Float64 => Value::Float((f64::from(rng.random_range(-9999..9999)) / 100.0).to_bits()),
        DataType::Float32 if far => Value::Float(f64::from(far_float(rng) as f32).to_bits()),
        DataType::Float32 => Value::Float(f64::from(rng.random_range(-99..99) as f32 / 10.0).to_bits()),
        DataType::Int64 if far => Value::Int(*[i64::MIN, i64::MAX, i64::MAX - 1].choose(rng).unwrap() as i128),
        DataType::UInt64 if far => Value::Int(u64::MAX as i128 - rng.random_range(0..2)),
        DataType::UInt64 => Value::Int(rng.random_range(0..20)),
        DataType::Decimal128(38, _) if far => {
            Value::Decimal((10i128.pow(38) - rng.random_range(1..3)) * [-1, 1].choose(rng).unwrap())
        }
        DataType::Decimal128(_, _) => Value::Decimal(rng.random_range(-999..999)),
        _ => Value::Int(rng.random_range(-20..20)),
    }
}

fn far_float(rng: &mut StdRng) -> f64 {
    const FAR: [f64; 12] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        f64::MAX,
        -f64::MAX,
        1e308,
        5e-324,
        -5e-324,
        f64::MIN_POSITIVE,
        4_503_599_627_370_496.0,
        1e-30,
    ];
    // Any bits, a NaN with a sign or a payload among them.
    if rng.random() { *FAR.choose(rng).unwrap() } else { f64::from_bits(rng.random()) }
}
