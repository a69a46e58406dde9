//! What the catalogue says, as data: it is its JSON.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use arrow::datatypes::FieldRef;
use headwater_clocks::{Span, Tick, WallClock};
use headwater_connectors as connectors;
use headwater_operators::group::Calendar;
use serde::Serialize;

use crate::base::id::{GroupId, RowsId, SourceId, ViewId};
use crate::catalog;
use crate::catalog::open::open_for_rows;
use crate::catalog::opened::{KeyColumn, OpenView, Opened};
use crate::describe::meaning;
use crate::job::validate::names::is_of_element;
use crate::job::validate::{calendar, types};
use crate::job::view::Of;
use crate::job::{About, Column, Derived, Group, IS_THERE, Job, LookIn, Source, Window, columns, duration};
use crate::observe::report::Report;
use crate::observe::reporter;
use crate::serve::endpoint;

#[derive(Serialize)]
pub struct Catalog {
    pub jobs: Vec<JobEntry>,
}

#[derive(Serialize)]
pub struct JobEntry {
    pub job: String,
    pub file: String,
    /// Why there are no types and no lineage: a history cannot be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub sources: Vec<SourceEntry>,
    pub features: Vec<GroupEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<ViewEntry>,
}

/// Who answers for something, and what it is.
#[derive(Clone, Serialize)]
pub struct AboutEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

#[derive(Serialize)]
pub struct SourceEntry {
    pub source: String,
    pub kind: SourceKind,
    #[serde(flatten)]
    pub about: AboutEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    pub seam: String,
    pub event_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_time: Option<String>,
    pub lateness: String,
    /// Of a table, its key; of events that replace one another, what tells them apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// Of how long a time windows hold its events: what a stream without a history has to keep. `None`: nobody holds any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    pub columns: Vec<FieldEntry>,
}

/// What records of a source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Source,
    Table,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            SourceKind::Source => "source",
            SourceKind::Table => "table",
        })
    }
}

#[derive(Serialize)]
pub struct FieldEntry {
    pub name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub of_type: Option<String>,
}

impl fmt::Display for FieldEntry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let FieldEntry { name, of_type } = self;
        match of_type {
            Some(of_type) => write!(f, "{name} {of_type}"),
            None => f.write_str(name),
        }
    }
}

#[derive(Serialize)]
pub struct GroupEntry {
    pub features: String,
    #[serde(flatten)]
    pub about: AboutEntry,
    pub sources: Vec<String>,
    pub key: Vec<MadeOf>,
    pub window: String,
    /// What there is a row for, and how long it is there.
    pub rows: Vec<String>,
    /// The sinks that have it, with what they are.
    pub served: Vec<String>,
    /// How far back it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    pub columns: Vec<ColumnEntry>,
}

/// Rows made of the rows of others.
#[derive(Serialize)]
pub struct ViewEntry {
    pub view: String,
    #[serde(flatten)]
    pub about: AboutEntry,
    /// The groups, tables and views that it reads.
    pub reads: Vec<String>,
    pub sql: String,
    pub key: Vec<MadeOf>,
    pub served: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// But for those of the key.
    pub columns: Vec<MadeOf>,
}

/// A column of a key, or of a view.
#[derive(Serialize)]
pub struct MadeOf {
    #[serde(flatten)]
    pub field: FieldEntry,
    /// Lineage: the columns of what is read that it is made of.
    pub from: Vec<String>,
}

/// Of a job that runs.
#[derive(Serialize)]
pub struct Freshness {
    pub as_of: String,
    pub staleness_seconds: f64,
}

#[derive(Serialize)]
pub struct ColumnEntry {
    pub column: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub of_type: Option<String>,
    pub meaning: String,
    #[serde(flatten)]
    pub about: AboutEntry,
    /// Lineage: the columns of sources, and of what it looks up, that it is made of, as `SOURCE.COLUMN`. The key is not among them.
    pub from: Vec<String>,
}

impl From<&About> for AboutEntry {
    fn from(about: &About) -> AboutEntry {
        let About { description, owner, tags } = about.clone();
        AboutEntry { description, owner, tags }
    }
}

