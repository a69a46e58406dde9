//! Events as they are in the end: those that came and were not taken back, each as often as it is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::types::Int8Type;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use headwater_operators::events::VISIBLE;

use super::super::shards::Parted;
use super::super::workers::Workers;
use crate::base::failure::Failure;

/// `all`: events as they come and are taken back; `settled`: gets those that are there, part by part.
pub fn settle(all: &Parted, settled: &Parted, workers: &Workers) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let work = |_| {
        let mut collector = settled.collector();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= all.parts() {
                return collector.finish();
            }
            workers.check()?;
            let batches = all.part(part)?;
            let Some(first) = batches.first() else { continue };
            let failed = |e: ArrowError| Failure::Running(format!("taking back events: {e}"));
            let events = concat_batches(first.schema_ref(), &batches).map_err(failed)?;
            let there = there(&events).map_err(failed)?;
            let own: Vec<usize> = (0..events.num_columns() - 1).collect();
            let events = events.project(&own).map_err(failed)?;
            collector.add(events, there.into_iter().map(|row| (row, part as u32)))?;
        }
    };
    workers.run(work).map(drop)
}

/// Rows of events that are there in the end; of one that is there several times, so many times.
fn there(events: &RecordBatch) -> Result<Vec<u32>, ArrowError> {
    let diff = events.num_columns() - 1;
    // When it was known says nothing of what it is.
    let columns = events.columns().iter().enumerate().filter(|(at, _)| *at != VISIBLE && *at != diff);
    let columns: Vec<ArrayRef> = columns.map(|(_, column)| column.clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    let diffs = events.column(diff).as_primitive::<Int8Type>().values();
    let mut net: HashMap<&[u8], (u32, i64)> = HashMap::new();
    let all: Vec<_> = rows.iter().collect();
    for (at, (row, diff)) in (0..).zip(all.iter().zip(diffs)) {
        net.entry(row.data()).or_insert((at, 0)).1 += i64::from(*diff);
    }
    let mut there: Vec<u32> = net
        .into_values()
        .flat_map(|(at, times)| std::iter::repeat_n(at, usize::try_from(times).unwrap_or(0)))
        .collect();
    there.sort_unstable();
    Ok(there)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Float64Array, Int8Array, Int64Array};
    use arrow::datatypes::DataType;
    use headwater_operators::events;

    use super::*;

    type Event = (&'static str, i64, i64, Option<f64>, i8);

    #[test]
    fn what_was_taken_back_is_not_there() {
        let rows: [Event; 8] = [
            ("a", 1, 1, Some(2.0), 1),
            ("a", 1, 9, Some(2.0), -1),
            ("a", 1, 9, Some(3.0), 1),
            ("b", 1, 2, None, 1),
            ("b", 1, 3, None, 1),
            ("b", 2, 3, Some(f64::NAN), 1),
            ("b", 2, 7, Some(f64::NAN), -1),
            ("c", 2, 7, Some(3.0), 1),
        ];
        let each = |of: fn(&Event) -> i64| Int64Array::from_iter_values(rows.iter().map(of));
        let inputs: Vec<ArrayRef> = vec![Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.3)))];
        let keys = BinaryArray::from_iter_values(rows.iter().map(|row| row.0));
        let plain = events::schema(&[DataType::Float64], false);
        let plain = events::batch(&plain, keys, each(|row| row.1), each(|row| row.2), None, inputs).unwrap();
        let diffs: Int8Array = rows.iter().map(|row| Some(row.4)).collect();
        let batch = events::with_diffs(&events::corrected_schema(&[DataType::Float64], false), &plain, diffs).unwrap();
        assert_eq!(there(&batch).unwrap(), [2, 3, 3, 7]);
    }
}
