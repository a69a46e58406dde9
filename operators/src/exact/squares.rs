//! The exact sum of the squares of a multiset: order-free, and what was added can be taken away again to the last bit.
//!
//! ```text
//! sum = fixed * unit  +  wide * 2^-2148        unit: 2^-140 for floats, 1 for integers and unscaled decimals
//! ```
//!
//! A float that [`FloatSum`](super::float_sum::FloatSum) holds in units of 2^-70 has a square for `fixed`, as every integer
//! has; `fixed` has room for 2^64 of them. The squares of other floats go to `wide`. A value alone decides where it goes, so
//! equal multisets have equal parts. One sum is of floats or of integers, never of both.

use num_bigint::BigInt;
use serde::{Deserialize, Serialize};

use super::float_sum::{FIXED_EXPONENT, add_limbs, fixed, split, to_big};

/// Squares of up to 2^254, and room for 2^64 additions and a sign.
const FIXED_LIMBS: usize = 5;
/// The square of the lowest bit of an f64.
const WIDE_EXPONENT: i32 = -2148;
/// 2^-2148 ..= 2^2048, and room for 2^64 additions and a sign.
const WIDE_LIMBS: usize = (2148usize + 2048 + 64).div_ceil(64) + 1;

/// The sum of the squares of a multiset, which starts empty.
///
/// ```
/// use headwater_operators::exact::squares::SquareSum;
/// use num_bigint::BigInt;
///
/// let mut sum = SquareSum::default();
/// sum.add_int(-3, false);
/// sum.add_int(4, false);
/// assert_eq!(sum.of_ints(), BigInt::from(25));
/// sum.add_int(4, true);
/// assert_eq!(sum.of_ints(), BigInt::from(9));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SquareSum {
    fixed: [u64; FIXED_LIMBS],
    wide: Option<Box<Wide>>,
}

/// What rarely is: squares of floats out of the fixed range, as one two's complement number in units of 2^-2148.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wide(#[serde(with = "crate::saved::limbs")] [u64; WIDE_LIMBS]);

impl SquareSum {
    /// Adds the square of `x`, or takes away one that was added. What is no number is left out: the `FloatSum` of the
    /// same values counts it.
    #[inline]
    pub fn add_float(&mut self, x: f64, take_away: bool) {
        match fixed(x) {
            Some(v) => self.add_int(v, take_away),
            None => self.add_wide(x, take_away),
        }
    }

    /// Adds the square of an integer or of an unscaled decimal, or takes away one that was added.
    #[inline]
    pub fn add_int(&mut self, v: i128, take_away: bool) {
        add_limbs(&mut self.fixed, &square(v.unsigned_abs()), 0, take_away);
    }

    #[cold]
    fn add_wide(&mut self, x: f64, take_away: bool) {
        if !x.is_finite() {
            return;
        }
        let (mantissa, exponent) = split(x);
        let square = u128::from(mantissa) * u128::from(mantissa);
        let (at, bit) = ((2 * exponent - WIDE_EXPONENT) as usize / 64, (2 * exponent - WIDE_EXPONENT) as usize % 64);
        let (low, high) = (square << bit, if bit == 0 { 0 } else { (square >> (128 - bit)) as u64 });
        let wide = self.wide.get_or_insert_with(|| Box::new(Wide([0; WIDE_LIMBS])));
        add_limbs(&mut wide.0, &[low as u64, (low >> 64) as u64, high], at, take_away);
        self.drop_zero();
    }

    /// Adds the sum of another multiset.
    #[inline]
    pub fn merge(&mut self, other: &SquareSum) {
        add_limbs(&mut self.fixed, &other.fixed, 0, false);
        if let Some(theirs) = &other.wide {
            let ours = self.wide.get_or_insert_with(|| Box::new(Wide([0; WIDE_LIMBS])));
            add_limbs(&mut ours.0, &theirs.0, 0, false);
            self.drop_zero();
        }
    }

    /// Room for `wide` is taken only while it is needed.
    fn drop_zero(&mut self) {
        if self.wide.as_ref().is_some_and(|wide| wide.0.iter().all(|limb| *limb == 0)) {
            self.wide = None;
        }
    }

    /// Whether nothing but zeros is inside.
    pub fn is_zero(&self) -> bool {
        self.wide.is_none() && self.fixed == [0; FIXED_LIMBS]
    }

    /// The exact sum, if it is one of integers.
    pub fn of_ints(&self) -> BigInt {
        to_big(&self.fixed)
    }

