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
use headwater_clocks::{Tick, Time};

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
            let at = batch.column(labels::AT).as_primitive::<Int64Type>().values();
            let rows = batch.column(labels::ROW).as_primitive::<UInt64Type>().values();
            all.extend((0..column.len()).map(|i| (keys.intern(column.value(i)), Tick::from_us(at[i]), rows[i])));
        }
        all.sort_unstable();
        Labels { keys, all }
    }

    pub fn all(&self) -> &[(u32, Tick, u64)] {
        &self.all
    }

    /// Events of these keys, in order of key and of when they enter.
    pub fn order(&self, batches: &[RecordBatch], enter: Enter) -> Result<RecordBatch, ArrowError> {
        let mut found: Vec<EventAt> = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for (batch, rows) in (0..).zip(batches) {
            let keys = rows.column(events::KEY).as_binary::<i32>();
            let entered = rows.column(entering(enter)).as_primitive::<Int64Type>().values();
            let place = |row: usize| {
                let number = self.keys.find(keys.value(row))?;
                Some(EventAt { number, enter: Tick::from_us(entered[row]), batch, row: row as u32 })
            };
            found.extend((0..keys.len()).filter_map(place));
        }
        sort(&mut found, self.keys.bound());
        ordered(batches, &found)
    }
}

fn entering(enter: Enter) -> usize {
    match enter {
        Enter::Visible => events::VISIBLE,
        Enter::Happened => events::TS,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct EventAt {
    number: u32,
    enter: Tick,
    batch: u32,
    row: u32,
}

/// By key with a count of each, then each key's by when they enter: mostly they are a few runs that lie so already.
fn sort(places: &mut Vec<EventAt>, keys: usize) {
    let mut ends = vec![0u32; keys + 1];
    places.iter().for_each(|place| ends[place.number as usize + 1] += 1);
    (0..keys).for_each(|key| ends[key + 1] += ends[key]);
    let mut next = ends.clone();
    let mut sorted = places.clone();
    for place in places.iter() {
        let at = &mut next[place.number as usize];
        sorted[*at as usize] = *place;
        *at += 1;
    }
    ends.windows(2).for_each(|span| sorted[span[0] as usize..span[1] as usize].sort());
    *places = sorted;
}

fn ordered(batches: &[RecordBatch], places: &[EventAt]) -> Result<RecordBatch, ArrowError> {
    let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values(places.iter().map(|place| place.number)));
    let entered: ArrayRef = Arc::new(Int64Array::from_iter_values(places.iter().map(|place| place.enter.us())));
    let field = |name, data_type| Arc::new(Field::new(name, data_type, false));
    let mut fields = vec![field("_number", DataType::UInt32), field("_enter", DataType::Int64)];
    let mut columns = vec![numbers, entered];
    if let Some(first) = batches.first() {
        let inputs = events::OPEN..first.num_columns();
        let wanted: Vec<usize> = std::iter::once(events::TS).chain(inputs).collect();
        let rest = batches.iter().map(|batch| batch.project(&wanted)).collect::<Result<Vec<_>, _>>()?;
        let rest: Vec<&RecordBatch> = rest.iter().collect();
        let indices: Vec<(usize, usize)> =
            places.iter().map(|place| (place.batch as usize, place.row as usize)).collect();
        let rest = interleave_record_batch(&rest, &indices)?;
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
