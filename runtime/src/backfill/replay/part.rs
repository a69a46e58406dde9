//! The part of a job that some rows are made of.

use std::path::Path;
use std::sync::Arc;

use headwater_connectors::history::History;

use crate::base::failure::Failure;
use crate::base::id::{HasRows, RowsId};
use crate::catalog::graph::Kind;
use crate::catalog::open::open_to_read;
use crate::catalog::opened::Opened;
use crate::job::only::JobPart;

/// All that the rows of some groups and views are made of, over however many others.
pub fn behind(opened: &Opened, rows: impl Iterator<Item = RowsId>) -> JobPart {
    let mut kept = JobPart::default();
    for rows in rows {
        match opened.job.owner(rows) {
            HasRows::Group(group) => keep(opened, Kind::Group(group), &mut kept),
            HasRows::View(view) => keep(opened, Kind::View(view), &mut kept),
        }
    }
    kept
}

fn keep(opened: &Opened, kind: Kind, kept: &mut JobPart) {
    match kind {
        Kind::Source(source) => _ = kept.sources.insert(source),
        Kind::Group(group) => {
            if kept.groups.insert(group) {
                kept.sources.extend(opened.graph.sources_of(group));
                opened.graph.looked_up_by(group).for_each(|other| keep(opened, Kind::Group(other), kept));
            }
        }
        Kind::View(view) => {
            if kept.views.insert(view) {
                opened.graph.read_by(view).for_each(|read| keep(opened, read, kept));
            }
        }
        Kind::Sink(_) | Kind::DeadLetters => {}
    }
}

/// Opens it, over the same files. What it keeps lies in `dir`.
pub fn open(whole: &Opened, kept: &JobPart, dir: &Path) -> Result<Opened, Failure> {
    let pinned = |history: &Arc<dyn History>| history.pinned().clone();
    let pinned = kept.sources.iter().map(|id| whole.sources[*id].history.as_ref().map(pinned)).collect();
    let mut opened = open_to_read(whole.job.only(kept), &pinned, &whole.pins())?;
    for stream in opened.sources.iter().filter_map(|source| source.stream.as_ref()) {
        // What a stream has by now is known to it once it is asked.
        stream.bounds()?;
    }
    opened.job.state.path = dir.join("state").display().to_string();
    opened.job.state.local = dir.to_owned();
    Ok(opened)
}
