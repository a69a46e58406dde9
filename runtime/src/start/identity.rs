//! What a state is of: two texts are equal where one state means the same to both. Names, brokers, paths and properties do not
//! count.

use std::fmt::Write;

use arrow::datatypes::Schema;
use headwater_connectors::Path;
use headwater_expression::Expression;

use super::canonical::{data_type, optional, quoted, time_unit, window};
use crate::base::id::GroupId;
use crate::catalog::opened::{Opened, Source};
use crate::job::{self, Changes, LookIn, Named, SeamBy, Window, columns};

/// What the engine makes of a job. Another number: old states mean something else.
const SEMANTICS: u32 = 1;

/// Of a source's records and their times.
pub fn of_source(conf: &job::Source, open: &Source) -> String {
    let topic = conf.stream.as_ref().map(|stream| stream.config.identity());
    let seam = match &conf.seam.by {
        SeamBy::Offset { .. } => "offset",
        SeamBy::Time => "time",
        SeamBy::Id { .. } => "id",
    };
    let mut text = format!(
        "topic {} lateness {} future {} unit {} seam {seam} times",
        optional(topic.map(quoted)),
        conf.lateness.us(),
        conf.future_limit.us(),
        time_unit(conf.time_unit)
    );
    let arrival = conf.arrival_time.iter();
    for time in conf.event_time.iter().chain(arrival) {
        add_column(&mut text, &open.schema, &time.text);
    }
    if let Some(table) = &conf.table {
        let event_time = if conf.event_time.is_some() { "event" } else { "no event" };
        let _ = write!(text, " table by {event_time} time, deleted {} key", written(&table.deleted));
        table.key.iter().for_each(|key| add_column(&mut text, &open.schema, &key.text));
    }
    if let Some(replaced) = &conf.replaced {
        let _ = write!(text, " replaced, deleted {} key", written(&replaced.deleted));
        replaced.key.iter().for_each(|key| add_column(&mut text, &open.schema, &key.text));
    }
    if conf.rows().is_some_and(|rows| rows.changes == Changes::Debezium) {
        text.push_str(" in envelopes");
    }
    text
}

/// Of a group, whatever its columns.
pub fn of_group(opened: &Opened, id: GroupId) -> String {
    let group = &opened.job.groups[id];
    let sources = opened.graph.events_of(id);
    let mut sources: Vec<String> =
        sources.map(|source| of_source(&opened.job.sources[source], &opened.sources[source])).collect();
    // Of a union it is all the same which comes first.
    sources.sort_unstable();
    let schema = &opened.groups[id].schema;
    let filter = written(&group.filter);
    let mut text = format!("semantics {SEMANTICS} tick {} {}", opened.job.tick.us(), sources.join(" and "));
    // Writing to memory does not fail.
    let _ = write!(text, " window {} where {filter} key", window(group.window));
    for key in &group.key {
        match key.is_sql {
            false => add_column(&mut text, schema, &key.of.text),
            true => {
                let _ = write!(text, " {} of {}", key.name, quoted(&key.of.text));
            }
        }
    }
    if let Some(list) = &group.explode {
        text.push_str(" each of");
        add_column(&mut text, schema, &list.text);
    }
    for (lookup, open) in group.lookups.iter().zip(&opened.groups[id].lookups) {
        let there = match lookup.of {
            LookIn::Table(table) => of_source(&opened.job.sources[table], &opened.sources[table]),
            LookIn::Features(group) => of_rows(opened, group),
        };
        let _ = write!(text, " lookup {} in {} on", lookup.name, quoted(&there));
        lookup.on.iter().for_each(|on| text.push_str(&format!(" {}", quoted(&on.text))));
        add_types(&mut text, schema, open.on.iter().flat_map(Expression::columns).map(String::as_str));
        add_arithmetic(&mut text, open.on.iter());
    }
    let keys = group.key.iter().zip(&opened.groups[id].keys).filter(|(key, _)| key.is_sql);
    let sql = || keys.clone().filter_map(|(_, key)| key.computed());
    add_types(&mut text, schema, sql().flat_map(|key| key.columns()).map(String::as_str));
    let compiled = &opened.groups[id].filter;
    add_types(&mut text, schema, compiled.iter().flat_map(|filter| filter.columns()).map(String::as_str));
    add_arithmetic(&mut text, compiled.iter().chain(sql()));
    text
}

