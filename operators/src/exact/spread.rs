//! Variance and standard deviation of a multiset, from its exact sums: rounded once.
//!
//! ```text
//! var_pop    = (n * sum(x*x) - sum(x)^2) / (n * n)            stddev_pop  = its root
//! var_samp   = (n * sum(x*x) - sum(x)^2) / (n * (n - 1))      stddev_samp = its root
//! ```
//!
//! The result is the f64 nearest to the exact one, ties to even; so it is a function of the multiset, whatever way led to
//! the sums. A root is that of the exact variance, so it may be finite where the variance is not.
//!
//! The division and the root keep more bits than the result has, and one that tells whether anything was left over.

use arrow::datatypes::i256;
use num_bigint::{BigInt, BigUint};
use serde::{Deserialize, Serialize};

use super::float_sum::{FloatSum, scale};
use super::squares::SquareSum;

/// What is asked of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spread {
    /// The variance of the values themselves.
    VarPop,
    /// The variance of what they are a sample of.
    VarSamp,
    /// The root of `VarPop`.
    StddevPop,
    /// The root of `VarSamp`.
    StddevSamp,
}

/// The spread of `n` floats: `None` without values, and for a sample of one; NaN while one of them is no number.
///
/// ```
/// use headwater_operators::exact::float_sum::FloatSum;
/// use headwater_operators::exact::spread::{Spread, spread_of_floats};
/// use headwater_operators::exact::squares::SquareSum;
///
/// let (mut sum, mut squares) = (FloatSum::default(), SquareSum::default());
/// for x in [1e200, -1e200] {
///     sum.add(x, false);
///     squares.add_float(x, false);
/// }
/// assert_eq!(spread_of_floats(Spread::VarPop, 2, &sum, &squares), Some(f64::INFINITY));
/// assert_eq!(spread_of_floats(Spread::StddevPop, 2, &sum, &squares), Some(1e200));
/// ```
pub fn spread_of_floats(spread: Spread, n: i64, sum: &FloatSum, squares: &SquareSum) -> Option<f64> {
    let freedom = spread.freedom(n)?;
    if !sum.is_finite() {
        return Some(f64::NAN);
    }
    let ((mut sum, sum_power), (mut squares, mut power)) = (sum.exact(), squares.of_floats());
    // To one unit: sum in 2^(power / 2), squares in 2^power.
    if power > 2 * sum_power {
        squares <<= power - 2 * sum_power;
        power = 2 * sum_power;
    } else {
        sum <<= sum_power - power / 2;
    }
    Some(spread.finish(numerator(n, &sum, squares), denominator(n, freedom), power))
}

/// The spread of `n` integers, or of `n` decimals of this scale, given unscaled. `None` as above.
///
/// ```
/// use arrow::datatypes::i256;
/// use headwater_operators::exact::spread::{Spread, spread_of_ints};
/// use headwater_operators::exact::squares::SquareSum;
///
/// let mut squares = SquareSum::default();
/// for v in [150, 250] {
///     squares.add_int(v, false);
/// }
/// let sum = i256::from_i128(400);
/// assert_eq!(spread_of_ints(Spread::VarPop, 2, sum, &squares, 0), Some(2500.0));
/// assert_eq!(spread_of_ints(Spread::VarPop, 2, sum, &squares, 2), Some(0.25)); // of 1.50 and 2.50
/// ```
pub fn spread_of_ints(spread: Spread, n: i64, sum: i256, squares: &SquareSum, scale: i8) -> Option<f64> {
    let freedom = spread.freedom(n)?;
    let sum = match sum.to_i128() {
        Some(sum) => BigInt::from(sum),
        None => BigInt::from_signed_bytes_le(&sum.to_le_bytes()),
    };
    let (mut above, mut below) = (numerator(n, &sum, squares.of_ints()), denominator(n, freedom));
    let unit = BigUint::from(10u8).pow(2 * u32::from(scale.unsigned_abs()));
    match scale {
        0 => {}
        1.. => below *= unit,
        _ => above *= unit,
    }
    Some(spread.finish(above, below, 0))
}

/// n * squares - sum^2: never negative.
fn numerator(n: i64, sum: &BigInt, squares: BigInt) -> BigUint {
    (squares * n - sum * sum).into_parts().1
}

