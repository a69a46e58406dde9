//! How often every value occurs in each window of every unit, in order of frequency, of equally frequent ones the
//! smaller value first.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use super::multisets::{Multiset, Multisets, counted};
use super::numbered::ByNumber;
use super::synopsis::Asked;
use crate::value::{Datum, Ordered};

/// Of one input.
pub type Frequencies = Multisets<Ranked>;

/// The values of a window by how often they occur.
#[derive(Default)]
pub struct Ranked {
    counts: HashMap<u32, u64, BuildHasherDefault<ByNumber>>,
    ranked: BTreeSet<(Reverse<u64>, Ordered)>,
}

impl Multiset for Ranked {
    fn add(&mut self, number: u32, value: &Ordered, by: i64) -> (u64, u64) {
        let count = self.counts.entry(number).or_default();
        let (before, after) = counted(*count, by);
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

    fn counts(&self) -> impl Iterator<Item = (u32, u64)> {
        self.counts.iter().map(|(number, count)| (*number, *count))
    }
}

impl Frequencies {
    /// The values of a window, the most frequent first.
    pub fn ranked(&self, asked: &Asked) -> impl Iterator<Item = Datum> {
        let kind = self.kind();
        self.window(asked).ranked.iter().map(move |(_, value)| value.datum(kind))
    }
}
