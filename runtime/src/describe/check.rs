//! What a run of a job would do, without doing it. Nothing is claimed and nothing is written.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use headwater_clocks::{Tick, WallClock};
use headwater_connectors::format::Pins;
use headwater_connectors::history::Pinned;

use super::meaning;
use crate::base::failure::Failure;
use crate::base::human::{HumanBytes, HumanCount};
use crate::base::id::{GroupId, IdVec, RowsId, SourceId, ViewId};
use crate::catalog::graph::Kind;
use crate::catalog::open::open;
use crate::catalog::opened::Opened;
use crate::catalog::source::directories;
use crate::checkpoint::manifest::{self, Manifest};
use crate::checkpoint::resumption::Start;
use crate::checkpoint::store::StateStore;
use crate::ingest::seam::compared_from;
use crate::job::validate::types;
use crate::job::view::Of;
use crate::job::{self, Job, SeamBy};
use crate::observe::reporter;
use crate::plan::Plan;
use crate::plan::mode::Mode;
use crate::plan::scan::Scan;
use crate::start::changed::Changed;
use crate::start::fresh;
use crate::start::go_on::go_on;
use crate::start::meaning::resets_changelog;
use crate::start::pinned::pins;

/// A job that was looked at.
pub struct Looked {
    /// What a run would do, told.
    pub text: String,
    pub opened: Arc<Opened>,
    /// How it would start, if it would.
    pub start: Result<Start, Failure>,
}

/// Looks at a job.
pub fn look(job: Job) -> Result<Looked, Failure> {
    let pins = match job.has_pins() {
        true => pins(&StateStore::open(&job, 0, Arc::default())?)?,
        false => Pins::new(),
    };
    let opened = Arc::new(open(job, &IdVec::new(), &pins)?);
    let found = match opened.has_stream() {
        true => manifest::look(&StateStore::open(&opened.job, 0, Arc::default())?)?,
        false => None,
    };
    let changed = found.as_ref().map(|manifest| Changed::between(&manifest.plan, &opened));
    let planned = match (found.clone(), &changed) {
        (Some(manifest), Some(changed)) if changed.goes_on(&manifest) => {
            go_on(&opened, manifest, changed, WallClock::now(), Mode::Follow)
        }
        _ => plan_anew(&opened).map(|plan| Start { plan, from: None }),
    };
    let mut text = vec![];
    // Writing to memory does not fail.
    let _ = tell(&mut text, &opened, planned.as_ref().ok().map(|start| &start.plan));
    if let Some((manifest, changed)) = found.as_ref().zip(changed.as_ref()) {
        let _ = tell_state(&mut text, &opened, (manifest, changed), planned.as_ref().ok());
    }
    Ok(Looked { text: String::from_utf8_lossy(&text).into_owned(), opened, start: planned })
}

/// What a start without a state would read.
pub fn plan_anew(opened: &Arc<Opened>) -> Result<Plan, Failure> {
    let live = opened.job.sources.iter().any(|source| source.stream.is_some());
    fresh::plan(opened, WallClock::now(), live)
}

