//! What the rows of a sink mean: whether those that it had from an earlier start are still right.

use std::collections::BTreeMap;

use super::{canonical, identity};
use crate::base::id::{GroupId, HasRows, RowsId, ViewId};
use crate::catalog::graph::Kind;
use crate::catalog::opened::Opened;
use crate::checkpoint::names::changelog;
use crate::checkpoint::resumption::Start;
use crate::job::Sink;
use crate::job::view::{LinkedBy, Of};
use crate::plan::Plan;

/// What a sink's rows are of, and how they and their fields are called, as a number.
pub fn meaning(plan: &Plan, opened: &Opened, sink: &Sink) -> i64 {
    let text: String = sink.rows.iter().map(|rows| of_rows(plan, opened, *rows)).collect();
    headwater_operators::keys::hash(text.as_bytes()) as i64
}

/// What the rows of a group or a view are of, and how they and their fields are called.
pub fn of_rows(plan: &Plan, opened: &Opened, rows: RowsId) -> String {
    match opened.job.owner(rows) {
        HasRows::Group(group) => of_group(plan, opened, group),
        HasRows::View(view) => of_view(plan, opened, view),
    }
}

fn of_view(plan: &Plan, opened: &Opened, view: ViewId) -> String {
    let mut text = of_query(opened, view) + "\n";
    for kind in opened.graph.read_by(view) {
        text += &match kind {
            Kind::Group(group) => of_group(plan, opened, group),
            Kind::View(other) => of_view(plan, opened, other),
            Kind::Source(table) => identity::of_source(&opened.job.sources[table], &opened.sources[table]) + "\n",
            Kind::Sink(_) | Kind::DeadLetters => String::new(),
        };
    }
    text
}

/// What a view asks, by itself.
pub fn of_query(opened: &Opened, view: ViewId) -> String {
    let shape = &opened.views[view].shape;
    let of = match &opened.job.views[view].of {
        Of::Sql(sql) => canonical::quoted(&sql.text),
        Of::Links(links) => {
            let names = links.by.columns().into_iter().map(|named| canonical::quoted(&named.text));
            let names = names.collect::<Vec<_>>().join(" ");
            let by = if matches!(links.by, LinkedBy::Things { .. }) { "things" } else { "entities" };
            format!("links by {by} {names} up to {} of {}", links.max_degree, canonical::quoted(&links.from.text))
        }
    };
    format!("view {} {} of {of}", shape.name, canonical::row_schema(&shape.schema))
}

fn of_group(plan: &Plan, opened: &Opened, group: GroupId) -> String {
    let (planned, shape) = (&plan.groups[group], &opened.groups[group].shape);
    let columns = planned.sets.iter().flat_map(|set| &set.columns);
    let columns: BTreeMap<_, _> = columns.filter_map(|c| Some((c.index?, c.identity.as_str()))).collect();
    let (schema, columns) = (canonical::row_schema(&shape.schema), canonical::columns(&columns));
    let mut text = format!("{} {schema} {} {columns}\n", planned.identity, shape.name);
    for derived in &opened.job.groups[group].derived {
        text += &format!("derived {} {}\n", derived.name, canonical::quoted(&derived.of.text));
    }
    text
}

/// Whether what a changelog has said is of other rows than those of now, or lies elsewhere.
pub fn resets_changelog(start: &Start, opened: &Opened, sink: &Sink) -> bool {
    let (Some(manifest), Some(lines)) = (start.manifest(), sink.to.lines()) else { return false };
    let position = start.position_of(&opened.job, &changelog(&sink.name), lines.as_ref());
    let before = manifest.plan.changelogs.get(&sink.name);
    start.plan.floor.is_some() && (position.is_none() || before != Some(&meaning(&start.plan, opened, sink)))
}
