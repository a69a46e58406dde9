//! The exact sum of a multiset of floats: order-free, and what was added can be taken away again to the last bit.
//!
//! ```text
//! sum = fixed * 2^-70  +  wide * 2^-1074,   not finite while a NaN or an infinity is inside
//! ```
//!
//! A value whose bits lie between 2^-70 and 2^52 goes to `fixed`, an i128; any other goes to `wide`, which holds every
//! f64 exactly; a `fixed` that would overflow is carried over. Only their sum has a meaning, and it is always exact.

use num_bigint::BigInt;

use serde::{Deserialize, Serialize};

use crate::value::normal;

/// The lowest bit of `fixed`.
pub(super) const FIXED_EXPONENT: i32 = -70;
/// Values from 2^52 on are for `wide`.
const FIXED_TOP_EXPONENT: i32 = 51;
/// 2^-1074 ..= 2^1024, and room for 2^64 additions and a sign.
const LIMBS: usize = (1074usize + 1024 + 64).div_ceil(64) + 1;

/// The sum of a multiset of f64, which starts empty.
///
/// ```
/// use headwater_operators::exact::float_sum::FloatSum;
///
/// let mut sum = FloatSum::default();
/// for x in [0.1, 1e308, 1e308, f64::NAN] {
///     sum.add(x, false);
/// }
/// assert!(sum.value().is_nan());
/// sum.add(f64::NAN, true); // the NaN grows old
/// assert_eq!(sum.value(), f64::INFINITY);
/// sum.add(1e308, true);
/// sum.add(1e308, true);
/// assert_eq!(sum.value(), 0.1);
///
/// let mut other = FloatSum::default();
/// other.add(0.2, false);
/// sum.merge(&other);
/// assert_eq!(sum.value(), 0.30000000000000004); // 0.1 + 0.2, rounded once
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FloatSum {
    fixed: i128,
    wide: Option<Box<Wide>>,
}

/// What rarely is: values out of the fixed range, as one two's complement number in units of 2^-1074, and the values
/// that are no numbers, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wide {
    #[serde(with = "crate::saved::limbs")]
    limbs: [u64; LIMBS],
    nans: i64,
    infinities: [i64; 2],
}

impl FloatSum {
    /// Adds `x`, or takes away one that was added. Any f64 will do: what is no number is counted, not added.
    #[inline]
    pub fn add(&mut self, x: f64, take_away: bool) {
        match fixed(x) {
            Some(v) => self.add_fixed(if take_away { -v } else { v }),
            None => self.add_wide(x, take_away),
        }
    }

    #[inline]
    fn add_fixed(&mut self, v: i128) {
        match self.fixed.checked_add(v) {
            Some(sum) => self.fixed = sum,
            None => {
                self.wide.get_or_insert_with(Wide::zero).add_fixed(self.fixed);
                self.fixed = v;
            }
        }
    }

    /// Adds the sum of another multiset.
    #[inline]
    pub fn merge(&mut self, other: &FloatSum) {
        self.add_fixed(other.fixed);
        if let Some(theirs) = &other.wide {
            let ours = self.wide.get_or_insert_with(Wide::zero);
            add_limbs(&mut ours.limbs, &theirs.limbs, 0, false);
            ours.nans += theirs.nans;
            ours.infinities[0] += theirs.infinities[0];
            ours.infinities[1] += theirs.infinities[1];
            self.drop_zero();
        }
    }

    /// Room for `wide` is taken only while it is needed.
    fn drop_zero(&mut self) {
        if self.wide.as_ref().is_some_and(|wide| wide.is_zero()) {
            self.wide = None;
        }
    }

    #[cold]
    fn add_wide(&mut self, x: f64, take_away: bool) {
        let wide = self.wide.get_or_insert_with(Wide::zero);
        let count = if take_away { -1 } else { 1 };
        if x.is_nan() {
            wide.nans += count;
        } else if x.is_infinite() {
            wide.infinities[usize::from(x < 0.0)] += count;
        } else {
            let (mantissa, exponent) = split(x);
            let at = (exponent + 1074) as usize;
            let negative = (x < 0.0) != take_away;
            let spread = u128::from(mantissa) << (at % 64);
            add_limbs(&mut wide.limbs, &[spread as u64, (spread >> 64) as u64], at / 64, negative);
        }
        self.drop_zero();
    }

    /// Whether neither a NaN nor an infinity is inside.
    pub fn is_finite(&self) -> bool {
        self.wide.as_ref().is_none_or(|wide| wide.nans == 0 && wide.infinities == [0, 0])
    }

