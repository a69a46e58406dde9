//! The catalogue as a page of Markdown.

use std::fmt::{Result, Write};

use super::entries::{AboutEntry, Catalog, GroupEntry, JobEntry, MadeOf, SourceEntry, SourceKind, ViewEntry};
use super::text::held;

pub fn show(catalog: &Catalog) -> String {
    let mut out = "# Features\n".to_owned();
    for job in &catalog.jobs {
        // Writing to memory does not fail.
        let _ = show_job(&mut out, job);
    }
    out
}

fn show_job(out: &mut String, job: &JobEntry) -> Result {
    writeln!(out, "\n## Job `{}`\n\nIn `{}`.", job.job, job.file)?;
    if let Some(problem) = &job.problem {
        writeln!(out, "\nWithout types and lineage: {}", cell(problem))?;
    }
    job.sources.iter().try_for_each(|source| show_source(out, source))?;
    job.features.iter().try_for_each(|group| show_group(out, group))?;
    job.views.iter().try_for_each(|view| show_view(out, view))
}

fn show_source(out: &mut String, source: &SourceEntry) -> Result {
    let kind = if source.kind == SourceKind::Table { "Table" } else { "Source" };
    writeln!(out, "\n### {kind} `{}`\n", source.source)?;
    show_about(out, &source.about)?;
    let arrival = source.arrival_time.as_ref().map_or_else(String::new, |time| format!(", arrival `{time}`"));
    writeln!(out, "- time: `{}`{arrival}, lateness {}", source.event_time, source.lateness)?;
    for (what, said) in [("history", &source.history), ("stream", &source.stream)] {
        said.iter().try_for_each(|said| writeln!(out, "- {what}: {}", cell(said)))?;
    }
    if source.history.is_some() && source.stream.is_some() {
        writeln!(out, "- seam: {}", source.seam)?;
    }
    if !source.primary_key.is_empty() {
        writeln!(out, "- a row by `{}`", source.primary_key.join("`, `"))?;
    }
    source.retention.iter().try_for_each(|length| writeln!(out, "- windows hold {}", held(length)))?;
    if source.columns.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| column | type |\n|---|---|")?;
    source
        .columns
        .iter()
        .try_for_each(|c| writeln!(out, "| `{}` | {} |", c.name, cell(c.of_type.as_deref().unwrap_or_default())))
}

fn show_group(out: &mut String, group: &GroupEntry) -> Result {
    writeln!(out, "\n### Features `{}`\n", group.features)?;
    show_about(out, &group.about)?;
    let key = names(&group.key);
    writeln!(out, "- of `{}`, by {key}, {}", group.sources.join("` and `"), group.window)?;
    group.rows.iter().try_for_each(|line| writeln!(out, "- {}", cell(line)))?;
    group.served.iter().try_for_each(|sink| writeln!(out, "- served in {}", cell(sink)))?;
    if let Some(history) = &group.history {
        writeln!(out, "- readable at any time of the last {history}")?;
    }
    if let Some(fresh) = &group.freshness {
        writeln!(out, "- fresh as of {}, {:.1} s ago", fresh.as_of, fresh.staleness_seconds)?;
    }
    writeln!(out, "\n| column | type | meaning | from |\n|---|---|---|---|")?;
    for column in &group.columns {
        let AboutEntry { description, owner, tags } = &column.about;
        let tags = (!tags.is_empty()).then(|| tags.join(", "));
        let said: Vec<String> =
            description.iter().cloned().chain([column.meaning.clone()]).chain(owner.clone()).chain(tags).collect();
        let from: Vec<String> = column.from.iter().map(|name| format!("`{name}`")).collect();
        let of_type = column.of_type.as_deref().unwrap_or_default();
        writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            column.column,
            cell(of_type),
            cell(&said.join("; ")),
            from.join(", ")
        )?;
    }
    Ok(())
}

fn show_view(out: &mut String, view: &ViewEntry) -> Result {
    writeln!(out, "\n### View `{}`\n", view.view)?;
    show_about(out, &view.about)?;
    let key = names(&view.key);
    writeln!(out, "- of `{}`, by {key}", view.reads.join("` and `"))?;
    writeln!(out, "- SQL: `{}`", view.sql)?;
    view.served.iter().try_for_each(|sink| writeln!(out, "- served in {}", cell(sink)))?;
    if let Some(history) = &view.history {
        writeln!(out, "- readable at any time of the last {history}")?;
    }
    if let Some(fresh) = &view.freshness {
        writeln!(out, "- fresh as of {}, {:.1} s ago", fresh.as_of, fresh.staleness_seconds)?;
    }
    if view.columns.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| column | type | from |\n|---|---|---|")?;
    for MadeOf { field, from } in &view.columns {
        let from: Vec<String> = from.iter().map(|name| format!("`{name}`")).collect();
        let of_type = cell(field.of_type.as_deref().unwrap_or_default());
        writeln!(out, "| `{}` | {of_type} | {} |", field.name, from.join(", "))?;
    }
    Ok(())
}

fn names(key: &[MadeOf]) -> String {
    let name = |MadeOf { field, from }: &MadeOf| match from.as_slice() {
        [] => format!("`{field}`"),
        from => format!("`{field}` (from `{}`)", from.join("`, `")),
    };
    key.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn show_about(out: &mut String, AboutEntry { description, owner, tags }: &AboutEntry) -> Result {
    description.iter().try_for_each(|description| writeln!(out, "{description}\n"))?;
    owner.iter().try_for_each(|owner| writeln!(out, "- owner: {owner}"))?;
    if tags.is_empty() { Ok(()) } else { writeln!(out, "- tags: {}", tags.join(", ")) }
}

/// Text that breaks no table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
