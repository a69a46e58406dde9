//! Random groups and events.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use headwater_clocks::{Span, Tick, Time};
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::aggregate::{AGGREGATES, Aggregate, Range};
use headwater_operators::group::{Plan, Window};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::days;
use crate::drive::Group;
use crate::model::{self, Event, up};
use crate::values::Value;

#[derive(Debug)]
pub struct Case {
    pub group: Arc<Group>,
    pub events: Vec<Event>,
    /// By event: its partition, in which `eff` never falls.
    pub partitions: Vec<usize>,
    /// The last tick.
    pub to: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Trailing,
    Hopping,
    Calendar,
    Session,
}

impl Kind {
    pub fn any(rng: &mut StdRng) -> Kind {
        *[Kind::Trailing, Kind::Hopping, Kind::Calendar, Kind::Session].choose(rng).unwrap()
    }
}

impl Case {
    pub fn random(kind: Kind, rng: &mut StdRng) -> Case {
        let plan = match kind {
            Kind::Calendar => random_days(rng),
            _ => {
                let tick = *[1, 7, 100, 10_000].choose(rng).unwrap();
                let start = up(rng.random_range(-5_000..5_000), Span::from_us(tick));
                random_plan(kind, tick, start, rng)
            }
        };
        let (tick, start) = (plan.tick.us(), plan.start.us());
        let keys = if rng.random() { vec![DataType::Utf8] } else { vec![DataType::Int64, DataType::Utf8] };
        let (events, partitions) = random_events(&plan, &keys, rng).into_iter().unzip();
        let mut case = Case { group: Arc::new(Group { plan, keys }), events, partitions, to: start };
        let last = case.events.iter().map(|e| e.visible).max().unwrap_or(start);
        let past = reach(&case.group.plan) + 3 * tick;
        case.to = up(last + rng.random_range(0..past + past / 3), Span::from_us(tick));
        case
    }

    /// One in which some events are taken back, most of them because others stand in their place: the same once more, or with other values.
    pub fn corrected(kind: Kind, rng: &mut StdRng) -> Case {
        let mut case = Case::random(kind, rng);
        let group = Group { plan: Plan { corrected: true, ..case.group.plan.clone() }, ..case.group.as_ref().clone() };
        let Plan { tick, inputs, .. } = &group.plan;
        let (span, wild) = (1 + reach(&group.plan) / 2, rng.random_bool(0.3));
        let mut at = 0;
        while at < case.events.len() && case.events.len() < 200 {
            if rng.random_bool(0.4) {
                let event = &mut case.events[at];
                let gone = up(event.visible + 1 + rng.random_range(0..span), *tick);
                event.gone = Some(gone);
                let mut other = Event { visible: gone, comes: gone, gone: None, ..event.clone() };
                let takes = rng.random_bool(0.8);
                if rng.random_bool(0.7) {
                    other.values = inputs.iter().map(|t| random_value(t, wild, rng)).collect();
                }
                if takes {
                    case.events.push(other);
                    case.partitions.push(case.partitions[at]);
                }
            }
            at += 1;
        }
        let last = case.events.iter().map(|e| e.gone.unwrap_or(e.visible)).max().unwrap_or(case.to);
        case.to = case.to.max(up(last + reach(&group.plan) / 2, *tick));
        case.group = Arc::new(group);
        case
    }

    /// By then everything has been forgotten.
    pub fn end(&self) -> i64 {
        up(self.to + 3 * reach(&self.group.plan), self.group.plan.tick)
    }
}

/// How far back an event may lie that matters; roughly.
fn reach(plan: &Plan) -> i64 {
    plan.lateness.max(plan.retain).us()
        + match plan.window {
            Window::Trailing => plan.columns.iter().filter_map(|c| c.length).max().unwrap_or(plan.tick).us(),
            Window::Hopping { size, .. } => size.us(),
            Window::Calendar(calendar) => calendar.size() * days::DAY_US,
            Window::Session { gap } => 2 * gap.us(),
        }
}

/// Days about a time at which clocks are set.
fn random_days(rng: &mut StdRng) -> Plan {
    let (calendar, moment) = days::random(rng);
    let tick = *[1_000_000, 600_000_000, 3_600_000_000].choose(rng).unwrap();
    let start = up(moment + rng.random_range(-2 * days::DAY_US..days::DAY_US), Span::from_us(tick));
    let plan = random_plan(Kind::Calendar, tick, start, rng);
    let lateness = if rng.random() { 0 } else { rng.random_range(0..2 * days::DAY_US) };
    let retain = lateness + if rng.random() { 0 } else { rng.random_range(0..2 * days::DAY_US) };
    let (lateness, retain) = (Span::from_us(lateness), Span::from_us(retain));
    Plan { window: Window::Calendar(calendar), lateness, retain, ..plan }
}

