//! The state of a trailing group on one worker: events in, changes out, tick by tick.

use std::collections::VecDeque;
use std::rc::Rc;

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, BinaryArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::accumulators::{Accumulators, Inputs};
use super::plan::Plan;
use crate::changes::Changes;
use crate::events::{INPUTS, KEY, TS, VISIBLE};
use crate::key_codec::KeyCodec;
use crate::keys::Interner;
use crate::ledger::{Ledger, SegmentError, Segments};
use crate::value::Datum;

/// What a group's sinks ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs {
    /// A changelog: every change at every tick.
    pub changes: bool,
    /// A store: from this tick on the newest row of each key that changed, beginning with every row there is.
    pub rows_from: Option<i64>,
}

/// One group's part that lies on one worker.
///
/// ```
/// use headwater_operators::key_codec::KeyCodec;
/// use headwater_operators::ledger::InMemory;
/// use headwater_operators::trailing::{Aggregate, ColumnPlan, Outputs, Plan, State, result_types};
/// use headwater_operators::{changes, events};
/// use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
/// use arrow::datatypes::{DataType, Int64Type};
/// use std::sync::Arc;
///
/// // tx = count over 10us, by a text
/// let tx = ColumnPlan { name: "tx".into(), aggregate: Aggregate::Count, input: None, length: Some(10) };
/// let plan = Plan { columns: vec![tx], inputs: vec![], tick: 1, start: 0 };
/// let columns = [("tx".to_owned(), result_types(&plan)[0].clone())];
/// let schema = changes::schema(&[("card".to_owned(), DataType::Utf8)], false, &columns);
/// let codec = KeyCodec::new(&[DataType::Utf8])?;
/// let card: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
/// let key = codec.encode(&[card])?;
/// let outputs = Outputs { changes: true, rows_from: None };
/// let mut state = State::new(&plan, codec, schema, outputs, Box::new(InMemory::default()), 1 << 20);
///
/// let time = Int64Array::from(vec![3]); // it happens at 3, and is visible at once
/// state.insert(events::batch(&events::schema(&[]), key, time.clone(), time, vec![])?)?;
/// assert_eq!(state.advance(20, 1000)?, 20);
/// let changes = state.take_changes().expect("a row that came at tick 3 and went at 13");
/// assert_eq!(changes["_time"].as_primitive::<Int64Type>().values(), &[3, 13]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct State {
    start: i64,
    /// Every tick up to here is finished. Before `start`: nothing is.
    done: Option<i64>,
    keys: Interner,
    codec: KeyCodec,
    accumulators: Accumulators,
    ledger: Ledger,
    pending: Pending,
    touched: Touched,
    rows: Vec<Published>,
    outputs: Outputs,
    changes: Changes,
    latest: Changes,
    /// Keys whose newest row the store has not been told.
    stale: Touched,
    /// How often every row was given, and whether that is due again.
    images: u64,
    image_due: bool,
    counters: Counters,
    scratch: (Vec<u64>, Vec<Datum>),
}

/// What a state has seen and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Events taken in.
    pub events: u64,
    /// Events that were too old for every window when they became visible.
    pub too_old: u64,
    /// Sums that did not fit their type, once for each row that could not show one.
    pub unfit_sums: u64,
    /// Keys with an event that was not too old, ever.
    pub keys: u64,
    /// Rows that are there.
    pub rows: u64,
    /// Rows that came, went or became another, ever.
    pub changes: u64,
    /// Bytes of the ledger in memory.
    pub ledger_bytes: u64,
}

/// The row of a key as it was last published.
#[derive(Clone, Default)]
struct Published {
    row: Option<Box<[Datum]>>,
    changed_at: i64,
}

/// A set of keys, emptied often.
#[derive(Default)]
struct Touched {
    keys: Vec<u32>,
    marks: Vec<bool>,
}

impl Touched {
    fn grow(&mut self, keys: usize) {
        self.marks.resize(keys, false);
    }

    #[inline]
    fn add(&mut self, key: u32) {
        if !std::mem::replace(&mut self.marks[key as usize], true) {
            self.keys.push(key);
        }
    }

