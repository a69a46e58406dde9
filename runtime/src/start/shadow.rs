//! What is new in a job that was changed, and has a long way to go, is computed by a shadow, while the rows go on without it.
//!
//! ```text
//! live     ----T0---------------------------> T      rows of what did not change, to every sink
//! shadow        |--history--S--------> T' ...        what is new: no row, a clock of its own, at least a tick behind
//!                                      near: both stop with a checkpoint, and the run starts again as one
//! ```
//!
//! One manifest describes both at any time, each side as far as it was saved; a start goes on from it, on two sides or on one.

use headwater_clocks::Span;

use crate::base::id::ScanId;
use crate::checkpoint::resumption::Start;
use crate::coordinate::barrier::near;
use crate::plan::Plan;
use crate::plan::scan::Scan;
use crate::plan::side::Side;

/// Says which dataflow computes each scan. `live`: the run follows its streams; one that ends has no shadow.
pub fn assign_sides(start: &mut Start, tick: Span, live: bool) {
    let t = start.manifest().and_then(|manifest| manifest.t);
    let plan = &mut start.plan;
    plan.scans.iter_mut().for_each(|scan| scan.side = Side::Live);
    let Some(floor) = plan.floor.filter(|_| live) else { return };
    // One that begins later has published nothing yet, and all that there is of it is in the state.
    let is_live = |scan: &Scan| scan.restored && (scan.published || scan.s.is_none_or(|s| s > floor));
    let is_far = |scan: &Scan| {
        let done = scan.done.max(t).filter(|_| scan.restored);
        done.is_none_or(|done| floor - done > near(tick))
    };
    let any_published = plan.scans.iter().any(|scan| scan.restored && scan.published);
    let any_far = plan.scans.iter().any(|scan| !is_live(scan) && is_far(scan));
    for scan in plan.scans.iter_mut().filter(|scan| any_published && any_far && !is_live(scan)) {
        scan.side = Side::Shadow;
    }
    while let Some(scan) = torn(plan) {
        plan.scans[scan].side = Side::Shadow;
    }
}

/// A live scan of which some column set takes events, and of one that the shadow reads too: one dataflow has to read both.
fn torn(plan: &Plan) -> Option<ScanId> {
    let side = |scan: &ScanId| plan.scans[*scan].side;
    let sets = plan.groups.iter().flat_map(|group| &group.sets);
    let mut in_shadow = sets.filter(|set| set.scans.iter().any(|scan| side(scan) == Side::Shadow));
    in_shadow.find_map(|set| set.scans.iter().copied().find(|scan| side(scan) == Side::Live))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{Id, IdVec, SourceId};
    use crate::plan::group::{PlannedColumnSet, PlannedGroup};
    use headwater_clocks::{Tick, WallClock};

    fn scan(restored: bool, done: Option<Tick>, published: bool) -> Scan {
        Scan { s: Some(Tick::from_us(100)), restored, done, published, ..Scan::of(SourceId::at(0), String::new()) }
    }

    #[test]
    fn what_is_far_behind_is_in_the_shadow() {
        let (tick, one) = (Span::from_us(1), Span::from_us(1));
        let floor = Tick::from_us(100_000_000);
        let near = floor - near(tick);
        let published = || scan(true, Some(floor), true);
        let later = Scan { s: Some(floor + one), ..scan(true, None, false) };
        let rows = [
            (vec![published(), scan(false, None, false)], vec![Side::Live, Side::Shadow]),
            (vec![published(), scan(true, Some(near - one), false)], vec![Side::Live, Side::Shadow]),
            (vec![published(), scan(true, Some(near), false)], vec![Side::Live; 2]),
            (vec![published(), later.clone()], vec![Side::Live; 2]),
            (vec![published(), later, scan(false, None, false)], vec![Side::Live, Side::Live, Side::Shadow]),
            // Nothing goes on meanwhile.
            (vec![scan(true, Some(near - one), false), scan(false, None, false)], vec![Side::Live; 2]),
        ];
        for (scans, expected) in rows {
            let plan = Plan { floor: Some(floor), ..Plan::of(WallClock::from_us(0), IdVec::from(scans), IdVec::new()) };
            let mut start = Start { plan, from: None };
            assign_sides(&mut start, tick, true);
            let sides: Vec<Side> = start.plan.scans.iter().map(|scan| scan.side).collect();
            assert_eq!(sides, expected);
        }
    }

    /// Where one of them is far behind and the other has not begun.
    #[test]
    fn what_one_part_reads_is_on_one_side() {
        let floor = Tick::from_us(100_000_000);
        let of_set = |scans: &[usize]| PlannedColumnSet {
            scans: scans.iter().map(|scan| ScanId::at(*scan)).collect(),
            columns: vec![],
            inputs: vec![],
            saved: None,
        };
        let sets: IdVec<_, _> = [vec![0], vec![1, 2], vec![2, 3]].iter().map(|scans| of_set(scans)).collect();
        let group =
            PlannedGroup { name: String::new(), identity: String::new(), sets, saved: None, dropped_columns: false };
        let later = || Scan { s: Some(floor + Span::from_us(1)), ..scan(true, None, false) };
        let scans = vec![scan(true, Some(floor), true), scan(false, None, false), later(), later()];
        let plan = Plan {
            floor: Some(floor),
            ..Plan::of(WallClock::from_us(0), IdVec::from(scans), IdVec::from(vec![group]))
        };
        let mut start = Start { plan, from: None };
        assign_sides(&mut start, Span::from_us(1), true);
        let sides: Vec<Side> = start.plan.scans.iter().map(|scan| scan.side).collect();
        assert_eq!(sides, [Side::Live, Side::Shadow, Side::Shadow, Side::Shadow]);
    }
}
