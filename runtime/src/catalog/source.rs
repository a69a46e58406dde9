//! A source, opened: its history, its stream, its schema, and which of its columns are read.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_connectors::Wanted;
use headwater_connectors::history::{History, Pinned};
use headwater_connectors::stream::Stream;

use super::group::Compiled;
use super::opened::Source;
use crate::base::failure::Failure;
use crate::base::fault::{At, Faults};
use crate::job::{self, Group, Job, Named, SeamBy};

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
        Some(h) => match h.config.open(None) {
            Ok(history) => history.schema(),
            Err(headwater_connectors::Error::Config(message)) => {
                faults.error(h.at, message);
                None
            }
            // The world's fault, and not what is to be told now.
            Err(_) => None,
        },
        None => source.schema.as_ref().map(|columns| written_schema(columns)),
    }
}

fn written_schema(columns: &[(Named, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(Named, DataType)| Field::new(&name.text, data_type.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// A source's history, its stream, and its schema.
type HistoryAndStream = (Option<Arc<dyn History>>, Option<Arc<dyn Stream>>, SchemaRef);

/// `None`: it could not be opened, and a fault says why.
pub fn open_source(
    source: &job::Source,
    pinned: Option<&Pinned>,
    streams: Streams,
    faults: &mut Faults,
) -> Result<Option<HistoryAndStream>, Failure> {
    let mut ok = true;
    let history = match &source.history {
        None => None,
        Some(h) => told(h.config.open(pinned), h.at, faults, &mut ok)?,
    };
    let stream = match source.stream.as_ref().filter(|_| streams != Streams::Skip) {
        None => None,
        Some(stream) => told(stream.config.open(), stream.at, faults, &mut ok)?,
    };
    if !ok {
        return Ok(None);
    }
    let of_files = history.as_ref().and_then(|h| h.schema());
    let schema = of_files.unwrap_or_else(|| written_schema(source.schema.as_deref().unwrap_or_default()));
    Ok(Some((history, stream, schema)))
}

/// A source's history as it was pinned once.
pub fn history(source: &job::Source, pinned: Option<&Pinned>) -> Result<Arc<dyn History>, Failure> {
    let history = source.history.as_ref().ok_or_else(|| {
        Failure::Running(format!("source {} has no history any more: its ids cannot be compared", source.name))
    })?;
    Ok(history.config.open(pinned)?)
}

/// Looks whether changelogs and dead letters can go where they are to go.
pub fn check_lines(job: &Job, faults: &mut Faults) -> Result<(), Failure> {
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

/// Which columns are read at all.
pub fn project<'a>(
    source: &job::Source,
    history: Option<Arc<dyn History>>,
    stream: Option<Arc<dyn Stream>>,
    schema: SchemaRef,
    groups: impl Iterator<Item = (&'a Group, &'a Compiled)>,
) -> Source {
    let mut names: Vec<String> = vec![source.event_time.text.clone()];
    let mut index_of = |name: &str| {
        names.iter().position(|n| n == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
    };
    let arrival_time = source.arrival_time.as_ref().map(|a| index_of(&a.text));
    let id_column = if let SeamBy::Id { id, .. } = &source.seam.by { Some(index_of(&id.text)) } else { None };
    for (group, compiled) in groups {
        let named = compiled.named(group);
        // What only another source of the group has is null here.
        let own = named.iter().filter(|field| schema.field_with_name(field.name()).is_ok());
        own.for_each(|field| _ = index_of(field.name()));
    }
    let of_stream = names.len();
    let mut index_of = |name: &str| {
        names.iter().position(|n| n == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
    };
    let seam_columns = match &source.seam.by {
        SeamBy::Offset { partition, offset } if history.is_some() => {
            Some((index_of(&partition.text), index_of(&offset.text)))
        }
        _ => None,
    };
    let time_unit_ns = unit_ns(source.time_unit);
    let wanted = |names: &[String]| {
        let field = |n: &String| schema.field_with_name(n).expect("names were checked").clone().with_nullable(true);
        Wanted { schema: Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>())), time_unit_ns }
    };
    let (wanted, history_wanted) = (wanted(&names[..of_stream]), wanted(&names));
    Source {
        history,
        stream,
        schema: schema.clone(),
        wanted,
        history_wanted,
        event_time: 0,
        arrival_time,
        seam_columns,
        id_column,
    }
}

pub fn unit_ns(unit: job::TimeUnit) -> i64 {
    match unit {
        job::TimeUnit::Second => 1_000_000_000,
        job::TimeUnit::Millisecond => 1_000_000,
        job::TimeUnit::Microsecond => 1_000,
        job::TimeUnit::Nanosecond => 1,
    }
}
