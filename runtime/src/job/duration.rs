//! Durations as a job file writes them: `500us 10ms 30s 5m 1h 7d 2w`, and sums of them (`1h30m`).

use headwater_clocks::Span;

pub const SECOND_US: i64 = 1_000_000;
pub const HOUR_US: i64 = 3_600 * SECOND_US;
pub const DAY_US: i64 = 24 * HOUR_US;

/// The longest duration that a job may name, so that no sum of a time and a few durations leaves an `i64`.
pub const MAX_US: i64 = 1_000_000 * 86_400_000_000;

const UNITS: [(&str, i64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Written, and shown in days.
const WEEK: (&str, i64) = ("w", 7 * DAY_US);

/// What `text` means, or what is wrong with it.
pub fn parse(text: &str) -> Result<Span, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration: expected numbers with a unit of us, ms, s, m, h, d or w, like \"30s\" or \"1h30m\""
        )
    };
    let too_long = || format!("`{text}` is too long: the longest duration is {}", display(Span::from_us(MAX_US)));
    let mut sum = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let (_, unit_us) = UNITS.iter().chain([&WEEK]).find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if number.is_empty() {
            return Err(wrong());
        }
        let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(*unit_us)).ok_or_else(too_long)?;
        sum = sum.checked_add(part).filter(|us| *us <= MAX_US).ok_or_else(too_long)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Span::from_us(sum)) }
}

/// The shortest way to write a duration.
pub fn display(span: Span) -> String {
    let mut rest = span.us();
    let mut text = String::new();
    for (unit, unit_us) in UNITS {
        if rest / unit_us > 0 {
            text += &format!("{}{unit}", rest / unit_us);
            rest %= unit_us;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_microseconds() {
        let table = [("500us", 500), ("10ms", 10_000), ("1h30m", 5_400_000_000), ("7d", 7 * DAY_US), ("0s", 0)];
        for (text, us) in table {
            let span = Span::from_us(us);
            assert_eq!((parse(text), display(span)), (Ok(span), text.to_owned()), "{text}");
        }
        assert_eq!((parse("2w"), parse("1w1d")), (Ok(Span::from_us(14 * DAY_US)), Ok(Span::from_us(8 * DAY_US))));
        for wrong in ["", "90", "h", "1y", "w", "-1s", "1000001d", "200000w"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
