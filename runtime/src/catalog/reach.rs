//! Which events a group's windows can still hold: rows of the history by the seam, events of any kind by their lateness.

use crate::job::{Group, Window};

/// Which rows of the history some window at `S` or later can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    Everything,
    /// Trailing windows, of which this is the longest.
    Back(i64),
    Windows {
        size: i64,
        every: i64,
        retain: i64,
    },
}

impl Reach {
    /// `lengths`: of the columns of a trailing group that are asked for.
    pub fn of(group: &Group, lengths: impl Iterator<Item = Option<i64>>) -> Reach {
        match group.window {
            Window::Session { .. } => Reach::Everything,
            Window::Tumbling { size_us: size } => Reach::Windows { size, every: size, retain: group.retain_us },
            Window::Hopping { size_us: size, every_us: every } => {
                Reach::Windows { size, every, retain: group.retain_us }
            }
            Window::Trailing => {
                let lengths: Option<Vec<i64>> = lengths.collect();
                lengths.and_then(|all| all.into_iter().max()).map_or(Reach::Everything, Reach::Back)
            }
        }
    }

    /// Whether a row of the history is in reach.
    pub fn holds(self, ts: i64, s: i64) -> bool {
        match self {
            Reach::Everything => true,
            Reach::Back(longest) => ts > s.saturating_sub(longest),
            Reach::Windows { size, every, retain } => {
                last_end(ts, size, every).is_some_and(|end| end.saturating_add(retain) >= s)
            }
        }
    }

    /// Rows up to this event time are out of reach; `None`: none is.
    pub fn floor(self, s: i64) -> Option<i64> {
        match self {
            Reach::Everything => None,
            Reach::Back(longest) => Some(s.saturating_sub(longest)),
            Reach::Windows { size, retain, .. } => {
                Some(s.saturating_sub(size).saturating_sub(retain).saturating_sub(1))
            }
        }
    }
}

/// Whether an event is late in a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Late {
    Not,
    /// Its `eff` is past the bound by so many microseconds.
    By(i64),
    /// It is in time, but its windows are gone: see `idle_limit`.
    Gone,
}

/// `horizon`: windows that closed before it are gone.
pub fn late(window: Window, lateness: i64, ts: i64, eff: i64, horizon: i64) -> Late {
    let end = match window {
        Window::Trailing => None,
        Window::Tumbling { size_us } => last_end(ts, size_us, size_us),
        Window::Hopping { size_us, every_us } => last_end(ts, size_us, every_us),
        Window::Session { gap_us } => Some(ts.saturating_add(gap_us)),
    };
    // Between hopping windows an event was refused by none.
    let Some(end) = end else { return Late::Not };
    let bound = end.saturating_add(lateness);
    if eff > bound {
        Late::By(eff.saturating_sub(bound))
    } else if bound < horizon {
        Late::Gone
    } else {
        Late::Not
    }
}

/// The end of the last window that holds an event; hopping windows may leave room between them.
fn last_end(ts: i64, size: i64, every: i64) -> Option<i64> {
    let start = ts.div_euclid(every).saturating_mul(every);
    let end = start.saturating_add(size);
    (ts < end).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_window_decides() {
        let hopping = Window::Hopping { size_us: 10, every_us: 4 };
        // 13 lies in [4, 14), [8, 18) and [12, 22).
        let cases = [(22, Late::Not), (25, Late::Not), (26, Late::By(1))];
        for (eff, expected) in cases {
            assert_eq!(late(hopping, 3, 13, eff, i64::MIN), expected, "eff {eff}");
        }
        assert_eq!(late(hopping, 3, 13, 20, 26), Late::Gone);
        assert_eq!(late(hopping, 3, 13, 20, 25), Late::Not);
        let sparse = Window::Hopping { size_us: 3, every_us: 10 };
        assert_eq!(late(sparse, 0, 15, 1000, i64::MIN), Late::Not, "between two windows");
        assert_eq!(late(Window::Session { gap_us: 5 }, 2, 10, 18, i64::MIN), Late::By(1));
        assert_eq!(late(Window::Trailing, 0, 10, i64::MAX, i64::MAX), Late::Not);
    }

    #[test]
    fn what_no_window_holds_is_out_of_reach() {
        let hourly = Reach::Windows { size: 10, every: 10, retain: 5 };
        assert_eq!([19, 20].map(|ts| hourly.holds(ts, 35)), [false, true], "[10, 20) is gone at 26, [20, 30) at 36");
        assert!(hourly.floor(35).is_some_and(|floor| floor < 20));
        assert_eq!([5, 6].map(|ts| Reach::Back(10).holds(ts, 15)), [false, true]);
        assert!(Reach::Everything.holds(i64::MIN, 0) && Reach::Everything.floor(0).is_none());
    }
}
