//! The sources that a backfill reads, each planned once, whoever reads it then.

use std::collections::BTreeMap;

use headwater_clocks::WallClock;

use super::replay::part;
use crate::base::failure::Failure;
use crate::base::id::{IdVec, RowsId, SourceId};
use crate::catalog::opened::Opened;
use crate::job;
use crate::plan::Plan;
use crate::plan::scan::Scan;
use crate::start::fresh;
use crate::start::log::log_plan;

pub struct Planned {
    pub now: WallClock,
    scans: BTreeMap<SourceId, Scan>,
}

impl Planned {
    /// Finds where history and stream meet, for all that some groups and views are made of.
    pub fn of(opened: &Opened, rows: &[RowsId]) -> Result<Planned, Failure> {
        let mut planned = Planned { now: WallClock::now(), scans: BTreeMap::new() };
        for source in part::behind(opened, rows.iter().copied()).sources {
            planned.scans.insert(source, fresh::plan_source(opened, source, planned.now, false)?);
        }
        let scans: IdVec<_, Scan> = planned.scans.values().cloned().collect();
        log_plan(opened, &Plan::of(planned.now, scans, IdVec::new()));
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
