//! `[features.NAME.derived]`: columns that follow from the row's others.

use super::about;
use crate::job::raw::Kind;
use crate::job::section::{Context, Section, name_is_plain, string};
use crate::job::{About, Column, Derived, Key, Named};

/// Of one that is a table: what it is, and what people should know of it.
pub const KEYS: [&str; 4] = ["of", "description", "owner", "tags"];

/// Reads them; none where there is no such table.
pub fn read(cx: &mut Context, section: &Section, key: &[Key], columns: &[Column]) -> Vec<Derived> {
    let Some(entry) = section.get("derived") else { return vec![] };
    let Some(table) = Section::any(cx, format!("`derived` of {}", section.what), entry) else { return vec![] };
    let mut derived = vec![];
    for entry in table.entries() {
        let name = entry.name.as_str();
        name_is_plain(cx, "column", name, entry.at, "");
        if key.iter().any(|key| key.name == name) {
            cx.error(entry.at, format!("derived column `{name}` has the name of a key column: give it another one"));
        } else if columns.iter().any(|column| column.name == name) {
            cx.error(entry.at, format!("derived column `{name}` has the name of a column: give it another one"));
        }
        let (of, about) = match &entry.value.kind {
            Kind::Table(_) => {
                let Some(column) = Section::open(cx, format!("derived column `{name}`"), entry, &KEYS) else {
                    continue;
                };
                (column.required(cx, "of", "SQL over the row"), about::read(cx, &column))
            }
            _ => match string(cx, name, &entry.value) {
                Some(text) => (Named { text: text.text.clone(), at: entry.value.at }, About::default()),
                None => continue,
            },
        };
        derived.push(Derived { name: name.to_owned(), at: entry.at, of, about });
    }
    derived
}
