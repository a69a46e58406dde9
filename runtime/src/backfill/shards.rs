//! Rows parted by a number: labels and events by the shard of their key, results by the block of the spine that they are for.
//!
//! ```text
//! a thread collects batches, with the part of each row that it wants  ->  a chunk: the rows by part, and where each part ends
//! a chunk stays in memory while the budget lasts, else it is spilled  ->  a part: its rows of every chunk
//! ```

use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::memory::Budget;
use super::spill::{Place, Spill};
use crate::base::failure::Failure;

/// Where what is parted is kept.
#[derive(Clone, Copy)]
pub struct Storage<'a> {
    pub budget: &'a Budget,
    pub spill: &'a Spill,
    /// So many bytes of batches a thread collects, about, before it parts their rows.
    pub chunk_bytes: usize,
    /// So many bytes of a part are put in order at once.
    pub shard_bytes: usize,
}

/// And so many rows, or more where there are many parts: what was collected is in the cache yet, and each part has some.
const CHUNK_ROWS: usize = 64 << 10;
const PART_ROWS: usize = 128;

pub struct Parted<'a> {
    schema: SchemaRef,
    parts: usize,
    storage: Storage<'a>,
    /// By collector, in their order: what was read one after the other lies one after the other.
    chunks: Mutex<Vec<Vec<Chunk>>>,
}

enum Chunk {
    /// Of part `p` the rows from `ends[p - 1]` to `ends[p]`.
    Held { rows: RecordBatch, ends: Vec<u32>, bytes: usize },
    /// By part.
    Spilled(Vec<Option<Place>>),
}

impl<'a> Parted<'a> {
    pub fn new(schema: SchemaRef, parts: usize, storage: Storage<'a>) -> Parted<'a> {
        Parted { schema, parts, storage, chunks: Mutex::default() }
    }

    pub fn parts(&self) -> usize {
        self.parts
    }

    /// For one thread.
    pub fn collector(&self) -> Collector<'_, 'a> {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.push(vec![]);
        let rows_max = CHUNK_ROWS.max(self.parts * PART_ROWS);
        let (number, batches, picks, sorted) = (chunks.len() - 1, vec![], vec![], vec![]);
        Collector { to: self, number, rows_max, batches, picks, sorted, bytes: 0 }
    }

    pub fn storage(&self) -> Storage<'a> {
        self.storage
    }

    /// The rows of a part, in an order of no meaning.
    pub fn part(&self, part: usize) -> Result<Vec<RecordBatch>, Failure> {
        let mut rows = vec![];
        self.each(part, |batch| {
            rows.push(batch);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The same, batch by batch.
    pub fn each(&self, part: usize, mut each: impl FnMut(RecordBatch) -> Result<(), Failure>) -> Result<(), Failure> {
        let (mut held, mut places) = (vec![], vec![]);
        for chunk in self.chunks.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten() {
            match chunk {
                Chunk::Held { rows, ends, .. } => {
                    let (start, end) = span(ends, part);
                    held.extend((start < end).then(|| rows.slice(start, end - start)));
                }
                Chunk::Spilled(parts) => places.extend(parts[part]),
            }
        }
        held.into_iter().try_for_each(&mut each)?;
        places.into_iter().try_for_each(|place| each(self.storage.spill.read(place)?))
    }

    /// How many rows a part has, and about how many bytes these have.
    pub fn size(&self, part: usize) -> (usize, usize) {
        let of_chunk = |chunk: &Chunk| match chunk {
            Chunk::Held { rows, ends, bytes } => {
                let (start, end) = span(ends, part);
                (end - start, (end - start) * bytes / rows.num_rows().max(1))
            }
            Chunk::Spilled(parts) => parts[part].map_or((0, 0), |place| (place.rows(), place.bytes())),
        };
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().flatten().map(of_chunk).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn add(&self, collector: usize, rows: RecordBatch, ends: Vec<u32>) -> Result<(), Failure> {
        let Storage { budget, spill, .. } = self.storage;
        let bytes = rows.get_array_memory_size();
        let chunk = if budget.take(bytes) {
            Chunk::Held { rows, ends, bytes }
        } else {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let parts = starts.zip(&ends).map(|(start, end)| rows.slice(start as usize, (end - start) as usize));
            Chunk::Spilled(spill.write(parts)?)
        };
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)[collector].push(chunk);
        Ok(())
    }
}

/// Where a part lies among the rows of a chunk.
fn span(ends: &[u32], part: usize) -> (usize, usize) {
    (part.checked_sub(1).map_or(0, |before| ends[before]) as usize, ends[part] as usize)
}

impl Drop for Parted<'_> {
    fn drop(&mut self) {
        for chunk in self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner).iter().flatten() {
            if let Chunk::Held { bytes, .. } = chunk {
                self.storage.budget.give_back(*bytes);
            }
        }
    }
}

/// Collects rows of a thread.
pub struct Collector<'p, 'a> {
    to: &'p Parted<'a>,
    number: usize,
    rows_max: usize,
    batches: Vec<RecordBatch>,
    /// (part, batch, row)
    picks: Vec<(u32, u32, u32)>,
    /// The room for them by part.
    sorted: Vec<(usize, usize)>,
    bytes: usize,
}

impl Collector<'_, '_> {
    /// Takes some rows of a batch, given as (row, part).
    pub fn add(&mut self, batch: RecordBatch, picks: impl Iterator<Item = (u32, u32)>) -> Result<(), Failure> {
        let (before, at) = (self.picks.len(), self.batches.len() as u32);
        self.picks.extend(picks.map(|(row, part)| (part, at, row)));
        if self.picks.len() == before {
            return Ok(());
        }
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        if self.picks.len() >= self.rows_max || self.bytes >= self.to.storage.chunk_bytes {
            self.part()
        } else {
            Ok(())
        }
    }

