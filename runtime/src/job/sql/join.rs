//! Joins behind FROM: each is a lookup of the group.
//!
//! ```sql
//! LEFT JOIN merchants FOR SYSTEM_TIME AS OF transactions.ts AS m ON transactions.merchant_id = m.merchant_id
//! -- lookup.m = { table = "merchants", on = "merchant_id" }; without LEFT: and where = "m.merchant_id IS NOT NULL"
//! LEFT JOIN card_activity AS h ON h.card_id = transactions.card_id
//! -- lookup.h = { features = "card_activity", on = "card_id" }; without LEFT: and where = "h._there IS NOT NULL"
//! ```

use headwater_connectors::Path;
use headwater_expression::Token;

use super::column::Reading;
use super::text::{Readable, Sql, TableKeys, bare, call, depths, is_sign, is_word, name, split};
use crate::base::fault::{At, Faults};
use crate::job::IS_THERE;
use crate::job::nearest::expected;

/// A lookup that a join says.
pub struct Join {
    /// How the statement calls the row that is found.
    pub alias: String,
    pub at: At,
    /// `table` or `features`, and its name.
    pub kind: &'static str,
    pub table: String,
    pub table_at: At,
    /// What is looked up by, in the order of the key there.
    pub on: Vec<(String, At)>,
    /// Of an inner join: what says that there is a row.
    pub is_there: Option<String>,
}

/// A join, taken apart.
pub struct Clause<'a> {
    is_inner: bool,
    table: &'a Token,
    pub alias: &'a Token,
    /// What FOR SYSTEM_TIME AS OF names.
    as_of: Option<&'a [Token]>,
    /// `USING (a, b)`: `on` are columns of both.
    is_using: bool,
    on: &'a [Token],
}

const EXPECTED: &str = "expected LEFT JOIN table AS t ON column = t.key";
const NONE_OF_OURS: [&str; 7] = ["RIGHT", "FULL", "CROSS", "ASOF", "NATURAL", "SEMI", "ANTI"];

/// What stands before the first join, and the joins. `None`: something is wrong, and told.
pub fn clauses<'a>(sql: &Sql, from: &'a [Token], faults: &mut Faults) -> Option<(&'a [Token], Vec<Clause<'a>>)> {
    if let Some(token) = from.iter().find(|token| NONE_OF_OURS.iter().any(|word| is_word(token, word))) {
        faults.error(
            sql.at(token.start),
            "a join is a lookup of each event in a table or a group: expected JOIN or LEFT JOIN",
        );
        return None;
    }
    let joins: Vec<usize> =
        depths(from).filter(|(depth, _, token)| *depth == 0 && is_word(token, "JOIN")).map(|(_, at, _)| at).collect();
    let begins = |join: usize| {
        let is_kind = |token: &&Token| ["LEFT", "OUTER", "INNER"].iter().any(|word| is_word(token, word));
        join - from[..join].iter().rev().take_while(is_kind).count()
    };
    let mut clauses = vec![];
    for (n, join) in joins.iter().enumerate() {
        let end = joins.get(n + 1).map_or(from.len(), |next| begins(*next));
        let is_inner = !from[begins(*join)..*join].iter().any(|token| is_word(token, "LEFT"));
        match clause(is_inner, &from[join + 1..end]) {
            Some(clause) => clauses.push(clause),
            None => {
                faults.error(sql.at(from[*join].start), EXPECTED);
                return None;
            }
        }
    }
    Some((&from[..joins.first().map_or(from.len(), |join| begins(*join))], clauses))
}

/// `table [FOR SYSTEM_TIME AS OF time] [AS alias] ON conditions`, also with the alias first, and with USING (columns).
fn clause(is_inner: bool, body: &[Token]) -> Option<Clause<'_>> {
    let is_on = |token: &Token| is_word(token, "ON") || is_word(token, "USING");
    let at = depths(body).find(|(depth, _, token)| *depth == 0 && is_on(token)).map(|(_, at, _)| at)?;
    let ([table, named @ ..], on) = (&body[..at], &body[at + 1..]) else { return None };
    let (before, rest) = alias(named);
    let (as_of, rest) = as_of(rest)?;
    let (behind, rest) = alias(rest);
    let is_whole = rest.is_empty() && !(before.is_some() && behind.is_some()) && name(table).is_some();
    (is_whole && !on.is_empty()).then_some(Clause {
        is_inner,
        table,
        alias: before.or(behind).unwrap_or(table),
        as_of,
        is_using: is_word(&body[at], "USING"),
        on,
    })
}

fn alias(tokens: &[Token]) -> (Option<&Token>, &[Token]) {
    match tokens {
        [as_word, alias, rest @ ..] if is_word(as_word, "AS") && name(alias).is_some() => (Some(alias), rest),
        [alias, rest @ ..] if name(alias).is_some() && !is_word(alias, "FOR") => (Some(alias), rest),
        _ => (None, tokens),
    }
}

