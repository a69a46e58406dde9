//! A source, opened: its history, its stream, its schema, and which of its columns are read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_connectors::format::Pins;
use headwater_connectors::history::{History, Pinned, said_by_directories};
use headwater_connectors::stream::Stream;
use headwater_connectors::{DEBEZIUM, KEY, Path, Wanted};
use headwater_expression::Expression;

use super::computed::{self, Computed, ComputedHistory, ComputedStream};
use super::explode;
use super::group::Compiled;
use super::lookup;
use super::opened::{OpenTable, Source};
use super::times::{TimeOf, Times};
use crate::base::failure::Failure;
use crate::base::fault::{At, Faults};
use crate::base::id::{IdVec, SourceId};
use crate::job::validate::schema::written;
use crate::job::{self, Changes, Group, Job, LookIn, Named, SeamBy, columns};

/// Whether streams are opened too, or only what says how rows look.
#[derive(Clone, Copy, PartialEq)]
pub enum Streams {
    /// For a run: what sinks write to is looked at, too.
    Open,
    /// To be read, and nothing is written.
    Read,
    Skip,
}

pub fn look_at_schema(source: &job::Source, faults: &mut Faults) -> Option<SchemaRef> {
    match source.history.as_ref().filter(|h| h.kind.gives_columns() && !h.config.path().is_empty()) {
        Some(h) => match h.open(None, source.time_unit) {
            Ok(history) => history.schema().map(|schema| with_directories(source, Some(history.pinned()), schema)),
            Err(headwater_connectors::Error::Config(message)) => {
                faults.error(h.at, message);
                None
            }
            // The world's fault, and not what is to be told now.
            Err(_) => None,
        },
        None => written(source).map(|schema| with_beside(source, schema)),
    }
}

/// A source's history, and its schema.
pub type HistoryAndSchema = (Option<Arc<dyn History>>, SchemaRef);

/// `None`: it could not be opened, and a fault says why.
pub fn open_history(
    source: &job::Source,
    pinned: Option<&Pinned>,
    pins: &mut Pins,
    faults: &mut Faults,
) -> Result<Option<HistoryAndSchema>, Failure> {
    let mut ok = true;
    let history = match &source.history {
        None => None,
        Some(h) => told(h.open(pinned, source.time_unit), h.at, faults, &mut ok)?,
    };
    if !ok {
        return Ok(None);
    }
    let of_files = history.as_ref().and_then(|h| h.schema());
    let schema = match (of_files.or_else(|| written(source)), &source.stream) {
        (Some(schema), _) => schema,
        (None, Some(stream)) => match told(stream.config.columns(pins), stream.at, faults, &mut ok)? {
            Some(columns) => of_stream(source, columns),
            None => return Ok(None),
        },
        (None, None) => Arc::new(Schema::empty()),
    };
    let schema = with_directories(source, history.as_ref().map(|history| history.pinned()), schema);
    Ok(Some((history, with_beside(source, schema))))
}

/// A schema that tells of directories `dt=...`, which are columns where the history says so.
fn with_directories(source: &job::Source, files: Option<&Pinned>, schema: SchemaRef) -> SchemaRef {
    let meant = directories(source, files).into_iter().map(|(name, data_type)| {
        let meant = format!(
            "its history has directories `{name}=...`, which are columns with partitions = {{ {name} = \"{data_type}\" }}"
        );
        (name, meant)
    });
    columns::with_meant(&schema, meant)
}

/// The directories `dt=...` that a history does not take for columns, and of which type they seem to be.
pub fn directories(source: &job::Source, files: Option<&Pinned>) -> Vec<(String, &'static str)> {
    let is_taken = |name: &str| source.partitions().iter().any(|(named, _)| named.text == name);
    let said = files.and_then(|files| files.files.first()).into_iter().flat_map(|file| said_by_directories(&file.path));
    let said = said.filter(|(name, _)| !is_taken(name));
    said.map(|(name, value)| (name, type_of(&value))).collect()
}

fn type_of(value: &str) -> &'static str {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = value.split('-').collect();
    match parts.as_slice() {
        [year, month, day] if [*year, *month, *day].into_iter().all(is_digits) && year.len() == 4 => "date",
        [number] if is_digits(number) && number.len() < 19 => "int64",
        _ => "string",
    }
}

