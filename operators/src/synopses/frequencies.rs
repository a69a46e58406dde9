//! How often every value occurs in each window of every unit, in order of frequency, of equally frequent ones the
//! smaller value first.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use super::numbered::{ByNumber, NumberedValues};
use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Departure, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Ordered};

/// Of one input. An event of age class `c` is counted in every window that it has not left.
pub struct Frequencies {
    kind: Kind,
    rings: Rings,
    values: NumberedValues,
    /// Of unit `u` those from `u * windows` on.
    windows: Vec<Window>,
}

#[derive(Default)]
struct Window {
    counts: HashMap<u32, u64, BuildHasherDefault<ByNumber>>,
    ranked: BTreeSet<(Reverse<u64>, Ordered)>,
}

impl Window {
    /// Counts a value `by` more, or less; returns its count before and after.
    fn add(&mut self, number: u32, value: &Ordered, by: i64) -> (u64, u64) {
        let count = self.counts.entry(number).or_default();
        let before = *count;
        let after = before.checked_add_signed(by).expect("what was counted is taken away once");
        *count = after;
        if before > 0 {
            self.ranked.remove(&(Reverse(before), value.clone()));
        }
        if after > 0 {
            self.ranked.insert((Reverse(after), value.clone()));
        } else {
            self.counts.remove(&number);
        }
        (before, after)
    }
}

impl Frequencies {
    /// The values of a window, the most frequent first.
    pub fn ranked(&self, asked: &Asked) -> impl Iterator<Item = Datum> {
        let ranked = &self.windows[asked.unit * self.rings.len() + asked.place].ranked;
        ranked.iter().map(|(_, value)| value.datum(self.kind))
    }

    fn add(&mut self, window: usize, number: u32, by: i64) {
        let value = self.values.value(number).clone();
        match self.windows[window].add(number, &value, by) {
            (0, after) if after > 0 => self.values.hold(number),
            (before, 0) if before > 0 => self.values.release(number),
            _ => {}
        }
    }
}

impl Synopsis for Frequencies {
    fn new(kind: Kind, rings: Rings, _: &[f64]) -> Frequencies {
        Frequencies { kind, rings, values: NumberedValues::default(), windows: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.windows.resize_with(units * self.rings.len(), Window::default);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let Some(first) = self.rings.of_class(arrival.class) else { return 0 };
        let number = self.values.number(Ordered::of(self.kind, arrival.values, arrival.row));
        for place in first..self.rings.len() {
            self.add(arrival.unit * self.rings.len() + place, number, 1);
        }
        u64::from(number) + 1
    }

    fn leave(&mut self, departure: Departure) {
        self.add(departure.unit * self.rings.len() + departure.place, (departure.word - 1) as u32, -1);
    }

    fn merge(&mut self, into: usize, from: usize) {
        let windows = self.rings.len();
        for place in 0..windows {
            let counts: Vec<(u32, u64)> =
                self.windows[from * windows + place].counts.iter().map(|(number, count)| (*number, *count)).collect();
            for (number, count) in counts {
                self.add(into * windows + place, number, count as i64);
            }
        }
        self.clear(from);
    }

    fn clear(&mut self, unit: usize) {
        let windows = self.rings.len();
        for window in &mut self.windows[unit * windows..][..windows] {
            std::mem::take(window).counts.into_keys().for_each(|number| self.values.release(number));
        }
    }

    fn gives_words(&self) -> bool {
        true
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        let windows = self.rings.len();
        for window in &self.windows[unit * windows..][..windows] {
            let mut counts: Vec<(u32, u64)> = window.counts.iter().map(|(n, count)| (*n, *count)).collect();
            counts.sort_unstable();
            put(out, &counts);
        }
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], loading: &Loading) -> Result<(), Damaged> {
        let windows = self.rings.len();
        for window in unit * windows..(unit + 1) * windows {
            for (saved, count) in get::<Vec<(u32, u64)>>(input)? {
                let number = self.values.number(loading.value(saved)?);
                self.add(window, number, count as i64);
            }
        }
        Ok(())
    }

    fn values(&self) -> Option<&NumberedValues> {
        Some(&self.values)
    }
}
