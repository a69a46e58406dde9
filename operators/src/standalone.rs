//! A group without a dataflow: for samples, tests and benches. It does what the operators do, in their order.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use differential_dataflow::operators::arrange::{TraceAgent, TraceWriter};
use differential_dataflow::trace::{Description, Span, Trace, TraceReader};
use headwater_clocks::Tick;
use timely::dataflow::operators::generic::OperatorInfo;
use timely::progress::{Antichain, Stamp};

use crate::collection::{Changelog, Newest, Readable, RowBatch, RowReader, RowSpine, RowTrace};
use crate::group::State;
use crate::ledger::SegmentError;

/// A group's state, its rows, and what reads them.
///
/// ```
/// use headwater_clocks::{Span, Tick};
/// use headwater_operators::key_codec::KeyCodec;
/// use headwater_operators::ledger::InMemory;
/// use headwater_operators::limits::Limits;
/// use headwater_operators::accumulators::{ColumnPlan, result_types};
/// use headwater_operators::group::{Outputs, Plan, State};
/// use headwater_operators::standalone::Standalone;
/// use headwater_operators::{changes, events};
/// use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
/// use arrow::datatypes::{DataType, Int64Type};
/// use std::sync::Arc;
///
/// // tx = count over 10us, by a text
/// let tx = ColumnPlan { name: "tx".into(), aggregate: "count".parse()?, input: None, length: Some(Span::from_us(10)) };
/// let plan = Plan::trailing(vec![tx], vec![], Span::from_us(1), Tick::from_us(0));
/// let columns = [("tx".to_owned(), result_types(&plan.columns, &plan.inputs)[0].clone())];
/// let schema = changes::schema(&[("card".to_owned(), DataType::Utf8)], false, &columns);
/// let codec = KeyCodec::new(&[DataType::Utf8])?;
/// let card: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
/// let key = codec.encode(&[card])?;
/// let outputs = Outputs { changes: true, rows_from: None };
/// let limits = Limits::with_ledger_bytes(1 << 20);
/// let state = State::new(&plan, codec, schema, outputs, Box::new(InMemory::default()), limits);
/// let mut group = Standalone::new(state);
///
/// let time = Int64Array::from(vec![3]); // it happens at 3, and is visible at once
/// let batch = events::batch(&events::schema(&[], false), key, time.clone(), time, None, vec![])?;
/// group.state.insert(0, &batch, Tick::BEFORE_ALL)?;
/// let end = Tick::from_us(20);
/// assert_eq!(group.advance(end, 1000)?, end);
/// let changes = group.take_changes().expect("a row that came at tick 3 and went at 13");
/// assert_eq!(changes["_time"].as_primitive::<Int64Type>().values(), &[3, 13]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Standalone {
    /// Filled before the first tick.
    pub state: State,
    trace: RowTrace,
    writer: TraceWriter<RowSpine>,
    /// Where the next batch begins.
    lower: Tick,
    changelog: Option<Changelog>,
    newest: Option<Newest>,
    changes: Vec<RecordBatch>,
    rows: Vec<RecordBatch>,
}

impl Standalone {
    /// Everything is loaded into the state.
    pub fn new(state: State) -> Standalone {
        let info = OperatorInfo::new(0, 0, [].into());
        let (trace, writer) = TraceAgent::new(RowSpine::new(info.clone(), None, None), info, None);
        let (changelog, newest) = (state.changelog(), state.newest());
        Standalone { state, trace, writer, lower: Tick::BEFORE_ALL, changelog, newest, changes: vec![], rows: vec![] }
    }

    /// Finishes ticks up to `to`, in order, until about `budget` events have come or gone, or rows have. Returns the last tick up to
    /// which all is finished: `to`, or one before it when the budget is spent. `to` never falls.
    ///
    /// # Errors
    /// A segment of the ledger could not be read or written.
    pub fn advance(&mut self, to: Tick, mut budget: usize) -> Result<Tick, SegmentError> {
        while self.lower <= to && budget > 0 {
            match self.state.advance(to, budget)? {
                None => self.read(None, to),
                Some(moves) => {
                    budget = budget.saturating_sub(moves.moved);
                    let rows = self.state.apply(&moves, self.lower)?;
                    self.read(rows, moves.upto);
                }
            }
        }
        Ok(self.done().min(to))
    }

    fn done(&self) -> Tick {
        self.lower.just_before()
    }

    /// Puts differences into the trace, and has them read.
    fn read(&mut self, rows: Option<RowBatch>, done: Tick) {
        let [lower, upper, since] = [self.lower, done.just_after(), Tick::BEFORE_ALL].map(Antichain::from_elem);
        let stamp = rows.iter().map(|_| self.lower).collect::<Stamp<Tick>>();
        self.writer.insert(Span::new(Description::new(lower, upper.clone(), since), rows.clone()), stamp);
        self.lower = done.just_after();
        let keys = self.state.keys();
        if let Some(changelog) = &mut self.changelog {
            self.changes.extend(changelog.read(rows.as_ref(), &self.trace, done, &keys));
        }
        if let Some(newest) = &mut self.newest {
            self.rows.extend(newest.read(rows.as_ref(), &self.trace, done, &keys));
        }
        self.trace.set_logical_compaction(upper.borrow());
        self.trace.set_physical_compaction(upper.borrow());
    }

    /// No tick follows this one: by then rows are asked for.
    pub fn ask_by(&mut self, last: Tick) {
        self.newest.iter_mut().for_each(|newest| newest.ask_by(last));
    }

    /// From this tick on every row is given once more. `number`: greater than that of the last time.
    pub fn refresh(&mut self, number: u64, from: Tick) {
        self.newest.iter_mut().for_each(|newest| newest.refresh((number, from)));
    }

    /// The changes since the last call (see `changes`), in order of tick; of a unit's change the row that goes comes first.
    pub fn take_changes(&mut self) -> Option<RecordBatch> {
        joined(std::mem::take(&mut self.changes))
    }

    /// The newest rows of the units that changed since the last call: of every unit at the first tick that asks for rows. See
    /// `collection::Newest`.
    pub fn take_rows(&mut self) -> Option<RecordBatch> {
        let done = self.done();
        if let Some(newest) = &mut self.newest {
            self.rows.extend(newest.read(None, &self.trace, done, &self.state.keys()));
        }
        joined(std::mem::take(&mut self.rows))
    }
}

fn joined(batches: Vec<RecordBatch>) -> Option<RecordBatch> {
    let schema = batches.first()?.schema();
    Some(concat_batches(&schema, &batches).expect("batches of one schema"))
}
