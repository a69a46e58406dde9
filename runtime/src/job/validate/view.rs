//! `[views.NAME]`: rows made of the rows of groups, tables and other views.

use headwater_clocks::Span;

use super::about;
use super::group::{history, one_or_several};
use crate::job::View;
use crate::job::raw::Entry;
use crate::job::section::{Context, Section, name_is_plain};
use crate::job::view::{Of, Sql};

pub const KEYS: [&str; 6] = ["key", "sql", "history", "description", "owner", "tags"];

/// Reads a view; `None` where it has no query.
pub fn read(cx: &mut Context, entry: &Entry, tick: Span) -> Option<View> {
    let name = entry.name.as_str();
    name_is_plain(cx, "view", name, entry.at, "");
    let section = Section::open(cx, format!("view `{name}`"), entry, &KEYS)?;
    let history = history(cx, &section, tick);
    let hint = "name the column, or a list of columns, that tells its rows apart";
    let key = one_or_several(cx, &section, "key", ("a column's name or a list of them", hint));
    if section.get("sql").is_none() {
        section.missing(cx, "sql", "a query, like sql = \"SELECT ... FROM card_activity\"");
    }
    let (text, at) = section.text(cx, "sql")?;
    let sql = Sql { text: text.text.clone(), at, starts: text.starts };
    Some(View { name: name.into(), at: entry.at, key, of: Of::Sql(sql), history, about: about::read(cx, &section) })
}

/// Everything that has rows has a name of its own.
pub fn check_names(cx: &mut Context, kind: &str, views: &[&Entry], others: &[(&str, Vec<&str>)]) {
    for entry in views {
        for (what, _) in others.iter().filter(|(_, names)| names.contains(&entry.name.as_str())) {
            cx.error(entry.at, format!("{kind} `{}` has the name of a {what}: give it another one", entry.name));
        }
    }
}
