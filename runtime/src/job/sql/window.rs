//! What a group is by: its key, and perhaps a window of its own.

use headwater_clocks::Span;
use headwater_connectors::Path;
use headwater_expression::{Token, TokenKind};

use super::interval;
use super::statement::Statement;
use super::text::{Sql, bare, call, depths, is_sign, is_word, name, split, unqualified};
use super::time::Time;
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

/// What cuts time into hours and days elsewhere.
const CALENDAR: [&str; 3] = ["time_bucket", "date_trunc", "date_bin"];

const NO_COLUMN: &str = "a group is by columns, and by TUMBLE, HOP or SESSION: expected a column's name";

/// `ts`: the event time of what the group reads.
/// `qualifiers`: how the statement calls what it reads.
pub fn read(statement: &Statement, ts: &Time, qualifiers: &[&str], faults: &mut Faults) -> By {
    let sql = statement.sql;
    let mut by = By { key: vec![], window: None };
    for piece in &statement.by {
        let at = sql.at(piece.first().map_or(statement.start(), |token| token.start));
        let piece = unqualified(bare(piece), qualifiers);
        if let Some(message) = no_key(sql, piece, ts.text) {
            faults.error(at, message);
            continue;
        }
        match (column(piece), call(piece)) {
            (Some(key), _) => by.key.push((key, at)),
            (None, Some((function, arguments, []))) => match window(statement, function, arguments, ts) {
                Ok(_) if by.window.is_some() => faults.error(at, "a group has one window"),
                Ok(window) => by.window = Some(Window { at, ..window }),
                Err(message) => faults.error(at, message),
            },
            _ => faults.error(at, NO_COLUMN),
        }
    }
    by
}

/// What else SQL has in GROUP BY, and what to write instead.
fn no_key(sql: &Sql, piece: &[Token], ts: &str) -> Option<String> {
    let sets = ["ROLLUP", "CUBE", "GROUPING", "SETS", "TOTALS"];
    let set = depths(piece).find(|(depth, at, token)| {
        let is_call = piece.get(at + 1).is_some_and(|open| is_sign(open, "("));
        let is_behind = *at > 0 && is_word(&piece[at - 1], "WITH");
        *depth == 0 && (is_call || is_behind) && sets.iter().any(|word| is_word(token, word))
    });
    let is_list = split(piece, |token| is_sign(token, ",")).len() > 1;
    let called = call(piece).and_then(|(function, ..)| name(function)).unwrap_or_default().to_lowercase();
    match piece {
        _ if set.is_some() => {
            Some("a group has one key: for each of GROUPING SETS, ROLLUP and CUBE write a group of its own".to_owned())
        }
        [one] if is_word(one, "ALL") => {
            Some("GROUP BY ALL has no meaning in a group: name the columns of the key".to_owned())
        }
        [one] if matches!(one.kind, TokenKind::Number(_)) => {
            Some("a key goes by its name, not by its place in SELECT: expected a column's name".to_owned())
        }
        _ if is_list => {
            Some(format!("write the columns of the key without parentheses: GROUP BY {}", sql.slice(piece)))
        }
        _ if CALENDAR.contains(&called.as_str()) => {
            let hint = format!("TUMBLE({ts}, INTERVAL '1 hour'), whose rows have `window_start` and `window_end`");
            Some(format!("a window in time is not `{called}`: write {hint}"))
        }
        _ => None,
    }
}

fn window(statement: &Statement, function: &Token, arguments: &[Token], time: &Time) -> Result<Window, String> {
    let (at, ts) = (statement.sql.at(function.start), time.text);
    let kinds = [("TUMBLE", "tumbling", 1), ("HOP", "hopping", 2), ("SESSION", "session", 1)];
    let Some((called, kind, lengths)) = kinds.into_iter().find(|(called, ..)| is_word(function, called)) else {
        let name = name(function).unwrap_or_default();
        let told = format!("a group is by columns, and by TUMBLE, HOP or SESSION: `{name}` is none of these");
        let hint = "; a key that is SQL is the job file's: key = { email = \"lower(email)\" }";
        return Err(if is_word(function, "CUMULATE") { told } else { told + hint });
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
    if !time.is(arguments[0]) {
        return Err(format!("a window is over the source's event time, `{ts}`: expected {example}"));
    }
    let read = |argument: &[Token]| interval::read(argument);
    match lengths {
        1 => Ok(Window { at, kind, size: read(arguments[1])?, every: None }),
        _ => Ok(Window { at, kind, size: read(arguments[2])?, every: Some(read(arguments[1])?) }),
    }
}

/// The column that a piece is: of what is read by its name or its path, of what is looked up as a path.
pub fn column(piece: &[Token]) -> Option<String> {
    let is_path = piece.len() % 2 == 1 && piece.iter().skip(1).step_by(2).all(|dot| is_sign(dot, "."));
    let names: Option<Vec<&str>> = piece.iter().step_by(2).map(name).collect();
    Some(Path::of(names.filter(|_| is_path)?).to_string())
}
