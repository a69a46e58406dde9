//! Credits: bytes of what a worker has made of records and sent, and that are not settled yet. Where they are spent, its sources wait.
//!
//! ```text
//! settled   their tick is announced, and all rows of it are stored
//! behind    their tick is announced: a store is slow               at most `UNSTORED_BYTES_MAX`, then nothing is read
//! ahead     `T` has not come to them: other partitions are slow    at most `AHEAD_BYTES_MAX`, then only what holds `T` back is read
//! ```

use std::collections::VecDeque;

use headwater_clocks::Tick;

const AHEAD_BYTES_MAX: usize = 32 << 20;
const UNSTORED_BYTES_MAX: usize = 32 << 20;

#[derive(Default)]
pub struct Credits {
    behind: Spent,
    ahead: Spent,
    t: Option<Tick>,
}

/// (tick, bytes), by tick; and all bytes of it.
#[derive(Default)]
struct Spent {
    records: VecDeque<(Tick, usize)>,
    bytes: usize,
}

impl Credits {
    /// Records were sent, the last of which counts at `tick`.
    pub fn spend(&mut self, tick: Tick, bytes: usize) {
        let spent = if Some(tick) <= self.t { &mut self.behind } else { &mut self.ahead };
        spent.add(tick, bytes);
    }

    /// The job's own time is `t`, and every row up to `stored` is stored.
    pub fn settle(&mut self, stored: Tick, t: Option<Tick>) {
        self.t = t;
        while let Some((tick, bytes)) = self.ahead.take_upto(t.unwrap_or(Tick::BEFORE_ALL)) {
            self.behind.add(tick, bytes);
        }
        while self.behind.take_upto(stored).is_some() {}
    }

    /// Whether a store has to catch up before anything is read.
    pub fn wait_for_stores(&self) -> bool {
        self.behind.bytes > UNSTORED_BYTES_MAX
    }

    /// Whether `T` has to come nearer before anything is read that does not hold it back.
    pub fn wait_for_t(&self) -> bool {
        self.ahead.bytes > AHEAD_BYTES_MAX
    }
}

impl Spent {
    fn add(&mut self, tick: Tick, bytes: usize) {
        let at = self.records.partition_point(|(known, _)| *known <= tick);
        self.records.insert(at, (tick, bytes));
        self.bytes += bytes;
    }

    fn take_upto(&mut self, tick: Tick) -> Option<(Tick, usize)> {
        let first = self.records.pop_front_if(|(first, _)| *first <= tick)?;
        self.bytes -= first.1;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_may_be_spent_again() {
        let mut credits = Credits::default();
        let waits = |credits: &Credits| (credits.wait_for_stores(), credits.wait_for_t());
        for (spent, stored, t, expected) in [
            (Some((10, AHEAD_BYTES_MAX)), i64::MIN, None, (false, false)),
            (Some((5, 1)), i64::MIN, None, (false, true)),
            (None, 0, Some(5), (false, false)),
            (None, 0, Some(10), (true, false)),
            (None, 5, Some(10), (false, false)),
            (Some((9, 1)), 8, Some(10), (true, false)),
            (None, 10, Some(10), (false, false)),
        ] {
            spent.into_iter().for_each(|(tick, bytes)| credits.spend(Tick::from_us(tick), bytes));
            credits.settle(Tick::from_us(stored), t.map(Tick::from_us));
            assert_eq!(waits(&credits), expected, "{spent:?} {stored} {t:?}");
        }
    }
}
