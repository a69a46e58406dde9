//! The clocks of a job: each is a type of its own, so that none is taken for another. All count microseconds since 1970, in UTC.
//!
//! ```text
//! EventTime   ts   when an event happened
//! Arrival     a    when the system could first know it
//! Eff         eff  the arrival, made monotone along the log of a partition
//! MatchTime   m    by which a seam in time matches history and stream
//! Tick        T V S  at which results may change: the time of the dataflow, which `operators` and timely have as a bare `i64`
//! WallClock        of this machine
//! ```
//!
//! A length of time is a `Span`: a time and a span are a time of the same clock, two times of one clock are a span. What else has a
//! meaning is a method with a name (`Tick::up`, `Eff::bound`, `past`). Nothing overflows: the ends of the range are `BEFORE_ALL`
//! and `AFTER_ALL`.
//!
//! As text a time or a span is its microseconds alone: what is written down does not know of these types.

use std::fmt::{self, Display, Formatter};
use std::ops::{Add, Sub};

use headwater_connectors::clock::wall_clock_us;
use headwater_connectors::format::text::format_time;
use serde::{Deserialize, Serialize};
use timely::progress::frontier::AntichainRef;

/// A length of time in microseconds; below zero where what should come first comes second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn from_us(us: i64) -> Span {
        Span(us)
    }

    pub const fn us(self) -> i64 {
        self.0
    }

    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Add for Span {
    type Output = Span;

    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

/// A time of some clock.
pub trait Time: Copy {
    /// Microseconds since 1970.
    fn us(self) -> i64;

    /// How far it lies past a time of another clock.
    fn past(self, other: impl Time) -> Span {
        Span(self.us().saturating_sub(other.us()))
    }
}

macro_rules! clocks {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        // All clocks are alike, whether or not somebody asks for it of each.
        #[allow(dead_code)]
        impl $name {
            pub const BEFORE_ALL: $name = $name(i64::MIN);
            pub const AFTER_ALL: $name = $name(i64::MAX);

            pub const fn from_us(us: i64) -> $name {
                $name(us)
            }
        }

        impl Time for $name {
            fn us(self) -> i64 {
                self.0
            }
        }

        impl Add<Span> for $name {
            type Output = $name;

            fn add(self, span: Span) -> $name {
                $name(self.0.saturating_add(span.0))
            }
        }

        impl Sub<Span> for $name {
            type Output = $name;

            fn sub(self, span: Span) -> $name {
                $name(self.0.saturating_sub(span.0))
            }
        }

        impl Sub for $name {
            type Output = Span;

            fn sub(self, earlier: $name) -> Span {
                Span(self.0.saturating_sub(earlier.0))
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter) -> fmt::Result {
                f.pad(&format_time(self.0))
            }
        }
    )*};
}

clocks! {
    /// When an event happened: `ts`.
    EventTime
    /// When the system could first know a record: `a`.
    Arrival
    /// An arrival, made monotone along the log of a partition: `eff`. All that decides whether an event counts is decided by it.
    Eff
    /// The time by which a seam in time matches records: `m`, and the largest of a history, `C`.
    MatchTime
    /// A tick: `T`, `V` of an event, `S` of a source. It is the dataflow's time, in which slices of the history come before all ticks.
    Tick
    /// The wall clock of this machine, or of a broker.
    WallClock
}

impl From<EventTime> for Arrival {
    /// What has no arrival was known as soon as it happened.
    fn from(ts: EventTime) -> Arrival {
        Arrival(ts.0)
    }
}

impl From<EventTime> for MatchTime {
    fn from(ts: EventTime) -> MatchTime {
        MatchTime(ts.0)
    }
}

impl From<Arrival> for MatchTime {
    fn from(a: Arrival) -> MatchTime {
        MatchTime(a.0)
    }
}

impl From<Arrival> for Eff {
    /// Of a record that follows none.
    fn from(a: Arrival) -> Eff {
        Eff(a.0)
    }
}

