//! Labels: of each row of the spine its keys and its moment, parted by key; and which keys they ask for.
//!
//! Every process reads the spine: it has to know which keys are asked for, and keeps the labels of its own shards.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::types::{Int64Type, UInt64Type};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::error::ArrowError;
use headwater_clocks::{EventTime, Tick, Time};
use headwater_operators::keys;
use headwater_operators::probe::labels;
use xxhash_rust::xxh3::Xxh3Default;

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
    /// Of all keys and moments, in their order.
    fingerprint: u64,
}

impl<'a> Labels<'a> {
    /// Reads keys and times of all of a spine.
    pub fn read(
        spine: &Spine,
        shards: usize,
        storage: Storage<'a>,
        (workers, watch): (&Workers, &Watch),
    ) -> Result<Labels<'a>, Failure> {
        let new = |_: &KeyColumns| (Parted::new(labels::schema().clone(), shards, storage), AskedKeys::default());
        let mut sets: Vec<_> = spine.keys.iter().map(new).collect();
        let (mut rows, mut span, mut fingerprint) = (0, None, Xxh3Default::new());
        let own = storage.parts(Owned::Each, shards);
        let asking = spine.asking();
        let place = |column: usize| asking.binary_search(&column).expect("a column that is read");
        let (parted, mut asked): (Vec<_>, Vec<_>) = sets.iter_mut().map(|(parted, asked)| (&*parted, asked)).unzip();
        let mut collectors: Vec<Collector> = parted.iter().map(|parted| parted.collector()).collect();
        for batch in spine.table.read(Some(&asking))? {
            workers.check()?;
            let batch = batch?;
            let moments = moments(spine, batch.column(place(spine.time)));
            let there = moments.iter().flatten().map(Tick::from_us);
            span =
                there.fold(span, |span, at| Some(span.map_or((at, at), |(a, b): (Tick, Tick)| (a.min(at), b.max(at)))));
            for ((keys, collector), asked) in spine.keys.iter().zip(&mut collectors).zip(&mut asked) {
                let columns = keys.columns.iter().map(|column| batch.column(place(*column)));
                let columns: Vec<&ArrayRef> = columns.collect();
                let labels = of_batch(keys, &columns, &moments, rows).map_err(failed)?;
                let hashes = hashes(&labels);
                asked.add(&hashes);
                if storage.links.is_some() {
                    note(&mut fingerprint, &hashes, &labels);
                }
                let picks = (0..).zip(&hashes).map(|(row, hash)| (row, keys::owner(*hash, shards) as u32));
                collector.add(labels, picks.filter(|(_, shard)| own.contains(&(*shard as usize))))?;
            }
            rows += batch.num_rows() as u64;
            watch.add(batch.num_rows());
        }
        collectors.into_iter().try_for_each(Collector::finish)?;
        let sets = sets.into_iter().map(|(parted, asked)| (parted, Arc::new(asked))).collect();
        Ok(Labels { sets, shards, rows, span, fingerprint: fingerprint.digest() })
    }

    /// How many rows the spine has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn span(&self) -> Option<(Tick, Tick)> {
        self.span
    }

    /// Whether another process reads the same: how many rows it has, and a number that follows from keys and moments. Nobody asks for it
    /// who is alone.
    pub fn fingerprint(&self) -> (u64, u64) {
        (self.rows, self.fingerprint)
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

fn note(fingerprint: &mut Xxh3Default, hashes: &[u64], labels: &RecordBatch) {
    let moments = labels.column(labels::AT).as_primitive::<Int64Type>().values();
    let numbers = labels.column(labels::ROW).as_primitive::<UInt64Type>().values();
    for ((hash, at), number) in hashes.iter().zip(moments).zip(numbers) {
        fingerprint.update(&hash.to_le_bytes());
        fingerprint.update(&at.to_le_bytes());
        fingerprint.update(&number.to_le_bytes());
    }
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
