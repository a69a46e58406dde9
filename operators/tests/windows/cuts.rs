//! Wherever the history ends, the rows are the same from then on.
//!
//! A part of each partition's records becomes the history: it is there at the start, which moves to its largest `eff`.
//! From there on each tick has the rows that it had without a cut, but for windows that are gone at the start.

use std::sync::Arc;

use headwater_clocks::{Tick, Time};
use headwater_operators::group::Plan;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cases::{Case, Kind};
use crate::drive::{Group, Run, assert_same};
use crate::model::{self, Change, Event, up};

const CASES: u64 = 600;
const CUTS: usize = 6;

#[test]
fn the_seam_may_lie_anywhere() {
    for seed in 0..CASES {
        let mut rng = StdRng::seed_from_u64(2 << 32 | seed);
        let mut case = Case::random(Kind::any(&mut rng), &mut rng);
        case.read_in_time();
        let plan = &case.group.plan;
        let uncut = model::changes(plan, &case.events, &model::eventful_ticks(plan, &case.events, case.to));
        for _ in 0..CUTS {
            let parts: Vec<usize> = (0..4).map(|_| rng.random_range(0..=case.events.len())).collect();
            case.check_cut(&parts, &uncut, &mut rng, &|| format!("seed {seed}, cut at {parts:?}, {plan:?}"));
        }
    }
}

impl Case {
    /// No partition lags behind: what is visible is a matter of the log alone.
    fn read_in_time(&mut self) {
        for event in &mut self.events {
            event.visible = model::visible(&self.group.plan, event.eff, event.ts);
            event.comes = up(event.eff, self.group.plan.tick).max(self.group.plan.start.us());
        }
    }

    /// `parts`: by partition, the offset from which on its records are the stream's.
    fn check_cut(&self, parts: &[usize], uncut: &[Change], rng: &mut StdRng, context: &dyn Fn() -> String) {
        let in_history = |n: usize| n < parts[self.partitions[n]];
        let history = (0..self.events.len()).filter(|n| in_history(*n)).map(|n| self.events[n].eff);
        let Some(last) = history.max() else { return };
        let start = up(last, self.group.plan.tick).max(self.group.plan.start.us());
        let plan = Plan { start: Tick::from_us(start), ..self.group.plan.clone() };
        let events = self.events.iter().enumerate().map(|(n, e)| Event {
            comes: if in_history(n) { start } else { e.comes.max(start) },
            visible: model::visible(&plan, e.eff, e.ts),
            ..e.clone()
        });
        let cut = Case {
            events: events.collect(),
            group: Arc::new(Group { plan, ..(*self.group).clone() }),
            partitions: self.partitions.clone(),
            to: self.to,
        };
        let run = cut.run(rng);
        let expected = model::from(&cut.group.plan, uncut, start);
        assert_same(&run.sorted_changes(), &expected, context);
        assert_eq!(run.rows, model::store(&cut.group.plan, &expected, cut.to), "{}", context());
    }

    /// Now and then a tick is asked for, and what comes no more is told.
    fn run(&self, rng: &mut StdRng) -> Run {
        let mut run = Run::new(&self.group, 1 << 20, self.group.plan.start.us(), self.to);
        let mut horizons = model::horizons(&self.group.plan, &self.events, self.to).into_iter().peekable();
        let mut waiting: Vec<&Event> = self.events.iter().collect();
        let mut targets: Vec<i64> = waiting.iter().map(|e| e.comes).filter(|_| rng.random_bool(0.3)).collect();
        targets.push(self.to);
        targets.sort_unstable();
        for target in targets {
            let (now, later): (Vec<&Event>, _) = waiting.into_iter().partition(|e| e.comes <= target);
            waiting = later;
            run.insert(now);
            run.close_after(std::iter::from_fn(|| horizons.next_if(|(t, _)| *t <= target)));
            run.advance(target, usize::MAX);
            run.take(target);
        }
        run
    }
}
