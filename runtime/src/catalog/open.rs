//! Opening a job: every name and every type is checked against what its sources are.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use headwater_connectors::format::Pins;
use headwater_connectors::history::{History, Pinned};
use headwater_expression::Expression;
use serde::Deserialize;

use super::graph::Graph;
use super::group::{Compiled, compile, open_group};
use super::input::condition;
use super::lookup::{self, RowFields, There};
use super::opened::Opened;
use super::relation::{self, Readable};
use super::source::{Streams, look_at_schema, open_history, open_streams, project, told, with_computed};
use super::times::{self, Times};
use crate::base::failure::Failure;
use crate::base::fault::Faults;
use crate::base::id::{GroupId, IdVec, SourceId};
use crate::job::validate::names::check_names;
use crate::job::validate::union;
use crate::job::{self, Job, LookIn, Named};
use crate::plan::Plan;

/// Opens sources, and checks every name and type against them. `pinned`: the files of its history as they were pinned before;
/// `pins`: what its streams have pinned.
pub fn open(job: Job, pinned: &IdVec<SourceId, Option<Pinned>>, pins: &Pins) -> Result<Opened, Failure> {
    open_with(job, pinned, (Streams::Open, pins))
}

/// Opens the histories anew whose files were others when they were pinned.
pub fn pin(opened: &mut Opened, pinned: &IdVec<SourceId, Option<Pinned>>) -> Result<(), Failure> {
    let mut faults = Faults::new(opened.job.places.clone());
    for ((conf, source), pinned) in opened.job.sources.iter().zip(&mut opened.sources).zip(pinned) {
        let (unit, computed) = (conf.time_unit, source.computed.clone());
        let is_other =
            |history: &&mut Arc<dyn History>| pinned.as_ref().is_some_and(|pinned| pinned != history.pinned());
        if let (Some(history), Some(conf)) = (source.history.as_mut().filter(is_other), &conf.history)
            && let Some(reopened) = told(conf.open(pinned.as_ref(), unit), conf.at, &mut faults, &mut true)?
        {
            *history = with_computed(reopened, &computed);
        }
    }
    if faults.has_errors() { Err(Failure::Job(faults)) } else { Ok(()) }
}

/// Opens a job whose events are read, and that writes nothing: its sinks may be away. `pinned`: files of histories, where they are
/// to be those that somebody else reads.
pub fn open_for_events(job: Job, pinned: &IdVec<SourceId, Option<Pinned>>) -> Result<Opened, Failure> {
    let pins = pinned_last(&job)?;
    open_to_read(job, pinned, &pins)
}

/// The same, as somebody else has opened it. `pins`: what its streams have pinned there.
pub fn open_to_read(job: Job, pinned: &IdVec<SourceId, Option<Pinned>>, pins: &Pins) -> Result<Opened, Failure> {
    open_with(job, pinned, (Streams::Read, pins))
}

/// Opens a job whose rows are read and whose events are not: its streams may be away.
pub fn open_for_rows(job: Job) -> Result<Opened, Failure> {
    let pins = pinned_last(&job)?;
    open_with(job, &IdVec::new(), (Streams::Skip, &pins))
}

/// What the streams of a job have pinned by its last start on this machine; nothing, where there was none.
fn pinned_last(job: &Job) -> Result<Pins, Failure> {
    #[derive(Deserialize)]
    struct Pinned {
        #[serde(default)]
        pins: Pins,
    }
    if !job.has_pins() {
        return Ok(Pins::new());
    }
    let path = Plan::path(&job.state.local);
    let failed = |what: &dyn Display| {
        Failure::Running(format!(
            "the plan of the job's last start, {}, cannot be read: {what}\n  hint: make it readable, or remove it: the job's next start writes it anew",
            path.display()
        ))
    };
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(|Pinned { pins }| pins).map_err(|e| failed(&e)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Pins::new()),
        Err(e) => Err(failed(&e)),
    }
}

/// Where a job names what the schemas that its streams have pinned do not have, these are the newest: then what is used of them decides
/// whether it is a changed job.
fn open_with(
    job: Job,
    pinned: &IdVec<SourceId, Option<Pinned>>,
    (streams, pins): (Streams, &Pins),
) -> Result<Opened, Failure> {
    let anew = (!pins.is_empty()).then(|| job.clone());
    match (open_once(job, pinned, (streams, pins)), anew) {
        (Err(Failure::Job(_)), Some(job)) => open_once(job, pinned, (streams, &Pins::new())),
        (other, _) => other,
    }
}