fn denominator(n: i64, freedom: i64) -> BigUint {
    BigUint::from(n as u128 * freedom as u128)
}

impl Spread {
    /// What the squares of the differences are divided by: at least 1.
    fn freedom(self, n: i64) -> Option<i64> {
        let freedom = match self {
            Spread::VarPop | Spread::StddevPop => n,
            Spread::VarSamp | Spread::StddevSamp => n - 1,
        };
        (freedom > 0).then_some(freedom)
    }

    /// above / below * 2^power, or its root; `power` is even.
    fn finish(self, above: BigUint, below: BigUint, power: i32) -> f64 {
        if above == BigUint::ZERO {
            return 0.0;
        }
        let (quotient, power, inexact) = divide(above, &below, power);
        match self {
            Spread::VarPop | Spread::VarSamp => round(quotient, power, inexact),
            Spread::StddevPop | Spread::StddevSamp => {
                let root = quotient.isqrt();
                round(root, power / 2, inexact || root * root != quotient)
            }
        }
    }
}

/// above / below * 2^power = (quotient + less than 1) * 2^(the new power), and whether the less is more than 0.
/// The quotient has 126 to 128 bits, so its root has 63 at least; an even power stays even.
fn divide(above: BigUint, below: &BigUint, power: i32) -> (u128, i32, bool) {
    let mut shift = 126 + below.bits() as i32 - above.bits() as i32;
    shift += shift & 1;
    let (above, mut inexact) = if shift < 0 {
        let cut = u64::from(shift.unsigned_abs());
        let inexact = above.trailing_zeros().is_some_and(|zeros| zeros < cut);
        (above >> cut, inexact)
    } else {
        (above << shift, false)
    };
    let quotient = &above / below;
    inexact |= &quotient * below != above;
    let mut digits = quotient.iter_u64_digits().map(u128::from);
    let (low, high) = (digits.next().unwrap_or(0), digits.next().unwrap_or(0));
    (low | high << 64, power - shift, inexact)
}

