//! `[features.NAME]`: a group of columns by one key.

use headwater_clocks::Span;
use headwater_connectors::Path;

use super::windowed::{WindowKind, Windowed};
use super::{about, calendar, column, derived, keyed, lookup};
use crate::base::fault::At;
use crate::base::id::{IdVec, SourceId};
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind};
use crate::job::section::{Context, SOME, Section, name_is_plain, string};
use crate::job::{Column, Group, Key, Lookup, Named, Source, Window, duration};

pub const KEYS: [&str; 15] = [
    "source",
    "key",
    "explode",
    "lookup",
    "where",
    "window",
    "columns",
    "derived",
    "retain",
    "history",
    "sql",
    "sql_file",
    "description",
    "owner",
    "tags",
];

pub const WINDOW_KEYS: [&str; 6] = ["tumbling", "hopping", "session", "every", "zone", "starts"];

/// An event may lie in this many hopping windows at most.
const HOPS_MAX: i64 = 100_000;
/// From so many on it is worth a word.
const HOPS_WARNED_MIN: i64 = 1_000;
const HISTORY_WARNED_MIN: Span = Span::DAY;

/// Reads a group; `None` where none of its sources is known.
/// `groups`: the names of all, in their order.
pub fn read(
    cx: &mut Context,
    entry: &Entry,
    (sources, groups): (&IdVec<SourceId, Source>, &[&str]),
    tick: Span,
) -> Option<Group> {
    let name = entry.name.as_str();
    name_is_plain(cx, "feature group", name, entry.at, "");
    let section = Section::open(cx, format!("feature group `{name}`"), entry, &KEYS)?;
    let history = history(cx, &section, tick);
    let of_group = group_sources(cx, &section, sources);
    let key = key(cx, &section);
    let explode = explode(cx, &section, &of_group);
    let lookups = lookup::read(cx, &section, (sources, groups));
    let filter = section.named(cx, "where");
    let window = section.get("window");
    let windowed = window.map_or(Windowed::Trailing, |entry| read_window(cx, name, entry));
    if let (Windowed::Window(window), Some(entry)) = (windowed, window) {
        warn_of_window(cx, window, entry.at, tick);
    }
    let columns = columns(cx, &section, windowed, tick);
    for column in columns.iter().filter(|column| key.iter().any(|key| key.name == column.name)) {
        cx.error(column.at, format!("column `{}` has the name of a key column: give it another one", column.name));
    }
    let derived = derived::read(cx, &section, &key, &columns);
    let tables = lookups.iter().filter_map(Lookup::table);
    let lateness =
        of_group.iter().copied().chain(tables).map(|source| sources[source].lateness).max().unwrap_or(Span::ZERO);
    if let Windowed::Window(Window::Session { .. }) = windowed {
        lookup::refuse_sessions(cx, &lookups, sources);
        let of_group: Vec<&Source> = of_group.iter().map(|source| &sources[*source]).collect();
        keyed::refuse_sessions(cx, &section, &of_group);
    }
    let retain = retain(cx, &section, windowed, lateness);
    if of_group.is_empty() {
        return None;
    }
    Some(Group {
        name: name.into(),
        sources: of_group,
        key,
        explode,
        lookups,
        filter,
        window: if let Windowed::Window(window) = windowed { window } else { Window::Trailing },
        retain,
        history,
        columns,
        derived,
        about: about::read(cx, &section),
    })
}

/// How far back rows can be read. Every change of that time is in memory.
pub(super) fn history(cx: &mut Context, section: &Section, tick: Span) -> Option<Span> {
    let history = section.duration(cx, "history", SOME)?;
    let at = section.get("history").map_or(section.at, |entry| entry.value.at);
    if history < tick {
        let tick = duration::display(tick);
        cx.warning(at, format!("`history` is shorter than the tick of {tick}: only the newest rows can be read"));
    }
    if history >= HISTORY_WARNED_MIN {
        let length = duration::display(history);
        cx.warning(
            at,
            format!("every row that changed within the last {length} is kept in memory, as often as it changed"),
        );
    }
    Some(history)
}

