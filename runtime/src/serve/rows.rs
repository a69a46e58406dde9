//! Reading rows back: which group and sink are meant, how a key is written, and a row as `get` and `export` print it.

use std::sync::Arc;

use headwater_clocks::{EventTime, Tick, WallClock};
use headwater_connectors::format::json::JsonDecoder;
use headwater_connectors::format::text::{key_text as json_of_key, write_string};
use headwater_connectors::format::{Decoder, Message};
use headwater_connectors::sink::{HeldStore, JobRows, KEY_TEXT_BYTES_MAX, Lookup, RowText, SINKS, Takes, texts};
use headwater_connectors::{Path, Wanted};
use headwater_operators::key_codec::KeyCodec;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema};

use crate::base::failure::Failure;
use crate::base::id::{Id, RowsId, SinkId};
use crate::catalog::opened::Opened;
use crate::job::nearest::expected;
use crate::job::validate::types;
use crate::job::{Job, TimeUnit, instant};
use crate::observe::earlier::Earlier;
use crate::serve_log::{Noted, ServeLog};
use crate::start::stores::shapes;

/// The group or view of this name.
pub fn group(job: &Job, name: &str) -> Result<RowsId, Failure> {
    let names = || job.all_rows().map(|rows| job.name_of(rows));
    let unknown = || Failure::Usage(format!("unknown feature group `{name}`: {}", expected(name, names())));
    job.all_rows().find(|rows| job.name_of(*rows) == name).ok_or_else(unknown)
}

/// The sink that a group's rows are read from: the one named, or the first store that holds them.
pub fn sink(job: &Job, group: RowsId, named: Option<&str>) -> Result<SinkId, Failure> {
    let stores = || job.sinks.pairs().filter(|(_, sink)| sink.to.store().is_some());
    let name = job.name_of(group);
    let Some(named) = named else {
        let hint = format!("add a sink of type {} that has it", kinds_of_stores("`"));
        let first = stores().find(|(_, sink)| sink.rows.contains(&group)).map(|(id, _)| id);
        return first.ok_or_else(|| Failure::Usage(format!("no store of the job holds `{name}`: {hint}")));
    };
    let names = stores().map(|(_, sink)| sink.name.as_str());
    match job.sinks.find(|sink| sink.name == named) {
        None => Err(Failure::Usage(format!("unknown sink `{named}`: {}", expected(named, names)))),
        Some(id) if job.sinks[id].to.store().is_none() => Err(Failure::Usage(format!(
            "sink `{named}` is a changelog, which holds no rows: name a {} one",
            kinds_of_stores("")
        ))),
        Some(id) if !job.sinks[id].rows.contains(&group) => {
            Err(Failure::Usage(format!("sink `{named}` does not hold `{name}`: it is not among its `features`")))
        }
        Some(id) => Ok(id),
    }
}

/// Opens a sink to read rows. `held`: the store, where the job runs in this process and has it to itself.
pub fn lookup(opened: &Opened, sink: SinkId, held: Option<&Arc<dyn HeldStore>>) -> Result<Box<dyn Lookup>, Failure> {
    if let Some(held) = held {
        return Ok(held.lookup());
    }
    let store = opened.job.sinks[sink].to.store().unwrap_or_else(|| panic!("{sink:?} holds no rows"));
    let groups = shapes(opened);
    let lookup = store.lookup(&JobRows { job: &opened.job.name, groups: &groups });
    lookup.map_err(|e| Failure::Running(e.to_string()))
}

/// The kinds of sinks that hold rows, as a choice.
fn kinds_of_stores(quote: &str) -> String {
    let stores = SINKS.iter().filter(|kind| kind.takes() == Takes::Rows);
    stores.map(|kind| format!("{quote}{}{quote}", kind.name())).collect::<Vec<_>>().join(" or ")
}

/// One row of a key, or each of its windows.
pub struct RowQuery {
    pub group: RowsId,
    /// The key's JSON text.
    pub key: String,
    /// Its columns.
    pub columns: Vec<ArrayRef>,
    pub window_start: Option<EventTime>,
    /// The tick at which the rows were so; `None`: the newest.
    pub at: Option<Tick>,
}

