//! A statement as the keys of a group in a job file.

use headwater_expression::{Token, TokenKind};

use super::column::{Aggregate, Condition, Item, Reading, joined as joined_by_and};
use super::join::{self, Join};
use super::statement::Statement;
use super::text::{EventTimes, Readable, Sql, is_word, name, split};
use super::window::{self, Window};
use crate::base::fault::{At, Faults};
use crate::job::duration;
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind, Node, Table};
use crate::job::variables::Text;

/// `source`, `lookup`, `key`, `where`, `window`, `columns`, `derived`: those that the statement says. What is wrong is told; a key that could
/// not be read is there, and broken.
pub fn entries(statement: &Statement, readable: &Readable, faults: &mut Faults) -> Vec<Entry> {
    let (sql, start) = (statement.sql, statement.sql.at(statement.start()));
    let clauses = join::clauses(sql, statement.from, faults);
    let found = clauses.and_then(|(sources, clauses)| Some((from(sql, sources, faults)?, clauses)));
    let Some((from, clauses)) = found else { return broken(&["source", "key", "columns"], start) };
    let mut entries = vec![of_source(&from)];
    let Some(ts) = event_time(&from, &readable.times, faults) else {
        entries.extend(broken(&["key", "columns"], start));
        return entries;
    };
    let qualifiers: Vec<&str> = from.iter().flat_map(|read| [read.source.as_str(), read.alias.as_str()]).collect();
    let told = faults.faults.len();
    let joined: Vec<&str> = clauses.iter().filter_map(|clause| name(clause.alias)).collect();
    let by = window::read(statement, &ts, (&qualifiers, &joined), faults);
    let windowed = by.window.is_some();
    let reading = Reading { sql, ts: &ts, qualifiers: &qualifiers, joined: &joined, windowed, key: &by.key };
    let joins: Option<Vec<Join>> =
        clauses.iter().map(|clause| join::read(clause, &reading, readable, faults)).collect();
    entries.extend(match joins.as_deref() {
        Some([]) => None,
        Some(joins) => Some(of_joins(joins)),
        None => Some(entry("lookup", start, Kind::Broken)),
    });
    let is_there = joins.iter().flatten().filter_map(|join| Some((join.is_there.clone()?, join.at)));
    let mut conditions: Vec<Condition> = is_there.map(|(text, at)| Condition { text, at, has_or: false }).collect();
    entries.push(match by.key.as_slice() {
        [] => entry("key", start, Kind::Broken),
        key => entry("key", key[0].1, Kind::Array(key.iter().map(|(name, at)| text(name, *at)).collect())),
    });
    if by.key.is_empty() && faults.faults.len() == told {
        faults.error(sql.at(statement.by[0][0].start), "GROUP BY names no column: expected the key");
    }
    if let Some(filter) = statement.filter {
        let condition = reading.condition(filter);
        let says_now = statement.filter.iter().flat_map(|tokens| tokens.iter()).find(|token| is_word(token, "NOW"));
        if let Some(now) = says_now {
            faults.error(sql.at(now.start), "a window belongs to a column: write it into COUNT(*) FILTER (WHERE ...)");
        }
        match says_now {
            Some(_) => entries.push(entry("where", condition.at, Kind::Broken)),
            None => conditions.insert(0, condition),
        }
    }
    if let Some((filter, at)) = joined_by_and(conditions).filter(|_| entries.iter().all(|entry| entry.name != "where"))
    {
        entries.push(entry("where", at, string(&filter)));
    }
    entries.extend(by.window.as_ref().map(of_window));
    entries.extend(columns(statement, &reading, faults));
    entries
}

fn columns(statement: &Statement, reading: &Reading, faults: &mut Faults) -> Vec<Entry> {
    let at = statement.sql.at(statement.start());
    let (mut columns, mut derived, mut is_broken) = (vec![], vec![], false);
    for item in &statement.items {
        match reading.item(item, faults) {
            None => is_broken = true,
            Some(Item::Key) => {}
            Some(Item::Aggregate(column)) => columns.push(of_column(&column, reading.windowed)),
            Some(Item::Derived { name, at, text: sql, text_at }) => {
                derived.push(Entry { name, at, value: text(&sql, text_at) });
            }
        }
    }
    if is_broken && columns.is_empty() {
        return broken(&["columns"], at);
    }
    let tables = [("columns", columns), ("derived", derived)];
    let tables = tables.into_iter().filter(|(name, entries)| *name == "columns" || !entries.is_empty());
    tables.map(|(name, entries)| entry(name, at, Kind::Table(Table { entries }))).collect()
}

/// Something that the statement reads.
struct Read {
    source: String,
    alias: String,
    at: At,
}

