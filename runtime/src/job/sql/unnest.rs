//! A list that is taken apart, behind FROM.
//!
//! ```sql
//! FROM orders CROSS JOIN UNNEST(items) AS t(item)     -- explode = "items"; `item.sku` is of an element, and so is `t.item.sku`
//! ```

use headwater_expression::Token;

use super::text::{Sql, bare, call, column, depths, is_sign, is_word, name};
use crate::base::fault::Faults;
use crate::job::validate::names::ELEMENT;

/// What stands behind FROM.
pub struct Unnested {
    /// Without the list.
    pub from: Vec<Token>,
    pub explode: Option<Explode>,
}

/// A list whose elements are events.
pub struct Explode {
    /// The column, which may have the name of what is read before it.
    pub list: Vec<Token>,
    /// Of `t(item)`, `t`.
    pub alias: Option<String>,
}

/// `None`: something is wrong, and told.
pub fn read(sql: &Sql, from: &[Token], faults: &mut Faults) -> Option<Unnested> {
    let called = |at: usize| call(&from[at..]).filter(|(function, ..)| is_word(function, "UNNEST"));
    let found = depths(from).filter(|(depth, ..)| *depth == 0).find_map(|(_, at, _)| Some((at, called(at)?)));
    let Some((at, (function, list, behind))) = found else {
        return Some(Unnested { from: from.to_vec(), explode: None });
    };
    let expected = format!("expected FROM source CROSS JOIN UNNEST(list) AS t({ELEMENT})");
    let mut wrong = |token: &Token, why: &str| {
        faults.error(sql.at(token.start), format!("{why}{expected}"));
        None
    };
    let before = match &from[..at] {
        [before @ .., lateral] if is_word(lateral, "LATERAL") => before,
        before => before,
    };
    let before = match before {
        [before @ .., comma] if is_sign(comma, ",") => before,
        [before @ .., cross, join] if is_word(cross, "CROSS") && is_word(join, "JOIN") => before,
        [.., kind, join] if is_word(join, "JOIN") && ["LEFT", "OUTER"].iter().any(|word| is_word(kind, word)) => {
            return wrong(kind, "an event without elements is none of the group's: ");
        }
        _ => return wrong(function, "a list is taken apart beside the source that it is of: "),
    };
    let list = bare(list);
    if column(list).is_none() {
        return wrong(list.first().unwrap_or(function), "only a column's list is taken apart, by its name: ");
    }
    let named = match behind {
        [as_word, rest @ ..] if is_word(as_word, "AS") => rest,
        rest => rest,
    };
    let (alias, element, rest) = match named {
        [alias, open, element, close, rest @ ..] if is_sign(open, "(") && is_sign(close, ")") => {
            (name(alias).filter(|alias| *alias != ELEMENT), element, rest)
        }
        [element, rest @ ..] => (None, element, rest),
        [] => return wrong(function, "an element has a name: "),
    };
    if name(element) != Some(ELEMENT) {
        return wrong(element, &format!("an element is called `{ELEMENT}`: "));
    }
    if let Some(other) = rest.first().filter(|other| !goes_on(other)) {
        return wrong(other, "this has no meaning behind a list: ");
    }
    if let Some((_, _, twice)) = depths(rest).find(|(depth, _, token)| *depth == 0 && is_word(token, "UNNEST")) {
        return wrong(twice, "a group takes one list apart: ");
    }
    let explode = Explode { list: list.to_vec(), alias: alias.map(str::to_owned) };
    Some(Unnested { from: [before, rest].concat(), explode: Some(explode) })
}

/// What may stand behind: other joins, and what else is read.
fn goes_on(token: &Token) -> bool {
    ["LEFT", "INNER", "JOIN", "UNION", "RIGHT", "FULL", "CROSS", "ASOF", "NATURAL"]
        .iter()
        .any(|word| is_word(token, word))
}
