//! Events of a group as they come, opened.

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, BinaryArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::accumulators::Inputs;
use crate::events::{KEY, OPEN, TS, VISIBLE, first_input};

/// A batch of events, opened.
pub struct Events {
    pub keys: BinaryArray,
    pub ts: PrimitiveArray<Int64Type>,
    pub visible: PrimitiveArray<Int64Type>,
    /// In groups with windows of their own.
    pub open: Option<PrimitiveArray<Int64Type>>,
    pub inputs: Inputs,
    batch: RecordBatch,
}

impl Events {
    pub fn open(batch: &RecordBatch, windowed: bool) -> Events {
        Events {
            keys: batch.column(KEY).as_binary().clone(),
            ts: batch.column(TS).as_primitive().clone(),
            visible: batch.column(VISIBLE).as_primitive().clone(),
            open: windowed.then(|| batch.column(OPEN).as_primitive().clone()),
            inputs: Inputs::open(batch, first_input(windowed)),
            batch: batch.clone(),
        }
    }

    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Some of them, as they came.
    pub fn take(&self, rows: &UInt32Array) -> RecordBatch {
        take_record_batch(&self.batch, rows).expect("rows of its own")
    }
}
