//! A group spelled as SQL: what its row is, read literally, with `NOW()` for `T`. It becomes the same tables and keys that TOML has,
//! each with its place in the SQL, and everything after that is told and checked as if it had been written so.
//!
//! ```sql
//! SELECT card_id,                                                                                 -- key
//!        COUNT(*)    FILTER (WHERE ts > NOW() - INTERVAL '1 hour')                    AS tx_1h,   -- agg, window
//!        SUM(amount) FILTER (WHERE ts > NOW() - INTERVAL '30 days' AND abroad)        AS abroad,  -- agg, of, window, where
//!        COUNT(*)                                                                     AS tx_all,  -- window = "all"
//!        tx_1h * 1.0 / NULLIF(tx_all, 0)                                              AS ratio    -- derived
//! FROM transactions                                                                               -- source
//! LEFT JOIN merchants AS m ON m.id = merchant_id                                                  -- lookup, of a group too
//! WHERE status = 'approved'                                                                       -- where
//! GROUP BY card_id                                                                                -- key; TUMBLE, HOP, SESSION: window
//! ```
//!
//! How: `statement` takes the text apart at its clauses, `column` says what each of its columns is, `time` reads conditions on the event time, `interval`
//! lengths of time,
//! `window` what a group is by, `unnest` which list is taken apart, `join` what is looked up, `group` puts it together.

mod column;
mod group;
mod interval;
mod join;
mod statement;
mod text;
mod time;
mod told_beside;
mod unnest;
mod window;

use std::path::Path;

use headwater_connectors::Path as ColumnPath;

use super::raw::{Entry, Kind, Node, Table};
use crate::base::fault::{At, Faults};
use statement::Statement;
use text::{EventTimes, Readable, Sql, TableKeys};

/// What a statement says of a group, so that no key may say it again.
const SAID: [&str; 7] = ["source", "lookup", "key", "where", "window", "columns", "derived"];

/// Replaces SQL by what it means, in all groups of a job.
pub fn expand(root: &mut Table, dir: &Path, faults: &mut Faults) {
    let groups = group_keys(root, dir, faults);
    let readable = Readable { times: event_times(root), tables: table_keys(root), groups };
    add_features_file(root, dir, &readable, faults);
    let Some(features) = table_mut(root, "features") else { return };
    for group in &mut features.entries {
        if let Kind::Table(table) = &mut group.value.kind {
            expand_group(table, dir, &readable, faults);
        }
    }
}

fn table_of(entry: &Entry) -> Option<&Table> {
    if let Kind::Table(table) = &entry.value.kind { Some(table) } else { None }
}

fn entries_of<'a>(root: &'a Table, section: &str) -> impl Iterator<Item = &'a Entry> {
    root.get(section).and_then(table_of).into_iter().flat_map(|table| &table.entries)
}

fn table_keys(root: &Table) -> TableKeys {
    let text = |node: &Node| if let Kind::String(text) = &node.kind { Some(text.text.clone()) } else { None };
    let key = |entry: &Entry| {
        let key = &table_of(entry)?.get("key")?.value;
        let names = match &key.kind {
            Kind::Array(names) => names.iter().filter_map(text).collect(),
            _ => vec![text(key)?],
        };
        Some((entry.name.clone(), names))
    };
    entries_of(root, "tables").filter_map(key).collect()
}

/// Of groups as keys have them, and of those that are SQL. What is wrong with these is told when they are read.
fn group_keys(root: &Table, dir: &Path, faults: &Faults) -> TableKeys {
    let mut untold = Faults::new(faults.places.clone());
    let mut all = vec![];
    let of_statement = |statement: &Statement| statement.key_names();
    for entry in entries_of(root, "features") {
        let Some(table) = table_of(entry) else { continue };
        let sql = match (table.get("sql"), table.get("sql_file")) {
            (Some(sql), _) => Sql::inline(sql, &mut untold),
            (None, Some(file)) => Sql::file(file, dir, &mut untold),
            (None, None) => None,
        };
        let names = match (&sql, table.get("key")) {
            (Some(sql), _) => Statement::all(sql, &mut untold).first().map(of_statement),
            (None, Some(key)) => Some(key_names(&key.value)),
            (None, None) => None,
        };
        all.extend(names.map(|names| (entry.name.clone(), names)));
    }
    if let Some(sql) = root.get("features_file").and_then(|file| Sql::file(file, dir, &mut untold)) {
        let statements = Statement::all(&sql, &mut untold);
        all.extend(statements.iter().filter_map(|statement| Some((statement.name()?.0, statement.key_names()))));
    }
    all
}

/// What rows call the columns of a key.
fn key_names(key: &Node) -> Vec<String> {
    let last = |text: &str| ColumnPath::parse(text).map_or_else(|| text.to_owned(), |path| path.last().to_owned());
    let text = |node: &Node| if let Kind::String(text) = &node.kind { Some(last(&text.text)) } else { None };
    match &key.kind {
        Kind::Array(names) => names.iter().filter_map(text).collect(),
        Kind::Table(names) => names.entries.iter().map(|entry| entry.name.clone()).collect(),
        _ => text(key).into_iter().collect(),
    }
}

