//! Held ids: what a seam by id compares the records of a stream with.
//!
//! ```text
//! held = the ids of the history's rows with m >= from, dead letters included; a null id is held by nobody
//! ```
//!
//! Sixteen bytes an id, whatever its type. Every process finds them for itself: the pinned files are the same to all. Pieces
//! of which statistics say that they end before `from` are not read.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef};
use headwater_connectors::Records;
use headwater_connectors::history::{History, Piece};
use headwater_operators::key_codec::KeyCodec;
use xxhash_rust::xxh3::xxh3_128;

use crate::failure::Failure;
use crate::job;
use crate::opened::Source;
use crate::source::narrow::{Narrow, visit};

pub struct HeldIds {
    codec: KeyCodec,
    held: Hashes,
}

type Hashes = HashSet<u128, BuildHasherDefault<AsItIs>>;

impl HeldIds {
    /// Reads the ids of a source with a seam by id.
    pub fn read(conf: &job::Source, source: &Source, history: &dyn History, from: i64) -> Result<HeldIds, Failure> {
        let narrow = Narrow::new(conf, source, true);
        let place = narrow.source.id_column.expect("a seam by id has an id");
        let codec = KeyCodec::new(&[narrow.wanted().schema.field(place).data_type().clone()])
            .map_err(|e| Failure::Running(format!("ids of source {}: {e}", conf.name)))?;
        let mut pieces = narrow.pieces(history)?;
        pieces.retain(|piece| !ends_before(&narrow, piece, from));
        let held: Mutex<Hashes> = Mutex::default();
        let stamper = narrow.stamper();
        visit(&pieces, |(), piece| {
            for records in history.read(piece, narrow.wanted())? {
                let records = records?;
                // A wrong clock holds its id too, so nobody's clock is asked.
                let stamped = stamper.stamp(&records, i64::MAX);
                let hashes = hashes(&codec, records.batch.column(place));
                let late = stamped.iter().zip(hashes).filter(|(s, _)| s.m.is_some_and(|m| m >= from));
                let ids: Vec<u128> = late.filter_map(|(_, hash)| hash).collect();
                held.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
            }
            Ok(())
        })?;
        let held = held.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(HeldIds { codec, held })
    }

    /// By record: whether the history holds its id. `place`: of the column with the id.
    pub fn holds(&self, records: &Records, place: usize) -> Vec<bool> {
        let hashes = hashes(&self.codec, records.batch.column(place));
        hashes.into_iter().map(|hash| hash.is_some_and(|hash| self.held.contains(&hash))).collect()
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// Whether statistics say that no row of a piece has an `m` at or past `from`.
fn ends_before(narrow: &Narrow, piece: &Piece, from: i64) -> bool {
    let before = |place: usize| {
        let range = narrow.times(piece, place);
        range.filter(|range| range.bounds.is_none_or(|(_, newest)| newest < from))
    };
    let ts = before(narrow.source.event_time);
    match narrow.source.arrival_time {
        None => ts.is_some(),
        // A null arrival is the event time.
        Some(place) => before(place).is_some_and(|range| range.nulls == 0 || ts.is_some()),
    }
}

/// Of each id, what stands for it; `None` for a null.
fn hashes(codec: &KeyCodec, ids: &ArrayRef) -> Vec<Option<u128>> {
    let encoded = codec.encode(std::slice::from_ref(ids)).expect("ids keep their type");
    let one = |i: usize| ids.is_valid(i).then(|| xxh3_128(encoded.value(i)));
    (0..ids.len()).map(one).collect()
}

/// What is hashed already is not hashed again.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes of ids are looked up");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
