//! What a unit holds, as the values of a row.

use std::ops::Range;

use headwater_clocks::Tick;

use super::Accumulators;
use super::layout::{Inner, Source};
use crate::aggregate::Total;
use crate::exact::squares::SquareSum;
use crate::synopses::synopsis::Asked;
use crate::value::Datum;

impl Accumulators {
    /// The row's values at tick `now`. Returns how many sums do not fit their type.
    pub fn row(&mut self, unit: usize, now: Tick, row: &mut Vec<Datum>) -> u64 {
        row.clear();
        self.append_row(unit, now, row)
    }

    /// Appends the row's values at tick `now`. Returns how many sums do not fit their type.
    pub fn append_row(&mut self, unit: usize, now: Tick, row: &mut Vec<Datum>) -> u64 {
        let mut unfit = 0;
        for source in 0..self.layout.sources.len() {
            row.push(self.value(source, unit, now).unwrap_or_else(|| {
                unfit += 1;
                Datum::Null
            }));
        }
        unfit
    }

    /// The value of a column; `None`: it does not fit its type.
    fn value(&mut self, source: usize, unit: usize, now: Tick) -> Option<Datum> {
        match self.layout.sources[source] {
            Source::Count(inner) => Some(Datum::int(self.count(inner, unit))),
            Source::Sum { sum, not_null, read } => match self.count(not_null, unit) {
                0 => Some(Datum::Null),
                count => read(count, &self.total(sum, unit)),
            },
            Source::Squares { sum, squares, not_null, read } => match self.count(not_null, unit) {
                0 => Some(Datum::Null),
                count => read(count, &self.total(sum, unit), &self.squares(squares, unit)),
            },
            Source::Kept { synopsis, place, length, argument, reading } => {
                Some(reading.read(&mut *self.synopses[synopsis], &Asked { unit, now, length, place, argument }))
            }
        }
    }

    pub(super) fn count(&self, inner: Inner, unit: usize) -> i64 {
        self.cells[inner.track].counted(self.cells_of(inner, unit))
    }

    fn total(&self, inner: Inner, unit: usize) -> Total<'_> {
        self.cells[inner.track].total(self.cells_of(inner, unit))
    }

    fn squares(&self, inner: Inner, unit: usize) -> SquareSum {
        self.cells[inner.track].squares(self.cells_of(inner, unit))
    }

    fn cells_of(&self, inner: Inner, unit: usize) -> Range<usize> {
        let first = unit * self.layout.tracks[inner.track].rings.len();
        let inside = if self.nested { inner.rings - 1 } else { 0 };
        first + inside..first + inner.rings
    }
}