fn event_times(root: &Table) -> EventTimes {
    let time = |source: &Entry| {
        let Kind::String(text) = table_of(source)?.get("event_time")?.value.kind.clone() else { return None };
        Some((source.name.clone(), text.text))
    };
    entries_of(root, "sources").filter_map(time).collect()
}

fn expand_group(group: &mut Table, dir: &Path, readable: &Readable, faults: &mut Faults) {
    let (inline, file) = (group.get("sql").cloned(), group.get("sql_file").cloned());
    let given = match (inline, file) {
        (Some(given), Some(file)) => {
            faults.error(file.at, "a group has `sql` or `sql_file`, not both");
            return leave_broken(group, given.at);
        }
        (Some(given), None) | (None, Some(given)) => given,
        (None, None) => return,
    };
    group.entries.retain(|entry| !["sql", "sql_file"].contains(&entry.name.as_str()));
    let Some(sql) = (if given.name == "sql" { Sql::inline(&given, faults) } else { Sql::file(&given, dir, faults) })
    else {
        return leave_broken(group, given.at);
    };
    let statements = Statement::all(&sql, faults);
    let [statement] = statements.as_slice() else {
        if statements.len() > 1 {
            faults.error(sql.at(statements[1].start()), "a group is one statement: several go into a `features_file`");
        }
        return leave_broken(group, given.at);
    };
    put(group, statement, readable, faults);
}

/// What the statement says, in place of what the keys say.
fn put(group: &mut Table, statement: &Statement, readable: &Readable, faults: &mut Faults) {
    let about = group.entries.iter().position(|entry| entry.name == "columns" && told_beside::is_about(entry));
    let about = about.map(|at| group.entries.remove(at));
    for entry in group.entries.iter().filter(|entry| SAID.contains(&entry.name.as_str())) {
        faults.error(entry.at, format!("the SQL of this group says what `{}` is: leave it out here", entry.name));
    }
    group.entries.retain(|entry| !SAID.contains(&entry.name.as_str()));
    let mut said = group::entries(statement, readable, faults);
    if said.iter().any(|entry| entry.name == "explode") {
        for entry in group.entries.extract_if(.., |entry| entry.name == "explode") {
            faults.error(entry.at, "the SQL of this group says what `explode` is: leave it out here");
        }
    }
    if let Some(about) = about {
        told_beside::put(about, &mut said, faults);
    }
    group.entries.extend(said);
}

/// What is told already is not told again as missing.
fn leave_broken(group: &mut Table, at: At) {
    let missing = ["source", "key", "columns"].into_iter().filter(|name| group.get(name).is_none()).collect::<Vec<_>>();
    let broken = |name: &str| Entry { name: name.to_owned(), at, value: Node { at, kind: Kind::Broken } };
    group.entries.extend(missing.into_iter().map(broken));
}

/// The groups of `features_file`, behind those of the job. What people should know of one may stand in a table of its name.
fn add_features_file(root: &mut Table, dir: &Path, readable: &Readable, faults: &mut Faults) {
    let Some(given) = root.get("features_file").cloned() else { return };
    root.entries.retain(|entry| entry.name != "features_file");
    let Some(sql) = Sql::file(&given, dir, faults) else { return };
    let mut groups = vec![];
    for statement in Statement::all(&sql, faults) {
        let Some((name, at)) = statement.name() else {
            faults.error(sql.at(statement.start()), "expected CREATE FEATURES name AS SELECT ...");
            continue;
        };
        groups.push((name, at, statement));
    }
    if root.get("features").is_none() {
        let value = Node { at: given.at, kind: Kind::Table(Table::default()) };
        root.entries.push(Entry { name: "features".to_owned(), at: given.at, value });
    }
    let Some(features) = table_mut(root, "features") else { return };
    for (name, at, statement) in groups {
        if features.get(&name).is_none() {
            features.entries.push(Entry {
                name: name.clone(),
                at,
                value: Node { at, kind: Kind::Table(Table::default()) },
            });
        }
        // One that is there may say no more than what stands beside SQL.
        let is_a_group =
            |table: &Table| ["sql", "sql_file", "source", "key"].iter().any(|key| table.get(key).is_some());
        match table_mut(features, &name).filter(|table| !is_a_group(table)) {
            Some(table) => put(table, &statement, readable, faults),
            None => faults.error(at, format!("there is a feature group `{name}` already")),
        }
    }
}

fn table_mut<'a>(root: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    let entry = root.entries.iter_mut().find(|entry| entry.name == name)?;
    if let Kind::Table(table) = &mut entry.value.kind { Some(table) } else { None }
}
