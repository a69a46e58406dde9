//! A statement, taken apart at its clauses.

use headwater_expression::{Token, TokenKind};
use headwater_operators::aggregate;

use super::text::{Sql, aliased, bare, call, column, depths, is_sign, is_window, is_word, name, plain, same, split};
use crate::base::fault::{At, Faults};

/// `[CREATE FEATURES name AS] SELECT items FROM source [WHERE filter] GROUP BY by`, in pieces.
pub struct Statement<'a> {
    pub sql: &'a Sql,
    all: &'a [Token],
    name: Option<&'a Token>,
    pub items: Vec<&'a [Token]>,
    pub from: &'a [Token],
    pub filter: Option<&'a [Token]>,
    pub by: Vec<&'a [Token]>,
}

/// Clauses, in their order.
const CLAUSES: [&str; 4] = ["SELECT", "FROM", "WHERE", "GROUP"];

/// Words that are no value, so that what stands beside them may be one.
const KEYWORDS: &str = "SELECT FROM WHERE GROUP BY AND OR NOT IS IN LIKE ILIKE BETWEEN CASE WHEN THEN ELSE AS ON USING UNION ALL JOIN \
    LEFT INNER OUTER HAVING QUALIFY DISTINCT INTERSECT EXCEPT";

/// What SQL has and a group has not, and what to do instead.
const REFUSED: [(&str, &str); 11] = [
    ("HAVING", "a row is there while an event is: readers filter"),
    ("ORDER", "a group is a table by key, in no order"),
    ("LIMIT", "a group has a row for each key: make the WHERE narrower"),
    ("OFFSET", "a group has a row for each key: make the WHERE narrower"),
    ("FETCH", "a group has a row for each key: make the WHERE narrower"),
    ("QUALIFY", "window functions are not over events: use `last`, `last_n` or `top_k`"),
    ("WINDOW", "a window is TUMBLE, HOP or SESSION in GROUP BY, or `ts > NOW() - INTERVAL '...'` in a FILTER"),
    ("INTERSECT", "a group reads its sources whole: say it in WHERE"),
    ("EXCEPT", "a group reads its sources whole: say it in WHERE"),
    ("WITH", "a group reads a source by its name: expected SELECT"),
    ("DISTINCT", "a group has one row for each key: for different values, COUNT(DISTINCT ...)"),
];

impl<'a> Statement<'a> {
    /// What its rows call the columns of their key.
    pub fn key_names(&self) -> Vec<String> {
        let qualifiers: Vec<&str> = self.from.iter().filter_map(name).collect();
        let named = |piece: &&[Token]| match bare(piece) {
            piece if is_window(piece) => None,
            piece if column(piece).is_some() => piece.last().and_then(name).map(str::to_owned),
            piece => name(self.item_of(piece, &qualifiers)?.1?).map(str::to_owned),
        };
        self.by.iter().filter_map(named).collect()
    }

    /// The item of SELECT that says the same as a piece, and what it is called.
    pub fn item_of(&self, piece: &[Token], qualifiers: &[&str]) -> Option<(&'a [Token], Option<&'a Token>)> {
        let piece = plain(piece, qualifiers);
        let items = || self.items.iter().copied().map(aliased);
        let says = |(body, _): &(&[Token], Option<&Token>)| same(&plain(bare(body), qualifiers), &piece);
        items().find(|item| says(item) && item.1.is_some()).or_else(|| items().find(says))
    }

    /// The item of SELECT that has a name behind AS, if it is of an event and no aggregate.
    pub fn item_called(&self, called: &str) -> Option<&'a [Token]> {
        let is_aggregate = |at: usize, body: &[Token]| {
            let function = call(&body[at..]).and_then(|(function, ..)| name(function));
            function.is_some_and(|function| aggregate::find_in_sql(&function.to_lowercase()).is_some())
        };
        let items = self.items.iter().copied().map(aliased);
        let mut called = items.filter(|(_, alias)| alias.and_then(name) == Some(called)).map(|(body, _)| body);
        called.find(|body| !body.is_empty() && !(0..body.len()).any(|at| is_aggregate(at, body)))
    }

    /// The statements of a text, which `;` parts. What is wrong is told, and its statement left out.
    pub fn all(sql: &'a Sql, faults: &mut Faults) -> Vec<Statement<'a>> {
        let pieces = split(&sql.tokens, |token| is_sign(token, ";"));
        let pieces: Vec<&[Token]> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        if pieces.is_empty() {
            faults.error(sql.at(0), "there is no statement here: expected SELECT ... FROM ... GROUP BY ...");
        }
        pieces.into_iter().filter_map(|piece| Statement::read(sql, piece, faults)).collect()
    }

    /// Its first byte.
    pub fn start(&self) -> usize {
        self.all.first().map_or(0, |token| token.start)
    }

    /// The name that CREATE FEATURES gives, with its place.
    pub fn name(&self) -> Option<(String, At)> {
        let token = self.name?;
        Some((name(token)?.to_owned(), self.sql.at(token.start)))
    }

    fn read(sql: &'a Sql, all: &'a [Token], faults: &mut Faults) -> Option<Statement<'a>> {
        let (created, body) = created(sql, all, faults)?;
        let mut fine = true;
        for (_, at, token) in depths(body).filter(|(depth, ..)| *depth == 0) {
            let refused = REFUSED.iter().find(|(word, _)| is_word(token, word));
            if let Some((word, instead)) = refused.filter(|(word, _)| is_clause(body, at, word)) {
                faults.error(sql.at(token.start), format!("{word} has no meaning in a group: {instead}"));
                fine = false;
            }
        }
        if !fine {
            return None;
        }
        let [select, from, filter, by] = clauses(sql, body, faults)?;
        let is_comma = |token: &Token| is_sign(token, ",");
        Some(Statement {
            sql,
            all,
            name: created,
            items: split(select?, is_comma),
            from: from?,
            filter,
            by: split(by?, is_comma),
        })
    }
}

