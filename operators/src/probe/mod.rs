//! A row at a time: what a key's row was at the moments that somebody asks about, as rows to train a model on.
//!
//! ```text
//! enter(event)   `V`, the tick from which on it is visible; or, in hindsight, its own time `ts`
//! row(key, t)    for each column, the aggregate of the key's events with enter <= t and t - length < ts (`all`: enter <= t)
//! ```
//!
//! A *label* is a key and a moment. Its row is the one that a run has at tick `t`, to the bit: it is made by the same accumulators,
//! of the same events. A run has none where no event is inside any window; what is told then is that, and a row of counts of 0.
//!
//! ```text
//! count over 10         events (ts, enter)    labels      rows
//!                       03 3                  03          1
//!                       05 7 (late)           05, 07      1, 2
//!                       14 14                 13, 15      1 (03 is old), 1 (05 is old)
//! ```
//!
//! How: labels and events are put in order (`shard`: by key, then labels by moment and events by `enter`), and one walk takes both side by
//! side (`sweep`). Where all events of a shard are here, it is known of each window from which event to which it reaches (`whole`). Where
//! they are more than fit into memory, they may come in any number of ordered batches, one after the other: then events that are inside a
//! window wait until they are too old for it (`aging`). So an event costs the same however long the windows are and however many events its
//! key has, and none is looked at twice for two labels.
//! An event that is taken back is one that comes once more, with the moment from which on it does not count any more.

mod aging;
pub mod labels;
mod shard;
mod sweep;
mod whole;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use headwater_clocks::Tick;

use crate::accumulators::{Accumulators, ColumnPlan, result_types};
use crate::value::Column;
pub use shard::Enter;
use shard::Labels;
use sweep::Sweep;

/// The rows of a group at given moments. One a thread.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, UInt64Array};
/// use arrow::datatypes::{DataType, Int64Type};
/// use headwater_clocks::Span;
/// use headwater_operators::accumulators::ColumnPlan;
/// use headwater_operators::key_codec::KeyCodec;
/// use headwater_operators::probe::{Enter, Probe, labels};
/// use headwater_operators::events;
///
/// // tx = count over 10us, by a text
/// let tx = ColumnPlan { name: "tx".into(), aggregate: "count".parse()?, input: None, length: Some(Span::from_us(10)) };
/// let mut probe = Probe::new(&[tx], &[], Enter::Visible);
/// let codec = KeyCodec::new(&[DataType::Utf8])?;
/// let keys = |names: Vec<&str>| codec.encode(&[Arc::new(StringArray::from(names)) as ArrayRef]);
///
/// let (ts, visible) = (Int64Array::from(vec![3, 5, 14]), Int64Array::from(vec![3, 7, 14]));
/// let events = events::batch(&events::schema(&[], false), keys(vec!["a"; 3])?, ts, visible, None, vec![])?;
/// let moments = Int64Array::from(vec![15, 7, 5, 7, 3]);
/// let labels = labels::batch(keys(vec!["a", "a", "a", "b", "a"])?, moments, UInt64Array::from_iter_values(0..5))?;
/// let rows = probe.rows(&[labels], &[events])?;
///
/// let mut counts = vec![0; 5];
/// let (number, count) = (rows["_row"].as_primitive::<arrow::datatypes::UInt64Type>(), rows["tx"].as_primitive::<Int64Type>());
/// number.values().iter().zip(count.values()).for_each(|(row, n)| counts[*row as usize] = *n);
/// assert_eq!(counts, [1, 2, 1, 0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Probe {
    enter: Enter,
    schema: SchemaRef,
    sweep: Sweep,
}

impl Probe {
    /// `columns`: of a trailing group; `inputs`: their types.
    ///
    /// # Panics
    /// On an input of a type that no input can have: `check` has refused it.
    pub fn new(columns: &[ColumnPlan], inputs: &[DataType], enter: Enter) -> Probe {
        let nested = Accumulators::nested(columns, inputs);
        Probe::build((columns, inputs), enter, Accumulators::new(columns, inputs), Some(nested))
    }