impl RowQuery {
    /// `values`: `COL=VALUE`, one for each key column; `window`: a start; `at`: a time, of which the last tick counts.
    pub fn parse(
        opened: &Opened,
        group: RowsId,
        values: &[String],
        (window, at): (Option<&str>, Option<&str>),
    ) -> Result<RowQuery, Failure> {
        let shape = opened.shape(group);
        if window.is_some() && !shape.windowed() {
            return Err(Failure::Usage(format!("`{}` has no windows: leave out --window", shape.name)));
        }
        if at.is_some() {
            has_history(&opened.job, group)?;
        }
        let window_start = window.map(time).transpose()?.map(EventTime::from_us);
        let at = at.map(time).transpose()?.map(|us| Tick::down(Tick::from_us(us), opened.job.tick));
        let named = key(opened, group, values)?;
        Ok(RowQuery {
            group,
            key: json_of_key(&named, 0..shape.keys, 0),
            columns: named.columns()[..shape.keys].to_vec(),
            window_start,
            at,
        })
    }
}

/// In microseconds.
fn time(text: &str) -> Result<i64, Failure> {
    instant::parse(text).or_else(|| text.parse().ok()).ok_or_else(|| {
        Failure::Usage(format!("`{text}` is no time: expected one like 2026-01-31T10:00:00Z, or microseconds"))
    })
}

/// Whether earlier rows of a group or a view are kept.
pub fn has_history(job: &Job, group: RowsId) -> Result<(), Failure> {
    if job.history_of(group).is_some() {
        return Ok(());
    }
    let (kind, name) =
        (job.owner(group).view().map_or("features", |view| job.views[view].of.section()), job.name_of(group));
    Err(Failure::Usage(format!(
        "earlier values of `{name}` are not kept: write history = \"10m\" under [{kind}.{name}] to read it at any time of the last ten minutes"
    )))
}

/// Nobody can be asked for them.
pub fn not_running(job: &Job) -> Failure {
    let file = &*job.places.file;
    let hint = if file.is_empty() { String::new() } else { format!(": start it with `headwater run {file}`") };
    Failure::Running(format!("{} is not running, and only a run keeps earlier values{hint}", job.name))
}

/// Earlier values are not a store's.
pub fn sink_at() -> Failure {
    Failure::Usage("--sink and --at do not go together: the run itself keeps earlier values".to_owned())
}

/// The key's columns, as events have them.
fn key(opened: &Opened, group: RowsId, values: &[String]) -> Result<RecordBatch, Failure> {
    let shape = opened.shape(group);
    let fields = &shape.schema.fields()[..shape.keys];
    let names = || fields.iter().map(|f| f.name().as_str());
    let mut given: Vec<Option<&str>> = vec![None; fields.len()];
    for text in values {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::Usage(format!(
                "`{text}` names no value: expected COL=VALUE, like {}=...",
                fields[0].name()
            )));
        };
        let unknown = || format!("`{name}` is no key column of `{}`: {}", shape.name, expected(name, names()));
        let at = names().position(|known| known == name).ok_or_else(|| Failure::Usage(unknown()))?;
        if given[at].replace(value).is_some() {
            return Err(Failure::Usage(format!("`{name}` is given twice")));
        }
    }
    let missing: Vec<&str> = names().zip(&given).filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(|name| format!("{name}=...")).collect();
        return Err(Failure::Usage(format!("the key of `{}` is not whole: add {}", shape.name, missing.join(" "))));
    }
    // A value is read as the one of an event would be: so the two are equal where they mean the same.
    let path = |field: &FieldRef| field.as_ref().clone().with_name(Path::of([field.name().as_str()]).to_string());
    let schema = Schema::new(fields.iter().map(path).collect::<Vec<_>>());
    // A view's times have no unit of their own.
    let source = opened.job.owner(group).group().and_then(|group| opened.graph.events_of(group).next());
    let unit = source.map_or(TimeUnit::Millisecond, |source| opened.job.sources[source].time_unit);
    let mut decoder = JsonDecoder::new(&Wanted { schema: schema.into(), time_unit_ns: unit.ns() });
    let mut record = vec![];
    for (field, value) in fields.iter().zip(given.iter().flatten()) {
        record.push(if record.is_empty() { b'{' } else { b',' });
        write_string(&mut record, field.name());
        record.push(b':');
        write_token(&mut record, field.data_type(), value);
    }
    record.push(b'}');
    decoder.push(&Message::of(&record));
    let decoded = decoder.finish();
    for (i, (field, value)) in fields.iter().zip(given.iter().flatten()).enumerate() {
        if decoded.batch.column(i).is_null(0) {
            let kind = types::display(field.data_type());
            return Err(Failure::Usage(format!(
                "{}: `{value}` is no {kind}{}",
                field.name(),
                example(field.data_type())
            )));
        }
    }
    let schema = Schema::new(fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>());
    decoded.batch.with_schema(schema.into()).map_err(|e| Failure::Running(format!("the key: {e}")))
}

