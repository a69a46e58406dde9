//! What the rows of a sink mean: whether those that it had from an earlier start are still right.

use std::collections::BTreeMap;

use super::canonical;
use crate::catalog::opened::Opened;
use crate::checkpoint::names::changelog;
use crate::checkpoint::resumption::Start;
use crate::job::Sink;
use crate::plan::Plan;

/// What a sink's rows are of, and how they and their fields are called, as a number.
pub fn meaning(plan: &Plan, opened: &Opened, sink: &Sink) -> i64 {
    let mut text = String::new();
    for group in &sink.groups {
        let (planned, shape) = (&plan.groups[*group], &opened.groups[*group].shape);
        let columns = planned.sets.iter().flat_map(|set| &set.columns);
        let columns: BTreeMap<_, _> = columns.filter_map(|c| Some((c.index?, c.identity.as_str()))).collect();
        let (schema, columns) = (canonical::row_schema(&shape.schema), canonical::columns(&columns));
        text += &format!("{} {schema} {} {columns}\n", planned.identity, shape.name);
        for derived in &opened.job.groups[*group].derived {
            text += &format!("derived {} {}\n", derived.name, canonical::quoted(&derived.of.text));
        }
    }
    headwater_operators::keys::hash(text.as_bytes()) as i64
}

/// Whether what a changelog has said is of other rows than those of now, or lies elsewhere.
pub fn resets_changelog(start: &Start, opened: &Opened, sink: &Sink) -> bool {
    let (Some(manifest), Some(lines)) = (start.manifest(), sink.to.lines()) else { return false };
    let position = start.position_of(&opened.job, &changelog(&sink.name), lines.as_ref());
    let before = manifest.plan.changelogs.get(&sink.name);
    start.plan.floor.is_some() && (position.is_none() || before != Some(&meaning(&start.plan, opened, sink)))
}
