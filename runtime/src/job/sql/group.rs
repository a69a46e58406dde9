//! A statement as the keys of a group in a job file.

use headwater_expression::{Token, TokenKind};

use super::column::{Aggregate, Condition, Item, Reading, joined as joined_by_and};
use super::join::{self, Join};
use super::statement::Statement;
use super::text::{Readable, Sql, TableKeys, bare, column, is_sign, is_word, name, split, unqualified};
use super::time::{Bound, Time, conjuncts, says_now};
use super::unnest;
use super::window::{self, Key, Window};
use crate::base::fault::{At, Faults};
use crate::job::duration;
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind, Node, Table};
use crate::job::variables::Text;

/// `source`, `explode`, `lookup`, `key`, `where`, `window`, `columns`, `derived`: those that the statement says. What is wrong is told; a key that could
/// not be read is there, and broken.
pub fn entries(statement: &Statement, readable: &Readable, faults: &mut Faults) -> Vec<Entry> {
    let (sql, start) = (statement.sql, statement.sql.at(statement.start()));
    let unnested = unnest::read(sql, statement.from, faults);
    let clauses = unnested.as_ref().and_then(|unnested| join::clauses(sql, &unnested.from, faults));
    let found = clauses.and_then(|(sources, clauses)| Some((from(sql, sources, faults)?, clauses)));
    let explode = unnested.as_ref().and_then(|unnested| unnested.explode.as_ref());
    let Some((from, clauses)) = found else { return broken(&["source", "key", "columns"], start) };
    let Some(ts) = event_time(&from, readable, faults) else { return broken(&["source", "key", "columns"], start) };
    let mut entries = vec![of_source(&from)];
    let mut qualifiers: Vec<&str> = from.iter().flat_map(|read| [read.source.as_str(), read.alias.as_str()]).collect();
    if let Some(explode) = explode {
        let list = column(unqualified(&explode.list, &qualifiers)).unwrap_or_default();
        entries.push(entry("explode", sql.at(explode.list[0].start), string(&list)));
        qualifiers.extend(explode.alias.as_deref());
    }
    let told = faults.faults.len();
    let ts = Time::new(&ts, &qualifiers);
    let by = window::read(statement, &ts, &qualifiers, faults);
    let windowed = by.window.is_some();
    let reading = Reading { sql, ts: &ts, qualifiers: &qualifiers, windowed, key: &by.key };
    let joins: Option<Vec<Join>> =
        clauses.iter().map(|clause| join::read(clause, &reading, readable, faults)).collect();
    entries.extend(match joins.as_deref() {
        Some([]) => None,
        Some(joins) => Some(of_joins(joins)),
        None => Some(entry("lookup", start, Kind::Broken)),
    });
    let is_there = joins.iter().flatten().filter_map(|join| Some((join.is_there.clone()?, join.at)));
    let mut conditions: Vec<Condition> = is_there.map(|(text, at)| Condition { text, at, has_or: false }).collect();
    entries.push(of_key(&by.key, &reading, start));
    if by.key.is_empty() && faults.faults.len() == told {
        faults.error(sql.at(statement.by[0][0].start), "GROUP BY names no column: expected the key");
    }
    if let Some(filter) = statement.filter {
        let (all, timed) = where_conditions(filter, &reading);
        if let Some(now) = timed {
            faults.error(sql.at(now.start), "a window belongs to a column: write it into COUNT(*) FILTER (WHERE ...)");
            entries.push(entry("where", sql.at(filter[0].start), Kind::Broken));
        }
        conditions.splice(0..0, all);
    }
    if let Some((filter, at)) = joined_by_and(conditions).filter(|_| entries.iter().all(|entry| entry.name != "where"))
    {
        entries.push(entry("where", at, string(&filter)));
    }
    entries.extend(by.window.as_ref().map(of_window));
    entries.extend(columns(statement, &reading, faults));
    entries
}

/// What stands in WHERE, without `ts <= NOW()`, and the NOW() that has no business there.
fn where_conditions<'a>(filter: &'a [Token], reading: &Reading) -> (Vec<Condition>, Option<&'a Token>) {
    if says_now(filter).is_none() {
        return (vec![reading.condition(filter)], None);
    }
    let is_upper = |part: &&[Token]| !reading.windowed && matches!(reading.ts.bound(part), Some(Ok(Bound::Now)));
    let parts: Vec<&[Token]> = conjuncts(bare(filter)).into_iter().filter(|part| !is_upper(part)).collect();
    let timed = parts.iter().find_map(|part| says_now(part));
    (parts.into_iter().map(|part| reading.condition(part)).collect(), timed)
}

