//! Rows at labels: of the changes of a key the last up to each label's tick.
//!
//! ```text
//! changes   3: +x     7: -x +y     9: -y
//! labels    2 5 8 9                          nothing, x, y, nothing
//! ```
//!
//! A change is of the first label at or after it, and of those that follow up to the next change; of those of one label the last counts. So
//! changes may come in any order, and no more of them is kept than labels need.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::types::{Int8Type, Int64Type, UInt64Type};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use headwater_operators::probe::rows::FIRST_COLUMN;
use headwater_operators::probe::{Enter, Probe, labels};

use super::super::shards::Parted;
use super::super::sweep::{GroupRows, collect};
use super::super::watch::Watch;
use super::super::workers::Workers;
use super::caught::{change, values};
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::catalog::opened::Opened;

/// The row where there is none (see `probe::rows`): of a group counts are 0, and all else is null.
pub fn row_of_nothing(opened: &Opened, rows: RowsId) -> Result<RecordBatch, Failure> {
    let failed = |e: ArrowError| Failure::Running(format!("rows of {}: {e}", opened.job.name_of(rows)));
    if let Some(group) = opened.group(rows) {
        let inputs: Vec<DataType> = group.inputs.iter().map(|input| input.data_type().clone()).collect();
        return Probe::new(&group.columns, &inputs, Enter::Visible).empty().map_err(failed);
    }
    let first = [("_row", DataType::UInt64), ("_is_there", DataType::Boolean)];
    let first = first.map(|(name, of)| Arc::new(Field::new(name, of, false)));
    let own = values(opened, rows);
    let nulls = own.iter().map(|field| new_null_array(field.data_type(), 1));
    let there: [ArrayRef; 2] = [Arc::new(UInt64Array::from(vec![0])), Arc::new(BooleanArray::from(vec![false]))];
    let columns = there.into_iter().chain(nulls).collect();
    RecordBatch::try_new(Arc::new(Schema::new(first.into_iter().chain(own).collect::<Vec<_>>())), columns)
        .map_err(failed)
}

/// Finds the rows of all labels.
pub fn rows(
    (labels, changes): (&Parted, &Parted),
    rows: &GroupRows,
    (workers, watch): (&Workers, &Watch),
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let work = |_| {
        let mut collector = rows.parted.collector();
        loop {
            let shard = next.fetch_add(1, Ordering::Relaxed);
            if shard >= labels.parts() {
                return collector.finish();
            }
            workers.check()?;
            let labels = labels.part(shard)?;
            let mut at = AtLabels::of(&labels);
            if at.labels.is_empty() {
                continue;
            }
            changes.each(shard, |batch| at.take(&batch).map_err(failed))?;
            watch.add(at.labels.len());
            collect(&mut collector, at.rows(&rows.empty).map_err(failed)?)?;
        }
    };
    workers.run(work).map(drop)
}

fn failed(e: ArrowError) -> Failure {
    Failure::Running(format!("finding the rows of labels: {e}"))
}

struct Label<'l> {
    key: &'l [u8],
    at: i64,
    number: u64,
}

/// The last change that was seen of those that come after the label before and up to this one.
#[derive(Clone, Copy)]
struct Found {
    time: i64,
    /// A row comes; else there is none from then on.
    comes: bool,
    /// Where it is kept: in which batch, and which row.
    place: (usize, usize),
}

/// The labels of a shard.
struct AtLabels<'l> {
    /// By key and moment.
    labels: Vec<Label<'l>>,
    keys: HashMap<&'l [u8], Range<usize>>,
    /// By label.
    found: Vec<Option<Found>>,
    kept: Vec<RecordBatch>,
    kept_rows: usize,
}

/// So many rows that are of no use are not worth putting the others together.
const LEFT_OVER: usize = 64 << 10;

