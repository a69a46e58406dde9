//! Percentiles of a multiset of floats, within 1%: DDSketch without collapsing, which gives back what it took.
//!
//! A float is known by its bucket, one of those that the powers of g = e^0.02 bound; all floats of a bucket are within 1% of
//! its value, as (g - 1) / (g + 1) < 0.01. Zero, the infinities and NaN have buckets of their own.
//!
//! ```text
//! bucket   -infinity   ..  -1            0    ..  1        2           ..   infinity   nan
//! x        -inf            -g^k..        0.0      ..       ..               inf        NaN, the greatest
//! ```
//!
//! The sketch counts the values of each bucket. Which buckets there are depends on no other value, so that equal multisets
//! have equal sketches, and equal answers, whatever came and went before.
//!
//! The answer to a percentile is found by steps from the last one: an insert or a remove moves it by a few buckets at most.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Buckets per power of e.
const PER_E: f64 = 50.0;
/// The bucket of 1.0; those of the least and the greatest positive float are 37222 below and 35490 above.
const ONE: i32 = 40_000;
const ZERO: i32 = 0;
const INFINITY: i32 = 100_000;
const NAN: i32 = INFINITY + 1;
/// From the lower bound of a bucket to its value: 2g / (g + 1).
const TO_VALUE: f64 = 1.0099996666799995;
/// The bits of a float that its bucket does not depend on. Floats that differ in the others have logarithms that differ by
/// far more than the error of `log`: no greater float is in a lesser bucket.
const IGNORED_BITS: u64 = (1 << 20) - 1;
const TWO_54: f64 = (1u64 << 54) as f64;

/// The bucket of `x`: the greater the float, the greater the bucket, or the same.
///
/// ```
/// use headwater_operators::sketch::ddsketch::{bucket, value};
///
/// assert_eq!(value(bucket(0.0)), 0.0);
/// assert!((value(bucket(-12.34)) + 12.34).abs() < 0.01 * 12.34);
/// assert!(bucket(-12.34) < bucket(0.0) && bucket(12.34) < bucket(f64::INFINITY));
/// ```
pub fn bucket(x: f64) -> i32 {
    match x {
        _ if x.is_nan() => NAN,
        _ if x.is_infinite() => INFINITY * if x < 0.0 { -1 } else { 1 },
        0.0 => ZERO,
        _ if x < 0.0 => -positive_bucket(-x),
        _ => positive_bucket(x),
    }
}

/// The log is that of `libm`, in Rust alone: the same on every platform.
fn positive_bucket(x: f64) -> i32 {
    let cut = |x: f64| f64::from_bits(x.to_bits() & !IGNORED_BITS);
    // The bits of a subnormal do not start at the top: it is made normal and back again, which loses nothing.
    let kept = if x.is_normal() { cut(x) } else { cut(x * TWO_54) / TWO_54 };
    ONE + (libm::log(kept) * PER_E).ceil() as i32
}

/// What stands for the floats of a bucket: each of them, if not subnormal, is within 1% of it.
pub fn value(bucket: i32) -> f64 {
    match bucket {
        NAN => f64::NAN,
        INFINITY => f64::INFINITY,
        ZERO => 0.0,
        ..0 => -value(-bucket),
        _ => {
            // Between the bounds a and b it is 2ab / (a + b), whose relative distance to both is the same.
            let lower = libm::exp(f64::from(bucket - ONE - 1) / PER_E);
            (lower * TO_VALUE).min(f64::MAX)
        }
    }
}

/// A multiset of buckets, which starts empty.
///
/// ```
/// use headwater_operators::sketch::ddsketch::{DdSketch, bucket};
///
/// let mut sketch = DdSketch::default();
/// (1..=100).for_each(|ms| sketch.insert(bucket(f64::from(ms))));
/// let p95 = sketch.percentile(0.95).unwrap(); // of rank 94 from 0: about 95
/// assert!((p95 - 95.0).abs() < 0.95);
/// (51..=100).for_each(|ms| sketch.remove(bucket(f64::from(ms))));
/// assert!((sketch.percentile(1.0).unwrap() - 50.0).abs() < 0.5);
/// ```
#[derive(Clone, Debug, Default)]
pub struct DdSketch {
    counts: BTreeMap<i32, u64>,
    count: u64,
    cursors: Vec<Cursor>,
}

/// Where the percentile `p` was last.
#[derive(Clone, Debug)]
struct Cursor {
    p: f64,
    bucket: i32,
    /// How many values lie in lesser buckets.
    below: u64,
}

/// Equal if they hold the same multiset; what was asked of them does not count.
impl PartialEq for DdSketch {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts
    }
}

impl DdSketch {
    /// Takes a value of this bucket in.
    pub fn insert(&mut self, bucket: i32) {
        self.insert_many(bucket, 1);
    }

