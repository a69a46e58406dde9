//! The sweep: one walk along a key's events and labels, which takes events in and out of the windows as its labels come to them.
//!
//! Events come in one batch, or in several, each of which goes on where the last one ended. A batch is taken as a whole: what no label has
//! come to yet by its end enters before the next one, which changes nothing for labels that are later still.

use std::sync::Arc;

use arrow::array::types::{Int8Type, Int64Type, UInt32Type};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use headwater_clocks::{EventTime, Tick};

use super::aging::Aging;
use super::shard::{self, Labels};
use super::whole::{KeyEvents, Whole};
use crate::accumulators::{Accumulators, Inputs};
use crate::value::{Column, Datum};

/// The only unit: keys come one after the other.
const UNIT: usize = 0;

pub struct Sweep {
    accumulators: Accumulators,
    aging: Aging,
    row: Vec<u64>,
    /// For shards whose events come at once. `None`: events may be taken back.
    whole: Option<Whole>,
    answers: Answers,
    /// How many of the shard's labels have their rows.
    done: usize,
    /// The key whose events are in the windows.
    key: Option<u32>,
}

/// The rows that were worked out.
struct Answers {
    columns: Vec<Column>,
    numbers: Vec<u64>,
    are_there: Vec<bool>,
    values: Vec<Datum>,
    unfit_sums: u64,
}

impl Answers {
    /// The row of now, for labels of now.
    fn answer(&mut self, accumulators: &mut Accumulators, same: &[(u32, Tick, u64)], now: Tick) {
        let unfit = accumulators.row(UNIT, now, &mut self.values);
        let is_there = accumulators.events(UNIT) > 0;
        same.iter().for_each(|(_, _, number)| self.push(*number, is_there));
        self.unfit_sums += unfit * same.len() as u64;
    }

    fn push(&mut self, number: u64, is_there: bool) {
        self.numbers.push(number);
        self.are_there.push(is_there);
        self.columns.iter_mut().zip(&self.values).for_each(|(column, value)| column.push(value));
    }
}

/// A batch of ordered events, opened.
struct Ordered<'a> {
    numbers: &'a [u32],
    enter: &'a [i64],
    ts: &'a [i64],
    inputs: Inputs,
    /// Of events that may be taken back: which of them are.
    diffs: Option<&'a [i8]>,
    /// The first that was not taken.
    next: usize,
}

impl<'a> Ordered<'a> {
    fn open(events: &'a RecordBatch, corrected: bool) -> Ordered<'a> {
        let (first, columns) = (shard::FIRST_INPUT, events.columns());
        // Without events there are no columns of theirs either.
        let last = columns.len() - usize::from(corrected && columns.len() > first);
        Ordered {
            numbers: columns[shard::NUMBER].as_primitive::<UInt32Type>().values(),
            enter: columns[shard::ENTER].as_primitive::<Int64Type>().values(),
            ts: columns[shard::TS].as_primitive::<Int64Type>().values(),
            inputs: Inputs::of(&columns[first..last]),
            diffs: columns.get(last).map(|diffs| &**diffs.as_primitive::<Int8Type>().values()),
            next: 0,
        }
    }

    fn takes_back(&self, at: usize) -> bool {
        self.diffs.is_some_and(|diffs| diffs[at] < 0)
    }

    /// Whether the next event is of this key and has entered by then.
    fn has(&self, key: u32, now: Tick) -> bool {
        self.numbers.get(self.next) == Some(&key) && Tick::from_us(self.enter[self.next]) <= now
    }

    /// Passes over the events of keys before this one: no label asks for them any more.
    fn skip_to(&mut self, key: u32) {
        while self.numbers.get(self.next).is_some_and(|number| *number < key) {
            self.next += 1;
        }
    }
}

impl Sweep {
    /// `columns`: of the rows; `nested`: accumulators for shards whose events come at once, unless events may be taken back.
    pub fn new(mut accumulators: Accumulators, nested: Option<Accumulators>, columns: Vec<Column>) -> Sweep {
        accumulators.grow(UNIT + 1);
        let aging = Aging::new(accumulators.windows(), accumulators.lanes());
        Sweep {
            accumulators,
            aging,
            row: vec![],
            whole: nested.map(Whole::new),
            answers: Answers { columns, numbers: vec![], are_there: vec![], values: vec![], unfit_sums: 0 },
            done: 0,
            key: None,
        }
    }

