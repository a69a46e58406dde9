//! Values of an expression over batches, where each event's outcome is its own.
//!
//! DataFusion tells that a batch failed, not which row of it did, and whether a row fails may hang on the others: it leaves
//! out the right side of an `AND` when the left one decides every row of the batch. So a batch that fails is halved, down to
//! single rows, and a row fails that fails alone. The other way round cannot be: what is left out for a whole batch would be
//! left out for each of its rows alone, so every row of a batch that passes passes alone, with the same value.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array};
use arrow::array::{BooleanBufferBuilder, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter_record_batch, nullif, take, take_record_batch};
use datafusion_common::{Result, exec_err};

use super::checked::fits;
use super::normal::{normal, normal_floats};
use super::{Expression, Program};

/// The outcome of a batch, a row for each of its rows.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Of the expression's type; null where a row failed.
    pub values: ArrayRef,
    /// The rows that failed; none: no row did.
    pub failed: Option<BooleanBuffer>,
}

impl Expression {
    /// The values over `batch`, which has at least the expression's columns: they are found by name, and have the types that
    /// the expression was compiled with.
    ///
    /// `undecoded` gives, for a column, the rows whose field did not decode, if there are any. A null stands there; the row
    /// fails, because to be named is enough, and does not harm the others.
    ///
    /// # Panics
    /// The batch lacks a column, or has it with another type.
    pub fn evaluate(&self, batch: &RecordBatch, undecoded: &dyn Fn(&str) -> Option<BooleanBuffer>) -> Evaluated {
        let undecoded = self.columns.iter().filter_map(|name| undecoded(name)).reduce(|a, b| &a | &b);
        let undecoded = undecoded.filter(|rows| rows.count_set_bits() > 0);
        let inputs = self.select(batch);
        if batch.num_rows() == 0 {
            return Evaluated { values: new_empty_array(&self.data_type), failed: None };
        }
        match (self.run(&inputs), undecoded) {
            (Ok(values), None) => Evaluated { values, failed: None },
            (Ok(values), Some(undecoded)) => blank(&values, undecoded),
            (Err(_), None) => self.halve(&inputs),
            (Err(_), Some(undecoded)) => self.halve_decoded(&inputs, &undecoded),
        }
    }

    fn select(&self, batch: &RecordBatch) -> RecordBatch {
        let columns = self.columns.iter().map(|name| match (batch.column_by_name(name), &self.program) {
            (None, _) => panic!("no column {name} in a batch of {}", batch.schema()),
            (Some(column), Program::Column) => Arc::clone(column),
            (Some(column), Program::Tree(_)) => normal_floats(column),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.inputs), columns.collect(), &options)
            .unwrap_or_else(|error| panic!("a batch of {} for {}: {error}", batch.schema(), self.inputs))
    }

    fn run(&self, inputs: &RecordBatch) -> Result<ArrayRef> {
        let values = match &self.program {
            Program::Column => Arc::clone(inputs.column(0)),
            Program::Tree(tree) => guarded(|| tree.evaluate(inputs)?.into_array(inputs.num_rows()))?,
        };
        let values = normal(&values, &self.data_type)?;
        if values.len() != inputs.num_rows() || values.data_type() != &self.data_type {
            return exec_err!("{} values of type {}", values.len(), values.data_type());
        }
        fits(&values)?;
        Ok(values)
    }

    /// Of rows that fail together.
    fn halve(&self, inputs: &RecordBatch) -> Evaluated {
        let mut pieces = vec![new_empty_array(&self.data_type)];
        let mut failed = BooleanBufferBuilder::new(inputs.num_rows());
        self.halve_into(inputs, &mut pieces, &mut failed);
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        let values = concat(&pieces).unwrap_or_else(|error| panic!("pieces of {}: {error}", self.data_type));
        let failed = failed.finish();
        Evaluated { values, failed: (failed.count_set_bits() > 0).then_some(failed) }
    }

    fn halve_into(&self, inputs: &RecordBatch, pieces: &mut Vec<ArrayRef>, failed: &mut BooleanBufferBuilder) {
        let rows = inputs.num_rows();
        // Of one row the first half is empty, and the second that row by itself.
        let half = rows / 2;
        for part in [copied(inputs, 0, half), copied(inputs, half, rows - half)] {
            match self.run(&part) {
                Ok(values) => {
                    failed.append_n(values.len(), false);
                    pieces.push(values);
                }
                Err(_) if part.num_rows() <= 1 => {
                    pieces.push(new_null_array(&self.data_type, part.num_rows()));
                    failed.append_n(part.num_rows(), true);
                }
                Err(_) => self.halve_into(&part, pieces, failed),
            }
        }
    }

    /// Leaves out the rows that fail anyhow, so that they make no other fail.
    fn halve_decoded(&self, inputs: &RecordBatch, undecoded: &BooleanBuffer) -> Evaluated {
        let decoded = BooleanArray::new(!undecoded, None);
        let some = filter_record_batch(inputs, &decoded).unwrap_or_else(|error| panic!("{}: {error}", inputs.schema()));
        let some = match self.run(&some) {
            Ok(values) => Evaluated { values, failed: None },
            Err(_) => self.halve(&some),
        };
        if some.values.is_empty() {
            return Evaluated {
                values: new_null_array(&self.data_type, inputs.num_rows()),
                failed: Some(undecoded.clone()),
            };
        }
        let mut places = 0..;
        let places: UInt32Array = undecoded.iter().map(|bad| if bad { None } else { places.next() }).collect();
        let values = take(&some.values, &places, None).unwrap_or_else(|error| panic!("{}: {error}", self.data_type));
        let failed = places.iter().map(|place| match (place, &some.failed) {
            (Some(place), Some(failed)) => failed.value(place as usize),
            (Some(_), None) => false,
            (None, _) => true,
        });
        Evaluated { values, failed: Some(failed.collect()) }
    }
}

/// Some rows, with no other's values below them: there are functions that look at all that lies in memory.
fn copied(inputs: &RecordBatch, from: usize, rows: usize) -> RecordBatch {
    if inputs.num_columns() == 0 {
        return inputs.slice(from, rows);
    }
    let places = UInt32Array::from_iter_values((from..from + rows).map(|row| row as u32));
    take_record_batch(inputs, &places).unwrap_or_else(|error| panic!("{}: {error}", inputs.schema()))
}

fn blank(values: &ArrayRef, failed: BooleanBuffer) -> Evaluated {
    let values = nullif(values, &BooleanArray::new(failed.clone(), None))
        .unwrap_or_else(|error| panic!("{} rows of {}: {error}", failed.len(), values.data_type()));
    Evaluated { values, failed: Some(failed) }
}

thread_local! {
    static EVALUATING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread evaluates an expression just now. A panic in there is an event that fails, no more: a panic hook that
/// ends the process passes it over.
pub fn is_evaluating() -> bool {
    EVALUATING.get()
}

/// No event may bring a job down for ever, not even by a slip in a function of a library.
pub(super) fn guarded<T>(evaluate: impl FnOnce() -> Result<T>) -> Result<T> {
    EVALUATING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(evaluate));
    EVALUATING.set(false);
    outcome.unwrap_or_else(|_| exec_err!("a function panicked"))
}
