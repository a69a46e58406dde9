//! Ticks as the time of a dataflow: a total order, as timely's integers are. A path through it adds a span.

use differential_dataflow::lattice::Lattice;
use timely::order::{PartialOrder, TotalOrder};
use timely::progress::Timestamp;
use timely::progress::timestamp::{PathSummary, Refines};

use crate::span::Span;
use crate::tick::Tick;

/// Orders a type as it is ordered.
macro_rules! in_order {
    ($($name:ty)*) => {$(
        impl PartialOrder for $name {
            #[inline]
            fn less_than(&self, other: &Self) -> bool {
                self < other
            }

            #[inline]
            fn less_equal(&self, other: &Self) -> bool {
                self <= other
            }
        }

        impl TotalOrder for $name {}
    )*};
}

in_order! { Tick Span }

impl Timestamp for Tick {
    type Summary = Span;

    fn minimum() -> Tick {
        Tick::BEFORE_ALL
    }
}

impl PathSummary<Tick> for Span {
    #[inline]
    fn results_in(&self, tick: &Tick) -> Option<Tick> {
        tick.0.checked_add(self.0).map(Tick)
    }

    #[inline]
    fn followed_by(&self, other: &Span) -> Option<Span> {
        self.0.checked_add(other.0).map(Span)
    }
}

/// A dataflow of ticks stands in none.
impl Refines<()> for Tick {
    fn to_inner(_: ()) -> Tick {
        Tick::BEFORE_ALL
    }

    fn to_outer(self) {}

    fn summarize(_: Span) {}
}

impl Lattice for Tick {
    #[inline]
    fn join(&self, other: &Tick) -> Tick {
        *self.max(other)
    }

    #[inline]
    fn meet(&self, other: &Tick) -> Tick {
        *self.min(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_last_tick_is_dropped() {
        assert_eq!(Span::from_us(1).results_in(&Tick::AFTER_ALL), None);
        assert_eq!(Span::default().results_in(&Tick::AFTER_ALL), Some(Tick::AFTER_ALL));
        assert_eq!(Span::MAX.followed_by(&Span::from_us(1)), None);
        assert!(Tick::minimum().less_equal(&Tick::of_slice(0)));
    }
}
