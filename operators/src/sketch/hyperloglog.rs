//! How many distinct values there are, within 1.6%: HyperLogLog with 4096 registers, which gives back what it took.
//!
//! A value is known by the pair (register, rank) of its hash. A plain HyperLogLog keeps the greatest rank of each register;
//! here every rank that was seen is kept, so that after the greatest has left the next one is known.
//!
//! ```text
//! hash       rrrrrrrrrrrr 000001...     register: the top 12 bits; rank: 1 + the zeros that follow, 1 ..= 53
//! insert 7 3, insert 7 6    ranks of register 7: {3, 6}, greatest 6
//! remove 7 6                ranks of register 7: {3},    greatest 3
//! ```
//!
//! The sketch is a set of pairs: its owner knows how often and when each was seen, and removes a pair with its last value.
//!
//! The estimate is that of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), section 4,
//! which needs no tables and no corrections by range. It is computed from a histogram of the greatest ranks, kept up to date.

use std::collections::BTreeMap;

/// The bits of a hash that choose the register.
const PRECISION: u32 = 12;
const REGISTERS: u16 = 1 << PRECISION;
/// The rank of a hash whose other bits are all zero.
const RANK_MAX: usize = 64 - PRECISION as usize + 1;
const RANK_BITS: u32 = 6;

/// What the sketch knows of a value with this hash: a register and a rank in one number below 2^18.
///
/// ```
/// use headwater_operators::sketch::hyperloglog::pair;
///
/// assert_eq!(pair(0x0078_0000_0000_0000), 7 << 6 | 1);
/// assert_eq!(pair(0), 53);
/// ```
#[inline]
pub fn pair(hash: u64) -> u32 {
    let register = (hash >> (64 - PRECISION)) as u32;
    let rank = (hash << PRECISION).leading_zeros().min(RANK_MAX as u32 - 1) + 1;
    register << RANK_BITS | rank
}

/// A set of pairs, which starts empty.
///
/// ```
/// use headwater_operators::sketch::hyperloglog::{HyperLogLog, pair};
/// use xxhash_rust::xxh3::xxh3_64;
///
/// let mut sketch = HyperLogLog::default();
/// for user in 0..100u64 {
///     let pair = pair(xxh3_64(&user.to_le_bytes()));
///     if !sketch.contains(pair) {
///         sketch.insert(pair);
///     }
/// }
/// assert!((98..=102).contains(&sketch.estimate()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HyperLogLog {
    /// The ranks seen in each register that is not empty, as bits.
    ranks: BTreeMap<u16, u64>,
    /// How many registers have this greatest rank; those without any have 0.
    histogram: [u16; RANK_MAX + 1],
}

impl Default for HyperLogLog {
    fn default() -> Self {
        let mut histogram = [0; RANK_MAX + 1];
        histogram[0] = REGISTERS;
        HyperLogLog { ranks: BTreeMap::new(), histogram }
    }
}

impl HyperLogLog {
    /// Takes a pair in, which is not inside.
    pub fn insert(&mut self, pair: u32) {
        let (register, rank) = split(pair);
        let ranks = self.ranks.entry(register).or_default();
        debug_assert!(*ranks & rank == 0, "{pair} is inside already");
        let before = *ranks;
        *ranks |= rank;
        self.histogram[greatest(before)] -= 1;
        self.histogram[greatest(before | rank)] += 1;
    }

    /// Gives a pair back, which is inside.
    pub fn remove(&mut self, pair: u32) {
        let (register, rank) = split(pair);
        let before = self.ranks.get(&register).copied().unwrap_or(0);
        assert!(before & rank != 0, "{pair} is not inside");
        let after = before & !rank;
        if after == 0 {
            self.ranks.remove(&register);
        } else {
            self.ranks.insert(register, after);
        }
        self.histogram[greatest(before)] -= 1;
        self.histogram[greatest(after)] += 1;
    }

    /// Whether the pair is inside.
    pub fn contains(&self, pair: u32) -> bool {
        let (register, rank) = split(pair);
        self.ranks.get(&register).is_some_and(|ranks| ranks & rank != 0)
    }

    /// Takes in every pair of `other`. A pair of both is inside once.
    pub fn merge(&mut self, other: &HyperLogLog) {
        for (register, theirs) in &other.ranks {
            let ours = self.ranks.entry(*register).or_default();
            self.histogram[greatest(*ours)] -= 1;
            *ours |= theirs;
            self.histogram[greatest(*ours)] += 1;
        }
    }

