//! The greatest or least value of one input, of every key: a staircase for the finite windows, one value for `all`.
//!
//! Values are kept in an order-preserving form in which greater is better, so that `min` is `max` of the reverse.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::aggregate::extreme::Staircase;
use crate::value::{Datum, Kind, Values};

/// Of one input, either its greatest or its least values.
pub struct Extremes {
    kind: Kind,
    least: bool,
    keep: Keep,
}

enum Keep {
    Words(Vec<PerKey<i64>>),
    Decimals(Vec<PerKey<i128>>),
    Greatest(Vec<PerKey<Arc<str>>>),
    Least(Vec<PerKey<Reverse<Arc<str>>>>),
}

#[derive(Clone)]
struct PerKey<V> {
    recent: Staircase<V>,
    ever: Option<V>,
}

impl<V> Default for PerKey<V> {
    fn default() -> Self {
        PerKey { recent: Staircase::default(), ever: None }
    }
}

impl<V: Ord + Clone> PerKey<V> {
    fn insert(&mut self, ts: i64, value: V, recent: bool) {
        if self.ever.as_ref().is_none_or(|ever| *ever < value) {
            self.ever = Some(value.clone());
        }
        if recent {
            self.recent.insert(ts, value);
        }
    }

    fn best(&self, after: Option<i64>) -> Option<&V> {
        match after {
            Some(after) => self.recent.greatest(after),
            None => self.ever.as_ref(),
        }
    }
}

impl Extremes {
    /// `least`: whether the least is best.
    pub fn new(kind: Kind, least: bool) -> Extremes {
        let keep = match (kind, least) {
            (Kind::Decimal { .. }, _) => Keep::Decimals(vec![]),
            (Kind::Text, false) => Keep::Greatest(vec![]),
            (Kind::Text, true) => Keep::Least(vec![]),
            _ => Keep::Words(vec![]),
        };
        Extremes { kind, least, keep }
    }

    /// Makes room for so many keys.
    pub fn grow(&mut self, keys: usize) {
        match &mut self.keep {
            Keep::Words(all) => all.resize_with(keys, PerKey::default),
            Keep::Decimals(all) => all.resize_with(keys, PerKey::default),
            Keep::Greatest(all) => all.resize_with(keys, PerKey::default),
            Keep::Least(all) => all.resize_with(keys, PerKey::default),
        }
    }

    /// Takes a value in that is not null. `recent`: a finite window holds the event.
    pub fn insert(&mut self, key: usize, ts: i64, values: &Values, row: usize, recent: bool) {
        match (&mut self.keep, values) {
            (Keep::Words(all), Values::Words(words)) => {
                let v = ordered(self.kind, words[row]);
                all[key].insert(ts, if self.least { !v } else { v }, recent);
            }
            (Keep::Decimals(all), Values::Decimals(decimals)) => {
                let v = decimals.value(row);
                all[key].insert(ts, if self.least { !v } else { v }, recent);
            }
            (Keep::Greatest(all), Values::Texts(texts)) => all[key].insert(ts, texts.value(row).into(), recent),
            (Keep::Least(all), Values::Texts(texts)) => all[key].insert(ts, Reverse(texts.value(row).into()), recent),
            _ => unreachable!("an input keeps its type"),
        }
    }

    /// The best value with an event time after `after`, or ever.
    pub fn best(&self, key: usize, after: Option<i64>) -> Datum {
        let reversed = |v: i64| if self.least { !v } else { v };
        let best = match &self.keep {
            Keep::Words(all) => all[key].best(after).map(|v| Datum::Word(unordered(self.kind, reversed(*v)))),
            Keep::Decimals(all) => all[key].best(after).map(|v| Datum::decimal(if self.least { !*v } else { *v })),
            Keep::Greatest(all) => all[key].best(after).map(|v| Datum::Text(v.clone())),
            Keep::Least(all) => all[key].best(after).map(|v| Datum::Text(v.0.clone())),
        };
        best.unwrap_or_default()
    }

    /// Forgets what lies at or before `until`.
    pub fn forget(&mut self, key: usize, until: i64) {
        match &mut self.keep {
            Keep::Words(all) => all[key].recent.forget(until),
            Keep::Decimals(all) => all[key].recent.forget(until),
            Keep::Greatest(all) => all[key].recent.forget(until),
            Keep::Least(all) => all[key].recent.forget(until),
        }
    }
}

/// Bits -> an i64 in the order of the values; NaN is greatest.
fn ordered(kind: Kind, word: u64) -> i64 {
    match kind {
        Kind::UInt => (word ^ 1 << 63) as i64,
        Kind::Float => flip(word as i64),
        _ => word as i64,
    }
}

fn unordered(kind: Kind, v: i64) -> u64 {
    match kind {
        Kind::UInt => v as u64 ^ 1 << 63,
        Kind::Float => flip(v) as u64,
        _ => v as u64,
    }
}

/// A float's bits in the order of its value, and back: negative floats count downwards.
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_order() {
        let values = [f64::NEG_INFINITY, -1e300, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1e300, f64::INFINITY, f64::NAN];
        let ordered: Vec<i64> = values.iter().map(|v| ordered(Kind::Float, v.to_bits())).collect();
        assert!(ordered.is_sorted(), "{ordered:?}");
        for (v, o) in values.iter().zip(ordered) {
            assert_eq!(unordered(Kind::Float, o), v.to_bits());
        }
    }
}
