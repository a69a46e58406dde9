//! Rows parted by a number: labels and events by the shard of their key, results by the block of the spine that they are for.
//!
//! ```text
//! a thread collects batches, with the part of each row that it wants  ->  a chunk: the rows by part, and where each part ends
//! a chunk stays in memory while the budget lasts, else it is spilled  ->  a part: its rows of every chunk
//! ```
//!
//! Where several processes share the work, each part is of one of them: of a chunk each gets the rows of its own parts, as a chunk.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::encoded::{decode, encode};
use super::memory::Budget;
use super::spill::{Place, Spill};
use crate::base::failure::Failure;
use crate::cluster::links::{Links, Untaken};

/// Where what is parted is kept.
#[derive(Clone, Copy)]
pub struct Storage<'a> {
    pub budget: &'a Budget,
    pub spill: &'a Spill,
    /// To the other processes; `None`: it is alone.
    pub links: Option<&'a Links>,
    /// So many bytes of batches a thread collects, about, before it parts their rows.
    pub chunk_bytes: usize,
    /// So many bytes of a part are put in order at once.
    pub shard_bytes: usize,
}

/// And so many rows, or more where there are many parts: what was collected is in the cache yet, and each part has some.
const CHUNK_ROWS: usize = 64 << 10;
const PART_ROWS: usize = 128;

/// Which process has which parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    /// Each its own of all.
    This,
    /// Each about as many as any other, one after the other.
    Each,
    /// Process 0 all.
    First,
}

/// The parts of a process, of so many of so many processes; in the order of processes.
fn parts_of(owned: Owned, parts: usize, (process, processes): (usize, usize)) -> Range<usize> {
    match owned {
        Owned::First if process > 0 => parts..parts,
        Owned::First | Owned::This => 0..parts,
        Owned::Each => process * parts / processes..(process + 1) * parts / processes,
    }
}

pub struct Parted<'a> {
    schema: SchemaRef,
    parts: usize,
    storage: Storage<'a>,
    owned: Owned,
    /// On which others send what is of this process.
    channel: u32,
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
    /// All parts are of this process.
    pub fn new(schema: SchemaRef, parts: usize, storage: Storage<'a>) -> Parted<'a> {
        Parted { schema, parts, storage, owned: Owned::This, channel: 0, chunks: Mutex::default() }
    }

    /// Parts of several processes; of this one's there is what is collected here, and what the others send on the channel.
    pub fn shared(mut self, owned: Owned, channel: usize) -> Parted<'a> {
        (self.owned, self.channel) = (owned, channel as u32);
        self
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

    /// What another process has sent on the channel. `are_of`: whether rows are such as a part has.
    pub fn take(&self, message: Vec<u8>, are_of: impl Fn(&RecordBatch, usize) -> bool) -> Result<(), Untaken> {
        let (own, bytes) = (self.own(), message.len());
        let taken = received(&Buffer::from(message), own.len());
        let (rows, ends) =
            taken.filter(|(rows, _)| rows.schema_ref().fields() == self.schema.fields()).ok_or(Untaken::Senseless)?;
        let rows_of = |at: usize| rows.slice(start_of(&ends, at), ends[at] as usize - start_of(&ends, at));
        if !own.clone().enumerate().all(|(at, part)| are_of(&rows_of(at), part)) {
            return Err(Untaken::Senseless);
        }
        Ok(self.add(None, rows, &own, (&ends, bytes))?)
    }

    /// The parts of this process.
    pub fn own(&self) -> Range<usize> {
        self.storage.parts(self.owned, self.parts)
    }

    /// Who has parts, and which.
    fn owners(&self) -> impl Iterator<Item = (Option<usize>, Range<usize>)> {
        let others = self.storage.links.filter(|_| self.owned != Owned::This);
        let (parts, owned) = (self.parts, self.owned);
        let of_others = others.into_iter().flat_map(move |links| {
            links.others().map(move |other| (Some(other), parts_of(owned, parts, (other, links.processes()))))
        });
        std::iter::once((None, self.own())).chain(of_others)
    }

    /// Sends another process rows of its parts, each up to an end.
    fn send(&self, to: usize, rows: &RecordBatch, ends: &[u32]) -> Result<(), Failure> {
        let Some(links) = self.storage.links else { return Ok(()) };
        links.send(to, self.channel, &sent(rows, ends)?)
    }

    /// Keeps a chunk of rows of some parts, which end at `ends`, and its bytes. `collector`: which one it is of.
    fn add(
        &self,
        collector: Option<usize>,
        rows: RecordBatch,
        parts: &Range<usize>,
        (ends, bytes): (&[u32], usize),
    ) -> Result<(), Failure> {
        let Storage { budget, spill, .. } = self.storage;
        let last = ends.last().copied().unwrap_or(0);
        let behind = std::iter::repeat_n(last, self.parts - parts.end);
        let ends: Vec<u32> = std::iter::repeat_n(0, parts.start).chain(ends.iter().copied()).chain(behind).collect();
        let chunk = if budget.take(bytes) {
            Chunk::Held { rows, ends, bytes }
        } else {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let parts = starts.zip(&ends).map(|(start, end)| rows.slice(start as usize, (end - start) as usize));
            Chunk::Spilled(spill.write(parts)?)
        };
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        match collector {
            Some(collector) => chunks[collector].push(chunk),
            None => chunks.push(vec![chunk]),
        }
        Ok(())
    }
}

