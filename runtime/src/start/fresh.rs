//! The plan of a start that goes on from nothing: what a first pass over history and stream decides, before any row is counted.
//!
//! ```text
//! history   files pinned, C = the largest m, per partition the last offset and the largest arrival
//! stream    per partition: held [earliest, end), where reading starts, which records the seam takes
//! both      S = up(the largest arrival of the history rows taken), else up(the smallest eff of the stream)
//! ```

use headwater_clocks::{MatchTime, Tick, WallClock};

use super::bounds::{first_eff, starts};
use super::first_pass::{Seen, first_pass};
use super::{identity, views};
use crate::base::failure::Failure;
use crate::base::id::{Id, IdVec, ScanId, SourceId};
use crate::catalog::opened::Opened;
use crate::plan::Plan;
use crate::plan::group::PlannedGroup;
use crate::plan::scan::Scan;

/// Plans a start. `live`: the run follows its streams, so an empty start may ask the wall clock.
pub fn plan(opened: &Opened, now: WallClock, live: bool) -> Result<Plan, Failure> {
    let scans = opened.sources.ids().map(|source| plan_source(opened, source, now, live));
    Ok(plan_of(opened, now, scans.collect::<Result<_, Failure>>()?))
}

/// The plan of such a start. `scans`: one of each source, in their order.
pub fn plan_of(opened: &Opened, now: WallClock, scans: IdVec<ScanId, Scan>) -> Plan {
    let whole = |group| {
        let sources = opened.graph.all_sources_of(group).into_iter();
        PlannedGroup::whole(opened, group, &sources.map(|source| ScanId::at(source.index())).collect::<Vec<_>>())
    };
    let groups = opened.groups.ids().map(whole).collect();
    let mut plan = Plan::of(now, scans, groups);
    plan.set_views(views::planned(opened, &plan, None));
    plan
}

/// Plans the first scan of a source.
pub fn plan_source(opened: &Opened, id: SourceId, now: WallClock, live: bool) -> Result<Scan, Failure> {
    let (conf, source, tick) = (&opened.job.sources[id], &opened.sources[id], opened.job.tick);
    let until = conf.history.as_ref().and_then(|h| h.complete_until);
    let mut plan = Scan::of(id, identity::of_source(conf, source));
    let mut seen = Seen::default();
    if let Some(history) = &source.history {
        plan.pinned = history.pinned().clone();
        seen = first_pass(conf, source, history.as_ref(), until, now)?;
    }
    plan.c = seen.newest.map(MatchTime::from);
    plan.history_rows = seen.rows;
    let mut bounds = vec![];
    if let Some(stream) = &source.stream {
        bounds = stream.bounds()?;
        let mut gaps = vec![];
        plan.partitions = starts(conf, source, stream.as_ref(), &bounds, &seen, &mut gaps, &mut plan.warnings)?;
        if !gaps.is_empty() {
            let all =
                format!("{}: the stream does not reach back to the history:\n  {}", stream.name(), gaps.join("\n  "));
            if !conf.seam.allow_gap {
                let hint = "\n  set `allow_gap = true` in the source's seam to start anyway";
                return Err(Failure::Refused(all + hint));
            }
            plan.warnings.push(all);
        }
    }
    plan.s = match (seen.newest, &source.stream) {
        (Some(newest), _) => Some(Tick::up(newest, tick)),
        (None, Some(stream)) => {
            first_eff(conf, source, stream.as_ref(), &plan, &bounds)?.map(|eff| Tick::up(eff, tick))
        }
        (None, None) => None,
    };
    plan.timeless = conf.is_timeless();
    if plan.s.is_none() && live && !conf.is_timeless() {
        plan.s = Some(Tick::up(now, tick));
    }
    Ok(plan)
}