    /// The exact sum, if it is one of floats: a whole number, and the power of two that is its unit.
    pub fn of_floats(&self) -> (BigInt, i32) {
        let fixed = to_big(&self.fixed);
        match &self.wide {
            None => (fixed, 2 * FIXED_EXPONENT),
            Some(wide) => (to_big(&wide.0) + (fixed << (2 * FIXED_EXPONENT - WIDE_EXPONENT)), WIDE_EXPONENT),
        }
    }
}

/// v * v, the lowest limb first.
#[inline]
fn square(v: u128) -> [u64; 4] {
    if v >> 64 == 0 {
        let square = v * v;
        return [square as u64, (square >> 64) as u64, 0, 0];
    }
    let (low, high) = (v & u128::from(u64::MAX), v >> 64);
    let (ll, lh, hh) = (low * low, low * high, high * high);
    // The middle product counts twice, from the second limb on.
    let middle = (ll >> 64) + ((lh & u128::from(u64::MAX)) << 1);
    let upper = hh + (lh >> 64 << 1) + (middle >> 64);
    [ll as u64, middle as u64, upper as u64, (upper >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// The exact square in units of 2^-2148.
    fn exact(x: f64) -> BigInt {
        let (mantissa, exponent) = split(x);
        let v = BigInt::from(mantissa) << (exponent + 1074);
        &v * &v
    }

    fn in_smallest_units(sum: &SquareSum) -> BigInt {
        let (number, power) = sum.of_floats();
        number << (power - WIDE_EXPONENT)
    }

    /// Of every magnitude: a third in the fixed range.
    fn random_float(rng: &mut impl Rng) -> f64 {
        let exponent = if rng.random_bool(0.3) { rng.random_range(960..1074) } else { rng.random_range(0..2047u64) };
        let x = f64::from_bits(rng.random::<u64>() >> 12 | exponent << 52);
        if rng.random() { -x } else { x }
    }

    #[test]
    fn squares_of_integers() {
        for v in [
            0,
            1,
            -1,
            i128::from(u64::MAX),
            1 << 64,
            i128::MAX,
            i128::MIN,
            99_999_999_999_999_999_999_999_999_999_999_999_999,
        ] {
            let mut sum = SquareSum::default();
            sum.add_int(v, false);
            assert_eq!(sum.of_ints(), BigInt::from(v) * v);
            (0..100).for_each(|_| sum.add_int(v, false));
            assert_eq!(sum.of_ints(), BigInt::from(v) * v * 101);
        }
    }

    #[test]
    fn squares_of_floats() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        for _ in 0..1000 {
            let extremes = [f64::MAX, 1e308, -1e308, 5e-324, 2.2250738585072014e-308, 1e16, 0.0, -0.0, 0.1];
            let mut values: Vec<f64> = (0..rng.random_range(0..20)).map(|_| random_float(&mut rng)).collect();
            values.extend(extremes.iter().filter(|_| rng.random_bool(0.2)));
            let mut sum = SquareSum::default();
            values.iter().for_each(|x| sum.add_float(*x, false));
            assert_eq!(in_smallest_units(&sum), values.iter().map(|x| exact(*x)).sum(), "{values:?}");
        }
    }

    #[test]
    fn taking_away_meets_adding() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(2);
        for _ in 0..1000 {
            let kept: Vec<f64> = (0..rng.random_range(0..10)).map(|_| random_float(&mut rng)).collect();
            let gone: Vec<f64> = (0..rng.random_range(0..10)).map(|_| random_float(&mut rng)).collect();
            let (mut alone, mut first, mut second) = <(SquareSum, SquareSum, SquareSum)>::default();
            kept.iter().for_each(|x| alone.add_float(*x, false));

            let mut steps: Vec<(f64, bool)> = kept.iter().chain(&gone).map(|x| (*x, false)).collect();
            steps.extend(gone.iter().map(|x| (*x, true)));
            steps.shuffle(&mut rng);
            for (x, take_away) in steps {
                let part = if rng.random() { &mut first } else { &mut second };
                part.add_float(x, take_away);
            }
            first.merge(&second);
            assert_eq!(first, alone);
            kept.iter().for_each(|x| first.add_float(*x, true));
            assert!(first.is_zero());
            assert_eq!(first, SquareSum::default());
        }
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let mut sum = SquareSum::default();
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].iter().for_each(|x| sum.add_float(*x, false));
        assert_eq!(sum, SquareSum::default());
    }

    #[test]
    fn fixed_and_wide_agree() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        for _ in 0..1000 {
            let (mut both, mut wide) = <(SquareSum, SquareSum)>::default();
            for _ in 0..rng.random_range(1..20) {
                let x = random_float(&mut rng);
                both.add_float(x, false);
                wide.add_wide(x, false);
            }
            assert_eq!(in_smallest_units(&both), in_smallest_units(&wide));
        }
    }
}
