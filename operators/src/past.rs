//! A table with all of its past: what was in force of a key at a time, as it was known at each tick.
//!
//! ```text
//! version          from      known at     in force at 10:20, as known from 09:00 on -> 2, from 10:40 on -> 3
//! rate 2           09:00     09:00
//! rate 3, late     10:15     10:40
//! ```
//!
//! Of the versions that are known at a tick the last with `from <= at` is in force; of those with one `from` the last in the order of the
//! log. It does not change any more, so threads share it. [`Table`](crate::table::Table) is the same while versions come.

use headwater_clocks::{EventTime, Tick};

use crate::keys::Interner;

/// A version of a key's row, or of its absence. `P`: its place in the order of the log.
#[derive(Clone, Debug)]
pub struct Version<'a, P> {
    /// The key's bytes.
    pub key: &'a [u8],
    /// From when on it is in force.
    pub from: EventTime,
    /// Which of those that are in force from one time on. Two of a key with one `from` and one place are the same, read twice.
    pub place: P,
    /// The tick from which on it is known.
    pub known: Tick,
    /// The row, by a number of the caller's; `None`: it removes the row.
    pub row: Option<u32>,
}

/// All versions of a table's rows.
///
/// ```
/// use headwater_clocks::{EventTime, Tick};
/// use headwater_operators::past::{Past, Version};
///
/// let (ts, tick) = (EventTime::from_us, Tick::from_us);
/// let rate = |from, place, known, row| Version { key: b"m1", from: ts(from), place, known: tick(known), row };
/// let past = Past::of(vec![rate(1015, 1, 1040, Some(3)), rate(900, 0, 900, Some(2)), rate(1030, 2, 1050, None)]);
/// let mut seen = vec![];
/// past.seen(b"m1", ts(1020), tick(1000)..Tick::AFTER_ALL, |ticks, row| seen.push((ticks, row)));
/// assert_eq!(seen, [(tick(1000)..tick(1040), Some(2)), (tick(1040)..Tick::AFTER_ALL, Some(3))]);
/// assert_eq!([1010, 1020, 1040].map(|at| past.last(b"m1", ts(at))), [Some(2), Some(3), None]);
/// ```
pub struct Past {
    keys: Interner,
    /// Of the key with the number `n` the versions up to `ends[n]`, in the order in which they supersede each other.
    ends: Vec<u32>,
    versions: Vec<KnownVersion>,
}

#[derive(Clone, Copy)]
struct KnownVersion {
    from: EventTime,
    known: Tick,
    row: Option<u32>,
}

/// What is in force from one tick to another.
pub type Ticks = std::ops::Range<Tick>;

impl Past {
    /// Of versions in any order.
    ///
    /// # Panics
    /// On more than 2^32 versions.
    pub fn of<P: Ord>(versions: Vec<Version<P>>) -> Past {
        let mut keys = Interner::new(0);
        let mut numbered: Vec<(u32, Version<P>)> = versions.into_iter().map(|v| (keys.intern(v.key), v)).collect();
        numbered.sort_by(|(a, v), (b, w)| (a, v.from, &v.place, v.known).cmp(&(b, w.from, &w.place, w.known)));
        // Of what was read twice the one that was known first.
        numbered.dedup_by(|(a, v), (b, w)| (&*a, v.from, &v.place) == (&*b, w.from, &w.place));
        let mut ends = vec![0u32; keys.bound()];
        numbered.iter().for_each(|(number, _)| ends[*number as usize] += 1);
        let mut sum = 0u32;
        for end in &mut ends {
            sum = sum.checked_add(*end).expect("more than 2^32 versions of a table");
            *end = sum;
        }
        let known = |(_, v): &(u32, Version<P>)| KnownVersion { from: v.from, known: v.known, row: v.row };
        Past { ends, versions: numbered.iter().map(known).collect(), keys }
    }