    /// Takes so many values of this bucket in: at least one.
    pub fn insert_many(&mut self, bucket: i32, count: u64) {
        *self.counts.entry(bucket).or_default() += count;
        self.count += count;
        for cursor in self.cursors.iter_mut().filter(|cursor| bucket < cursor.bucket) {
            cursor.below += count;
        }
    }

    /// Gives back a value of this bucket, which is inside.
    pub fn remove(&mut self, bucket: i32) {
        let Some(count) = self.counts.get_mut(&bucket) else { panic!("no value of bucket {bucket} is inside") };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&bucket);
        }
        self.count -= 1;
        for cursor in self.cursors.iter_mut().filter(|cursor| bucket < cursor.bucket) {
            cursor.below -= 1;
        }
    }

    /// Takes in every value of `other`.
    pub fn merge(&mut self, other: &DdSketch) {
        other.counts.iter().for_each(|(bucket, count)| self.insert_many(*bucket, *count));
    }

    /// The buckets that hold something, in order, with how many values each has.
    pub fn iter(&self) -> impl Iterator<Item = (i32, u64)> {
        self.counts.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// How many values are inside.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether no value is inside.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value of rank floor(p * (n - 1)) from 0, for `p` in 0 ..= 1: `None` if empty.
    pub fn percentile(&mut self, p: f64) -> Option<f64> {
        let rank = (p * self.count.checked_sub(1)? as f64) as u64;
        let known = self.cursors.iter().position(|cursor| cursor.p.to_bits() == p.to_bits());
        let at = known.unwrap_or_else(|| {
            self.cursors.push(Cursor { p, bucket: i32::MIN, below: 0 });
            self.cursors.len() - 1
        });
        let cursor = &mut self.cursors[at];
        cursor.move_to(rank.min(self.count - 1), &self.counts);
        Some(value(cursor.bucket))
    }
}

