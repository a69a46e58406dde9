//! Columns that are added to a group while it runs, and columns that go: from the tick at which the new ones have come as far,
//! rows are what they would be had they always been there.

use std::sync::Arc;

use arrow::datatypes::DataType;
use headwater_clocks::{Span, Tick, Time};
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::group::{ColumnSet, NamedValues, Plan, Resumed, State};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cases::{Case, Kind};
use crate::drive::{Chunks, Group, Run, Saved, assert_same, saved};
use crate::model::{self, Change, Event, Rows, up};
use crate::values::Value;

const CASES: u64 = 1000;

#[test]
fn columns_that_come_and_go() {
    let mut told = 0;
    for seed in 0..CASES {
        let mut rng = StdRng::seed_from_u64(seed);
        let case = Case::random(Kind::Trailing, &mut rng);
        if case.group.plan.columns.len() > 1 && case.events.len() < 200 {
            told += u64::from(Changed::random(&case, &mut rng).check(&mut rng, &|| format!("seed {seed}, {case:?}")));
        }
    }
    assert!(told > CASES / 4, "only {told} runs tell anything");
}

/// Its number is free by then.
#[test]
fn a_key_may_be_forgotten_before_columns_enter() {
    let column = |name: &str| {
        let (name, aggregate) = (name.to_owned(), "count".parse().unwrap());
        ColumnPlan { name, aggregate, input: None, length: Some(Span::from_us(10)) }
    };
    let mut plan = Plan::trailing(vec![column("old")], vec![], Span::from_us(1), Tick::from_us(0));
    plan.added.push(ColumnSet {
        columns: vec![column("new")],
        places: vec![Some(1)],
        inputs: vec![],
        start: Tick::from_us(30),
    });
    let group = Arc::new(Group { plan, keys: vec![DataType::Utf8] });
    let mut run = Run::new(&group, 1 << 20, 0, 40);
    run.insert([&Event {
        key: vec![Value::Text("k".to_owned())],
        ts: 1,
        eff: 1,
        comes: 1,
        visible: 1,
        values: vec![],
        gone: None,
        takes_back: false,
    }]);
    for to in [20, 21, 40] {
        run.advance(to, usize::MAX);
        run.take(to);
    }
    assert_eq!(run.changes.len(), 2, "its row came and went");
    assert_eq!(run.standalone.state.counters().keys, 0);
}

/// The columns of a case in three: some that stay, some that go, some that come.
struct Changed<'a> {
    case: &'a Case,
    stay: usize,
    go: usize,
    /// The tick at which it stopped, and the first of the new columns.
    stopped: i64,
    start: i64,
}

