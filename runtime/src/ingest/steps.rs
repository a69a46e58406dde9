//! A running maximum along the offsets of a partition, as the steps at which it rises; of rows that come in any order.

use headwater_clocks::{Arrival, Eff, Offset};

/// Where the running maximum of a partition rises.
#[derive(Debug, Default)]
pub struct Steps {
    /// The largest arrival before the first row that is asked for.
    pub before: Option<Eff>,
    /// (offset, running maximum) where it rises. While rows are added: (offset, arrival), in any order.
    pub rises: Vec<(Offset, Eff)>,
    condense_at: usize,
}

/// Rows that wait at least before they are condensed.
const CONDENSE_AT_MIN: usize = 4096;

impl Steps {
    pub fn at(&self, offset: Offset) -> Option<Eff> {
        match self.rises.partition_point(|(at, _)| *at <= offset) {
            0 => self.before,
            n => Some(self.rises[n - 1].1),
        }
    }

    /// `from`: the first offset that is asked for.
    pub fn add(&mut self, offset: Offset, a: Arrival, from: Offset) {
        if offset < from {
            self.before = self.before.max(Some(a.into()));
            return;
        }
        self.rises.push((offset, a.into()));
        if self.rises.len() >= self.condense_at.max(CONDENSE_AT_MIN) {
            self.condense();
            self.condense_at = self.rises.len() * 2;
        }
    }

    /// Keeps strict rises. What is none among some rows is none among more.
    pub fn condense(&mut self) {
        self.rises.sort_unstable();
        let mut top = self.before;
        self.rises.retain(|(_, a)| {
            let rises = top < Some(*a);
            top = top.max(Some(*a));
            rises
        });
        // Of equal offsets the last, which is the largest.
        self.rises.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                *kept = *later;
            }
            same
        });
    }

    pub fn merge(&mut self, other: Steps) {
        self.before = self.before.max(other.before);
        self.rises.extend(other.rises);
    }
}
