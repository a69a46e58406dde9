//! However the events come in, the ticks are finished and state is dropped, the changes are the model's.

use std::collections::BTreeSet;

use headwater_clocks::Time;
use headwater_operators::group::Counters;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::cases::{Case, Kind};
use crate::drive::{Run, assert_same};
use crate::model::{self, Change, Event, every_tick};

const CASES: u64 = 1500;

/// How events come in, and how ticks are finished.
#[derive(Clone, Debug)]
struct Way {
    name: &'static str,
    /// What `advance` is asked for, one after the other. Events come just before the first by which they are read.
    targets: Vec<i64>,
    /// Events in a batch at most.
    batch: usize,
    shuffled: bool,
    budget: usize,
    /// While a backlog is worked off, events come that are due after it.
    eager: bool,
    take_often: bool,
    /// Whether it is told which events come no more.
    closes: bool,
    /// Now and then it is killed and goes on from a checkpoint, which it or several others wrote.
    restarts: bool,
    ledger_bytes: usize,
}

#[test]
fn trailing() {
    every_way_gives_the_same_changes(Kind::Trailing, |_| true);
}

#[test]
fn hopping() {
    every_way_gives_the_same_changes(Kind::Hopping, |counters| counters.dropped > 0);
}

#[test]
fn days() {
    every_way_gives_the_same_changes(Kind::Calendar, |counters| counters.dropped > 0);
}

#[test]
fn days_with_corrections() {
    cases_give_the_same_changes(Case::corrected, Kind::Calendar, |counters| counters.corrections > 0);
}

#[test]
fn sessions() {
    every_way_gives_the_same_changes(Kind::Session, |counters| counters.dropped > 0);
}

#[test]
fn trailing_with_corrections() {
    cases_give_the_same_changes(Case::corrected, Kind::Trailing, |counters| counters.corrections > 0);
}

#[test]
fn hopping_with_corrections() {
    cases_give_the_same_changes(Case::corrected, Kind::Hopping, |counters| counters.corrections > 0);
}

/// `telling`: whether a run has done what it was to show; many have to.
fn every_way_gives_the_same_changes(kind: Kind, telling: impl Fn(&Counters) -> bool) {
    cases_give_the_same_changes(Case::random, kind, telling);
}

fn cases_give_the_same_changes(case: fn(Kind, &mut StdRng) -> Case, kind: Kind, telling: impl Fn(&Counters) -> bool) {
    let mut told = 0;
    for seed in 0..CASES {
        let mut rng = StdRng::seed_from_u64(seed);
        let case = case(kind, &mut rng);
        let Case { group, events, to, .. } = &case;
        let mut ticks = model::eventful_ticks(&group.plan, events, *to);
        if (to - group.plan.start.us()) / group.plan.tick.us() < 300 {
            ticks = every_tick(&group.plan, *to);
        }
        let expected = model::changes(&group.plan, events, &ticks);
        for way in case.ways(&ticks, &mut rng) {
            let context = || format!("{kind:?}, seed {seed}, {}: {way:?}, {:?}", way.name, group.plan);
            told += u64::from(telling(&case.check(&way, &expected, &mut rng, &context)));
        }
    }
    assert!(told > CASES / 2, "only {told} runs tell anything");
}

impl Case {
    fn ways(&self, ticks: &BTreeSet<i64>, rng: &mut StdRng) -> Vec<Way> {
        let (start, tick) = (self.group.plan.start.us(), self.group.plan.tick.us());
        let spill = |rng: &mut StdRng| if rng.random() { 0 } else { 1 << 20 };
        let at_once = Way {
            name: "everything at once",
            targets: vec![self.to],
            batch: usize::MAX,
            shuffled: false,
            budget: usize::MAX,
            eager: false,
            take_often: false,
            closes: rng.random(),
            restarts: false,
            ledger_bytes: 1 << 20,
        };
        let spilled = Way { name: "spilled", ledger_bytes: 0, ..at_once.clone() };
        let tick_by_tick = Way {
            name: "tick by tick",
            targets: ticks.iter().copied().chain([self.to]).collect(),
            take_often: true,
            closes: rng.random_bool(0.8),
            ledger_bytes: spill(rng),
            ..at_once.clone()
        };
        let comes: BTreeSet<i64> = self.events.iter().map(|e| e.comes).chain([self.to]).collect();
        let record_by_record = Way {
            name: "record by record",
            targets: comes.into_iter().flat_map(|t| [t - tick, t]).collect(),
            batch: 1,
            take_often: rng.random(),
            closes: rng.random_bool(0.8),
            ..at_once.clone()
        };
        let in_pieces = Way {
            name: "in pieces",
            targets: [start - tick, start, start + rng.random_range(0..=self.to - start), self.to].into(),
            batch: rng.random_range(1..8),
            shuffled: true,
            budget: rng.random_range(1..4),
            eager: true,
            take_often: rng.random(),
            closes: rng.random_bool(0.8),
            restarts: false,
            ledger_bytes: spill(rng),
        };
        let killed = Way { name: "killed", restarts: true, ledger_bytes: spill(rng), ..tick_by_tick.clone() };
        let killed_early =
            Way { name: "killed early", restarts: true, take_often: true, eager: true, ..record_by_record.clone() };
        vec![at_once, spilled, tick_by_tick, record_by_record, in_pieces, killed, killed_early]
    }

