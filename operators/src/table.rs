//! A table whose rows have versions: which one was in force when, as far as is known by now.
//!
//! ```text
//! version          from      in force at the time x: the last with from <= x
//! rate 2           09:00     10:10 -> 2    10:20 -> 2
//! rate 3, late     10:15     10:10 -> 2    10:20 -> 3     what it changes: [10:15, the next version's from)
//! removed          10:30     10:55 -> nothing
//! ```
//!
//! Of versions with one `from` the last in the order of the log counts. Versions may come in any order.

use std::collections::BTreeSet;
use std::rc::Rc;

use headwater_clocks::{Eff, EventTime, Offset};

use crate::keys::Interner;

/// The columns of a version that are looked up.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// As a `KeyCodec` of their types encodes them.
    pub values: Box<[u8]>,
    /// By column, whether its field did not decode. `None`: each did.
    pub undecoded: Option<Box<[bool]>>,
}

/// What is in force: a row, or none.
pub type Pick = Option<Rc<Row>>;

/// Where a version stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a history that says no offsets, which lies before the stream: by effective time, then event time, then the greater row.
    History(Eff, Option<EventTime>, Box<[u8]>),
    /// By offset.
    Log(Offset),
}

/// A version of a key's row, or of its absence.
#[derive(Clone, Debug)]
pub struct Version {
    /// From when on it is in force.
    pub from: EventTime,
    /// Which of those that are in force from one time on.
    pub place: Place,
    /// `None`: it removes the row.
    pub row: Pick,
    /// By which it came: none that comes later has a smaller one.
    pub eff: Eff,
}

/// A span of time in which another version of a key's row is in force than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The number of the key.
    pub key: u32,
    /// The first time.
    pub from: EventTime,
    /// Past the last time; `None`: there is no end.
    pub until: Option<EventTime>,
}

/// The versions of a table that can still be asked for.
///
/// ```
/// use std::rc::Rc;
/// use headwater_clocks::{Eff, EventTime, Offset};
/// use headwater_operators::table::{Changed, Place, Row, Table, Version};
///
/// let ts = EventTime::from_us;
/// let rate = |rate: u8| Some(Rc::new(Row { values: [rate].into(), undecoded: None }));
/// let version = |from, offset, row, eff| {
///     Version { from: ts(from), place: Place::Log(Offset::at(offset)), row, eff: Eff::from_us(eff) }
/// };
/// let mut table = Table::default();
/// table.insert(b"m1", version(900, 0, rate(2), 900));
/// let changed = table.insert(b"m1", version(1015, 1, rate(3), 1040));
/// assert_eq!(changed, Some(Changed { key: 0, from: ts(1015), until: None }));
/// assert_eq!([1010, 1020].map(|at| table.pick(b"m1", ts(at))), [rate(2), rate(3)]);
/// assert_eq!(table.pick(b"m2", ts(1020)), None);
/// table.forget(ts(1015)); // nobody asks for what was before
/// assert_eq!(table.len(), 1);
/// ```
pub struct Table {
    keys: Interner,
    entries: Vec<Entry>,
    versions: usize,
    /// By when a version is superseded by the next one of its key. It may have been forgotten by then.
    superseded: BTreeSet<(EventTime, u32)>,
}

/// What is known of a key.
#[derive(Default)]
struct Entry {
    /// By from and place.
    versions: Vec<Version>,
    /// Who else names its number.
    holders: u32,
    is_there: bool,
}

/// Bytes of keys that are gone and are not worth moving the others.
const FREED_KEY_BYTES: usize = 64 << 10;

impl Default for Table {
    fn default() -> Table {
        Table { keys: Interner::new(FREED_KEY_BYTES), entries: vec![], versions: 0, superseded: BTreeSet::new() }
    }
}

impl Table {
    /// How many versions it has.
    pub fn len(&self) -> usize {
        self.versions
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.versions == 0
    }

    /// Takes a version in. Returns what it changes; `None`: nothing.
    pub fn insert(&mut self, key: &[u8], version: Version) -> Option<Changed> {
        let number = self.number(key);
        let versions = &mut self.entries[number as usize].versions;
        let at = versions.partition_point(|v| (v.from, &v.place) <= (version.from, &version.place));
        // Read once more it is the same.
        if at > 0 && (versions[at - 1].from, &versions[at - 1].place) == (version.from, &version.place) {
            return None;
        }
        let (from, until) = (version.from, versions.get(at).map(|next| next.from));
        let before = at.checked_sub(1).and_then(|before| versions[before].row.clone());
        let changes = until.is_none_or(|until| from < until) && before != version.row;
        if at > 0 || version.row.is_none() {
            self.superseded.insert((from, number));
        }
        if let Some(next) = until {
            self.superseded.insert((next, number));
        }
        versions.insert(at, version);
        self.versions += 1;
        changes.then_some(Changed { key: number, from, until })
    }

    /// What is in force of a key at a time.
    pub fn pick(&self, key: &[u8], at: EventTime) -> Pick {
        self.keys.find(key).and_then(|number| self.pick_of(number, at))
    }

