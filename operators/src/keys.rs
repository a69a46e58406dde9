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

/// Key bytes -> a dense number, and back.
///
/// ```
/// use headwater_operators::keys::Interner;
///
/// let mut keys = Interner::default();
/// assert_eq!((keys.intern(b"card-7"), keys.intern(b"card-9"), keys.intern(b"card-7")), (0, 1, 0));
/// assert_eq!((keys.key(1), keys.len()), (&b"card-9"[..], 2));
/// ```
#[derive(Default)]
pub struct Interner {
    numbers: HashMap<u64, Numbers, Prehashed>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// The keys that share a hash: nearly always one.
enum Numbers {
    One(u32),
    More(Vec<u32>),
}

impl Interner {
    /// How many keys there are: the next one's number.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key of a number.
    ///
    /// # Panics
    /// On a number that `intern` never gave.
    pub fn key(&self, number: u32) -> &[u8] {
        let i = number as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// The number of a key: the next one where the key is new.
    ///
    /// # Panics
    /// On more than 2^32 keys.
    pub fn intern(&mut self, key: &[u8]) -> u32 {
        let hash = hash(key);
        let found = match self.numbers.get(&hash) {
            None => None,
            Some(Numbers::One(n)) => (self.key(*n) == key).then_some(*n),
            Some(Numbers::More(all)) => all.iter().copied().find(|n| self.key(*n) == key),
        };
        found.unwrap_or_else(|| self.add(hash, key))
    }

    fn add(&mut self, hash: u64, key: &[u8]) -> u32 {
        let number = u32::try_from(self.ends.len()).expect("more than 2^32 keys of a group on one worker");
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
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
