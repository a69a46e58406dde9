//! One item of SELECT: a key, an aggregate over a window, or what follows from columns before it.

use headwater_clocks::Span;
use headwater_expression::{Token, TokenKind};
use headwater_operators::aggregate::{self, Definition};

use super::text::{
    Sql, aliased, bare, call, column, depths, is_sign, is_word, left_out, name, plain, same, split, unqualified,
};
use super::time::{Bound, Time, conjuncts, has_or, says_now};
use super::window::Key;
use crate::base::fault::{At, Faults};
use crate::job::nearest::expected;

/// Functions of SQL that an aggregate has as a name elsewhere.
const SCALAR: [&str; 4] = ["greatest", "least", "length", "cardinality"];
const WINDOWS: [&str; 3] = ["tumble", "hop", "session"];

/// What items are read against.
pub struct Reading<'a> {
    pub sql: &'a Sql,
    /// The event time of what the group reads.
    pub ts: &'a Time<'a>,
    /// How the statement calls what it reads.
    pub qualifiers: &'a [&'a str],
    /// Whether the group has a window of its own.
    pub windowed: bool,
    pub key: &'a [Key<'a>],
}

/// An item, read.
pub enum Item {
    Key,
    Aggregate(Box<Aggregate>),
    Derived { name: String, at: At, text: String, text_at: At },
}

/// A column as a job file has it.
pub struct Aggregate {
    pub name: String,
    pub at: At,
    pub agg: &'static Definition,
    pub agg_at: At,
    pub argument: Option<(TokenKind, At)>,
    pub of: Option<(String, At)>,
    pub filter: Option<(String, At)>,
    /// Of trailing groups; `None`: all.
    pub length: Option<Span>,
    pub length_at: At,
}

