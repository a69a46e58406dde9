//! Keys interned: each key of a group has a dense number on its worker, which state is indexed by.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64;

/// The hash that decides which shard, and so which worker, a key belongs to.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The worker that owns a key. Keys fall into a fixed number of shards, so that files written by any number of workers
/// can be read by any other.
pub fn owner(hash: u64, workers: usize) -> u64 {
    (hash % SHARDS) * workers as u64 / SHARDS
}

/// The fixed number of shards.
pub const SHARDS: u64 = 1024;

/// Key bytes -> a dense number, and back. A number that is given back is used again.
///
/// ```
/// use headwater_operators::keys::Interner;
///
/// let mut keys = Interner::new(64 << 10);
/// assert_eq!((keys.intern(b"card-7"), keys.intern(b"card-9"), keys.intern(b"card-7")), (0, 1, 0));
/// assert_eq!((keys.key(1), keys.len()), (&b"card-9"[..], 2));
///
/// keys.free(0);
/// assert_eq!((keys.intern(b"card-3"), keys.len(), keys.bound()), (0, 2, 2));
/// ```
pub struct Interner {
    numbers: HashMap<u64, Numbers, Prehashed>,
    /// The keys' bytes, one after the other, those of keys that are gone among them.
    bytes: Vec<u8>,
    spans: Vec<Stretch>,
    free: Vec<u32>,
    freed_bytes: usize,
    freed_bytes_max: usize,
}

/// Where a key's bytes are.
#[derive(Clone, Copy)]
struct Stretch {
    start: u64,
    /// `u32::MAX`: the number is free.
    length: u32,
}

const FREE: u32 = u32::MAX;

/// The keys that share a hash: nearly always one.
enum Numbers {
    One(u32),
    More(Vec<u32>),
}

impl Interner {
    /// `freed_bytes_max`: so many bytes of keys that are gone are not worth moving the others.
    pub fn new(freed_bytes_max: usize) -> Interner {
        let (numbers, bytes, spans, free) = (HashMap::default(), vec![], vec![], vec![]);
        Interner { numbers, bytes, spans, free, freed_bytes: 0, freed_bytes_max }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.spans.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All numbers are below it.
    pub fn bound(&self) -> usize {
        self.spans.len()
    }

    /// The numbers of all keys that are there.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.spans).filter(|(_, span)| span.length != FREE).map(|(number, _)| number)
    }

    /// The key of a number.
    ///
    /// # Panics
    /// On a number that `intern` never gave.
    pub fn key(&self, number: u32) -> &[u8] {
        let span = self.spans[number as usize];
        debug_assert_ne!(span.length, FREE, "number {number} was given back");
        &self.bytes[span.start as usize..][..span.length as usize]
    }

    /// The number of a key: a free one where the key is new.
    ///
    /// # Panics
    /// On more than 2^32 keys.
    pub fn intern(&mut self, key: &[u8]) -> u32 {
        let hash = hash(key);
        self.find_hashed(hash, key).unwrap_or_else(|| self.add(hash, key))
    }

    /// The number of a key that is there.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.find_hashed(hash(key), key)
    }

    fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<u32> {
        match self.numbers.get(&hash)? {
            Numbers::One(n) => (self.key(*n) == key).then_some(*n),
            Numbers::More(all) => all.iter().copied().find(|n| self.key(*n) == key),
        }
    }

    fn add(&mut self, hash: u64, key: &[u8]) -> u32 {
        let span = Stretch { start: self.bytes.len() as u64, length: key.len() as u32 };
        self.bytes.extend_from_slice(key);
        let number = match self.free.pop() {
            Some(number) => {
                self.spans[number as usize] = span;
                number
            }
            None => {
                self.spans.push(span);
                u32::try_from(self.spans.len() - 1).expect("more than 2^32 keys of a group on one worker")
            }
        };
        match self.numbers.get_mut(&hash) {
            None => drop(self.numbers.insert(hash, Numbers::One(number))),
            Some(Numbers::More(all)) => all.push(number),
            Some(one) => {
                let Numbers::One(first) = *one else { unreachable!() };
                *one = Numbers::More(vec![first, number]);
            }
        }
        number
    }

    /// Gives a number back: its key is forgotten.
    ///
    /// # Panics
    /// On a number that is free.
    pub fn free(&mut self, number: u32) {
        let hash = hash(self.key(number));
        match self.numbers.get_mut(&hash) {
            Some(Numbers::More(all)) if all.len() > 1 => all.retain(|n| *n != number),
            _ => drop(self.numbers.remove(&hash)),
        }
        let span = &mut self.spans[number as usize];
        self.freed_bytes += span.length as usize;
        span.length = FREE;
        self.free.push(number);
        if self.freed_bytes > self.freed_bytes_max.max(self.bytes.len() / 2) {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.freed_bytes);
        for span in self.spans.iter_mut().filter(|span| span.length != FREE) {
            let key = &self.bytes[span.start as usize..][..span.length as usize];
            span.start = bytes.len() as u64;
            bytes.extend_from_slice(key);
        }
        (self.bytes, self.freed_bytes) = (bytes, 0);
    }
}

/// The map's keys are hashes already.
#[derive(Clone, Default)]
struct Prehashed;

struct Pass(u64);

impl BuildHasher for Prehashed {
    type Hasher = Pass;

    fn build_hasher(&self) -> Pass {
        Pass(0)
    }
}

impl Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole hashes are hashed")
    }

    fn write_u64(&mut self, hash: u64) {
        // The map looks at the top bits, the shard at the low ones.
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng};

    use super::*;

    /// Each key keeps its number while it is there, whatever comes and goes beside it.
    #[test]
    fn agrees_with_a_map() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(5);
        let (mut keys, mut all) = (Interner::new(16), BTreeMap::<Vec<u8>, u32>::new());
        for _ in 0..3000 {
            let key = vec![b'k'; rng.random_range(0..60)];
            match all.remove(&key) {
                Some(number) if rng.random_bool(0.4) => keys.free(number),
                known => {
                    let number = keys.intern(&key);
                    assert!(known.is_none_or(|known| known == number));
                    assert!(all.values().all(|other| *other != number));
                    all.insert(key, number);
                }
            }
            assert_eq!(keys.len(), all.len());
            assert!(all.iter().all(|(key, number)| keys.key(*number) == key));
        }
        assert!(keys.bound() <= 60 && keys.bytes.len() < 60 * 60 * 2);
    }
}