fn random_plan(kind: Kind, tick: i64, start: i64, rng: &mut StdRng) -> Plan {
    let lifetime = kind == Kind::Trailing && rng.random_bool(0.3);
    let lengths: Vec<i64> = (0..rng.random_range(1..4)).map(|_| random_length(tick, rng)).collect();
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
    let mut columns = Vec::new();
    let wanted = rng.random_range(1..7);
    while columns.len() < wanted {
        let aggregate = random_aggregate(rng);
        let input = rng.random_bool(0.9).then(|| rng.random_range(0..inputs.len()));
        let forever = kind != Kind::Trailing || lifetime && rng.random_bool(0.3);
        let length = if forever { None } else { lengths.choose(rng).copied() };
        if aggregate.result(input.map(|i| &inputs[i])).is_ok() {
            let length = length.map(Span::from_us);
            columns.push(ColumnPlan { name: format!("c{}", columns.len()), aggregate, input, length });
        }
    }
    let size = lengths[0];
    let span = Span::from_us;
    let (window, least_retain) = match kind {
        Kind::Trailing => return Plan::trailing(columns, inputs, span(tick), Tick::from_us(start)),
        Kind::Hopping | Kind::Calendar if rng.random() => (Window::Hopping { size: span(size), every: span(size) }, 0),
        Kind::Hopping | Kind::Calendar => {
            let every = rng.random_range(size / 6..=size + size / 2).max(1);
            (Window::Hopping { size: span(size), every: span(every) }, 0)
        }
        Kind::Session => (Window::Session { gap: span(size) }, size),
    };
    let lateness = if rng.random() { 0 } else { rng.random_range(0..2 * size + tick) };
    let retain = lateness + least_retain + if rng.random() { 0 } else { rng.random_range(0..2 * size + tick) };
    let places = (0..columns.len()).map(Some).collect();
    let (retain, lateness, tick, start) = (span(retain), span(lateness), span(tick), Tick::from_us(start));
    Plan { window, retain, lateness, columns, places, inputs, tick, start, added: vec![], corrected: false }
}

fn random_length(tick: i64, rng: &mut StdRng) -> i64 {
    match rng.random_range(0..4) {
        0 => rng.random_range(1..=tick),
        1 => tick * rng.random_range(1..10),
        2 => rng.random_range(1..tick * 40),
        _ => tick * rng.random_range(1..1_000),
    }
}

fn random_aggregate(rng: &mut StdRng) -> Aggregate {
    let aggregate = AGGREGATES.choose(rng).unwrap();
    let argument = aggregate.parameter.as_ref().map(|parameter| match parameter.range {
        Range::Count(_) => f64::from(rng.random_range(1..5)),
        Range::Share => *[0.0, 0.25, 0.5, 0.99, 1.0].choose(rng).unwrap(),
    });
    aggregate.with(argument).unwrap()
}

/// Ties, late ones, some far too old, some from the future, from partitions of which some lag behind and are read when
/// their time has passed; and before all that a history.
fn random_events(plan: &Plan, keys: &[DataType], rng: &mut StdRng) -> Vec<(Event, usize)> {
    let wild = rng.random_bool(0.5);
    // Now and then a crowd.
    let crowd = rng.random_bool(0.005);
    let (key_count, stream) = if crowd { (2000, 1500) } else { (rng.random_range(1..4), 50) };
    let history = rng.random_range(0..if crowd { 1500 } else { 30 });
    let (longest, tick, start) = (reach(plan), plan.tick.us(), plan.start.us());
    let slow = if rng.random() { 3 * tick } else { 1 + longest / 4 };
    let pace = rng.random_range(1..=slow);
    let lag = if rng.random() { 0 } else { rng.random_range(0..=longest) };
    let mut now = start;
    let mut read = vec![start - lag; rng.random_range(1..4)];
    let event = |n: i32| {
        if n >= history && rng.random_bool(0.7) {
            now += rng.random_range(0..pace);
        }
        let partition = rng.random_range(0..read.len());
        let ahead = if rng.random_bool(0.7) { now } else { now - rng.random_range(0..=lag) };
        let eff = read[partition].max(ahead);
        read[partition] = eff;
        let ts = match rng.random_range(0..10) {
            0..4 => eff,
            4..9 => eff - rng.random_range(0..=longest + longest / 4) / rng.random_range(1..50),
            _ if n < history => eff - longest,
            _ if wild && rng.random_bool(0.2) => i64::MIN + rng.random_range(0..10),
            _ => eff + rng.random_range(0..2 * tick + longest / 4),
        };
        let comes = up(now, plan.tick).max(start);
        let visible = comes.max(model::visible(plan, eff, ts));
        let key = rng.random_range(0..key_count);
        let part = |t: &DataType| if *t == DataType::Utf8 { Value::Text(format!("k{key}")) } else { Value::Int(key) };
        let values = plan.inputs.iter().map(|t| random_value(t, wild, rng)).collect();
        let key = keys.iter().map(part).collect();
        (Event { key, ts, eff, comes, visible, values, gone: None, takes_back: false }, partition)
    };
    let events = (0..history + stream).map(event);
    // Dead letters never come here; but of hopping windows each may judge by itself.
    let judged = match plan.window {
        Window::Hopping { size, every } => size != every,
        Window::Calendar(calendar) => calendar.size() != calendar.every(),
        _ => false,
    };
    events.filter(|(event, _)| judged || !model::is_late(plan, event)).collect()
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
        // Often the same again.
        DataType::Float64 if rng.random_bool(0.3) => Value::Float(f64::from(rng.random_range(-2..3)).to_bits()),
        DataType::Float64 => Value::Float((f64::from(rng.random_range(-9999..9999)) / 100.0).to_bits()),
        DataType::Float32 if far => Value::Float(f64::from(far_float(rng) as f32).to_bits()),
        DataType::Float32 => Value::Float(f64::from(rng.random_range(-99..99) as f32 / 10.0).to_bits()),
        DataType::Int64 if far => Value::Int(*[i64::MIN, i64::MAX, i64::MAX - 1].choose(rng).unwrap() as i128),
        DataType::UInt64 if far => Value::Int(u64::MAX as i128 - rng.random_range(0..2)),
        DataType::UInt64 => Value::Int(rng.random_range(0..20)),
        DataType::Decimal128(38, _) if far => {
            Value::Decimal((10i128.pow(38) - rng.random_range(1..3)) * [-1, 1].choose(rng).unwrap())
        }
        DataType::Decimal128(38, _) => Value::Decimal(rng.random_range(-999..999)),
        DataType::Decimal128(_, _) => Value::Decimal(rng.random_range(-9..9)),
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