impl JobEntry {
    pub fn of(file: &Path, job: Job) -> JobEntry {
        let running = running(&job);
        let (opened, problem) = match open_for_rows(job.clone()) {
            Ok(opened) => (Some(opened), None),
            Err(failure) => (None, Some(failure.to_string().trim_end().to_owned())),
        };
        let sources = job.sources.ids().map(|id| of_source(&job, id, opened.as_ref()));
        let groups = job.groups.ids().map(|id| of_group(&job, id, opened.as_ref(), running.as_ref()));
        let views = job.views.ids().map(|id| of_view(&job, id, opened.as_ref(), running.as_ref()));
        JobEntry {
            job: job.name.clone(),
            file: file.display().to_string(),
            problem,
            sources: sources.collect(),
            features: groups.collect(),
            views: views.collect(),
        }
    }
}

/// What a running job says of itself. One that does not answer does not run.
fn running(job: &Job) -> Option<Report> {
    let answer = endpoint::running(job).ok()??.ask("/status", &[]).ok()?;
    serde_json::from_reader(answer).ok()
}

fn of_source(job: &Job, id: SourceId, opened: Option<&Opened>) -> SourceEntry {
    let source = &job.sources[id];
    let fields = opened.map(|opened| opened.sources[id].schema.fields().clone()).unwrap_or_default();
    let columns = fields
        .iter()
        .map(|field| FieldEntry { name: field.name().clone(), of_type: Some(types::display(field.data_type())) });
    SourceEntry {
        source: source.name.clone(),
        kind: if source.table.is_some() { SourceKind::Table } else { SourceKind::Source },
        about: AboutEntry::from(&source.about),
        history: source.history.as_ref().map(|history| {
            let version = opened.and_then(|opened| opened.sources[id].history.as_ref()?.pinned().version.clone());
            let version = version.map_or_else(String::new, |version| format!(", {version}"));
            format!("{} {}{version}", history.kind.name(), history.config.path())
        }),
        stream: source.stream.as_ref().map(|stream| stream.config.describe()),
        seam: format!("by {}", reporter::by(&source.seam.by)),
        event_time: source.event_time.as_ref().map_or_else(String::new, |time| time.text.clone()),
        arrival_time: source.arrival_time.as_ref().map(|time| time.text.clone()),
        lateness: duration::display(source.lateness),
        primary_key: source
            .rows()
            .map(|rows| rows.key.iter().map(|key| key.text.clone()).collect())
            .unwrap_or_default(),
        retention: retention(job, id),
        columns: columns.collect(),
    }
}

/// How long windows of their own are, of those that have a row each.
fn length(window: Window) -> Option<Span> {
    match window {
        Window::Trailing => None,
        Window::Tumbling { size } | Window::Hopping { size, .. } => Some(size),
        Window::Calendar(calendar) => Some(Span::from_us(calendar.size() * duration::DAY_US)),
        Window::Session { gap } => Some(gap),
    }
}

/// The longest that a window holds an event of a source, late ones too.
fn retention(job: &Job, source: SourceId) -> Option<String> {
    let lateness = job.sources[source].lateness;
    let groups = job.groups.iter().filter(|group| group.sources.contains(&source));
    let held = groups.flat_map(|group| {
        let of_windows = length(group.window).map(|length| length + lateness);
        group.columns.iter().map(move |column| of_windows.or(column.length))
    });
    let held: Vec<Option<Span>> = held.collect();
    let longest = held.iter().copied().try_fold(Span::ZERO, |longest, held| Some(longest.max(held?)));
    let shown = || longest.map_or_else(|| "all".to_owned(), duration::display);
    (!held.is_empty()).then(shown)
}

fn of_group(job: &Job, id: GroupId, opened: Option<&Opened>, running: Option<&Report>) -> GroupEntry {
    let group = &job.groups[id];
    let sources: Vec<&Source> = group.sources.iter().map(|source| &job.sources[*source]).collect();
    let lateness = sources.iter().map(|source| source.lateness).max().unwrap_or(Span::ZERO);
    let types = opened.map(|opened| of_types(opened, id)).unwrap_or_default();
    let type_of = |name: &str| types.iter().find(|(known, _)| known == name).map(|(_, of_type)| of_type.clone());
    let key = group.key.iter().enumerate().map(|(at, key)| MadeOf {
        field: FieldEntry { name: key.name.clone(), of_type: type_of(&key.name) },
        from: opened.map(|opened| lineage_of_key(opened, (id, at), &sources)).unwrap_or_default(),
    });
    let mut columns: Vec<ColumnEntry> = vec![];
    for (index, column) in group.columns.iter().enumerate() {
        columns.push(ColumnEntry {
            column: column.name.clone(),
            of_type: type_of(&column.name),
            meaning: meaning::of_column(group, column),
            about: AboutEntry::from(&column.about),
            from: opened.map(|opened| lineage(opened, (id, index), (&sources, column))).unwrap_or_default(),
        });
    }
    let derived: Vec<ColumnEntry> =
        (0..group.derived.len()).map(|n| of_derived(group, n, opened.map(|o| (o, id)), &columns, &type_of)).collect();
    columns.extend(derived);
    let told = running.and_then(|report| report.groups.iter().find(|told| told.name == group.name));
    let freshness = told
        .and_then(|told| Some(Freshness { as_of: told.as_of.clone()?, staleness_seconds: told.staleness_seconds? }));
    let sinks = job.sinks.iter().filter(|sink| sink.rows.contains(&id.into()));
    GroupEntry {
        features: group.name.clone(),
        about: AboutEntry::from(&group.about),
        sources: sources.iter().map(|source| source.name.clone()).collect(),
        key: key.collect(),
        window: window(group),
        rows: meaning::of_rows(group, lateness, Tick::down(WallClock::now(), job.tick)),
        served: sinks.map(|sink| format!("{}: {}", sink.name, sink.to.describe())).collect(),
        history: history(job, id),
        freshness,
        columns,
    }
}

