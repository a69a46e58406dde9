//! Labels: of each row of the spine its keys and its moment, parted by key; and which keys they ask for.
//!
//! Every process reads the spine: it has to know which keys are asked for, and keeps the labels of its own shards.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::types::{Int64Type, UInt64Type};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::error::ArrowError;
use headwater_clocks::{EventTime, Tick, Time};
use headwater_connectors::table::read::Batches;
use headwater_operators::keys;
use headwater_operators::probe::labels;
use xxhash_rust::xxh3::xxh3_64;

use super::as_key::{as_key, micros};
use super::shards::{Collector, Owned, Parted, Storage};
use super::spine::{KeyColumns, Spine};
use super::watch::Watch;
use super::workers::Workers;
use crate::base::failure::Failure;

pub struct Labels<'a> {
    /// By the spine's key columns.
    sets: Vec<(Parted<'a>, Arc<AskedKeys>)>,
    shards: usize,
    rows: u64,
    /// The first and the last moment; `None`: nothing is asked for.
    span: Option<(Tick, Tick)>,
    /// By set: of all keys, moments and places in the spine.
    fingerprints: Vec<u64>,
}

impl<'a> Labels<'a> {
    /// Reads keys and times of all of a spine, on all threads.
    pub fn read(
        spine: &Spine,
        shards: usize,
        storage: Storage<'a>,
        (workers, watch): (&Workers, &Watch),
    ) -> Result<Labels<'a>, Failure> {
        let parted = spine.keys.iter().map(|_| Parted::new(labels::schema().clone(), shards, storage));
        let parted: Vec<Parted> = parted.collect();
        let asked: Vec<Mutex<AskedKeys>> = parted.iter().map(|_| Mutex::default()).collect();
        let batches = Mutex::new((spine.table.read(Some(&spine.asking()))?, 0));
        let read = workers.run(|_| Reading::new(spine, &parted, &asked).all(&batches, (workers, watch)))?;
        let Read { span, fingerprints } = read.into_iter().fold(Read::nothing(parted.len()), Read::and);
        let rows = batches.into_inner().unwrap_or_else(PoisonError::into_inner).1;
        let asked = asked.into_iter().map(|keys| keys.into_inner().unwrap_or_else(PoisonError::into_inner));
        let sets = parted.into_iter().zip(asked.map(Arc::new)).collect();
        Ok(Labels { sets, shards, rows, span, fingerprints })
    }

    /// How many rows the spine has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn span(&self) -> Option<(Tick, Tick)> {
        self.span
    }

    /// Whether another process reads the same, however its file is cut: how many rows it has, and numbers that follow from keys and moments.
    /// Nobody asks for it who is alone.
    pub fn fingerprint(&self) -> (u64, Vec<u64>) {
        (self.rows, self.fingerprints.clone())
    }

    pub fn parted(&self, set: usize) -> &Parted<'a> {
        &self.sets[set].0
    }

    /// In how many shards keys are parted.
    pub fn shards(&self) -> usize {
        self.shards
    }

    pub fn asked(&self, set: usize) -> &Arc<AskedKeys> {
        &self.sets[set].1
    }
}

/// What a thread has read.
struct Read {
    span: Option<(Tick, Tick)>,
    /// By set.
    fingerprints: Vec<u64>,
}

impl Read {
    fn nothing(sets: usize) -> Read {
        Read { span: None, fingerprints: vec![0; sets] }
    }

    fn and(self, other: Read) -> Read {
        let sum = |(a, b): (&u64, &u64)| a.wrapping_add(*b);
        Read {
            span: self.span.into_iter().chain(other.span).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
            fingerprints: self.fingerprints.iter().zip(&other.fingerprints).map(sum).collect(),
        }
    }
}

/// One thread's part of it.
struct Reading<'r, 'a> {
    spine: &'r Spine,
    /// By set.
    parted: &'r [Parted<'a>],
    /// By set, of all threads.
    asked: &'r [Mutex<AskedKeys>],
    collectors: Vec<Collector<'r, 'a>>,
    read: Read,
}

/// The batches that nobody has read yet, and how many rows have been.
type Left = Mutex<(Batches, u64)>;

