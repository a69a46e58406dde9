//! What stands beside the SQL of a group for people: `description`, `owner` and `tags` of its columns.
//!
//! ```toml
//! [features.card]
//! sql = "SELECT card_id, COUNT(*) AS n, n * 2 AS twice FROM tx GROUP BY card_id"
//! columns.n     = { description = "payments", owner = "risk" }
//! columns.twice = { tags = ["demo"] }
//! ```

use crate::base::fault::Faults;
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind, Node, Table};

const ABOUT: [&str; 3] = ["description", "owner", "tags"];

/// Whether a table of columns says nothing that the SQL says.
pub fn is_about(columns: &Entry) -> bool {
    let says_about = |entry: &Entry| match &entry.value.kind {
        Kind::Table(column) => column.entries.iter().all(|key| ABOUT.contains(&key.name.as_str())),
        _ => false,
    };
    matches!(&columns.value.kind, Kind::Table(table) if table.entries.iter().all(says_about))
}

/// Puts it to the columns, derived ones too, of what the statement says.
pub fn put(said: Entry, statement: &mut [Entry], faults: &mut Faults) {
    let Kind::Table(said) = said.value.kind else { return };
    for entry in said.entries {
        let Kind::Table(about) = entry.value.kind else { continue };
        match column(statement, &entry.name) {
            Some(column) => add(column, about),
            None => {
                let tables = statement.iter().filter_map(columns_of).flat_map(|table| &table.entries);
                let hint = expected(&entry.name, tables.map(|column| column.name.as_str()));
                faults.error(entry.at, format!("the SQL of this group has no column `{}`: {hint}", entry.name));
            }
        }
    }
}

fn columns_of(entry: &Entry) -> Option<&Table> {
    match &entry.value.kind {
        Kind::Table(table) if ["columns", "derived"].contains(&entry.name.as_str()) => Some(table),
        _ => None,
    }
}

fn column<'a>(statement: &'a mut [Entry], name: &str) -> Option<&'a mut Node> {
    let tables = statement.iter_mut().filter(|entry| columns_of(entry).is_some());
    let tables =
        tables.filter_map(|entry| if let Kind::Table(table) = &mut entry.value.kind { Some(table) } else { None });
    let mut columns = tables.flat_map(|table| &mut table.entries);
    columns.find(|column| column.name == name).map(|column| &mut column.value)
}

fn add(column: &mut Node, about: Table) {
    if let Kind::String(_) = &column.kind {
        let of = Entry { name: "of".to_owned(), at: column.at, value: column.clone() };
        column.kind = Kind::Table(Table { entries: vec![of] });
    }
    if let Kind::Table(table) = &mut column.kind {
        table.entries.extend(about.entries);
    }
}
