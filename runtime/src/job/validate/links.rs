//! `[links.NAME]`: which entities hang together because they share something.

use headwater_clocks::Span;

use super::about;
use super::group::{history, one_or_several};
use crate::job::raw::Entry;
use crate::job::section::{Context, Section, name_is_plain};
use crate::job::view::{LinkedBy, Links, Of};
use crate::job::{Named, View};

pub const KEYS: [&str; 10] =
    ["from", "entity", "shared", "a", "b", "max_degree", "history", "description", "owner", "tags"];

/// What more are linked to links none, if nothing else is said.
const MAX_DEGREE: u64 = 100;

/// Reads links; `None` where it does not say what is linked.
pub fn read(cx: &mut Context, entry: &Entry, tick: Span) -> Option<View> {
    let name = entry.name.as_str();
    name_is_plain(cx, "links", name, entry.at, "");
    let section = Section::open(cx, format!("links `{name}`"), entry, &KEYS)?;
    let history = history(cx, &section, tick);
    let from = section.required(cx, "from", "name a group, a table or a view");
    let by = by(cx, &section)?;
    let max_degree = match section.get("max_degree") {
        None => MAX_DEGREE,
        Some(_) => section.integer(cx, "max_degree", 1, i64::MAX).map_or(MAX_DEGREE, i64::unsigned_abs),
    };
    let key = match &by {
        LinkedBy::Things { entity, .. } => entity.clone(),
        LinkedBy::Entities { a, .. } => Named { text: "entity".to_owned(), at: a.at },
    };
    let columns = by.columns();
    for (n, twice) in columns.iter().enumerate() {
        if columns[..n].iter().any(|earlier| earlier.text == twice.text) {
            cx.error(
                twice.at,
                format!("column `{}` is named twice: what is linked to itself hangs together", twice.text),
            );
            return None;
        }
    }
    let of = Of::Links(Links { from, by, max_degree });
    Some(View { name: name.into(), at: entry.at, key: vec![key], of, history, about: about::read(cx, &section) })
}

fn by(cx: &mut Context, section: &Section) -> Option<LinkedBy> {
    let (things, entities) = (["entity", "shared"], ["a", "b"]);
    let has = |keys: [&str; 2]| keys.iter().find_map(|key| section.get(key));
    if let (Some(_), Some(other)) = (has(things), has(entities)) {
        cx.error(
            other.at,
            "links are of an `entity` and what is `shared`, or of two entities, `a` and `b`: not of both",
        );
        return None;
    }
    if has(entities).is_some() {
        let hint = "two columns of one kind, like a = \"payer\", b = \"payee\"";
        let mut one = |key: &str| {
            if section.get(key).is_none() {
                section.missing(cx, key, hint);
            }
            section.named(cx, key)
        };
        let (a, b) = (one("a"), one("b"));
        return Some(LinkedBy::Entities { a: a?, b: b? });
    }
    if section.get("entity").is_none() {
        section.missing(cx, "entity", "name the column of what hangs together, like entity = \"card_id\"");
    }
    let entity = section.named(cx, "entity");
    let hint = "name the column, or a list of columns, of what entities share, like shared = \"device\"";
    let shared = one_or_several(cx, section, "shared", ("a column's name or a list of them", hint));
    Some(LinkedBy::Things { entity: entity?, shared }).filter(|_| section.get("shared").is_some())
}
