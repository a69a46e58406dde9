//! The sources that a backfill reads, each planned once, whoever reads it then: process 0 plans, and tells the others.

use std::collections::BTreeMap;

use headwater_clocks::WallClock;
use headwater_connectors::format::Pins;
use serde::{Deserialize, Serialize};

use super::replay::part;
use crate::base::failure::Failure;
use crate::base::id::{IdVec, RowsId, SourceId};
use crate::catalog::open::open_to_read;
use crate::catalog::opened::Opened;
use crate::job::{self, Job};
use crate::plan::Plan;
use crate::plan::scan::Scan;
use crate::start::fresh;
use crate::start::log::log_plan;

#[derive(Serialize, Deserialize)]
pub struct Planned {
    pub now: WallClock,
    /// What streams have pinned.
    pins: Pins,
    scans: BTreeMap<SourceId, Scan>,
}

impl Planned {
    /// Finds where history and stream meet, for all that some groups and views are made of.
    pub fn of(opened: &Opened, rows: &[RowsId]) -> Result<Planned, Failure> {
        let mut planned = Planned { now: WallClock::now(), pins: opened.pins(), scans: BTreeMap::new() };
        for source in part::behind(opened, rows.iter().copied()).sources {
            planned.scans.insert(source, fresh::plan_source(opened, source, planned.now, false)?);
        }
        let scans: IdVec<_, Scan> = planned.scans.values().cloned().collect();
        log_plan(opened, &Plan::of(planned.now, scans, IdVec::new()));
        Ok(planned)
    }

    /// Opens the job as the process has it that has planned this: over the same files, up to the same ends.
    pub fn open(&self, job: Job) -> Result<Opened, Failure> {
        let pinned = |source| self.scans.get(&source).map(|scan| scan.pinned.clone());
        let pinned = job.sources.ids().map(pinned).collect();
        let opened = open_to_read(job, &pinned, &self.pins)?;
        for stream in self.scans.keys().filter_map(|source| opened.sources[*source].stream.as_ref()) {
            // What a stream has by now is known to it once it is asked.
            stream.bounds()?;
        }
        Ok(opened)
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
