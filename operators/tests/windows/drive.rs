//! A group driven as the operators drive it, with all that comes out of it read back.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::types::{Int8Type, Int64Type};
use arrow::array::{ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_clocks::{Eff, EventTime, Tick, Time};
use headwater_operators::accumulators::result_types;
use headwater_operators::group::{Journal, NamedValues, Outputs, Piece, Plan, State, Window};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::keys::hash;
use headwater_operators::ledger::{InMemory, SegmentError};
use headwater_operators::limits::Limits;
use headwater_operators::standalone::Standalone;
use headwater_operators::{changes, events};

use crate::model::{Change, Event, Rows};
use crate::values::{Value, array, values};

#[derive(Clone, Debug)]
pub struct Group {
    pub plan: Plan,
    pub keys: Vec<DataType>,
}

/// Small, so that little is enough to be tidied up.
fn limits(ledger_bytes: usize) -> Limits {
    Limits { left_rows: 4, journal_rows: 4, freed_key_bytes: 16, ledger_bytes }
}

impl Group {
    pub fn state(&self, outputs: Outputs, ledger_bytes: usize, journal: &Chunks) -> State {
        let segments = Box::new(InMemory::default());
        let mut state = State::new(&self.plan, self.codec(), self.schema(), outputs, segments, limits(ledger_bytes));
        state.keep_journal(Box::new(journal.clone()));
        state
    }

    /// Of the changes.
    pub fn schema(&self) -> SchemaRef {
        let keys: Vec<_> = self.keys.iter().enumerate().map(|(i, t)| (format!("key{i}"), t.clone())).collect();
        let mut columns = vec![];
        for set in self.plan.column_sets() {
            let types = result_types(&set.columns, &set.inputs);
            let all = set.places.iter().zip(set.columns.iter().zip(types));
            columns.extend(all.filter_map(|(place, (c, of_type))| Some((*place.as_ref()?, c.name.clone(), of_type))));
        }
        columns.sort_by_key(|(place, ..)| *place);
        let columns: Vec<_> = columns.into_iter().map(|(_, name, of_type)| (name, of_type)).collect();
        changes::schema(&keys, self.windowed(), &columns)
    }

    pub fn batch<'a>(&self, events: impl IntoIterator<Item = &'a Event>) -> RecordBatch {
        let events: Vec<&Event> = events.into_iter().collect();
        let column = |t: &DataType, value: &dyn Fn(&Event) -> Value| {
            array(t, &events.iter().map(|e| value(e)).collect::<Vec<_>>())
        };
        let keys: Vec<ArrayRef> = self.keys.iter().enumerate().map(|(i, t)| column(t, &|e| e.key[i].clone())).collect();
        let inputs = self.plan.inputs.iter().enumerate().map(|(i, t)| column(t, &|e| e.values[i].clone())).collect();
        let times = |time: &dyn Fn(&Event) -> i64| events.iter().map(|e| time(e)).collect::<Int64Array>();
        let keys = self.codec().encode(&keys).unwrap();
        let schema = events::schema(&self.plan.inputs, self.windowed());
        let open = self.windowed().then(|| times(&|e| e.eff.saturating_sub(self.plan.lateness.us())));
        let batch = events::batch(&schema, keys, times(&|e| e.ts), times(&|e| e.visible), open, inputs).unwrap();
        if !self.plan.corrected {
            return batch;
        }
        let schema = events::corrected_schema(&self.plan.inputs, self.windowed());
        let diffs = events.iter().map(|e| if e.takes_back { -1 } else { 1 }).collect::<Int8Array>();
        events::with_diffs(&schema, &batch, diffs).unwrap()
    }

    pub fn read(&self, batch: &RecordBatch) -> Vec<Change> {
        assert_eq!(batch.schema(), self.schema());
        let first = self.keys.len() + if self.windowed() { 2 } else { 0 };
        let row = first..batch.num_columns() - 2;
        let columns: Vec<Vec<Value>> = batch.columns()[..row.end].iter().map(values).collect();
        let times = batch.column(row.end).as_primitive::<Int64Type>();
        let diffs = batch.column(row.end + 1).as_primitive::<Int8Type>();
        let at = |columns: &[Vec<Value>], at: usize| columns.iter().map(|c| c[at].clone()).collect::<Vec<_>>();
        let change = |n| Change {
            time: times.value(n),
            key: at(&columns[..self.keys.len()], n),
            diff: diffs.value(n),
            window: match at(&columns[self.keys.len()..first], n)[..] {
                [Value::Int(start), Value::Int(end)] => Some((start as i64, end as i64)),
                _ => None,
            },
            row: at(&columns[row.clone()], n),
        };
        (0..batch.num_rows()).map(change).collect()
    }

    pub fn windowed(&self) -> bool {
        self.plan.window != Window::Trailing
    }

    fn codec(&self) -> KeyCodec {
        KeyCodec::new(&self.keys).unwrap()
    }
}

