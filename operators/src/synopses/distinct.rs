//! The distinct values of every unit, counted exactly, for `count_distinct`.
//!
//! A value is inside a window while its *newest* event is. So of a value only the newest time is kept, whatever the number of
//! events, and only an event that was the newest when it came is taken away again.
//!
//! ```text
//! count over 10       (ts, value)   01 a    04 a    05 a (late: not the newest)    11: 1 is not a's newest    14: a leaves
//! newest of a                       1       4       4                              4                          none
//! ```

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use headwater_clocks::{EventTime, Time};

use super::numbered::{ByNumber, NumberedValues};
use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Departure, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Ordered};

/// A set of numbers for each unit, counted by ring.
pub struct NewestTimes {
    rings: Rings,
    /// By unit: number -> newest event time, in two halves, which keeps an entry at 12 bytes.
    newest: Vec<HashMap<u32, [u32; 2], BuildHasherDefault<ByNumber>>>,
}

/// What a number's arrival or departure changes.
#[derive(Debug, PartialEq)]
pub enum Moved {
    /// It is where it was.
    Not,
    /// From one ring, or from outside, into another, or out of all.
    Between(Option<usize>, Option<usize>),
}

impl NewestTimes {
    pub fn new(rings: Rings) -> NewestTimes {
        NewestTimes { rings, newest: vec![] }
    }

    pub fn rings(&self) -> &Rings {
        &self.rings
    }

    pub fn grow(&mut self, units: usize) {
        self.newest.resize_with(units, HashMap::default);
    }

    /// Whether the event has become the newest of its number, and what that moves.
    pub fn arrive(&mut self, arrival: &Arrival, number: u32) -> (bool, Moved) {
        let Some(ring) = self.rings.of_class(arrival.class) else { return (false, Moved::Not) };
        let newest = self.newest[arrival.unit].get(&number).map(|halves| whole(*halves));
        if newest.is_some_and(|newest| newest >= arrival.ts) {
            return (false, Moved::Not);
        }
        self.newest[arrival.unit].insert(number, halves(arrival.ts));
        let class = |ts: EventTime| arrival.windows.partition_point(|w| ts <= arrival.now.left(*w));
        let from = newest.map(|newest| self.rings.of_class(class(newest)).expect("it is kept while a window holds it"));
        if from == Some(ring) { (true, Moved::Not) } else { (true, Moved::Between(from, Some(ring))) }
    }

    /// An event that was the newest of its number leaves a window.
    pub fn leave(&mut self, departure: &Departure, number: u32) -> Moved {
        let unit = &mut self.newest[departure.unit];
        if unit.get(&number).is_none_or(|newest| whole(*newest) != departure.ts) {
            return Moved::Not;
        }
        let next = departure.place + 1;
        if next < self.rings.len() {
            return Moved::Between(Some(departure.place), Some(next));
        }
        unit.remove(&number);
        if unit.is_empty() {
            unit.shrink_to_fit();
        }
        Moved::Between(Some(departure.place), None)
    }

    /// Moves a unit's numbers to another one: those that it did not have yet, and those that it had.
    pub fn merge(&mut self, into: usize, from: usize) -> (Vec<u32>, Vec<u32>) {
        let from = std::mem::take(&mut self.newest[from]);
        let (new, known): (Vec<_>, Vec<_>) = from.into_iter().partition(|(n, _)| !self.newest[into].contains_key(n));
        self.newest[into].extend(new.iter().copied());
        let numbers = |all: Vec<(u32, [u32; 2])>| all.into_iter().map(|(number, _)| number).collect();
        (numbers(new), numbers(known))
    }

    /// Writes down a unit's numbers, each with its newest time.
    pub fn save(&self, unit: usize, out: &mut Vec<u8>) {
        let mut all: Vec<(u32, EventTime)> = self.newest[unit].iter().map(|(n, halves)| (*n, whole(*halves))).collect();
        all.sort_unstable();
        put(out, &all);
    }