    /// Whether no pair is inside.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// How many distinct values there are, about; 0 if none.
    pub fn estimate(&self) -> i64 {
        let m = f64::from(REGISTERS);
        let share = |rank: usize| f64::from(self.histogram[rank]) / m;
        let mut z = m * tau(1.0 - share(RANK_MAX));
        for registers in self.histogram[1..RANK_MAX].iter().rev() {
            z = 0.5 * (z + f64::from(*registers));
        }
        z += m * sigma(share(0));
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as i64
    }
}

/// The register of a pair, and its rank as a bit.
fn split(pair: u32) -> (u16, u64) {
    ((pair >> RANK_BITS) as u16, 1 << (pair & ((1 << RANK_BITS) - 1)))
}

/// The greatest of a register's ranks, 0 if there is none.
fn greatest(ranks: u64) -> usize {
    ranks.checked_ilog2().unwrap_or(0) as usize
}

/// x + sum of x^(2^k) * 2^(k-1) for k >= 1: what the empty registers add. Infinite for 1.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut sum, mut weight) = (x, 1.0);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// (1 - x - sum of (1 - x^(2^-k))^2 * 2^-k for k >= 1) / 3: what the full registers add.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut sum, mut weight) = (1.0 - x, 1.0);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn of(pairs: &BTreeSet<u32>) -> HyperLogLog {
        let mut sketch = HyperLogLog::default();
        pairs.iter().for_each(|pair| sketch.insert(*pair));
        sketch
    }

    /// The estimates for 1, 2, .. values, at these numbers of values.
    fn estimates(seed: u64, at: &[u64]) -> Vec<i64> {
        let mut sketch = HyperLogLog::default();
        let mut taken = 0;
        at.iter()
            .map(|n| {
                for i in taken..*n {
                    let pair = pair(xxh3_64(&(seed << 32 | i).to_le_bytes()));
                    if !sketch.contains(pair) {
                        sketch.insert(pair);
                    }
                }
                taken = *n;
                sketch.estimate()
            })
            .collect()
    }

    #[test]
    fn pairs() {
        let table = [
            (u64::MAX, 4095 << 6 | 1),
            (0, 53),
            (1, 52),
            (1 << 51, 1),
            (1 << 52, 1 << 6 | 53),
            (0xabc0_1000_0000_0000, 0xabc << 6 | 8),
        ];
        for (hash, expected) in table {
            assert_eq!(pair(hash), expected, "{hash:x}");
        }
    }

    #[test]
    fn estimates_are_near() {
        let at = [0, 1, 10, 100, 1_000, 3_000, 10_000, 20_000, 100_000, 1_000_000];
        let runs: Vec<Vec<i64>> = (0..20).map(|seed| estimates(seed, &at)).collect();
        for (i, n) in at.into_iter().enumerate() {
            let errors: Vec<f64> = runs.iter().map(|run| (run[i] as f64 - n as f64) / n.max(1) as f64).collect();
            let rms = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
            let max = errors.iter().fold(0f64, |max, e| max.max(e.abs()));
            println!("{n}: rms {rms:.5}, max {max:.5}");
            assert!(rms < 0.02 && max < 0.06, "{n}: rms {rms}, max {max}");
            if n <= 1 {
                assert_eq!(max, 0.0, "{n}");
            }
        }
    }

    #[test]
    fn gives_back_what_it_took() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        for size in [1, 10, 1000, 50_000] {
            let mut pick = || -> BTreeSet<u32> { (0..size).map(|_| pair(rng.random())).collect() };
            let (kept, gone) = (pick(), pick());
            let (alone, mut sketch) = (of(&kept), of(&kept));
            let mut more: Vec<u32> = gone.difference(&kept).copied().collect();
            more.iter().for_each(|pair| sketch.insert(*pair));
            more.shuffle(&mut rng);
            more.iter().for_each(|pair| sketch.remove(*pair));
            assert_eq!(sketch, alone);
            kept.iter().for_each(|pair| sketch.remove(*pair));
            assert!(sketch.is_empty());
            assert_eq!(sketch, HyperLogLog::default());
            assert_eq!(sketch.estimate(), 0);
        }
    }

    #[test]
    fn merged_is_of_both() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(2);
        for size in [0, 10, 1000, 50_000] {
            let mut pick = || -> BTreeSet<u32> { (0..size).map(|_| pair(rng.random())).collect() };
            let (a, b) = (pick(), pick());
            let mut merged = of(&a);
            merged.merge(&of(&b));
            assert_eq!(merged, of(&a.union(&b).copied().collect()));
        }
    }

    #[test]
    fn full_registers() {
        let every = (0..u32::from(REGISTERS)).map(|register| register << RANK_BITS | RANK_MAX as u32).collect();
        assert_eq!(of(&every).estimate(), i64::MAX); // no end to them
    }
}
