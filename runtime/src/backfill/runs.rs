//! The events of a shard, in order: at once where they fit into memory, else run by run, spilled, and merged.
//!
//! ```text
//! events of the shard -> runs, each in order, each written in slices -> a slice of each run at a time, merged -> ordered batches
//! ```
//!
//! So one key may have more events than memory; what stays in memory of it is what is inside its windows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use headwater_clocks::Tick;
use headwater_operators::probe::{Probe, Shard};

use super::shards::{Parted, Storage};
use super::spill::Place;
use crate::base::failure::Failure;

/// Rows of a slice of a run, and of a merged batch.
const SLICE_ROWS: usize = 8 << 10;
const MERGED_ROWS: usize = 64 << 10;

/// Gives the probe all events of a part.
pub fn take(probe: &mut Probe, shard: &Shard, (events, part): (&Parted, usize)) -> Result<(), Failure> {
    let storage = events.storage();
    let (rows, bytes) = events.size(part);
    if bytes <= storage.shard_bytes {
        let ordered = shard.order(&events.part(part)?).map_err(failed)?;
        probe.take(shard, &ordered, None);
        return Ok(());
    }
    let rows_max = (storage.shard_bytes / (bytes / rows).max(1)).max(SLICE_ROWS);
    let mut runs = vec![];
    let (mut batches, mut rows) = (vec![], 0);
    events.each(part, |batch| {
        rows += batch.num_rows();
        batches.push(batch);
        if rows >= rows_max {
            rows = 0;
            runs.push(write_run(shard, &std::mem::take(&mut batches), storage)?);
        }
        Ok(())
    })?;
    runs.push(write_run(shard, &batches, storage)?);
    Merge::begin(runs, storage)?.all(probe, shard)
}

fn failed(e: ArrowError) -> Failure {
    Failure::Running(format!("putting events in order: {e}"))
}

/// The slices of a run.
type Run = std::vec::IntoIter<Place>;

fn write_run(shard: &Shard, batches: &[RecordBatch], storage: Storage) -> Result<Run, Failure> {
    let ordered = shard.order(batches).map_err(failed)?;
    let starts = (0..ordered.num_rows()).step_by(SLICE_ROWS);
    let slices = starts.map(|start| ordered.slice(start, SLICE_ROWS.min(ordered.num_rows() - start)));
    let places = storage.spill.write(slices)?;
    Ok(places.into_iter().flatten().collect::<Vec<_>>().into_iter())
}

/// Runs being merged.
struct Merge<'a> {
    storage: Storage<'a>,
    cursors: Vec<Cursor>,
    /// What each cursor is at, the first in order at the top.
    heads: BinaryHeap<Reverse<((u32, Tick), usize)>>,
    /// Slices that rows were picked of, and these rows as (slice, row).
    slices: Vec<RecordBatch>,
    picks: Vec<(usize, usize)>,
}

struct Cursor {
    left: Run,
    /// Its slice among the merge's, and its row there.
    slice: usize,
    row: usize,
}

impl<'a> Merge<'a> {
    fn begin(runs: Vec<Run>, storage: Storage<'a>) -> Result<Merge<'a>, Failure> {
        let mut merge = Merge { storage, cursors: vec![], heads: BinaryHeap::new(), slices: vec![], picks: vec![] };
        for left in runs {
            merge.cursors.push(Cursor { left, slice: 0, row: 0 });
            merge.load(merge.cursors.len() - 1)?;
        }
        Ok(merge)
    }

    /// The next slice of a run, if there is one.
    fn load(&mut self, cursor: usize) -> Result<(), Failure> {
        let at = &mut self.cursors[cursor];
        if let Some(place) = at.left.next() {
            (at.slice, at.row) = (self.slices.len(), 0);
            self.slices.push(self.storage.spill.read(place)?);
            self.heads.push(Reverse((Shard::begins(&self.slices[at.slice], 0), cursor)));
        }
        Ok(())
    }

    fn all(mut self, probe: &mut Probe, shard: &Shard) -> Result<(), Failure> {
        while let Some(Reverse((_, cursor))) = self.heads.pop() {
            let at = &mut self.cursors[cursor];
            self.picks.push((at.slice, at.row));
            at.row += 1;
            let slice = &self.slices[at.slice];
            if at.row < slice.num_rows() {
                self.heads.push(Reverse((Shard::begins(slice, at.row), cursor)));
            } else {
                self.load(cursor)?;
            }
            if let Some(Reverse((next, _))) = self.heads.peek().filter(|_| self.picks.len() >= MERGED_ROWS) {
                let next = *next;
                probe.take(shard, &self.merged(shard)?, Some(next));
                self.forget();
            }
        }
        probe.take(shard, &self.merged(shard)?, None);
        Ok(())
    }

    /// What was picked.
    fn merged(&self, shard: &Shard) -> Result<RecordBatch, Failure> {
        let slices: Vec<&RecordBatch> = self.slices.iter().collect();
        let merged = if slices.is_empty() { shard.order(&[]) } else { interleave_record_batch(&slices, &self.picks) };
        merged.map_err(failed)
    }

    /// Keeps the slices alone that cursors are in.
    fn forget(&mut self) {
        self.picks.clear();
        let slices = std::mem::take(&mut self.slices);
        for Reverse((_, cursor)) in &self.heads {
            let at = &mut self.cursors[*cursor];
            self.slices.push(slices[at.slice].clone());
            at.slice = self.slices.len() - 1;
        }
    }
}
