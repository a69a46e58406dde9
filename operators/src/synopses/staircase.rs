//! The greatest value of every trailing window of a column, while events come, come late and grow old.
//!
//! An event leaves a window only by age, so an event that is no greater than a younger one can never matter again. What is
//! left is a staircase, one for all windows: from old to young, the values fall.
//!
//! ```text
//! (ts, value)    1 9   4 7   6 7   8 2     the greatest with ts > 0: 9, ts > 3: 7, ts > 6: 2
//! insert 7 7  -> 1 9               7 7   8 2
//! ```
//!
//! Every operation costs O(log n) amortised, with n the events that still matter; but one that comes late moves those of them that are
//! younger, or those that are older, whichever are fewer.

use std::collections::VecDeque;

use headwater_clocks::EventTime;

/// Events, of which only those are kept that can still be the greatest of some window.
///
/// ```
/// use headwater_clocks::EventTime;
/// use headwater_operators::synopses::staircase::Staircase;
///
/// let ts = EventTime::from_us;
/// let mut stairs = Staircase::default();
/// for (us, value) in [(1, 9), (8, 2), (4, 7), (6, 3)] {
///     stairs.insert(ts(us), value); // in any order
/// }
/// assert_eq!(stairs.greatest(ts(0)), Some(&9));
/// assert_eq!(stairs.greatest(ts(1)), Some(&7));
/// assert_eq!(stairs.greatest(ts(6)), Some(&2));
///
/// stairs.insert(ts(7), 7); // no younger than 7 and no less than 7: the events of 4 and 6 never matter again
/// assert_eq!(stairs.greatest(ts(4)), Some(&7));
/// stairs.forget(ts(7));
/// assert_eq!(stairs.greatest(EventTime::BEFORE_ALL), Some(&2));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Staircase<V> {
    /// From old to young, by event time: the values fall.
    steps: VecDeque<(EventTime, V)>,
}

impl<V> Default for Staircase<V> {
    fn default() -> Self {
        Staircase { steps: VecDeque::new() }
    }
}

impl<V: Ord> Staircase<V> {
    /// Takes an event in, late or not. Of equal event times the greatest value counts.
    pub fn insert(&mut self, ts: EventTime, value: V) {
        if self.steps.back().is_none_or(|(youngest, _)| *youngest <= ts) {
            return self.insert_youngest(ts, value);
        }
        let younger = self.steps.partition_point(|(step, _)| *step < ts);
        if self.steps.get(younger).is_some_and(|(_, step)| *step >= value) {
            return;
        }
        // Those that are no greater go.
        let after = self.steps.partition_point(|(step, _)| *step <= ts);
        let first = self.steps.partition_point(|(step, of)| *step <= ts && *of > value);
        self.steps.drain(first..after);
        self.steps.insert(first, (ts, value));
    }

    /// Most events come in order of time: then the steps that fall are the last ones.
    fn insert_youngest(&mut self, ts: EventTime, value: V) {
        while let Some((youngest, step)) = self.steps.back() {
            if *step > value || *youngest == ts && *step == value {
                break;
            }
            self.steps.pop_back();
        }
        if self.steps.back().is_none_or(|(youngest, _)| *youngest < ts) {
            self.steps.push_back((ts, value));
        }
    }

    /// The greatest value with an event time after `after`.
    pub fn greatest(&self, after: EventTime) -> Option<&V> {
        let younger = self.steps.partition_point(|(step, _)| *step <= after);
        self.steps.get(younger).map(|(_, value)| value)
    }

    /// Forgets what lies at or before `until`: no window reaches it any more.
    pub fn forget(&mut self, until: EventTime) {
        while self.steps.front().is_some_and(|(oldest, _)| *oldest <= until) {
            self.steps.pop_front();
        }
    }

    /// The events that are kept, from old to young.
    pub fn iter(&self) -> impl Iterator<Item = (EventTime, &V)> {
        self.steps.iter().map(|(ts, value)| (*ts, value))
    }

    /// Whether no event is left.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn agrees_with_a_search() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        for _ in 0..200 {
            let (mut stairs, mut all) = (Staircase::default(), Vec::new());
            let mut now = 0;
            for _ in 0..100 {
                now += rng.random_range(0..3);
                let event = (EventTime::from_us(now - rng.random_range(0..20)), rng.random_range(0..10));
                stairs.insert(event.0, event.1);
                all.push(event);
                let after = EventTime::from_us(now - rng.random_range(0..25));
                let expected = all.iter().filter(|(ts, _)| *ts > after).map(|(_, v)| v).max();
                assert_eq!(stairs.greatest(after), expected);
                if rng.random_bool(0.1) {
                    stairs.forget(EventTime::from_us(now - 25));
                }
            }
        }
    }
}