fn open_once(
    job: Job,
    pinned: &IdVec<SourceId, Option<Pinned>>,
    (streams, pins): (Streams, &Pins),
) -> Result<Opened, Failure> {
    let (mut faults, mut pins) = (Faults::new(job.places.clone()), pins.clone());
    let mut sources = Vec::new();
    for (id, source) in job.sources.pairs() {
        let pinned = pinned.get(id).and_then(Option::as_ref);
        sources.push(open_history(source, pinned, &mut pins, &mut faults)?);
    }
    for sink in &job.sinks {
        if let Some(Err(e)) = sink.to.store().map(|store| store.check()) {
            faults.error(sink.at, e.to_string());
        }
    }
    let schemas: IdVec<SourceId, Option<SchemaRef>> = sources.iter().map(|s| s.as_ref().map(|s| s.1.clone())).collect();
    let named = check_names(&job, &schemas);
    let names_fit = !named.has_errors();
    faults.faults.extend(named.faults);
    let reads = relation::reads(&job);
    let graph = Graph::of(&job, &reads);
    let times = job.sources.pairs().map(|(id, source)| times::compile(source, schemas[id].as_ref()?, &mut faults));
    let times: IdVec<SourceId, Option<Times>> = times.collect();
    let deleted: IdVec<SourceId, Option<Option<Expression>>> =
        job.sources.pairs().map(|(id, source)| compile_deleted(source, schemas[id].as_ref(), &mut faults)).collect();
    let mut by_group: BTreeMap<GroupId, Option<Compiled>> = BTreeMap::new();
    let mut rows: IdVec<GroupId, Option<RowFields>> = IdVec::filled(None, job.groups.len());
    for id in graph.groups_in_order() {
        let group = &job.groups[id];
        let schema = union::schema(group, &job.sources, &schemas);
        let there = There { sources: &job.sources, schemas: &schemas, rows: &rows, groups: &job.groups };
        let compiled = schema.and_then(|schema| compile(group, &schema, &there, &mut faults));
        rows[id] = compiled.as_ref().map(|compiled| compiled.fields(group));
        by_group.insert(id, compiled);
    }
    let compiled: IdVec<GroupId, Option<Compiled>> = by_group.into_values().collect();
    let views = relation::compile(&Readable { job: &job, schemas: &schemas, groups: &compiled }, &reads, &mut faults);
    let viewed = relation::of_tables(&job, &views, &schemas);
    // Last, and told last: who is away hides nothing that is wrong with the job itself.
    let streams = open_streams(&job, (streams, &pins), &mut faults);
    if faults.has_errors() || !names_fit {
        return Err(Failure::Job(faults));
    }
    let compiled: IdVec<GroupId, Compiled> = compiled.into_iter().flatten().collect();
    let mut opened = Opened {
        job,
        graph,
        sources: IdVec::new(),
        groups: IdVec::new(),
        views: views.into_iter().flatten().collect(),
    };
    let made = times.into_iter().flatten().zip(deleted.into_iter().map(Option::flatten));
    let sources = sources.into_iter().flatten().zip(streams?).zip(made);
    for ((id, source), (parts, times)) in opened.job.sources.pairs().zip(sources) {
        let groups = opened.graph.groups_of(id).map(|group| (&opened.job.groups[group], &compiled[group]));
        let viewed = viewed.get(&id).map_or(&[][..], Vec::as_slice);
        opened.sources.push(project((id, source), parts, times, (groups, viewed)));
    }
    let looked_up = looked_up(&opened, &compiled);
    for ((id, group), compiled) in opened.job.groups.pairs().zip(compiled) {
        let sources = opened.graph.events_of(id).map(|source| (source, &opened.sources[source]));
        let group = open_group(group, compiled, sources, &opened.sources, (&looked_up, id));
        opened.groups.push(group);
    }
    Ok(opened)
}