    /// The same of the key of a number.
    pub fn pick_of(&self, number: u32, at: EventTime) -> Pick {
        let versions = &self.entries[number as usize].versions;
        let last = versions.partition_point(|version| version.from <= at).checked_sub(1)?;
        versions[last].row.clone()
    }

    /// The key of a number that is named.
    pub fn key(&self, number: u32) -> &[u8] {
        self.keys.key(number)
    }

    /// The number of a key, which stays as long as somebody holds it.
    pub fn hold(&mut self, key: &[u8]) -> u32 {
        let number = self.number(key);
        self.entries[number as usize].holders += 1;
        number
    }

    /// One more holds a key that is held already.
    pub fn hold_again(&mut self, number: u32) {
        self.entries[number as usize].holders += 1;
    }

    /// One less holds a key.
    pub fn release(&mut self, number: u32) {
        self.entries[number as usize].holders -= 1;
        self.give_back(number);
    }

    /// Nobody asks any more for what was in force before `bound` alone, but for the last version before it.
    pub fn forget(&mut self, bound: EventTime) {
        while let Some((_, number)) = self.superseded.pop_first_if(|(from, _)| *from <= bound) {
            let versions = &mut self.entries[number as usize].versions;
            let last = versions.partition_point(|version| version.from <= bound).saturating_sub(1);
            self.versions -= last;
            versions.drain(..last);
            // A row that is gone is as one that never was.
            if versions.first().is_some_and(|first| first.from <= bound && first.row.is_none()) {
                versions.remove(0);
                self.versions -= 1;
            }
            self.give_back(number);
        }
    }

    /// Every version, with its key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Version)> {
        let of_key =
            move |number: u32| self.entries[number as usize].versions.iter().map(move |v| (self.keys.key(number), v));
        self.keys.numbers().flat_map(of_key)
    }

    fn number(&mut self, key: &[u8]) -> u32 {
        let number = self.keys.intern(key);
        if self.entries.len() <= number as usize {
            self.entries.resize_with(number as usize + 1, Entry::default);
        }
        self.entries[number as usize].is_there = true;
        number
    }

    fn give_back(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        if entry.is_there && entry.versions.is_empty() && entry.holders == 0 {
            entry.is_there = false;
            self.keys.free(number);
        }
    }
}

/// `BTreeSet::pop_first`, where the first is one of those.
trait PopFirstIf<T> {
    fn pop_first_if(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T>;
}

impl<T: Ord> PopFirstIf<T> for BTreeSet<T> {
    fn pop_first_if(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        self.first().filter(|first| is_it(first))?;
        self.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Whatever comes in which order, what is in force is what a search among all versions finds; and what changed is told.
    #[test]
    fn agrees_with_a_search() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(11);
        for _ in 0..300 {
            let ts = EventTime::from_us;
            let (mut table, mut all) = (Table::default(), Vec::<(u8, Version)>::new());
            let mut bound = 0;
            for offset in 0..60 {
                let key = rng.random_range(0..3u8);
                let row = rng.random_bool(0.8).then(|| Rc::new(Row { values: [offset as u8].into(), undecoded: None }));
                let from = bound + rng.random_range(0..20);
                let version =
                    Version { from: ts(from), place: Place::Log(Offset::at(offset)), row, eff: Eff::from_us(offset) };
                let before: Vec<Pick> = (bound..bound + 25).map(|at| table.pick(&[key], ts(at))).collect();
                let changed = table.insert(&[key], version.clone());
                all.push((key, version));
                for (at, before) in (bound..).map(ts).zip(before) {
                    let versions = all.iter().filter(|(of, v)| *of == key && v.from <= at);
                    let expected = versions.max_by_key(|(_, v)| (v.from, &v.place)).and_then(|(_, v)| v.row.clone());
                    let found = table.pick(&[key], at);
                    assert_eq!(found, expected);
                    let is_told = changed.is_some_and(|c| c.from <= at && c.until.is_none_or(|until| at < until));
                    assert!(is_told || found == before, "what changed at {at} is told");
                }
                if rng.random_bool(0.2) {
                    bound += rng.random_range(0..10);
                    table.forget(ts(bound));
                }
            }
            table.forget(EventTime::AFTER_ALL);
            assert!(table.len() <= 3 && table.iter().all(|(_, version)| version.row.is_some()));
        }
    }

    #[test]
    fn a_key_stays_while_it_is_held() {
        let mut table = Table::default();
        let held = table.hold(b"a");
        for at in [1, 2] {
            let (from, place) = (EventTime::from_us(at), Place::Log(Offset::at(at)));
            table.insert(b"a", Version { from, place, row: None, eff: Eff::from_us(1) });
        }
        table.forget(EventTime::from_us(10));
        assert_eq!((table.len(), table.hold(b"b")), (0, 1), "the number of a is not free");
        table.release(held);
        assert_eq!(table.hold(b"c"), held);
    }
}
