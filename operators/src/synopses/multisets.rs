//! How often every value occurs in each window of every unit. What else is kept of that, its reader decides.

use super::numbered::NumberedValues;
use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Departure, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::value::{Kind, Ordered, Values};

/// The values of one window.
pub trait Multiset: Default + 'static {
    /// Counts a value `by` more, or less; returns its count before and after.
    fn add(&mut self, number: u32, value: &Ordered, by: i64) -> (u64, u64);

    /// Its values by number, each with its count, in any order.
    fn counts(&self) -> impl Iterator<Item = (u32, u64)>;
}

/// Of one input. An event of age class `c` is counted in every window that it has not left.
pub struct Multisets<M> {
    kind: Kind,
    rings: Rings,
    values: NumberedValues,
    /// Of unit `u` those from `u * windows` on.
    windows: Vec<M>,
}

impl<M: Multiset> Multisets<M> {
    /// The values that a column asks for.
    pub fn window(&self, asked: &Asked) -> &M {
        &self.windows[asked.unit * self.rings.len() + asked.place]
    }

    /// Of the values.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn add(&mut self, window: usize, number: u32, by: i64) {
        let value = self.values.value(number).clone();
        match self.windows[window].add(number, &value, by) {
            (0, after) if after > 0 => self.values.hold(number),
            (before, 0) if before > 0 => self.values.release(number),
            _ => {}
        }
    }

    /// The number of the value of an event that comes or is taken back.
    fn number(&mut self, values: &Values, row: usize) -> u32 {
        self.values.number(Ordered::of(self.kind, values, row))
    }
}

impl<M: Multiset> Synopsis for Multisets<M> {
    fn new(kind: Kind, rings: Rings, _: &[f64]) -> Multisets<M> {
        Multisets { kind, rings, values: NumberedValues::default(), windows: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.windows.resize_with(units * self.rings.len(), M::default);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let Some(first) = self.rings.of_class(arrival.class) else { return 0 };
        let number = self.number(arrival.values, arrival.row);
        for place in first..self.rings.len() {
            self.add(arrival.unit * self.rings.len() + place, number, 1);
        }
        u64::from(number) + 1
    }

    fn leave(&mut self, departure: Departure) {
        self.add(departure.unit * self.rings.len() + departure.place, (departure.word - 1) as u32, -1);
    }

    fn take_back(&mut self, arrival: Arrival) -> u64 {
        let Some(first) = self.rings.of_class(arrival.class) else { return 0 };
        let number = self.number(arrival.values, arrival.row);
        // The ledger has its number until it has left.
        if self.rings.finite_holds(arrival.class) {
            self.values.hold(number);
        }
        for place in first..self.rings.len() {
            self.add(arrival.unit * self.rings.len() + place, number, -1);
        }
        u64::from(number) + 1
    }

    fn leave_taken_back(&mut self, departure: Departure) {
        if self.rings.is_longest_finite(departure.place) {
            self.values.release((departure.word - 1) as u32);
        }
    }

    fn load_word(&mut self, word: u64, count: u32, inside: bool, loading: &Loading) -> Result<u64, Damaged> {
        let Some(saved) = word.checked_sub(1).filter(|_| inside) else { return Ok(0) };
        let number = self.values.number(loading.value(saved as u32)?);
        (0..count).for_each(|_| self.values.hold(number));
        Ok(u64::from(number) + 1)
    }

    fn merge(&mut self, into: usize, from: usize) {
        let windows = self.rings.len();
        for place in 0..windows {
            let counts: Vec<(u32, u64)> = self.windows[from * windows + place].counts().collect();
            for (number, count) in counts {
                self.add(into * windows + place, number, count as i64);
            }
        }
        self.clear(from);
    }

    fn clear(&mut self, unit: usize) {
        let windows = self.rings.len();
        for window in &mut self.windows[unit * windows..][..windows] {
            std::mem::take(window).counts().for_each(|(number, _)| self.values.release(number));
        }
    }

    fn gives_words(&self) -> bool {
        true
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        let windows = self.rings.len();
        for window in &self.windows[unit * windows..][..windows] {
            let mut counts: Vec<(u32, u64)> = window.counts().collect();
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

/// A count that becomes `by` more, or less: before and after.
pub fn counted(count: u64, by: i64) -> (u64, u64) {
    (count, count.checked_add_signed(by).expect("what was counted is taken away once"))
}