    pub fn finish(mut self) -> Result<(), Failure> {
        self.part()
    }

    /// Makes a chunk of what is there.
    fn part(&mut self) -> Result<(), Failure> {
        let Collector { to, number, picks, sorted, .. } = self;
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        if picks.is_empty() {
            return Ok(());
        }
        let mut ends = vec![0u32; to.parts];
        picks.iter().for_each(|(part, ..)| ends[*part as usize] += 1);
        let mut next = vec![0u32; to.parts];
        let mut sum = 0;
        for (end, next) in ends.iter_mut().zip(&mut next) {
            *next = sum;
            sum += *end;
            *end = sum;
        }
        sorted.resize(picks.len(), (0, 0));
        for (part, batch, row) in picks.drain(..) {
            let at = &mut next[part as usize];
            sorted[*at as usize] = (batch as usize, row as usize);
            *at += 1;
        }
        let all: Vec<&RecordBatch> = batches.iter().collect();
        let rows = interleave_record_batch(&all, sorted).map_err(|e| Failure::Running(format!("parting rows: {e}")))?;
        debug_assert_eq!(rows.schema(), to.schema);
        to.add(*number, rows, ends)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::types::Int64Type;
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn every_row_is_in_its_part_spilled_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [0, 8_000, 1 << 30] {
            let (budget, spill) = (Budget::new(bytes), Spill::new(&dir.path().join("spill")));
            let mut rng = StdRng::seed_from_u64(bytes);
            let column = |values: Vec<i64>| {
                RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
            };
            let storage = Storage { budget: &budget, spill: &spill, chunk_bytes: 4096, shard_bytes: 4096 };
            let parted = Parted::new(column(vec![]).schema(), 7, storage);
            let mut expected = vec![vec![]; 7];
            for _ in 0..3 {
                let mut collector = parted.collector();
                for _ in 0..rng.random_range(0..5) {
                    let values: Vec<i64> = (0..rng.random_range(0..600)).map(|_| rng.random_range(0..1000)).collect();
                    let wanted: Vec<(u32, u32)> =
                        (0..values.len() as u32).filter(|row| row % 3 > 0).map(|row| (row, row % 7)).collect();
                    wanted.iter().for_each(|(row, part)| expected[*part as usize].push(values[*row as usize]));
                    collector.add(column(values), wanted.into_iter()).unwrap();
                }
                collector.finish().unwrap();
            }
            for (part, expected) in expected.iter_mut().enumerate() {
                let batches = parted.part(part).unwrap();
                let mut found: Vec<i64> = batches
                    .iter()
                    .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
                    .collect();
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, *expected, "{bytes} bytes, part {part}");
            }
            assert!(if bytes == 0 { spill.bytes() > 0 } else { bytes < 1 << 30 || spill.bytes() == 0 });
            drop(parted);
            assert!(budget.take(bytes as usize), "all is given back");
        }
    }
}