/// The f64 nearest to (number + a bit less than 1, if inexact) * 2^power, ties to even; `number` has more than 54 bits.
fn round(number: u128, power: i32, inexact: bool) -> f64 {
    let top = power + (128 - number.leading_zeros() as i32);
    // The lowest bit that the result keeps: 53 bits, less for subnormals.
    let low = (top - 53).max(-1074);
    let cut = (low - power) as u32;
    let mut mantissa = number.checked_shr(cut).unwrap_or(0);
    if number.checked_shr(cut - 1).is_some_and(|kept| kept & 1 == 1) {
        let past_half = inexact || number.trailing_zeros() < cut - 1;
        mantissa += u128::from(past_half || mantissa & 1 == 1);
    }
    scale(mantissa as u64, (low + 1074) as usize)
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    use super::super::float_sum::split;
    use super::*;

    const ALL: [Spread; 4] = [Spread::VarPop, Spread::VarSamp, Spread::StddevPop, Spread::StddevSamp];

    /// |x| in units of 2^-1075, which holds the middle of two neighbours as well.
    fn units(x: f64) -> BigInt {
        let (mantissa, exponent) = split(x);
        BigInt::from(mantissa) << (exponent + 1075)
    }

    /// The middle between `x` and the next greater float, where infinity is taken as 2^1024.
    fn middle_above(x: f64) -> BigInt {
        let above = if x == f64::MAX { BigInt::from(1) << (1024 + 1075) } else { units(x.next_up()) };
        (units(x) + above) / 2
    }

    /// Whether `result` is the float nearest to sum((v - mean)^2) / freedom or its root, ties to even; a value counts
    /// `v / unit`.
    fn check(spread: Spread, values: &[BigInt], unit: &BigInt, result: Option<f64>) {
        let n = values.len() as i64;
        let root = matches!(spread, Spread::StddevPop | Spread::StddevSamp);
        let samp = matches!(spread, Spread::VarSamp | Spread::StddevSamp);
        let freedom = n - i64::from(samp);
        if freedom <= 0 {
            assert_eq!(result, None);
            return;
        }
        let result = result.unwrap();
        assert!(result >= 0.0 && result.is_sign_positive(), "{result}");
        // Two passes over the values, by the definition: sum((n * v - sum)^2) / (n^2 * freedom * unit^2).
        let sum: BigInt = values.iter().sum();
        let above: BigInt = values.iter().map(|v| (v * n - &sum).pow(2)).sum();
        let below = BigInt::from(n) * n * freedom * unit * unit;
        // above / below against a bound in units of 2^-1075.
        let compare = |bound: BigInt| {
            let (bound, times) = if root { (&bound * &bound, 2 * 1075u32) } else { (bound, 1075) };
            BigInt::cmp(&(&above << times), &(bound * &below))
        };
        let even = result.to_bits() & 1 == 0;
        if result > 0.0 {
            let lower = compare(middle_above(result.next_down()));
            assert!(lower.is_gt() || lower.is_eq() && even, "{spread:?} {result} is too great");
        }
        if result.is_finite() {
            let upper = compare(middle_above(result));
            assert!(upper.is_lt() || upper.is_eq() && even, "{spread:?} {result} is too small");
        }
    }

    fn float(x: f64) -> BigInt {
        if x < 0.0 { -units(x) } else { units(x) }
    }

    fn sums(values: &[f64]) -> (FloatSum, SquareSum) {
        let (mut sum, mut squares) = (FloatSum::default(), SquareSum::default());
        for x in values {
            sum.add(*x, false);
            squares.add_float(*x, false);
        }
        (sum, squares)
    }

    fn of(spread: Spread, values: &[f64]) -> Option<f64> {
        let (sum, squares) = sums(values);
        spread_of_floats(spread, values.len() as i64, &sum, &squares)
    }

    fn check_floats(values: &[f64]) {
        let exact: Vec<BigInt> = values.iter().map(|x| float(*x)).collect();
        for spread in ALL {
            check(spread, &exact, &(BigInt::from(1) << 1075), of(spread, values));
        }
    }

    #[test]
    fn known_results() {
        let nan = f64::NAN;
        let table: &[(&[f64], [Option<f64>; 4])] = &[
            (&[], [None; 4]),
            (&[5.0], [Some(0.0), None, Some(0.0), None]),
            (&[nan], [Some(nan), None, Some(nan), None]),
            (&[1.0, f64::INFINITY], [Some(nan); 4]),
            (&[-0.0, 0.0, -0.0], [Some(0.0); 4]),
            (&[0.1, 0.1, 0.1], [Some(0.0); 4]),
            (&[1.0, 2.0, 3.0, 4.0], [Some(1.25), Some(5.0 / 3.0), Some(1.25f64.sqrt()), Some(1.2909944487358056)]),
            (&[1e16, 1e16 + 2.0], [Some(1.0), Some(2.0), Some(1.0), Some(2f64.sqrt())]),
            (&[-1e308, 1e308], [Some(f64::INFINITY), Some(f64::INFINITY), Some(1e308), Some(1.4142135623730951e308)]),
            (&[f64::MAX, -f64::MAX], [Some(f64::INFINITY), Some(f64::INFINITY), Some(f64::MAX), Some(f64::INFINITY)]),
            (&[-5e-324, 5e-324], [Some(0.0), Some(0.0), Some(5e-324), Some(5e-324)]),
            (&[1e-160, -1e-160], [Some(1e-320), Some(2e-320), Some(1e-160), Some(1.414213562373095e-160)]),
        ];
        for (values, expected) in table {
            for (spread, expected) in ALL.into_iter().zip(expected) {
                assert_eq!(of(spread, values).map(f64::to_bits), expected.map(f64::to_bits), "{spread:?} {values:?}");
            }
        }
    }

    #[test]
    fn floats_round_once() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let extremes =
            [1e308, -1e308, f64::MAX, 5e-324, -5e-324, 1e16, 1.0, 0.1, 1e-160, 1e154, 2.2250738585072014e-308];
        for _ in 0..1500 {
            // A spread of any magnitude, around any mean.
            let (center, width) = (rng.random_range(-330..309), rng.random_range(0..40));
            let values: Vec<f64> = (0..rng.random_range(0..8))
                .map(|_| match rng.random_range(0..12) {
                    0 => extremes[rng.random_range(0..extremes.len())],
                    1 => f64::from(rng.random_range(-1000..1000)) / 100.0,
                    _ => {
                        let exponent = (center + rng.random_range(-width..=width)).min(308);
                        rng.random_range(-1.0..1.0) * format!("1e{exponent}").parse::<f64>().unwrap()
                    }
                })
                .collect();
            check_floats(&values);
        }
    }

    #[test]
    fn ordinary_amounts_round_once() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(2);
        for _ in 0..1000 {
            let values: Vec<f64> =
                (0..rng.random_range(1..40)).map(|_| f64::from(rng.random_range(0..100_000)) / 100.0).collect();
            check_floats(&values);
        }
    }

    #[test]
    fn ties_go_to_even() {
        // (a - b)^2 / 4 with a - b odd and of 28 bits: 56 bits in all, so often half of the last place.
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        for _ in 0..1000 {
            let a = rng.random_range(1u64 << 27..1 << 28) | 1;
            check_floats(&[a as f64, 0.0]);
            check_floats(&[a as f64 * 1e-320, 0.0]);
        }
    }

    #[test]
    fn any_way_to_a_multiset_gives_the_same_bits() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(4);
        let pool = [1e308, -1e308, 5e-324, 1e16, 0.1, 12.34, -7.0, 1e-30, 1e60, f64::NAN, f64::INFINITY];
        for _ in 0..500 {
            let pick = |rng: &mut rand::rngs::StdRng| -> Vec<f64> {
                (0..rng.random_range(0..8)).map(|_| pool[rng.random_range(0..pool.len())]).collect()
            };
            let (kept, gone) = (pick(&mut rng), pick(&mut rng));
            let mut steps: Vec<(f64, bool)> = kept.iter().chain(&gone).map(|x| (*x, false)).collect();
            steps.extend(gone.iter().map(|x| (*x, true)));
            steps.shuffle(&mut rng);
            let mut parts = [sums(&[]), sums(&[])];
            for (x, take_away) in steps {
                let (sum, squares) = &mut parts[usize::from(rng.random_bool(0.5))];
                sum.add(x, take_away);
                squares.add_float(x, take_away);
            }
            let [(mut sum, mut squares), (other_sum, other_squares)] = parts;
            sum.merge(&other_sum);
            squares.merge(&other_squares);
            for spread in ALL {
                let result = spread_of_floats(spread, kept.len() as i64, &sum, &squares);
                assert_eq!(result.map(f64::to_bits), of(spread, &kept).map(f64::to_bits), "{spread:?} {kept:?}");
            }
        }
    }

    #[test]
    fn integers_and_decimals_round_once() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(5);
        let greatest = 10i128.pow(38) - 1;
        for _ in 0..2000 {
            let scale = [0, 0, 2, 9, 38, -3][rng.random_range(0..6)];
            let limit = [100, i128::from(i64::MAX), i128::from(u64::MAX), greatest][rng.random_range(0..4)];
            let base = rng.random_range(-limit..=limit);
            let values: Vec<i128> = (0..rng.random_range(0..10))
                .map(|_| match rng.random_range(0..4) {
                    0 => rng.random_range(-limit..=limit),
                    1 => [limit, -limit][rng.random_range(0..2)],
                    _ => (base + rng.random_range(-5..=5)).clamp(-limit, limit),
                })
                .collect();
            let (mut sum, mut squares) = (i256::ZERO, SquareSum::default());
            for v in &values {
                sum = sum.wrapping_add(i256::from_i128(*v));
                squares.add_int(*v, false);
            }
            let ten = |power: i8| BigInt::from(10).pow(power.max(0) as u32);
            let exact: Vec<BigInt> = values.iter().map(|v| BigInt::from(*v) * ten(-scale)).collect();
            for spread in ALL {
                let result = spread_of_ints(spread, values.len() as i64, sum, &squares, scale);
                check(spread, &exact, &ten(scale), result);
            }
        }
    }

    #[test]
    fn many_values() {
        // n times -1 and n times 1: the variance of a sample is 2n / (2n - 1).
        let n = 1i64 << 61;
        let mut squares = SquareSum::default();
        squares.add_int(1, false);
        (0..62).for_each(|_| squares.merge(&squares.clone()));
        assert_eq!(spread_of_ints(Spread::VarPop, 2 * n, i256::ZERO, &squares, 0), Some(1.0));
        assert_eq!(spread_of_ints(Spread::StddevSamp, 2 * n, i256::ZERO, &squares, 0), Some(1.0));
        assert_eq!(spread_of_ints(Spread::StddevPop, 2 * n, i256::ZERO, &squares, 38), Some(1e-38));
    }
}
