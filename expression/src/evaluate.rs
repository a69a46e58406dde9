//! Values of an expression over batches, where each event's outcome is its own.
//!
//! DataFusion tells that a batch failed, not which row of it did, and whether a row fails may hang on the others: it leaves
//! out the right side of an `AND` when the left one decides every row of the batch. So a batch that fails is halved, down to
//! single rows, and a row fails that fails alone. The other way round cannot be: what is left out for a whole batch would be
//! left out for each of its rows alone, so every row of a batch that passes passes alone, with the same value.
//!
//! Texts of a batch may be many times what they are made from, so who evaluates says how many bytes it has room for
//! ([`Expression::evaluate_within`]), and tries fewer rows where there are more. Who needs the values of all rows asks for
//! [`ROWS_MAX`] of them at a time, so that none depends on how many others there are.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array};
use arrow::array::{BooleanBufferBuilder, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter_record_batch, nullif, take, take_record_batch};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};

use super::checked::{TEXT_BYTES_MAX, fits};
use super::normal::{normal, normal_floats};
use super::{Expression, Program};

/// What the texts of one array of Arrow may have: their ends are numbers of 31 bits.
const ARRAY_BYTES_MAX: usize = i32::MAX as usize;

/// So many texts, none of which is longer than a mebibyte, always fit into an array: what an expression gives on so many rows at a time depends
/// on each row alone.
pub const ROWS_MAX: usize = 1024;

const _: () = assert!(ROWS_MAX * TEXT_BYTES_MAX < ARRAY_BYTES_MAX);