impl<'l> AtLabels<'l> {
    fn of(batches: &'l [RecordBatch]) -> AtLabels<'l> {
        let mut all = vec![];
        for batch in batches {
            let keys = batch.column(labels::KEY).as_binary::<i32>();
            let at = batch.column(labels::AT).as_primitive::<Int64Type>().values();
            let numbers = batch.column(labels::ROW).as_primitive::<UInt64Type>().values();
            let label = |row: usize| Label { key: keys.value(row), at: at[row], number: numbers[row] };
            all.extend((0..batch.num_rows()).map(label));
        }
        all.sort_unstable_by_key(|label| (label.key, label.at, label.number));
        let (mut keys, mut from) = (HashMap::new(), 0);
        for of_key in all.chunk_by(|a, b| a.key == b.key) {
            keys.insert(of_key[0].key, from..from + of_key.len());
            from += of_key.len();
        }
        AtLabels { found: vec![None; all.len()], labels: all, keys, kept: vec![], kept_rows: 0 }
    }

    /// Takes changes, in any order.
    fn take(&mut self, changes: &RecordBatch) -> Result<(), ArrowError> {
        let keys = changes.column(change::KEY).as_binary::<i32>();
        let times = changes.column(change::TIME).as_primitive::<Int64Type>().values();
        let diffs = changes.column(change::DIFF).as_primitive::<Int8Type>().values();
        let (batch, mut touched) = (self.kept.len(), vec![]);
        for row in 0..changes.num_rows() {
            let Some(span) = self.keys.get(keys.value(row)).cloned() else { continue };
            let (time, comes) = (times[row], diffs[row] > 0);
            let at = span.start + self.labels[span.clone()].partition_point(|label| label.at < time);
            // At one tick what comes stands, whatever goes.
            if at < span.end && self.found[at].is_none_or(|found| (found.time, found.comes) < (time, comes)) {
                self.found[at] = Some(Found { time, comes, place: (batch, row) });
                touched.push(at);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        let mut rows = vec![];
        for at in touched {
            if let Some(found) = self.found[at].as_mut().filter(|found| found.comes) {
                rows.push(found.place.1 as u32);
                found.place.1 = rows.len() - 1;
            }
        }
        let own: Vec<usize> = (change::FIRST_COLUMN..changes.num_columns()).collect();
        // A view may have a key and nothing else.
        if rows.is_empty() || own.is_empty() {
            return Ok(());
        }
        self.kept_rows += rows.len();
        self.kept.push(take_record_batch(&changes.project(&own)?, &UInt32Array::from(rows))?);
        if self.kept_rows > 2 * self.labels.len() + LEFT_OVER { self.condense() } else { Ok(()) }
    }

    /// Keeps only what counts.
    fn condense(&mut self) -> Result<(), ArrowError> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let mut places = vec![];
        for found in self.found.iter_mut().flatten().filter(|found| found.comes) {
            places.push(found.place);
            found.place = (0, places.len() - 1);
        }
        let all: Vec<&RecordBatch> = self.kept.iter().collect();
        self.kept = vec![interleave_record_batch(&all, &places)?];
        self.kept_rows = places.len();
        Ok(())
    }

    /// The rows of the labels, as `probe::rows` has them.
    fn rows(&self, nothing: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let own: Vec<usize> = (FIRST_COLUMN..nothing.num_columns()).collect();
        let of_nothing = nothing.project(&own)?;
        let mut places = Vec::with_capacity(self.labels.len());
        for of_key in self.labels.chunk_by(|a, b| a.key == b.key) {
            let mut last: Option<(usize, usize)> = None;
            for _ in of_key {
                if let Some(found) = self.found[places.len()] {
                    last = found.comes.then_some(found.place);
                }
                places.push(last);
            }
        }
        let numbers: UInt64Array = self.labels.iter().map(|label| Some(label.number)).collect();
        let are_there: BooleanArray = places.iter().map(|place| Some(place.is_some())).collect();
        let places: Vec<(usize, usize)> =
            places.into_iter().map(|place| place.unwrap_or((self.kept.len(), 0))).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(are_there)];
        if !own.is_empty() {
            let all: Vec<&RecordBatch> = self.kept.iter().chain([&of_nothing]).collect();
            columns.extend_from_slice(interleave_record_batch(&all, &places)?.columns());
        }
        RecordBatch::try_new(nothing.schema(), columns)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{BinaryArray, Int8Array, Int64Array};
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn nothing() -> RecordBatch {
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("_row", Arc::new(UInt64Array::from(vec![0])), false),
            ("_is_there", Arc::new(BooleanArray::from(vec![false])), false),
            ("x", Arc::new(Int64Array::from(vec![None])), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn batch(changes: &[(u8, i64, i8, i64)]) -> RecordBatch {
        let columns: [(&str, ArrayRef, bool); 4] = [
            ("_key", Arc::new(BinaryArray::from_iter_values(changes.iter().map(|change| [change.0]))), false),
            ("_time", Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.1))), false),
            ("_diff", Arc::new(Int8Array::from_iter_values(changes.iter().map(|change| change.2))), false),
            ("x", Arc::new(changes.iter().map(|change| Some(change.3)).collect::<Int64Array>()), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    #[test]
    fn the_row_after_the_last_change_whatever_the_order() {
        let (mut there, mut gone) = (0, 0);
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut changes, mut rows): (Vec<_>, BTreeMap<(u8, i64), Option<i64>>) = (vec![], BTreeMap::new());
            for key in 0..4u8 {
                let mut row = None;
                for time in 0..rng.random_range(0..40) {
                    let next = rng.random_bool(0.7).then(|| rng.random_range(0..1000));
                    if rng.random_bool(0.5) || next == row {
                        continue;
                    }
                    changes.extend(row.map(|x| (key, time, -1, x)));
                    changes.extend(next.map(|x| (key, time, 1, x)));
                    row = next;
                    rows.insert((key, time), row);
                }
            }
            changes.shuffle(&mut rng);
            let labels: Vec<(u8, i64)> = (0..50).map(|_| (rng.random_range(0..5), rng.random_range(-3..50))).collect();
            let keys = BinaryArray::from_iter_values(labels.iter().map(|(key, _)| [*key]));
            let moments = Int64Array::from_iter_values(labels.iter().map(|(_, at)| *at));
            let labels_of = labels::batch(keys, moments, UInt64Array::from_iter_values(0..50)).unwrap();
            let labels_of = [labels_of.slice(0, 20), labels_of.slice(20, 30)];
            let mut at = AtLabels::of(&labels_of);
            for some in changes.chunks(rng.random_range(1..9)) {
                at.take(&batch(some)).unwrap();
                if rng.random_bool(0.3) {
                    at.condense().unwrap();
                }
            }
            let found = at.rows(&nothing()).unwrap();
            let numbers = found.column(0).as_primitive::<UInt64Type>();
            let x = found.column(2).as_primitive::<Int64Type>();
            assert_eq!(found.num_rows(), labels.len());
            for row in 0..found.num_rows() {
                let (key, moment) = labels[numbers.value(row) as usize];
                let expected = rows.range((key, i64::MIN)..=(key, moment)).next_back().and_then(|(_, row)| *row);
                let value = found.column(1).as_boolean().value(row).then(|| x.value(row));
                assert_eq!(value, expected, "seed {seed}: {key} at {moment}");
                if expected.is_some() { there += 1 } else { gone += 1 }
            }
        }
        assert!(there > 1000 && gone > 1000, "{there} {gone}");
    }
}
