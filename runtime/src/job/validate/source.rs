//! `[sources.NAME]`: where events are kept, where they arrive, and how the two meet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::types;
use crate::base::fault::At;
use crate::job::duration::HOUR_US;
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind, Table};
use crate::job::section::{Choices, Context, Section, name_is_plain, string};
use crate::job::{FileKind, History, Kafka, Named, Seam, SeamBy, Source, Stream, TimeUnit, instant, paths, secrets};

const KEYS: [&str; 9] =
    ["event_time", "arrival_time", "lateness", "future_limit", "time_unit", "schema", "history", "stream", "seam"];

const HISTORY: Choices = Choices {
    tag: "type",
    default: None,
    choices: &[("parquet", &[]), ("jsonl", &[])],
    common: &["path", "complete_until"],
};

const STREAM: Choices = Choices {
    tag: "type",
    default: None,
    choices: &[("kafka", &["brokers", "topic", "format", "properties"]), ("jsonl", &["path", "first_offset"])],
    common: &[],
};

const SEAM: Choices = Choices {
    tag: "by",
    default: Some("time"),
    choices: &[("time", &[]), ("offset", &["partition", "offset"]), ("id", &["id", "overlap"])],
    common: &["allow_gap"],
};

/// Reads a source. It is always returned, so that the groups find it, with empty names where something is missing.
pub fn read(cx: &mut Context, entry: &Entry) -> Source {
    let name = entry.name.as_str();
    name_is_plain(cx, "source", name, entry.at, "");
    let none = Table::default();
    let section =
        Section::open(cx, format!("source `{name}`"), entry, &KEYS).unwrap_or(Section::stand_in(entry, &none));
    let hint = "name the column with the time at which an event happened";
    let history = section.get("history").and_then(|entry| history(cx, name, entry));
    let stream = section.get("stream").and_then(|entry| stream(cx, name, entry));
    let source = Source {
        name: name.into(),
        at: entry.at,
        event_time: section.required(cx, "event_time", hint),
        arrival_time: section.named(cx, "arrival_time"),
        lateness_us: section.duration(cx, "lateness", 0).unwrap_or(0),
        future_limit_us: section.duration(cx, "future_limit", 0).unwrap_or(HOUR_US),
        time_unit: time_unit(cx, &section),
        schema: section.get("schema").and_then(|entry| schema(cx, name, entry)),
        history,
        stream,
        seam: Seam { at: section.at, by: SeamBy::Time, allow_gap: false },
    };
    check_inputs(cx, &section);
    check_schema(cx, &section, &source);
    let Some(seam) = seam(cx, &section) else { return source };
    let source = Source { seam, ..source };
    check_seam(cx, &section, &source);
    source
}

