//! Batches of differences of rows, and the trace that has them all.

use std::rc::Rc;

use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use differential_dataflow::trace::{Builder, Cursor, Navigable, TraceReader};
use headwater_clocks::Tick;

use super::version::Version;

/// A difference of the collection.
pub type Update = ((u32, Version), Tick, isize);
/// How rows are stored: sorted by unit, then version.
pub type RowSpine = ValSpine<u32, Version, Tick, isize>;
/// Differences of an interval of times.
pub type RowBatch = <RowSpine as TraceReader>::Batch;
/// All rows, shared by those that read them.
pub type RowTrace = TraceAgent<RowSpine>;

/// A batch of differences; `None` where there are none.
pub fn batch(updates: &mut Vec<Update>) -> Option<RowBatch> {
    consolidate_updates(updates);
    let count = updates.len();
    let mut builder = ValBuilder::<u32, Version, Tick, isize>::with_capacity(count, count, count);
    builder.push(updates);
    builder.done().map(Rc::new)
}

/// Calls `each` with every row that is there once the changes up to a time are made, and its unit, in the order of units. The trace
/// distinguishes times from there on.
pub fn each_row_at(trace: &RowTrace, time: Tick, mut each: impl FnMut(u32, &Version)) {
    let mut batches = vec![];
    trace.map_spans(|span| batches.extend(span.inner.clone()));
    let (mut cursor, batches) = cursor_list(batches);
    while let Some(unit) = cursor.get_key(&batches).copied() {
        while let Some(version) = cursor.get_val(&batches) {
            let mut count = 0;
            cursor.map_times(&batches, |t, diff| count += if *t <= time { *diff } else { 0 });
            debug_assert!((0..=1).contains(&count), "{count} of {version:?}");
            if count > 0 {
                each(unit, version);
            }
            cursor.step_val(&batches);
        }
        cursor.step_key(&batches);
    }
}

/// Calls `each` with every version of a batch: its unit, and its differences at each time.
pub fn each_version<'b>(
    batch: &'b RowBatch,
    mut each: impl FnMut(u32, &'b Version, &mut dyn Iterator<Item = (Tick, isize)>),
) {
    let batch = &**batch;
    let (mut cursor, mut times) = (batch.cursor(), vec![]);
    while let Some(unit) = cursor.get_key(batch) {
        while let Some(version) = cursor.get_val(batch) {
            cursor.map_times(batch, |time, diff| times.push((*time, *diff)));
            each(*unit, version, &mut times.drain(..));
            cursor.step_val(batch);
        }
        cursor.step_key(batch);
    }
}