/// By group, the columns of its rows that others look up; each once.
fn looked_up(opened: &Opened, compiled: &IdVec<GroupId, Compiled>) -> IdVec<GroupId, Vec<String>> {
    let one = |id| {
        let mut all: Vec<String> = vec![];
        for looking in opened.graph.looking_up(id) {
            let (group, compiled) = (&opened.job.groups[looking], &compiled[looking]);
            for name in lookup::named(group, compiled.names(), LookIn::Features(id)) {
                all.extend((!all.contains(&name)).then_some(name));
            }
        }
        all
    };
    opened.job.groups.ids().map(one).collect()
}

/// The `deleted` of a source. `None`: there are faults.
fn compile_deleted(
    source: &job::Source,
    schema: Option<&SchemaRef>,
    faults: &mut Faults,
) -> Option<Option<Expression>> {
    let Some(deleted) = source.rows().and_then(|rows| rows.deleted.as_ref()) else { return Some(None) };
    condition(deleted, "deleted", schema?, faults).map(Some)
}

/// What else is wrong with a job that is wrong already: names and expressions, where schemas can be had all the same.
pub fn more_faults(job: &Job) -> Faults {
    let mut faults = Faults::new(job.places.clone());
    let schemas: IdVec<_, _> = job.sources.iter().map(|source| look_at_schema(source, &mut faults)).collect();
    faults.faults.extend(check_names(job, &schemas).faults);
    for (id, source) in job.sources.pairs() {
        if let Some(schema) = &schemas[id] {
            times::compile(source, schema, &mut faults);
            compile_deleted(source, Some(schema), &mut faults);
        }
    }
    let mut rows: IdVec<GroupId, Option<RowFields>> = IdVec::filled(None, job.groups.len());
    let mut by_group: BTreeMap<GroupId, Option<Compiled>> = job.groups.ids().map(|id| (id, None)).collect();
    let reads = relation::reads(job);
    for id in Graph::of(job, &reads).groups_in_order() {
        let group = &job.groups[id];
        if let Some(schema) = &union::schema(group, &job.sources, &schemas) {
            let mut whole = group.clone();
            let written = |text: &Named| !text.text.is_empty();
            whole.filter = whole.filter.filter(written);
            // Others have been told as missing their input.
            whole.columns.iter_mut().for_each(|column| column.filter = column.filter.take().filter(written));
            whole.columns.retain(|c| c.of.as_ref().map_or(c.agg.definition().of_events.is_some(), written));
            let there = There { sources: &job.sources, schemas: &schemas, rows: &rows, groups: &job.groups };
            let compiled = compile(&whole, schema, &there, &mut faults);
            rows[id] = compiled.as_ref().map(|compiled| compiled.fields(&whole));
            by_group.insert(id, compiled);
        }
    }
    let groups: IdVec<GroupId, Option<Compiled>> = by_group.into_values().collect();
    relation::compile(&Readable { job, schemas: &schemas, groups: &groups }, &reads, &mut faults);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_last_start_has_pinned() {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = format!(
            "name = \"pins\"\n[sources.s]\nevent_time = \"at\"\n\
             stream = {{ type = \"kafka\", brokers = \"localhost:9092\", topic = \"t\", format = \"avro\", schema = \"s.avsc\" }}\n\
             [features.f]\nsource = \"s\"\nkey = \"at\"\ncolumns = {{ n = {{ agg = \"count\", window = \"1h\" }} }}\n\
             [state]\npath = \"{}\"\n",
            state.path().display()
        );
        let (job, _) = job::parse::parse("job.toml", dir.path(), &text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        assert!(job.has_pins());
        let path = Plan::path(state.path());
        assert_eq!(pinned_last(&job).unwrap(), Pins::new(), "there was no start");
        for (text, pins) in [
            (r#"{"now_us": 0}"#, Some(vec![])),
            (r#"{"pins": {"t-value": "{}"}}"#, Some(vec![("t-value".to_owned(), "{}".to_owned())])),
            (r#"{"pins": {"t-va"#, None),
            ("", None),
        ] {
            std::fs::write(&path, text).unwrap();
            match (pinned_last(&job), pins) {
                (found, Some(pins)) => assert_eq!(found.unwrap(), Pins::from_iter(pins), "{text}"),
                (found, None) => is_told(found, &path),
            }
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        is_told(pinned_last(&job), &path);
    }

    /// It names the file, and says what to do.
    fn is_told(found: Result<Pins, Failure>, path: &std::path::Path) {
        let message = found.unwrap_err().message();
        assert!(message.contains(&*path.to_string_lossy()) && message.contains("hint: "), "{message}");
    }
}