/// `source [AS name] [UNION ALL BY NAME source [AS name]]...`
fn from(sql: &Sql, sources: &[Token], faults: &mut Faults) -> Option<Vec<Read>> {
    let Some(first) = sources.first() else {
        faults.error(sql.at(0), "expected the name of a source behind FROM");
        return None;
    };
    let pieces = split(sources, |token| is_word(token, "UNION"));
    let mut read = vec![];
    for (n, piece) in pieces.into_iter().enumerate() {
        let piece = match piece {
            [all, by, name_word, rest @ ..]
                if n > 0 && is_word(all, "ALL") && is_word(by, "BY") && is_word(name_word, "NAME") =>
            {
                rest
            }
            _ if n == 0 => piece,
            _ => {
                let at = piece.first().map_or(first.start, |token| token.start);
                faults
                    .error(sql.at(at), "sources go together by the names of their columns: expected UNION ALL BY NAME");
                return None;
            }
        };
        let (source, alias) = match piece {
            [source] => (source, source),
            [source, alias] => (source, alias),
            [source, as_word, alias] if is_word(as_word, "AS") => (source, alias),
            _ => {
                faults.error(sql.at(first.start), "expected the name of a source behind FROM");
                return None;
            }
        };
        let names = name(source).zip(name(alias));
        let Some((source_name, alias)) = names else {
            faults.error(sql.at(source.start), "expected the name of a source behind FROM");
            return None;
        };
        read.push(Read { source: source_name.to_owned(), alias: alias.to_owned(), at: sql.at(source.start) });
    }
    Some(read)
}

fn event_time(from: &[Read], times: &EventTimes, faults: &mut Faults) -> Option<String> {
    let first = from.first()?;
    let time = times.iter().find(|(source, _)| *source == first.source);
    if time.is_none() {
        let hint = expected(&first.source, times.iter().map(|(source, _)| source.as_str()));
        faults.error(first.at, format!("unknown source `{}`: {hint}", first.source));
    }
    time.map(|(_, time)| time.clone())
}

fn of_source(from: &[Read]) -> Entry {
    match from {
        [one] => entry("source", one.at, string(&one.source)),
        all => entry("source", all[0].at, Kind::Array(all.iter().map(|read| text(&read.source, read.at)).collect())),
    }
}

fn of_joins(joins: &[Join]) -> Entry {
    let one = |join: &Join| {
        let on = join.on.iter().map(|(on, at)| text(on, *at)).collect();
        let on = entry("on", join.on.first().map_or(join.at, |(_, at)| *at), Kind::Array(on));
        let entries = vec![entry(join.kind, join.table_at, string(&join.table)), on];
        entry(&join.alias, join.at, Kind::Table(Table { entries }))
    };
    let at = joins.first().map_or(At { line: 1, column: 1, file: 0 }, |join| join.at);
    entry("lookup", at, Kind::Table(Table { entries: joins.iter().map(one).collect() }))
}

fn of_window(window: &Window) -> Entry {
    let length = |name: &str, span| entry(name, window.at, string(&duration::display(span)));
    let every = window.every.map(|every| length("every", every));
    let entries = [length(window.kind, window.size)].into_iter().chain(every).collect();
    entry("window", window.at, Kind::Table(Table { entries }))
}

fn of_column(column: &Aggregate, windowed: bool) -> Entry {
    let mut entries = vec![entry("agg", column.agg_at, string(column.agg.name))];
    if let Some((number, at)) = &column.argument {
        let key = column.agg.parameter.as_ref().map_or("", |parameter| parameter.key);
        entries.push(entry(key, *at, argument(number)));
    }
    for (key, said) in [("of", &column.of), ("where", &column.filter)] {
        entries.extend(said.as_ref().map(|(sql, at)| entry(key, *at, string(sql))));
    }
    if !windowed {
        let length = column.length.map_or("all".to_owned(), duration::display);
        entries.push(entry("window", column.length_at, string(&length)));
    }
    Entry {
        name: column.name.clone(),
        at: column.at,
        value: Node { at: column.at, kind: Kind::Table(Table { entries }) },
    }
}

fn argument(token: &TokenKind) -> Kind {
    match token {
        TokenKind::Number(number) => match (number.parse::<i64>(), number.parse::<f64>()) {
            (Ok(integer), _) => Kind::Integer(integer),
            (_, Ok(float)) => Kind::Float(float),
            _ => string(number),
        },
        TokenKind::Word(text) | TokenKind::Quoted(text) | TokenKind::Text(text) | TokenKind::Sign(text) => string(text),
    }
}

fn broken(names: &[&str], at: At) -> Vec<Entry> {
    names.iter().map(|name| entry(name, at, Kind::Broken)).collect()
}

fn entry(name: &str, at: At, kind: Kind) -> Entry {
    Entry { name: name.to_owned(), at, value: Node { at, kind } }
}

fn text(text: &str, at: At) -> Node {
    Node { at, kind: string(text) }
}

fn string(text: &str) -> Kind {
    Kind::String(Text { text: text.to_owned(), ..Text::default() })
}
