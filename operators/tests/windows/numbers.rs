//! Sums and spreads of values in numbers without end, rounded once.

use arrow::datatypes::DataType;
use headwater_operators::exact::spread::Spread;
use num_bigint::{BigInt, Sign};

use crate::values::Value;

/// Values as whole numbers of one unit: the numerator over the denominator.
struct Exact {
    values: Vec<BigInt>,
    unit: (BigInt, BigInt),
}

/// `None`: one of them is no finite number.
fn exact(input: &DataType, values: &[&Value]) -> Option<Exact> {
    let whole =
        |number: fn(&Value) -> Option<i128>| values.iter().filter_map(|v| number(v)).map(BigInt::from).collect();
    let one = || BigInt::from(1);
    Some(match (values[0], input) {
        (Value::Int(_), _) => {
            let values = whole(|v| if let Value::Int(v) = v { Some(*v) } else { None });
            Exact { values, unit: (one(), one()) }
        }
        (Value::Decimal(_), DataType::Decimal128(_, scale)) => {
            let values = whole(|v| if let Value::Decimal(v) = v { Some(*v) } else { None });
            Exact { values, unit: (one(), BigInt::from(10).pow(u32::try_from(*scale).expect("a scale"))) }
        }
        _ => {
            let floats = floats(values);
            if floats.iter().any(|v| !v.is_finite()) {
                return None;
            }
            let parts: Vec<(i64, i64)> = floats.into_iter().map(parts).collect();
            let lowest = parts.iter().map(|(_, power)| *power).min().unwrap_or(0);
            let values = parts.into_iter().map(|(m, power)| BigInt::from(m) << (power - lowest)).collect();
            Exact { values, unit: (one() << lowest.max(0), one() << (-lowest).max(0)) }
        }
    })
}

fn floats(values: &[&Value]) -> Vec<f64> {
    let float =
        |v: &&Value| if let Value::Float(bits) = v { f64::from_bits(*bits) } else { panic!("no number: {v:?}") };
    values.iter().map(float).collect()
}

/// mantissa * 2^power
fn parts(v: f64) -> (i64, i64) {
    let (bits, sign) = (v.abs().to_bits(), if v < 0.0 { -1 } else { 1 });
    let (fraction, biased) = ((bits & ((1 << 52) - 1)) as i64, (bits >> 52) as i64);
    if biased == 0 { (sign * fraction, -1074) } else { (sign * (fraction + (1 << 52)), biased - 1075) }
}

/// As the type of a sum has it; null where it does not fit.
pub fn sum(input: &DataType, values: &[&Value]) -> Value {
    let Some(exact) = exact(input, values) else { return Value::result(sum_as_float(input, values)) };
    let sum: BigInt = exact.values.iter().sum();
    match values[0] {
        Value::Int(_) => i64::try_from(sum).map_or(Value::Null, |v| Value::Int(v.into())),
        Value::Decimal(_) => {
            let fits = sum.magnitude().to_string().len() <= 38;
            i128::try_from(sum).ok().filter(|_| fits).map_or(Value::Null, Value::Decimal)
        }
        _ => Value::result(nearest(sum * exact.unit.0, exact.unit.1)),
    }
}

/// The sum's nearest float, whatever fits.
pub fn sum_as_float(input: &DataType, values: &[&Value]) -> f64 {
    match exact(input, values) {
        None => floats(values).into_iter().filter(|v| !v.is_finite()).sum(),
        Some(Exact { values, unit }) => nearest(values.into_iter().sum::<BigInt>() * unit.0, unit.1),
    }
}

/// sum((n * v - sum)^2) / (n^2 * freedom), or its root.
pub fn spread(spread: Spread, input: &DataType, values: &[&Value]) -> Value {
    let n = values.len();
    let freedom = if matches!(spread, Spread::VarSamp | Spread::StddevSamp) { n - 1 } else { n };
    if freedom == 0 {
        return Value::Null;
    }
    let Some(Exact { values, unit }) = exact(input, values) else { return Value::result(f64::NAN) };
    let sum: BigInt = values.iter().sum();
    let squares: BigInt = values.iter().map(|v| (v * n - &sum).pow(2)).sum();
    let (above, below) = (squares * unit.0.pow(2), BigInt::from(n) * n * freedom * unit.1.pow(2));
    Value::result(match spread {
        Spread::VarPop | Spread::VarSamp => nearest(above, below),
        Spread::StddevPop | Spread::StddevSamp => nearest_root(above, below),
    })
}

/// The float nearest to above / below.
pub fn nearest(above: BigInt, below: BigInt) -> f64 {
    if above.sign() == Sign::Minus {
        return -nearest(-above, below);
    }
    let shift = 130 + below.bits() as i64 - above.bits() as i64;
    let (quotient, left) = divide(above, below, shift);
    read(quotient * 2 + i32::from(left), -shift - 1)
}

/// The float nearest to the root of above / below.
fn nearest_root(above: BigInt, below: BigInt) -> f64 {
    let mut shift = 260 + below.bits() as i64 - above.bits() as i64;
    shift += shift & 1;
    let (quotient, left) = divide(above, below, shift);
    let root = quotient.sqrt();
    let left = left || root.pow(2) != quotient;
    read(root * 2 + i32::from(left), -shift / 2 - 1)
}

/// above * 2^shift / below, and whether anything is left over.
fn divide(above: BigInt, below: BigInt, shift: i64) -> (BigInt, bool) {
    let (above, below) = (above << shift.max(0), below << (-shift).max(0));
    let quotient = &above / &below;
    let left = &quotient * below != above;
    (quotient, left)
}

/// number * 2^power: the digits are written out in full, and read as a float.
fn read(number: BigInt, power: i64) -> f64 {
    let digits = match power {
        0.. => (number << power).to_string(),
        _ => format!("{}e{power}", number * BigInt::from(5).pow(power.unsigned_abs() as u32)),
    };
    digits.parse().expect("digits and an exponent")
}

#[test]
fn sums_of_floats_are_rounded_once() {
    let cases: &[(&[f64], f64)] = &[
        (&[0.1; 10], 1.0),
        (&[1e308, 1e308, -1e308], 1e308),
        (&[f64::MAX, f64::MAX], f64::INFINITY),
        (&[-5e-324, 1e300, -1e300], -5e-324),
        (&[9_007_199_254_740_992.0, 1.0, 5e-324], 9_007_199_254_740_994.0),
        (&[f64::INFINITY, 1.0], f64::INFINITY),
    ];
    for (values, expected) in cases {
        let values: Vec<Value> = values.iter().map(|v| Value::Float(v.to_bits())).collect();
        let sum = sum_as_float(&DataType::Float64, &values.iter().collect::<Vec<_>>());
        assert_eq!(sum, *expected, "{values:?}");
    }
}

#[test]
fn quotients_and_roots_are_rounded_once() {
    let big = |v: i64| BigInt::from(v);
    assert_eq!(nearest(big(1), big(3)), 1.0 / 3.0);
    assert_eq!(nearest(big(-2), big(3)), -2.0 / 3.0);
    assert_eq!(nearest(big(0), big(7)), 0.0);
    assert_eq!(nearest(big((1 << 53) + 1), big(1)), 9_007_199_254_740_992.0);
    assert_eq!(nearest(big((1 << 54) + 3), big(2)), 9_007_199_254_740_994.0);
    assert_eq!(nearest_root(big(2), big(1)), 2f64.sqrt());
    assert_eq!(nearest_root(big(9), big(4)), 1.5);
    assert_eq!(nearest_root(big(0), big(1)), 0.0);
}