/// The time of `FOR SYSTEM_TIME AS OF time`: a name, perhaps with others behind dots, or a call; and what stands behind it.
fn as_of(tokens: &[Token]) -> Option<(Option<&[Token]>, &[Token])> {
    let [by, system_time, as_word, of, time @ ..] = tokens else { return Some((None, tokens)) };
    let words = [(by, "FOR"), (system_time, "SYSTEM_TIME"), (as_word, "AS"), (of, "OF")];
    if !words.iter().all(|(token, word)| is_word(token, word)) || time.is_empty() {
        return None;
    }
    let mut end = 1;
    while time.get(end).is_some_and(|dot| is_sign(dot, ".")) {
        end += 2;
    }
    if let Some((_, _, rest)) = call(&time[end.min(time.len()) - 1..]) {
        end = time.len() - rest.len();
    }
    let (time, rest) = time.split_at_checked(end)?;
    Some((Some(time), rest))
}

/// The lookup of a join. `None`: it is none, and told.
pub fn read(clause: &Clause, reading: &Reading, readable: &Readable, faults: &mut Faults) -> Option<Join> {
    let sql = reading.sql;
    let (table, alias) = (name(clause.table)?, name(clause.alias)?);
    let keys_among = |all: &TableKeys| all.iter().find(|(known, _)| known == table).map(|(_, keys)| keys.clone());
    let (of_table, of_group) = (keys_among(&readable.tables), keys_among(&readable.groups));
    let is_group = of_table.is_none() && of_group.is_some();
    if let Some(time) = clause.as_of.filter(|_| is_group) {
        let message = format!("the row of group `{table}` is that just before the event: leave FOR SYSTEM_TIME out");
        faults.error(sql.at(time[0].start), message);
        return None;
    }
    if let Some(time) = clause.as_of.filter(|time| !reading.ts.is(time)) {
        let message =
            format!("an event is looked up as of its own time: expected FOR SYSTEM_TIME AS OF {}", reading.ts.text);
        faults.error(sql.at(time[0].start), message);
        return None;
    }
    let mut found: Vec<(String, (String, At))> = vec![];
    let is_between = |token: &Token| if clause.is_using { is_sign(token, ",") } else { is_word(token, "AND") };
    for condition in split(bare(clause.on), is_between) {
        let condition = bare(condition);
        let sides = split(condition, |token| is_sign(token, "="));
        let key_of = |side: &[Token]| match side {
            [of, dot, key] if is_sign(dot, ".") && name(of) == Some(alias) => name(key).map(str::to_owned),
            _ => None,
        };
        let pair = match sides.as_slice() {
            [[both]] if clause.is_using => name(both).map(|key| (key.to_owned(), reading.text(condition))),
            _ if clause.is_using => None,
            [left, right] if !left.is_empty() && !right.is_empty() => match (key_of(left), key_of(right)) {
                (Some(key), None) => Some((key, reading.text(right))),
                (None, Some(key)) => Some((key, reading.text(left))),
                _ => None,
            },
            _ => None,
        };
        let Some(pair) = pair else {
            let at = condition.first().unwrap_or(clause.table).start;
            let message = match clause.is_using {
                true => "expected USING (KEY, ...): columns that the event has too".to_owned(),
                false => format!("expected `{alias}.KEY = ` and what of the event it is, beside others with AND"),
            };
            faults.error(sql.at(at), message);
            return None;
        };
        found.push(pair);
    }
    let what = if is_group { "group" } else { "table" };
    // Of a table that is not there the order is no matter.
    let keys = of_table.or(of_group).unwrap_or_else(|| found.iter().map(|(key, _)| key.clone()).collect());
    let at = sql.at(clause.on[0].start);
    let mut on = vec![];
    for key in &keys {
        let Some(said) = found.iter().position(|(found, _)| found == key) else {
            let message = format!("a lookup is by the whole key of a {what}: `{alias}.{key}` is missing");
            faults.error(at, message);
            return None;
        };
        on.push(found.remove(said).1);
    }
    if let Some((other, _)) = found.first() {
        let hint = expected(other, keys.iter().map(String::as_str));
        faults.error(at, format!("a lookup is by the key of {what} `{table}`, and `{other}` is not in it: {hint}"));
        return None;
    }
    let first = keys.first().filter(|_| clause.is_inner);
    Some(Join {
        alias: alias.to_owned(),
        at: sql.at(clause.alias.start),
        kind: if is_group { "features" } else { "table" },
        table: table.to_owned(),
        table_at: sql.at(clause.table.start),
        on,
        is_there: first.map(|key| {
            let column = if is_group { IS_THERE } else { key.as_str() };
            format!("{} IS NOT NULL", Path::of([alias, column]))
        }),
    })
}