/// Whether a refused word is a clause, and not a column of that name (`WHERE offset > 3`) or part of an operator.
fn is_clause(body: &[Token], at: usize, word: &str) -> bool {
    let (before, behind) = (at.checked_sub(1).map(|before| &body[before]), body.get(at + 1));
    let is_keyword = |token: &Token| KEYWORDS.split_whitespace().any(|keyword| is_word(token, keyword));
    let is_value = |token: &Token| match &token.kind {
        TokenKind::Sign(_) => false,
        TokenKind::Word(_) => !is_keyword(token),
        TokenKind::Quoted(_) | TokenKind::Text(_) | TokenKind::Number(_) => true,
    };
    let begins = |token: &Token| is_value(token) || ["(", "?", "$"].iter().any(|sign| is_sign(token, sign));
    let ends = |token: &Token| is_value(token) || [")", "]"].iter().any(|sign| is_sign(token, sign));
    let is_query = |token: &Token| ["SELECT", "ALL", "NOT", "CASE"].iter().any(|word| is_word(token, word));
    match word {
        "WITH" => before.is_none(),
        "DISTINCT" => before.is_some_and(|select| is_word(select, "SELECT")),
        "ORDER" => behind.is_some_and(|by| is_word(by, "BY")),
        _ => before.is_some_and(ends) && behind.is_some_and(|token| begins(token) || is_query(token)),
    }
}

/// The name of CREATE FEATURES, and the SELECT.
fn created<'a>(sql: &Sql, all: &'a [Token], faults: &mut Faults) -> Option<(Option<&'a Token>, &'a [Token])> {
    match all {
        [create, features, name_token, as_word, body @ ..] if is_word(create, "CREATE") => {
            let fits = is_word(features, "FEATURES") && name(name_token).is_some() && is_word(as_word, "AS");
            if !fits {
                faults.error(sql.at(create.start), "expected CREATE FEATURES name AS SELECT ...");
            }
            fits.then_some((Some(name_token), body))
        }
        _ => Some((None, all)),
    }
}

/// What stands behind each of the clauses' keywords.
fn clauses<'a>(sql: &Sql, body: &'a [Token], faults: &mut Faults) -> Option<[Option<&'a [Token]>; 4]> {
    let mut found: [Option<&[Token]>; 4] = [None; 4];
    let clause = |token: &Token| CLAUSES.iter().position(|word| is_word(token, word));
    // `IS DISTINCT FROM`, `WITHIN GROUP`, `t.from`
    let goes_on = |at: usize| {
        let before = at.checked_sub(1).map(|before| &body[before]);
        let is_operator =
            before.is_some_and(|word| is_word(word, "DISTINCT")) && at > 1 && !is_word(&body[at - 2], "SELECT");
        is_operator || before.is_some_and(|word| is_word(word, "WITHIN") || is_sign(word, "."))
    };
    let starts: Vec<(usize, usize)> = depths(body)
        .filter(|(depth, at, _)| *depth == 0 && !goes_on(*at))
        .filter_map(|(_, at, token)| Some((clause(token)?, at)))
        .collect();
    if starts.first().is_none_or(|(clause, at)| (*clause, *at) != (0, 0)) {
        let at = body.first().map_or(0, |token| token.start);
        faults.error(sql.at(at), "expected SELECT ... FROM ... [WHERE ...] GROUP BY ...");
        return None;
    }
    for (n, (clause, at)) in starts.iter().enumerate() {
        let end = starts.get(n + 1).map_or(body.len(), |(_, at)| *at);
        let keyword = if CLAUSES[*clause] == "GROUP" { 2 } else { 1 };
        let is_whole = keyword == 1 || body.get(at + 1).is_some_and(|by| is_word(by, "BY"));
        let piece = body.get(at + keyword..end).unwrap_or_default();
        let out_of_order = n > 0 && starts[n - 1].0 >= *clause;
        if out_of_order || !is_whole || piece.is_empty() {
            let message = match (out_of_order, is_whole) {
                (true, _) => format!("{} is out of place: expected SELECT, FROM, WHERE, GROUP BY", CLAUSES[*clause]),
                (false, false) => "expected GROUP BY".to_owned(),
                (false, true) => format!("nothing stands behind {}", CLAUSES[*clause]),
            };
            faults.error(sql.at(body[*at].start), message);
            return None;
        }
        found[*clause] = Some(piece);
    }
    for (clause, hint) in [(1, "FROM and a source"), (3, "GROUP BY and the key")] {
        if found[clause].is_none() {
            let end = body.last().map_or(0, |token| token.end);
            faults.error(sql.at(end), format!("expected {hint}"));
            return None;
        }
    }
    Some(found)
}
