//! The earliest event of every unit, for `first`: of those at the same time the smallest value is first.
//!
//! Over a finite window every event becomes the earliest one in the end, so each time is kept while a window holds it; over
//! all time one event is enough.

use std::collections::BTreeMap;

use headwater_clocks::EventTime;
use serde::{Deserialize, Serialize};

use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Ordered};

/// Of one input, the events of each unit that are or will be the earliest of some window.
pub struct Earliest {
    kind: Kind,
    rings: Rings,
    units: Vec<PerUnit>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct PerUnit {
    /// By event time, the smallest value.
    recent: BTreeMap<EventTime, Ordered>,
    ever: Option<(EventTime, Ordered)>,
}

impl PerUnit {
    fn insert_ever(&mut self, event: (EventTime, Ordered)) {
        if self.ever.as_ref().is_none_or(|first| *first > event) {
            self.ever = Some(event);
        }
    }
}

impl Earliest {
    /// The first value of a window by event time.
    pub fn first(&mut self, asked: &Asked) -> Datum {
        let unit = &self.units[asked.unit];
        let first = match asked.after() {
            None => unit.ever.as_ref().map(|(_, value)| value),
            Some(after) => unit.recent.range(after.just_after()..).next().map(|(_, value)| value),
        };
        first.map(|value| value.datum(self.kind)).unwrap_or_default()
    }
}

impl Synopsis for Earliest {
    fn new(kind: Kind, rings: Rings, _: &[f64]) -> Earliest {
        Earliest { kind, rings, units: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.units.resize_with(units, PerUnit::default);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let value = Ordered::of(self.kind, arrival.values, arrival.row);
        let unit = &mut self.units[arrival.unit];
        if self.rings.all() {
            unit.insert_ever((arrival.ts, value.clone()));
        }
        if self.rings.finite_holds(arrival.class) {
            let first = unit.recent.entry(arrival.ts).or_insert_with(|| value.clone());
            if *first > value {
                *first = value;
            }
        }
        0
    }

    fn forget(&mut self, unit: usize, until: EventTime) {
        let recent = &mut self.units[unit].recent;
        while let Some(first) = recent.first_entry().filter(|first| *first.key() <= until) {
            first.remove();
        }
    }

    fn merge(&mut self, into: usize, from: usize) {
        let from = std::mem::take(&mut self.units[from]);
        debug_assert!(from.recent.is_empty());
        from.ever.into_iter().for_each(|event| self.units[into].insert_ever(event));
    }

    fn clear(&mut self, unit: usize) {
        self.units[unit] = PerUnit::default();
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        put(out, &self.units[unit]);
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], _: &Loading) -> Result<(), Damaged> {
        self.units[unit] = get(input)?;
        Ok(())
    }
}
