//! The greatest or least value of one input, of every unit: a staircase for the finite windows, one value for `all`.
//!
//! Values are kept in an order-preserving form in which greater is better, so that `min` is `max` of the reverse.

use std::cmp::Reverse;
use std::sync::Arc;

use headwater_clocks::EventTime;

use super::rings::Rings;
use super::staircase::Staircase;
use super::synopsis::{Arrival, Asked, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Ordered, Values, ordered, unordered};

/// Of one input, its least values, or its greatest.
pub struct Extremes<const LEAST: bool> {
    kind: Kind,
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
    fn insert(&mut self, ts: EventTime, value: V, recent: bool) {
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

    fn best(&self, after: Option<EventTime>) -> Option<&V> {
        match after {
            Some(after) => self.recent.greatest(after),
            None => self.ever.as_ref(),
        }
    }
}

impl<const LEAST: bool> Extremes<LEAST> {
    /// The best value of a window.
    pub fn best(&mut self, asked: &Asked) -> Datum {
        let (unit, after) = (asked.unit, asked.after());
        let best = match &self.keep {
            Keep::Words(all) => {
                all[unit].best(after).map(|v| Datum::Word(unordered(self.kind, if LEAST { !*v } else { *v })))
            }
            Keep::Decimals(all) => all[unit].best(after).map(|v| Datum::decimal(if LEAST { !*v } else { *v })),
            Keep::Greatest(all) => all[unit].best(after).map(|v| Datum::Text(v.clone())),
            Keep::Least(all) => all[unit].best(after).map(|v| Datum::Text(v.0.clone())),
        };
        best.unwrap_or_default()
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

impl<const LEAST: bool> Synopsis for Extremes<LEAST> {
    fn new(kind: Kind, rings: Rings, _: &[f64]) -> Extremes<LEAST> {
        let keep = match kind {
            Kind::Bool | Kind::Int | Kind::UInt | Kind::Float => Keep::Words(vec![]),
            Kind::Decimal { .. } => Keep::Decimals(vec![]),
            Kind::Text if LEAST => Keep::Least(vec![]),
            Kind::Text => Keep::Greatest(vec![]),
        };
        Extremes { kind, rings, keep }
    }

    fn grow(&mut self, units: usize) {
        of_any_type!(&mut self.keep, all => all.resize_with(units, PerUnit::default));
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let Arrival { unit, ts, row, .. } = arrival;
        let recent = self.rings.finite_holds(arrival.class);
        match (&mut self.keep, arrival.values) {
            (Keep::Words(all), Values::Words(words)) => {
                let v = ordered(self.kind, words[row]);
                all[unit].insert(ts, if LEAST { !v } else { v }, recent);
            }
            (Keep::Decimals(all), Values::Decimals(decimals)) => {
                let v = decimals.value(row);
                all[unit].insert(ts, if LEAST { !v } else { v }, recent);
            }
            (Keep::Greatest(all), Values::Texts(texts)) => all[unit].insert(ts, texts.value(row).into(), recent),
            (Keep::Least(all), Values::Texts(texts)) => all[unit].insert(ts, Reverse(texts.value(row).into()), recent),
            _ => unreachable!("an input keeps its type"),
        }
        0
    }

    fn forget(&mut self, unit: usize, until: EventTime) {
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

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        of_any_type!(&self.keep, all => {
            let steps: Vec<(EventTime, Ordered)> = all[unit].recent.iter().map(|(ts, v)| (ts, v.kept())).collect();
            put(out, &(steps, all[unit].ever.as_ref().map(Packed::kept)));
        });
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], _: &Loading) -> Result<(), Damaged> {
        let (steps, ever): (Vec<(EventTime, Ordered)>, Option<Ordered>) = get(input)?;
        of_any_type!(&mut self.keep, all => {
            for (ts, value) in steps {
                all[unit].recent.insert(ts, Packed::from_kept(value)?);
            }
            all[unit].ever = ever.map(Packed::from_kept).transpose()?;
        });
        Ok(())
    }
}

/// The form in which values are kept, as bytes.
trait Packed: Sized {
    fn kept(&self) -> Ordered;
    fn from_kept(value: Ordered) -> Result<Self, Damaged>;
}

fn another_type<T>() -> Result<T, Damaged> {
    Err(Damaged("a value of another type".to_owned()))
}

impl Packed for i64 {
    fn kept(&self) -> Ordered {
        Ordered::Word(*self)
    }

    fn from_kept(value: Ordered) -> Result<i64, Damaged> {
        if let Ordered::Word(v) = value { Ok(v) } else { another_type() }
    }
}

impl Packed for i128 {
    fn kept(&self) -> Ordered {
        Ordered::Wide((self >> 64) as i64, *self as u64)
    }

    fn from_kept(value: Ordered) -> Result<i128, Damaged> {
        if let Ordered::Wide(high, low) = value { Ok(i128::from(high) << 64 | i128::from(low)) } else { another_type() }
    }
}

impl Packed for Arc<str> {
    fn kept(&self) -> Ordered {
        Ordered::Text(self.clone())
    }

    fn from_kept(value: Ordered) -> Result<Arc<str>, Damaged> {
        if let Ordered::Text(text) = value { Ok(text) } else { another_type() }
    }
}

impl Packed for Reverse<Arc<str>> {
    fn kept(&self) -> Ordered {
        self.0.kept()
    }

    fn from_kept(value: Ordered) -> Result<Self, Damaged> {
        Arc::from_kept(value).map(Reverse)
    }
}
