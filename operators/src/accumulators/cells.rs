//! Sums by unit and ring: one track's accumulators.

use std::borrow::Cow;
use std::ops::Range;

use arrow::datatypes::i256;

use super::layout::Adds;
use crate::aggregate::Total;
use crate::exact::float_sum::FloatSum;
use crate::exact::squares::SquareSum;
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind};

/// One track's accumulators of all units: of unit `u` those from `u * rings` on.
pub enum Cells {
    Counts(Vec<i64>),
    Ints(Vec<i128>),
    Floats(Vec<FloatSum>),
    /// Unscaled, and their scale.
    Decimals(Vec<i256>, i8),
    Squares(Vec<SquareSum>),
}

/// A sum; it begins at nothing.
trait Cell: Default {
    fn merge(&mut self, from: &Self);
    fn save(&self, out: &mut Vec<u8>);
    fn load(input: &mut &[u8]) -> Result<Self, Damaged>;
}

/// The same for each type of sum.
macro_rules! of_any_type {
    ($cells:expr, $all:ident => $do:expr) => {
        match $cells {
            Cells::Counts($all) => $do,
            Cells::Ints($all) => $do,
            Cells::Floats($all) => $do,
            Cells::Decimals($all, _) => $do,
            Cells::Squares($all) => $do,
        }
    };
}

impl Cells {
    /// None yet, for inputs of these kinds.
    pub fn new(adds: Adds, kinds: &[Kind]) -> Cells {
        match adds {
            Adds::Events | Adds::NotNull(_) => Cells::Counts(vec![]),
            Adds::Square(_) => Cells::Squares(vec![]),
            Adds::Value(input) => match kinds[input] {
                Kind::Float => Cells::Floats(vec![]),
                Kind::Decimal { scale } => Cells::Decimals(vec![], scale),
                Kind::Bool | Kind::Int | Kind::UInt | Kind::Text => Cells::Ints(vec![]),
            },
        }
    }

    pub fn grow(&mut self, cells: usize) {
        of_any_type!(self, all => all.resize_with(cells, Default::default));
    }

    pub fn save(&self, range: Range<usize>, out: &mut Vec<u8>) {
        of_any_type!(self, all => all[range].iter().for_each(|cell| cell.save(out)));
    }

    /// # Errors
    /// What is read are no such sums.
    pub fn load(&mut self, range: Range<usize>, input: &mut &[u8]) -> Result<(), Damaged> {
        of_any_type!(self, all => {
            for cell in &mut all[range] {
                *cell = Cell::load(input)?;
            }
        });
        Ok(())
    }

    /// Moves a sum into another one.
    pub fn merge(&mut self, into: usize, from: usize) {
        of_any_type!(self, all => {
            let from = std::mem::take(&mut all[from]);
            all[into].merge(&from);
        });
    }

    pub fn clear(&mut self, cell: usize) {
        of_any_type!(self, all => all[cell] = Default::default());
    }

    /// # Panics
    /// On sums of values.
    #[inline]
    pub fn count(&mut self, cell: usize, take_away: bool) {
        let Cells::Counts(all) = self else { unreachable!("a track of counts") };
        all[cell] += if take_away { -1 } else { 1 };
    }

    /// # Panics
    /// On sums of values.
    pub fn count_many(&mut self, cell: usize, by: i64) {
        let Cells::Counts(all) = self else { unreachable!("a track of counts") };
        all[cell] += by;
    }

    /// Adds values of this kind that are a word each, or takes them away.
    ///
    /// # Panics
    /// On counts.
    pub fn add_many(&mut self, cell: usize, words: impl Iterator<Item = u64>, kind: Kind, take_away: bool) {
        match self {
            Cells::Ints(all) => {
                let sum: i128 = words.map(|word| int(word, kind)).sum();
                all[cell] += if take_away { -sum } else { sum };
            }
            _ => words.for_each(|word| self.add(cell, &[word], kind, take_away)),
        }
    }

    /// Adds a value of this kind, or takes it away. `words`: as a ledger row has it.
    ///
    /// # Panics
    /// On counts.
    #[inline]
    pub fn add(&mut self, cell: usize, words: &[u64], kind: Kind, take_away: bool) {
        match self {
            Cells::Floats(all) => all[cell].add(f64::from_bits(words[0]), take_away),
            Cells::Squares(all) => match kind {
                Kind::Float => all[cell].add_float(f64::from_bits(words[0]), take_away),
                Kind::Decimal { .. } => all[cell].add_int(Datum::as_decimal([words[0], words[1]]), take_away),
                Kind::Int | Kind::UInt => all[cell].add_int(int(words[0], kind), take_away),
                Kind::Bool | Kind::Text => unreachable!("a track of numbers"),
            },
            Cells::Ints(all) => {
                let v = int(words[0], kind);
                all[cell] += if take_away { -v } else { v };
            }
            Cells::Decimals(all, _) => {
                let v = i256::from_i128(Datum::as_decimal([words[0], words[1]]));
                all[cell] = if take_away { all[cell].wrapping_sub(v) } else { all[cell].wrapping_add(v) };
            }
            Cells::Counts(_) => unreachable!("a track of sums"),
        }
    }

    /// # Panics
    /// On sums of values.
    pub fn counted(&self, range: Range<usize>) -> i64 {
        let Cells::Counts(all) = self else { unreachable!("a track of counts") };
        all[range].iter().sum()
    }

    /// # Panics
    /// On anything but sums of values.
    pub fn total(&self, range: Range<usize>) -> Total<'_> {
        match self {
            Cells::Floats(all) => Total::Floats(match &all[range] {
                [one] => Cow::Borrowed(one),
                many => Cow::Owned(merged(many)),
            }),
            Cells::Ints(all) => Total::Ints(all[range].iter().sum()),
            Cells::Decimals(all, scale) => Total::Decimals(merged(&all[range]), *scale),
            Cells::Counts(_) | Cells::Squares(_) => unreachable!("a track of sums"),
        }
    }

    /// # Panics
    /// On anything but squares.
    pub fn squares(&self, range: Range<usize>) -> SquareSum {
        let Cells::Squares(all) = self else { unreachable!("a track of squares") };
        merged(&all[range])
    }
}

fn merged<C: Cell>(cells: &[C]) -> C {
    let mut total = C::default();
    cells.iter().for_each(|cell| total.merge(cell));
    total
}

fn int(word: u64, kind: Kind) -> i128 {
    if kind == Kind::UInt { i128::from(word) } else { i128::from(word as i64) }
}

/// Cells that merge in a way of their own, and are saved as they stand.
macro_rules! cell {
    ($type:ty, $merge:expr) => {
        impl Cell for $type {
            fn merge(&mut self, from: &Self) {
                let merge: fn(&mut Self, &Self) = $merge;
                merge(self, from);
            }

            fn save(&self, out: &mut Vec<u8>) {
                put(out, self);
            }

            fn load(input: &mut &[u8]) -> Result<Self, Damaged> {
                get(input)
            }
        }
    };
}

cell!(i64, |sum, from| *sum += from);
cell!(i128, |sum, from| *sum += from);
cell!(FloatSum, FloatSum::merge);
cell!(SquareSum, SquareSum::merge);

impl Cell for i256 {
    fn merge(&mut self, from: &i256) {
        *self = self.wrapping_add(*from);
    }

    fn save(&self, out: &mut Vec<u8>) {
        put(out, &self.to_be_bytes());
    }

    fn load(input: &mut &[u8]) -> Result<i256, Damaged> {
        Ok(i256::from_be_bytes(get(input)?))
    }
}
