//! Several groups through the operator, on one worker and on three, with every key at the worker that owns it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use headwater_clocks::{Eff, Tick, Time};
use headwater_operators::control::{SharedControl, SharedState};
use headwater_operators::events;
use headwater_operators::exchange::{Columns, Events, RowChanges};
use headwater_operators::group::Outputs;
use headwater_operators::id::{ColumnSetId, GroupId, Id};
use headwater_operators::operator::windows;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use timely::Config;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

use crate::cases::{Case, Kind};
use crate::drive::{Chunks, assert_same, put};
use crate::model::{self, Change, Event, Rows};

/// By group.
#[derive(Clone, Default)]
struct Seen {
    changes: Vec<Vec<Change>>,
    rows: Vec<Rows>,
}

#[test]
fn any_number_of_workers_makes_the_same_changes() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(1 << 32 | seed);
        let cases: Arc<Vec<Case>> =
            Arc::new((0..rng.random_range(1..4)).map(|_| Case::random(Kind::any(&mut rng), &mut rng)).collect());
        let to = cases.iter().map(|case| case.to).max().unwrap();
        let asked = frontiers(&cases, to, &mut rng);
        for workers in [1, 3] {
            let seen = through_the_operator(workers, &cases, &asked);
            for (case, (changes, rows)) in cases.iter().zip(seen.changes.iter().zip(&seen.rows)) {
                let Case { group, events, .. } = case;
                let ticks = model::eventful_ticks(&group.plan, events, to);
                let expected = model::changes(&group.plan, events, &ticks);
                let context = || format!("seed {seed}, {workers} workers, {:?}", group.plan);
                assert_same(changes, &expected, &context);
                assert_eq!(*rows, model::store(&group.plan, &expected, to), "{}", context());
            }
        }
    }
}

/// Some ticks of some group, and in the end `to`: what the input's frontier comes to, one after the other.
fn frontiers(cases: &[Case], to: i64, rng: &mut StdRng) -> Vec<i64> {
    let visible = cases.iter().flat_map(|case| case.events.iter().map(|e| e.visible));
    let mut asked: BTreeSet<i64> = visible.filter(|v| *v < to && rng.random_bool(0.2)).collect();
    asked.insert(to);
    asked.into_iter().collect()
}

fn through_the_operator(workers: usize, cases: &Arc<Vec<Case>>, asked: &[i64]) -> Seen {
    let (cases, asked) = (cases.clone(), asked.to_vec());
    let guards = timely::execute(Config::process(workers), move |worker| one_worker(worker, &cases, &asked)).unwrap();
    let mut all = Seen::default();
    for seen in guards.join() {
        let seen = seen.unwrap();
        all.changes.resize(seen.changes.len(), vec![]);
        all.rows.resize(seen.rows.len(), Rows::new());
        all.changes.iter_mut().zip(seen.changes).for_each(|(all, changes)| all.extend(changes));
        for (all, rows) in all.rows.iter_mut().zip(seen.rows) {
            for (key, row) in rows {
                assert!(all.insert(key, row).is_none(), "two workers own a key");
            }
        }
    }
    all.changes.iter_mut().for_each(|changes| changes.sort());
    all
}

fn one_worker(worker: &mut Worker, cases: &Arc<Vec<Case>>, asked: &[i64]) -> Seen {
    let (here, workers) = (worker.index(), worker.peers());
    let to = *asked.last().expect("there is a last tick");
    let outputs = Outputs { changes: true, rows_from: Some(Tick::AFTER_ALL) };
    let state = |case: &Case| SharedState::new(RefCell::new(case.group.state(outputs, 1000, &Chunks::default())));
    let states: Vec<SharedState> = cases.iter().map(state).collect();
    let control = SharedControl::default();
    control.borrow_mut().last_tick = Some(Tick::from_us(to));
    let seen = Rc::new(RefCell::new(Seen { changes: vec![vec![]; cases.len()], rows: vec![Rows::new(); cases.len()] }));
    let mut input = InputHandle::<Tick, _>::new();
    let probe = ProbeHandle::new();
    worker.dataflow(|scope| {
        let events = scope.input_from(&mut input).container::<Vec<Events>>();
        let out = windows(events, &states, &control);
        let (note, all) = (seen.clone(), cases.clone());
        let changes = out.changes.inspect_core(move |event| {
            let Ok((stamp, batches)) = event else { return };
            for routed in batches {
                let changes = all[routed.of.index()].group.read(&routed.columns.0);
                // What has passed the frontier never changes any more.
                assert!(
                    changes.iter().all(|c| stamp.least().is_some_and(|t| c.time >= t.us())),
                    "{changes:?} at {stamp:?}"
                );
                note.borrow_mut().changes[routed.of.index()].extend(changes);
            }
        });
        changes.probe_with(&probe);
        let (note, all) = (seen.clone(), cases.clone());
        let rows = out.rows.inspect(move |routed: &RowChanges| {
            let rows = all[routed.of.index()].group.read(&routed.columns.0);
            assert!(rows.iter().all(|row| row.diff == 1), "all rows at once, at the last tick");
            put(&mut note.borrow_mut().rows[routed.of.index()], rows);
        });
        rows.probe_with(&probe);
    });
    let horizons: Vec<Vec<(i64, i64)>> =
        cases.iter().map(|case| model::horizons(&case.group.plan, &case.events, to)).collect();
    let mut after = i64::MIN;
    for &until in asked {
        for (group, case) in (0..).map(GroupId::at).zip(cases.iter()) {
            // Every worker reads some of the events, as if each had partitions of its own.
            let due = |(n, e): &(usize, &Event)| n % workers == here && e.comes > after && e.comes <= until;
            let events = case.events.iter().enumerate().filter(due).map(|(_, e)| e);
            for (to, batch) in events::split(case.group.batch(events), workers).unwrap() {
                input.send(Events { to, of: (group, ColumnSetId::at(0)), columns: Columns::from(batch) });
            }
        }
        for (group, horizons) in (0..).map(GroupId::at).zip(&horizons) {
            let due = horizons.iter().filter(|(t, _)| *t > after && *t <= until);
            control
                .borrow_mut()
                .horizons
                .extend(due.map(|(t, horizon)| (group, Tick::from_us(*t), Eff::from_us(*horizon))));
        }
        input.advance_to(Tick::from_us(until + 1));
        while probe.less_than(input.time()) {
            worker.step_or_park(None);
        }
        after = until;
    }
    assert!(control.borrow().fault.is_none());
    seen.take()
}