fn history(job: &Job, rows: impl Into<RowsId>) -> Option<String> {
    job.history_of(rows).map(duration::display)
}

fn of_view(job: &Job, id: ViewId, opened: Option<&Opened>, running: Option<&Report>) -> ViewEntry {
    let (view, rows) = (&job.views[id], job.rows_of(id));
    let sql = match &view.of {
        Of::Sql(sql) => sql.text.split_whitespace().collect::<Vec<_>>().join(" "),
        Of::Links(links) => meaning::of_links(links),
    };
    let fields = opened.map(|opened| {
        let schema = &opened.shape(rows).schema;
        let field = |field: &FieldRef| FieldEntry {
            name: field.name().clone(),
            of_type: Some(types::display(field.data_type())),
        };
        schema.fields()[..schema.fields().len() - 2].iter().map(field).collect::<Vec<_>>()
    });
    let key = || view.key.iter().map(|key| FieldEntry { name: key.text.clone(), of_type: None }).collect();
    let fields = fields.unwrap_or_else(key);
    let made = opened.map(|opened| lineage_of_view(&opened.views[id])).unwrap_or_default();
    let made_of = |(at, field): (usize, FieldEntry)| MadeOf { field, from: made.get(at).cloned().unwrap_or_default() };
    let mut key: Vec<MadeOf> = fields.into_iter().enumerate().map(made_of).collect();
    let columns = key.split_off(view.key.len());
    let told = running.and_then(|report| report.views.iter().find(|told| told.name == view.name));
    let freshness = told
        .and_then(|told| Some(Freshness { as_of: told.as_of.clone()?, staleness_seconds: told.staleness_seconds? }));
    let sinks = job.sinks.iter().filter(|sink| sink.rows.contains(&rows));
    let reads = opened.map(|opened| opened.names_read_by(id).into_iter().map(str::to_owned).collect());
    ViewEntry {
        view: view.name.clone(),
        about: AboutEntry::from(&view.about),
        reads: reads.unwrap_or_default(),
        sql,
        key,
        served: sinks.map(|sink| format!("{}: {}", sink.name, sink.to.describe())).collect(),
        history: history(job, rows),
        freshness,
        columns,
    }
}

/// By column. Links are made of all that they read.
fn lineage_of_view(view: &OpenView) -> Vec<Vec<String>> {
    let of_query = &view.query.lineage;
    if view.links.is_none() {
        return view.columns.iter().map(|at| of_query[*at].clone()).collect();
    }
    let all: BTreeSet<&String> = of_query.iter().flatten().collect();
    let all: Vec<String> = all.into_iter().cloned().collect();
    vec![all; view.shape.schema.fields().len()]
}

fn of_types(opened: &Opened, group: GroupId) -> Vec<(String, String)> {
    let fields = opened.groups[group].shape.schema.fields().iter();
    fields.map(|field| (field.name().clone(), types::display(field.data_type()))).collect()
}

/// The group's `where`, the column's own, its `of`; and the time, where that decides what is inside.
fn lineage(opened: &Opened, (group, column): (GroupId, usize), (sources, conf): (&[&Source], &Column)) -> Vec<String> {
    let open = &opened.groups[group];
    let input = open.columns[column].input.map(|input| &open.inputs[input]);
    let mut names: BTreeSet<&str> =
        open.filter.iter().flat_map(|filter| filter.columns()).map(String::as_str).collect();
    names.extend(input.into_iter().flat_map(|input| input.columns()).map(String::as_str));
    let by_time = opened.job.groups[group].window != Window::Trailing || conf.length.is_some();
    lineage_of_names(opened, group, names, by_time, sources)
}