/// With what a stream knows of its records beside their values. A history has to have it as columns of its own.
fn with_beside(source: &job::Source, schema: SchemaRef) -> SchemaRef {
    let stream = source.stream.as_ref().filter(|_| source.history.is_none());
    let beside = stream.and_then(|stream| stream.config.metadata());
    match beside.filter(|beside| schema.field_with_name(beside.name()).is_err()) {
        Some(beside) => Arc::new(Schema::new([schema.fields().to_vec(), vec![Arc::new(beside)]].concat())),
        None => schema,
    }
}

/// The columns that a stream's records say, with those that directories say.
fn of_stream(source: &job::Source, columns: Option<SchemaRef>) -> SchemaRef {
    let columns = columns.unwrap_or_else(|| Arc::new(Schema::empty()));
    let is_new = |(named, _): &(Named, DataType)| columns.field_with_name(&named.text).is_err();
    let partitions = source.partitions().into_iter().filter(is_new);
    let partitions = partitions.map(|(named, data_type)| Arc::new(Field::new(named.text, data_type, true)));
    Arc::new(Schema::new(columns.fields().iter().cloned().chain(partitions).collect::<Vec<_>>()))
}

/// By source its stream, and a look at where lines go. Where some are not what they should be, faults say why.
pub fn open_streams(
    job: &Job,
    (streams, pins): (Streams, &Pins),
    faults: &mut Faults,
) -> Result<IdVec<SourceId, Option<Arc<dyn Stream>>>, Failure> {
    let open = |source: &job::Source| match source.stream.as_ref().filter(|_| streams != Streams::Skip) {
        None => Ok(None),
        Some(stream) => told(stream.config.open(pins), stream.at, faults, &mut true),
    };
    let opened = job.sources.iter().map(open).collect::<Result<_, Failure>>()?;
    if streams == Streams::Open {
        check_lines(job, faults)?;
    }
    Ok(opened)
}

/// A source's history as it was pinned once. `source`: as it is opened.
pub fn history(conf: &job::Source, source: &Source, pinned: Option<&Pinned>) -> Result<Arc<dyn History>, Failure> {
    let history = conf.history.as_ref().ok_or_else(|| {
        Failure::Running(format!("source {} has no history any more: its ids cannot be compared", conf.name))
    })?;
    Ok(with_computed(history.open(pinned, conf.time_unit)?, &source.computed))
}

/// A history with the columns that are worked out, if there are any.
pub fn with_computed(history: Arc<dyn History>, computed: &Option<Arc<Computed>>) -> Arc<dyn History> {
    match computed.clone() {
        Some(computed) => Arc::new(ComputedHistory { history, computed }),
        None => history,
    }
}

/// Looks whether changelogs and dead letters can go where they are to go.
fn check_lines(job: &Job, faults: &mut Faults) -> Result<(), Failure> {
    let changelogs = job.sinks.iter().filter_map(|sink| Some((sink.to.lines()?, sink.at)));
    for (lines, at) in changelogs.chain([(&job.dead_letters, job.dead_letters_at)]) {
        told(lines.check(), at, faults, &mut true)?;
    }
    Ok(())
}

