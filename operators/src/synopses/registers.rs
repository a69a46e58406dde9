//! A HyperLogLog for each window of every unit, for `approx_count_distinct`. It gives back what it took.

use headwater_clocks::EventTime;

use super::distinct::{Moved, NewestTimes};
use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Departure, Loading, Synopsis};
use crate::keys;
use crate::saved::{Damaged, get};
use crate::sketch::hyperloglog::{self, HyperLogLog};
use crate::value::{Datum, Kind, Values};

/// Of one input, a HyperLogLog for each window of each unit. A (register, rank) pair is inside a window while the newest event
/// that gave it is.
pub struct Registers {
    times: NewestTimes,
    /// Of unit `u` those from `u * windows` on.
    windows: Vec<HyperLogLog>,
}

impl Registers {
    /// How many distinct values a window holds, estimated.
    pub fn estimate(&mut self, asked: &Asked) -> Datum {
        Datum::int(self.windows[asked.unit * self.times.rings().len() + asked.place].estimate())
    }

    fn moved(&mut self, unit: usize, pair: u32, moved: Moved) {
        let Moved::Between(from, to) = moved else { return };
        let places = self.times.rings().len();
        // A ring's pairs are in its window and in every longer one.
        let (from, to) = (from.unwrap_or(places), to.unwrap_or(places));
        let windows = &mut self.windows[unit * places..][..places];
        windows[to.min(places)..from.max(to.min(places))].iter_mut().for_each(|window| window.insert(pair));
        windows[from.min(places)..to.max(from.min(places))].iter_mut().for_each(|window| window.remove(pair));
    }
}

/// Of a value, as sketches know it.
pub fn hash(values: &Values, row: usize) -> u64 {
    match values {
        Values::Words(words) => keys::hash(&words[row].to_le_bytes()),
        Values::Decimals(decimals) => keys::hash(&decimals.value(row).to_le_bytes()),
        Values::Texts(texts) => keys::hash(texts.value(row).as_bytes()),
    }
}

impl Synopsis for Registers {
    fn new(_: Kind, rings: Rings, _: &[f64]) -> Registers {
        Registers { times: NewestTimes::new(rings), windows: vec![] }
    }

    fn grow(&mut self, units: usize) {
        self.times.grow(units);
        self.windows.resize_with(units * self.times.rings().len(), HyperLogLog::default);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let pair = hyperloglog::pair(hash(arrival.values, arrival.row));
        let (newest, moved) = self.times.arrive(&arrival, pair);
        self.moved(arrival.unit, pair, moved);
        if newest { u64::from(pair) + 1 } else { 0 }
    }

    fn leave(&mut self, departure: Departure) {
        let pair = (departure.word - 1) as u32;
        let moved = self.times.leave(&departure, pair);
        self.moved(departure.unit, pair, moved);
    }

    fn merge(&mut self, into: usize, from: usize) {
        let places = self.times.rings().len();
        self.times.merge(into, from);
        for place in 0..places {
            let from = std::mem::take(&mut self.windows[from * places + place]);
            self.windows[into * places + place].merge(&from);
        }
    }

    fn clear(&mut self, unit: usize) {
        let places = self.times.rings().len();
        self.times.clear(unit);
        self.windows[unit * places..][..places].fill_with(HyperLogLog::default);
    }

    fn gives_words(&self) -> bool {
        true
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        self.times.save(unit, out);
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], loading: &Loading) -> Result<(), Damaged> {
        for (pair, ts) in get::<Vec<(u32, EventTime)>>(input)? {
            let ring = self.times.load(unit, pair, ts, loading)?;
            self.moved(unit, pair, Moved::Between(None, Some(ring)));
        }
        Ok(())
    }
}