/// A value as JSON, by its column's type; what is no value of it becomes null.
fn write_token(out: &mut Vec<u8>, kind: &DataType, value: &str) {
    let number = serde_json::from_str::<serde_json::Number>(value).is_ok();
    let plain = match kind {
        DataType::Utf8 | DataType::Date32 => false,
        DataType::Boolean => matches!(value, "true" | "false"),
        _ => number,
    };
    if plain { out.extend_from_slice(value.as_bytes()) } else { write_string(out, value) }
}

fn example(kind: &DataType) -> &'static str {
    match kind {
        DataType::Boolean => ": expected true or false",
        DataType::Date32 => ": expected a day like 2026-01-31",
        DataType::Timestamp(..) => ": expected a time like 2026-01-31T10:00:00Z",
        DataType::Decimal128(..) => ": expected a number with no more digits than that",
        _ => "",
    }
}

/// The lines of what was asked for: none where there is no row. `log`: where it is written down that this was served.
pub fn get(
    store: &mut dyn Lookup,
    opened: &Opened,
    asked: &RowQuery,
    log: Option<&ServeLog>,
) -> Result<Vec<String>, Failure> {
    if asked.key.len() > KEY_TEXT_BYTES_MAX {
        return Ok(vec![]); // no store has it, and some would not be asked for it
    }
    let time = WallClock::now();
    let as_of = store.as_of(asked.group.index())?;
    let rows = store.get(asked.group.index(), &asked.key, asked.window_start)?;
    if let Some(log) = log.filter(|log| log.has(&asked.key)) {
        // What a backfill can say of it.
        if !opened.shape(asked.group).windowed() {
            note(log, opened.job.name_of(asked.group), asked, (time, as_of), rows.first());
        }
    }
    Ok(rows.iter().map(|row| line(row, as_of)).collect())
}

/// The same of the rows at an earlier tick. They were served then, if they were: that is not written down once more.
pub fn get_at(earlier: &Earlier, opened: &Opened, asked: &RowQuery, tick: Tick) -> Result<Vec<String>, Failure> {
    let shape = opened.shape(asked.group);
    let types: Vec<DataType> = asked.columns.iter().map(|column| column.data_type().clone()).collect();
    let encoded = KeyCodec::new(&types).and_then(|codec| codec.encode(&asked.columns));
    let key = encoded.map_err(|e| Failure::Running(format!("the key: {e}")))?.value(0).to_vec();
    let Some(rows) = earlier.ask((asked.group, &shape.name), key, tick)? else { return Ok(vec![]) };
    let texts: Vec<RowText> =
        opened.with_derived(asked.group, &rows).iter().flat_map(|rows| texts(shape, rows)).collect();
    let is_asked =
        |row: &&RowText| asked.window_start.is_none_or(|asked| row.window.is_some_and(|(start, _)| start == asked));
    Ok(texts.iter().filter(is_asked).map(|row| line(row, Some(tick))).collect())
}

fn note(
    log: &ServeLog,
    group: &str,
    asked: &RowQuery,
    (time, as_of): (WallClock, Option<Tick>),
    row: Option<&RowText>,
) {
    log.note(Noted {
        group: group.to_owned(),
        key: asked.key.clone(),
        time,
        row: row.map(|row| row.row.clone()),
        changed_at: row.map(|row| row.changed_at),
        as_of,
    });
}

pub fn not_found(group: &str, asked: &RowQuery) -> Failure {
    let key = &asked.key;
    let window = asked.window_start.map_or_else(String::new, |start| {
        format!(" and the window that starts at {start} (without --window: every window of the key)")
    });
    let at = asked.at.map_or_else(String::new, |tick| format!(" at {tick}"));
    Failure::Running(format!("not found: `{group}` has no row of {key}{window}{at}"))
}

/// Every row of a group, a line each.
pub fn export(
    store: &mut dyn Lookup,
    group: RowsId,
    each: &mut dyn FnMut(&str) -> headwater_connectors::Result<()>,
) -> Result<(), Failure> {
    let as_of = store.as_of(group.index())?;
    Ok(store.scan(group.index(), &mut |row| each(&line(&row, as_of)))?)
}

/// A row as `get` and `export` print it. `as_of` is null before the store is whole for the first time.
pub fn line(row: &RowText, as_of: Option<Tick>) -> String {
    let window =
        row.window.map_or_else(String::new, |(start, end)| format!(r#""window":{{"start":"{start}","end":"{end}"}},"#));
    let (key, values, changed_at) = (&row.key, &row.row, row.changed_at);
    let as_of = as_of.map_or_else(|| "null".to_owned(), |as_of| format!(r#""{as_of}""#));
    format!(r#"{{"key":{key},{window}"row":{values},"changed_at":"{changed_at}","as_of":{as_of}}}"#)
}