/// Rows side by side, in parts of at most [`ROWS_MAX`].
pub fn in_parts(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(ROWS_MAX).map(move |from| from..rows.min(from + ROWS_MAX))
}

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
    /// Texts of more than [`ROWS_MAX`] rows may have more bytes than an array has room for: rows past them fail. Who asks for texts asks in parts.
    ///
    /// # Panics
    /// The batch lacks a column, or has it with another type.
    pub fn evaluate(&self, batch: &RecordBatch, undecoded: &dyn Fn(&str) -> Option<BooleanBuffer>) -> Evaluated {
        self.evaluate_some(batch, undecoded, ARRAY_BYTES_MAX).0
    }

    /// The same, as long as the values have no more than so many bytes. `None`: fewer rows have to be tried. One row alone may have more.
    ///
    /// # Panics
    /// As `evaluate` does.
    pub fn evaluate_within(
        &self,
        batch: &RecordBatch,
        undecoded: &dyn Fn(&str) -> Option<BooleanBuffer>,
        bytes_max: usize,
    ) -> Option<Evaluated> {
        let bytes_max = if batch.num_rows() > 1 { bytes_max.min(ARRAY_BYTES_MAX) } else { usize::MAX };
        let (evaluated, is_whole) = self.evaluate_some(batch, undecoded, bytes_max);
        is_whole.then_some(evaluated)
    }

    /// Values of so many bytes, and whether these are all: past them rows fail.
    pub(super) fn evaluate_some(
        &self,
        batch: &RecordBatch,
        undecoded: &dyn Fn(&str) -> Option<BooleanBuffer>,
        bytes_max: usize,
    ) -> (Evaluated, bool) {
        let undecoded = self.columns.iter().filter_map(|name| undecoded(name)).reduce(|a, b| &a | &b);
        let undecoded = undecoded.filter(|rows| rows.count_set_bits() > 0);
        let inputs = self.select(batch);
        if batch.num_rows() == 0 {
            return (Evaluated { values: new_empty_array(&self.data_type), failed: None }, true);
        }
        match (self.run(&inputs), undecoded) {
            (Ok(values), undecoded) => {
                let is_whole = bytes_of(&values) <= bytes_max;
                let evaluated = match undecoded {
                    None => Evaluated { values, failed: None },
                    Some(undecoded) => blank(&values, undecoded),
                };
                (evaluated, is_whole)
            }
            (Err(_), None) => self.halve(&inputs, bytes_max),
            (Err(_), Some(undecoded)) => self.halve_decoded(&inputs, &undecoded, bytes_max),
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
    fn halve(&self, inputs: &RecordBatch, bytes_max: usize) -> (Evaluated, bool) {
        let mut halves = Halves {
            pieces: vec![new_empty_array(&self.data_type)],
            failed: BooleanBufferBuilder::new(inputs.num_rows()),
            bytes_left: Some(bytes_max),
        };
        self.halve_into(inputs, &mut halves);
        let pieces: Vec<&dyn Array> = halves.pieces.iter().map(AsRef::as_ref).collect();
        let values = concat(&pieces).unwrap_or_else(|error| panic!("pieces of {}: {error}", self.data_type));
        let failed = halves.failed.finish();
        let evaluated = Evaluated { values, failed: (failed.count_set_bits() > 0).then_some(failed) };
        (evaluated, halves.bytes_left.is_some())
    }

    fn halve_into(&self, inputs: &RecordBatch, halves: &mut Halves) {
        let rows = inputs.num_rows();
        // Of one row the first half is empty, and the second that row by itself.
        let half = rows / 2;
        for (from, rows) in [(0, half), (half, rows - half)] {
            if halves.bytes_left.is_none() {
                halves.fail(&self.data_type, rows);
                continue;
            }
            let part = copied(inputs, from, rows);
            match self.run(&part) {
                Ok(values) => halves.add(values),
                Err(_) if rows <= 1 => halves.fail(&self.data_type, rows),
                Err(_) => self.halve_into(&part, halves),
            }
        }
    }

    /// Leaves out the rows that fail anyhow, so that they make no other fail.
    fn halve_decoded(&self, inputs: &RecordBatch, undecoded: &BooleanBuffer, bytes_max: usize) -> (Evaluated, bool) {
        let decoded = BooleanArray::new(!undecoded, None);
        let some = filter_record_batch(inputs, &decoded).unwrap_or_else(|error| panic!("{}: {error}", inputs.schema()));
        let (some, is_whole) = match self.run(&some) {
            Ok(values) => {
                let is_whole = bytes_of(&values) <= bytes_max;
                (Evaluated { values, failed: None }, is_whole)
            }
            Err(_) => self.halve(&some, bytes_max),
        };
        if some.values.is_empty() {
            let values = new_null_array(&self.data_type, inputs.num_rows());
            return (Evaluated { values, failed: Some(undecoded.clone()) }, true);
        }
        let mut places = 0..;
        let places: UInt32Array = undecoded.iter().map(|bad| if bad { None } else { places.next() }).collect();
        let values = take(&some.values, &places, None).unwrap_or_else(|error| panic!("{}: {error}", self.data_type));
        let failed = places.iter().map(|place| match (place, &some.failed) {
            (Some(place), Some(failed)) => failed.value(place as usize),
            (Some(_), None) => false,
            (None, _) => true,
        });
        (Evaluated { values, failed: Some(failed.collect()) }, is_whole)
    }
}

/// What has come of the rows so far.
struct Halves {
    pieces: Vec<ArrayRef>,
    failed: BooleanBufferBuilder,
    /// `None`: there were more.
    bytes_left: Option<usize>,
}

impl Halves {
    fn add(&mut self, values: ArrayRef) {
        let bytes = bytes_of(&values);
        self.bytes_left = self.bytes_left.and_then(|left| left.checked_sub(bytes));
        if self.bytes_left.is_none() {
            return self.fail(values.data_type(), values.len());
        }
        self.failed.append_n(values.len(), false);
        self.pieces.push(values);
    }

    fn fail(&mut self, data_type: &DataType, rows: usize) {
        self.pieces.push(new_null_array(data_type, rows));
        self.failed.append_n(rows, true);
    }
}

/// How many bytes values have, by themselves.
pub fn bytes_of(values: &dyn Array) -> usize {
    // Asked of every batch: most columns are as wide as they are long.
    match values.data_type().primitive_width() {
        Some(width) => values.len() * width,
        None => values.to_data().get_slice_memory_size().unwrap_or_else(|_| values.get_array_memory_size()),
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
