//! What a group is by: its key, and perhaps a window of its own.

use headwater_clocks::Span;
use headwater_expression::{Token, TokenKind};

use super::interval;
use super::statement::Statement;
use super::text::{Sql, bare, call, column, depths, is_sign, is_window, is_word, name, split, unqualified};
use super::time::Time;
use crate::base::fault::{At, Faults};

/// `GROUP BY`, read.
pub struct By<'a> {
    pub key: Vec<Key<'a>>,
    pub window: Option<Window>,
}

/// A column of the key.
pub struct Key<'a> {
    /// The column, or the SQL that it is.
    pub of: String,
    pub at: At,
    /// What rows call it. `None`: it is SQL without a name, and that is told.
    pub name: Option<String>,
    pub tokens: &'a [Token],
    pub is_sql: bool,
}

/// `TUMBLE(ts, INTERVAL '1 hour')`, as a job file has it.
pub struct Window {
    pub at: At,
    /// `tumbling`, `hopping` or `session`.
    pub kind: &'static str,
    pub size: Span,
    /// Of hopping windows.
    pub every: Option<Span>,
    /// `zone` and `starts`, of a calendar.
    pub calendar: Vec<(&'static str, String, At)>,
}

/// What cuts time into hours and days elsewhere.
const CALENDAR: [&str; 3] = ["time_bucket", "date_trunc", "date_bin"];

/// `ts`: the event time of what the group reads.
/// `qualifiers`: how the statement calls what it reads.
pub fn read<'a>(statement: &Statement<'a>, ts: &Time, qualifiers: &[&str], faults: &mut Faults) -> By<'a> {
    let sql = statement.sql;
    let mut by = By { key: vec![], window: None };
    for &piece in &statement.by {
        let at = sql.at(piece.first().map_or(statement.start(), |token| token.start));
        let piece = unqualified(bare(piece), qualifiers);
        if let Some(message) = no_key(sql, piece, ts) {
            faults.error(at, message);
            continue;
        }
        match call(piece) {
            Some((function, arguments, [])) if is_window(piece) => match window(statement, function, arguments, ts) {
                Ok(_) if by.window.is_some() => faults.error(at, "a group has one window"),
                Ok(window) => by.window = Some(Window { at, ..window }),
                Err((at, message)) => faults.error(at, message),
            },
            _ => {
                let key = key(statement, (piece, at), qualifiers, faults);
                let is_twin = |known: &Key| (&known.name, &known.of) == (&key.name, &key.of);
                match by.key.iter().any(is_twin) {
                    true => faults.error(at, format!("the key names `{}` twice", key.name.unwrap_or(key.of))),
                    false => by.key.push(key),
                }
            }
        }
    }
    by
}

/// A column; or SQL, which SELECT gives a name.
fn key<'a>(
    statement: &Statement<'a>,
    (piece, at): (&'a [Token], At),
    qualifiers: &[&str],
    faults: &mut Faults,
) -> Key<'a> {
    let sql = statement.sql;
    let of_sql = |tokens: &'a [Token], name: Option<&str>| {
        let (of, at) = (sql.plain(tokens, qualifiers), sql.at(tokens[0].start));
        Key { of, at, name: name.map(str::to_owned), tokens, is_sql: true }
    };
    if let Some(of) = column(piece) {
        let last = piece.last().and_then(name);
        let said = last.filter(|_| piece.len() == 1).and_then(|name| statement.item_called(name));
        let is_other = |body: &&[Token]| column(unqualified(body, qualifiers)).as_ref() != Some(&of);
        let Some(body) = said.filter(is_other) else {
            return Key { of, at, name: last.map(str::to_owned), tokens: piece, is_sql: false };
        };
        // Of a column and a name of SELECT that are called alike SQL means the column.
        let said = sql.slice(body);
        faults.error(at, format!("`{of}` is a column here, and not what SELECT calls so: write GROUP BY {said}"));
        return of_sql(body, None);
    }
    let found = statement.item_of(piece, qualifiers);
    let called = found.and_then(|(_, alias)| name(alias?));
    if called.is_none() {
        let hint = format!("write {} AS name in SELECT", sql.slice(piece));
        faults.error(at, format!("a key that is SQL goes by the name that SELECT gives it: {hint}"));
    }
    of_sql(piece, called)
}

