//! A DDSketch for each window of every unit, for `approx_percentile`. It gives back what it took.

use super::rings::Rings;
use super::synopsis::{Arrival, Asked, Departure, Loading, Synopsis};
use crate::saved::{Damaged, get, put};
use crate::sketch::ddsketch::{self, DdSketch};
use crate::value::{Datum, Kind, Values, decimal_to_float};

/// Of one input, a DDSketch for each window of each unit.
pub struct Buckets {
    kind: Kind,
    rings: Rings,
    /// Of unit `u` those from `u * windows` on.
    windows: Vec<DdSketch>,
}

impl Buckets {
    /// The percentile of a window that the argument says.
    pub fn percentile(&mut self, asked: &Asked) -> Datum {
        let value = self.windows[asked.unit * self.rings.len() + asked.place].percentile(asked.argument);
        value.map(Datum::float).unwrap_or_default()
    }

    fn number(&self, values: &Values, row: usize) -> f64 {
        match (values, self.kind) {
            (Values::Words(words), Kind::UInt) => words[row] as f64,
            (Values::Words(words), Kind::Float) => f64::from_bits(words[row]),
            (Values::Words(words), Kind::Int) => words[row] as i64 as f64,
            (Values::Decimals(decimals), Kind::Decimal { scale }) => decimal_to_float(decimals.value(row), scale),
            _ => unreachable!("a number"),
        }
    }
}

impl Synopsis for Buckets {
    fn new(kind: Kind, rings: Rings, _: &[f64]) -> Buckets {
        Buckets { kind, rings, windows: vec![] }
    }

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

    fn take_back(&mut self, arrival: Arrival) -> u64 {
        let bucket = ddsketch::bucket(self.number(arrival.values, arrival.row));
        let places = self.rings.len();
        if let Some(first) = self.rings.of_class(arrival.class) {
            let windows = &mut self.windows[arrival.unit * places..][..places];
            windows[first..].iter_mut().for_each(|window| window.remove(bucket));
        }
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
