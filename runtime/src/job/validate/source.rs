//! `[sources.NAME]`: where events are kept, where they arrive, and how the two meet.

use arrow::datatypes::DataType;
use headwater_clocks::{MatchTime, Span};
use headwater_connectors::Path;
use headwater_connectors::history::HISTORIES;
use headwater_connectors::settings::{Choice, choices};
use headwater_connectors::stream::STREAMS;

use super::{about, keyed, types};
use crate::base::fault::At;
use crate::job::duration::HOUR_US;
use crate::job::raw::{Entry, Kind, Table};
use crate::job::section::{Choices, Context, Section, name_is_plain, string};
use crate::job::settings::SectionSettings;
use crate::job::{History, Named, Seam, SeamBy, Source, Stream, TimeUnit, instant};

pub const KEYS: [&str; 12] = [
    "event_time",
    "arrival_time",
    "lateness",
    "future_limit",
    "time_unit",
    "schema",
    "history",
    "stream",
    "seam",
    "description",
    "owner",
    "tags",
];

/// Reads a source. It is always returned, so that the groups find it, with empty names where something is missing.
pub fn read(cx: &mut Context, entry: &Entry) -> Source {
    read_as(cx, entry, false)
}

/// Reads a table, which is read as a source is.
pub fn read_table(cx: &mut Context, entry: &Entry) -> Source {
    read_as(cx, entry, true)
}

fn read_as(cx: &mut Context, entry: &Entry, is_table: bool) -> Source {
    let name = entry.name.as_str();
    let kind = if is_table { "table" } else { "source" };
    name_is_plain(cx, kind, name, entry.at, "");
    let none = Table::default();
    let more: &[&str] = if is_table { &keyed::TABLE_KEYS } else { &keyed::SOURCE_KEYS };
    let section = Section::open(cx, format!("{kind} `{name}`"), entry, &[&KEYS, more].concat())
        .unwrap_or(Section::stand_in(entry, &none));
    let hint = "name the column with the time at which an event happened";
    let history = section.get("history").and_then(|entry| history(cx, name, entry));
    let stream = section.get("stream").and_then(|entry| stream(cx, name, entry));
    let partitions = history.as_ref().map(|history: &History| history.partitions.clone()).unwrap_or_default();
    let source = Source {
        name: name.into(),
        at: entry.at,
        event_time: match is_table {
            true => section.named(cx, "event_time"),
            false => Some(section.required(cx, "event_time", hint)),
        },
        arrival_time: section.named(cx, "arrival_time"),
        lateness: section.duration(cx, "lateness", Span::ZERO).unwrap_or(if is_table { Span::DAY } else { Span::ZERO }),
        future_limit: section.duration(cx, "future_limit", Span::ZERO).unwrap_or(Span::from_us(HOUR_US)),
        time_unit: time_unit(cx, &section),
        schema: section.get("schema").and_then(|entry| schema(cx, name, entry, &partitions)),
        history,
        stream,
        seam: Seam { at: section.at, by: SeamBy::Time, allow_gap: false },
        table: is_table.then(|| keyed::table(cx, &section)),
        replaced: if is_table { None } else { keyed::replaced(cx, &section) },
        about: about::read(cx, &section),
    };
    keyed::check(cx, &section, &source);
    check_inputs(cx, &section);
    check_schema(cx, &section, &source);
    let Some(seam) = seam(cx, &section) else { return source };
    let source = Source { seam, ..source };
    check_seam(cx, &section, &source);
    keyed::check_seam(cx, &source);
    source
}

fn history(cx: &mut Context, source: &str, entry: &Entry) -> Option<History> {
    let kinds = choices(HISTORIES.iter().copied());
    let choices = Choices { tag: "type", default: None, choices: &kinds, common: &["complete_until", "partitions"] };
    let (section, chosen) = Section::choose(cx, format!("the history of source `{source}`"), entry, &choices)?;
    let complete_until = complete_until(cx, &section);
    let kind = HISTORIES[chosen?];
    let config = kind.read(&mut SectionSettings { cx, section: &section });
    let partitions = section.get("partitions").map(|entry| partitions(cx, source, entry)).unwrap_or_default();
    Some(History { at: entry.at, kind, config, complete_until, partitions })
}

/// `partitions = { dt = "date" }`: directories that are columns.
fn partitions(cx: &mut Context, source: &str, entry: &Entry) -> Vec<(Named, DataType)> {
    let what = format!("`partitions` of source `{source}`");
    let columns = typed(cx, what, entry, "name its directories, like { dt = \"date\" }").0;
    let is_nested = |(named, data_type): &&(Named, DataType)| {
        data_type.is_nested() || matches!(Path::parse(&named.text), Some(path) if path.is_nested())
    };
    for (named, _) in columns.iter().filter(is_nested) {
        cx.error(named.at, format!("a directory cannot be a nested column: `{}`", named.text));
    }
    columns
}