impl Cursor {
    /// To the bucket that holds the value of this rank, which is less than the count of all.
    fn move_to(&mut self, rank: u64, counts: &BTreeMap<i32, u64>) {
        while rank < self.below {
            let Some((bucket, count)) = counts.range(..self.bucket).next_back() else { break };
            self.bucket = *bucket;
            self.below -= count;
        }
        let mut here = counts.get(&self.bucket).copied().unwrap_or(0);
        while rank >= self.below + here {
            let Some((bucket, count)) = counts.range((Excluded(self.bucket), Unbounded)).next() else { break };
            self.bucket = *bucket;
            self.below += here;
            here = *count;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const PERCENTILES: [f64; 8] = [0.0, 0.001, 0.1, 0.29, 0.5, 0.95, 0.999, 1.0];

    /// Any float but NaN, every magnitude alike.
    fn any_float(rng: &mut StdRng) -> f64 {
        loop {
            let x = f64::from_bits(rng.random());
            if !x.is_nan() {
                return x;
            }
        }
    }

    fn normal(rng: &mut StdRng) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    fn sketch(values: &[f64]) -> DdSketch {
        let mut sketch = DdSketch::default();
        values.iter().for_each(|x| sketch.insert(bucket(*x)));
        sketch
    }

    fn is_near(found: f64, exact: f64) -> bool {
        found.to_bits() == (exact + 0.0).to_bits() || (found - exact).abs() <= 0.01 * exact.abs()
    }

    #[test]
    fn a_value_is_near_its_bucket() {
        let mut rng = StdRng::seed_from_u64(1);
        let special = [0.0, -0.0, 1.0, -1.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY];
        let any: Vec<f64> = (0..200_000).map(|_| any_float(&mut rng)).filter(|x| !x.is_subnormal()).collect();
        for x in any.into_iter().chain(special) {
            let found = value(bucket(x));
            assert!(is_near(found, x), "{x:e} {found:e}");
            assert_eq!(found.is_finite(), x.is_finite(), "{x:e}");
        }
        assert!(value(bucket(f64::NAN)).is_nan());
        assert_eq!(value(bucket(-0.0)).to_bits(), 0);
    }

    #[test]
    fn every_bucket_in_order() {
        let (least, greatest) = (bucket(f64::from_bits(1)), bucket(f64::MAX));
        assert_eq!((least, greatest), (ONE - 37_222, ONE + 35_490));
        assert!(ZERO < least && greatest < INFINITY && INFINITY < NAN);
        let (mut before, mut normal) = (0.0, 0);
        for b in least..=greatest {
            let x = value(b);
            assert!(x.is_finite() && x >= before && x > 0.0, "{b}: {x:e}");
            assert_eq!(value(-b), -x);
            if x.is_normal() {
                assert_eq!(bucket(x), if x == f64::MAX { greatest } else { b }, "{x:e}");
                normal += 1;
            }
            before = x;
        }
        assert!(normal > 70_000);
    }

    #[test]
    fn no_greater_float_is_in_a_lesser_bucket() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut floats: Vec<f64> = (0..200_000).map(|_| any_float(&mut rng)).collect();
        floats.extend((0..1000).map(|bits| f64::from_bits(bits * bits * bits)));
        floats.sort_by(f64::total_cmp);
        assert!(floats.is_sorted_by_key(|x| bucket(*x)));

        // At the bounds of buckets, one float after the other.
        for _ in 0..2000 {
            let b = rng.random_range(ONE - 37_200..ONE + 35_490);
            let bound = libm::exp(f64::from(b - ONE) / PER_E);
            let mut x = f64::from_bits(bound.to_bits().saturating_sub(200));
            for _ in 0..400 {
                assert!(bucket(x) <= bucket(x.next_up()), "{x:e}");
                x = x.next_up();
            }
        }
    }

    /// Every percentile of `values` against that of the sorted values.
    fn check(name: &str, values: &mut [f64]) {
        let mut sketch = sketch(values);
        assert_eq!(sketch.count(), values.len() as u64);
        values.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for p in PERCENTILES {
            let exact = values[(p * (values.len() - 1) as f64).floor() as usize];
            let found = sketch.percentile(p).unwrap();
            assert!(is_near(found, exact), "{name}, {p}: {found:e}, {exact:e}");
        }
    }

    #[test]
    fn percentiles_are_near() {
        let mut rng = StdRng::seed_from_u64(3);
        type Draw = fn(&mut StdRng) -> f64;
        let table: &[(&str, Draw)] = &[
            ("uniform", |rng| rng.random()),
            ("lognormal", |rng| normal(rng).exp()),
            ("of both signs", |rng| normal(rng) * 100.0),
            ("negative", |rng| -rng.random_range(5.0..500.0)),
            ("mixed magnitudes", |rng| 10f64.powi(rng.random_range(-300..300)) * rng.random_range(-1.0..1.0)),
            ("integers", |rng| f64::from(rng.random_range(-20..1000))),
            ("infinities", |rng| [f64::NEG_INFINITY, f64::INFINITY, 0.0, -0.0, 1.0][rng.random_range(0..5)]),
        ];
        for (name, draw) in table {
            for size in [1, 2, 3, 10, 101, 1000, 20_000] {
                check(name, &mut (0..size).map(|_| draw(&mut rng)).collect::<Vec<f64>>());
            }
        }
    }

    #[test]
    fn nan_is_greatest() {
        let mut sketch = sketch(&[f64::NAN, f64::INFINITY, 1.0]);
        assert_eq!(sketch.percentile(0.5), Some(f64::INFINITY));
        assert!(sketch.percentile(1.0).unwrap().is_nan());
        sketch.remove(bucket(-f64::NAN));
        assert_eq!(sketch.percentile(1.0), Some(f64::INFINITY));
    }

    #[test]
    fn gives_back_what_it_took() {
        let mut rng = StdRng::seed_from_u64(4);
        for spread in [1.0, 10.0, 1000.0] {
            let (mut live, mut inside): (DdSketch, Vec<f64>) = Default::default();
            for step in 0..3000 {
                // It grows for 500 steps, then shrinks.
                let grow = if step / 500 % 2 == 0 { 0.7 } else { 0.3 };
                if inside.is_empty() || rng.random_bool(grow) {
                    inside.push((normal(&mut rng) * spread).round());
                    live.insert(bucket(inside[inside.len() - 1]));
                } else {
                    let gone = inside.swap_remove(rng.random_range(0..inside.len()));
                    live.remove(bucket(gone));
                }
                if rng.random_bool(0.3) {
                    let mut fresh = sketch(&inside);
                    assert_eq!(live, fresh);
                    for p in PERCENTILES.into_iter().filter(|_| rng.random_bool(0.5)) {
                        assert_eq!(live.percentile(p), fresh.percentile(p), "{p} of {}", inside.len());
                    }
                }
            }
            inside.iter().for_each(|x| live.remove(bucket(*x)));
            assert_eq!(live, DdSketch::default());
            assert_eq!(live.percentile(0.5), None);
        }
    }

    #[test]
    fn merged_is_of_both() {
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..100 {
            let mut pick = || -> Vec<f64> { (0..rng.random_range(0..100)).map(|_| normal(&mut rng)).collect() };
            let (a, b) = (pick(), pick());
            let mut merged = sketch(&a);
            assert_eq!(merged.percentile(0.5).is_none(), merged.is_empty());
            merged.merge(&sketch(&b));
            let mut both = sketch(&[a, b].concat());
            assert_eq!(merged, both);
            for p in PERCENTILES {
                assert_eq!(merged.percentile(p), both.percentile(p));
            }
        }
    }

    #[test]
    fn empty() {
        assert_eq!(DdSketch::default().percentile(0.5), None);
        assert!(DdSketch::default().is_empty());
    }
}