/// Whose events it has, ascending.
fn group_sources(cx: &mut Context, section: &Section, sources: &IdVec<SourceId, Source>) -> Vec<SourceId> {
    let named =
        one_or_several(cx, section, "source", ("a source's name or a list of them", "name one of [sources.NAME]"));
    let mut found = vec![];
    for named in &named {
        match sources.find(|source| source.name == named.text && source.table.is_none()) {
            Some(source) => found.push(source),
            None if cx.torn.names() => {}
            None => {
                let events = sources.iter().filter(|source| source.table.is_none());
                let hint = expected(&named.text, events.map(|source| source.name.as_str()));
                cx.error(named.at, format!("unknown source `{}`: {hint}", named.text));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn key(cx: &mut Context, section: &Section) -> Vec<Key> {
    let key: Vec<Key> = match section.get("key") {
        Some(entry) if matches!(entry.value.kind, Kind::Table(_)) => named_keys(cx, section, entry),
        _ => {
            let hint = "name the column, or a list of columns, that each row is about";
            let expected = "a column's name, a list of them, or a table of names and SQL";
            let named = one_or_several(cx, section, "key", (expected, hint));
            named.into_iter().map(column_of_key).collect()
        }
    };
    for (n, named) in key.iter().enumerate() {
        // The same text is told as such.
        let is_twin = |earlier: &Key| earlier.name == named.name && earlier.of.text != named.of.text;
        if key[..n].iter().any(is_twin) {
            let hint = "give each a name, like key = { user_id = \"user.id\" }";
            cx.error(named.of.at, format!("the key names `{}` twice: {hint}", named.name));
        }
    }
    key
}

/// A name or a list of them, each once. What messages say: what was expected, and what to write where the key is missing.
pub(super) fn one_or_several(
    cx: &mut Context,
    section: &Section,
    key: &str,
    (expected, hint): (&str, &str),
) -> Vec<Named> {
    let Some(entry) = section.get(key) else {
        section.missing(cx, key, hint);
        return vec![];
    };
    let named = match &entry.value.kind {
        Kind::Array(_) => section.list(cx, key).unwrap_or_default(),
        Kind::String(_) => section.named(cx, key).into_iter().collect(),
        Kind::Broken => vec![],
        other => {
            cx.error(entry.value.at, format!("`{key}` must be {expected}, not {}", other.describe()));
            vec![]
        }
    };
    for (n, twice) in named.iter().enumerate() {
        if named[..n].iter().any(|earlier| earlier.text == twice.text) {
            cx.error(twice.at, format!("the {key} names `{}` twice", twice.text));
        }
    }
    named
}

/// The list whose elements are events.
fn explode(cx: &mut Context, section: &Section, sources: &[SourceId]) -> Option<Named> {
    let list = section.named(cx, "explode")?;
    if sources.len() > 1 {
        cx.error(list.at, "a group over several sources explodes no list: make a group for each source");
    }
    Some(list)
}

/// A column is called by its own name, wherever it lies.
fn column_of_key(of: Named) -> Key {
    let name = Path::parse(&of.text).map_or_else(|| of.text.clone(), |path| path.last().to_owned());
    Key { name, of, is_sql: false }
}

/// `key = { email = "lower(email)" }`
fn named_keys(cx: &mut Context, section: &Section, entry: &Entry) -> Vec<Key> {
    let Some(table) = Section::any(cx, format!("`key` of {}", section.what), entry) else { return Vec::new() };
    if table.entries().next().is_none() {
        cx.error(entry.at, "`key` is empty: expected at least one, like { email = \"lower(email)\" }");
    }
    let key = |entry: &Entry| {
        name_is_plain(cx, "key column", &entry.name, entry.at, "");
        let text = string(cx, &entry.name, &entry.value)?.text.clone();
        Some(Key { name: entry.name.clone(), of: Named { text, at: entry.value.at }, is_sql: true })
    };
    table.entries().filter_map(key).collect()
}

fn read_window(cx: &mut Context, group: &str, entry: &Entry) -> Windowed {
    window(cx, group, entry).map_or(Windowed::Unknown, Windowed::Window)
}

fn window(cx: &mut Context, group: &str, entry: &Entry) -> Option<Window> {
    const EXAMPLES: &str = "{ tumbling = \"1h\" }, { hopping = \"1h\", every = \"15m\" } or { session = \"30m\" }";
    if matches!(entry.value.kind, Kind::String(_)) {
        let hint = "a trailing window goes to each column: tx = { agg = \"count\", window = \"1h\" }";
        cx.error(entry.value.at, format!("a group's `window` is a table, {EXAMPLES}; {hint}"));
        return None;
    }
    let section = Section::open(cx, format!("the window of feature group `{group}`"), entry, &WINDOW_KEYS)?;
    let kind = |entry: &Entry| WindowKind::named(&entry.name).map(|kind| (kind, entry.at));
    let kinds: Vec<(WindowKind, At)> = section.entries().filter_map(kind).collect();
    let [(kind, _)] = *kinds.as_slice() else {
        match kinds.get(1) {
            Some((_, second)) => cx.error(*second, format!("a group has one window: expected {EXAMPLES}")),
            None if section.entries().any(|entry| !["every", "zone", "starts"].contains(&entry.name.as_str())) => {}
            None => cx.error(entry.at, format!("{} is of no kind: expected {EXAMPLES}", section.what)),
        }
        return None;
    };
    let size = section.duration(cx, kind.name(), SOME);
    let every = section.duration(cx, "every", SOME);
    match (kind, section.get("every")) {
        (WindowKind::Hopping, None) => {
            section.missing(cx, "every", "say how far apart the windows start, like every = \"15m\"");
        }
        (WindowKind::Hopping, Some(_)) | (WindowKind::Tumbling | WindowKind::Session, None) => {}
        (WindowKind::Tumbling | WindowKind::Session, Some(every)) => {
            cx.error(every.at, "`every` goes with `hopping` only")
        }
    }
    let asked = calendar::read(cx, &section, kind);
    if !matches!(asked, calendar::CalendarKeys::Nothing) {
        let size = size?;
        let every = if kind == WindowKind::Hopping { every? } else { size };
        return calendar::windows(cx, &asked, (size, every)).map(Window::Calendar);
    }
    match kind {
        WindowKind::Tumbling => Some(Window::Tumbling { size: size? }),
        WindowKind::Session => Some(Window::Session { gap: size? }),
        WindowKind::Hopping => hopping(cx, entry, size?, every?),
    }
}

/// What is meant, perhaps, and costs or shows more or less than one thinks.
fn warn_of_window(cx: &mut Context, window: Window, at: At, tick: Span) {
    let shortest = match window {
        Window::Trailing => return,
        Window::Tumbling { size } => size,
        Window::Hopping { size, every } => size.min(every),
        Window::Calendar(calendar) => Span::from_us(calendar.size().min(calendar.every()) * duration::DAY_US),
        Window::Session { gap } => gap,
    };
    if shortest < tick {
        let tick = duration::display(tick);
        cx.warning(at, format!("this is shorter than the tick of {tick}: rows may come and leave the store unseen"));
    }
    if let Window::Hopping { size, every } = window
        && size < every
    {
        let (size, every) = (duration::display(size), duration::display(every));
        let message = format!("windows of {size} every {every} leave gaps, and an event in a gap is in none");
        cx.warning(at, format!("{message}: in SQL, HOP has the slide before the size"));
    }
    if let Window::Hopping { size, every } = window
        && size.us() / every.us() >= HOPS_WARNED_MIN
    {
        let windows = size.us() / every.us();
        cx.warning(
            at,
            format!("each event is in {windows} windows, and changes as many rows: a longer `every` costs less"),
        );
    }
}

fn hopping(cx: &mut Context, entry: &Entry, size: Span, every: Span) -> Option<Window> {
    if size.us() / every.us() > HOPS_MAX {
        let hint = format!("at most {HOPS_MAX}: make `every` longer");
        cx.error(entry.at, format!("each event would lie in {} windows: expected {hint}", size.us() / every.us()));
        return None;
    }
    Some(Window::Hopping { size, every })
}

fn columns(cx: &mut Context, section: &Section, windowed: Windowed, tick: Span) -> Vec<Column> {
    const HINT: &str = "name at least one, like tx = { agg = \"count\", window = \"1h\" }";
    let Some(entry) = section.get("columns") else {
        section.missing(cx, "columns", HINT);
        return Vec::new();
    };
    let what = format!("`columns` of {}", section.what);
    let Some(table) = Section::any(cx, what, entry) else { return Vec::new() };
    if table.entries().next().is_none() && !cx.torn.table(entry.at) {
        cx.error(entry.at, format!("{} has no columns: {HINT}", section.what));
    }
    let mut columns: Vec<column::Placed> = Vec::new();
    for entry in table.entries() {
        for new in column::read(cx, entry, windowed, tick) {
            if let Some(old) = columns.iter().find(|old| old.column.name == new.column.name) {
                let message =
                    format!("column `{}` is there already: {} makes one of that name", new.column.name, old.made_by);
                cx.error(new.at, message);
            } else {
                columns.push(new);
            }
        }
    }
    columns.into_iter().map(|placed| placed.column).collect()
}

/// How long past its end a row stays: at least as long as late events may still correct it.
fn retain(cx: &mut Context, section: &Section, windowed: Windowed, lateness: Span) -> Span {
    let given = section.duration(cx, "retain", Span::ZERO);
    let at = section.get("retain").map_or(section.at, |entry| entry.value.at);
    let (shortest, default, least) = match windowed {
        Windowed::Window(Window::Tumbling { size } | Window::Hopping { size, .. }) => {
            (lateness, lateness + size, "the source's `lateness`")
        }
        Windowed::Window(Window::Calendar(calendar)) => {
            (lateness, lateness + Span::from_us(calendar.size() * duration::DAY_US), "the source's `lateness`")
        }
        Windowed::Window(Window::Session { gap }) => {
            (lateness + gap, lateness + gap, "the source's `lateness` plus the session's gap")
        }
        Windowed::Window(Window::Trailing) | Windowed::Trailing => {
            if let Some(entry) = section.get("retain") {
                cx.error(
                    entry.at,
                    "`retain` goes with a group's `window` only: a trailing row goes when its events do",
                );
            }
            return Span::ZERO;
        }
        Windowed::Unknown => return Span::ZERO,
    };
    match given {
        Some(span) if span < shortest => {
            let expected = format!("expected at least {}, {least}", duration::display(shortest));
            cx.error(at, format!("`retain` is too short, late events could correct rows that are gone: {expected}"));
            default
        }
        given => given.unwrap_or(default),
    }
}

/// A backfill writes every trailing group's columns side by side, as `GROUP__COLUMN`.
pub fn check_backfill_names(cx: &mut Context, groups: &[Group]) {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for group in groups.iter().filter(|group| group.window == Window::Trailing) {
        let derived = group.derived.iter().map(|column| (&column.name, column.at));
        for (column, at) in group.columns.iter().map(|column| (&column.name, column.at)).chain(derived) {
            let name = format!("{}__{column}", group.name);
            match seen.iter().find(|(earlier, of)| *earlier == name && *of != group.name) {
                Some((_, of)) => {
                    let both = format!("group `{of}` has a column of the same name there");
                    cx.error(at, format!("a backfill would call this column `{name}`, and {both}"));
                }
                None => seen.push((name, &group.name)),
            }
        }
    }
}
