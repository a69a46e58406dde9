//! One partition of a stream on the worker that reads it, as one scan of its source has it: its `eff`, and how far it lets
//! the clock go.

use std::collections::VecDeque;

use headwater_clocks::{Arrival, Eff, Span, Tick, Time, WallClock};

use crate::base::id::ScanId;
use crate::plan::last_record::LastRecord;
use crate::plan::scan::PartitionPlan;

/// How long a lateness of arrival is remembered for the margin.
const MARGIN_MEMORY: Span = Span::from_us(60_000_000);

#[derive(Clone)]
pub struct Partition {
    pub scan: ScanId,
    pub plan: PartitionPlan,
    /// The running maximum of arrivals: no later record has a smaller `eff`.
    pub eff: Option<Eff>,
    /// The newest tick at which a record counts that was read after `T` had passed its own.
    pub admitted: Option<Tick>,
    /// The last record that was read, by this start or an earlier one.
    pub last: Option<LastRecord>,
    /// The largest confirmation of the end that is behind us.
    confirmed: Option<WallClock>,
    /// How far new records' `eff` lay before a confirmation that did not have them: (when it was read, by how much).
    lags: VecDeque<(WallClock, Span)>,
    /// The newest confirmation of the end, whatever came since.
    last_answer: WallClock,
    /// Since when the end is confirmed and nothing came: the wall clock.
    pub quiet_since: Option<WallClock>,
    /// The wall clock at the last sign of life.
    pub alive_at: WallClock,
    pub left_out: bool,
    /// Read up to the end of a run that ends.
    pub ended: bool,
    clock: Eff,
}

impl Partition {
    pub fn new(scan: ScanId, plan: PartitionPlan, now: WallClock) -> Partition {
        let (eff, admitted, last) = (plan.history_eff, plan.admitted, plan.last);
        let clock = eff.map_or(Eff::BEFORE_ALL, Eff::just_before);
        let lags = VecDeque::new();
        Partition {
            scan,
            plan,
            eff,
            admitted,
            last,
            confirmed: None,
            lags,
            last_answer: WallClock::BEFORE_ALL,
            quiet_since: None,
            alive_at: now,
            left_out: false,
            ended: false,
            clock,
        }
    }

    /// Takes a record's arrival, and returns its `eff`.
    pub fn arrive(&mut self, clock: Option<Arrival>) -> Option<Eff> {
        self.eff = self.eff.max(clock.map(Eff::from));
        self.eff
    }

    /// Records came, the last of them read at `now`; `first_eff` is the first one's.
    pub fn came(&mut self, first_eff: Option<Eff>, now: WallClock) {
        if let (Some(eff), Some(confirmed)) = (first_eff, self.confirmed.take())
            && confirmed.past(eff) > Span::ZERO
        {
            let by = confirmed.past(eff);
            while self.lags.back().is_some_and(|(_, lag)| *lag <= by) {
                self.lags.pop_back();
            }
            self.lags.push_back((now, by));
        }
        self.quiet_since = None;
        self.answered(now);
        self.clock = self.clock.max(self.eff.map_or(Eff::BEFORE_ALL, Eff::just_before));
    }

    /// The broker confirmed at `at` that there is nothing to read.
    pub fn confirm(&mut self, at: WallClock, now: WallClock) {
        if at > self.last_answer {
            // What was confirmed long ago is no sign of life.
            self.last_answer = at;
            self.answered(now);
            self.quiet_since = self.quiet_since.or(Some(now));
        }
        self.confirmed = self.confirmed.max(Some(at));
        while self.lags.front().is_some_and(|(when, _)| now - *when > MARGIN_MEMORY) {
            self.lags.pop_front();
        }
        // The largest lag is at the front: smaller ones before it were dropped.
        let margin = self.lags.front().map_or(Span::ZERO, |(_, lag)| *lag);
        self.clock = self.clock.max(Eff::confirmed(at, margin));
    }

    /// It was asked and had nothing to read. `confirmed`: when the broker said so; `stall_limit`: how long silence is borne.
    pub fn quiet(&mut self, confirmed: Option<WallClock>, stall_limit: Option<Span>, now: WallClock) {
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
        self.clock = Eff::AFTER_ALL;
    }

    fn answered(&mut self, now: WallClock) {
        self.alive_at = now;
        self.left_out = false;
    }

    /// The tick at which all that was read has come in, but for events from the future.
    pub fn reaches(&self, tick: Span) -> Option<Tick> {
        self.eff.map(|eff| Tick::up(eff, tick)).max(self.admitted)
    }

    /// No record with an `eff` up to here can come any more.
    pub fn clock(&self) -> Eff {
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use headwater_clocks::Offset;

    fn partition() -> Partition {
        let plan = PartitionPlan::unknown(0, Offset::at(0));
        Partition::new(ScanId::at(0), plan, WallClock::from_us(0))
    }

    fn confirm(p: &mut Partition, at: i64, now: i64) {
        p.confirm(WallClock::from_us(at), WallClock::from_us(now));
    }

    #[test]
    fn the_margin_is_the_worst_of_the_last_minute() {
        let mut p = partition();
        confirm(&mut p, 1_000, 1_000);
        assert_eq!(p.clock().us(), 1_000);
        let eff = p.arrive(Some(Arrival::from_us(940)));
        p.came(eff, WallClock::from_us(1_010));
        confirm(&mut p, 2_000, 2_000);
        assert_eq!(p.clock().us(), 1_940, "60 us late once");
        confirm(&mut p, 61_000_000, 61_000_000);
        assert_eq!(p.clock().us(), 61_000_000, "forgotten after a minute");
    }

    #[test]
    fn an_old_answer_is_no_sign_of_life() {
        let mut p = partition();
        confirm(&mut p, 1_000, 1_000);
        confirm(&mut p, 1_000, 9_000);
        assert_eq!(p.alive_at.us(), 1_000, "the broker said nothing new");
        confirm(&mut p, 9_500, 9_500);
        assert_eq!(p.alive_at.us(), 9_500);
    }
}
