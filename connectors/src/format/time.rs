//! Times and dates as text.

/// The microseconds since 1970 of an RFC 3339 time with an offset, floored; `None` where it is none.
///
/// Years 0001 to 9999, hours to 23, minutes and seconds to 59 (there is no leap second in our time), any number of digits
/// of a second.
///
/// ```
/// use headwater_connectors::format::time::rfc3339_us;
///
/// assert_eq!(rfc3339_us("1970-01-01T00:00:01.5Z"), Some(1_500_000));
/// assert_eq!(rfc3339_us("1970-01-01t02:00:00+02:00"), Some(0));
/// assert_eq!(rfc3339_us("1969-12-31T23:59:59.9999999z"), Some(-1));
/// assert_eq!(rfc3339_us("1970-01-01T00:00:00"), None);
/// ```
pub fn rfc3339_us(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let days = i64::from(date_of(bytes.get(..10)?)?);
    let [b'T' | b't', h1, h2, b':', m1, m2, b':', s1, s2] = *bytes.get(10..19)? else { return None };
    let seconds = (two(h1, h2, 23)? * 60 + two(m1, m2, 59)?) * 60 + two(s1, s2, 59)?;
    let (fraction_us, zone) = fraction_us(bytes.get(19..)?)?;
    Some(((days * 24 * 60 - offset_minutes(zone)?) * 60 + seconds) * 1_000_000 + fraction_us)
}

/// The microseconds since 1970 of a time as SQL writes it, floored: in UTC where it names no offset.
///
/// ```
/// use headwater_connectors::format::time::{rfc3339_us, sql_us};
///
/// for text in ["2026-01-31 10:00:00", "2026-01-31T10:00", "2026-01-31 12:00:00.000+02", "2026-01-31 10:00:00 UTC"] {
///     assert_eq!(sql_us(text), rfc3339_us("2026-01-31T10:00:00Z"), "{text}");
/// }
/// assert_eq!(sql_us("1970-01-02"), Some(86_400_000_000));
/// assert_eq!(sql_us("2026-01-31 10"), None);
/// ```
pub fn sql_us(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let days = i64::from(date_of(bytes.get(..10)?)?);
    if bytes.len() == 10 {
        return Some(days * 86_400_000_000);
    }
    let [b'T' | b't' | b' ', h1, h2, b':', m1, m2] = *bytes.get(10..16)? else { return None };
    let minutes = two(h1, h2, 23)? * 60 + two(m1, m2, 59)?;
    let (seconds, rest) = match bytes.get(16..)? {
        [b':', s1, s2, rest @ ..] => (two(*s1, *s2, 59)?, rest),
        rest => (0, rest),
    };
    let (fraction_us, zone) = fraction_us(rest)?;
    let offset = match zone.strip_prefix(b" ").unwrap_or(zone) {
        b"" | b"UTC" => 0,
        [sign @ (b'+' | b'-'), h1, h2] => offset_minutes(&[*sign, *h1, *h2, b':', b'0', b'0'])?,
        zone => offset_minutes(zone)?,
    };
    Some((((days * 24 * 60 + minutes) - offset) * 60 + seconds) * 1_000_000 + fraction_us)
}

/// The days since 1970 of a date `YYYY-MM-DD`, years 0001 to 9999.
pub fn date_days(text: &str) -> Option<i32> {
    date_of(text.as_bytes())
}

fn date_of(bytes: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else { return None };
    let year = two(y1, y2, 99)? * 100 + two(y3, y4, 99)?;
    let (month, day) = (two(m1, m2, 12)?, two(d1, d2, 31)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year == 0 || month == 0 || day == 0 || day > days_in_month {
        return None;
    }
    // Years are counted from March, so that the leap day is a year's last.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day - 1;
    i32::try_from(days - 719_468).ok()
}

/// `.123` at the start, if it is there, and what comes behind. Digits past the sixth are dropped, which floors.
fn fraction_us(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = bytes else { return Some((0, bytes)) };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let us = (0..6).fold(0, |us, i| us * 10 + if i < len { i64::from(digits[i] - b'0') } else { 0 });
    (len > 0).then_some((us, &digits[len..]))
}

fn offset_minutes(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let minutes = two(h1, h2, 23)? * 60 + two(m1, m2, 59)?;
            Some(if sign == b'-' { -minutes } else { minutes })
        }
        _ => None,
    }
}

/// Two digits, at most `max`.
fn two(tens: u8, ones: u8, max: i64) -> Option<i64> {
    let value = i64::from(tens.wrapping_sub(b'0')) * 10 + i64::from(ones.wrapping_sub(b'0'));
    (tens.is_ascii_digit() && ones.is_ascii_digit() && value <= max).then_some(value)
}

/// An integer time in microseconds, floored; `unit_ns` is its unit.
pub fn integer_us(time: i128, unit_ns: i64) -> Option<i64> {
    i64::try_from(time.checked_mul(i128::from(unit_ns))?.div_euclid(1000)).ok()
}
