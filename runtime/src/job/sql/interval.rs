//! `INTERVAL '1 hour'`, `INTERVAL '30' MINUTE`, `INTERVAL 7 DAYS`: a length of time.

use headwater_clocks::Span;
use headwater_expression::{Token, TokenKind};

use super::text::is_word;
use crate::job::duration;

const UNITS: [(&str, i64); 8] = [
    ("microsecond", 1),
    ("millisecond", 1_000),
    ("second", 1_000_000),
    ("minute", 60_000_000),
    ("hour", 3_600_000_000),
    ("day", 86_400_000_000),
    ("week", 7 * 86_400_000_000),
    ("fortnight", 14 * 86_400_000_000),
];

/// Its length; or what is wrong with it.
pub fn read(tokens: &[Token]) -> Result<Span, String> {
    let [interval, rest @ ..] = tokens else { return Err(expected("nothing")) };
    if !is_word(interval, "INTERVAL") {
        return Err(expected("something else"));
    }
    match rest {
        [Token { kind: TokenKind::Text(text), .. }] => sum(text),
        [Token { kind: TokenKind::Text(number) | TokenKind::Number(number), .. }, unit] => match &unit.kind {
            TokenKind::Word(unit) => sum(&format!("{number} {unit}")),
            _ => Err(expected("a number without a unit")),
        },
        _ => Err(expected("something else")),
    }
}

fn expected(found: &str) -> String {
    format!("expected a length of time, like INTERVAL '1 hour', found {found}")
}

/// `1 hour 30 minutes`
fn sum(text: &str) -> Result<Span, String> {
    let mut words = text.split_whitespace().peekable();
    let mut us = 0_i64;
    while let Some(number) = words.next() {
        // As in `1h`, too.
        let (number, glued) = number.split_at(number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len()));
        let unit = if glued.is_empty() { words.next().unwrap_or_default() } else { glued };
        let unit_us = unit_us(unit)?;
        let part = number.parse::<i64>().map_err(|_| expected(&format!("`{text}`")))?.checked_mul(unit_us);
        us = part.and_then(|part| us.checked_add(part)).ok_or("this is longer than any window may be")?;
    }
    if us > 0 && us <= duration::MAX_US { Ok(Span::from_us(us)) } else { Err(expected(&format!("`{text}`"))) }
}

fn unit_us(unit: &str) -> Result<i64, String> {
    let lower = unit.to_lowercase();
    let singular = lower.strip_suffix('s').filter(|short| !short.is_empty()).unwrap_or(&lower);
    let short =
        [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("min", 60_000_000), ("h", 3_600_000_000)];
    let short = short.into_iter().chain([("d", 86_400_000_000)]).find(|(name, _)| *name == lower || *name == singular);
    if let Some((_, us)) = UNITS.iter().find(|(name, _)| *name == singular).copied().or(short) {
        return Ok(us);
    }
    match singular {
        "month" | "year" | "quarter" | "decade" | "century" => {
            Err(format!("a {singular} has no fixed length: say it in days, like INTERVAL '30 days'"))
        }
        _ => Err(expected(&format!("the unit `{unit}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        const HOUR: i64 = 3_600_000_000;
        for (sql, us) in [
            ("INTERVAL '1 hour'", HOUR),
            ("interval '30 days'", 30 * 24 * HOUR),
            ("INTERVAL '1' HOUR", HOUR),
            ("INTERVAL 7 DAYS", 7 * 24 * HOUR),
            ("INTERVAL '1 hour 30 minutes'", HOUR + HOUR / 2),
            ("INTERVAL '90m'", HOUR + HOUR / 2),
            ("INTERVAL '250 ms'", 250_000),
            ("INTERVAL '2 weeks'", 14 * 24 * HOUR),
        ] {
            assert_eq!(read(&headwater_expression::tokens(sql).unwrap()), Ok(Span::from_us(us)), "{sql}");
        }
        for (sql, part) in [
            ("INTERVAL '1 month'", "no fixed length"),
            ("INTERVAL '2 years'", "no fixed length"),
            ("INTERVAL '0 hours'", "expected a length"),
            ("INTERVAL '-1 hour'", "expected a length"),
            ("INTERVAL '1'", "expected a length"),
            ("INTERVAL 1", "expected a length"),
            ("'1 hour'", "expected a length"),
            ("INTERVAL '9999999999999 weeks'", "longer"),
        ] {
            let wrong = read(&headwater_expression::tokens(sql).unwrap()).unwrap_err();
            assert!(wrong.contains(part), "{sql}: {wrong}");
        }
    }
}