/// What a column of the key is, or is made of.
fn lineage_of_key(opened: &Opened, (group, at): (GroupId, usize), sources: &[&Source]) -> Vec<String> {
    let names: BTreeSet<&str> = match &opened.groups[group].keys[at] {
        KeyColumn::Read(name) => [name.as_str()].into(),
        KeyColumn::Computed(sql) => sql.columns().iter().map(String::as_str).collect(),
    };
    lineage_of_names(opened, group, names, false, sources)
}

fn lineage_of_names<'o>(
    opened: &'o Opened,
    group: GroupId,
    mut names: BTreeSet<&'o str>,
    by_time: bool,
    sources: &[&Source],
) -> Vec<String> {
    let open = &opened.groups[group];
    let group = &opened.job.groups[group];
    // What is of an element is of the list.
    if names.iter().any(|name| is_of_element(group, name)) {
        names.retain(|name| !is_of_element(group, name));
        names.extend(group.explode.iter().map(|list| list.text.as_str()));
    }
    // What is looked up is of a table or a group, found by columns of the event, or by what was looked up before.
    let mut from: Vec<String> = vec![];
    for (lookup, open) in group.lookups.iter().zip(&open.lookups).rev() {
        let found = |name: &str| {
            let path = connectors::Path::parse(name)?;
            let (first, rest) = path.names().split_first()?;
            (*first == lookup.name).then(|| connectors::Path::of(rest.iter().cloned()).to_string())
        };
        let here: BTreeSet<String> = names.iter().filter_map(|name| found(name)).collect();
        if here.is_empty() {
            continue;
        }
        names.retain(|name| found(name).is_none());
        names.extend(open.on.iter().flat_map(|on| on.columns()).map(String::as_str));
        let owner = match lookup.of {
            LookIn::Table(table) => &opened.job.sources[table].name,
            LookIn::Features(group) => &opened.job.groups[group].name,
        };
        from.extend(here.iter().filter(|name| *name != IS_THERE).map(|name| format!("{owner}.{name}")));
    }
    let of_source = |source: &&Source| {
        let is_it = |(_, conf): &(&catalog::opened::Source, &Source)| conf.name == source.name;
        let (open, _) = opened.sources.iter().zip(&opened.job.sources).find(is_it).expect("a source of the job");
        let has = |name: &&str| columns::field(&open.schema, name).is_some();
        let mut own: BTreeSet<&str> = names.iter().copied().filter(has).collect();
        if by_time {
            own.extend(open.event_time_columns());
        }
        own.into_iter().map(|name| format!("{}.{name}", source.name)).collect::<Vec<_>>()
    };
    from.extend(sources.iter().flat_map(of_source));
    from.sort_unstable();
    from.dedup();
    from
}

fn of_derived(
    group: &Group,
    index: usize,
    opened: Option<(&Opened, GroupId)>,
    columns: &[ColumnEntry],
    type_of: &dyn Fn(&str) -> Option<String>,
) -> ColumnEntry {
    let Derived { name, of, about, .. } = &group.derived[index];
    let named = opened.map(|(opened, id)| opened.groups[id].derived.named(index).to_vec()).unwrap_or_default();
    let of_columns =
        columns.iter().filter(|column| named.contains(&column.column)).flat_map(|column| column.from.clone());
    let from: BTreeSet<String> = of_columns.collect();
    let meaning = format!("{}, of the row", of.text);
    ColumnEntry {
        column: name.clone(),
        of_type: type_of(name),
        meaning,
        about: about.into(),
        from: from.into_iter().collect(),
    }
}

fn window(group: &Group) -> String {
    let show = duration::display;
    match group.window {
        Window::Trailing => "trailing".to_owned(),
        Window::Tumbling { size } => format!("tumbling {}", show(size)),
        Window::Hopping { size, every } => format!("hopping {} every {}", show(size), show(every)),
        Window::Calendar(calendar) => of_days(calendar),
        Window::Session { gap } => format!("session {}", show(gap)),
    }
}

fn of_days(windows: Calendar) -> String {
    let show = |days: i64| duration::display(Span::from_us(days * duration::DAY_US));
    let (size, every, of_zone) = (windows.size(), windows.every(), calendar::shown(windows));
    if size == every {
        return format!("tumbling {}{of_zone}", show(size));
    }
    format!("hopping {} every {}{of_zone}", show(size), show(every))
}
