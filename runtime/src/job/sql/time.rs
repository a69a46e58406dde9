//! The event time of what a group reads, and the conditions on it.
//!
//! ```sql
//! ts > NOW() - INTERVAL '1 hour'     -- a trailing window; as well in parentheses, or the other way round
//! ts <= NOW()                        -- of every event that a row knows
//! ```

use headwater_clocks::Span;
use headwater_expression::{Token, tokens};

use super::interval;
use super::text::{bare, depths, is_sign, is_word, name, plain, same, split, unqualified};

/// How the source names it: a column, a path, SQL. A statement says the same.
pub struct Time<'a> {
    pub text: &'a str,
    tokens: Vec<Token>,
    /// How the statement calls what it reads.
    qualifiers: &'a [&'a str],
}

/// A condition on the event time.
pub enum Bound {
    /// A window of this length.
    Trailing(Span),
    /// It holds whenever it is asked.
    Now,
}

impl<'a> Time<'a> {
    pub fn new(text: &'a str, qualifiers: &'a [&'a str]) -> Time<'a> {
        Time { text, tokens: tokens(text).unwrap_or_default(), qualifiers }
    }

    /// Whether a piece says it.
    pub fn is(&self, piece: &[Token]) -> bool {
        let piece = bare(piece);
        if let [one] = unqualified(piece, self.qualifiers)
            && name(one) == Some(self.text)
        {
            return true;
        }
        let (all, time): (Vec<&Token>, Vec<&Token>) = (piece.iter().collect(), self.tokens.iter().collect());
        same(&all, &time) || same(&plain(piece, self.qualifiers), &time)
    }

    /// What a condition says of it and NOW(); `None`: it names no NOW().
    pub fn bound(&self, condition: &[Token]) -> Option<Result<Bound, String>> {
        says_now(condition)?;
        let ts = self.text;
        let expected =
            || format!("a trailing window is `{ts} > NOW() - INTERVAL '1 hour'`, beside other conditions with AND");
        let condition = bare(condition);
        if has_or(condition) {
            return Some(Err(expected()));
        }
        if depths(condition).any(|(depth, _, token)| depth == 0 && is_word(token, "BETWEEN")) {
            let hint = format!("write `{ts} > NOW() - INTERVAL '1 hour' AND {ts} <= NOW()`");
            return Some(Err(format!("BETWEEN includes its start, and a trailing window excludes it: {hint}")));
        }
        let sides = split(condition, |token| [">", "<", ">=", "<=", "=", "<>"].iter().any(|sign| is_sign(token, sign)));
        let [left, right] = sides.as_slice() else { return Some(Err(expected())) };
        let sign = |text: &str| is_sign(&condition[left.len()], text);
        let (time, bound, after, before) = match says_now(right) {
            Some(_) => (left, right, ">", "<"),
            None => (right, left, "<", ">"),
        };
        let Some(behind) = behind_now(bare(bound)).filter(|_| self.is(time)) else { return Some(Err(expected())) };
        Some(match behind {
            [] if sign(&format!("{before}=")) => Ok(Bound::Now),
            [] if sign(before) => {
                Err(format!("a trailing window includes NOW(): write `{before}=` in place of `{before}`"))
            }
            [minus, length @ ..] if is_sign(minus, "-") && sign(after) => {
                interval::read(bare(length)).map(Bound::Trailing)
            }
            [minus, ..] if is_sign(minus, "-") && sign(&format!("{after}=")) => {
                Err(format!("a trailing window excludes its start: write `{after}` in place of `{after}=`"))
            }
            _ => Err(expected()),
        })
    }
}

/// Where NOW() stands, or CURRENT_TIMESTAMP.
pub fn says_now(tokens: &[Token]) -> Option<&Token> {
    let is_now = |at: &usize| {
        let is_inside = *at > 0 && is_sign(&tokens[at - 1], ".");
        !is_inside && (is_word(&tokens[*at], "NOW") || is_word(&tokens[*at], "CURRENT_TIMESTAMP"))
    };
    (0..tokens.len()).find(is_now).map(|at| &tokens[at])
}

fn behind_now(bound: &[Token]) -> Option<&[Token]> {
    match bound {
        [now, open, close, rest @ ..] if says_now(std::slice::from_ref(now)).is_some() && is_sign(open, "(") => {
            is_sign(close, ")").then_some(rest)
        }
        [now, rest @ ..] if is_word(now, "CURRENT_TIMESTAMP") => Some(rest),
        _ => None,
    }
}

/// What has to hold together, each by itself. The AND of a BETWEEN parts nothing, and an OR leaves the whole as it is.
pub fn conjuncts(condition: &[Token]) -> Vec<&[Token]> {
    if has_or(condition) {
        return vec![condition];
    }
    let (mut parts, mut from, mut between) = (vec![], 0, false);
    for (_, at, token) in depths(condition).filter(|(depth, ..)| *depth == 0) {
        if is_word(token, "BETWEEN") {
            between = true;
        } else if is_word(token, "AND") && !std::mem::take(&mut between) {
            parts.push(&condition[from..at]);
            from = at + 1;
        }
    }
    parts.push(&condition[from..]);
    parts.retain(|part| !part.is_empty());
    // `(ts > NOW() - INTERVAL '1 day' AND a) AND b`
    let opened = |part| {
        let inside = bare(part);
        if inside.len() < part.len() && says_now(inside).is_some() { conjuncts(inside) } else { vec![part] }
    };
    parts.into_iter().flat_map(opened).collect()
}

pub fn has_or(condition: &[Token]) -> bool {
    depths(condition).any(|(depth, _, token)| depth == 0 && is_word(token, "OR"))
}
