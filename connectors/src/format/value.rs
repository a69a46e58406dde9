//! One value of a record, as its text spells it, and what it is as a number or a text of the types that a column may have: the same
//! strictness for every format.

use super::json::scan::{Kind, Scanner};
use super::time::{integer_us, rfc3339_us, sql_us};

/// A value that lies in a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// The digits of a number without fraction and exponent.
    Integer(&'a str),
    Number(&'a str),
    Text(&'a str),
    /// A list or an object, as JSON.
    Nested(&'a str),
    // Typed already: of Avro and Protobuf.
    /// An integer of whatever width.
    Int(i128),
    /// A float64, or a float32.
    Float(f64),
    /// `digits / 10^scale`.
    Decimal(i128, i8),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970.
    Time(i64),
    /// Microseconds since midnight.
    OfDay(i64),
    Bytes(&'a [u8]),
}

/// How the values of a source's records are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// The unit of integer times, in nanoseconds.
    pub time_unit_ns: i64,
    pub leniency: Leniency,
}

/// What is taken for a value although it is spelled as another. By default nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Leniency {
    /// A text that is a number.
    pub numbers_as_text: bool,
    /// `1.0` and `1e2`, for an integer.
    pub integral_floats: bool,
    /// Times as SQL writes them: with a space in place of the `T`, in UTC where they name no offset, or a date alone.
    pub sql_times: bool,
}

impl Reading {
    /// A value for a type that is a number.
    pub fn number<'a>(&self, value: Value<'a>) -> Value<'a> {
        match value {
            Value::Text(text) if self.leniency.numbers_as_text => Value::number(text).unwrap_or(value),
            _ => value,
        }
    }

    /// An integer of whatever width.
    pub fn integer(&self, value: Value) -> Option<i128> {
        match self.number(value) {
            number @ Value::Number(_) if self.leniency.integral_floats => number.decimal128(38, 0),
            other => other.integer(),
        }
    }

    /// A time in microseconds.
    pub fn time(&self, value: Value) -> Option<i64> {
        match self.number(value) {
            Value::Text(text) if self.leniency.sql_times => sql_us(text),
            Value::Text(text) => rfc3339_us(text),
            Value::Time(us) => Some(us),
            other => integer_us(self.integer(other)?, self.time_unit_ns),
        }
    }
}