impl Reading<'_> {
    /// `None`: it is wrong, and told.
    pub fn item(&self, item: &[Token], faults: &mut Faults) -> Option<Item> {
        let Some(first) = item.first() else {
            faults.error(self.sql.at(self.sql.text.len()), "expected a column between the commas of SELECT");
            return None;
        };
        let (body, alias) = aliased(item);
        let body = unqualified(body, self.qualifiers);
        let at = self.sql.at(first.start);
        if let Some(key) = self.key.iter().find(|key| self.says(bare(body), key)) {
            match &key.name {
                None => return None,
                Some(known) if alias.is_none_or(|alias| name(alias) == Some(known.as_str())) => return Some(Item::Key),
                Some(_) => {}
            }
        } else if let Some(found) = column(body) {
            let last = body.last().and_then(name);
            let is_renamed = alias.is_some_and(|alias| name(alias) != last);
            let is_bound = self.windowed && ["window_start", "window_end"].contains(&found.as_str());
            if is_bound && is_renamed {
                faults.error(at, format!("rows have `{found}` by this name: leave AS out"));
                return None;
            }
            let is_key = self.key.iter().any(|key| !key.is_sql && key.of == found);
            if is_bound || is_key && !is_renamed {
                return Some(Item::Key);
            }
            if is_key {
                // A row calls a key by the last of its names.
                return self.derived(&body[body.len() - 1..], (at, alias), faults);
            }
        }
        if body.first().is_none_or(|token| is_sign(token, "*")) {
            faults.error(
                at,
                "a row has the columns that SELECT names: expected a key column, an aggregate, or SQL over columns",
            );
            return None;
        }
        let is_whole = |(function, _, behind): &(&Token, &[Token], &[Token])| {
            let is_filter = behind.first().is_none_or(|filter| is_word(filter, "FILTER"));
            definition(function).is_some() && is_filter && call(behind).is_none_or(|(.., more)| more.is_empty())
        };
        if let Some(call) = call(body).filter(is_whole) {
            return self.aggregate(call, (at, alias), faults).map(|column| Item::Aggregate(Box::new(column)));
        }
        self.derived(body, (at, alias), faults)
    }

    fn aggregate(
        &self,
        (function, arguments, behind): (&Token, &[Token], &[Token]),
        (at, alias): (At, Option<&Token>),
        faults: &mut Faults,
    ) -> Option<Aggregate> {
        let definition = definition(function)?;
        let called = name(function).unwrap_or_default();
        let (mut of, mut argument, mut filter, mut agg) = (None, None, None, definition);
        if let Some((_, _, order)) = depths(arguments).find(|(depth, _, token)| *depth == 0 && is_word(token, "ORDER"))
        {
            let message =
                format!("{called} is of all events; FIRST, LAST and LAST_N go by event time: leave ORDER BY out");
            faults.error(self.sql.at(order.start), message);
            return None;
        }
        let arguments = split(arguments, |token| is_sign(token, ","));
        let is_of_events = definition.of_events.is_some() && called.eq_ignore_ascii_case(definition.name);
        match (called.to_lowercase().as_str(), arguments.as_slice()) {
            (_, [[star]]) if is_of_events && is_sign(star, "*") => {}
            (_, [[]]) if is_of_events => {}
            (_, [[distinct, rest @ ..]]) if is_of_events && is_word(distinct, "DISTINCT") => {
                agg = aggregate::find(definition.of_distinct?)?;
                of = Some(self.text(rest));
            }
            ("count_if", [condition]) if !condition.is_empty() => filter = Some(self.condition(condition)),
            (_, [value]) if agg.parameter.is_none() && !value.is_empty() => of = Some(self.text(value)),
            (_, [value, [number]]) if agg.parameter.is_some() && !value.is_empty() => {
                of = Some(self.text(value));
                argument = Some((number.kind.clone(), self.sql.at(number.start)));
            }
            _ => {
                let with = agg.parameter.as_ref().map_or(String::new(), |parameter| format!(", {}", parameter.key));
                faults.error(self.sql.at(function.start), format!("expected {called}(value{with})"));
                return None;
            }
        }
        let distinct = arguments.iter().find_map(|a| a.first().filter(|first| is_word(first, "DISTINCT")));
        if let Some(distinct) = distinct.filter(|_| !aggregate::is_of_distinct(agg.name)) {
            let message = format!(
                "{called} is over events, not over different values: expected {called}(value), or COUNT(DISTINCT value)"
            );
            faults.error(self.sql.at(distinct.start), message);
            return None;
        }
        let conjuncts = self.filter(behind, faults)?;
        let mut lengths = vec![];
        let mut rest: Vec<Condition> = filter.into_iter().collect();
        for conjunct in conjuncts {
            match self.ts.bound(conjunct) {
                None => rest.push(self.condition(conjunct)),
                Some(Ok(Bound::Now)) if !self.windowed => {}
                Some(Ok(bound)) => lengths.push((bound, self.sql.at(conjunct[0].start))),
                Some(Err(message)) => {
                    faults.error(self.sql.at(conjunct[0].start), message);
                    return None;
                }
            }
        }
        if let Some((_, at)) = lengths.get(1).or(lengths.first().filter(|_| self.windowed)) {
            let message = match self.windowed {
                true => format!("the group has a window of its own: leave the condition on `{}` out", self.ts.text),
                false => "a column has one window".to_owned(),
            };
            faults.error(*at, message);
            return None;
        }
        let Some(alias) = alias else {
            faults.error(at, format!("this column has no name: expected {called}(...) AS name"));
            return None;
        };
        let length = lengths.pop();
        Some(Aggregate {
            name: name(alias)?.to_owned(),
            at: self.sql.at(alias.start),
            agg,
            agg_at: self.sql.at(function.start),
            argument,
            of,
            filter: joined(rest),
            length_at: length.as_ref().map_or(at, |(_, at)| *at),
            length: length.and_then(|(bound, _)| if let Bound::Trailing(length) = bound { Some(length) } else { None }),
        })
    }

    /// The conditions of `FILTER (WHERE a AND b)`.
    fn filter<'b>(&self, behind: &'b [Token], faults: &mut Faults) -> Option<Vec<&'b [Token]>> {
        let [filter, ..] = behind else { return Some(vec![]) };
        let inside = call(behind).and_then(|(_, inside, rest)| rest.is_empty().then_some(inside));
        match inside {
            Some([word, condition @ ..]) if is_word(word, "WHERE") && !condition.is_empty() => {
                let is_timed = says_now(condition).is_some();
                Some(if is_timed { conjuncts(bare(condition)) } else { vec![condition] })
            }
            _ => {
                faults.error(self.sql.at(filter.start), "expected FILTER (WHERE ...)");
                None
            }
        }
    }

    fn derived(&self, body: &[Token], (at, alias): (At, Option<&Token>), faults: &mut Faults) -> Option<Item> {
        let elsewhere = (0..body.len()).find_map(|at| {
            let (function, ..) = call(&body[at..])?;
            Some((function, self.instead(function)?))
        });
        if let Some((function, instead)) = elsewhere {
            faults.error(self.sql.at(function.start), instead);
            return None;
        }
        if let Some(over) = body.iter().find(|token| is_word(token, "OVER")) {
            let window = format!("FILTER (WHERE {} > NOW() - INTERVAL '1 hour')", self.ts.text);
            let message = match call(body).filter(|(function, ..)| definition(function).is_some()) {
                Some((function, arguments, _)) => {
                    let (function, arguments) =
                        (self.sql.slice(std::slice::from_ref(function)), self.sql.slice(arguments));
                    format!(
                        "OVER has no meaning in a group: a row is of a key: write {function}({arguments}) AS name, in time with {window}"
                    )
                }
                None => format!("OVER has no meaning in a group: a row is of a key: a window in time is {window}"),
            };
            faults.error(self.sql.at(over.start), message);
            return None;
        }
        let inner =
            (0..body.len()).find_map(|at| call(&body[at..]).filter(|(function, ..)| definition(function).is_some()));
        if let Some((function, ..)) = inner {
            let message = "give the aggregate a column of its own, and say here what follows from that column's name";
            faults.error(self.sql.at(function.start), message);
            return None;
        }
        if let Some((function, ..)) = call(body)
            && !SCALAR.iter().any(|word| is_word(function, word))
            && let Some((meant, argument)) = aggregate::meant(name(function).unwrap_or_default())
        {
            let called = name(function).unwrap_or_default();
            let key = meant.parameter.as_ref().map(|parameter| parameter.key);
            let number = argument.map(|number| number.to_string());
            let spelled = match number.as_deref().or(key) {
                Some(number) => format!("{}(value, {number})", meant.name),
                None => meant.name.to_owned(),
            };
            faults
                .error(self.sql.at(function.start), format!("unknown aggregate `{called}`: did you mean `{spelled}`?"));
            return None;
        }
        let Some(alias) = alias else {
            let keys = self.key.iter().filter_map(|key| key.name.as_deref());
            let message = match (body, name(&body[0])) {
                // A GROUP BY that names no column is told there.
                ([_], Some(_)) if self.key.is_empty() => return None,
                ([_], Some(found)) => {
                    format!("`{found}` is neither in GROUP BY nor an aggregate: {}", expected(found, keys))
                }
                _ => "this column has no name: expected ... AS name".to_owned(),
            };
            faults.error(at, message);
            return None;
        };
        let (text, text_at) = (self.with_keys(body), self.sql.at(body[0].start));
        Some(Item::Derived { name: name(alias)?.to_owned(), at: self.sql.at(alias.start), text, text_at })
    }

    /// What to write in place of a function that is no aggregate here.
    fn instead(&self, function: &Token) -> Option<String> {
        let called = name(function)?.to_lowercase();
        if let Some((kind, bound)) = called.rsplit_once('_').filter(|(kind, _)| WINDOWS.contains(kind)) {
            let is_bound = ["start", "end"].contains(&bound);
            return is_bound.then(|| format!("`{called}` of a {kind} window: the row has it as `window_{bound}`"));
        }
        if ["unnest", "explode"].contains(&called.as_str()) {
            let from = "FROM source CROSS JOIN UNNEST(list) AS t(item)";
            return Some(format!("`{called}` stands behind FROM: write {from}, and here what of `item` is meant"));
        }
        let instead = aggregate::instead(&called)?.in_sql;
        Some(format!("`{called}` is no aggregate here: {instead}"))
    }

    /// Whether a piece is the SQL of a key.
    fn says(&self, piece: &[Token], key: &Key) -> bool {
        key.is_sql && same(&plain(piece, self.qualifiers), &plain(key.tokens, self.qualifiers))
    }

    /// A piece over the row, in which the SQL of a key is that key.
    fn with_keys(&self, piece: &[Token]) -> String {
        self.sql.but(piece, |at| self.key_at(piece, at).or_else(|| left_out(piece, at, self.qualifiers)))
    }

    /// The key whose SQL begins here, and where that ends.
    fn key_at(&self, piece: &[Token], at: usize) -> Option<(usize, String)> {
        if at > 0 && is_sign(&piece[at - 1], ".") {
            return None;
        }
        let key_up_to = |end: usize| self.key.iter().find(|key| self.says(&piece[at..end], key));
        let (end, key) = (at + 1..=piece.len()).find_map(|end| Some((end, key_up_to(end)?)))?;
        // `a + b` is no part of `a + b * 2`; a name or a call is one wherever it stands.
        let is_one = column(key.tokens).is_some() || call(key.tokens).is_some_and(|(.., rest)| rest.is_empty());
        let is_between = |token: Option<&Token>, signs: [&str; 2]| {
            token.is_none_or(|token| signs.iter().any(|sign| is_sign(token, sign)))
        };
        let before = at.checked_sub(1).map(|before| &piece[before]);
        let is_alone = is_between(before, ["(", ","]) && is_between(piece.get(end), [")", ","]);
        Some((end, key.name.clone()?)).filter(|_| is_one || is_alone)
    }

    /// A piece that has to hold.
    pub fn condition(&self, piece: &[Token]) -> Condition {
        let (text, at) = self.text(piece);
        Condition { text, at, has_or: has_or(piece) }
    }

    /// A piece as an expression over the source's columns: as it was typed, without the names of what is read.
    pub fn text(&self, piece: &[Token]) -> (String, At) {
        let at = self.sql.at(piece.first().map_or(0, |token| token.start));
        (self.sql.plain(piece, self.qualifiers), at)
    }
}

fn definition(function: &Token) -> Option<&'static Definition> {
    aggregate::find_in_sql(&name(function)?.to_lowercase())
}

/// What has to hold, of events or of a column's.
pub struct Condition {
    pub text: String,
    pub at: At,
    pub has_or: bool,
}

/// Conditions that hold together.
pub fn joined(conditions: Vec<Condition>) -> Option<(String, At)> {
    let at = conditions.first()?.at;
    let is_alone = conditions.len() == 1;
    let beside = |Condition { text, has_or, .. }| if has_or && !is_alone { format!("({text})") } else { text };
    Some((conditions.into_iter().map(beside).collect::<Vec<_>>().join(" AND "), at))
}
