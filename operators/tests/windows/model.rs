//! What a trailing group's rows are, by definition: at each tick every window of every key is counted anew.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use headwater_operators::accumulators::{Aggregate, ColumnPlan};
use headwater_operators::group::Plan;
use num_bigint::BigInt;

use crate::values::Value;

#[derive(Clone, Debug)]
pub struct Event {
    pub key: Vec<Value>,
    pub ts: i64,
    /// The tick from which on it counts.
    pub visible: i64,
    /// By input of the plan.
    pub values: Vec<Value>,
}

/// In order: by tick, then key, the retraction before the new row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub time: i64,
    pub key: Vec<Value>,
    pub diff: i8,
    pub row: Vec<Value>,
}

/// The rows that are there, each with the tick at which it last changed.
pub type Rows = BTreeMap<Vec<Value>, (Vec<Value>, i64)>;

/// Every tick from the first to `to`.
pub fn every_tick(plan: &Plan, to: i64) -> BTreeSet<i64> {
    (plan.start..=to).step_by(plan.tick as usize).collect()
}

/// The ticks up to `to` at which an event comes or leaves some window.
pub fn eventful_ticks(plan: &Plan, events: &[Event], to: i64) -> BTreeSet<i64> {
    let mut ticks = BTreeSet::from([plan.start]);
    for event in events {
        ticks.insert(event.visible);
        let tick = i128::from(plan.tick);
        for length in plan.columns.iter().filter_map(|c| c.length) {
            let leaves = (i128::from(event.ts) + i128::from(length) + tick - 1).div_euclid(tick) * tick;
            ticks.extend(i64::try_from(leaves));
        }
    }
    ticks.into_iter().filter(|tick| (plan.start..=to).contains(tick)).collect()
}

pub fn changes(plan: &Plan, events: &[Event], ticks: &BTreeSet<i64>) -> Vec<Change> {
    let mut by_key: BTreeMap<&[Value], Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_key.entry(&event.key).or_default().push(event);
    }
    let mut changes = Vec::new();
    for (key, events) in by_key {
        let mut before = None;
        for time in ticks.iter().copied() {
            let now = row(plan, &events, time);
            if now != before {
                let change = |row, diff| Change { time, key: key.to_vec(), diff, row };
                changes.extend(before.take().map(|row| change(row, -1)));
                changes.extend(now.clone().map(|row| change(row, 1)));
                before = now;
            }
        }
    }
    changes.sort();
    changes
}

/// The rows that changes lead to.
pub fn rows<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Rows {
    let mut rows = Rows::new();
    for change in changes {
        if change.diff > 0 {
            rows.insert(change.key.clone(), (change.row.clone(), change.time));
        } else {
            assert_eq!(
                rows.remove(&change.key).map(|(row, _)| row).as_ref(),
                Some(&change.row),
                "retracts what is there"
            );
        }
    }
    rows
}

/// Events that no window holds when they become visible.
pub fn too_old(plan: &Plan, events: &[Event]) -> usize {
    events.iter().filter(|event| plan.columns.iter().all(|c| !holds(c, event, event.visible))).count()
}

/// row(T) of a key, from its events.
fn row(plan: &Plan, events: &[&Event], now: i64) -> Option<Vec<Value>> {
    let inside = |c: &ColumnPlan| events.iter().copied().filter(|e| holds(c, e, now)).collect::<Vec<_>>();
    let windows: Vec<Vec<&Event>> = plan.columns.iter().map(inside).collect();
    let there = windows.iter().any(|events| !events.is_empty());
    there.then(|| plan.columns.iter().zip(windows).map(|(c, events)| value(plan, c, &events)).collect())
}

fn holds(column: &ColumnPlan, event: &Event, now: i64) -> bool {
    let after = |length| i128::from(event.ts) > i128::from(now) - i128::from(length);
    event.visible <= now && column.length.is_none_or(after)
}

fn value(plan: &Plan, column: &ColumnPlan, events: &[&Event]) -> Value {
    let Some(input) = column.input else { return Value::Int(events.len() as i128) };
    let values: Vec<&Value> = events.iter().map(|e| &e.values[input]).filter(|v| **v != Value::Null).collect();
    match column.aggregate {
        Aggregate::Count => Value::Int(values.len() as i128),
        _ if values.is_empty() => Value::Null,
        Aggregate::Sum => Total::of(&values).value(),
        Aggregate::Avg => Value::result(Total::of(&values).float(&plan.inputs[input]) / values.len() as f64),
        Aggregate::Min => plain(values.into_iter().min_by(|a, b| order(a, b)).expect("there are values")),
        Aggregate::Max => plain(values.into_iter().max_by(|a, b| order(a, b)).expect("there are values")),
        other => panic!("no model of {other:?}"),
    }
}

