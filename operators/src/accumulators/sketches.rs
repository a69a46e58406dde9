//! The sketches of every unit: `approx_count_distinct` and `approx_percentile`. They give back what they took.

use super::aggregate::Aggregate;
use super::distinct::{Moved, NewestTimes};
use super::keeper::{Arrival, Departure, Keeper, Loading};
use super::layout::{Asked, Rings};
use crate::aggregate::ddsketch::{self, DdSketch};
use crate::aggregate::hyperloglog::{self, HyperLogLog};
use crate::keys;
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Values, decimal_to_float};

/// Of one input, a HyperLogLog for each window of each unit. A (register, rank) pair is inside a window while the newest event
/// that gave it is.
pub struct Registers {
    times: NewestTimes,
    /// Of unit `u` those from `u * windows` on.
    windows: Vec<HyperLogLog>,
}

impl Registers {
    pub fn new(rings: Rings) -> Registers {
        Registers { times: NewestTimes::new(rings), windows: vec![] }
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

fn hash(values: &Values, row: usize) -> u64 {
    match values {
        Values::Words(words) => keys::hash(&words[row].to_le_bytes()),
        Values::Decimals(decimals) => keys::hash(&decimals.value(row).to_le_bytes()),
        Values::Texts(texts) => keys::hash(texts.value(row).as_bytes()),
    }
}

impl Keeper for Registers {
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

    fn value(&mut self, unit: usize, asked: &Asked, _: i64) -> Datum {
        Datum::int(self.windows[unit * self.times.rings().len() + asked.place].estimate())
    }

    fn gives_words(&self) -> bool {
        true
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        self.times.save(unit, out);
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], loading: &Loading) -> Result<(), Damaged> {
        for (pair, ts) in get::<Vec<(u32, i64)>>(input)? {
            let ring = self.times.load(unit, pair, ts, loading)?;
            self.moved(unit, pair, Moved::Between(None, Some(ring)));
        }
        Ok(())
    }
}

/// Of one input, a DDSketch for each window of each unit.
pub struct Buckets {
    kind: Kind,
    rings: Rings,
    /// Of unit `u` those from `u * windows` on.
    windows: Vec<DdSketch>,
}

impl Buckets {
    pub fn new(kind: Kind, rings: Rings) -> Buckets {
        Buckets { kind, rings, windows: vec![] }
    }

    fn number(&self, values: &Values, row: usize) -> f64 {
        match (values, self.kind) {
            (Values::Words(words), Kind::UInt) => words[row] as f64,
            (Values::Words(words), Kind::Float) => f64::from_bits(words[row]),
            (Values::Words(words), _) => words[row] as i64 as f64,
            (Values::Decimals(decimals), Kind::Decimal { scale }) => decimal_to_float(decimals.value(row), scale),
            _ => unreachable!("a number"),
        }
    }
}

impl Keeper for Buckets {
    fn grow(&mut self, units: usize) {
        self.windows.resize_with(units * self.rings.len(), DdSketch::default);
    }

    fn arrive(&mut self, arrival: Arrival) -> u64 {
        let Some(first) = self.rings.of_class(arrival.class) else { return 0 };
        let bucket = ddsketch::bucket(self.number(arrival.values, arrival.row));
        let places = self.rings.len();
        let windows = &mut self.windows[arrival.unit * places..][..places];
        windows[first..].iter_mut().for_each(|window| window.insert(bucket));
        u64::from(bucket as u32) + 1
    }

    fn leave(&mut self, departure: Departure) {
        let bucket = (departure.word - 1) as u32 as i32;
        self.windows[departure.unit * self.rings.len() + departure.place].remove(bucket);
    }

    fn merge(&mut self, into: usize, from: usize) {
        let places = self.rings.len();
        for place in 0..places {
            let from = std::mem::take(&mut self.windows[from * places + place]);
            self.windows[into * places + place].merge(&from);
        }
    }

    fn clear(&mut self, unit: usize) {
        let places = self.rings.len();
        self.windows[unit * places..][..places].fill_with(DdSketch::default);
    }

    fn value(&mut self, unit: usize, asked: &Asked, _: i64) -> Datum {
        let Aggregate::ApproxPercentile(p) = asked.aggregate else { unreachable!("buckets are kept for percentiles") };
        let value = self.windows[unit * self.rings.len() + asked.place].percentile(p);
        value.map(Datum::float).unwrap_or_default()
    }

    fn gives_words(&self) -> bool {
        true
    }

    fn save(&self, unit: usize, out: &mut Vec<u8>) {
        let places = self.rings.len();
        for window in &self.windows[unit * places..][..places] {
            put(out, &window.iter().collect::<Vec<(i32, u64)>>());
        }
    }

    fn load(&mut self, unit: usize, input: &mut &[u8], _: &Loading) -> Result<(), Damaged> {
        let places = self.rings.len();
        for window in &mut self.windows[unit * places..][..places] {
            let counts = get::<Vec<(i32, u64)>>(input)?;
            counts.into_iter().filter(|(_, n)| *n > 0).for_each(|(bucket, n)| window.insert_many(bucket, n));
        }
        Ok(())
    }
}
