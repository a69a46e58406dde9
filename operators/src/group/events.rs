//! Events of a group as they come, opened.

use arrow::array::types::{Int8Type, Int64Type};
use arrow::array::{AsArray, BinaryArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use headwater_clocks::{EventTime, Tick};

use crate::accumulators::Inputs;
use crate::events::{KEY, OPEN, TS, VISIBLE, first_input};

/// A batch of events, opened.
pub struct Events {
    pub keys: BinaryArray,
    ts: PrimitiveArray<Int64Type>,
    visible: PrimitiveArray<Int64Type>,
    /// In groups with windows of their own.
    open: Option<PrimitiveArray<Int64Type>>,
    pub inputs: Inputs,
    /// Where they may be taken back.
    diffs: Option<PrimitiveArray<Int8Type>>,
    batch: RecordBatch,
}

impl Events {
    /// `corrected`: they may be taken back.
    pub fn of(batch: &RecordBatch, windowed: bool, corrected: bool) -> Events {
        let inputs = first_input(windowed)..batch.num_columns() - usize::from(corrected);
        Events {
            keys: batch.column(KEY).as_binary().clone(),
            ts: batch.column(TS).as_primitive().clone(),
            visible: batch.column(VISIBLE).as_primitive().clone(),
            open: windowed.then(|| batch.column(OPEN).as_primitive().clone()),
            diffs: corrected.then(|| batch.column(inputs.end).as_primitive().clone()),
            inputs: Inputs::of(&batch.columns()[inputs]),
            batch: batch.clone(),
        }
    }

    #[inline]
    pub fn ts(&self, at: usize) -> EventTime {
        EventTime::from_us(self.ts.value(at))
    }

    /// The tick from which on it counts.
    #[inline]
    pub fn visible(&self, at: usize) -> Tick {
        Tick::from_us(self.visible.value(at))
    }

    /// Windows that end before it take the event no more.
    #[inline]
    pub fn open(&self, at: usize) -> EventTime {
        self.open.as_ref().map_or(EventTime::BEFORE_ALL, |open| EventTime::from_us(open.value(at)))
    }

    /// Whether an event is taken back that came before.
    #[inline]
    pub fn takes_back(&self, at: usize) -> bool {
        self.diffs.as_ref().is_some_and(|diffs| diffs.value(at) < 0)
    }

    /// How many come.
    pub fn coming(&self) -> usize {
        self.diffs.as_ref().map_or(self.len(), |diffs| diffs.values().iter().filter(|diff| **diff > 0).count())
    }

    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Some of them, as they came.
    pub fn take(&self, rows: &UInt32Array) -> RecordBatch {
        take_record_batch(&self.batch, rows).expect("rows of its own")
    }
}