/// Of the rows of a group, as others look them up.
fn of_rows(opened: &Opened, id: GroupId) -> String {
    let (group, open) = (&opened.job.groups[id], &opened.groups[id]);
    let column = |name: &str| Some(of_column(opened, id, group.columns.iter().position(|column| column.name == name)?));
    let mut text = of_group(opened, id);
    for name in &open.looked_up {
        if let Some(own) = column(name) {
            let _ = write!(text, " column {name} {own}");
        } else if let Some(at) = group.derived.iter().position(|derived| derived.name == *name) {
            let of: Vec<String> = open.derived.named(at).iter().filter_map(|name| column(name)).collect();
            let _ = write!(text, " derived {name} {} of {}", quoted(&group.derived[at].of.text), of.join(" and "));
        }
    }
    text
}

/// Of a group's column.
pub fn of_column(opened: &Opened, group: GroupId, column: usize) -> String {
    let (conf, open) = (&opened.job.groups[group], &opened.groups[group]);
    let (column, plan) = (&conf.columns[column], &open.columns[column]);
    let length = if conf.window == Window::Trailing { column.length } else { None };
    let length = optional(length.map(|length| length.us().to_string()));
    let mut text = format!("{} of {} over {length}", column.agg.identity(), written(&column.of));
    if let Some(input) = plan.input.map(|input| &open.inputs[input]) {
        if column.filter.is_some() {
            let _ = write!(text, " where {}", written(&column.filter));
        }
        let _ = write!(text, " {}", data_type(input.data_type()));
        add_types(&mut text, &open.schema, input.columns().map(String::as_str));
        add_arithmetic(&mut text, input.expressions());
    }
    text
}

/// Once, arithmetic of narrow integers failed where its result was no such integer.
fn add_arithmetic<'a>(text: &mut String, mut expressions: impl Iterator<Item = &'a Expression>) {
    if expressions.any(Expression::is_widened) {
        text.push_str(" widened");
    }
}

/// An expression as the user wrote it, if there is one.
fn written(expression: &Option<Named>) -> String {
    optional(expression.as_ref().map(|expression| quoted(&expression.text)))
}

/// A column as a job names it, and its type. What is SQL is written as it stands.
fn add_column(text: &mut String, schema: &Schema, name: &str) {
    match columns::find(schema, name, "") {
        Ok(found) => add_types(text, schema, std::iter::once(found.name.as_str())),
        Err(_) => text.push_str(&format!(" {}", quoted(name))),
    }
}

/// Columns by their paths, and their types. A field inside of a column stands in brackets.
fn add_types<'a>(text: &mut String, schema: &Schema, names: impl Iterator<Item = &'a str>) {
    for name in names {
        let data_type = columns::field(schema, name).map(|field| data_type(field.data_type())).unwrap_or_default();
        let shown = match Path::parse(name) {
            Some(path) if path.is_nested() => format!("({name})"),
            Some(path) => path.last().to_owned(),
            None => name.to_owned(),
        };
        let _ = write!(text, " {shown} {data_type}");
    }
}

