//! The values of every unit by event time, for `first`, `last` and `last_n` where events may be taken back: of those at the same
//! time the smaller value is first, the greater last.
//!
//! Any of them may become the first or the last once others are taken back, so each is kept while a window holds it.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use headwater_clocks::EventTime;

use super::multisets::counted;
use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Ordered};

/// Of one input.
pub struct Dated {
    kind: Kind,
    rings: Rings,
    /// By unit.
    units: Vec<ByTime>,
}

/// By event time the values, with how often each occurs.
type ByTime = BTreeMap<EventTime, BTreeMap<Ordered, u64>>;

impl Dated {
    /// The first value of a window by event time.
    pub fn first(&mut self, asked: &Asked) -> Datum {
        let first = self.inside(asked).next().and_then(|(_, values)| values.first_key_value());
        first.map(|(value, _)| value.datum(self.kind)).unwrap_or_default()
    }

    /// The values of a window, the latest first.
    pub fn newest_first(&self, asked: &Asked) -> impl Iterator<Item = Datum> {
        let kind = self.kind;
        let newest = self.inside(asked).rev().flat_map(|(_, values)| values.iter().rev());
        newest.flat_map(move |(value, count)| (0..*count).map(move |_| value.datum(kind)))
    }

    fn inside(&self, asked: &Asked) -> impl DoubleEndedIterator<Item = (&EventTime, &BTreeMap<Ordered, u64>)> {
        let after = asked.after().map_or(Unbounded, Excluded);
        self.units[asked.unit].range((after, Unbounded))
    }

    fn add(&mut self, arrival: Arrival, by: i64) {
        if self.rings.of_class(arrival.class).is_none() {
            return;
        }
        let value = Ordered::of(self.kind, arrival.values, arrival.row);
        let unit = &mut self.units[arrival.unit];
        let values = unit.entry(arrival.ts).or_default();
        match counted(values.get(&value).copied().unwrap_or(0), by) {
            (_, 0) => values.remove(&value),
            (_, after) => values.insert(value, after),
        };
        if values.is_empty() {
            unit.remove(&arrival.ts);
        }
    }
}

impl Synopsis for Dated {
    fn new(kind: Kind, rings: Rings, _: &[f64]) -> Dated {
        Dated { kind, rings, units: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.units.resize_with(units, ByTime::new);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        self.add(arrival, 1);
        0
    }

    fn take_back(&mut self, arrival: Arrival) -> u64 {
        self.add(arrival, -1);
        0
    }

    fn forget(&mut self, unit: usize, until: EventTime) {
        let kept = &mut self.units[unit];
        while let Some(first) = kept.first_entry().filter(|first| !self.rings.all() && *first.key() <= until) {
            first.remove();
        }
    }

    fn merge(&mut self, into: usize, from: usize) {
        for (ts, values) in std::mem::take(&mut self.units[from]) {
            let known = self.units[into].entry(ts).or_default();
            values.into_iter().for_each(|(value, count)| *known.entry(value).or_default() += count);
        }
    }

    fn clear(&mut self, unit: usize) {
        self.units[unit] = ByTime::new();
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        put(out, &self.units[unit]);
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], _: &Loading) -> Result<(), Damaged> {
        self.units[unit] = get(input)?;
        Ok(())
    }
}
