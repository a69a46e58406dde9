//! Where windows of their own lie that begin whether there are events or not: by the clock, or by a calendar.

use headwater_clocks::{EventTime, Span, Time};

use super::calendar::{Calendar, DAY_US};

/// Windows `[start, end)` whose places are known beforehand. Those that meet are tumbling, those that overlap are hopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// `[start, start + size)`, where `start` is a multiple of `every` since 1970.
    Even {
        /// Their length.
        size: Span,
        /// From one start to the next.
        every: Span,
    },
    /// Whole days of a zone.
    Calendar(Calendar),
}

impl Fixed {
    /// The start of the newest window that has begun by `ts`. Near the ends of time that may be no window that holds it.
    pub fn newest(self, ts: EventTime) -> EventTime {
        match self {
            Fixed::Even { every, .. } => EventTime::from_us(ts.us().div_euclid(every.us()).saturating_mul(every.us())),
            Fixed::Calendar(calendar) => calendar.newest(ts),
        }
    }

    /// The start of the window before the one that begins at `start`.
    pub fn before(self, start: EventTime) -> Option<EventTime> {
        match self {
            Fixed::Even { every, .. } => start.us().checked_sub(every.us()).map(EventTime::from_us),
            Fixed::Calendar(calendar) => calendar.before(start),
        }
    }

    /// When the window ends that begins at `start`.
    pub fn end(self, start: EventTime) -> EventTime {
        match self {
            Fixed::Even { size, .. } => start + size,
            Fixed::Calendar(calendar) => calendar.end(start),
        }
    }

    /// Whether the window that begins at `start`, which is no later than `ts`, holds it.
    pub fn holds(self, start: EventTime, ts: EventTime) -> bool {
        match self {
            Fixed::Even { size, .. } => start > ts - size,
            Fixed::Calendar(calendar) => start > EventTime::BEFORE_ALL && ts < calendar.end(start),
        }
    }

    /// No window is longer.
    pub fn longest(self) -> Span {
        match self {
            Fixed::Even { size, .. } => size,
            Fixed::Calendar(calendar) => calendar.longest(),
        }
    }

    /// After so much time past a start the next window has begun, and not yet the one behind that.
    pub fn apart(self) -> Span {
        match self {
            Fixed::Even { every, .. } => every,
            Fixed::Calendar(calendar) => Span::from_us(calendar.every() * DAY_US + DAY_US / 2),
        }
    }

    /// In how many windows an event is, about.
    pub(super) fn of_event(self) -> usize {
        let (size, every) = match self {
            Fixed::Even { size, every } => (size.us(), every.us()),
            Fixed::Calendar(calendar) => (calendar.size(), calendar.every()),
        };
        (size / every) as usize + 1
    }
}
