//! Ticks, and the times of the dataflow before them.

use timely::progress::frontier::AntichainRef;

use crate::clock::{Eff, EventTime, Time, clocks};
use crate::span::Span;

clocks! {
    /// A tick: `T`, `V` of an event, `S` of a source. It is the dataflow's time, in which slices of the history come before all ticks: a
    /// frontier just after a tick says that it is finished.
    Tick
}

/// More slices of the history than any worker sends.
const SLICES_MAX: i64 = i64::MAX / 2;

impl Tick {
    /// The first tick at or after a time; `tick`: their distance.
    #[inline]
    pub fn up(t: impl Time, tick: Span) -> Tick {
        let (t, tick) = (t.us(), tick.0);
        Tick(t.div_euclid(tick).saturating_add(i64::from(t.rem_euclid(tick) != 0)).saturating_mul(tick))
    }

    /// The last tick at or before a time.
    #[inline]
    pub fn down(t: impl Time, tick: Span) -> Tick {
        Tick(t.us().div_euclid(tick.0).saturating_mul(tick.0))
    }

    /// The tick from which on an event is visible, by its own times alone: `up(max(eff, ts))`.
    #[inline]
    pub fn visible(eff: Eff, ts: EventTime, tick: Span) -> Tick {
        Tick::up(eff, tick).max(Tick::up(ts, tick))
    }

    /// Events up to there have left a window of this length.
    #[inline]
    pub fn left(self, window: Span) -> EventTime {
        EventTime((self - window).0)
    }

    /// The first time of the dataflow by which an event has left a window of this length: at the first tick from there on it leaves.
    #[inline]
    pub fn leaving(ts: EventTime, window: Span) -> Tick {
        Tick(ts.0.saturating_add(window.0))
    }

    /// The first time of the dataflow that may still come. `None`: none does.
    pub fn of_frontier(frontier: AntichainRef<Tick>) -> Option<Tick> {
        frontier.iter().next().copied()
    }

    /// The time of the dataflow at which workers send their slice of this number of the history.
    pub fn of_slice(number: i64) -> Tick {
        Tick(i64::MIN + number)
    }

    /// The number of the slice that is sent at this time of the dataflow. `None`: it is a tick.
    pub fn slice(self) -> Option<i64> {
        Some(self.0.wrapping_sub(i64::MIN)).filter(|number| (0..SLICES_MAX).contains(number))
    }
}

impl Eff {
    /// That of a job with nothing left to be read, which has come to a tick.
    pub fn reached(t: Tick) -> Eff {
        Eff(t.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arrival;

    #[test]
    fn ticks_of_times() {
        let tick = Span::from_us(10);
        for (us, down, up) in [(0, 0, 0), (1, 0, 10), (10, 10, 10), (-1, -10, 0), (-10, -10, -10)] {
            let t = Arrival::from_us(us);
            assert_eq!((Tick::down(t, tick), Tick::up(t, tick)), (Tick(down), Tick(up)), "{us}");
        }
        assert_eq!(Tick::visible(Eff(11), EventTime(3), tick), Tick(20));
        assert_eq!(Tick::visible(Eff(11), EventTime(23), tick), Tick(30));
        assert_eq!(Tick::AFTER_ALL.just_after(), Tick::AFTER_ALL);
    }

    #[test]
    fn slices_come_before_all_ticks() {
        for number in [0, 1, 1 << 40] {
            assert_eq!(Tick::of_slice(number).slice(), Some(number));
        }
        let ancient = Tick::from_us(-1_000_000 * 86_400_000_000);
        assert!(Tick::of_slice(1 << 40) < ancient && ancient.slice().is_none() && Tick(0).slice().is_none());
    }
}
