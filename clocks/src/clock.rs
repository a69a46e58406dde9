//! What all clocks have in common, and those that are no tick.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::span::Span;

/// A time of some clock.
pub trait Time: Copy {
    /// Microseconds since 1970.
    fn us(self) -> i64;

    /// How far it lies past a time of another clock.
    #[inline]
    fn past(self, other: impl Time) -> Span {
        Span(self.us().saturating_sub(other.us()))
    }
}

/// Makes types of clocks, all alike.
macro_rules! clocks {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(crate) i64);

        impl $name {
            /// No time of this clock comes before it.
            pub const BEFORE_ALL: $name = $name(i64::MIN);
            /// No time of this clock comes after it.
            pub const AFTER_ALL: $name = $name(i64::MAX);

            /// So many microseconds after 1970 began.
            #[inline]
            pub const fn from_us(us: i64) -> $name {
                $name(us)
            }

            /// The first time after it.
            #[inline]
            pub fn just_after(self) -> $name {
                $name(self.0.saturating_add(1))
            }

            /// The last time before it.
            #[inline]
            pub fn just_before(self) -> $name {
                $name(self.0.saturating_sub(1))
            }
        }

        impl $crate::Time for $name {
            #[inline]
            fn us(self) -> i64 {
                self.0
            }
        }

        impl std::ops::Add<$crate::Span> for $name {
            type Output = $name;

            #[inline]
            fn add(self, span: $crate::Span) -> $name {
                $name(self.0.saturating_add(span.0))
            }
        }

        impl std::ops::Sub<$crate::Span> for $name {
            type Output = $name;

            #[inline]
            fn sub(self, span: $crate::Span) -> $name {
                $name(self.0.saturating_sub(span.0))
            }
        }

        impl std::ops::Sub for $name {
            type Output = $crate::Span;

            #[inline]
            fn sub(self, earlier: $name) -> $crate::Span {
                $crate::Span(self.0.saturating_sub(earlier.0))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.pad(&$crate::format_time(self.0))
            }
        }
    )*};
}
pub(crate) use clocks;

clocks! {
    /// When an event happened: `ts`.
    EventTime
    /// When the system could first know a record: `a`.
    Arrival
    /// An arrival, made monotone along the log of a partition: `eff`. All that decides whether an event counts is decided by it.
    Eff
    /// The time by which a seam in time matches records: `m`, and the largest of a history, `C`.
    MatchTime
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
    #[inline]
    fn from(a: Arrival) -> Eff {
        Eff(a.0)
    }
}

impl Eff {
    /// The largest with which a window that ends at `end` takes an event.
    pub fn bound(end: EventTime, lateness: Span) -> Eff {
        Eff(end.0.saturating_add(lateness.0))
    }

    /// How far back in event time it reaches: windows that ended before are closed to what comes at it. The other way round: [`Eff::bound`].
    #[inline]
    pub fn reaches_back(self, lateness: Span) -> EventTime {
        EventTime(self.0.saturating_sub(lateness.0))
    }

    /// What no later record of a partition lies at or before, where nobody was missing at a wall clock; `margin`: by how much such a
    /// word has been wrong.
    pub fn confirmed(at: WallClock, margin: Span) -> Eff {
        Eff((at - margin).0)
    }
}

impl WallClock {
    /// Of this machine; 1970 where it is set before that. The one place where anybody reads it.
    pub fn now() -> WallClock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        WallClock(since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::{Add, Sub};

    use super::*;
    use crate::tick::Tick;

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
    fn as_text_they_are_their_microseconds() {
        let all = (EventTime(1), Some(Tick::BEFORE_ALL), Span(-3));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, "[1,-9223372036854775808,-3]");
        assert_eq!(serde_json::from_str::<(EventTime, Option<Tick>, Span)>(&text).unwrap(), all);
        assert_eq!(WallClock(1_500_000).to_string(), "1970-01-01T00:00:01.500Z");
    }
}
