//! Which groups and views a backfill is asked for, and how the rows of each are worked out.
//!
//! | rows of | as known at arrival, as served | in hindsight |
//! |---|---|---|
//! | a group of events that stay, with lookups in tables or without | swept | swept |
//! | a group of events that replace one another | replayed | the events are replayed, and swept as they are in the end |
//! | a group that looks up in groups; a view, links | replayed | an error: what they had been made of was known at arrival |

use crate::base::failure::Failure;
use crate::base::id::{HasRows, RowsId};
use crate::job::nearest::expected;
use crate::job::{Group, Job, Lookup, Window};

use super::request::Known;

/// All that has rows of moments, and not of windows: of groups, then of views.
pub fn of_moments(job: &Job) -> impl Iterator<Item = RowsId> {
    job.all_rows().filter(|rows| job.group(*rows).is_none_or(is_trailing))
}

fn is_trailing(group: &Group) -> bool {
    group.window == Window::Trailing
}

/// Whether rows are worked out by a replay of the job.
pub fn is_replayed(job: &Job, rows: RowsId) -> bool {
    let is_plain = |group: &Group| {
        let mut sources = group.sources.iter();
        !has_rows_before(group) && sources.all(|source| job.sources[*source].replaced.is_none())
    };
    !job.group(rows).is_some_and(is_plain)
}

/// Whether rows have a meaning in hindsight.
pub fn has_hindsight(job: &Job, rows: RowsId) -> bool {
    job.group(rows).is_some_and(|group| !has_rows_before(group))
}

fn has_rows_before(group: &Group) -> bool {
    group.lookups.iter().any(|lookup| lookup.features().is_some())
}

/// In the order of the job. `features`: by name; otherwise every trailing and lifetime group.
pub fn rows(job: &Job, features: Option<&[String]>, known: Known) -> Result<Vec<RowsId>, Failure> {
    let asked = match features {
        Some(features) => named(job, features)?,
        None => job.groups.pairs().filter(|(_, group)| is_trailing(group)).map(|(id, _)| id.into()).collect(),
    };
    if asked.is_empty() {
        let none = "the job has no trailing or lifetime group: there is nothing to backfill".to_owned();
        let hint = if job.views.is_empty() { "" } else { " (views and links only where --features names them)" };
        return Err(Failure::Usage(none + hint));
    }
    match asked.iter().find(|rows| known == Known::Event && !has_hindsight(job, **rows)) {
        Some(rows) => Err(Failure::Usage(no_hindsight(job, *rows))),
        None => Ok(asked),
    }
}

fn no_hindsight(job: &Job, rows: RowsId) -> String {
    let what = match job.owner(rows) {
        HasRows::View(view) => format!("is {}", job.views[view].of.kind().replace("view", "a view")),
        HasRows::Group(group) => {
            let looked_up = job.groups[group].lookups.iter().find_map(Lookup::features);
            format!("looks up in group `{}`", looked_up.map_or("", |group| job.groups[group].name.as_str()))
        }
    };
    format!(
        "--known event: `{}` {what}: it is made of rows as they were known at arrival, and has no hindsight (ask for `--known arrival`, or \
         leave it out with --features)",
        job.name_of(rows)
    )
}

fn named(job: &Job, features: &[String]) -> Result<Vec<RowsId>, Failure> {
    let mut asked = vec![];
    for name in features {
        let Some(rows) = job.all_rows().find(|rows| job.name_of(*rows) == name) else {
            let near = expected(name, of_moments(job).map(|rows| job.name_of(rows)));
            return Err(Failure::Usage(format!("--features: the job has no group or view `{name}`: {near}")));
        };
        let kind = job.group(rows).and_then(|group| match group.window {
            Window::Trailing => None,
            Window::Tumbling { .. } => Some("tumbling"),
            Window::Hopping { .. } => Some("hopping"),
            Window::Calendar(_) => Some("calendar"),
            Window::Session { .. } => Some("session"),
        });
        if let Some(kind) = kind {
            return Err(Failure::Usage(format!(
                "--features: `{name}` has {kind} windows, and its rows are of windows, not of moments: a backfill has trailing and \
                 lifetime groups, views and links only"
            )));
        }
        asked.push(rows);
    }
    asked.sort_unstable();
    asked.dedup();
    Ok(asked)
}