impl Storage<'_> {
    /// The parts of this process, of so many.
    pub fn parts(&self, owned: Owned, parts: usize) -> Range<usize> {
        parts_of(owned, parts, self.links.map_or((0, 1), |links| (links.process(), links.processes())))
    }
}

/// Rows as they are sent: behind them where each part ends among them, and how many parts there are.
fn sent(rows: &RecordBatch, ends: &[u32]) -> Result<Vec<u8>, Failure> {
    let mut message = vec![];
    encode(rows, &mut message).map_err(|e| Failure::Running(format!("sending rows: {e}")))?;
    ends.iter().chain([&(ends.len() as u32)]).for_each(|number| message.extend_from_slice(&number.to_le_bytes()));
    Ok(message)
}

/// The same again. `None`: it is no such message, of so many parts.
fn received(message: &Buffer, parts: usize) -> Option<(RecordBatch, Vec<u32>)> {
    let at = message.len().checked_sub(4 * (parts + 1))?;
    let number = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
    let mut ends: Vec<u32> = message[at..].chunks_exact(4).map(number).collect::<Option<_>>()?;
    if ends.pop()? as usize != parts {
        return None;
    }
    let rows = decode(message.slice_with_length(0, at)).ok()??;
    let in_order = ends.is_sorted() && ends.last().map(|last| *last as usize) == Some(rows.num_rows());
    in_order.then_some((rows, ends))
}

/// Where a part lies among the rows of a chunk.
fn span(ends: &[u32], part: usize) -> (usize, usize) {
    (start_of(ends, part), ends[part] as usize)
}

/// Where it begins; of the one behind the last, where that ends.
fn start_of(ends: &[u32], part: usize) -> usize {
    part.checked_sub(1).map_or(0, |before| ends[before] as usize)
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
        for (owner, parts) in to.owners() {
            let (start, end) = (start_of(&ends, parts.start), start_of(&ends, parts.end));
            if start == end {
                continue;
            }
            let rows = interleave_record_batch(&all, &sorted[start..end])
                .map_err(|e| Failure::Running(format!("parting rows: {e}")))?;
            debug_assert_eq!(rows.schema(), to.schema);
            let ends: Vec<u32> = ends[parts.clone()].iter().map(|end| end - start as u32).collect();
            match owner {
                None => {
                    let bytes = rows.get_array_memory_size();
                    to.add(Some(*number), rows, &parts, (&ends, bytes))?;
                }
                Some(other) => to.send(other, &rows, &ends)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::types::Int64Type;
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::scratch::SpillDir;
    use super::*;

    #[test]
    fn every_row_is_in_its_part_spilled_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [0, 8_000, 1 << 30] {
            let (budget, spill) = (Budget::new(bytes), Spill::new(SpillDir::own(dir.path().join("spill"))));
            let mut rng = StdRng::seed_from_u64(bytes);
            let column = |values: Vec<i64>| {
                RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
            };
            let storage = Storage { budget: &budget, spill: &spill, links: None, chunk_bytes: 4096, shard_bytes: 4096 };
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

    #[test]
    fn every_part_is_of_one_process() {
        assert_eq!(parts_of(Owned::Each, 4, (0, 1)), 0..4);
        for (owned, parts, processes, expected) in [
            (Owned::Each, 1024, 3, vec![0..341, 341..682, 682..1024]),
            (Owned::Each, 1, 3, vec![0..0, 0..0, 0..1]),
            (Owned::First, 5, 3, vec![0..5, 5..5, 5..5]),
        ] {
            let found: Vec<_> = (0..processes).map(|process| parts_of(owned, parts, (process, processes))).collect();
            assert_eq!(found, expected, "{owned:?} {parts} {processes}");
        }
    }

    #[test]
    fn what_is_sent_is_what_is_received() {
        let rows = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![7, 8, 9])) as ArrayRef)]).unwrap();
        let ends: [u32; 3] = [1, 1, 3];
        let message = Buffer::from(sent(&rows, &ends).unwrap());
        assert_eq!(received(&message, 3), Some((rows, ends.to_vec())));
        assert_eq!(received(&message, 2), None, "of other parts");
        assert_eq!(received(&message.slice(8), 3), None);
        assert_eq!(received(&message.slice_with_length(0, 20), 3), None);
    }
}
