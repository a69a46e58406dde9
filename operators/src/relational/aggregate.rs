//! Aggregates of the rows of each key, as those of groups: exact, and the same whichever way they were reached.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use headwater_clocks::{EventTime, Tick};

use super::by_tick::{PerTick, by_tick};
use super::rows::{Bytes, Change, Keyed, Rows};
use crate::accumulators::{Accumulators, ColumnPlan, Inputs, result_types};
use crate::key_codec::KeyCodec;
use crate::keys::{self, Interner};
use crate::value::{Column, Datum};

/// What is aggregated.
#[derive(Clone)]
pub struct AggregatePlan {
    /// The columns, whose windows are `all`.
    pub columns: Vec<ColumnPlan>,
    /// The types of their inputs, which are the columns of the rows.
    pub inputs: Vec<DataType>,
    /// There is one key, and it has a row even where there is nothing of it.
    pub is_whole: bool,
}

/// The aggregates of the rows of each key, behind the key. Counts sums that do not fit their type.
///
/// # Errors
/// Types that no row can have.
pub fn aggregate<'scope>(
    rows: Keyed<'scope>,
    plan: AggregatePlan,
    unfit: Rc<RefCell<u64>>,
) -> Result<Rows<'scope>, ArrowError> {
    let results = result_types(&plan.columns, &plan.inputs);
    let (inputs, outputs) = (KeyCodec::new(&plan.inputs)?, KeyCodec::new(&results)?);
    Ok(by_tick(rows, "aggregate", move |worker, workers| Aggregate {
        accumulators: Accumulators::corrected(&plan.columns, &plan.inputs),
        has_row: plan.is_whole && keys::owner(keys::hash(&[]), workers) == worker as u64,
        plan,
        inputs,
        outputs,
        results,
        keys: Interner::new(FREED_KEY_BYTES),
        counts: vec![],
        emitted: vec![],
        ledger_row: vec![],
        unfit,
    }))
}

/// Bytes of keys that are gone and are not worth moving the others.
const FREED_KEY_BYTES: usize = 64 << 10;
/// No row grows old, so all have one time, and every tick is the same.
const NEVER: EventTime = EventTime::from_us(0);
const NOW: Tick = Tick::from_us(0);

struct Aggregate {
    plan: AggregatePlan,
    /// Whether the one row of all is of this worker.
    has_row: bool,
    inputs: KeyCodec,
    outputs: KeyCodec,
    results: Vec<DataType>,
    keys: Interner,
    accumulators: Accumulators,
    /// By unit, which is the number of its key: how many rows it has, and the row that was emitted for it.
    counts: Vec<isize>,
    emitted: Vec<Option<Bytes>>,
    ledger_row: Vec<u64>,
    unfit: Rc<RefCell<u64>>,
}

impl PerTick for Aggregate {
    fn begin(&mut self) -> Vec<Bytes> {
        if !self.has_row {
            return vec![];
        }
        let unit = self.unit(&[]);
        let rows = self.rows(&[unit]);
        self.emitted[unit as usize] = rows.first().cloned();
        rows
    }

    fn tick(&mut self, changes: Vec<Change>, out: &mut Vec<(Bytes, isize)>) {
        let columns = self.open(&changes);
        let inputs = Inputs::of(&columns);
        let units: Vec<u32> = changes.iter().map(|((key, _), _)| self.unit(key)).collect();
        // What comes goes in first, so that nothing is taken back that is not there.
        for takes_back in [false, true] {
            for (row, (unit, (_, diff))) in
                units.iter().zip(&changes).enumerate().filter(|(_, (_, (_, diff)))| (*diff < 0) == takes_back)
            {
                for _ in 0..diff.unsigned_abs() {
                    self.accumulators.ledger_row(*unit, NEVER, &inputs, row, &mut self.ledger_row);
                    match takes_back {
                        false => self.accumulators.arrive(0, NOW, &mut self.ledger_row, &inputs, row),
                        true => self.accumulators.take_back(0, NOW, &mut self.ledger_row, &inputs, row),
                    }
                }
                self.counts[*unit as usize] += diff;
            }
        }
        let mut touched = units;
        touched.dedup();
        self.tell(&touched, out);
    }
}

impl Aggregate {
    fn open(&self, changes: &[Change]) -> Vec<ArrayRef> {
        if self.plan.inputs.is_empty() {
            return vec![];
        }
        self.inputs.decode(changes.iter().map(|((_, row), _)| row.as_slice())).expect("rows of this codec")
    }

    fn unit(&mut self, key: &[u8]) -> u32 {
        let unit = self.keys.intern(key);
        if unit as usize >= self.emitted.len() {
            let units = (unit as usize + 1).next_power_of_two().max(64);
            self.accumulators.grow(units);
            self.counts.resize(units, 0);
            self.emitted.resize(units, None);
        }
        unit
    }

    /// Tells what has become of units.
    fn tell(&mut self, touched: &[u32], out: &mut Vec<(Bytes, isize)>) {
        let is_there = |unit: &u32| self.counts[*unit as usize] > 0 || self.plan.is_whole;
        let (there, gone): (Vec<u32>, Vec<u32>) = touched.iter().partition(|unit| is_there(unit));
        let rows = self.rows(&there);
        for (unit, row) in there.into_iter().zip(rows) {
            let before = self.emitted[unit as usize].replace(row.clone());
            if before.as_ref() != Some(&row) {
                out.extend(before.map(|before| (before, -1)));
                out.push((row, 1));
            }
        }
        for unit in gone {
            out.extend(self.emitted[unit as usize].take().map(|before| (before, -1)));
            self.accumulators.clear(unit as usize);
            self.keys.free(unit);
        }
    }

    /// The rows of units.
    fn rows(&mut self, units: &[u32]) -> Vec<Bytes> {
        if units.is_empty() {
            return vec![];
        }
        let mut columns: Vec<Column> = self.results.iter().map(Column::new).collect();
        let mut row: Vec<Datum> = vec![];
        for unit in units {
            *self.unfit.borrow_mut() += self.accumulators.row(*unit as usize, NOW, &mut row);
            columns.iter_mut().zip(&row).for_each(|(column, value)| column.push(value));
        }
        let columns: Vec<ArrayRef> = columns.iter_mut().map(Column::finish).collect();
        let encoded = self.outputs.encode(&columns).expect("columns of its types");
        units.iter().zip(encoded.iter().flatten()).map(|(unit, row)| [self.keys.key(*unit), row].concat()).collect()
    }
}
