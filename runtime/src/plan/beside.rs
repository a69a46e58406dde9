//! What is new in a job that was changed, and has a long way to go, is worked out beside the rows, which go on without it.
//!
//! ```text
//! shown    ----T0---------------------------> T      rows of what did not change, to every sink
//! beside        |--history--S--------> T' ...        what is new: no row, a clock of its own, at least a tick behind
//!                                      near: both stop with a checkpoint, and the run starts again as one
//! ```
//!
//! One manifest describes both at any time, each side as far as it was saved; a start goes on from it, on two sides or on one.

use serde::{Deserialize, Serialize};

use super::{Plan, Reading};

/// One of the dataflows that a worker may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Its rows are shown. Most runs have no other.
    #[default]
    Shown,
    Beside,
}

/// What is no further behind goes in: rows stand still until it has caught up.
const NEAR_US: i64 = 5_000_000;

/// How far behind the rows what is new may be in order to go in.
pub fn near_us(tick: i64) -> i64 {
    NEAR_US.max(tick.saturating_mul(2))
}

/// Says where each reading is worked out. `live`: the run follows its streams; one that ends has one side.
pub fn set_beside(plan: &mut Plan, tick: i64, live: bool) {
    plan.readings.iter_mut().for_each(|reading| reading.side = Side::Shown);
    let Some(floor) = plan.floor.filter(|_| live) else { return };
    let t = plan.restored.as_ref().and_then(|manifest| manifest.t);
    // One that begins later has shown nothing yet, and all that there is of it is in the state.
    let is_shown = |reading: &Reading| reading.restored && (reading.shown || reading.s.is_none_or(|s| s > floor));
    let is_far = |reading: &Reading| {
        let done = reading.done.max(t).filter(|_| reading.restored);
        done.is_none_or(|done| floor.saturating_sub(done) > near_us(tick))
    };
    let any_shown = plan.readings.iter().any(|reading| reading.restored && reading.shown);
    let any_far = plan.readings.iter().any(|reading| !is_shown(reading) && is_far(reading));
    for reading in plan.readings.iter_mut().filter(|reading| any_shown && any_far && !is_shown(reading)) {
        reading.side = Side::Beside;
    }
}

impl Plan {
    pub fn is_beside(&self) -> bool {
        self.readings.iter().any(|reading| reading.side == Side::Beside)
    }

    /// Whether anything of what was beside the rows goes on, wherever.
    pub fn goes_on_beside(&self) -> bool {
        let was_beside = |reading: &usize| self.readings[*reading].saved == Side::Beside && !self.is_new(*reading);
        (0..self.readings.len()).any(|reading| was_beside(&reading))
    }

    /// Those that the run has.
    pub fn sides(&self) -> Vec<Side> {
        if self.is_beside() { vec![Side::Shown, Side::Beside] } else { vec![Side::Shown] }
    }

    /// The tick at which `T` begins.
    pub fn first_tick(&self, side: Side) -> i64 {
        self.readings.iter().filter(|reading| reading.side == side).filter_map(|r| r.s).min().unwrap_or(i64::MAX)
    }

    /// The tick at which `T` of a side goes on, where all of it has its history.
    pub fn goes_on_at(&self, side: Side) -> Option<i64> {
        let manifest = self.restored.as_ref()?;
        let whole = self.readings.iter().filter(|reading| reading.side == side).all(|reading| reading.restored);
        let t = if self.is_beside() && side == Side::Shown { self.floor } else { manifest.t };
        t.filter(|_| whole)
    }

    /// Where a group began.
    pub fn side_of(&self, group: usize) -> Side {
        self.of_group(group).side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(restored: bool, done: Option<i64>, shown: bool) -> Reading {
        Reading { s: Some(100), restored, done, shown, ..Reading::default() }
    }

    #[test]
    fn what_is_far_behind_is_beside() {
        let floor = 100_000_000;
        let near = floor - near_us(1);
        let shown = || reading(true, Some(floor), true);
        let later = Reading { s: Some(floor + 1), ..reading(true, None, false) };
        let rows = [
            (vec![shown(), reading(false, None, false)], vec![Side::Shown, Side::Beside]),
            (vec![shown(), reading(true, Some(near - 1), false)], vec![Side::Shown, Side::Beside]),
            (vec![shown(), reading(true, Some(near), false)], vec![Side::Shown; 2]),
            (vec![shown(), later.clone()], vec![Side::Shown; 2]),
            (vec![shown(), later, reading(false, None, false)], vec![Side::Shown, Side::Shown, Side::Beside]),
            // Nothing goes on meanwhile.
            (vec![reading(true, Some(near - 1), false), reading(false, None, false)], vec![Side::Shown; 2]),
        ];
        for (readings, expected) in rows {
            let mut plan = Plan { readings, ..Plan::of_nothing(Some(floor)) };
            set_beside(&mut plan, 1, true);
            let sides: Vec<Side> = plan.readings.iter().map(|reading| reading.side).collect();
            assert_eq!(sides, expected);
        }
    }
}