    /// One of events that may be taken back, whose last column `_diff` says so (see [`events`](crate::events)): each at a later moment than
    /// that at which it enters.
    ///
    /// # Panics
    /// As `new`.
    pub fn corrected(columns: &[ColumnPlan], inputs: &[DataType], enter: Enter) -> Probe {
        Probe::build((columns, inputs), enter, Accumulators::corrected(columns, inputs), None)
    }

    fn build(
        (columns, inputs): (&[ColumnPlan], &[DataType]),
        enter: Enter,
        accumulators: Accumulators,
        nested: Option<Accumulators>,
    ) -> Probe {
        let types = result_types(columns, inputs);
        let sweep = Sweep::new(accumulators, nested, types.iter().map(Column::new).collect());
        Probe { enter, schema: schema(columns, &types), sweep }
    }

    /// `_row` (uint64), `_is_there` (bool), and the columns of the group.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows at all these labels (see [`labels`]), each with its label's number, in an order of no meaning. `events`: see
    /// [`events`](crate::events); those of other keys and of no label's moments may be among them.
    ///
    /// # Errors
    /// None that batches of these schemas give, but for a shard of more than 2^31 bytes of text.
    pub fn rows(&mut self, labels: &[RecordBatch], events: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
        let labels = self.begin(labels);
        let events = labels.order(events)?;
        self.take(&labels, &events, None);
        self.finish()
    }

    /// Begins a shard whose events come in several ordered batches.
    pub fn begin(&self, labels: &[RecordBatch]) -> Shard {
        Shard { labels: Labels::open(labels), enter: self.enter }
    }

    /// Takes ordered events, which follow those taken before. `next`: where those begin that follow them (see
    /// [`Shard::begins`]); `None`: none do, and all rows of the shard are worked out.
    pub fn take(&mut self, shard: &Shard, ordered: &RecordBatch, next: Option<(u32, Tick)>) {
        self.sweep.take(&shard.labels, ordered, next);
    }

    /// The rows of a shard, once all of its events are taken.
    ///
    /// # Errors
    /// None.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(self.schema.clone(), self.sweep.finish())
    }

    /// The row of a key without events: it is not there, its counts are 0, the rest is null. With the number 0.
    ///
    /// # Errors
    /// None.
    pub fn empty(&mut self) -> Result<RecordBatch, ArrowError> {
        self.sweep.push_empty();
        self.finish()
    }

    /// How many sums did not fit their type so far, once for each row that could not show one.
    pub fn unfit_sums(&self) -> u64 {
        self.sweep.unfit_sums()
    }
}

fn schema(columns: &[ColumnPlan], types: &[DataType]) -> SchemaRef {
    let columns =
        columns.iter().zip(types).map(|(column, data_type)| Field::new(&column.name, data_type.clone(), true));
    let first = [Field::new("_row", DataType::UInt64, false), Field::new("_is_there", DataType::Boolean, false)];
    std::sync::Arc::new(Schema::new(first.into_iter().chain(columns).collect::<Vec<_>>()))
}

/// The columns of rows: their labels' numbers, whether a run has them at all, and where the group's own begin.
pub mod rows {
    /// The column of numbers.
    pub const NUMBER: usize = 0;
    /// The column that says whether any event was inside any window.
    pub const IS_THERE: usize = 1;
    /// The first column of the group.
    pub const FIRST_COLUMN: usize = 2;
}

/// The labels of some keys, which say in which order their events are taken: by key, in an order of their own, and by when they enter.
pub struct Shard {
    labels: Labels,
    enter: Enter,
}

impl Shard {
    /// Puts events in order, and leaves out those of other keys. Of ordered batches of one shard any may be merged: see
    /// [`Shard::begins`].
    ///
    /// # Errors
    /// None that batches of [`events`](crate::events)' schema give, but for more than 2^31 bytes of text.
    pub fn order(&self, events: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
        self.labels.order(events, self.enter)
    }

    /// What a row of ordered events is ordered by: the number of its key, and when it enters.
    pub fn begins(ordered: &RecordBatch, row: usize) -> (u32, Tick) {
        shard::begins(ordered, row)
    }
}

#[cfg(test)]
mod taken_back;
#[cfg(test)]
mod tests;