/// What is the user's fault becomes a fault of the job file; the rest ends the command.
pub fn told<T>(
    result: headwater_connectors::Result<T>,
    at: At,
    faults: &mut Faults,
    ok: &mut bool,
) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(headwater_connectors::Error::Config(message)) => {
            faults.error(at, message);
            *ok = false;
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

/// Which columns are read at all. `viewed`: of a table, those that views read.
pub fn project<'a>(
    (id, source): (SourceId, &job::Source),
    ((history, schema), stream): (HistoryAndSchema, Option<Arc<dyn Stream>>),
    (times, deleted): (Times, Option<Expression>),
    (groups, viewed): (impl Iterator<Item = (&'a Group, &'a Compiled)>, &[String]),
) -> Source {
    let mut names = Names::default();
    let mut computed = vec![];
    let mut time = |names: &mut Names, time: TimeOf, role: &str| match time {
        TimeOf::Column(name) => names.index_of(&name),
        TimeOf::Computed(expression) => {
            let place = names.index_of(&computed::name_of(role));
            expression.columns().iter().for_each(|name| _ = names.index_of(name));
            computed.push((computed::name_of(role), expression));
            place
        }
    };
    let event_time = times.event.map(|event| time(&mut names, event, "event_time"));
    let arrival_time = times.arrival.map(|arrival| time(&mut names, arrival, "arrival_time"));
    let found = |text: &str| columns::find(&schema, text, &source.name).expect("names were checked").name;
    let id_column =
        if let SeamBy::Id { id, .. } = &source.seam.by { Some(names.index_of(&found(&id.text))) } else { None };
    let key: Vec<usize> =
        source.rows().iter().flat_map(|rows| &rows.key).map(|key| names.index_of(&found(&key.text))).collect();
    deleted.iter().flat_map(Expression::columns).for_each(|name| _ = names.index_of(name));
    let mut values: Vec<usize> = vec![];
    let mut of_elements: Vec<Field> = vec![];
    for (group, compiled) in groups {
        if source.table.is_some() {
            for name in lookup::named(group, compiled.names(), LookIn::Table(id)) {
                let place = names.index_of(&name);
                values.extend((!values.contains(&place)).then_some(place));
            }
            continue;
        }
        for field in explode::read(group, compiled.names(), &schema).iter().flat_map(explode::Read::columns) {
            names.index_of(field.name());
            of_elements.push(field.clone());
        }
        let named = compiled.named(group);
        // What only another source of the group has is null here.
        let own = named.iter().filter(|field| columns::field(&schema, field.name()).is_some());
        own.for_each(|field| _ = names.index_of(field.name()));
    }
    for name in viewed {
        let place = names.index_of(&Path::of([name.as_str()]).to_string());
        values.extend((!values.contains(&place)).then_some(place));
    }
    let of_stream = names.0.len();
    let seam_columns = match &source.seam.by {
        SeamBy::Offset { partition, offset } if history.is_some() => {
            Some((names.index_of(&found(&partition.text)), names.index_of(&found(&offset.text))))
        }
        SeamBy::Offset { .. } | SeamBy::Time | SeamBy::Id { .. } => None,
    };
    let wanted = |names: &[String], keys: &[usize]| {
        // It tells a stream that records without a value are asked for, and what its records are.
        let changes = source.rows().map_or(Changes::Upsert, |rows| rows.changes);
        let changes = if changes == Changes::Debezium { DEBEZIUM } else { "" };
        let as_key = |(at, field): (usize, Field)| match keys.contains(&at) {
            true => {
                let metadata = field.metadata().clone().into_iter().chain([(KEY.to_owned(), changes.to_owned())]);
                field.clone().with_metadata(metadata.collect())
            }
            false => field,
        };
        let of_element = |name: &String| of_elements.iter().find(|field| field.name() == name).cloned();
        let field = |name: &String| match computed::is_computed(name) {
            _ if explode::is_of_elements(name) => of_element(name).expect("it was named"),
            true => Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            false => columns::field(&schema, name).expect("names were checked").with_nullable(true),
        };
        let schema = Arc::new(Schema::new(names.iter().map(field).enumerate().map(as_key).collect::<Vec<_>>()));
        Wanted { schema, time_unit_ns: source.time_unit.ns() }
    };
    let (wanted, history_wanted) = (wanted(&names.0[..of_stream], &key), wanted(&names.0, &[]));
    let type_of = |place: &usize| wanted.schema.field(*place).data_type().clone();
    let key_types = key.iter().map(type_of).collect();
    let rows = source.rows().map(|_| OpenTable { key, key_types, deleted, values });
    let (table, replaced) = if source.table.is_some() { (rows, None) } else { (None, rows) };
    let computed = (!computed.is_empty()).then(|| Arc::new(Computed { columns: computed, schema: schema.clone() }));
    let stream = match (stream, computed.clone()) {
        (Some(stream), Some(computed)) => Some(Arc::new(ComputedStream { stream, computed }) as Arc<dyn Stream>),
        (stream, _) => stream,
    };
    Source {
        history: history.map(|history| with_computed(history, &computed)),
        stream,
        schema,
        wanted,
        history_wanted,
        event_time,
        arrival_time,
        seam_columns,
        id_column,
        computed,
        table,
        replaced,
    }
}

/// Columns that are read, each once.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn index_of(&mut self, name: &str) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }
}
