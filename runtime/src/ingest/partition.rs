//! One partition of a stream on the worker that reads it, as one scan of its source has it: its `eff`, and how far it lets
//! the clock go.

use std::collections::VecDeque;

use headwater_operators::ledger::up;

use crate::base::id::ScanId;
use crate::plan::last_record::LastRecord;
use crate::plan::scan::PartitionPlan;

/// How long a lateness of arrival is remembered for the margin.
const MARGIN_MEMORY_US: i64 = 60_000_000;

pub struct Partition {
    pub scan: ScanId,
    pub plan: PartitionPlan,
    /// The running maximum of arrivals: no later record has a smaller `eff`.
    pub eff: Option<i64>,
    /// The newest tick at which a record counts that was read after `T` had passed its own.
    pub admitted: Option<i64>,
    /// The last record that was read, by this start or an earlier one.
    pub last: Option<LastRecord>,
    /// The largest confirmation of the end that is behind us.
    confirmed: Option<i64>,
    /// How far new records' `eff` lay before a confirmation that did not have them: (when it was read, by how much).
    lags: VecDeque<(i64, i64)>,
    /// The newest confirmation of the end, whatever came since.
    last_answer: i64,
    /// Since when the end is confirmed and nothing came: the wall clock.
    pub quiet_since: Option<i64>,
    /// The wall clock at the last sign of life.
    pub alive_at: i64,
    pub left_out: bool,
    /// Read up to the end of a run that ends.
    pub ended: bool,
    clock: i64,
}

impl Partition {
    pub fn new(scan: ScanId, plan: PartitionPlan, now: i64) -> Partition {
        let (eff, admitted, last) = (plan.history_eff, plan.admitted, plan.last);
        let clock = eff.map_or(i64::MIN, |eff| eff.saturating_sub(1));
        let lags = VecDeque::new();
        Partition {
            scan,
            plan,
            eff,
            admitted,
            last,
            confirmed: None,
            lags,
            last_answer: i64::MIN,
            quiet_since: None,
            alive_at: now,
            left_out: false,
            ended: false,
            clock,
        }
    }

    /// Takes a record's arrival, and returns its `eff`.
    pub fn arrive(&mut self, clock: Option<i64>) -> Option<i64> {
        self.eff = self.eff.max(clock);
        self.eff
    }

    /// Records came, the last of them read at `now`; `first_eff` is the first one's.
    pub fn came(&mut self, first_eff: Option<i64>, now: i64) {
        if let (Some(eff), Some(confirmed)) = (first_eff, self.confirmed.take())
            && confirmed > eff
        {
            let by = confirmed.saturating_sub(eff);
            while self.lags.back().is_some_and(|(_, lag)| *lag <= by) {
                self.lags.pop_back();
            }
            self.lags.push_back((now, by));
        }
        self.quiet_since = None;
        self.answered(now);
        self.clock = self.clock.max(self.eff.map_or(i64::MIN, |eff| eff.saturating_sub(1)));
    }

    /// The broker confirmed at `at` that there is nothing to read.
    pub fn confirm(&mut self, at: i64, now: i64) {
        if at > self.last_answer {
            // What was confirmed long ago is no sign of life.
            self.last_answer = at;
            self.answered(now);
            self.quiet_since = self.quiet_since.or(Some(now));
        }
        self.confirmed = self.confirmed.max(Some(at));
        while self.lags.front().is_some_and(|(when, _)| now - when > MARGIN_MEMORY_US) {
            self.lags.pop_front();
        }
        // The largest lag is at the front: smaller ones before it were dropped.
        let margin = self.lags.front().map_or(0, |(_, lag)| *lag);
        self.clock = self.clock.max(at.saturating_sub(margin));
    }

    /// It was asked and had nothing to read. `confirmed`: when the broker said so; `stall_limit`: how long silence is borne.
    pub fn quiet(&mut self, confirmed: Option<i64>, stall_limit: Option<i64>, now: i64) {
        if let Some(at) = confirmed {
            self.confirm(at, now);
        }
        if stall_limit.is_some_and(|limit| now - self.alive_at > limit) && !self.left_out {
            tracing::warn!(
                partition = self.plan.partition,
                "a partition has not answered within `stall_limit`: it is left out until it does"
            );
            self.left_out = true;
        }
    }

    pub fn end(&mut self) {
        self.ended = true;
        self.left_out = false;
        self.clock = i64::MAX;
    }

    fn answered(&mut self, now: i64) {
        self.alive_at = now;
        self.left_out = false;
    }

    /// The tick at which all that was read has come in, but for events from the future.
    pub fn reaches(&self, tick: i64) -> Option<i64> {
        self.eff.map(|eff| up(eff, tick)).max(self.admitted)
    }

    /// No record with an `eff` up to here can come any more.
    pub fn clock(&self) -> i64 {
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn the_margin_is_the_worst_of_the_last_minute() {
        let plan = PartitionPlan::unknown(0, 0);
        let mut p = Partition::new(ScanId::at(0), plan, 0);
        p.confirm(1_000, 1_000);
        assert_eq!(p.clock(), 1_000);
        let eff = p.arrive(Some(940));
        p.came(eff, 1_010);
        p.confirm(2_000, 2_000);
        assert_eq!(p.clock(), 1_940, "60 us late once");
        p.confirm(61_000_000, 61_000_000);
        assert_eq!(p.clock(), 61_000_000, "forgotten after a minute");
    }

    #[test]
    fn an_old_answer_is_no_sign_of_life() {
        let plan = PartitionPlan::unknown(0, 0);
        let mut p = Partition::new(ScanId::at(0), plan, 0);
        p.confirm(1_000, 1_000);
        p.confirm(1_000, 9_000);
        assert_eq!(p.alive_at, 1_000, "the broker said nothing new");
        p.confirm(9_500, 9_500);
        assert_eq!(p.alive_at, 9_500);
    }
}