fn complete_until(cx: &mut Context, section: &Section) -> Option<MatchTime> {
    let value = &section.get("complete_until")?.value;
    let text = match &value.kind {
        Kind::Datetime(text) => text,
        _ => &string(cx, "complete_until", value)?.text,
    };
    let us = instant::parse(text);
    if us.is_none() {
        let expected = "expected RFC 3339 with an offset, like \"2026-11-01T00:00:00Z\"";
        cx.error(value.at, format!("`complete_until`: `{text}` is not a time: {expected}"));
    }
    us.map(MatchTime::from_us)
}

fn stream(cx: &mut Context, source: &str, entry: &Entry) -> Option<Stream> {
    let kinds = choices(STREAMS.iter().copied());
    let choices = Choices { tag: "type", default: None, choices: &kinds, common: &[] };
    let (section, chosen) = Section::choose(cx, format!("the stream of source `{source}`"), entry, &choices)?;
    let config = STREAMS[chosen?].read(&mut SectionSettings { cx, section: &section });
    Some(Stream { at: entry.at, config })
}

fn time_unit(cx: &mut Context, section: &Section) -> TimeUnit {
    const UNITS: [(&str, TimeUnit); 4] = [
        ("s", TimeUnit::Second),
        ("ms", TimeUnit::Millisecond),
        ("us", TimeUnit::Microsecond),
        ("ns", TimeUnit::Nanosecond),
    ];
    let Some((text, at)) = section.text(cx, "time_unit") else { return TimeUnit::Millisecond };
    match UNITS.iter().find(|(name, _)| *name == text.text) {
        Some((_, unit)) => *unit,
        None => {
            cx.error(at, format!("unknown `time_unit` `{}`: expected `s`, `ms`, `us` or `ns`", text.text));
            TimeUnit::Millisecond
        }
    }
}

/// `[sources.NAME.schema]`; `None` too where a type is wrong, so that nothing is said of columns it may have meant.
fn schema(
    cx: &mut Context,
    source: &str,
    entry: &Entry,
    partitions: &[(Named, DataType)],
) -> Option<Vec<(Named, DataType)>> {
    let what = format!("the schema of source `{source}`");
    let (columns, whole) = typed(cx, what, entry, "name its columns, like ts = \"timestamp\"");
    let (_, faults) = super::schema::with_faults(&columns, partitions);
    let fits = faults.is_empty();
    faults.into_iter().for_each(|(at, message)| cx.error(at, message));
    (whole && fits && !cx.torn.table(entry.at)).then_some(columns)
}

/// A table of names and types, and whether all of them could be read.
fn typed(cx: &mut Context, what: String, entry: &Entry, hint: &str) -> (Vec<(Named, DataType)>, bool) {
    let Some(section) = Section::any(cx, what, entry) else { return (vec![], false) };
    let (mut columns, mut whole) = (vec![], true);
    for entry in section.entries() {
        add_typed(cx, "", entry, &mut columns, &mut whole);
    }
    if section.entries().next().is_none() {
        cx.error(entry.at, format!("{} is empty: {hint}", section.what));
        whole = false;
    }
    (columns, whole)
}

/// Without quotes around a path, TOML makes tables of it: `payload.user.id` is a table `payload`.
fn add_typed(cx: &mut Context, around: &str, entry: &Entry, columns: &mut Vec<(Named, DataType)>, whole: &mut bool) {
    if let Kind::Table(table) = &entry.value.kind {
        let around = format!("{around}{}.", Path::of([entry.name.as_str()]));
        return table.entries.iter().for_each(|entry| add_typed(cx, &around, entry, columns, whole));
    }
    let text = match around {
        "" => entry.name.clone(),
        around => format!("{around}{}", Path::of([entry.name.as_str()])),
    };
    match string(cx, &entry.name, &entry.value).map(|text| types::parse(&text.text)) {
        Some(Ok(data_type)) => columns.push((Named { text, at: entry.at }, data_type)),
        Some(Err(message)) => {
            cx.error(entry.value.at, message);
            *whole = false;
        }
        None => *whole = false,
    }
}