impl<'r, 'a> Reading<'r, 'a> {
    fn new(spine: &'r Spine, parted: &'r [Parted<'a>], asked: &'r [Mutex<AskedKeys>]) -> Reading<'r, 'a> {
        let collectors = parted.iter().map(Parted::collector).collect();
        Reading { spine, parted, asked, collectors, read: Read::nothing(parted.len()) }
    }

    fn all(mut self, left: &Left, (workers, watch): (&Workers, &Watch)) -> Result<Read, Failure> {
        while let Some((first, batch)) = next(left)? {
            workers.check()?;
            self.batch(first, &batch)?;
            watch.add(batch.num_rows());
        }
        self.collectors.into_iter().try_for_each(Collector::finish)?;
        Ok(self.read)
    }

    /// `first`: the number of its first row.
    fn batch(&mut self, first: u64, batch: &RecordBatch) -> Result<(), Failure> {
        let asking = self.spine.asking();
        let place = |column: usize| asking.binary_search(&column).expect("a column that is read");
        let moments = moments(self.spine, batch.column(place(self.spine.time)));
        let there = moments.iter().flatten().map(Tick::from_us).map(|at| (at, at));
        self.read.span = self.read.span.into_iter().chain(there).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        for (set, keys) in self.spine.keys.iter().enumerate() {
            let columns: Vec<&ArrayRef> = keys.columns.iter().map(|column| batch.column(place(*column))).collect();
            let labels = of_batch(keys, &columns, &moments, first).map_err(failed)?;
            let hashes = hashes(&labels);
            self.asked[set].lock().unwrap_or_else(PoisonError::into_inner).add(&hashes);
            let (storage, shards) = (self.parted[set].storage(), self.parted[set].parts());
            if storage.links.is_some() {
                let fingerprint = &mut self.read.fingerprints[set];
                *fingerprint = fingerprint.wrapping_add(fingerprint_of(&hashes, &labels));
            }
            let own = storage.parts(Owned::Each, shards);
            let picks = (0..).zip(&hashes).map(|(row, hash)| (row, keys::owner(*hash, shards) as u32));
            self.collectors[set].add(labels, picks.filter(|(_, shard)| own.contains(&(*shard as usize))))?;
        }
        Ok(())
    }
}

/// The next batch, and the number of its first row.
fn next(left: &Left) -> Result<Option<(u64, RecordBatch)>, Failure> {
    let (batches, rows) = &mut *left.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(batch) = batches.next().transpose()? else { return Ok(None) };
    let first = *rows;
    *rows += batch.num_rows() as u64;
    Ok(Some((first, batch)))
}

fn failed(e: ArrowError) -> Failure {
    Failure::Running(format!("reading keys of the spine: {e}"))
}

/// The moment of each row, null where its time is.
fn moments(spine: &Spine, times: &ArrayRef) -> Int64Array {
    // What lies past all times is as if it were the last.
    let times = micros(times, |t, by| Some(t.saturating_mul(by)));
    times.unary(|time| spine.known.moment(EventTime::from_us(time), spine.tick).us())
}

/// The labels of a batch whose first row has the number `first`: of the rows that have a time and all keys.
fn of_batch(
    keys: &KeyColumns,
    columns: &[&ArrayRef],
    moments: &Int64Array,
    first: u64,
) -> Result<RecordBatch, ArrowError> {
    let types = keys.codec.types();
    let columns = columns.iter().zip(types).map(|(column, key)| as_key(column, key)).collect::<Result<Vec<_>, _>>()?;
    let is_asked = |row: &u32| moments.is_valid(*row as usize) && KeyColumns::are_there(&columns, *row as usize);
    let rows: UInt32Array = (0..moments.len() as u32).filter(is_asked).map(Some).collect();
    let picked = columns.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()?;
    let at = take(moments, &rows, None)?;
    let numbers = UInt64Array::from_iter_values(rows.values().iter().map(|row| first + u64::from(*row)));
    labels::batch(keys.codec.encode(&picked)?, at.as_primitive().clone(), numbers)
}

fn hashes(labels: &RecordBatch) -> Vec<u64> {
    let column: &BinaryArray = labels.column(labels::KEY).as_binary();
    (0..column.len()).map(|row| keys::hash(column.value(row))).collect()
}

/// The sum of what each label is, so that it is the same in whatever parts they are read.
fn fingerprint_of(hashes: &[u64], labels: &RecordBatch) -> u64 {
    let moments = labels.column(labels::AT).as_primitive::<Int64Type>().values();
    let numbers = labels.column(labels::ROW).as_primitive::<UInt64Type>().values();
    let one = |((hash, at), number): ((&u64, &i64), &u64)| {
        let of_label = [hash.to_le_bytes(), at.to_le_bytes(), number.to_le_bytes()];
        xxh3_64(of_label.as_flattened())
    };
    hashes.iter().zip(moments).zip(numbers).map(one).fold(0, u64::wrapping_add)
}

/// The keys that some label has, by their hashes. Where there are very many, any key may be asked for.
pub struct AskedKeys(Option<HashSet<u64, BuildHasherDefault<AsItIs>>>);

/// So many take about 64 MiB.
const KEYS_MAX: usize = 4 << 20;

impl Default for AskedKeys {
    fn default() -> AskedKeys {
        AskedKeys(Some(HashSet::default()))
    }
}

impl AskedKeys {
    fn add(&mut self, hashes: &[u64]) {
        let Some(keys) = &mut self.0 else { return };
        keys.extend(hashes);
        if keys.len() > KEYS_MAX {
            self.0 = None;
        }
    }

    /// Whether a key with this hash may be asked for.
    pub fn may_have(&self, hash: u64) -> bool {
        self.0.as_ref().is_none_or(|keys| keys.contains(&hash))
    }
}

/// What is hashed already is not hashed again.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are looked up");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_keys_are_any_key() {
        let mut asked = AskedKeys::default();
        asked.add(&[1, 2]);
        assert!(asked.may_have(2) && !asked.may_have(3));
        asked.add(&(0..=KEYS_MAX as u64).collect::<Vec<_>>());
        assert!(asked.may_have(u64::MAX));
    }
}
