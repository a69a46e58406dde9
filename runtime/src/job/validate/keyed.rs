//! What sources and tables have whose records say what has become of a key: the key, what a record is, and what removes.

use crate::job::raw::Kind;
use crate::job::section::{Context, Section};
use crate::job::{Changes, Named, SeamBy, Source, Table};

/// What a table has besides.
pub const TABLE_KEYS: [&str; 3] = ["key", "changes", "deleted"];

/// What a source of events may have besides.
pub const SOURCE_KEYS: [&str; 3] = ["primary_key", "changes", "deleted"];

/// Of a table.
pub fn table(cx: &mut Context, section: &Section) -> Table {
    if section.get("key").is_none() {
        section.missing(cx, "key", "name the column, or a list of columns, that tells its rows apart");
    }
    read(cx, section, "key")
}

/// Of a source of events; `None`: its events stay as they are.
pub fn replaced(cx: &mut Context, section: &Section) -> Option<Table> {
    if section.get("primary_key").is_some() {
        return Some(read(cx, section, "primary_key"));
    }
    for name in ["changes", "deleted"] {
        if let Some(entry) = section.get(name) {
            let hint = "name the column, or a list of columns, that tells its events apart";
            cx.error(entry.at, format!("`{name}` goes with a `primary_key`, and {} has none: {hint}", section.what));
        }
    }
    None
}

fn read(cx: &mut Context, section: &Section, key: &str) -> Table {
    let changes = match section.text(cx, "changes") {
        Some((text, at)) => Changes::named(&text.text).unwrap_or_else(|| {
            let (what, names) = (&section.what, Changes::ALL.map(|known| format!("`{}`", known.name())).join(" or "));
            cx.error(at, format!("unknown `changes` `{}` of {what}: expected {names}", text.text));
            Changes::Upsert
        }),
        None => Changes::Upsert,
    };
    let columns: Vec<Named> = match section.get(key).map(|entry| &entry.value.kind) {
        None => vec![],
        Some(Kind::Array(_)) => section.list(cx, key).unwrap_or_default(),
        Some(_) => section.named(cx, key).into_iter().collect(),
    };
    for (n, twice) in columns.iter().enumerate() {
        if columns[..n].iter().any(|earlier| earlier.text == twice.text) {
            cx.error(twice.at, format!("the key names `{}` twice", twice.text));
        }
    }
    let deleted = section.named(cx, "deleted");
    if let (Changes::Debezium, Some(deleted)) = (changes, &deleted) {
        cx.error(deleted.at, "`deleted` goes with changes = \"upsert\" only: an envelope says itself what it removes");
    }
    Table { key: columns, changes, deleted }
}

/// What such a source may have, and may not.
pub fn check(cx: &mut Context, section: &Section, source: &Source) {
    let Some(rows) = source.rows() else { return };
    let Some(stream) = &source.stream else {
        if let (Changes::Debezium, Some(entry)) = (rows.changes, section.get("changes")) {
            let why = "envelopes are of a stream, and a history has the rows themselves";
            cx.warning(entry.at, format!("`changes` has no effect: {} has no stream, and {why}", section.what));
        }
        return;
    };
    let kind = if source.table.is_some() { "a table from" } else { "a `primary_key` with" };
    if rows.changes == Changes::Debezium && !stream.config.has_envelopes() {
        let message = format!(
            "{kind} changes = \"debezium\" from such a stream is not built yet: expected records of JSON, and no registry"
        );
        cx.error(stream.at, message);
    } else if !stream.config.has_tombstones() {
        let message = format!(
            "{kind} such a topic is not built yet, since its records without a value are not understood: expected format = \"json\", and no registry"
        );
        cx.error(stream.at, message);
    } else if source.event_time.is_none() && source.arrival_time.is_none() && !stream.config.has_stamps() {
        let hint = "name its `event_time` or its `arrival_time`: records of files have no time of their own";
        cx.error(stream.at, format!("{} has a stream and no time: {hint}", section.what));
    }
}

/// A seam by id would take each update within the overlap for a repeat.
pub fn check_seam(cx: &mut Context, source: &Source) {
    let (Some(rows), SeamBy::Id { id, .. }) = (&source.replaced, &source.seam.by) else { return };
    if let [key] = rows.key.as_slice()
        && key.text == id.text
    {
        let why = "what comes after it of the same key would be taken for what the history has already";
        cx.error(id.at, format!("`id` may not be the key `{}`: {why}: name a column that identifies each record, or write by = \"offset\"", id.text));
    }
}

/// An event that is taken out of a session could split it.
pub fn refuse_sessions(cx: &mut Context, section: &Section, sources: &[&Source]) {
    for source in sources.iter().filter(|source| source.replaced.is_some()) {
        let at = section.get("window").map_or(section.at, |entry| entry.at);
        let why = format!("events of source `{}` are replaced, since it has a `primary_key`", source.name);
        cx.error(
            at,
            format!("sessions cannot be of events that are corrected, and {why}: give the group another window"),
        );
    }
}
