//! The rows of a group as they were not long ago: of each key, what it had from which tick on.
//!
//! ```text
//! key a   +1 at 3, -1 at 13        before 3: none    before 4 and 13: the row    before 14: none
//! ```
//!
//! It knows keys by their bytes: their numbers in the group may be those of others by the time that somebody asks.

use std::collections::VecDeque;
use std::rc::Rc;

use headwater_clocks::Tick;

use super::trace::{RowBatch, each_version};
use super::version::BEFORE;
use crate::changes::Keys;
use crate::keys::Interner;
use crate::value::Datum;

/// The values of a row, as a version has them.
pub type Values = Rc<[Datum]>;

/// Bytes of keys that are gone and are not worth moving the others.
const FREED_KEY_BYTES: usize = 64 << 10;

/// Of a trailing group.
pub struct Past {
    keys: Interner,
    /// By key: from which tick on it has had which row, in their order.
    entries: Vec<VecDeque<(Tick, Option<Values>)>>,
    /// (tick, key): what the key has from there on supersedes what it had before, or is nothing.
    superseded: VecDeque<(Tick, u32)>,
    rows: usize,
    /// It has the rows of before the run already.
    goes_on: bool,
}

impl Default for Past {
    fn default() -> Past {
        let keys = Interner::new(FREED_KEY_BYTES);
        Past { keys, entries: vec![], superseded: VecDeque::new(), rows: 0, goes_on: false }
    }
}

impl Past {
    /// Takes differences in, batch after batch in the order of their times. `keys`: name the keys of the batch.
    pub fn read(&mut self, batch: &RowBatch, keys: &Keys) {
        let mut all = vec![];
        each_version(batch, |unit, version, times| {
            all.extend(times.map(|(time, diff)| (time, unit, diff, version)));
        });
        all.retain(|(time, ..)| *time > BEFORE || !self.goes_on);
        all.sort_by_key(|(time, unit, diff, _)| (*time, *unit, *diff));
        for change in all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some((time, _, diff, version)) = change.last() else { continue };
            let values = (*diff > 0).then(|| version.values.clone());
            self.push(keys.numbers.key(version.key), *time, values);
        }
    }

    /// What was pushed is what a run before had: of its rows no more are read.
    pub fn go_on(&mut self) {
        self.goes_on = true;
    }

    /// From a tick on a key has a row, or none. Ticks never fall.
    pub fn push(&mut self, key: &[u8], tick: Tick, values: Option<Values>) {
        let number = self.keys.intern(key);
        if self.entries.len() <= number as usize {
            self.entries.resize_with(number as usize + 1, VecDeque::new);
        }
        let entry = &mut self.entries[number as usize];
        if !entry.is_empty() || values.is_none() {
            self.superseded.push_back((tick, number));
        }
        entry.push_back((tick, values));
        self.rows += 1;
    }

    /// The row that a key had just before a tick.
    pub fn before(&self, key: &[u8], tick: Tick) -> Option<&Values> {
        let entry = &self.entries[self.keys.find(key)? as usize];
        let last = entry.partition_point(|(from, _)| *from < tick).checked_sub(1)?;
        entry[last].1.as_ref()
    }

    /// Nobody asks any more for what a key had before a tick, but for what it still had then.
    pub fn forget(&mut self, tick: Tick) {
        while let Some((_, number)) = self.superseded.pop_front_if(|(from, _)| *from <= tick) {
            let entry = &mut self.entries[number as usize];
            let last = entry.partition_point(|(from, _)| *from <= tick).saturating_sub(1);
            entry.drain(..last);
            self.rows -= last;
            if entry.front().is_some_and(|(from, row)| *from <= tick && row.is_none()) {
                entry.pop_front();
                self.rows -= 1;
                if entry.is_empty() {
                    self.keys.free(number);
                }
            }
        }
    }

    /// Of each key the rows that it has had: the tick from which on, and the row, or that there was none.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Tick, Option<&Values>)> {
        self.keys.numbers().flat_map(move |number| {
            let entry = self.entries[number as usize].iter();
            entry.map(move |(from, values)| (self.keys.key(number), *from, values.as_ref()))
        })
    }

    /// How many rows, and absences of rows, it has.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn row(n: i64) -> Values {
        [Datum::int(n)].into()
    }

    #[test]
    fn a_key_has_what_it_had_just_before() {
        let at = Tick::from_us;
        let mut past = Past::default();
        past.push(b"a", Tick::BEFORE_ALL, Some(row(1)));
        past.push(b"a", at(5), None);
        past.push(b"a", at(9), Some(row(2)));
        let before = |past: &Past, tick| past.before(b"a", at(tick)).cloned();
        assert_eq!([5, 6, 9, 10].map(|tick| before(&past, tick)), [Some(row(1)), None, None, Some(row(2))]);
        assert_eq!(past.before(b"b", at(10)), None);
        past.forget(at(8));
        assert_eq!((before(&past, 9), before(&past, 10), past.len()), (None, Some(row(2)), 1));
        past.push(b"a", at(11), None);
        past.forget(at(11));
        assert_eq!((before(&past, 12), past.len(), past.keys.len()), (None, 0, 0));
    }

    /// Against a list of all that was pushed.
    #[test]
    fn what_is_forgotten_nobody_asks_for() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut past, mut all, mut bound) = (Past::default(), BTreeMap::<u8, Vec<_>>::new(), i64::MIN);
            for tick in 0..60 {
                for key in 0..4u8 {
                    if rng.random_bool(0.2) {
                        let there = all
                            .get(&key)
                            .and_then(|rows| rows.last())
                            .is_some_and(|(_, row): &(i64, Option<i64>)| row.is_some());
                        let new = (!there || rng.random_bool(0.5)).then_some(tick);
                        past.push(&[key], Tick::from_us(tick), new.map(row));
                        all.entry(key).or_default().push((tick, new));
                    }
                }
                if rng.random_bool(0.3) {
                    bound = rng.random_range(bound.max(0)..=tick);
                    past.forget(Tick::from_us(bound));
                }
                let (key, asked) = (rng.random_range(0..4), rng.random_range(bound.saturating_add(1)..=tick + 1));
                let known = all.get(&key).into_iter().flatten().rev().find(|(from, _)| *from < asked);
                let expected = known.and_then(|(_, row)| *row).map(row);
                assert_eq!(
                    past.before(&[key], Tick::from_us(asked)).cloned(),
                    expected,
                    "seed {seed}, key {key} before {asked}"
                );
            }
            assert_eq!(past.iter().count(), past.len());
        }
    }
}