/// What else SQL has in GROUP BY, and what to write instead.
fn no_key(sql: &Sql, piece: &[Token], time: &Time) -> Option<String> {
    let sets = ["ROLLUP", "CUBE", "GROUPING", "SETS", "TOTALS"];
    let set = depths(piece).find(|(depth, at, token)| {
        let is_call = piece.get(at + 1).is_some_and(|open| is_sign(open, "("));
        let is_behind = *at > 0 && is_word(&piece[at - 1], "WITH");
        *depth == 0 && (is_call || is_behind) && sets.iter().any(|word| is_word(token, word))
    });
    let is_list = split(piece, |token| is_sign(token, ",")).len() > 1;
    let cuts_time = call(piece).filter(|(function, arguments, _)| {
        let is_time = |argument: &&[Token]| time.is(argument);
        CALENDAR.iter().any(|called| is_word(function, called))
            && split(arguments, |token| is_sign(token, ",")).iter().any(is_time)
    });
    match piece {
        [] => Some("expected a column's name beside the commas of GROUP BY".to_owned()),
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
        _ => cuts_time.map(|(function, ..)| {
            let (called, ts) = (name(function).unwrap_or_default().to_lowercase(), time.text);
            let hint = format!("TUMBLE({ts}, INTERVAL '1 hour'), whose rows have `window_start` and `window_end`");
            format!("a window in time is not `{called}`: write {hint}")
        }),
    }
}

fn window(statement: &Statement, function: &Token, arguments: &[Token], time: &Time) -> Result<Window, (At, String)> {
    let (at, ts) = (statement.sql.at(function.start), time.text);
    let here = |message: String| (at, message);
    let kinds = [("TUMBLE", "tumbling", 1), ("HOP", "hopping", 2), ("SESSION", "session", 1)];
    let Some((called, kind, lengths)) = kinds.into_iter().find(|(called, ..)| is_word(function, called)) else {
        let name = name(function).unwrap_or_default();
        return Err(here(format!("a group is by columns, and by TUMBLE, HOP or SESSION: `{name}` is none of these")));
    };
    let example = match called {
        "HOP" => format!("HOP({ts}, INTERVAL '15 minutes', INTERVAL '1 hour'): slide, size"),
        called => format!("{called}({ts}, INTERVAL '1 hour')"),
    };
    let all = split(arguments, |token| is_sign(token, ","));
    let is_named = |argument: &&[Token]| matches!(argument, [_, sign, ..] if ["=>", ":=", "="].iter().any(|known| is_sign(sign, known)));
    let (named, arguments): (Vec<&[Token]>, Vec<&[Token]>) = all.into_iter().partition(is_named);
    if arguments.len() > lengths + 1 {
        let zoned = format!("TUMBLE({ts}, INTERVAL '1 day', zone => 'Europe/Berlin')");
        return Err(here(format!("expected {example}; of days and weeks by a calendar {zoned}")));
    }
    if arguments.len() <= lengths {
        return Err(here(format!("expected {example}")));
    }
    if !time.is(arguments[0]) {
        return Err(here(format!("a window is over the source's event time, `{ts}`: expected {example}")));
    }
    let read = |argument: &[Token]| interval::read(argument).map_err(here);
    let (size, every) = match lengths {
        1 => (read(arguments[1])?, None),
        _ => (read(arguments[2])?, Some(read(arguments[1])?)),
    };
    let mut by_calendar: Vec<(&'static str, String, At)> = vec![];
    for argument in named {
        let at = statement.sql.at(argument[0].start);
        let (key, said) = calendar(argument).map_err(|message| (at, message))?;
        if by_calendar.iter().any(|(known, ..)| *known == key) {
            return Err((at, format!("`{key}` is said twice")));
        }
        by_calendar.push((key, said, at));
    }
    Ok(Window { at, kind, size, every, calendar: by_calendar })
}

/// `zone => 'Europe/Berlin'`, `starts => 'monday'`
fn calendar(argument: &[Token]) -> Result<(&'static str, String), String> {
    let known = ["zone", "starts"].into_iter().find(|known| is_word(&argument[0], known));
    match (known, argument) {
        (Some(known), [_, _, Token { kind: TokenKind::Text(said), .. }]) => Ok((known, said.clone())),
        _ => Err("expected zone => 'Europe/Berlin' or starts => 'monday'".to_owned()),
    }
}