    fn take(&mut self) -> Vec<u32> {
        let keys = std::mem::take(&mut self.keys);
        keys.iter().for_each(|key| self.marks[*key as usize] = false);
        keys
    }
}

impl State {
    /// `schema`: of the changes, see `changes::schema`. `resident_max`: bytes of the ledger that may stay in memory.
    pub fn new(
        plan: &Plan,
        codec: KeyCodec,
        schema: SchemaRef,
        outputs: Outputs,
        segments: Box<dyn Segments>,
        resident_max: usize,
    ) -> State {
        let accumulators = Accumulators::new(plan);
        let windows = accumulators.layout.windows.clone();
        let ledger = Ledger::new(&windows, accumulators.lanes(), plan.tick, plan.start, segments, resident_max);
        let key_columns = codec.types().len();
        State {
            start: plan.start,
            done: None,
            keys: Interner::default(),
            codec,
            accumulators,
            ledger,
            pending: Pending::default(),
            touched: Touched::default(),
            rows: vec![],
            outputs,
            changes: Changes::new(schema.clone(), key_columns),
            latest: Changes::new(schema, key_columns),
            stale: Touched::default(),
            images: 0,
            image_due: true,
            counters: Counters::default(),
            scratch: Default::default(),
        }
    }

    /// Takes events (see `events`) that become visible after every finished tick, in any order.
    ///
    /// # Errors
    /// A segment of the ledger could not be written.
    pub fn insert(&mut self, batch: RecordBatch) -> Result<(), SegmentError> {
        self.counters.events += batch.num_rows() as u64;
        let events = Events::open(batch);
        let waits = |v: &i64| self.done.is_some() || *v > self.start;
        // Before the first tick there is nothing to publish, so history is taken in as it comes.
        let (later, now): (Vec<u32>, Vec<u32>) =
            (0..events.len() as u32).partition(|at| waits(&events.visible.values()[*at as usize]));
        self.arrive_at_start(&events, &now)?;
        self.pending.add(events, later);
        Ok(())
    }

    /// Takes in events of the history. No tick comes between them, so each key's are taken together: its accumulators are
    /// fetched into the cache once a batch.
    fn arrive_at_start(&mut self, events: &Events, rows: &[u32]) -> Result<(), SegmentError> {
        let lanes = self.accumulators.lanes();
        let mut ledger_rows: Vec<u64> = Vec::with_capacity(rows.len() * lanes);
        let mut order: Vec<(u32, u32, u32)> = Vec::with_capacity(rows.len());
        for at in rows {
            let Some((key, class)) = self.place(events, *at as usize, self.start) else { continue };
            let mut row = std::mem::take(&mut self.scratch.0);
            self.accumulators.ledger_row(key, events.ts.value(*at as usize), &events.inputs, *at as usize, &mut row);
            let kept = self.keep(class, &row, self.start);
            order.push((key, (ledger_rows.len() / lanes) as u32, *at));
            ledger_rows.extend_from_slice(&row);
            self.scratch.0 = row;
            kept?;
        }
        order.sort_unstable();
        for (_, number, at) in order {
            let row = &ledger_rows[number as usize * lanes..][..lanes];
            let class = self.accumulators.class(row[0] as i64, self.start);
            self.accumulators.arrive(class, row, &events.inputs, at as usize);
        }
        Ok(())
    }

    /// Finishes ticks up to `to`, in order, until about `budget` events have come or gone. Returns the last tick up to
    /// which all is finished: `to`, or one before it when the budget is spent. What is finished by `to` is told by the next
    /// `take_changes` and `take_rows`. `to` never falls.
    ///
    /// # Errors
    /// A segment of the ledger could not be read or written.
    pub fn advance(&mut self, to: i64, mut budget: usize) -> Result<i64, SegmentError> {
        if to < self.start {
            return Ok(to);
        }
        if self.done.is_none() {
            (0..self.keys.len() as u32).for_each(|key| self.touched.add(key));
            self.finish(self.start);
        }
        let mut done = self.done.unwrap_or(self.start).max(self.start);
        self.pending.sort();
        while let Some(tick) = self.next_tick().filter(|tick| *tick <= to) {
            if budget == 0 {
                self.done = Some(done);
                return Ok(done);
            }
            let moved = self.tick(tick)?;
            budget = budget.saturating_sub(moved);
            done = tick;
        }
        self.done = Some(to);
        Ok(to)
    }