impl Changed<'_> {
    fn random<'a>(case: &'a Case, rng: &mut StdRng) -> Changed<'a> {
        let Plan { columns, tick, start, .. } = &case.group.plan;
        let stay = rng.random_range(1..columns.len());
        let go = rng.random_range(0..columns.len() - stay);
        let mut some_tick = || up(rng.random_range(start.us()..=case.to), *tick).min(case.to);
        let (stopped, start) = (some_tick(), some_tick());
        Changed { case, stay, go, stopped, start }
    }

    fn plan(&self) -> &Plan {
        &self.case.group.plan
    }

    fn enters(&self) -> i64 {
        self.stopped.max(self.start)
    }

    /// A plan of some columns, without the others.
    fn of(&self, columns: std::ops::Range<usize>) -> Plan {
        let plan = self.plan();
        Plan::trailing(plan.columns[columns].to_vec(), plan.inputs.clone(), plan.tick, plan.start)
    }

    /// The group afterwards: in its rows what has come lies before what has stayed.
    fn group(&self) -> Group {
        let (before, all) = (self.stay + self.go, self.plan().columns.len());
        let came = all - before;
        let mut plan = self.of(0..before);
        plan.places = (0..before).map(|n| (n < self.stay).then_some(came + n)).collect();
        plan.added.push(ColumnSet {
            columns: self.plan().columns[before..].to_vec(),
            places: (0..came).map(Some).collect(),
            inputs: plan.inputs.clone(),
            start: Tick::from_us(self.start),
        });
        Group { plan, keys: self.case.group.keys.clone() }
    }

    /// A table of some columns at a tick, as rows of the group afterwards.
    fn table(&self, columns: std::ops::Range<usize>, tick: i64) -> Rows {
        let plan = self.of(columns.clone());
        let ticks = model::eventful_ticks(&plan, &self.case.events, tick);
        let rows = model::store(&plan, &model::changes(&plan, &self.case.events, &ticks), tick);
        let before = self.stay + self.go;
        let order = (before..self.plan().columns.len()).chain(0..self.stay);
        let order: Vec<_> = order.map(|n| columns.contains(&n).then(|| n - columns.start)).collect();
        let place = |row: &[Value]| order.iter().map(|n| n.map_or(Value::Null, |n| row[n].clone())).collect();
        rows.into_iter().map(|(key, (window, row, _))| (key, (window, place(&row), 0))).collect()
    }

    fn expected(&self) -> Vec<Change> {
        let all = self.plan().columns.len();
        let mut before = self.table(0..self.stay + self.go, self.stopped);
        let mut ticks = model::eventful_ticks(self.plan(), &self.case.events, self.case.to);
        ticks.extend([self.stopped, self.enters()]);
        let mut changes = vec![];
        for time in ticks.into_iter().filter(|tick| *tick >= self.stopped) {
            let mut now = self.table(0..self.stay, time);
            if time >= self.enters() {
                now = self.whole(&self.table(0..all, time), now, time);
            }
            for (key, (window, row, _)) in before.iter().filter(|(key, row)| now.get(*key) != Some(*row)) {
                changes.push(Change { time, key: key.0.clone(), diff: -1, window: *window, row: row.clone() });
            }
            for (key, (window, row, _)) in now.iter().filter(|(key, row)| before.get(*key) != Some(*row)) {
                changes.push(Change { time, key: key.0.clone(), diff: 1, window: *window, row: row.clone() });
            }
            before = now;
        }
        changes.sort();
        changes
    }

    /// Rows that only what has gone still holds are not there.
    fn whole(&self, all: &Rows, stayed: Rows, time: i64) -> Rows {
        let came = self.table(self.stay + self.go..self.plan().columns.len(), time);
        let there = |key: &_| stayed.contains_key(key) || came.contains_key(key);
        all.iter().filter(|(key, _)| there(key)).map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    fn check(&self, rng: &mut StdRng, context: &dyn Fn() -> String) -> bool {
        let old = Arc::new(Group { plan: self.of(0..self.stay + self.go), keys: self.case.group.keys.clone() });
        let mut run = Run::new(&old, 1 << 20, i64::MAX, self.case.to);
        let mut events = self.case.events.clone();
        let known: Vec<Event> = events.extract_if(.., |event| event.comes <= self.stopped).collect();
        run.insert(&known);
        run.advance(self.stopped, usize::MAX);
        run.take(self.stopped);
        let before = saved(&mut run.standalone.state, &run.journal);

        let group = Arc::new(self.group());
        let stayed = Resumed { saved: 0, shadow: false, done: Some(Tick::from_us(self.stopped)), shown: true };
        let mut run = Run::new(&group, if rng.random() { 0 } else { 1 << 20 }, self.enters(), self.case.to);
        let mut own = self.case.events.clone();
        own.iter_mut().for_each(|event| event.visible = event.visible.max(self.start));
        let has_shadow = self.start < self.stopped && rng.random();
        if has_shadow {
            let way = self.shadow(&own, rng);
            let done = Some(way.0).filter(|done| *done >= self.start).map(Tick::from_us);
            let built = Resumed { saved: 1, shadow: true, done, shown: false };
            let mut state = group.state(run.outputs(), 1 << 20, &run.journal);
            self.resume(&mut state, &before, [Some(stayed), Some(built)]);
            load(&mut state, &way.1, true);
            run.go_on(state);
        } else {
            let mut state = group.state(run.outputs(), 1 << 20, &run.journal);
            self.resume(&mut state, &before, [Some(stayed), None]);
            run.go_on(state);
            // Its history, in the order in which its stream brings the rest.
            run.insert_into(1, &own);
        }
        if !has_shadow && self.start < self.stopped && rng.random() {
            let on_the_way =
                up(rng.random_range(self.plan().start.us()..self.stopped), self.plan().tick).min(self.stopped);
            run.advance(on_the_way, rng.random_range(1..1000));
            let done = run.advance(on_the_way, usize::MAX);
            run.take(done);
            let way = saved(&mut run.standalone.state, &run.journal);
            let done_of = (done >= self.start).then(|| Tick::from_us(done));
            let built = Resumed { saved: 1, shadow: false, done: done_of, shown: done >= self.enters() };
            run.journal = Chunks::default();
            let mut state = group.state(run.outputs(), 1 << 20, &run.journal);
            self.resume(&mut state, &way, [Some(stayed), Some(built)]);
            run.go_on(state);
        }
        for event in &events {
            // The other events of the old part come in time.
            run.insert([event]);
        }
        for to in [self.stopped, self.enters(), self.case.to] {
            run.advance(to, usize::MAX);
            run.take(to);
        }
        let expected = self.expected();
        assert_same(&run.sorted_changes(), &expected, context);
        let rows: Vec<_> = run.rows.iter().map(|(key, (_, row, _))| (key.clone(), row.clone())).collect();
        let all = self.plan().columns.len();
        let last = self.whole(&self.table(0..all, self.case.to), self.table(0..self.stay, self.case.to), self.case.to);
        let last: Vec<_> = last.into_iter().map(|(key, (_, row, _))| (key, row)).collect();
        assert_eq!(rows, last, "the store, {}", context());
        !expected.is_empty()
    }

    /// What the new columns have come to in a shadow, which may be saved on its way.
    fn shadow(&self, own: &[Event], rng: &mut StdRng) -> (i64, Vec<Saved>) {
        let mut group = self.group();
        group.plan.start = Tick::AFTER_ALL;
        let group = Arc::new(group);
        let begin = |sets: [Option<Resumed>; 2], way: &[Saved]| {
            let mut run = Run::new(&group, 1 << 20, i64::MAX, i64::MAX);
            let mut state = group.state(run.outputs(), 1 << 20, &run.journal);
            state.set_shadow();
            state.resume(None, &sets, false).unwrap();
            load(&mut state, way, true);
            run.go_on(state);
            run
        };
        let mut run = begin([None, None], &[]);
        run.insert_into(1, own);
        let mut tick = || up(rng.random_range(self.start..self.stopped), self.plan().tick).min(self.stopped - 1);
        let (first, second) = (tick(), tick());
        for to in [first.min(second), first.max(second)] {
            let done = run.advance(Tick::down(Tick::from_us(to), self.plan().tick).us(), usize::MAX);
            run.take(done);
            assert_eq!(run.sorted_changes(), [], "nothing is shown");
            let way = saved(&mut run.standalone.state, &run.journal);
            let done_of = Some(done).filter(|done| *done >= self.start).map(Tick::from_us);
            let built = Resumed { saved: 1, shadow: true, done: done_of, shown: false };
            run = begin([None, Some(built)], &way);
            if to == first.max(second) {
                return (done, way);
            }
        }
        unreachable!("it has come to the second")
    }

    fn resume(&self, state: &mut State, saved: &[Saved], sets: [Option<Resumed>; 2]) {
        state.resume(Some(Tick::from_us(self.stopped)), &sets, self.go > 0).unwrap();
        load(state, saved, false);
    }
}

fn load(state: &mut State, saved: &[Saved], shadow: bool) {
    let mut values = NamedValues::of(shadow);
    for (piece, batch) in saved {
        state.load(*piece, batch, &mut values, |_| true).unwrap();
    }
}
