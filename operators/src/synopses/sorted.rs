//! The values of each window of every unit in their order, for `min`, `max` and `count_distinct` where events may be taken back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::multisets::{Multiset, Multisets, counted};
use super::synopsis::Asked;
use crate::value::{Datum, Ordered};

/// Of one input.
pub type Sorted = Multisets<InOrder>;

/// The values of a window, each with its number and its count.
#[derive(Default)]
pub struct InOrder(BTreeMap<Ordered, (u32, u64)>);

impl Multiset for InOrder {
    fn add(&mut self, number: u32, value: &Ordered, by: i64) -> (u64, u64) {
        match self.0.entry(value.clone()) {
            Entry::Vacant(new) => {
                let counts = counted(0, by);
                if counts.1 > 0 {
                    new.insert((number, counts.1));
                }
                counts
            }
            Entry::Occupied(mut known) => {
                let counts = counted(known.get().1, by);
                known.get_mut().1 = counts.1;
                if counts.1 == 0 {
                    known.remove();
                }
                counts
            }
        }
    }

    fn counts(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.values().copied()
    }
}

impl Sorted {
    /// The least value of a window.
    pub fn least(&mut self, asked: &Asked) -> Datum {
        self.datum(self.window(asked).0.first_key_value())
    }

    /// The greatest value of a window.
    pub fn greatest(&mut self, asked: &Asked) -> Datum {
        self.datum(self.window(asked).0.last_key_value())
    }

    /// How many distinct values a window holds.
    pub fn distinct(&mut self, asked: &Asked) -> Datum {
        Datum::int(self.window(asked).0.len() as i64)
    }

    fn datum(&self, found: Option<(&Ordered, &(u32, u64))>) -> Datum {
        found.map(|(value, _)| value.datum(self.kind())).unwrap_or_default()
    }
}
