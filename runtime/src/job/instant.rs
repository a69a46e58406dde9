//! Instants as a job file writes them: RFC 3339 with an offset. In microseconds since 1970, finer digits floored.

/// The microseconds since 1970 that `text` means; `None` where it is not RFC 3339 with an offset.
pub fn parse(text: &str) -> Option<i64> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = (rest.get(..8)?, rest.get(8..)?);
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("0", rest),
    };
    if fraction.is_empty() {
        return None;
    }
    let micros = number(&format!("{fraction:0<6}")[..6])?;
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Some(seconds * 1_000_000 + micros)
}

/// The seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = fields(zone.strip_prefix(['+', '-'])?, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn fields<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let mut numbers = [0; N];
    for (n, width) in widths.into_iter().enumerate() {
        let part = parts.get(n).filter(|part| part.len() == width)?;
        numbers[n] = number(part)?;
    }
    (parts.len() == N).then_some(numbers)
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; `None` where there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month_index = usize::try_from(month - 1).ok()?;
    if year < 1 || !(1..=*lengths.get(month_index)?).contains(&day) {
        return None;
    }
    let before = year - 1;
    let to_year = before * 365 + before / 4 - before / 100 + before / 400;
    Some(to_year + lengths[..month_index].iter().sum::<i64>() + day - 1 - 719_162)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn instants() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00.000001999Z", Some(1)),
            ("1969-12-31T23:59:59.999999999Z", Some(-1)),
            ("2026-11-01T00:00:00Z", Some(1_793_491_200_000_000)),
            ("2026-11-01t05:30:00.5+05:30", Some(1_793_491_200_500_000)),
            ("2024-02-29T00:00:00-08:00", Some(1_709_193_600_000_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-01T24:00:00Z", None),
            ("2026-11-01T00:00:00", None),
            ("2026-11-01T00:00:00.Z", None),
            ("2026-11-01", None),
            ("2026-11-01T00:00:00+5:30", None),
            ("+026-11-01T00:00:00Z", None),
            ("2026-11-0éT00:00:00Z", None),
            ("", None),
        ];
        for (text, us) in table {
            assert_eq!(parse(text), us, "{text}");
        }
    }
}
