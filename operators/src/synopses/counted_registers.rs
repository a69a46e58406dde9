//! A HyperLogLog for each window of every unit, for `approx_count_distinct` where events may be taken back.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::multisets::counted;
use super::numbered::ByNumber;
use super::registers::hash;
use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Departure, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::sketch::hyperloglog::{self, HyperLogLog};
use crate::value::{Datum, Kind};

/// Of one input. A (register, rank) pair is inside a window while any event that gave it is.
pub struct CountedRegisters {
    rings: Rings,
    /// Of unit `u` those from `u * windows` on.
    windows: Vec<Window>,
}

#[derive(Default)]
struct Window {
    counts: HashMap<u32, u64, BuildHasherDefault<ByNumber>>,
    sketch: HyperLogLog,
}

impl Window {
    fn add(&mut self, pair: u32, by: i64) {
        match counted(self.counts.get(&pair).copied().unwrap_or(0), by) {
            (before, 0) => {
                self.counts.remove(&pair);
                if before > 0 {
                    self.sketch.remove(pair);
                }
            }
            (before, after) => {
                self.counts.insert(pair, after);
                if before == 0 {
                    self.sketch.insert(pair);
                }
            }
        }
    }
}

impl CountedRegisters {
    /// How many distinct values a window holds, estimated.
    pub fn estimate(&mut self, asked: &Asked) -> Datum {
        Datum::int(self.windows[asked.unit * self.rings.len() + asked.place].sketch.estimate())
    }

    fn add(&mut self, arrival: Arrival, by: i64) -> u64 {
        let pair = hyperloglog::pair(hash(arrival.values, arrival.row));
        let places = self.rings.len();
        if let Some(first) = self.rings.of_class(arrival.class) {
            let windows = &mut self.windows[arrival.unit * places..][..places];
            windows[first..].iter_mut().for_each(|window| window.add(pair, by));
        }
        u64::from(pair) + 1
    }
}

impl Synopsis for CountedRegisters {
    fn new(_: Kind, rings: Rings, _: &[f64]) -> CountedRegisters {
        CountedRegisters { rings, windows: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.windows.resize_with(units * self.rings.len(), Window::default);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        self.add(arrival, 1)
    }

    fn take_back(&mut self, arrival: Arrival) -> u64 {
        self.add(arrival, -1)
    }

    fn leave(&mut self, departure: Departure) {
        let window = departure.unit * self.rings.len() + departure.place;
        self.windows[window].add((departure.word - 1) as u32, -1);
    }

    fn merge(&mut self, into: usize, from: usize) {
        let places = self.rings.len();
        for place in 0..places {
            let from = std::mem::take(&mut self.windows[from * places + place]);
            let into = &mut self.windows[into * places + place];
            from.counts.into_iter().for_each(|(pair, count)| into.add(pair, count as i64));
        }
    }

    fn clear(&mut self, unit: usize) {
        let places = self.rings.len();
        self.windows[unit * places..][..places].fill_with(Window::default);
    }

    fn gives_words(&self) -> bool {
        true
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        let places = self.rings.len();
        for window in &self.windows[unit * places..][..places] {
            let mut counts: Vec<(u32, u64)> = window.counts.iter().map(|(pair, count)| (*pair, *count)).collect();
            counts.sort_unstable();
            put(out, &counts);
        }
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], _: &Loading) -> Result<(), Damaged> {
        let places = self.rings.len();
        for window in &mut self.windows[unit * places..][..places] {
            get::<Vec<(u32, u64)>>(input)?.into_iter().for_each(|(pair, count)| window.add(pair, count as i64));
        }
        Ok(())
    }
}