/// Whether two texts are equal decides whether old states go on, so each is pinned: `tests/data/identity/NAME.txt` says what everything of
/// `NAME.toml` is. A line that changes makes every state of such a job another's; what is new gets lines of its own.
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::base::id::{Id, ScanId};
    use crate::catalog::open::open_for_rows;
    use crate::plan::Plan;
    use crate::plan::group::PlannedGroup;
    use crate::plan::scan::Scan;
    use crate::start::meaning::{meaning, of_query, of_rows};
    use crate::start::views;
    use headwater_clocks::WallClock;
    use headwater_operators::aggregate::AGGREGATES;

    const JOBS: [&str; 2] = ["job", "later"];

    fn dir() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/identity")
    }

    fn opened(name: &str) -> Opened {
        let file = format!("{name}.toml");
        let job = std::fs::read_to_string(dir().join(&file)).unwrap();
        let (job, _) = job::parse::parse(&file, &dir(), &job, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        open_for_rows(job).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A plan in which every group is new.
    fn plan(opened: &Opened) -> Plan {
        let job = &opened.job;
        let scans = job.sources.pairs().map(|(id, conf)| Scan::of(id, of_source(conf, &opened.sources[id])));
        let groups = job.groups.ids().map(|group| PlannedGroup::whole(opened, group, &[ScanId::at(0)]));
        Plan::of(WallClock::from_us(0), scans.collect(), groups.collect())
    }

    fn texts(opened: &Opened) -> String {
        let (job, plan) = (&opened.job, plan(opened));
        let mut texts = String::new();
        let mut line = |what: String, text: String| writeln!(texts, "{what}: {text}").unwrap();
        for (conf, open) in job.sources.iter().zip(&opened.sources) {
            line(format!("source {}", conf.name), of_source(conf, open));
        }
        for (id, group) in job.groups.pairs() {
            line(format!("group {}", group.name), of_group(opened, id));
            for (at, column) in group.columns.iter().enumerate() {
                line(format!("column {}.{}", group.name, column.name), of_column(opened, id, at));
            }
            line(format!("inputs of {}", group.name), plan.groups[id].first().inputs.join(", "));
        }
        for (view, planned) in views::planned(opened, &plan, None).pairs() {
            line(format!("view {}", planned.name), of_query(opened, view));
            for text in of_rows(&plan, opened, job.rows_of(view)).lines() {
                line(format!("rows of {}", planned.name), text.to_owned());
            }
            line(format!("hashes of {}", planned.name), format!("{} {}", planned.query, planned.identity));
        }
        for sink in &job.sinks {
            line(format!("meaning of {}", sink.name), meaning(&plan, opened, sink).to_string());
        }
        texts
    }

    #[test]
    fn texts_are_what_they_were() {
        for name in JOBS {
            let (texts, expected) = (texts(&opened(name)), dir().join(format!("{name}.txt")));
            if std::env::var_os("UPDATE_CASES").is_some() {
                std::fs::write(&expected, &texts).unwrap();
            }
            let expected = std::fs::read_to_string(&expected).unwrap();
            for (found, expected) in texts.lines().zip(expected.lines()) {
                assert_eq!(found, expected);
            }
            assert_eq!(texts, expected);
        }
    }

    const KINDS_OF_WINDOWS: usize = 5;

    /// Whoever adds one comes by here, and gives it a group in a job.
    fn kind(window: Window) -> usize {
        match window {
            Window::Trailing => 0,
            Window::Tumbling { .. } => 1,
            Window::Hopping { .. } => 2,
            Window::Calendar(_) => 3,
            Window::Session { .. } => 4,
        }
    }

    #[test]
    fn every_window_and_every_aggregate_has_a_text() {
        let all = JOBS.map(opened);
        let groups = || all.iter().flat_map(|opened| &opened.job.groups);
        let windows: BTreeSet<usize> = groups().map(|group| kind(group.window)).collect();
        assert_eq!(windows.len(), KINDS_OF_WINDOWS);
        for aggregate in AGGREGATES {
            let has = groups().flat_map(|group| &group.columns).any(|column| column.agg.name() == aggregate.name);
            assert!(has, "no job has a column of `{}`", aggregate.name);
        }
    }
}