/// A way to match the records of history and stream: its name, its keys, and how they are read.
type SeamKind = (&'static str, &'static [&'static str], fn(&mut Context, &Section) -> SeamBy);

const SEAMS: [SeamKind; 3] = [
    ("time", &[], |_, _| SeamBy::Time),
    ("offset", &["partition", "offset"], |cx, section| SeamBy::Offset {
        partition: section.required(cx, "partition", "name the history's column with the record's partition"),
        offset: section.required(cx, "offset", "name the history's column with the record's offset"),
    }),
    ("id", &["id", "overlap"], |cx, section| {
        let id = section.required(cx, "id", "name the column that identifies an event");
        if section.get("overlap").is_none() {
            section.missing(cx, "overlap", "say how far back ids are compared, like overlap = \"1d\"");
        }
        SeamBy::Id { id, overlap: section.duration(cx, "overlap", Span::ZERO).unwrap_or(Span::ZERO) }
    }),
];

/// All that some seam may have.
pub fn seam_keys() -> Vec<&'static str> {
    ["by", "allow_gap"].into_iter().chain(SEAMS.iter().flat_map(|(_, keys, _)| keys.iter().copied())).collect()
}

/// `None`: too wrong to say what it means.
fn seam(cx: &mut Context, source: &Section) -> Option<Seam> {
    let Some(entry) = source.get("seam") else {
        return Some(Seam { at: source.at, by: SeamBy::Time, allow_gap: false });
    };
    let kinds = SEAMS.map(|(name, keys, _)| Choice { name, keys: keys.to_vec() });
    let choices = Choices { tag: "by", default: Some("time"), choices: &kinds, common: &["allow_gap"] };
    let (section, by) = Section::choose(cx, format!("the seam of {}", source.what), entry, &choices)?;
    let allow_gap = section.flag(cx, "allow_gap");
    let (_, _, read) = SEAMS[by?];
    let by = read(cx, &section);
    Some(Seam { at: entry.at, by, allow_gap })
}

fn check_inputs(cx: &mut Context, section: &Section) {
    if section.get("history").is_none() && section.get("stream").is_none() && !cx.torn.table(section.at) {
        let hint = "give [sources.NAME.history], [sources.NAME.stream] or both";
        cx.error(section.at, format!("{} has neither a history nor a stream: {hint}", section.what));
    }
}

fn check_schema(cx: &mut Context, section: &Section, source: &Source) {
    let written = section.get("schema");
    // A history that is too wrong to be read may be Parquet or not.
    let known = section.get("history").is_none() || source.history.is_some();
    let gives_columns = source.history.as_ref().map(|history| history.kind).filter(|kind| kind.gives_columns());
    match (written, gives_columns) {
        (Some(entry), Some(kind)) => {
            let (what, title) = (&section.what, kind.title());
            let message = format!("{what} has a {title} history, which gives its columns: leave out `schema`");
            cx.error(entry.at, message);
        }
        (None, None) if source.stream.as_ref().is_some_and(|stream| stream.config.gives_columns()) => {}
        (None, None) if known && (source.history.is_some() || section.get("stream").is_some()) => {
            let kinds = HISTORIES.iter().filter(|kind| kind.gives_columns()).map(|kind| kind.title());
            let kinds = kinds.collect::<Vec<_>>().join(" or ");
            let of = if section.what.starts_with("table") { "tables" } else { "sources" };
            let how = format!("name the columns in [{of}.NAME.schema], like ts = \"timestamp\"");
            section.missing(cx, "schema", &format!("without a {kinds} history, {how}"));
        }
        _ => {}
    }
}

fn check_seam(cx: &mut Context, section: &Section, source: &Source) {
    let complete_until: Option<At> = section.get("history").and_then(|history| match &history.value.kind {
        Kind::Table(table) => table.get("complete_until").map(|entry| entry.at),
        _ => None,
    });
    let by_time = matches!(source.seam.by, SeamBy::Time);
    if let Some(at) = complete_until.filter(|_| !by_time) {
        cx.error(at, "`complete_until` goes with a seam by time only: leave it out, or write by = \"time\"");
    }
    let (history, stream) = (section.get("history").is_some(), section.get("stream").is_some());
    let by_event_time = by_time && section.get("arrival_time").is_none() && history && stream;
    if by_event_time && complete_until.is_none() && !source.seam.allow_gap && !cx.torn.table(section.at) {
        let why = "a seam by time would cut by event time and lose events that came late";
        let hint = "name an `arrival_time`, give the history `complete_until`, or set allow_gap = true in its seam";
        cx.error(source.seam.at, format!("{} has no `arrival_time`: {why}; {hint}", section.what));
    }
    // By offset, a history alone still says which records came before which; and a stream alone may have lost records at a restart.
    let by_offset = matches!(source.seam.by, SeamBy::Offset { .. });
    let means_something = history && (stream || by_offset) || stream && source.seam.allow_gap;
    if section.get("seam").is_some() && !means_something && (history || stream) {
        let lacks = if history { "stream" } else { "history" };
        cx.warning(source.seam.at, format!("{} has a seam but no {lacks} to join: it has no effect", section.what));
    }
}
