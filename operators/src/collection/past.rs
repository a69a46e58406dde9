//! The rows of a group or a view as they were not long ago: of each key, what it had from which tick on.
//!
//! ```text
//! key a   +1 at 3, -1 at 13        at 2: none    at 3 and 12: the row    at 13: none
//! ```
//!
//! It knows keys by their bytes: their numbers in the group may be those of others by the time that somebody asks. Of a windowed group each
//! window of a key has a place of its own, by its start.

use std::collections::VecDeque;
use std::rc::Rc;

use headwater_clocks::Tick;

use super::trace::{RowBatch, each_version};
use super::version::{BEFORE, Version};
use crate::changes::Keys;
use crate::keys::Interner;
use crate::value::Datum;

/// The values of a row, as a version has them.
pub type Values = Rc<[Datum]>;

/// Bytes of keys that are gone and are not worth moving the others.
const FREED_KEY_BYTES: usize = 64 << 10;

/// Rows as they were.
pub struct Past {
    keys: Interner,
    /// By key, in the order of place and tick.
    entries: Vec<VecDeque<Entry>>,
    /// (tick, key, place): what is there from that tick on supersedes what was there before, or is nothing.
    superseded: VecDeque<(Tick, u32, i64)>,
    rows: usize,
    windowed: bool,
    of_before: OfBefore,
}

/// What a key has in a place from a tick on; `row`: `None`: nothing.
struct Entry {
    /// The window's start; 0 where there are no windows.
    place: i64,
    from: Tick,
    row: Option<Values>,
}

/// What becomes of rows that were there before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OfBefore {
    /// They have been there for ever.
    Undated,
    /// They are known already.
    Known,
    /// They are there since they changed last; and nothing was there before this tick.
    Since(Tick),
}

impl Default for Past {
    fn default() -> Past {
        Past::new(false, OfBefore::Undated)
    }
}

impl Past {
    /// What stores have of a collection whose rows are shown from a tick on. `windowed`: start and end of a window are the first values of a
    /// row.
    pub fn shown_from(tick: Tick, windowed: bool) -> Past {
        Past::new(windowed, OfBefore::Since(tick))
    }

    fn new(windowed: bool, of_before: OfBefore) -> Past {
        let keys = Interner::new(FREED_KEY_BYTES);
        Past { keys, entries: vec![], superseded: VecDeque::new(), rows: 0, windowed, of_before }
    }