impl<'a> Value<'a> {
    /// A text that is a number as JSON writes it (RFC 8259), and nothing else.
    pub fn number(text: &'a str) -> Option<Value<'a>> {
        let mut scanner = Scanner::new(text);
        let span = scanner.number().filter(|_| scanner.at_end())?;
        Some(if span.kind == Kind::Integer { Value::Integer(text) } else { Value::Number(text) })
    }

    /// An integer without `1.0` and `1e2`. What 38 digits cannot hold is in no type's range.
    pub fn integer(self) -> Option<i128> {
        let raw = match self {
            Value::Integer(raw) => raw,
            Value::Int(value) | Value::Decimal(value, 0) => return Some(value),
            _ => return None,
        };
        let digits = raw.strip_prefix('-').unwrap_or(raw);
        let value = match digits.len() {
            0..=18 => i128::from(digits.bytes().fold(0i64, |n, digit| n * 10 + i64::from(digit - b'0'))),
            19..=38 => digits.parse().ok()?,
            _ => return None,
        };
        Some(if raw.len() > digits.len() { -value } else { value })
    }

    /// A number as the nearest float64; -0.0 as 0.0.
    pub fn float64(self) -> Option<f64> {
        match self {
            // Up to 15 digits, an integer is a float64 as it stands.
            Value::Integer(raw) if raw.len() <= 15 => self.integer().map(|n| n as f64),
            Value::Integer(raw) | Value::Number(raw) => {
                raw.parse().ok().filter(|x: &f64| x.is_finite()).map(|x| x + 0.0)
            }
            Value::Int(value) => Some(value as f64),
            Value::Float(value) if value.is_nan() => Some(f64::NAN),
            Value::Float(value) => Some(value + 0.0),
            Value::Decimal(digits, scale) => format!("{digits}e-{scale}").parse().ok().map(|x: f64| x + 0.0),
            Value::Text("NaN") => Some(f64::NAN),
            Value::Text("Infinity") => Some(f64::INFINITY),
            Value::Text("-Infinity") => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    /// A number as the nearest float32: not by way of a float64, which would round twice.
    pub fn float32(self) -> Option<f32> {
        match self {
            Value::Integer(raw) | Value::Number(raw) => {
                raw.parse().ok().filter(|x: &f32| x.is_finite()).map(|x| x + 0.0)
            }
            Value::Int(value) => Some(value as f32),
            Value::Float(value) if value.is_finite() => Some(value as f32 + 0.0).filter(|x| x.is_finite()),
            Value::Decimal(digits, scale) => format!("{digits}e-{scale}").parse().ok().map(|x: f32| x + 0.0),
            _ => self.float64().map(|special| special as f32),
        }
    }

    /// A number as `mantissa / 10^scale` of at most `precision` (up to 38) digits, if it is one exactly.
    pub fn decimal128(self, precision: u8, scale: i8) -> Option<i128> {
        let raw = match self {
            Value::Integer(raw) | Value::Number(raw) => raw,
            Value::Int(value) => return rescaled(value, 0, precision, scale),
            Value::Decimal(value, of) => return rescaled(value, of, precision, scale),
            _ => return None,
        };
        let (digits, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
        let (mantissa, shift, len) = mantissa(digits)?;
        if mantissa == 0 {
            return Some(0);
        }
        // An exponent that an i64 cannot hold is out of reach of a record's digits.
        let shift = shift.checked_add(exponent.parse().ok()?)?.checked_add(i64::from(scale))?;
        let fits = shift >= 0 && len.checked_add(shift)? <= i64::from(precision.min(38));
        let value = fits.then(|| mantissa * 10i128.pow(shift as u32))?;
        Some(if raw.starts_with('-') { -value } else { value })
    }
}

/// The digits, without sign and exponent, as `mantissa * 10^shift` with the shortest mantissa, and that one's length.
/// `None`: it is longer than 38 digits.
fn mantissa(digits: &str) -> Option<(i128, i64, i64)> {
    let (mut mantissa, mut len, mut shift, mut zeros, mut fraction) = (0i128, 0i64, 0i64, 0i64, false);
    for byte in digits.bytes() {
        match byte {
            b'-' => continue,
            b'.' => {
                fraction = true;
                continue;
            }
            b'0' => zeros += i64::from(len > 0),
            digit => {
                len += zeros + 1;
                if len > 38 {
                    return None;
                }
                mantissa = mantissa * 10i128.pow(zeros as u32 + 1) + i128::from(digit - b'0');
                zeros = 0;
            }
        }
        shift -= i64::from(fraction);
    }
    Some((mantissa, shift + zeros, len))
}

/// `value / 10^from` as `mantissa / 10^to` of at most `precision` digits, if it is one exactly.
fn rescaled(value: i128, from: i8, precision: u8, to: i8) -> Option<i128> {
    let shift = i32::from(to) - i32::from(from);
    let by = 10i128.checked_pow(shift.unsigned_abs());
    let mantissa = match by {
        _ if value == 0 => 0,
        Some(by) if shift >= 0 => value.checked_mul(by)?,
        Some(by) if value % by == 0 => value / by,
        _ => return None,
    };
    (mantissa.unsigned_abs() < 10u128.pow(u32::from(precision.min(38)))).then_some(mantissa)
}

/// An integer in two's complement, its first byte the highest. `None`: it has more than 128 bits.
pub(super) fn signed(bytes: &[u8]) -> Option<i128> {
    let sign = bytes.first().map_or(0, |first| if first & 0x80 == 0 { 0 } else { 0xff });
    let (high, low) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut word = [sign; 16];
    word[16 - low.len()..].copy_from_slice(low);
    let value = i128::from_be_bytes(word);
    let is_same = high.iter().all(|byte| *byte == sign) && (value < 0) == (sign == 0xff);
    is_same.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_bytes() {
        for (bytes, expected) in [
            (&[][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0xff], Some(-1)),
            (&[0x80, 0], Some(-32768)),
            (&[0, 0x80], Some(128)),
            (&[[0xff; 20].as_slice(), &[0x80]].concat(), Some(-128)),
            (&[[0; 20].as_slice(), &[0x80]].concat(), Some(128)),
            (&[[1].as_slice(), &[0; 16]].concat(), None),
            (&[[0].as_slice(), &[0xff; 16]].concat(), None),
        ] {
            assert_eq!(signed(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn decimals_lose_nothing() {
        for (value, precision, scale, expected) in [
            (Value::Decimal(1250, 2), 12, 2, Some(1250)),
            (Value::Decimal(1250, 2), 12, 1, Some(125)),
            (Value::Decimal(1255, 2), 12, 1, None),
            (Value::Decimal(-1, 0), 3, 2, Some(-100)),
            (Value::Decimal(10, 0), 3, 2, None),
            (Value::Int(7), 38, 37, Some(7 * 10i128.pow(37))),
            (Value::Int(i128::MAX), 38, 0, None),
            (Value::Decimal(0, 100), 38, 0, Some(0)),
            (Value::Float(1.5), 12, 2, None),
        ] {
            assert_eq!(value.decimal128(precision, scale), expected, "{value:?} as ({precision}, {scale})");
        }
        assert_eq!(Value::Decimal(1255, 2).float64(), Some(12.55));
        assert_eq!(Value::Decimal(1255, 2).integer(), None);
        assert_eq!(Value::Float(1e300).float32(), None);
        assert!(Value::Float(-0.0).float64().is_some_and(|x| x.is_sign_positive()));
    }
}
