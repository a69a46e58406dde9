//! The clock: how far the job's own time `T` has come, by what every partition can still bring.
//!
//! `T` reaches `t` when no partition can still bring a record with `eff <= t`. A partition whose end is not confirmed and
//! that brings nothing for `stall_limit` is left out until it answers.

use headwater_clocks::{Eff, Span, Tick};

use super::messages::{Announcement, PartitionReport, Report};
use crate::base::id::{IdVec, ScanId, WorkerId};

/// How far an event of a partition that nobody has seen yet may lie before the look that did not show it.
const UNSEEN_MARGIN: Span = Span::from_us(10_000_000);

/// What it decides by.
pub struct Rules {
    pub tick: Span,
    /// By scan: the tick at which its rows begin.
    pub s: IdVec<ScanId, Option<Tick>>,
    /// Stop where every partition has ended (there may be none at all).
    pub until_end: bool,
    pub end_at_least: Tick,
    /// And no later, wherever the partitions end.
    pub end_at_most: Tick,
}

/// What else bounds `T`, or ends the run.
pub struct Bounds<'a> {
    /// Whether both sides of the run have met, so that it starts again as one.
    pub meets: &'a dyn Fn() -> bool,
    /// Reading stands still for a checkpoint between slices of the history.
    pub is_pausing: bool,
    /// `T` may not pass it. `None`: nobody knows it yet.
    pub t_max: Option<Tick>,
}

pub struct Clock {
    rules: Rules,
    /// By worker, the newest.
    reports: IdVec<WorkerId, Option<Report>>,
}

impl Clock {
    pub fn new(rules: Rules, workers: usize) -> Clock {
        Clock { rules, reports: IdVec::filled(None, workers) }
    }

    pub fn hear(&mut self, report: Report) {
        let worker = report.worker;
        self.reports[worker] = Some(report);
    }

    /// Once every worker has reported.
    pub fn reports(&self) -> Option<Vec<&Report>> {
        self.reports.iter().map(Option::as_ref).collect()
    }

    /// The number of the full refresh that some worker asks for.
    pub fn wanted_full_refresh(&self) -> u64 {
        self.known().map(|report| report.full_refresh).max().unwrap_or(0)
    }

    /// What is to be announced after `before`.
    pub fn decide(&self, before: &Announcement, bounds: Bounds) -> Announcement {
        if before.last {
            return before.clone();
        }
        let all = self.reports();
        // An end that has been reached is reached, whoever asked to stop meanwhile.
        let ended = self.rules.until_end
            && (all.as_deref().is_some_and(have_ended) || before.t >= Some(self.rules.end_at_most));
        if !ended && self.known().any(|report| report.stop) {
            return Announcement { last: true, stopped: true, ..before.clone() };
        }
        let Some(all) = all else { return before.clone() };
        if (bounds.meets)() {
            return Announcement { last: true, stopped: true, again: true, ..before.clone() };
        }
        if all.iter().any(|report| !report.history_done) || bounds.is_pausing {
            return before.clone();
        }
        let t = if ended { self.end(before.t, &all) } else { self.t(before.t, bounds.t_max) };
        let rises = t.filter(|t| ended || Some(*t) > before.t);
        let horizons = rises.map_or_else(|| before.horizons.clone(), |t| self.horizons(t, &before.horizons));
        Announcement { history_done: true, t, horizons, last: ended, stalled: self.stalled(), ..before.clone() }
    }

    fn t(&self, before: Option<Tick>, t_max: Option<Tick>) -> Option<Tick> {
        let waited_for = self.partitions().filter(|p| !p.left_out);
        let read = waited_for.map(|p| p.clock).min().filter(|clock| *clock != Eff::AFTER_ALL);
        let t = read.map(|clock| Tick::down(clock, self.rules.tick));
        let t = t.zip(t_max).map(|(t, max)| t.min(max).min(self.rules.end_at_most));
        let first = self.rules.s.iter().flatten().min();
        t.filter(|t| first.is_some_and(|first| t >= first)).max(before)
    }

    /// The last tick of a run that ends.
    fn end(&self, before: Option<Tick>, all: &[&Report]) -> Option<Tick> {
        let s = self.rules.s.iter().flatten().max().copied()?;
        let reached = all.iter().filter_map(|report| report.reaches).max().unwrap_or(s);
        let end = s.max(reached).max(self.rules.end_at_least).min(self.rules.end_at_most);
        Some(end.max(before.unwrap_or(end)))
    }

    fn stalled(&self) -> Vec<ScanId> {
        let mut stalled: Vec<ScanId> = self.partitions().filter(|p| p.left_out).map(|p| p.scan).collect();
        stalled.sort_unstable();
        stalled.dedup();
        stalled
    }

    /// At `t`; they never fall.
    fn horizons(&self, t: Tick, before: &IdVec<ScanId, Eff>) -> IdVec<ScanId, Eff> {
        let mut horizons = IdVec::filled(Eff::reached(t), self.rules.s.len());
        // What has ended goes on in the next run; where it never had a record, nothing is kept for it.
        for partition in self.partitions().filter(|p| p.clock != Eff::AFTER_ALL || p.eff.is_some()) {
            let horizon = &mut horizons[partition.scan];
            let eff = partition.eff.unwrap_or(Eff::BEFORE_ALL);
            *horizon = (*horizon).min(if partition.idle { partition.clock } else { eff });
        }
        for (scan, looked) in self.known().flat_map(|report| &report.looked) {
            let horizon = &mut horizons[*scan];
            *horizon = (*horizon).min(Eff::confirmed(*looked, UNSEEN_MARGIN));
        }
        horizons.iter_mut().zip(before).for_each(|(horizon, before)| *horizon = (*horizon).max(*before));
        horizons
    }

    fn known(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().flatten()
    }

    fn partitions(&self) -> impl Iterator<Item = &PartitionReport> {
        self.known().flat_map(|report| &report.partitions)
    }
}

fn have_ended(all: &[&Report]) -> bool {
    all.iter().all(|report| report.history_done && report.partitions.iter().all(|p| p.clock == Eff::AFTER_ALL))
}