    /// Takes differences in, batch after batch in the order of their times. `keys`: name the keys of the batch.
    pub fn read(&mut self, batch: &RowBatch, keys: &Keys) {
        let mut all = vec![];
        each_version(batch, |_, version, times| {
            if version.is_stored() {
                let place = self.place(version);
                all.extend(times.map(|(time, diff)| (time, version.key, place, diff > 0, version)));
            }
        });
        all.retain(|(time, ..)| *time > BEFORE || self.of_before != OfBefore::Known);
        // A row that comes is in the place of one that goes at its tick, of whichever unit.
        all.sort_by_key(|(time, key, place, comes, _)| (*time, *key, *place, *comes));
        for change in all.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2)) {
            let Some((time, key, place, comes, version)) = change.last() else { continue };
            let from = self.from(*time, version);
            self.push(keys.numbers.key(*key), *place, (from, comes.then(|| version.values.clone())));
        }
    }

    fn place(&self, version: &Version) -> i64 {
        match version.values.first() {
            Some(Datum::Word(start)) if self.windowed => *start as i64,
            _ => 0,
        }
    }

    fn from(&self, time: Tick, version: &Version) -> Tick {
        match self.of_before {
            OfBefore::Since(tick) if time == BEFORE => version.at.max(tick),
            OfBefore::Since(tick) => time.max(tick),
            OfBefore::Undated | OfBefore::Known => time,
        }
    }

    /// What was pushed is what a run before had: of its rows no more are read.
    pub fn go_on(&mut self) {
        self.of_before = OfBefore::Known;
    }

    /// From a tick on a key has a row in a place, or none. In a place ticks never fall, and of one tick the last word counts.
    pub fn push(&mut self, key: &[u8], place: i64, (from, row): (Tick, Option<Values>)) {
        let number = self.keys.intern(key);
        if self.entries.len() <= number as usize {
            self.entries.resize_with(number as usize + 1, VecDeque::new);
        }
        let entries = &mut self.entries[number as usize];
        let at = entries.partition_point(|entry| (entry.place, entry.from) < (place, from));
        let is_first = at.checked_sub(1).is_none_or(|before| entries[before].place != place);
        let known = entries.get_mut(at).filter(|entry| (entry.place, entry.from) == (place, from));
        // What is there already has been noted, but where it is a first row that goes at its own tick.
        let is_noted = known.as_ref().is_some_and(|known| !is_first || known.row.is_none());
        if !is_noted && (!is_first || row.is_none()) {
            self.superseded.push_back((from, number, place));
        }
        match known {
            Some(known) => known.row = row,
            None => {
                entries.insert(at, Entry { place, from, row });
                self.rows += 1;
            }
        }
    }

    /// The row that a key had just before a tick, where there are no windows.
    pub fn before(&self, key: &[u8], tick: Tick) -> Option<&Values> {
        let entries = &self.entries[self.keys.find(key)? as usize];
        let last = entries.partition_point(|entry| entry.from < tick).checked_sub(1)?;
        entries[last].row.as_ref()
    }

    /// The rows that a key had at a tick, by place: the number of the key here, the tick from which on it was so, and the row.
    pub fn at(&self, key: &[u8], tick: Tick) -> Vec<(u32, Tick, &Values)> {
        let Some(number) = self.keys.find(key) else { return vec![] };
        let entries = &self.entries[number as usize];
        let mut found: Vec<(u32, Tick, &Values)> = vec![];
        let mut begin = 0;
        while let Some(place) = entries.get(begin).map(|entry| entry.place) {
            let after = entries.partition_point(|entry| (entry.place, entry.from) <= (place, tick));
            if let Some(entry) = after.checked_sub(1).filter(|last| *last >= begin).map(|last| &entries[last]) {
                found.extend(entry.row.as_ref().map(|row| (number, entry.from, row)));
            }
            begin = entries.partition_point(|entry| entry.place <= place);
        }
        found
    }

    /// What names the keys that have a number here.
    pub fn keys(&self) -> &Interner {
        &self.keys
    }

    /// Nobody asks any more for what a key had before a tick, but for what it still had then.
    pub fn forget(&mut self, tick: Tick) {
        while let Some((_, number, place)) = self.superseded.pop_front_if(|(from, ..)| *from <= tick) {
            let entries = &mut self.entries[number as usize];
            let first = entries.partition_point(|entry| entry.place < place);
            let after = entries.partition_point(|entry| (entry.place, entry.from) <= (place, tick));
            // What is in force at the tick stays, if it is anything.
            let Some(last) = after.checked_sub(1).filter(|last| *last >= first) else { continue };
            let upto = if entries[last].row.is_none() { after } else { last };
            entries.drain(first..upto);
            self.rows -= upto - first;
            if entries.is_empty() && upto > first {
                self.keys.free(number);
            }
        }
    }

    /// Of each key the rows that it has had: its place, the tick from which on, and the row, or that there was none.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], i64, Tick, Option<&Values>)> {
        self.keys.numbers().flat_map(move |number| {
            let entries = self.entries[number as usize].iter();
            entries.map(move |entry| (self.keys.key(number), entry.place, entry.from, entry.row.as_ref()))
        })
    }

    /// Of these, what was superseded by a tick, and absences until then: all but the rows that are in force at it.
    pub fn superseded_by(&self, tick: Tick) -> impl Iterator<Item = (&[u8], i64, Tick, Option<&Values>)> {
        self.keys.numbers().flat_map(move |number| {
            let entries = &self.entries[number as usize];
            let is_superseded = move |at: &usize| {
                let (entry, next) = (&entries[*at], entries.get(*at + 1));
                let has_next = next.is_some_and(|next| next.place == entry.place && next.from <= tick);
                entry.from <= tick && (has_next || entry.row.is_none())
            };
            (0..entries.len()).filter(is_superseded).map(move |at| {
                let entry = &entries[at];
                (self.keys.key(number), entry.place, entry.from, entry.row.as_ref())
            })
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
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::DataType;
    use headwater_clocks::Time;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::collection::trace::{Update, batch};
    use crate::collection::version::Phase;
    use crate::key_codec::KeyCodec;

    fn row(n: i64) -> Values {
        [Datum::int(n)].into()
    }

    #[test]
    fn a_key_has_what_it_had_just_before() {
        let at = Tick::from_us;
        let mut past = Past::default();
        past.push(b"a", 0, (Tick::BEFORE_ALL, Some(row(1))));
        past.push(b"a", 0, (at(5), None));
        past.push(b"a", 0, (at(9), Some(row(2))));
        let before = |past: &Past, tick| past.before(b"a", at(tick)).cloned();
        assert_eq!([5, 6, 9, 10].map(|tick| before(&past, tick)), [Some(row(1)), None, None, Some(row(2))]);
        assert_eq!(past.before(b"b", at(10)), None);
        past.forget(at(8));
        assert_eq!((before(&past, 9), before(&past, 10), past.len()), (None, Some(row(2)), 1));
        past.push(b"a", 0, (at(11), None));
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
                        past.push(&[key], 0, (Tick::from_us(tick), new.map(row)));
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

    /// Of several windows of a key, with what a checkpoint has of it in between: what was superseded, and the rows of then.
    #[test]
    fn what_is_saved_and_the_rows_of_then_are_the_same_again() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut past, mut all, mut bound) = (Past::default(), BTreeMap::<i64, Vec<_>>::new(), 0);
            for tick in 0..50 {
                for place in 0..3 {
                    if rng.random_bool(0.3) {
                        let rows = all.entry(place).or_default();
                        let there = rows.last().is_some_and(|(_, row): &(i64, Option<i64>)| row.is_some());
                        let new = (!there || rng.random_bool(0.6)).then_some(tick);
                        past.push(b"a", place, (Tick::from_us(tick), new.map(row)));
                        rows.push((tick, new));
                    }
                }
                if rng.random_bool(0.2) {
                    bound = rng.random_range(bound..=tick);
                    past.forget(Tick::from_us(bound));
                }
                if rng.random_bool(0.1) {
                    let at = rng.random_range(bound..=tick);
                    let mut again = Past::default();
                    let mut saved: Vec<_> = past.superseded_by(Tick::from_us(at)).collect();
                    saved.sort_by_key(|(_, _, from, _)| *from);
                    saved.into_iter().for_each(|(key, place, from, row)| again.push(key, place, (from, row.cloned())));
                    for (place, rows) in &all {
                        let of_then = rows.iter().rfind(|(from, _)| *from <= at);
                        if let Some((from, Some(n))) = of_then {
                            again.push(b"a", *place, (Tick::from_us(*from), Some(row(*n))));
                        }
                        for (from, n) in rows.iter().filter(|(from, _)| *from > at) {
                            again.push(b"a", *place, (Tick::from_us(*from), n.map(row)));
                        }
                    }
                    again.forget(Tick::from_us(bound));
                    past = again;
                }
                let asked = rng.random_range(bound..=tick);
                let found: Vec<_> =
                    past.at(b"a", Tick::from_us(asked)).into_iter().map(|(_, from, row)| (from, row.clone())).collect();
                let known = all.values().filter_map(|rows| rows.iter().rfind(|(from, _)| *from <= asked));
                let expected: Vec<_> = known.filter_map(|(from, n)| Some((Tick::from_us(*from), row((*n)?)))).collect();
                assert_eq!(found, expected, "seed {seed}, at {asked} of {tick}, nothing before {bound}");
            }
            past.forget(Tick::AFTER_ALL);
            let left = all.values().filter(|rows| rows.last().is_some_and(|(_, row)| row.is_some())).count();
            assert_eq!(past.len(), left, "seed {seed}: the rows of now alone");
        }
    }

    #[test]
    fn a_row_takes_the_place_of_another_and_leaves_it() {
        let at = Tick::from_us;
        let key: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let codec = KeyCodec::new(&[DataType::Utf8]).unwrap();
        let mut numbers = Interner::new(0);
        let bytes = codec.encode(&[key]).unwrap();
        numbers.intern(bytes.value(0));
        let keys = Keys { codec: &codec, numbers: &numbers };
        let version = |at: i64, phase: Phase, n: i64| {
            let values = [10, 20, n].map(Datum::int);
            Version { at: Tick::from_us(at), again: false, phase, key: 0, values: Rc::new(values) }
        };
        let mut past = Past::shown_from(Tick::from_us(6), true);
        let rows_at = |past: &Past, tick: i64| -> Vec<(i64, Datum)> {
            past.at(bytes.value(0), Tick::from_us(tick))
                .into_iter()
                .map(|(_, from, row)| (from.us(), row[2].clone()))
                .collect()
        };
        let read = |past: &mut Past, mut updates: Vec<Update>| past.read(&batch(&mut updates).unwrap(), &keys);
        let (old, new) = (version(3, Phase::Stored, 1), version(9, Phase::Stored, 2));
        read(&mut past, vec![((0, old.clone()), BEFORE, 1)]);
        read(&mut past, vec![((1, new.clone()), at(9), 1), ((0, old), at(9), -1)]);
        read(&mut past, vec![((1, new), at(12), -1), ((1, version(9, Phase::Left, 2)), at(12), 1)]);
        assert_eq!(rows_at(&past, 5), []);
        assert_eq!(rows_at(&past, 6), [(6, Datum::int(1))]);
        assert_eq!(rows_at(&past, 8), [(6, Datum::int(1))]);
        assert_eq!([9, 11].map(|tick| rows_at(&past, tick)), [[(9, Datum::int(2))], [(9, Datum::int(2))]]);
        assert_eq!(rows_at(&past, 12), []);
        past.forget(at(12));
        assert!(past.is_empty() && past.keys.is_empty());
    }
}
