//! What an aggregate of some events is, by definition.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::exact::spread::Spread;
use headwater_operators::group::Plan;
use headwater_operators::keys;
use headwater_operators::sketch::ddsketch::{self, DdSketch};
use headwater_operators::sketch::hyperloglog::{self, HyperLogLog};
use num_bigint::BigInt;

use crate::model::Event;
use crate::numbers;
use crate::values::Value;

/// The value of a column whose window holds these events.
pub fn value(plan: &Plan, column: &ColumnPlan, events: &[&Event]) -> Value {
    let Some(input) = column.input else { return Value::Int(events.len() as i128) };
    let of_type = &plan.inputs[input];
    let timed: Vec<(i64, &Value)> =
        events.iter().map(|e| (e.ts, &e.values[input])).filter(|(_, v)| **v != Value::Null).collect();
    let values: Vec<&Value> = timed.iter().map(|(_, v)| *v).collect();
    let argument = column.aggregate.argument().unwrap_or_default();
    let n = argument as usize;
    match column.aggregate.name() {
        "count" => Value::Int(values.len() as i128),
        "count_distinct" => Value::Int(frequencies(&values).len() as i128),
        "approx_count_distinct" => Value::Int(sketched_distinct(&values)),
        _ if values.is_empty() => Value::Null,
        "sum" => numbers::sum(of_type, &values),
        "avg" => Value::result(numbers::sum_as_float(of_type, &values) / values.len() as f64),
        "var_pop" => numbers::spread(Spread::VarPop, of_type, &values),
        "var_samp" => numbers::spread(Spread::VarSamp, of_type, &values),
        "stddev_pop" => numbers::spread(Spread::StddevPop, of_type, &values),
        "stddev_samp" => numbers::spread(Spread::StddevSamp, of_type, &values),
        "min" => plain(values.into_iter().min_by(|a, b| order(a, b)).expect("there are values")),
        "max" => plain(values.into_iter().max_by(|a, b| order(a, b)).expect("there are values")),
        "first" => plain(in_time(timed)[0]),
        "last" => plain(in_time(timed).last().expect("there are values")),
        "last_n" => Value::List(in_time(timed).into_iter().rev().take(n).map(plain).collect()),
        "top_k" => Value::List(top(&values, n)),
        "mode" => top(&values, 1).remove(0),
        "approx_percentile" => Value::result(sketched_percentile(of_type, &values, argument)),
        other => panic!("no definition of {other}"),
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

/// By time, then by value.
fn in_time(mut timed: Vec<(i64, &Value)>) -> Vec<&Value> {
    timed.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| order(a.1, b.1)));
    timed.into_iter().map(|(_, v)| v).collect()
}

fn frequencies(values: &[&Value]) -> BTreeMap<Value, usize> {
    let mut frequencies = BTreeMap::new();
    values.iter().for_each(|v| *frequencies.entry(plain(v)).or_default() += 1);
    frequencies
}

fn top(values: &[&Value], k: usize) -> Vec<Value> {
    let mut ranked: Vec<(Value, usize)> = frequencies(values).into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| order(&a.0, &b.0)));
    ranked.into_iter().take(k).map(|(v, _)| v).collect()
}

/// A sketch that has taken these values and no other.
fn sketched_distinct(values: &[&Value]) -> i128 {
    let mut sketch = HyperLogLog::default();
    for value in values {
        let hash = match plain(value) {
            Value::Bool(v) => keys::hash(&u64::from(v).to_le_bytes()),
            Value::Int(v) => keys::hash(&(v as u64).to_le_bytes()),
            Value::Float(bits) => keys::hash(&bits.to_le_bytes()),
            Value::Decimal(v) => keys::hash(&v.to_le_bytes()),
            Value::Text(text) => keys::hash(text.as_bytes()),
            Value::Null | Value::List(_) => panic!("no input: {value:?}"),
        };
        let pair = hyperloglog::pair(hash);
        if !sketch.contains(pair) {
            sketch.insert(pair);
        }
    }
    sketch.estimate().into()
}

fn sketched_percentile(of_type: &DataType, values: &[&Value], p: f64) -> f64 {
    let mut sketch = DdSketch::default();
    for value in values {
        sketch.insert(ddsketch::bucket(match (plain(value), of_type) {
            (Value::Int(v), _) => v as f64,
            (Value::Float(bits), _) => f64::from_bits(bits),
            (Value::Decimal(v), DataType::Decimal128(_, scale)) => {
                numbers::nearest(BigInt::from(v), BigInt::from(10).pow(*scale as u32))
            }
            other => panic!("no number: {other:?}"),
        }));
    }
    sketch.percentile(p).expect("there are values")
}