    /// The exact sum of the finite values: a whole number, and the power of two that is its unit.
    ///
    /// ```
    /// use headwater_operators::exact::float_sum::FloatSum;
    ///
    /// let mut sum = FloatSum::default();
    /// sum.add(-1.5, false);
    /// let (number, power) = sum.exact();
    /// assert_eq!(number, num_bigint::BigInt::from(-3) << -(power + 1));
    /// ```
    pub fn exact(&self) -> (BigInt, i32) {
        let Some(wide) = &self.wide else { return (BigInt::from(self.fixed), FIXED_EXPONENT) };
        let mut all = wide.clone();
        all.add_fixed(self.fixed);
        (to_big(&all.limbs), -1074)
    }

    /// The sum, rounded once, to nearest even: 0.0 when empty, an infinity past the range of f64, never -0.0. While a NaN is
    /// inside, or infinities of both signs, the one NaN; with infinities of one sign, that infinity.
    pub fn value(&self) -> f64 {
        let Some(wide) = &self.wide else { return normal(round_fixed(self.fixed)) };
        match (wide.nans, wide.infinities) {
            (0, [0, 0]) => {}
            (0, [_, 0]) => return f64::INFINITY,
            (0, [0, _]) => return f64::NEG_INFINITY,
            _ => return f64::NAN,
        }
        let mut all = wide.clone();
        all.add_fixed(self.fixed);
        normal(all.round())
    }
}

/// Adds limbs to a two's complement number from its limb `first` on, or subtracts them.
#[inline]
pub(super) fn add_limbs(number: &mut [u64], limbs: &[u64], first: usize, subtract: bool) {
    let mut carry = false;
    for (i, limb) in number[first..].iter_mut().enumerate() {
        let other = limbs.get(i).copied().unwrap_or(0);
        if i >= limbs.len() && !carry {
            break;
        }
        let (a, c1) = if subtract { limb.overflowing_sub(other) } else { limb.overflowing_add(other) };
        let (b, c2) = if subtract { a.overflowing_sub(u64::from(carry)) } else { a.overflowing_add(u64::from(carry)) };
        (*limb, carry) = (b, c1 || c2);
    }
}

/// The value of a two's complement number.
pub(super) fn to_big(limbs: &[u64]) -> BigInt {
    let bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    BigInt::from_signed_bytes_le(&bytes)
}

/// |x| = mantissa * 2^exponent, for a finite x.
pub(super) fn split(x: f64) -> (u64, i32) {
    let bits = x.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match (bits >> 52 & 0x7ff) as i32 {
        0 => (fraction, -1074),
        e => (fraction | 1 << 52, e - 1075),
    }
}

/// `x` in units of 2^-70, if it is a whole number of them and not too large.
#[inline]
pub(super) fn fixed(x: f64) -> Option<i128> {
    if x == 0.0 {
        return Some(0);
    }
    let biased = (x.to_bits() >> 52 & 0x7ff) as i32;
    if biased == 0 || biased > FIXED_TOP_EXPONENT + 1023 {
        return None;
    }
    let (mantissa, exponent) = split(x);
    let shift = exponent - FIXED_EXPONENT;
    let v = if shift >= 0 {
        (mantissa as i128) << shift
    } else if shift > -53 && mantissa.trailing_zeros() as i32 >= -shift {
        (mantissa >> -shift) as i128
    } else {
        return None;
    };
    Some(if x < 0.0 { -v } else { v })
}

/// `v` * 2^-70: one rounding, as i128 -> f64 rounds to nearest even and the scaling is exact.
fn round_fixed(v: i128) -> f64 {
    v as f64 * f64::from_bits(((1023 + FIXED_EXPONENT) as u64) << 52)
}

impl Wide {
    #[allow(clippy::unnecessary_box_returns)]
    fn zero() -> Box<Wide> {
        Box::new(Wide { limbs: [0; LIMBS], nans: 0, infinities: [0, 0] })
    }

    fn is_zero(&self) -> bool {
        self.nans == 0 && self.infinities == [0, 0] && self.limbs.iter().all(|l| *l == 0)
    }

    /// Adds a number in units of 2^-70.
    fn add_fixed(&mut self, v: i128) {
        let shift = (FIXED_EXPONENT + 1074) as usize;
        let (magnitude, bit) = (v.unsigned_abs(), shift % 64);
        let (low, high) = (magnitude as u64, (magnitude >> 64) as u64);
        let limbs = [low << bit, (high << bit) | (low >> (64 - bit)), high >> (64 - bit)];
        add_limbs(&mut self.limbs, &limbs, shift / 64, v < 0);
    }