    /// How many versions it has.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// What is in force of a key at a time, as it is known at each of some ticks: in their order, each of what is another row than before.
    pub fn seen(&self, key: &[u8], at: EventTime, ticks: Ticks, mut each: impl FnMut(Ticks, Option<u32>)) {
        let versions = self.until(key, at);
        // From the last one back to the first that is known at the beginning.
        let known = versions.iter().rposition(|version| version.known <= ticks.start);
        let mut row = known.and_then(|at| versions[at].row);
        let mut later: Vec<KnownVersion> = vec![];
        for version in &versions[known.map_or(0, |at| at + 1)..] {
            // One that is known later than what supersedes it is never in force.
            later.retain(|earlier| earlier.known < version.known);
            later.extend((version.known < ticks.end).then_some(*version));
        }
        let mut start = ticks.start;
        for version in later {
            if version.row != row {
                each(start..version.known, row);
                (start, row) = (version.known, version.row);
            }
        }
        each(start..ticks.end, row);
    }

    /// What is in force of a key at a time, as it is known in the end.
    pub fn last(&self, key: &[u8], at: EventTime) -> Option<u32> {
        self.until(key, at).last().and_then(|version| version.row)
    }

    /// The versions of a key that may be in force at a time.
    fn until(&self, key: &[u8], at: EventTime) -> &[KnownVersion] {
        let Some(number) = self.keys.find(key) else { return &[] };
        let number = number as usize;
        let first = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        let versions = &self.versions[first as usize..self.ends[number] as usize];
        &versions[..versions.partition_point(|version| version.from <= at)]
    }
}

#[cfg(test)]
mod tests {
    use headwater_clocks::{Span, Time};
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Whatever comes in which order, what is in force is what a search among all versions finds, at every tick.
    #[test]
    fn agrees_with_a_search() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(5);
        let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
        for _ in 0..500 {
            let many = rng.random_range(0..25);
            let version = |place| Version {
                key: keys[rng.random_range(0..3)],
                from: EventTime::from_us(rng.random_range(0..15)),
                place,
                known: Tick::from_us(rng.random_range(0..20)),
                row: rng.random_bool(0.8).then(|| rng.random_range(0..4)),
            };
            let mut all: Vec<Version<i64>> = (0..many).map(version).collect();
            let twice: Vec<_> = all.iter().filter(|_| rng.random_bool(0.2)).cloned().collect();
            all.extend(twice.into_iter().map(|version| Version { known: version.known + Span::from_us(3), ..version }));
            let past = Past::of(all.clone());
            let in_force = |key: &[u8], at: EventTime, tick: Tick| {
                let known = all.iter().filter(|v| v.key == key && v.from <= at && v.known <= tick);
                known.max_by_key(|v| (v.from, v.place)).and_then(|v| v.row)
            };
            for (key, at) in keys.iter().flat_map(|key| (-1..16).map(move |at| (*key, EventTime::from_us(at)))) {
                let (start, end) = (rng.random_range(0..10), rng.random_range(10..25));
                let (start, end) = (Tick::from_us(start), Tick::from_us(end));
                let mut seen = vec![];
                past.seen(key, at, start..end, |ticks, row| seen.push((ticks, row)));
                assert_eq!((seen[0].0.start, seen[seen.len() - 1].0.end), (start, end));
                assert!(seen.windows(2).all(|two| two[0].0.end == two[1].0.start && two[0].1 != two[1].1), "{seen:?}");
                for (ticks, row) in seen {
                    assert!(!ticks.is_empty());
                    let ticks = (ticks.start.us()..ticks.end.us()).map(Tick::from_us);
                    ticks.for_each(|tick| assert_eq!(row, in_force(key, at, tick), "{at} at {tick}"));
                }
                assert_eq!(past.last(key, at), in_force(key, at, Tick::AFTER_ALL));
            }
            assert_eq!(past.last(b"d", EventTime::from_us(10)), None);
        }
    }
}
