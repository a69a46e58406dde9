//! What is new in a job that was changed, and has a long way to go, is worked out beside the rows, which go on without it.
//!
//! ```text
//! shown    ----T0---------------------------> T      rows of what did not change, to every sink
//! beside        |--history--S--------> T' ...        what is new: no row, a clock of its own, at least a tick behind
//!                                      near: both stop with a checkpoint, and the run starts again as one
//! ```
//!
//! One manifest describes both at any time, each side as far as it was saved; a start goes on from it, on two sides or on one.

use crate::checkpoint::resumption::Start;
use crate::coordinate::barrier::near_us;
use crate::plan::reading::Reading;
use crate::plan::side::Side;

/// Says where each reading is worked out. `live`: the run follows its streams; one that ends has one side.
pub fn set_beside(start: &mut Start, tick: i64, live: bool) {
    let t = start.manifest().and_then(|manifest| manifest.t);
    let plan = &mut start.plan;
    plan.readings.iter_mut().for_each(|reading| reading.side = Side::Shown);
    let Some(floor) = plan.floor.filter(|_| live) else { return };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{Id, IdVec, SourceId};
    use crate::plan::Plan;

    fn reading(restored: bool, done: Option<i64>, shown: bool) -> Reading {
        Reading { s: Some(100), restored, done, shown, ..Reading::of(SourceId::at(0), String::new()) }
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
            let plan = Plan { floor: Some(floor), ..Plan::of(0, IdVec::from(readings), IdVec::new()) };
            let mut start = Start { plan, from: None };
            set_beside(&mut start, 1, true);
            let sides: Vec<Side> = start.plan.readings.iter().map(|reading| reading.side).collect();
            assert_eq!(sides, expected);
        }
    }
}
