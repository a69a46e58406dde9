//! `[features.NAME.derived]`: columns that follow from the row's others.

use crate::job::section::{Context, Section, name_is_plain, string};
use crate::job::{Column, Derived, Key, Named};

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
        if let Some(text) = string(cx, name, &entry.value) {
            let of = Named { text: text.text.clone(), at: entry.value.at };
            derived.push(Derived { name: name.to_owned(), at: entry.at, of });
        }
    }
    derived
}
