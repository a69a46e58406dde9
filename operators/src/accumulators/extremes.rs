//! The greatest or least value of one input, of every unit: a staircase for the finite windows, one value for `all`.
//!
//! Values are kept in an order-preserving form in which greater is better, so that `min` is `max` of the reverse.

use std::cmp::Reverse;
use std::sync::Arc;

use super::keeper::{Arrival, Keeper};
use super::layout::{Asked, Rings};
use crate::aggregate::extreme::Staircase;
use crate::value::{Datum, Kind, Values, ordered, unordered};

/// Of one input, either its greatest or its least values.
pub struct Extremes {
    kind: Kind,
    least: bool,
    rings: Rings,
    keep: Keep,
}

enum Keep {
    Words(Vec<PerUnit<i64>>),
    Decimals(Vec<PerUnit<i128>>),
    Greatest(Vec<PerUnit<Arc<str>>>),
    Least(Vec<PerUnit<Reverse<Arc<str>>>>),
}

#[derive(Clone)]
struct PerUnit<V> {
    recent: Staircase<V>,
    ever: Option<V>,
}

impl<V> Default for PerUnit<V> {
    fn default() -> Self {
        PerUnit { recent: Staircase::default(), ever: None }
    }
}

impl<V: Ord + Clone> PerUnit<V> {
    fn insert(&mut self, ts: i64, value: V, recent: bool) {
        if self.ever.as_ref().is_none_or(|ever| *ever < value) {
            self.ever = Some(value.clone());
        }
        if recent {
            self.recent.insert(ts, value);
        }
    }

    fn merge(&mut self, from: PerUnit<V>) {
        debug_assert!(from.recent.is_empty());
        if from.ever > self.ever {
            self.ever = from.ever;
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
    pub fn new(kind: Kind, rings: Rings, least: bool) -> Extremes {
        let keep = match (kind, least) {
            (Kind::Decimal { .. }, _) => Keep::Decimals(vec![]),
            (Kind::Text, false) => Keep::Greatest(vec![]),
            (Kind::Text, true) => Keep::Least(vec![]),
            _ => Keep::Words(vec![]),
        };
        Extremes { kind, least, rings, keep }
    }
}

/// The same for each type of value.
macro_rules! of_any_type {
    ($keep:expr, $all:ident => $do:expr) => {
        match $keep {
            Keep::Words($all) => $do,
            Keep::Decimals($all) => $do,
            Keep::Greatest($all) => $do,
            Keep::Least($all) => $do,
        }
    };
}

impl Keeper for Extremes {
    fn grow(&mut self, units: usize) {
        of_any_type!(&mut self.keep, all => all.resize_with(units, PerUnit::default));
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let Arrival { unit, ts, row, .. } = arrival;
        let recent = self.rings.finite_holds(arrival.class);
        match (&mut self.keep, arrival.values) {
            (Keep::Words(all), Values::Words(words)) => {
                let v = ordered(self.kind, words[row]);
                all[unit].insert(ts, if self.least { !v } else { v }, recent);
            }
            (Keep::Decimals(all), Values::Decimals(decimals)) => {
                let v = decimals.value(row);
                all[unit].insert(ts, if self.least { !v } else { v }, recent);
            }
            (Keep::Greatest(all), Values::Texts(texts)) => all[unit].insert(ts, texts.value(row).into(), recent),
            (Keep::Least(all), Values::Texts(texts)) => all[unit].insert(ts, Reverse(texts.value(row).into()), recent),
            _ => unreachable!("an input keeps its type"),
        }
        0
    }

    fn forget(&mut self, unit: usize, until: i64) {
        of_any_type!(&mut self.keep, all => all[unit].recent.forget(until));
    }

    fn merge(&mut self, into: usize, from: usize) {
        of_any_type!(&mut self.keep, all => {
            let from = std::mem::take(&mut all[from]);
            all[into].merge(from);
        });
    }

    fn clear(&mut self, unit: usize) {
        of_any_type!(&mut self.keep, all => all[unit] = PerUnit::default());
    }

    fn value(&mut self, unit: usize, asked: &Asked, now: i64) -> Datum {
        let after = asked.length.map(|length| now.saturating_sub(length));
        let reversed = |v: i64| if self.least { !v } else { v };
        let best = match &self.keep {
            Keep::Words(all) => all[unit].best(after).map(|v| Datum::Word(unordered(self.kind, reversed(*v)))),
            Keep::Decimals(all) => all[unit].best(after).map(|v| Datum::decimal(if self.least { !*v } else { *v })),
            Keep::Greatest(all) => all[unit].best(after).map(|v| Datum::Text(v.clone())),
            Keep::Least(all) => all[unit].best(after).map(|v| Datum::Text(v.0.clone())),
        };
        best.unwrap_or_default()
    }
}
