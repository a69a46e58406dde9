//! The catalogue for a terminal.

use std::fmt::{Result, Write};

use super::entries::{
    AboutEntry, Catalog, ColumnEntry, Freshness, GroupEntry, JobEntry, MadeOf, SourceEntry, ViewEntry,
};

pub fn show(catalog: &Catalog) -> String {
    let mut out = String::new();
    for (n, job) in catalog.jobs.iter().enumerate() {
        // Writing to memory does not fail.
        let _ = show_job(&mut out, job, n == 0);
    }
    out
}

fn show_job(out: &mut String, job: &JobEntry, first: bool) -> Result {
    writeln!(out, "{}job {} ({})", if first { "" } else { "\n" }, job.job, job.file)?;
    for line in job.problem.iter().flat_map(|problem| problem.lines()) {
        writeln!(out, "  without types and lineage: {line}")?;
    }
    job.sources.iter().try_for_each(|source| show_source(out, source))?;
    job.features.iter().try_for_each(|group| show_group(out, group))?;
    job.views.iter().try_for_each(|view| show_view(out, view))
}

fn show_source(out: &mut String, source: &SourceEntry) -> Result {
    writeln!(out, "\n  {} {}{}", source.kind, source.source, about(&source.about))?;
    let arrival = source.arrival_time.as_ref().map_or_else(String::new, |time| format!(", arrival {time}"));
    writeln!(out, "    time      {}{arrival}, lateness {}", source.event_time, source.lateness)?;
    for (what, said) in [("history", &source.history), ("stream", &source.stream)] {
        said.iter().try_for_each(|said| writeln!(out, "    {what:8}  {said}"))?;
    }
    if source.history.is_some() && source.stream.is_some() {
        writeln!(out, "    seam      {}", source.seam)?;
    }
    if !source.primary_key.is_empty() {
        writeln!(out, "    a row     by {}", source.primary_key.join(", "))?;
    }
    source.retention.iter().try_for_each(|length| writeln!(out, "    held      {}", held(length)))?;
    let columns: Vec<String> = source.columns.iter().map(ToString::to_string).collect();
    if columns.is_empty() { Ok(()) } else { writeln!(out, "    columns   {}", columns.join(", ")) }
}

fn show_group(out: &mut String, group: &GroupEntry) -> Result {
    writeln!(out, "\n  features {}{}", group.features, about(&group.about))?;
    writeln!(out, "    of        {}, by {}, {}", group.sources.join(" and "), names(&group.key), group.window)?;
    group.rows.iter().try_for_each(|line| writeln!(out, "    rows      {line}"))?;
    group.served.iter().try_for_each(|sink| writeln!(out, "    served    {sink}"))?;
    group.history.iter().try_for_each(|length| writeln!(out, "    earlier   of the last {length}"))?;
    if let Some(Freshness { as_of, staleness_seconds }) = &group.freshness {
        writeln!(out, "    fresh     as of {as_of}, {staleness_seconds:.1}s ago")?;
    }
    let width = group.columns.iter().map(|column| column.column.chars().count()).max().unwrap_or(0);
    let types = group.columns.iter().filter_map(|column| column.of_type.as_ref());
    let types = types.map(|of_type| of_type.chars().count()).max().unwrap_or(0);
    group.columns.iter().try_for_each(|column| show_column(out, column, (width, types)))
}

fn show_view(out: &mut String, view: &ViewEntry) -> Result {
    writeln!(out, "\n  view {}{}", view.view, about(&view.about))?;
    writeln!(out, "    of        {}, by {}", view.reads.join(" and "), names(&view.key))?;
    writeln!(out, "    sql       {}", view.sql)?;
    view.served.iter().try_for_each(|sink| writeln!(out, "    served    {sink}"))?;
    view.history.iter().try_for_each(|length| writeln!(out, "    earlier   of the last {length}"))?;
    if let Some(Freshness { as_of, staleness_seconds }) = &view.freshness {
        writeln!(out, "    fresh     as of {as_of}, {staleness_seconds:.1}s ago")?;
    }
    for (at, MadeOf { field, from }) in view.columns.iter().enumerate() {
        let what = if at == 0 { "columns" } else { "" };
        let from = if from.is_empty() { String::new() } else { format!("  from {}", from.join(", ")) };
        writeln!(out, "    {what:9} {field}{from}")?;
    }
    Ok(())
}

fn names(key: &[MadeOf]) -> String {
    let name = |MadeOf { field, from }: &MadeOf| match from.as_slice() {
        [] => field.to_string(),
        from => format!("{field} (from {})", from.join(", ")),
    };
    key.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Of how long a time windows hold events.
pub fn held(length: &str) -> String {
    match length {
        "all" => "events of all time".to_owned(),
        length => format!("events of the last {length}"),
    }
}

fn show_column(out: &mut String, column: &ColumnEntry, (width, types): (usize, usize)) -> Result {
    let of_type = column.of_type.as_deref().unwrap_or_default();
    writeln!(out, "    {:width$}  {of_type:types$}  {}{}", column.column, column.meaning, about(&column.about))?;
    if column.from.is_empty() {
        return Ok(());
    }
    writeln!(out, "    {:width$}  {:types$}  from {}", "", "", column.from.join(", "))
}

/// `: what it is  [owner; tag, tag]`
fn about(about: &AboutEntry) -> String {
    let AboutEntry { description, owner, tags } = about;
    let described = description.as_ref().map_or_else(String::new, |description| format!(": {description}"));
    let tags = (!tags.is_empty()).then(|| tags.join(", "));
    let known: Vec<String> = owner.iter().cloned().chain(tags).collect();
    if known.is_empty() { described } else { format!("{described}  [{}]", known.join("; ")) }
}
