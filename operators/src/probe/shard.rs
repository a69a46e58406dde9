//! A shard: the labels of some keys, in order; and events put in the order in which these labels take them.
//!
//! | column of ordered events | what |
//! |---|---|
//! | `_number` (uint32) | the key's number, by its labels; events of other keys are left out |
//! | `_enter` (int64) | when it begins to count |
//! | `_ts` (int64) | event time |
//! | the inputs | as they came |

use std::sync::Arc;

use arrow::array::types::{Int64Type, UInt32Type, UInt64Type};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use headwater_clocks::Tick;

use super::labels;
use crate::events;
use crate::keys::Interner;

/// Columns of ordered events.
pub const NUMBER: usize = 0;
pub const ENTER: usize = 1;
pub const TS: usize = 2;
pub const FIRST_INPUT: usize = 3;

/// When an event begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// When a run could know of it.
    Visible,
    /// When it happened, however late it came.
    Happened,
}

/// The labels of a shard, by key and moment.
pub struct Labels {
    keys: Interner,
    /// (number of the key, moment, number of the label)
    all: Vec<(u32, Tick, u64)>,
}

impl Labels {
    pub fn open(batches: &[RecordBatch]) -> Labels {
        let mut keys = Interner::new(0);
        let mut all = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for batch in batches {
            let column = batch.column(labels::KEY).as_binary::<i32>();
            let at = micros(batch, labels::AT);
            let rows = batch.column(labels::ROW).as_primitive::<UInt64Type>().values();
            all.extend((0..column.len()).map(|i| (keys.intern(column.value(i)), Tick::from_us(at[i]), rows[i])));
        }
        let ends = ends(all.iter().map(|label| label.0), keys.bound());
        let mut sorted = all.clone();
        part(&ends, all.into_iter().map(|label| (label.0, label)), &mut sorted);
        ends.windows(2).for_each(|span| sorted[span[0]..span[1]].sort_unstable());
        Labels { keys, all: sorted }
    }

    pub fn all(&self) -> &[(u32, Tick, u64)] {
        &self.all
    }

    /// Events of these keys, in order of key and of when they enter.
    pub fn order(&self, batches: &[RecordBatch], enter: Enter) -> Result<RecordBatch, ArrowError> {
        let numbers: Vec<Vec<Option<u32>>> = batches.iter().map(|batch| self.numbers(batch)).collect();
        let ends = ends(numbers.iter().flatten().flatten().copied(), self.keys.bound());
        let mut places: Vec<Place> = vec![(0, 0); ends[self.keys.bound()]];
        let all = numbers.iter().enumerate().flat_map(|(batch, numbers)| {
            let of_batch = numbers.iter().enumerate();
            of_batch.filter_map(move |(row, number)| Some(((*number)?, (batch, row))))
        });
        part(&ends, all, &mut places);
        let entered: Vec<&[i64]> = batches.iter().map(|batch| micros(batch, entering(enter))).collect();
        let entered = |place: &Place| entered[place.0][place.1];
        for span in ends.windows(2) {
            // Mostly they lie so already, or in a few runs that do.
            let of_key = &mut places[span[0]..span[1]];
            if !of_key.is_sorted_by_key(entered) {
                of_key.sort_by_key(entered);
            }
        }
        let counts = (0..).zip(ends.windows(2)).map(|(number, span)| (number, span[1] - span[0]));
        let numbers = counts.flat_map(|(number, count)| std::iter::repeat_n(number, count));
        ordered(batches, &places, (numbers.collect(), places.iter().map(entered).collect()))
    }

    /// By event: the number of its key, if it is one of these.
    fn numbers(&self, events: &RecordBatch) -> Vec<Option<u32>> {
        let keys = events.column(events::KEY).as_binary::<i32>();
        (0..keys.len()).map(|row| self.keys.find(keys.value(row))).collect()
    }
}

/// Where each number's own end among all, behind where the first one's begin.
fn ends(numbers: impl Iterator<Item = u32>, bound: usize) -> Vec<usize> {
    let mut ends = vec![0; bound + 1];
    numbers.for_each(|number| ends[number as usize + 1] += 1);
    (0..bound).for_each(|number| ends[number + 1] += ends[number]);
    ends
}

/// Puts each where its number's are, in the order in which they come.
fn part<T>(ends: &[usize], all: impl Iterator<Item = (u32, T)>, sorted: &mut [T]) {
    let mut next = ends.to_vec();
    for (number, one) in all {
        let at = &mut next[number as usize];
        sorted[*at] = one;
        *at += 1;
    }
}

/// A row of a batch.
type Place = (usize, usize);

fn micros(batch: &RecordBatch, column: usize) -> &[i64] {
    batch.column(column).as_primitive::<Int64Type>().values()
}

fn entering(enter: Enter) -> usize {
    match enter {
        Enter::Visible => events::VISIBLE,
        Enter::Happened => events::TS,
    }
}

/// The events of some places, with the numbers of their keys and when they enter.
fn ordered(
    batches: &[RecordBatch],
    places: &[Place],
    (numbers, entered): (Vec<u32>, Vec<i64>),
) -> Result<RecordBatch, ArrowError> {
    let field = |name, data_type| Arc::new(Field::new(name, data_type, false));
    let mut fields = vec![field("_number", DataType::UInt32), field("_enter", DataType::Int64)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(numbers)), Arc::new(Int64Array::from(entered))];
    if let Some(first) = batches.first() {
        let inputs = events::OPEN..first.num_columns();
        let wanted: Vec<usize> = std::iter::once(events::TS).chain(inputs).collect();
        let rest = batches.iter().map(|batch| batch.project(&wanted)).collect::<Result<Vec<_>, _>>()?;
        let rest: Vec<&RecordBatch> = rest.iter().collect();
        let rest = interleave_record_batch(&rest, places)?;
        fields.extend(rest.schema().fields().iter().cloned());
        columns.extend(rest.columns().iter().cloned());
    } else {
        fields.push(field("_ts", DataType::Int64));
        columns.push(Arc::new(Int64Array::from(Vec::<i64>::new())));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Where a batch of ordered events begins: a key's number, and when its first event enters.
pub fn begins(ordered: &RecordBatch, row: usize) -> (u32, Tick) {
    let number = ordered.column(NUMBER).as_primitive::<UInt32Type>().value(row);
    (number, Tick::from_us(ordered.column(ENTER).as_primitive::<Int64Type>().value(row)))
}