/// A journal in memory: chunks of column sets.
#[derive(Clone, Default)]
pub struct Chunks(Rc<RefCell<Vec<(usize, RecordBatch)>>>);

impl Journal for Chunks {
    fn write(&mut self, set: usize, rows: &RecordBatch) -> Result<(), SegmentError> {
        self.0.borrow_mut().push((set, rows.clone()));
        Ok(())
    }

    fn read(&mut self, chunk: u64) -> Result<RecordBatch, SegmentError> {
        Ok(self.0.borrow()[chunk as usize].1.clone())
    }
}

/// A group that runs, with what it has put out so far.
pub struct Run {
    pub group: Arc<Group>,
    pub standalone: Standalone,
    pub journal: Chunks,
    pub changes: Vec<Change>,
    pub rows: Rows,
    rows_from: i64,
    rows_by: i64,
    ledger_bytes: usize,
    /// Whether what the next full refresh lacks is to be removed.
    sweeps: bool,
    refreshes: u64,
    horizons: Vec<(i64, i64)>,
}

impl Run {
    pub fn new(group: &Arc<Group>, ledger_bytes: usize, rows_from: i64, rows_by: i64) -> Run {
        let outputs = Outputs { changes: true, rows_from: Some(Tick::from_us(rows_from)) };
        let journal = Chunks::default();
        let state = group.state(outputs, ledger_bytes, &journal);
        Run {
            group: group.clone(),
            standalone: standalone(state, rows_by),
            journal,
            changes: vec![],
            rows: Rows::new(),
            rows_from,
            rows_by,
            ledger_bytes,
            sweeps: false,
            refreshes: 0,
            horizons: vec![],
        }
    }

    pub fn insert<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        self.insert_into(0, events);
    }

    pub fn insert_into<'a>(&mut self, set: usize, events: impl IntoIterator<Item = &'a Event>) {
        self.standalone.state.insert(set, &self.group.batch(events), Tick::BEFORE_ALL).unwrap();
    }

    /// Another state takes the place of this one. Everything is loaded.
    pub fn go_on(&mut self, state: State) {
        self.standalone = standalone(state, self.rows_by);
    }

    /// See `State::close_after`.
    pub fn close_after(&mut self, horizons: impl IntoIterator<Item = (i64, i64)>) {
        for (t, horizon) in horizons {
            self.standalone.state.close_after(Tick::from_us(t), Eff::from_us(horizon));
            self.horizons.push((t, horizon));
        }
    }

    /// Another state takes its place, from what it has saved; `others`: by way of so many that have a part of the keys each. Where there
    /// are none, what is in the journal stays there, and what is in a store that is whole, too. Everything was taken. From `ahead` after
    /// what is done on rows are asked for: the store may have been told as much before.
    pub fn restart(&mut self, others: u64, ahead: i64) {
        let done = self.done();
        let is_whole = !self.sweeps && done.is_some_and(|done| self.asks_for_rows(done));
        self.rows_from = self.rows_from.max(done.map_or(i64::MIN, |done| done + ahead));
        let whole = saved(&mut self.standalone.state, &self.journal);
        let stays = others == 0;
        let part = |n| {
            let journal = Chunks::default();
            let mut state = self.group.state(self.outputs(), self.ledger_bytes, &journal);
            state.begin_at(done.map(Tick::from_us)).unwrap();
            load(&mut state, &whole, |key| hash(key) % others == n);
            saved(&mut state, &journal)
        };
        let parts: Vec<_> = (0..others).map(part).collect();
        if !stays {
            self.journal = Chunks::default();
        }
        let mut skips_refresh = false;
        let mut state = self.group.state(self.outputs(), self.ledger_bytes, &self.journal);
        state.begin_at(done.map(Tick::from_us)).unwrap();
        if stays {
            let (ledger, others): (Vec<Saved>, _) =
                whole.into_iter().partition(|((piece, _), _)| *piece == Piece::Ledger);
            load(&mut state, &others, |_| true);
            freeze(&mut state, ledger.iter().map(|((_, set), batch)| (*set, batch)));
            if is_whole {
                state.skip_refresh();
                skips_refresh = true;
            }
        } else {
            parts.iter().for_each(|part| load(&mut state, part, |_| true));
        }
        self.sweeps = !skips_refresh;
        self.horizons.iter().for_each(|(t, horizon)| state.close_after(Tick::from_us(*t), Eff::from_us(*horizon)));
        self.go_on(state);
    }

    pub fn outputs(&self) -> Outputs {
        Outputs { changes: true, rows_from: Some(Tick::from_us(self.rows_from)) }
    }

    /// Every tick up to here is finished.
    pub fn done(&self) -> Option<i64> {
        self.standalone.state.done().map(Time::us)
    }

    /// One call. Returns the last tick up to which all is finished.
    pub fn advance(&mut self, to: i64, budget: usize) -> i64 {
        let done = self.standalone.advance(Tick::from_us(to), budget).unwrap().us();
        assert!(done <= to);
        done
    }

    /// Takes what there is, when ticks up to `done` are finished.
    pub fn take(&mut self, done: i64) {
        let taken = self.standalone.take_changes().map_or(vec![], |batch| self.group.read(&batch));
        for change in taken {
            let last = self.changes.last().map_or(i64::MIN, |c| c.time);
            assert!((last..=done).contains(&change.time), "{change:?} after a change at {last}, up to {done}");
            self.changes.push(change);
        }
        if self.sweeps && self.asks_for_rows(done) {
            (self.sweeps, self.rows) = (false, Rows::new());
        }
        if let Some(batch) = self.standalone.take_rows() {
            put(&mut self.rows, self.group.read(&batch));
        }
    }

    /// Another store takes the place of this one.
    pub fn begin_full_refresh(&mut self, from: i64) {
        self.refreshes += 1;
        self.standalone.refresh(self.refreshes, Tick::from_us(from));
        self.rows.clear();
        self.rows_from = self.rows_from.max(from);
    }

    /// Whether the store is told when ticks up to `done` are finished.
    pub fn asks_for_rows(&self, done: i64) -> bool {
        done >= self.rows_from.min(self.rows_by)
    }

    /// The changes in the model's order.
    pub fn sorted_changes(&self) -> Vec<Change> {
        let mut changes = self.changes.clone();
        changes.sort();
        changes
    }
}