impl Eff {
    /// The largest with which a window that ends at `end` takes an event.
    pub fn bound(end: EventTime, lateness: Span) -> Eff {
        Eff(end.0.saturating_add(lateness.0))
    }

    /// What no later record of a partition lies at or before, where nobody was missing at a wall clock; `margin`: by how much such a
    /// word has been wrong.
    pub fn confirmed(at: WallClock, margin: Span) -> Eff {
        Eff((at - margin).0)
    }

    /// That of a job with nothing left to be read, which has come to a tick.
    pub fn reached(t: Tick) -> Eff {
        Eff(t.0)
    }

    /// The last one before it.
    pub fn just_before(self) -> Eff {
        Eff(self.0.saturating_sub(1))
    }
}

/// More slices of the history than any worker sends.
const SLICES_MAX: i64 = i64::MAX / 2;

impl Tick {
    /// The first tick at or after a time; `tick`: their distance.
    pub fn up(t: impl Time, tick: Span) -> Tick {
        Tick(headwater_operators::ledger::up(t.us(), tick.0))
    }

    /// The last tick at or before a time.
    pub fn down(t: impl Time, tick: Span) -> Tick {
        Tick(t.us().div_euclid(tick.0).saturating_mul(tick.0))
    }

    /// The tick from which on an event is visible, by its own times alone: `up(max(eff, ts))`.
    pub fn visible(eff: Eff, ts: EventTime, tick: Span) -> Tick {
        Tick::up(eff, tick).max(Tick::up(ts, tick))
    }

    /// Events up to there have left a window of this length.
    pub fn left(self, window: Span) -> EventTime {
        EventTime((self - window).0)
    }

    /// The first time of the dataflow after it: a frontier there says that it is finished.
    pub fn just_after(self) -> Tick {
        Tick(self.0.saturating_add(1))
    }

    /// The last time of the dataflow before it: a frontier at this tick says that all up to there is finished.
    pub fn just_before(self) -> Tick {
        Tick(self.0.saturating_sub(1))
    }

    /// The first time of the dataflow that may still come. `None`: none does.
    pub fn of_frontier(frontier: AntichainRef<i64>) -> Option<Tick> {
        frontier.iter().next().copied().map(Tick)
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

impl WallClock {
    /// Of this machine; 1970 where it is set before that.
    pub fn now() -> WallClock {
        WallClock(wall_clock_us())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a type has a trait.
    macro_rules! has {
        ($type:ty: $bound:path) => {{
            #[allow(dead_code)]
            trait Otherwise {
                const HAS: bool = false;
            }
            impl<T> Otherwise for T {}
            struct Of<T>(std::marker::PhantomData<T>);
            #[allow(dead_code)]
            impl<T: $bound> Of<T> {
                const HAS: bool = true;
            }
            <Of<$type>>::HAS
        }};
    }

    #[test]
    fn no_clock_is_taken_for_another() {
        assert!(has!(Tick: PartialOrd<Tick>) && has!(Tick: Sub<Tick>), "it would tell");
        let mixed = [
            has!(EventTime: PartialOrd<Arrival>),
            has!(EventTime: PartialOrd<Tick>),
            has!(Eff: PartialOrd<EventTime>),
            has!(Eff: PartialOrd<Tick>),
            has!(WallClock: PartialOrd<Tick>),
            has!(Tick: PartialOrd<i64>),
            has!(Tick: Sub<Eff>),
            has!(WallClock: Sub<Arrival>),
            has!(Tick: Add<i64>),
            has!(EventTime: From<i64>),
        ];
        assert_eq!(mixed, [false; 10]);
    }

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

    #[test]
    fn as_text_they_are_their_microseconds() {
        let all = (EventTime(1), Some(Tick::BEFORE_ALL), Span(-3));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, "[1,-9223372036854775808,-3]");
        assert_eq!(serde_json::from_str::<(EventTime, Option<Tick>, Span)>(&text).unwrap(), all);
        assert_eq!(WallClock(1_500_000).to_string(), "1970-01-01T00:00:01.500Z");
    }
}