fn columns(statement: &Statement, reading: &Reading, faults: &mut Faults) -> Vec<Entry> {
    let at = statement.sql.at(statement.start());
    let (mut columns, mut derived, mut is_broken) = (vec![], vec![], false);
    for item in &statement.items {
        match reading.item(item, faults) {
            Some(Item::Derived { name, .. }) if refuse_derived(statement.sql, item, &derived, faults) => {
                derived.push(entry(&name, at, Kind::Broken));
            }
            None => is_broken = true,
            Some(Item::Key) => {}
            Some(Item::Aggregate(column)) => columns.push(of_column(&column, reading.windowed)),
            Some(Item::Derived { name, at, text: sql, text_at }) => {
                derived.push(Entry { name, at, value: text(&sql, text_at) });
            }
        }
    }
    if columns.is_empty() && !is_broken {
        faults.error(at, "SELECT has no aggregate: expected at least one, like COUNT(*) AS n");
    }
    if columns.is_empty() {
        return broken(&["columns"], at);
    }
    let tables = [("columns", columns), ("derived", derived)];
    let tables = tables.into_iter().filter(|(name, entries)| *name == "columns" || !entries.is_empty());
    tables.map(|(name, entries)| entry(name, at, Kind::Table(Table { entries }))).collect()
}

/// Tells of a column that is derived and stands in another one.
fn refuse_derived(sql: &Sql, item: &[Token], derived: &[Entry], faults: &mut Faults) -> bool {
    let is_name = |at: usize| {
        let before = at.checked_sub(1).map(|before| &item[before]);
        let is_alias = before.is_some_and(|before| {
            is_word(before, "AS") || is_sign(before, ")") && at + 1 == item.len() || is_sign(before, ".")
        });
        !is_alias && item.get(at + 1).is_none_or(|next| !is_sign(next, "(") && !is_sign(next, "."))
    };
    let is_derived = |token: &Token| derived.iter().any(|known| Some(known.name.as_str()) == name(token));
    let Some(found) = (0..item.len()).find(|at| is_name(*at) && is_derived(&item[*at])) else { return false };
    let called = name(&item[found]).unwrap_or_default();
    let rule = "what is derived follows from the key and the aggregates, not from each other";
    faults.error(sql.at(item[found].start), format!("{rule}: write out here what `{called}` is"));
    true
}

/// Something that the statement reads.
struct FromItem {
    source: String,
    alias: String,
    at: At,
}

/// `source [AS name] [UNION ALL BY NAME source [AS name]]...`
fn from(sql: &Sql, sources: &[Token], faults: &mut Faults) -> Option<Vec<FromItem>> {
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
        if piece.first().is_some_and(|open| is_sign(open, "(")) {
            faults.error(
                sql.at(piece[0].start),
                "a group reads a source by its name: what a subquery says goes into WHERE and FILTER",
            );
            return None;
        }
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
        read.push(FromItem { source: source_name.to_owned(), alias: alias.to_owned(), at: sql.at(source.start) });
    }
    Some(read)
}

fn event_time(from: &[FromItem], readable: &Readable, faults: &mut Faults) -> Option<String> {
    let first = from.first()?;
    let time = readable.times.iter().find(|(source, _)| *source == first.source);
    if time.is_none() {
        let is_among = |all: &TableKeys| all.iter().any(|(name, _)| *name == first.source);
        let name = &first.source;
        let hint = expected(name, readable.times.iter().map(|(source, _)| source.as_str()));
        let message = match (is_among(&readable.tables), is_among(&readable.groups)) {
            (true, _) => format!("`{name}` is a table, and a group reads a source: JOIN looks up in a table"),
            (_, true) => format!("`{name}` is a group, and a group reads a source: a group over a group is a view"),
            _ => format!("unknown source `{name}`: {hint}"),
        };
        faults.error(first.at, message);
    }
    time.map(|(_, time)| time.clone())
}

fn of_source(from: &[FromItem]) -> Entry {
    match from {
        [one] => entry("source", one.at, string(&one.source)),
        all => entry("source", all[0].at, Kind::Array(all.iter().map(|read| text(&read.source, read.at)).collect())),
    }
}

/// `key = ["a", "b"]`; with SQL, `key = { a = "a", b = "lower(b)" }`.
fn of_key(key: &[Key], reading: &Reading, start: At) -> Entry {
    let names: Option<Vec<&String>> = key.iter().map(|key| key.name.as_ref()).collect();
    let (Some(first), Some(names)) = (key.first(), names) else { return entry("key", start, Kind::Broken) };
    let kind = match key.iter().any(|key| key.is_sql) {
        false => Kind::Array(key.iter().map(|key| text(&key.of, key.at)).collect()),
        true => {
            let of = |(name, key): (&&String, &Key)| Entry {
                name: (*name).clone(),
                at: key.at,
                value: text(&reading.text(key.tokens).0, key.at),
            };
            Kind::Table(Table { entries: names.iter().zip(key).map(of).collect() })
        }
    };
    entry("key", first.at, kind)
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
    let calendar = window.calendar.iter().map(|(key, said, at)| entry(key, *at, string(said)));
    let entries = [length(window.kind, window.size)].into_iter().chain(every).chain(calendar).collect();
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