/// The schema that the job file gives.
pub fn written_schema(source: &Source) -> Option<SchemaRef> {
    let fields = source.schema.as_ref()?.iter().map(|(name, ty)| Field::new(&name.text, ty.clone(), true));
    Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

fn history(cx: &mut Context, source: &str, entry: &Entry) -> Option<History> {
    let (section, kind) = Section::choose(cx, format!("the history of source `{source}`"), entry, &HISTORY)?;
    if section.get("path").is_none() {
        section.missing(cx, "path", "give a glob of its files, like path = \"data/*.parquet\"");
    }
    let path = paths::read(cx, &section, "path", paths::glob);
    let complete_until_us = complete_until(cx, &section);
    let kind = if kind? == "parquet" { FileKind::Parquet } else { FileKind::Jsonl };
    Some(History { at: entry.at, kind, path: path.unwrap_or_default(), complete_until_us })
}

fn complete_until(cx: &mut Context, section: &Section) -> Option<i64> {
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
    us
}

fn stream(cx: &mut Context, source: &str, entry: &Entry) -> Option<Stream> {
    let (section, kind) = Section::choose(cx, format!("the stream of source `{source}`"), entry, &STREAM)?;
    if kind? == "kafka" {
        if let Some((format, at)) = section.text(cx, "format").filter(|(format, _)| format.text != "json") {
            cx.error(at, format!("unknown `format` `{}`: {}", format.text, expected(&format.text, ["json"])));
        }
        return Some(Stream::Kafka { at: entry.at, kafka: kafka(cx, &section) });
    }
    if section.get("path").is_none() {
        section.missing(cx, "path", "give a glob of its files, like path = \"stream/*.jsonl\": each is a partition");
    }
    Some(Stream::Jsonl {
        at: entry.at,
        path: paths::read(cx, &section, "path", paths::glob).unwrap_or_default(),
        first_offset: section.integer(cx, "first_offset", 0, i64::MAX).unwrap_or(0),
    })
}

/// Reads `brokers`, `topic` and `properties`.
pub fn kafka(cx: &mut Context, section: &Section) -> Kafka {
    let brokers = section.required(cx, "brokers", "say where Kafka is, like brokers = \"localhost:9092\"");
    let topic = section.required(cx, "topic", "name the topic");
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !topic.text.chars().all(named) || topic.text.len() > 249 {
        let expected = "expected up to 249 letters, digits, `.`, `_` and `-`";
        cx.error(topic.at, format!("`{}` is no name of a topic: {expected}", topic.text));
    }
    let mut properties = BTreeMap::new();
    if let Some(entry) = section.get("properties") {
        let what = format!("`properties` of {}", section.what);
        for entry in Section::any(cx, what, entry).iter().flat_map(|table| table.entries()) {
            property(cx, "", entry, &mut properties);
        }
    }
    Kafka { brokers: brokers.text, topic: topic.text, properties }
}

/// A librdkafka property. Without quotes around its name, TOML makes tables of it: `ssl.key.pem` is a table `ssl`.
fn property(cx: &mut Context, prefix: &str, entry: &Entry, properties: &mut BTreeMap<String, String>) {
    let name = format!("{prefix}{}", entry.name);
    let text = match &entry.value.kind {
        Kind::Table(table) => {
            table.entries.iter().for_each(|entry| property(cx, &format!("{name}."), entry, properties));
            return;
        }
        Kind::String(text) => {
            cx.secrets.extend(text.filled.iter().cloned());
            text.text.clone()
        }
        Kind::Integer(integer) => integer.to_string(),
        Kind::Float(float) => float.to_string(),
        Kind::Boolean(flag) => flag.to_string(),
        Kind::Broken => return,
        other => {
            let message =
                format!("the property `{name}` must be a string, a number or a boolean, not {}", other.describe());
            return cx.error(entry.value.at, message);
        }
    };
    if name == "bootstrap.servers" || name == "metadata.broker.list" {
        cx.error(entry.at, format!("the property `{name}` is written as `brokers`, beside `topic`"));
    }
    if secrets::is_secret_property(&name) {
        cx.secrets.push(text.clone());
    }
    if properties.insert(name.clone(), text).is_some() {
        cx.error(entry.at, format!("the property `{name}` is given twice"));
    }
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
fn schema(cx: &mut Context, source: &str, entry: &Entry) -> Option<Vec<(Named, DataType)>> {
    let section = Section::any(cx, format!("the schema of source `{source}`"), entry)?;
    let mut columns = Vec::new();
    let mut whole = true;
    for entry in section.entries() {
        let text = string(cx, &entry.name, &entry.value);
        let ty = text.map(|text| types::parse(&text.text));
        match ty {
            Some(Ok(ty)) => columns.push((Named { text: entry.name.clone(), at: entry.at }, ty)),
            Some(Err(message)) => cx.error(entry.value.at, message),
            None => {}
        }
        whole &= columns.last().is_some_and(|(name, _)| name.at == entry.at);
    }
    if section.entries().next().is_none() {
        cx.error(entry.at, format!("{} is empty: name its columns, like ts = \"timestamp\"", section.what));
        whole = false;
    }
    (whole && !cx.torn.table(entry.at)).then_some(columns)
}

/// `None`: too wrong to say what it means.
fn seam(cx: &mut Context, source: &Section) -> Option<Seam> {
    let Some(entry) = source.get("seam") else {
        return Some(Seam { at: source.at, by: SeamBy::Time, allow_gap: false });
    };
    let (section, by) = Section::choose(cx, format!("the seam of {}", source.what), entry, &SEAM)?;
    let allow_gap = section.flag(cx, "allow_gap");
    let by = match by? {
        "offset" => SeamBy::Offset {
            partition: section.required(cx, "partition", "name the history's column with the record's partition"),
            offset: section.required(cx, "offset", "name the history's column with the record's offset"),
        },
        "id" => {
            let id = section.required(cx, "id", "name the column that identifies an event");
            if section.get("overlap").is_none() {
                section.missing(cx, "overlap", "say how far back ids are compared, like overlap = \"1d\"");
            }
            SeamBy::Id { id, overlap_us: section.duration(cx, "overlap", 0).unwrap_or(0) }
        }
        _ => SeamBy::Time,
    };
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
    let parquet = source.history.as_ref().is_some_and(|history| history.kind == FileKind::Parquet);
    match written {
        Some(entry) if parquet => {
            let message =
                format!("{} has a Parquet history, which gives its columns: leave out `schema`", section.what);
            cx.error(entry.at, message);
        }
        None if known && !parquet && (source.history.is_some() || section.get("stream").is_some()) => {
            let hint = "without a Parquet history, name the columns in [sources.NAME.schema], like ts = \"timestamp\"";
            section.missing(cx, "schema", hint);
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