    fn check(&self, way: &Way, expected: &[Change], rng: &mut StdRng, context: &dyn Fn() -> String) -> Counters {
        let (start, tick) = (self.group.plan.start.us(), self.group.plan.tick.us());
        let rows_from =
            if rng.random() { start } else { start + tick * rng.random_range(0..=(self.to - start) / tick) };
        // At the end rows are asked for, whatever `rows_from` says.
        let rows_from = if rng.random_bool(0.2) { i64::MAX } else { rows_from };
        let mut run = Run::new(&self.group, way.ledger_bytes, rows_from, self.to);
        self.drive(way, &mut run, rng, &|run, done| {
            let changes = &expected[..expected.partition_point(|c| c.time <= done)];
            let store = model::store(&self.group.plan, changes, done.div_euclid(tick) * tick);
            assert_eq!(run.rows, store, "the store at {done}, {}", context());
        });
        assert_same(&run.sorted_changes(), expected, context);
        let counters = run.standalone.state.counters();
        if !way.restarts {
            // What was counted is not in a checkpoint.
            assert_eq!(counters.events, self.events.len() as u64, "{}", context());
            let too_old = model::too_old(&self.group.plan, &self.events);
            assert!(too_old.contains(&counters.too_old), "{} {too_old:?} {}", counters.too_old, context());
        }
        if way.closes {
            self.check_end(&mut run, context);
        }
        counters
    }

    /// `stored`: checks what is stored, when ticks up to one are finished.
    fn drive(&self, way: &Way, run: &mut Run, rng: &mut StdRng, stored: &dyn Fn(&Run, i64)) {
        let mut waiting = model::with_retractions(&self.events);
        let mut horizons = model::horizons(&self.group.plan, &waiting, self.to);
        if way.shuffled {
            waiting.shuffle(rng);
            // It comes behind what it takes back.
            waiting.sort_by_key(|event| event.takes_back);
        }
        horizons.retain(|_| way.closes && rng.random_bool(0.8));
        let mut horizons = horizons.into_iter().peekable();
        for &target in &way.targets {
            let (now, later) = waiting.into_iter().partition(|e| e.comes <= target);
            waiting = later;
            insert(run, now, way.batch);
            run.close_after(std::iter::from_fn(|| horizons.next_if(|(t, _)| *t <= target)));
            if way.restarts && run.done().is_none() && rng.random_bool(0.3) {
                run.restart(
                    rng.random_range(0..3),
                    self.group.plan.tick.us() * [0, 0, rng.random_range(0..10)][rng.random_range(0..3)],
                );
            }
            loop {
                let done = run.advance(target, way.budget);
                if way.take_often || done == self.to {
                    run.take(done);
                    if done == self.to || run.asks_for_rows(done) && rng.random_bool(0.05) {
                        stored(run, done);
                    }
                    if way.restarts && rng.random_bool(0.2) {
                        run.restart(
                            rng.random_range(0..3),
                            self.group.plan.tick.us() * [0, 0, rng.random_range(0..10)][rng.random_range(0..3)],
                        );
                    }
                    if rng.random_bool(0.02) {
                        run.begin_full_refresh(done + rng.random_range(0..10 * self.group.plan.tick.us()));
                    }
                }
                if done == target {
                    break;
                }
                if way.eager && rng.random_bool(0.3) {
                    let some = rng.random_range(0..=waiting.len());
                    insert(run, waiting.drain(..some).collect(), way.batch);
                }
            }
        }
        assert!(waiting.is_empty());
    }

    /// When nothing comes any more and all is old, nothing is kept.
    fn check_end(&self, run: &mut Run, context: &dyn Fn() -> String) {
        let (plan, end) = (&self.group.plan, self.end());
        let known = run.changes.len();
        run.close_after([(end, end)]);
        for to in [end, end + plan.tick.us()] {
            run.advance(to, usize::MAX);
            run.take(to);
        }
        let Counters { open_windows, keys, rows, .. } = run.standalone.state.counters();
        let lifetime = plan.columns.iter().any(|c| c.length.is_none());
        if run.group.windowed() {
            assert_eq!(run.changes.len(), known, "what is dropped is no change, {}", context());
        } else if lifetime {
            return;
        }
        assert_eq!((open_windows, keys, rows), (0, 0, 0), "{}", context());
        assert!(run.rows.is_empty(), "{}", context());
    }
}

fn insert(run: &mut Run, events: Vec<Event>, batch: usize) {
    events.chunks(batch.min(events.len().max(1))).for_each(|events| run.insert(events));
}
