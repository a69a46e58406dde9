//! Which events a group's windows can still hold: rows of the history by the seam, events of any kind by their lateness.

use headwater_clocks::{Eff, EventTime, Span, Tick};
use headwater_operators::group::Fixed;

use crate::job::{Group, Window};

/// Which rows of the history some window at `S` or later can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    Everything,
    /// Trailing windows, of which this is the longest.
    Back(Span),
    Windows {
        places: Fixed,
        retain: Span,
    },
}

impl Reach {
    /// `lengths`: of the columns of a trailing group that are asked for.
    pub fn of(group: &Group, lengths: impl Iterator<Item = Option<Span>>) -> Reach {
        if let Some(places) = group.window.fixed() {
            return Reach::Windows { places, retain: group.retain };
        }
        match group.window {
            Window::Session { .. } => Reach::Everything,
            Window::Trailing | Window::Tumbling { .. } | Window::Hopping { .. } | Window::Calendar(_) => {
                let lengths: Option<Vec<Span>> = lengths.collect();
                let longest = lengths.and_then(|all| all.into_iter().max());
                longest.map_or(Reach::Everything, Reach::Back)
            }
        }
    }

    /// Of a group whose rows are looked up by others, of which each has this reach: a row just before one of their events is made of what lies
    /// further back.
    pub fn looked_up_by(self, others: impl Iterator<Item = Reach>) -> Reach {
        let back = |reach: Reach| match reach {
            Reach::Everything => None,
            Reach::Back(longest) => Some(longest),
            Reach::Windows { places, retain } => Some(places.longest() + retain),
        };
        let others: Option<Vec<Span>> = others.map(back).collect();
        match (self, others) {
            (Reach::Back(longest), Some(others)) => {
                Reach::Back(longest + others.into_iter().max().unwrap_or(Span::ZERO))
            }
            (own, Some(_)) => own,
            (_, None) => Reach::Everything,
        }
    }

    /// Whether a row of the history is in reach.
    pub fn holds(self, ts: EventTime, s: Tick) -> bool {
        match self {
            Reach::Everything => true,
            Reach::Back(longest) => ts > s.left(longest),
            Reach::Windows { places, retain } => {
                last_end(ts, places).is_some_and(|end| end + retain >= s.left(Span::ZERO))
            }
        }
    }

    /// Rows up to this event time are out of reach; `None`: none is.
    pub fn floor(self, s: Tick) -> Option<EventTime> {
        match self {
            Reach::Everything => None,
            Reach::Back(longest) => Some(s.left(longest)),
            Reach::Windows { places, retain } => Some(s.left(places.longest()) - retain - Span::from_us(1)),
        }
    }
}

/// Whether an event is late in a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Late {
    Not,
    /// Its `eff` is past the bound by so much.
    By(Span),
    /// It is in time, but its windows are gone: see `idle_limit`.
    Gone,
}

/// `horizon`: windows that closed before it are gone.
pub fn late(window: Window, lateness: Span, ts: EventTime, eff: Eff, horizon: Eff) -> Late {
    let end = match window {
        Window::Session { gap } => Some(ts + gap),
        other => other.fixed().and_then(|places| last_end(ts, places)),
    };
    // Between hopping windows an event was refused by none.
    let Some(end) = end else { return Late::Not };
    let bound = Eff::bound(end, lateness);
    if eff > bound {
        Late::By(eff - bound)
    } else if bound < horizon {
        Late::Gone
    } else {
        Late::Not
    }
}

/// The end of the last window that holds an event; hopping windows may leave room between them.
fn last_end(ts: EventTime, places: Fixed) -> Option<EventTime> {
    let end = places.end(places.newest(ts));
    (ts < end).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_window_decides() {
        let hopping = Window::Hopping { size: Span::from_us(10), every: Span::from_us(4) };
        let sparse = Window::Hopping { size: Span::from_us(3), every: Span::from_us(10) };
        let late_by = |us| Late::By(Span::from_us(us));
        for (window, lateness, ts, eff, horizon, expected) in [
            // 13 lies in [4, 14), [8, 18) and [12, 22).
            (hopping, 3, 13, 22, i64::MIN, Late::Not),
            (hopping, 3, 13, 25, i64::MIN, Late::Not),
            (hopping, 3, 13, 26, i64::MIN, late_by(1)),
            (hopping, 3, 13, 20, 26, Late::Gone),
            (hopping, 3, 13, 20, 25, Late::Not),
            // Between two windows.
            (sparse, 0, 15, 1000, i64::MIN, Late::Not),
            (Window::Session { gap: Span::from_us(5) }, 2, 10, 18, i64::MIN, late_by(1)),
            (Window::Trailing, 0, 10, i64::MAX, i64::MAX, Late::Not),
        ] {
            let (ts, eff, horizon) = (EventTime::from_us(ts), Eff::from_us(eff), Eff::from_us(horizon));
            let found = late(window, Span::from_us(lateness), ts, eff, horizon);
            assert_eq!(found, expected, "{window:?} {ts:?} {eff:?} {horizon:?}");
        }
    }

    #[test]
    fn what_no_window_holds_is_out_of_reach() {
        let [five, ten] = [5, 10].map(Span::from_us);
        let hourly = Reach::Windows { places: Fixed::Even { size: ten, every: ten }, retain: five };
        let holds = |reach: Reach, ts, s| reach.holds(EventTime::from_us(ts), Tick::from_us(s));
        assert_eq!([19, 20].map(|ts| holds(hourly, ts, 35)), [false, true], "[10, 20) is gone at 26, [20, 30) at 36");
        assert!(hourly.floor(Tick::from_us(35)).is_some_and(|floor| floor < EventTime::from_us(20)));
        assert_eq!([5, 6].map(|ts| holds(Reach::Back(ten), ts, 15)), [false, true]);
        let back = |us| Reach::Back(Span::from_us(us));
        assert_eq!(back(10).looked_up_by([hourly, back(7)].into_iter()), back(25));
        assert_eq!(back(10).looked_up_by([back(7), Reach::Everything].into_iter()), Reach::Everything);
        assert_eq!(back(10).looked_up_by([].into_iter()), back(10));
        assert!(holds(Reach::Everything, i64::MIN, 0) && Reach::Everything.floor(Tick::from_us(0)).is_none());
    }
}
