//! What a group is by: its key, and perhaps a window of its own.

use headwater_clocks::Span;
use headwater_connectors::Path;
use headwater_expression::Token;

use super::interval;
use super::statement::Statement;
use super::text::{call, is_sign, is_word, name, split};
use crate::base::fault::{At, Faults};

/// `GROUP BY`, read.
pub struct By {
    /// The key columns.
    pub key: Vec<(String, At)>,
    pub window: Option<Window>,
}

/// `TUMBLE(ts, INTERVAL '1 hour')`, as a job file has it.
pub struct Window {
    pub at: At,
    /// `tumbling`, `hopping` or `session`.
    pub kind: &'static str,
    pub size: Span,
    /// Of hopping windows.
    pub every: Option<Span>,
}

const NO_COLUMN: &str = "a group is by columns, and by TUMBLE, HOP or SESSION: expected a column's name";

/// `ts`: the event time of what the group reads.
/// `qualifiers`: how the statement calls what it reads, and what it looks up.
pub fn read(statement: &Statement, ts: &str, (qualifiers, joined): (&[&str], &[&str]), faults: &mut Faults) -> By {
    let sql = statement.sql;
    let mut by = By { key: vec![], window: None };
    for piece in &statement.by {
        let at = sql.at(piece.first().map_or(statement.start(), |token| token.start));
        let piece = unqualified(piece, qualifiers);
        match (piece, call(piece)) {
            _ if piece.len() == 3 && column(piece, joined).is_some() => {
                by.key.extend(column(piece, joined).map(|key| (key, at)));
            }
            ([one], _) if is_word(one, "ALL") => faults.error(at, NO_COLUMN),
            ([one], _) if name(one).is_some() => by.key.push((name(one).unwrap_or_default().to_owned(), at)),
            (_, Some((function, arguments, []))) => match window(statement, function, arguments, ts, qualifiers) {
                Ok(_) if by.window.is_some() => faults.error(at, "a group has one window"),
                Ok(window) => by.window = Some(Window { at, ..window }),
                Err(message) => faults.error(at, message),
            },
            _ => faults.error(at, NO_COLUMN),
        }
    }
    by
}

fn window(
    statement: &Statement,
    function: &Token,
    arguments: &[Token],
    ts: &str,
    qualifiers: &[&str],
) -> Result<Window, String> {
    let at = statement.sql.at(function.start);
    let kinds = [("TUMBLE", "tumbling", 1), ("HOP", "hopping", 2), ("SESSION", "session", 1)];
    let Some((called, kind, lengths)) = kinds.into_iter().find(|(called, ..)| is_word(function, called)) else {
        let name = name(function).unwrap_or_default();
        let told = format!("a group is by columns, and by TUMBLE, HOP or SESSION: `{name}` is none of these");
        let is_grouping = ["ROLLUP", "CUBE", "CUMULATE"].iter().any(|word| is_word(function, word));
        let hint = "; a key that is SQL is the job file's: key = { email = \"lower(email)\" }";
        return Err(if is_grouping { told } else { told + hint });
    };
    let arguments = split(arguments, |token| is_sign(token, ","));
    let example = match called {
        "HOP" => format!("HOP({ts}, INTERVAL '15 minutes', INTERVAL '1 hour'): slide, size"),
        called => format!("{called}({ts}, INTERVAL '1 hour')"),
    };
    if arguments.len() > lengths + 1 {
        let zone = "window = { tumbling = \"1d\", zone = \"Europe/Berlin\" }";
        return Err(format!("expected {example}; days and weeks by a calendar are the job file's: {zone}"));
    }
    if arguments.len() <= lengths {
        return Err(format!("expected {example}"));
    }
    match unqualified(arguments[0], qualifiers) {
        [one] if name(one) == Some(ts) => {}
        _ => return Err(format!("a window is over the source's event time, `{ts}`: expected {example}")),
    }
    let read = |argument: &[Token]| interval::read(argument);
    match lengths {
        1 => Ok(Window { at, kind, size: read(arguments[1])?, every: None }),
        _ => Ok(Window { at, kind, size: read(arguments[2])?, every: Some(read(arguments[1])?) }),
    }
}

/// The column that a piece is: of what is read by its name, of what is looked up as a path.
pub fn column(piece: &[Token], joined: &[&str]) -> Option<String> {
    match piece {
        [one] => name(one).map(str::to_owned),
        [of, dot, column] if is_sign(dot, ".") && name(of).is_some_and(|of| joined.contains(&of)) => {
            Some(Path::of([name(of)?, name(column)?]).to_string())
        }
        _ => None,
    }
}

/// Without the name of what is read before a column's.
pub fn unqualified<'a>(piece: &'a [Token], qualifiers: &[&str]) -> &'a [Token] {
    match piece {
        [of, dot, rest @ ..] if is_sign(dot, ".") && name(of).is_some_and(|of| qualifiers.contains(&of)) => rest,
        _ => piece,
    }
}