    /// Puts a number into a unit that does not have it. Returns the ring that it falls into.
    pub fn load(&mut self, unit: usize, number: u32, ts: EventTime, loading: &Loading) -> Result<usize, Damaged> {
        self.newest[unit].insert(number, halves(ts));
        let ring = self.rings.of_class(loading.class(ts));
        ring.ok_or_else(|| Damaged("a value that is in no window".to_owned()))
    }

    /// Empties a unit, and returns the numbers that it had.
    pub fn clear(&mut self, unit: usize) -> Vec<u32> {
        std::mem::take(&mut self.newest[unit]).into_keys().collect()
    }
}

fn halves(ts: EventTime) -> [u32; 2] {
    let word = ts.us() as u64;
    [(word >> 32) as u32, word as u32]
}

fn whole([high, low]: [u32; 2]) -> EventTime {
    EventTime::from_us((u64::from(high) << 32 | u64::from(low)) as i64)
}

/// Of one input, the distinct values of each unit, with how many of them lie in each ring.
pub struct Distinct {
    kind: Kind,
    values: NumberedValues,
    times: NewestTimes,
    /// Of unit `u` those from `u * rings` on.
    counts: Vec<i64>,
}

impl Distinct {
    /// How many distinct values a window holds.
    pub fn count(&mut self, asked: &Asked) -> Datum {
        let first = asked.unit * self.times.rings().len();
        Datum::int(self.counts[first..=first + asked.place].iter().sum())
    }

    fn moved(&mut self, unit: usize, number: u32, moved: Moved) {
        let Moved::Between(from, to) = moved else { return };
        let first = unit * self.times.rings().len();
        match from {
            Some(ring) => self.counts[first + ring] -= 1,
            None => self.values.hold(number),
        }
        match to {
            Some(ring) => self.counts[first + ring] += 1,
            None => self.values.release(number),
        }
    }
}

impl Synopsis for Distinct {
    fn new(kind: Kind, rings: Rings, _: &[f64]) -> Distinct {
        Distinct { kind, values: NumberedValues::default(), times: NewestTimes::new(rings), counts: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.times.grow(units);
        self.counts.resize(units * self.times.rings().len(), 0);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        if self.times.rings().of_class(arrival.class).is_none() {
            return 0;
        }
        let number = self.values.number(Ordered::of(self.kind, arrival.values, arrival.row));
        let (newest, moved) = self.times.arrive(&arrival, number);
        self.moved(arrival.unit, number, moved);
        if newest { u64::from(number) + 1 } else { 0 }
    }

    fn leave(&mut self, departure: Departure) {
        let number = (departure.word - 1) as u32;
        let moved = self.times.leave(&departure, number);
        self.moved(departure.unit, number, moved);
    }

    fn merge(&mut self, into: usize, from: usize) {
        let rings = self.times.rings().len();
        let (new, known) = self.times.merge(into, from);
        known.into_iter().for_each(|number| self.values.release(number));
        self.counts[into * rings] += new.len() as i64;
        self.counts[from * rings..][..rings].fill(0);
    }

    fn clear(&mut self, unit: usize) {
        let rings = self.times.rings().len();
        self.times.clear(unit).into_iter().for_each(|number| self.values.release(number));
        self.counts[unit * rings..][..rings].fill(0);
    }

    fn gives_words(&self) -> bool {
        true
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        self.times.save(unit, out);
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], loading: &Loading) -> Result<(), Damaged> {
        for (saved, ts) in get::<Vec<(u32, EventTime)>>(input)? {
            let number = self.values.number(loading.value(saved)?);
            self.values.hold(number);
            let ring = self.times.load(unit, number, ts, loading)?;
            self.counts[unit * self.times.rings().len() + ring] += 1;
        }
        Ok(())
    }

    fn values(&self) -> Option<&NumberedValues> {
        Some(&self.values)
    }
}