    fn next_tick(&self) -> Option<i64> {
        self.pending.next().into_iter().chain(self.ledger.next_due()).min()
    }

    /// One tick: what grows old goes, what becomes visible comes, and every key that was touched is finished.
    fn tick(&mut self, tick: i64) -> Result<usize, SegmentError> {
        let (accumulators, touched) = (&mut self.accumulators, &mut self.touched);
        let mut moved = 0;
        self.ledger.expire(tick, |window, row| {
            accumulators.leave(window, row);
            touched.add(row[1] as u32);
            moved += 1;
        })?;
        self.ledger.settle(tick)?;
        while let Some((events, at)) = self.pending.pop(tick) {
            self.arrive(&events, at, tick)?;
            moved += 1;
        }
        self.finish(tick);
        Ok(moved)
    }

    fn arrive(&mut self, events: &Events, at: usize, now: i64) -> Result<(), SegmentError> {
        let Some((key, class)) = self.place(events, at, now) else { return Ok(()) };
        let mut row = std::mem::take(&mut self.scratch.0);
        self.accumulators.ledger_row(key, events.ts.value(at), &events.inputs, at, &mut row);
        self.accumulators.arrive(class, &row, &events.inputs, at);
        let kept = self.keep(class, &row, now);
        self.scratch.0 = row;
        self.touched.add(key);
        kept
    }

    /// An event's key and age class; `None` where it is too old for every window.
    fn place(&mut self, events: &Events, at: usize, now: i64) -> Option<(u32, usize)> {
        let class = self.accumulators.class(events.ts.value(at), now);
        if class == self.accumulators.layout.windows.len() && !self.accumulators.layout.tracks[0].all {
            self.counters.too_old += 1;
            return None;
        }
        let key = self.keys.intern(events.keys.value(at));
        if self.keys.len() > self.accumulators.keys {
            self.grow();
        }
        Some((key, class))
    }

    /// The ledger keeps an event as long as some finite window holds it.
    fn keep(&mut self, class: usize, row: &[u64], now: i64) -> Result<(), SegmentError> {
        if class < self.accumulators.layout.windows.len() { self.ledger.insert(row, now) } else { Ok(()) }
    }

    fn grow(&mut self) {
        let keys = self.keys.len().next_power_of_two().max(1024);
        self.accumulators.grow(keys);
        self.rows.resize_with(keys, Published::default);
        self.touched.grow(keys);
        self.stale.grow(keys);
    }

    /// Compares the rows of all touched keys with what was published, and notes the changes.
    fn finish(&mut self, tick: i64) {
        let mut row = std::mem::take(&mut self.scratch.1);
        for key in self.touched.take() {
            let k = key as usize;
            let there = self.accumulators.is_there(k);
            self.accumulators.forget(k, tick);
            if there {
                self.counters.unfit_sums += self.accumulators.row(k, tick, &mut row);
            }
            let published = &mut self.rows[k];
            if there && published.row.as_deref() == Some(row.as_slice()) || !there && published.row.is_none() {
                continue;
            }
            if self.outputs.changes {
                if let Some(old) = &published.row {
                    self.changes.push(key, old, tick, -1);
                }
                if there {
                    self.changes.push(key, &row, tick, 1);
                }
            }
            self.counters.changes += 1;
            match (&mut published.row, there) {
                (Some(old), true) => old.clone_from_slice(&row),
                (old, true) => {
                    *old = Some(row.as_slice().into());
                    self.counters.rows += 1;
                }
                (old, false) => {
                    *old = None;
                    self.counters.rows -= 1;
                }
            }
            published.changed_at = tick;
            if self.outputs.rows_from.is_some() {
                self.stale.add(key);
            }
        }
        self.scratch.1 = row;
    }

    /// The changes since the last call (see `changes`), in order of tick; of a key's change the row that goes comes first.
    pub fn take_changes(&mut self) -> Option<RecordBatch> {
        (!self.changes.is_empty()).then(|| self.changes.take(&self.codec, &self.keys))
    }