    /// To the nearest f64, ties to even.
    fn round(&self) -> f64 {
        let negative = self.limbs[LIMBS - 1] >> 63 == 1;
        let mut magnitude = Wide { limbs: [0; LIMBS], nans: 0, infinities: [0, 0] };
        add_limbs(&mut magnitude.limbs, &self.limbs, 0, negative);
        let limbs = &magnitude.limbs;
        let Some(top) = limbs.iter().rposition(|l| *l != 0) else { return 0.0 };
        let length = top * 64 + 64 - limbs[top].leading_zeros() as usize;
        // The lowest bit that the result keeps, in units of 2^-1074.
        let low = length.saturating_sub(53);
        let bit = |i: usize| limbs[i / 64] >> (i % 64) & 1;
        let mut mantissa = (limbs[low / 64] >> (low % 64))
            | if low.is_multiple_of(64) { 0 } else { limbs.get(low / 64 + 1).unwrap_or(&0) << (64 - low % 64) };
        mantissa &= (1 << 53) - 1;
        if low > 0 && bit(low - 1) == 1 {
            let sticky = (0..low - 1).any(|i| bit(i) == 1);
            mantissa += u64::from(sticky || mantissa & 1 == 1);
        }
        let value = scale(mantissa, low);
        if negative { -value } else { value }
    }
}

/// mantissa * 2^(low - 1074), for a mantissa of at most 2^53: exact, or an infinity.
pub(super) fn scale(mantissa: u64, low: usize) -> f64 {
    let (mantissa, low) = if mantissa == 1 << 53 { (1 << 52, low + 1) } else { (mantissa, low) };
    if mantissa < 1 << 52 {
        return f64::from_bits(mantissa); // subnormal: low is 0
    }
    let biased = low as u64 + 1;
    if biased >= 2047 { f64::INFINITY } else { f64::from_bits(biased << 52 | (mantissa & ((1 << 52) - 1))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut s = FloatSum::default();
        values.iter().for_each(|v| s.add(*v, false));
        s.value()
    }

    #[test]
    fn rounds_once() {
        let cases: &[(&[f64], f64)] = &[
            (&[], 0.0),
            (&[0.1; 10], 1.0),
            (&[1e308, 1e308, -1e308], 1e308),
            (&[1e16, 1.0, -1e16], 1.0),
            (&[5e-324, 5e-324], 1e-323),
            (&[-5e-324, 5e-324], 0.0),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
            (&[f64::MAX, f64::MAX, -f64::MAX, 1.0, -1.0], f64::MAX),
            (&[9_007_199_254_740_992.0, 1.0], 9_007_199_254_740_992.0),
            (&[9_007_199_254_740_992.0, 1.0, 5e-324], 9_007_199_254_740_994.0),
            (&[-9_007_199_254_740_992.0, -1.0, -5e-324], -9_007_199_254_740_994.0),
            (&[f64::INFINITY, 1.0], f64::INFINITY),
            (&[f64::INFINITY, f64::NEG_INFINITY], f64::NAN),
            (&[2.2250738585072014e-308, -5e-324], 2.225073858507201e-308),
        ];
        for (values, expected) in cases {
            assert_eq!(sum(values).to_bits(), normal(*expected).to_bits(), "{values:?}");
        }
    }

    #[test]
    fn taking_away_meets_adding() {
        let values = [0.1, 1e300, -3.5, f64::NAN, 1e-300, f64::INFINITY, 12.75, -1e308, 5e-324, 1e15, 1e-9];
        let mut s = FloatSum::default();
        values.iter().for_each(|v| s.add(*v, false));
        values.iter().rev().for_each(|v| s.add(*v, true));
        assert_eq!(s, FloatSum::default());
    }

    #[test]
    fn fixed_and_wide_agree() {
        use rand::{Rng, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        for _ in 0..2000 {
            let values: Vec<f64> = (0..rng.random_range(1..20))
                .map(|_| {
                    let exponent = (1023 + rng.random_range(-90i64..70)) as u64;
                    let v = f64::from_bits(rng.random::<u64>() >> 12 | exponent << 52);
                    if rng.random() { -v } else { v }
                })
                .collect();
            let (mut both, mut wide) = (FloatSum::default(), FloatSum::default());
            for v in &values {
                both.add(*v, false);
                wide.add_wide(*v, false);
            }
            assert_eq!(both.value().to_bits(), wide.value().to_bits(), "{values:?}");
        }
    }
}