/// What a run would go on with, what it would compute anew, and what it would remove.
fn tell_state(
    out: &mut Vec<u8>,
    opened: &Opened,
    (manifest, changed): (&Manifest, &Changed),
    start: Option<&Start>,
) -> std::io::Result<()> {
    let number = manifest.number;
    let t = manifest.t_of_rows();
    let t = t.map_or_else(|| "not begun, the history is being read".to_owned(), |t| format!("T = {t}"));
    writeln!(out, "\nstate in {}", opened.job.state.path)?;
    writeln!(out, "  checkpoint {number}: {t}")?;
    if !changed.goes_on(manifest) {
        return writeln!(out, "  the job is another one: everything is computed anew from the history");
    }
    for (group, changed) in opened.job.groups.iter().zip(&changed.groups) {
        let names = |new: bool| {
            let some = (0..group.columns.len()).filter(|column| changed.new.contains(column) == new);
            some.map(|column| group.columns[column].name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let told = [("resumed", names(false)), ("computed", names(true))];
        for (what, names) in told.iter().filter(|(_, names)| !names.is_empty()) {
            writeln!(out, "  {what:9} {}: {names}", group.name)?;
        }
    }
    if !changed.removed.is_empty() {
        writeln!(out, "  removed   {}", changed.removed.join(" "))?;
    }
    let anew = |sink: &&job::Sink| start.is_some_and(|start| resets_changelog(start, opened, sink));
    for sink in opened.job.sinks.iter().filter(anew) {
        writeln!(out, "  reset     {}: it begins anew with every row, and what it said before is void", sink.name)?;
    }
    Ok(())
}

fn tell(out: &mut Vec<u8>, opened: &Opened, plan: Option<&Plan>) -> std::io::Result<()> {
    let job = &opened.job;
    writeln!(out, "job {}, tick {}", job.name, job::duration::display(job.tick))?;
    for id in opened.sources.ids() {
        tell_source(out, opened, id, plan.map(|plan| plan.of_source(id)))?;
    }
    for id in opened.groups.ids() {
        tell_group(out, opened, id, plan)?;
    }
    for id in opened.views.ids() {
        tell_view(out, opened, id, plan)?;
    }
    tell_sinks(out, job)?;
    for warning in &job.warnings {
        writeln!(out, "{}: warning: {}", job.places.show(warning.at), warning.message)?;
    }
    for scan in plan.iter().flat_map(|plan| &plan.scans) {
        for warning in &scan.warnings {
            writeln!(out, "warning: source {}: {warning}", job.sources[scan.source].name)?;
        }
    }
    Ok(())
}

fn tell_source(out: &mut Vec<u8>, opened: &Opened, id: SourceId, plan: Option<&Scan>) -> std::io::Result<()> {
    let (conf, open) = (&opened.job.sources[id], &opened.sources[id]);
    writeln!(out, "\n{} {}", if conf.table.is_some() { "table" } else { "source" }, conf.name)?;
    let named = [("", &conf.event_time), ("arrival ", &conf.arrival_time)];
    let times = named.iter().filter_map(|(role, time)| Some(format!("{role}{}", time.as_ref()?.text)));
    let times = times.collect::<Vec<_>>().join(", ");
    writeln!(out, "  time      {}", if times.is_empty() { "none: it has been there for ever" } else { &times })?;
    if let Some(replaced) = &conf.replaced {
        writeln!(out, "  replaced  {}", meaning::of_replaced(&opened.job, id, replaced))?;
    }
    if let (Some(history), Some(conf)) = (&open.history, &conf.history) {
        let Pinned { files, version } = history.pinned();
        let version = version.as_ref().map_or_else(String::new, |version| format!(", {version}"));
        let bytes = files.iter().map(|file| file.size).sum();
        let rows = match history.pieces(&[]) {
            Ok(pieces) => HumanCount(pieces.iter().map(|piece| piece.rows).sum()).to_string(),
            Err(e) => format!("({e})"),
        };
        let files = files.len();
        writeln!(
            out,
            "  history   {files} files, {rows} rows, {}: {}{version}",
            HumanBytes(bytes),
            conf.config.path()
        )?;
    }
    if let Some(stream) = &conf.stream {
        let partitions = plan.map_or_else(String::new, |plan| format!(", {} partitions", plan.partitions.len()));
        writeln!(out, "  stream    {}{partitions}", stream.config.describe())?;
    }
    if let Some(plan) = plan {
        tell_seam(out, conf, plan)?;
    }
    for note in notes(conf).into_iter().chain(unread(opened, id)) {
        writeln!(out, "  note      {note}")?;
    }
    for (name, data_type) in directories(conf, open.history.as_ref().map(|history| history.pinned())) {
        if conf.schema.iter().flatten().any(|(named, _)| named.text == name) {
            let hint = format!("with partitions = {{ {name} = \"{data_type}\" }} on the history they are it");
            writeln!(out, "  note      `{name}` is read of the records, not of the directories `{name}=...`: {hint}")?;
        }
    }
    Ok(())
}

fn tell_seam(out: &mut Vec<u8>, conf: &job::Source, plan: &Scan) -> std::io::Result<()> {
    if conf.history.is_some() && conf.stream.is_some() {
        let rows = HumanCount(plan.history_rows);
        writeln!(out, "  seam      by {}, {rows} history rows are taken", reporter::by(&conf.seam.by))?;
        writeln!(out, "            C = {} (the history ends)", known(plan.c))?;
        if let (SeamBy::Id { overlap, .. }, Some(_)) = (&conf.seam.by, plan.c) {
            let from = compared_from(plan.c, *overlap);
            writeln!(out, "            ids are compared from {from} on")?;
        }
    }
    writeln!(out, "            S = {} (results begin)", known(plan.s))?;
    if plan.partitions.is_empty() {
        return Ok(());
    }
    writeln!(out, "            {:>9}  {:>15}  {:>10}  {:>10}", "partition", "last in history", "first read", "end")?;
    for p in &plan.partitions {
        let last = p.history_offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        writeln!(out, "            {:>9}  {last:>15}  {:>10}  {:>10}", p.partition, p.start, p.end)?;
    }
    Ok(())
}

fn known(time: Option<impl Display>) -> String {
    time.map_or_else(|| "not known yet: nothing is there".to_owned(), |time| time.to_string())
}

/// What is taken for granted.
fn notes(conf: &job::Source) -> Vec<&'static str> {
    let mut notes = vec![];
    let Some(history) = &conf.history else { return notes };
    if conf.arrival_time.is_none() {
        notes.push("without an `arrival_time` the history does not say what came late: its events count from their event time on");
    }
    if conf.stream.is_some() && matches!(conf.seam.by, SeamBy::Time) && history.complete_until.is_none() {
        notes.push(
            "the seam takes for granted that the history holds every record up to C; `complete_until` is the safe form",
        );
    }
    if conf.stream.is_some() && matches!(conf.seam.by, SeamBy::Id { .. }) {
        notes.push("the seam takes for granted that the history holds every record of before the overlap");
    }
    notes
}

/// Of what nobody reads.
fn unread(opened: &Opened, id: SourceId) -> Option<&'static str> {
    let is_read = opened.graph.groups_of(id).next().is_some() || opened.graph.is_viewed(Kind::Source(id));
    match (is_read, opened.sources[id].rows().is_some()) {
        (true, _) => None,
        (false, true) => Some("nobody reads it: it moves T, and its dead letters are told"),
        (false, false) => {
            Some("no group reads it: it moves T, and of its records only those without an event time are looked at")
        }
    }
}