    /// The newest rows of the keys that changed since the last call: of every key at the first tick that asks for rows,
    /// which is `rows_by` at the latest. As changes, where `_time` is the tick at which the row changed last; a row that went
    /// has a `_diff` of -1 and nulls.
    pub fn take_rows(&mut self, rows_by: i64) -> Option<RecordBatch> {
        let from = self.outputs.rows_from?.min(rows_by);
        if self.done.is_none_or(|done| done < from) {
            return None;
        }
        let image = std::mem::take(&mut self.image_due);
        let first = image && self.images == 0;
        self.images += u64::from(image);
        let stale = self.stale.take();
        let keys = if image { (0..self.keys.len() as u32).collect() } else { stale };
        let nothing = vec![Datum::Null; self.accumulators.layout.sources.len()];
        for key in keys {
            let published = &self.rows[key as usize];
            match &published.row {
                Some(row) => self.latest.push(key, row, published.changed_at, 1),
                None if first => {}
                None => self.latest.push(key, &nothing, published.changed_at, -1),
            }
        }
        (!self.latest.is_empty()).then(|| self.latest.take(&self.codec, &self.keys))
    }

    /// From this tick on every row is given once more; of keys without one, that there is none.
    pub fn begin_image(&mut self, from: i64) {
        self.outputs.rows_from = self.outputs.rows_from.map(|earlier| earlier.max(from));
        self.image_due = true;
    }

    /// What it has seen so far and holds now.
    pub fn counters(&self) -> Counters {
        let ledger_bytes = self.ledger.resident_bytes() as u64;
        Counters { keys: self.keys.len() as u64, ledger_bytes, ..self.counters }
    }
}

/// A batch of events, opened.
struct Events {
    keys: BinaryArray,
    ts: PrimitiveArray<Int64Type>,
    visible: PrimitiveArray<Int64Type>,
    inputs: Inputs,
}

impl Events {
    fn open(batch: RecordBatch) -> Events {
        Events {
            keys: batch.column(KEY).as_binary().clone(),
            ts: batch.column(TS).as_primitive().clone(),
            visible: batch.column(VISIBLE).as_primitive().clone(),
            inputs: Inputs::open(&batch, INPUTS),
        }
    }

    fn len(&self) -> usize {
        self.ts.len()
    }
}

/// Events that are not visible yet, by the tick at which they will be.
#[derive(Default)]
struct Pending {
    /// (tick, batch, row), sorted from `next` on but for what came since `sort`.
    order: Vec<(i64, u64, u32)>,
    next: usize,
    /// Each with how many of its rows still wait.
    batches: VecDeque<Option<(Rc<Events>, usize)>>,
    first_batch: u64,
}

impl Pending {
    fn add(&mut self, events: Events, rows: Vec<u32>) {
        if rows.is_empty() {
            return;
        }
        let batch = self.first_batch + self.batches.len() as u64;
        self.order.extend(rows.iter().map(|row| (events.visible.value(*row as usize), batch, *row)));
        self.batches.push_back(Some((Rc::new(events), rows.len())));
    }

    fn sort(&mut self) {
        self.order.drain(..self.next);
        self.next = 0;
        // Stable: it meets long runs that are in order already.
        self.order.sort();
    }

    fn next(&self) -> Option<i64> {
        self.order.get(self.next).map(|(tick, _, _)| *tick)
    }

    /// The next event that becomes visible at `tick`.
    fn pop(&mut self, tick: i64) -> Option<(Rc<Events>, usize)> {
        let &(_, batch, row) = self.order.get(self.next).filter(|(visible, _, _)| *visible == tick)?;
        self.next += 1;
        let slot = &mut self.batches[(batch - self.first_batch) as usize];
        let (events, left) = slot.as_mut().expect("a batch with rows that wait");
        let events = events.clone();
        *left -= 1;
        if *left == 0 {
            *slot = None;
            while let Some(None) = self.batches.front() {
                self.batches.pop_front();
                self.first_batch += 1;
            }
        }
        Some((events, row as usize))
    }
}
