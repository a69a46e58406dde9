//! A clock that jumps: what has grown old meanwhile goes in the order of ticks, a piece at a time, all groups side by side.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::types::Int64Type;
use arrow::array::{ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use headwater_clocks::{Span, Tick};
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::control::{SharedControl, SharedState};
use headwater_operators::exchange::{Columns, Events, RowChanges};
use headwater_operators::group::{Outputs, Plan, State};
use headwater_operators::id::{ColumnSetId, GroupId, Id};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::ledger::InMemory;
use headwater_operators::limits::Limits;
use headwater_operators::operator::windows;
use headwater_operators::{changes, events};
use timely::Config;
use timely::dataflow::operators::{Concat, Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

const HOUR: i64 = 3_600_000_000;
const TICK: i64 = 10_000;
const KEYS: i64 = 40_000;
/// Events that come or go in one activation, about, and so changes: each makes two.
const PIECE: usize = 20_000;

/// The ticks of a message's changes, by group.
type Ticks = (u32, Vec<i64>);

#[test]
fn a_day_is_caught_up_in_pieces_side_by_side() {
    // Every key has one event within the hour; the second group's window is longer.
    let (times, counts) = timely::execute_directly(|worker| {
        let states = [HOUR, 2 * HOUR].map(|length| SharedState::new(RefCell::new(state(length))));
        let control = SharedControl::default();
        let seen: Rc<RefCell<Vec<Ticks>>> = Rc::default();
        let mut input = InputHandle::<Tick, _>::new();
        let probe = ProbeHandle::new();
        worker.dataflow(|scope| {
            let out = windows(scope.input_from(&mut input).container::<Vec<Events>>(), &states, &control);
            let note = seen.clone();
            let changes = out.changes.inspect(move |routed: &RowChanges| {
                let batch = &routed.columns.0;
                let times = batch.column(batch.num_columns() - 2).as_primitive::<Int64Type>().values().to_vec();
                note.borrow_mut().push((routed.of.number(), times));
            });
            changes.probe_with(&probe);
            out.finished.probe_with(&probe);
        });
        for group in 0..2 {
            input.send(Events { to: 0, of: (GroupId::at(group), ColumnSetId::at(0)), columns: Columns::from(batch()) });
        }
        input.advance_to(Tick::from_us(HOUR + 1));
        worker.step_while(|| probe.less_than(input.time()));
        seen.borrow_mut().clear();
        // A day later.
        input.advance_to(Tick::from_us(25 * HOUR + 1));
        let mut times = vec![];
        while probe.less_than(input.time()) {
            worker.step();
            times.push(probe.with_frontier(|f| f.first().copied().unwrap_or(Tick::AFTER_ALL)));
        }
        (times, seen.take())
    });
    assert!(times.is_sorted(), "the frontier only rises");
    let steps = times.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(steps >= 2 * KEYS as usize / PIECE, "in {steps} steps");
    let mut latest = [0; 2];
    for (group, changes) in &counts {
        assert!(changes.is_sorted() && changes[0] >= latest[*group as usize], "in the order of ticks");
        assert!(changes.len() <= PIECE + PIECE / 10, "{} changes at once", changes.len());
        latest[*group as usize] = changes[changes.len() - 1];
    }
    let gone = |group| counts.iter().filter(|(g, _)| *g == group).map(|(_, c)| c.len()).sum::<usize>();
    assert_eq!([gone(0), gone(1)], [KEYS as usize; 2], "every row went once");
    // The first group went no further than the second while that one still had something to do.
    let last_of_second = counts.iter().rposition(|(group, _)| *group == 1).expect("the second has changes");
    let first_of_second = counts.iter().position(|(group, _)| *group == 1).expect("the second has changes");
    assert!(first_of_second < last_of_second, "{counts:?}");
}

/// One worker stands, so the batches of the other lie beyond the frontier. Each is told at a time of its own: whoever sorts by time keeps
/// their order.
#[test]
fn batches_beyond_the_frontier_are_told_one_after_the_other() {
    let is_told = Arc::new(AtomicBool::new(false));
    let guards = timely::execute(Config::process(2), move |worker| {
        let control = SharedControl::default();
        if worker.index() == 1 {
            let is_told = is_told.clone();
            control.borrow_mut().hold = Some(Box::new(move || !is_told.load(Ordering::Acquire)));
        }
        let times: Rc<RefCell<Vec<Tick>>> = Rc::default();
        let told = Rc::new(Cell::new(0));
        let mut input = InputHandle::<Tick, _>::new();
        let probe = ProbeHandle::new();
        worker.dataflow(|scope| {
            let states = [SharedState::new(RefCell::new(state(HOUR)))];
            let out = windows(scope.input_from(&mut input).container::<Vec<Events>>(), &states, &control);
            let (note, count) = (times.clone(), told.clone());
            let changes = out.changes.inspect_core(move |event| {
                let Ok((stamp, batches)) = event else { return };
                note.borrow_mut().extend(stamp.least());
                count.set(count.get() + batches.iter().map(|routed| routed.columns.0.num_rows()).sum::<usize>());
            });
            changes.probe_with(&probe);
            out.finished.probe_with(&probe);
        });
        if worker.index() == 0 {
            input.send(Events { to: 0, of: (GroupId::at(0), ColumnSetId::at(0)), columns: Columns::from(batch()) });
        }
        input.advance_to(Tick::from_us(25 * HOUR + 1));
        while probe.less_than(input.time()) {
            worker.step();
            if told.get() == 2 * KEYS as usize {
                is_told.store(true, Ordering::Release);
            }
        }
        times.take()
    });
    let times: Vec<Vec<Tick>> = guards.unwrap().join().into_iter().map(Result::unwrap).collect();
    assert!(times[0].len() >= 2 * KEYS as usize / PIECE, "in {} batches", times[0].len());
    assert!(times[0].is_sorted_by(|a, b| a < b), "{:?}", times[0]);
    assert!(times[1].is_empty());
}

/// Of one time and another, so much at once that whoever sorted by them might change the order in which it was sent.
#[test]
fn what_is_taken_back_comes_behind_what_it_was() {
    let rows = timely::execute_directly(|worker| {
        let states = [SharedState::new(RefCell::new(corrected()))];
        let (mut inputs, probe) = ([(); 2].map(|()| InputHandle::<Tick, _>::new()), ProbeHandle::new());
        let told: Rc<Cell<usize>> = Rc::default();
        worker.dataflow(|scope| {
            let [first, second] = &mut inputs;
            let events = scope.input_from(first).container::<Vec<Events>>().concat(scope.input_from(second));
            let out = windows(events, &states, &SharedControl::default());
            let note = told.clone();
            let count = move |routed: &RowChanges| note.set(note.get() + routed.columns.0.num_rows());
            out.changes.inspect(count).probe_with(&probe);
            out.finished.probe_with(&probe);
        });
        inputs[0].advance_to(Tick::from_us(TICK));
        for (input, values) in inputs.iter_mut().zip([0..200, 200..400]) {
            for value in values {
                for diff in [1, -1] {
                    let columns = Columns::from(corrected_event(value, diff));
                    input.send(Events { to: 0, of: (GroupId::at(0), ColumnSetId::at(0)), columns });
                    input.flush();
                }
            }
        }
        inputs.iter_mut().for_each(|input| input.advance_to(Tick::from_us(HOUR)));
        worker.step_while(|| probe.less_than(inputs[0].time()));
        told.get()
    });
    assert_eq!(rows, 0, "nothing is left");
}

/// The most frequent value within an hour.
fn corrected() -> State {
    let length = Some(Span::from_us(HOUR));
    let mode = ColumnPlan { name: "mode".to_owned(), aggregate: "mode".parse().unwrap(), input: Some(0), length };
    let mut plan = Plan::trailing(vec![mode], vec![DataType::Int64], Span::from_us(TICK), Tick::from_us(0));
    plan.corrected = true;
    let schema = changes::schema(&[("k".to_owned(), DataType::Int64)], false, &[("mode".to_owned(), DataType::Int64)]);
    let outputs = Outputs { changes: true, rows_from: None };
    State::new(&plan, codec(), schema, outputs, Box::new(InMemory::default()), Limits::with_ledger_bytes(1 << 20))
}

/// An event of one key that comes or goes, visible at the second tick.
fn corrected_event(value: i64, diff: i8) -> RecordBatch {
    let key: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let (keys, times) = (codec().encode(&[key]).unwrap(), Int64Array::from(vec![2 * TICK]));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    let types = [DataType::Int64];
    let event = events::batch(&events::schema(&types, false), keys, times.clone(), times, None, vec![values]);
    let diffs = Int8Array::from(vec![diff]);
    events::with_diffs(&events::corrected_schema(&types, false), &event.unwrap(), diffs).unwrap()
}

fn state(length: i64) -> State {
    let length = Some(Span::from_us(length));
    let n = ColumnPlan { name: "n".to_owned(), aggregate: "count".parse().unwrap(), input: None, length };
    let plan = Plan::trailing(vec![n], vec![], Span::from_us(TICK), Tick::from_us(0));
    let key = [("k".to_owned(), DataType::Int64)];
    let schema = changes::schema(&key, false, &[("n".to_owned(), DataType::Int64)]);
    let outputs = Outputs { changes: true, rows_from: None };
    State::new(&plan, codec(), schema, outputs, Box::new(InMemory::default()), Limits::with_ledger_bytes(1 << 20))
}

fn codec() -> KeyCodec {
    KeyCodec::new(&[DataType::Int64]).unwrap()
}

/// An event of each key, spread over an hour.
fn batch() -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..KEYS));
    let time = |key: i64| (1 + key * (HOUR / KEYS / TICK)) * TICK;
    let times = Int64Array::from_iter_values((0..KEYS).map(time));
    events::batch(&events::schema(&[], false), codec().encode(&[keys]).unwrap(), times.clone(), times, None, vec![])
        .unwrap()
}