fn tell_group(out: &mut Vec<u8>, opened: &Opened, id: GroupId, plan: Option<&Plan>) -> std::io::Result<()> {
    let (group, open) = (&opened.job.groups[id], &opened.groups[id]);
    writeln!(out, "\nfeatures {}, of {}", group.name, opened.sources_of(id))?;
    let seam = plan.and_then(|plan| plan.s(id));
    let near = seam.unwrap_or_else(|| Tick::down(WallClock::now(), opened.job.tick));
    for line in meaning::of_rows(group, opened.lateness(id), near) {
        writeln!(out, "  {line}")?;
    }
    for line in meaning::of_lookups(&opened.job, group).into_iter().chain(meaning::of_lookers(&opened.job, id)) {
        writeln!(out, "  {line}")?;
    }
    tell_history(out, opened, id)?;
    let shape = &open.shape;
    let fields = &shape.schema.fields()[shape.columns()];
    let keys = &shape.schema.fields()[..shape.keys];
    let width = keys.iter().chain(fields).map(|field| field.name().chars().count()).max().unwrap_or(0);
    let kinds = keys.iter().chain(fields).map(|field| types::display(field.data_type()).chars().count());
    let kinds = kinds.max().unwrap_or(0).max(12);
    for key in keys {
        writeln!(out, "  {:width$}  {:kinds$}  key", key.name(), types::display(key.data_type()))?;
    }
    for (field, column) in fields.iter().zip(&group.columns) {
        let kind = types::display(field.data_type());
        writeln!(out, "  {:width$}  {kind:kinds$}  {}", field.name(), meaning::of_column(group, column))?;
    }
    for (field, derived) in fields.iter().skip(group.columns.len()).zip(&group.derived) {
        let kind = types::display(field.data_type());
        writeln!(out, "  {:width$}  {kind:kinds$}  {}, of the row", field.name(), derived.of.text)?;
    }
    Ok(())
}

fn tell_history(out: &mut Vec<u8>, opened: &Opened, rows: impl Into<RowsId>) -> std::io::Result<()> {
    let history = opened.job.history_of(rows).map(meaning::of_history);
    history.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

fn tell_view(out: &mut Vec<u8>, opened: &Opened, id: ViewId, plan: Option<&Plan>) -> std::io::Result<()> {
    let rows = opened.job.rows_of(id);
    let view = &opened.job.views[id];
    writeln!(out, "\n{} {}, of {}", view.of.kind(), view.name, opened.names_read_by(id).join(" and "))?;
    if let Of::Links(links) = &view.of {
        writeln!(out, "  {}", meaning::of_links(links))?;
    }
    if let Some(plan) = plan {
        writeln!(out, "  rows      from S = {} on, computed anew by each start", known(plan.s(rows)))?;
    }
    tell_history(out, opened, rows)?;
    let shape = opened.shape(rows);
    let fields = &shape.schema.fields()[..shape.schema.fields().len() - 2];
    let width = fields.iter().map(|field| field.name().chars().count()).max().unwrap_or(0);
    let kinds = fields.iter().map(|field| types::display(field.data_type()).chars().count()).max().unwrap_or(0).max(12);
    for (at, field) in fields.iter().enumerate() {
        let kind = types::display(field.data_type());
        let role = if at < shape.keys { "key" } else { "" };
        writeln!(out, "  {}", format!("{:width$}  {kind:kinds$}  {role}", field.name()).trim_end())?;
    }
    Ok(())
}

fn tell_sinks(out: &mut Vec<u8>, job: &Job) -> std::io::Result<()> {
    writeln!(out, "\nsinks")?;
    for sink in &job.sinks {
        let groups: Vec<&str> = sink.rows.iter().map(|rows| job.name_of(*rows)).collect();
        writeln!(out, "  {}: {}: {}", sink.name, sink.to.describe(), groups.join(", "))?;
    }
    writeln!(out, "  dead letters: {}", job.dead_letters.describe())
}