fn standalone(state: State, rows_by: i64) -> Standalone {
    let mut standalone = Standalone::new(state);
    standalone.ask_by(Tick::from_us(rows_by));
    standalone
}

/// A batch of a checkpoint: of which piece and column set.
pub type Saved = ((Piece, usize), RecordBatch);

pub fn saved(state: &mut State, journal: &Chunks) -> Vec<Saved> {
    let mut all = vec![];
    let mut each = |piece, set, batch: &RecordBatch| {
        all.push(((piece, set), batch.clone()));
        Ok(())
    };
    state.save(Tick::AFTER_ALL, &mut each).unwrap();
    all.extend(journal.0.borrow().iter().map(|(set, batch)| ((Piece::Ledger, *set), batch.clone())));
    all.sort_by_key(|((piece, _), _)| *piece);
    all
}

/// Leaves the chunks of a journal, all of them in their order, where they are.
fn freeze<'a>(state: &mut State, chunks: impl Iterator<Item = (usize, &'a RecordBatch)>) {
    for (chunk, (set, batch)) in (0..).zip(chunks) {
        let times = || batch.column(0).as_primitive::<Int64Type>().values().iter().copied().map(EventTime::from_us);
        state.freeze(set, chunk, times().min().unwrap(), times().max().unwrap());
    }
    state.thaw().unwrap();
}

fn load(state: &mut State, part: &[Saved], owns: impl Fn(&[u8]) -> bool) {
    let mut values = NamedValues::default();
    part.iter().for_each(|(piece, batch)| state.load(*piece, batch, &mut values, &owns).unwrap());
}

/// What a store does with rows.
pub fn put(store: &mut Rows, rows: Vec<Change>) {
    for Change { time, key, diff, window, row } in rows {
        let place = (key, window.map(|(start, _)| start));
        if diff > 0 {
            store.insert(place, (window, row, time));
        } else {
            assert!(row.iter().all(|v| *v == Value::Null));
            store.remove(&place);
        }
    }
}

/// Two lists of changes are one; else tells where they part.
pub fn assert_same(got: &[Change], expected: &[Change], context: &dyn Fn() -> String) {
    let parts = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    if parts < got.len().max(expected.len()) {
        let near = |all: &[Change]| all.iter().skip(parts).take(3).map(|c| format!("\n    {c:?}")).collect::<String>();
        panic!("{}\nafter {parts} changes got{}\n  expected{}", context(), near(got), near(expected));
    }
}
