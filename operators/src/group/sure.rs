//! Which moves make a unit's row another one for sure, whatever else is in it: those that change how many events one of its columns
//! counts. What the new row is need not be known at such a tick, and where nobody asks for it before the next one, it is not made.
//!
//! ```text
//! count over 1h, sum over 1h and 1d
//!   an event comes           both counts rise: sure        (whatever its class: an hour is the shortest)
//!   it leaves the hour       the count falls: sure
//!   it leaves the day        the sum may be what it was: the row is made, and looked at
//! ```

use headwater_clocks::Span;

use crate::accumulators::ColumnPlan;

/// By moves of one unit at one tick that all come, or all leave.
#[derive(Default)]
pub struct Sure {
    /// By window: whether a column counts what leaves it.
    leaves: Vec<bool>,
    /// By age class: whether a column counts what comes with it.
    arrivals: Vec<bool>,
}

impl Sure {
    /// `columns`: all of a row; `windows`: their finite lengths, ascending.
    pub fn of(columns: &[ColumnPlan], windows: &[Span]) -> Sure {
        let counts = |length: Option<Span>| columns.iter().any(|c| c.input.is_none() && c.length == length);
        let leaves: Vec<bool> = windows.iter().map(|window| counts(Some(*window))).collect();
        let reaches = |class: usize| leaves[class..].contains(&true) || counts(None);
        Sure { arrivals: (0..=windows.len()).map(reaches).collect(), leaves }
    }

    /// Whether an event that leaves a window does.
    #[inline]
    pub fn of_leave(&self, window: usize) -> bool {
        self.leaves.get(window).copied().unwrap_or(false)
    }

    /// Whether an event that comes does.
    #[inline]
    pub fn of_arrival(&self, class: usize) -> bool {
        self.arrivals.get(class).copied().unwrap_or(false)
    }

    /// Whether any move is.
    pub fn any(&self) -> bool {
        self.leaves.contains(&true) || self.arrivals.contains(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(aggregate: &str, input: Option<usize>, length: Option<i64>) -> ColumnPlan {
        let length = length.map(Span::from_us);
        ColumnPlan { name: "x".to_owned(), aggregate: aggregate.parse().unwrap(), input, length }
    }

    #[test]
    fn only_what_is_counted_is_sure() {
        let columns =
            [column("count", None, Some(5)), column("sum", Some(0), Some(9)), column("count", Some(0), Some(9))];
        let sure = Sure::of(&columns, &[5, 9].map(Span::from_us));
        assert_eq!([0, 1, 2].map(|window| sure.of_leave(window)), [true, false, false]);
        assert_eq!([0, 1, 2].map(|class| sure.of_arrival(class)), [true, false, false]);
        let sure = Sure::of(&[column("count", None, None), column("max", Some(0), Some(9))], &[Span::from_us(9)]);
        assert!(!sure.of_leave(0) && sure.of_arrival(0) && sure.of_arrival(1));
        assert!(!Sure::default().any());
    }
}
