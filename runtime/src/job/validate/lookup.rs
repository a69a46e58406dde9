//! `lookup.NAME` of a group: what its events look up in a table.

use crate::base::id::{IdVec, SourceId};
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind};
use crate::job::section::{Context, Section, name_is_plain};
use crate::job::validate::names::ELEMENT;
use crate::job::{Lookup, Named, Source, duration};

const KEYS: [&str; 3] = ["table", "features", "on"];

/// Reads a group's lookups, in their order. Those that are too wrong are left out.
pub fn read(cx: &mut Context, group: &Section, sources: &IdVec<SourceId, Source>) -> Vec<Lookup> {
    let Some(entry) = group.get("lookup") else { return vec![] };
    let Some(all) = Section::any(cx, format!("`lookup` of {}", group.what), entry) else { return vec![] };
    all.entries().filter_map(|entry| one(cx, entry, sources)).collect()
}

fn one(cx: &mut Context, entry: &Entry, sources: &IdVec<SourceId, Source>) -> Option<Lookup> {
    let name = entry.name.as_str();
    name_is_plain(cx, "lookup", name, entry.at, "");
    if name == ELEMENT {
        cx.error(entry.at, format!("a lookup may not be called `{ELEMENT}`, as the element of an exploded list is"));
    }
    let section = Section::open(cx, format!("lookup `{name}`"), entry, &KEYS)?;
    if let Some(features) = section.get("features") {
        cx.error(
            features.at,
            "lookups in feature groups are not built yet: look up in a table, like table = \"merchants\"",
        );
        return None;
    }
    let hint = "say by what, like on = \"merchant_id\": a column, SQL, or a list as long as the table's key";
    let on = match section.get("on").map(|entry| &entry.value.kind) {
        None => {
            section.missing(cx, "on", hint);
            return None;
        }
        Some(Kind::Array(_)) => section.list(cx, "on")?,
        Some(_) => vec![section.named(cx, "on")?],
    };
    if section.get("table").is_none() {
        section.missing(cx, "table", "name one of [tables.NAME]");
    }
    let table = section.named(cx, "table")?;
    let tables = || sources.pairs().filter(|(_, source)| source.table.is_some());
    let Some((id, found)) = tables().find(|(_, source)| source.name == table.text) else {
        if !cx.torn.names() {
            let hint = expected(&table.text, tables().map(|(_, source)| source.name.as_str()));
            cx.error(table.at, format!("unknown table `{}`: {hint}", table.text));
        }
        return None;
    };
    let key = found.table.as_ref().map_or(&[][..], |table| &table.key);
    if on.len() != key.len() && !key.is_empty() {
        let names: Vec<&str> = key.iter().map(|key: &Named| key.text.as_str()).collect();
        let (told, names) = (on.len(), names.join(", "));
        let message =
            format!("`on` has {told} parts, and the key of table `{}` has {}: {names}", table.text, key.len());
        cx.error(section.get("on").map_or(section.at, |entry| entry.value.at), message);
        return None;
    }
    Some(Lookup { name: name.to_owned(), at: entry.at, table: id, on })
}

/// An event that is taken out of a session could split it.
pub fn refuse_sessions(cx: &mut Context, lookups: &[Lookup], sources: &IdVec<SourceId, Source>) {
    for lookup in lookups {
        let table = &sources[lookup.table];
        if table.lateness_us > 0 {
            let late = duration::display(table.lateness_us);
            let why = format!("a version of table `{}` may come {late} late and correct events", table.name);
            let hint = "give the table lateness = \"0s\", or the group another window";
            cx.error(lookup.at, format!("sessions cannot be of events that are corrected, and {why}: {hint}"));
        }
    }
}
