//! The sources that a backfill reads, each planned once, whoever reads it then.

use std::collections::BTreeMap;

use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec, SourceId};
use crate::base::time::WallClock;
use crate::catalog::graph::Kind;
use crate::catalog::opened::Opened;
use crate::job;
use crate::plan::Plan;
use crate::plan::scan::Scan;
use crate::start::fresh;
use crate::start::told::say_plan;

pub struct Planned {
    pub now: WallClock,
    scans: BTreeMap<SourceId, Scan>,
}

impl Planned {
    /// Finds where history and stream meet, for all that some groups and views are made of.
    pub fn of(opened: &Opened, rows: &[GroupId]) -> Result<Planned, Failure> {
        let mut planned = Planned { now: WallClock::now(), scans: BTreeMap::new() };
        for source in rows.iter().flat_map(|rows| sources_behind(opened, *rows)) {
            if let std::collections::btree_map::Entry::Vacant(new) = planned.scans.entry(source) {
                new.insert(fresh::plan_source(opened, source, planned.now, false)?);
            }
        }
        let scans: IdVec<_, Scan> = planned.scans.values().cloned().collect();
        say_plan(opened, &Plan::of(planned.now, scans, IdVec::new()));
        Ok(planned)
    }

    /// As a plan begins with it.
    pub fn scan(&self, source: SourceId) -> Scan {
        self.scans[&source].clone()
    }

    pub fn warn_of_lost_lateness(&self, opened: &Opened) {
        let has_lost = |source: &&job::Source| {
            source.history.is_some() && source.arrival_time.is_none() && source.event_time.is_some()
        };
        for source in self.scans.keys().map(|source| &opened.job.sources[*source]).filter(has_lost) {
            tracing::warn!(
                source = source.name,
                "its history does not say when records arrived (`arrival_time`), and so not which came late: each counts from its event \
                 time on, which may be sooner than a run could know it"
            );
        }
    }
}

/// All that the rows of a group or a view are made of, over however many others.
fn sources_behind(opened: &Opened, rows: GroupId) -> Vec<SourceId> {
    let Some(view) = opened.job.view_of(rows) else { return opened.graph.all_sources_of(rows) };
    let of_kind = |kind| match kind {
        Kind::Group(group) => opened.graph.all_sources_of(group),
        Kind::Source(table) => vec![table],
        Kind::View(_) | Kind::Sink(_) | Kind::DeadLetters => vec![],
    };
    opened.graph.behind(view).into_iter().flat_map(of_kind).collect()
}