    /// Takes events that follow those taken before. `next`: where those begin that follow them; `None`: none do.
    pub fn take(&mut self, labels: &Labels, events: &RecordBatch, next: Option<(u32, Tick)>) {
        let mut events = Ordered::open(events, self.whole.is_none());
        let all = labels.all();
        let comes_at_once = self.done == 0 && self.key.is_none() && next.is_none();
        if let Some(whole) = self.whole.as_mut().filter(|_| comes_at_once) {
            return take_whole(whole, all, &events, &mut self.answers);
        }
        while let Some(&(key, now, _)) =
            all.get(self.done).filter(|(key, now, _)| next.is_none_or(|n| (*key, *now) < n))
        {
            self.begin(key);
            self.enter_until(&mut events, key, now);
            let same = all[self.done..].iter().take_while(|label| (label.0, label.1) == (key, now)).count();
            self.answers.answer(&mut self.accumulators, &all[self.done..][..same], now);
            self.done += same;
        }
        if let Some((key, now)) = next {
            self.begin(key);
            self.enter_until(&mut events, key, now);
        }
    }

    /// Empties the windows where a key follows another one.
    fn begin(&mut self, key: u32) {
        if self.key.is_some_and(|before| before != key) {
            self.empty();
        }
    }

    fn empty(&mut self) {
        if self.whole.is_none() {
            // What was taken back waits for its event to leave.
            let accumulators = &mut self.accumulators;
            self.aging.leave(Tick::AFTER_ALL, |window, row| accumulators.leave(window, row));
        }
        self.accumulators.clear(UNIT);
        self.aging.clear();
        self.key = None;
    }

    /// Takes away what is too old, then takes in what has entered.
    fn enter_until(&mut self, events: &mut Ordered, key: u32, now: Tick) {
        let accumulators = &mut self.accumulators;
        self.aging.leave(now, |window, row| accumulators.leave(window, row));
        events.skip_to(key);
        while events.has(key, now) {
            let at = events.next;
            events.next += 1;
            let ts = EventTime::from_us(events.ts[at]);
            let class = self.accumulators.class(ts, now);
            if class == self.accumulators.windows().len() && !self.accumulators.all() {
                continue;
            }
            self.accumulators.ledger_row(UNIT as u32, ts, &events.inputs, at, &mut self.row);
            if events.takes_back(at) {
                self.accumulators.take_back(class, now, &mut self.row, &events.inputs, at);
                continue;
            }
            self.accumulators.arrive(class, now, &mut self.row, &events.inputs, at);
            self.aging.enter(class, &self.row);
            self.key = Some(key);
        }
        self.accumulators.forget(UNIT, now);
    }

    /// The row of a key without events, with the number 0.
    pub fn push_empty(&mut self) {
        self.accumulators.row(UNIT, Tick::from_us(0), &mut self.answers.values);
        self.answers.push(0, false);
    }

    /// The rows since the last call: their numbers, whether they are there, and their columns. The next shard begins with nothing.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        if self.key.is_some() {
            self.empty();
        }
        self.done = 0;
        let Answers { columns, numbers, are_there, .. } = &mut self.answers;
        let numbers: ArrayRef = Arc::new(UInt64Array::from(std::mem::take(numbers)));
        let are_there: ArrayRef = Arc::new(BooleanArray::from(std::mem::take(are_there)));
        [numbers, are_there].into_iter().chain(columns.iter_mut().map(Column::finish)).collect()
    }

    pub fn unfit_sums(&self) -> u64 {
        self.answers.unfit_sums
    }
}

/// All labels of a shard, whose events are all here.
fn take_whole(whole: &mut Whole, labels: &[(u32, Tick, u64)], events: &Ordered, answers: &mut Answers) {
    let mut end = 0;
    for of_key in labels.chunk_by(|a, b| a.0 == b.0) {
        let key = of_key[0].0;
        let first = end + events.numbers[end..].partition_point(|number| *number < key);
        end = first + events.numbers[first..].partition_point(|number| *number == key);
        let (enter, ts) = (&events.enter[first..end], &events.ts[first..end]);
        let of_events = KeyEvents { enter, ts, inputs: &events.inputs, first };
        whole.begin(of_events);
        for same in of_key.chunk_by(|a, b| a.1 == b.1) {
            let now = same[0].1;
            whole.go_to(of_events, now);
            answers.answer(whole.accumulators(), same, now);
        }
    }
}