/// NaN is greatest, and -0.0 is 0.0.
fn order(a: &Value, b: &Value) -> Ordering {
    let (Value::Float(a), Value::Float(b)) = (a, b) else { return a.cmp(b) };
    let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn plain(v: &Value) -> Value {
    if let Value::Float(bits) = v { Value::result(f64::from_bits(*bits)) } else { v.clone() }
}

/// A sum in numbers without end.
enum Total {
    Ints(BigInt),
    Decimals(BigInt),
    /// The finite values in units of two to the power of the second; or what the others make of the sum.
    Floats(BigInt, i64),
    NotFinite(f64),
}

impl Total {
    fn of(values: &[&Value]) -> Total {
        let sum = |number: fn(&Value) -> Option<i128>| values.iter().filter_map(|v| number(v)).map(BigInt::from).sum();
        match values[0] {
            Value::Int(_) => Total::Ints(sum(|v| if let Value::Int(v) = v { Some(*v) } else { None })),
            Value::Decimal(_) => Total::Decimals(sum(|v| if let Value::Decimal(v) = v { Some(*v) } else { None })),
            _ => Total::of_floats(values.iter().map(|v| {
                let Value::Float(bits) = v else { panic!("a sum of {v:?}") };
                f64::from_bits(*bits)
            })),
        }
    }

    fn of_floats(values: impl Iterator<Item = f64> + Clone) -> Total {
        if values.clone().any(|v| !v.is_finite()) {
            return Total::NotFinite(values.filter(|v| !v.is_finite()).sum());
        }
        let parts = values.map(|v| {
            let (bits, sign) = (v.abs().to_bits(), if v < 0.0 { -1 } else { 1 });
            let (fraction, biased) = ((bits & ((1 << 52) - 1)) as i64, (bits >> 52) as i64);
            if biased == 0 { (sign * fraction, -1074) } else { (sign * (fraction + (1 << 52)), biased - 1075) }
        });
        let lowest = parts.clone().map(|(_, exponent)| exponent).min().unwrap_or(0);
        Total::Floats(parts.map(|(m, exponent)| BigInt::from(m) << (exponent - lowest)).sum(), lowest)
    }

    fn value(&self) -> Value {
        match self {
            Total::Ints(sum) => i64::try_from(sum).map_or(Value::Null, |v| Value::Int(v.into())),
            Total::Decimals(sum) => {
                let fits = sum.magnitude().to_string().len() <= 38;
                i128::try_from(sum).ok().filter(|_| fits).map_or(Value::Null, Value::Decimal)
            }
            // How floats are scaled does not lie with the type.
            Total::Floats(..) | Total::NotFinite(_) => Value::result(self.float(&DataType::Float64)),
        }
    }

    /// Rounded once: the digits are written out in full, and read as a float.
    fn float(&self, input: &DataType) -> f64 {
        let digits = match (self, input) {
            (Total::NotFinite(v), _) => return *v,
            (Total::Ints(sum), _) => sum.to_string(),
            (Total::Decimals(sum), DataType::Decimal128(_, scale)) => format!("{sum}e{}", -scale),
            (Total::Decimals(_), other) => panic!("decimals of type {other}"),
            (Total::Floats(sum, exponent @ 0..), _) => (sum << exponent).to_string(),
            (Total::Floats(sum, exponent), _) => {
                format!("{}e{exponent}", sum * BigInt::from(5).pow(exponent.unsigned_abs() as u32))
            }
        };
        digits.parse().expect("digits and an exponent")
    }
}

#[test]
fn sums_of_floats_are_rounded_once() {
    let cases: &[(&[f64], f64)] = &[
        (&[0.1; 10], 1.0),
        (&[1e308, 1e308, -1e308], 1e308),
        (&[f64::MAX, f64::MAX], f64::INFINITY),
        (&[5e-324, 1e300, -1e300], 5e-324),
        (&[9_007_199_254_740_992.0, 1.0, 5e-324], 9_007_199_254_740_994.0),
        (&[f64::INFINITY, 1.0], f64::INFINITY),
    ];
    for (values, sum) in cases {
        assert_eq!(Total::of_floats(values.iter().copied()).float(&DataType::Float64), *sum, "{values:?}");
    }
}
