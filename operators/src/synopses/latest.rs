//! The latest events of every unit, for `last` and `last_n`: of those at the same time the greater values are later.
//!
//! An event that `n` later ones follow is among the `n` latest of no window, so `n` are enough for all windows.

use std::collections::VecDeque;

use headwater_clocks::EventTime;

use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Ordered};

/// Of one input, the `n` latest values of each unit with their event times, in order of time.
pub struct Latest {
    kind: Kind,
    n: usize,
    all: bool,
    units: Vec<VecDeque<(EventTime, Ordered)>>,
}

impl Latest {
    /// The values of a window, the latest first: as many of them as the columns list.
    pub fn newest_first(&self, asked: &Asked) -> impl Iterator<Item = Datum> {
        let after = asked.after();
        let inside =
            self.units[asked.unit].iter().rev().take_while(move |(ts, _)| after.is_none_or(|after| *ts > after));
        inside.map(|(_, value)| value.datum(self.kind))
    }

    fn insert(&mut self, unit: usize, event: (EventTime, Ordered)) {
        let kept = &mut self.units[unit];
        let full = kept.len() == self.n;
        if full && kept.front().is_some_and(|oldest| *oldest >= event) {
            return;
        }
        if full {
            kept.pop_front();
        }
        match kept.back() {
            Some(newest) if *newest > event => {
                let at = kept.partition_point(|other| *other <= event);
                kept.insert(at, event);
            }
            _ => kept.push_back(event),
        }
    }
}

impl Synopsis for Latest {
    /// The arguments are how many values columns list.
    fn new(kind: Kind, rings: Rings, arguments: &[f64]) -> Latest {
        let n = arguments.iter().fold(1, |n, argument| n.max(*argument as usize));
        Latest { kind, n, all: rings.all(), units: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.units.resize_with(units, VecDeque::new);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        self.insert(arrival.unit, (arrival.ts, Ordered::of(self.kind, arrival.values, arrival.row)));
        0
    }

    fn forget(&mut self, unit: usize, until: EventTime) {
        let kept = &mut self.units[unit];
        while !self.all && kept.front().is_some_and(|(ts, _)| *ts <= until) {
            kept.pop_front();
        }
    }

    fn merge(&mut self, into: usize, from: usize) {
        std::mem::take(&mut self.units[from]).into_iter().for_each(|event| self.insert(into, event));
    }

    fn clear(&mut self, unit: usize) {
        self.units[unit] = VecDeque::new();
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        put(out, &self.units[unit]);
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], _: &Loading) -> Result<(), Damaged> {
        self.units[unit] = get(input)?;
        Ok(())
    }
}
