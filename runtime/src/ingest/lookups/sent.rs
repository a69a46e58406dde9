//! Records that replace one another, as they go to the worker that has their key: as a checkpoint has them.

use std::rc::Rc;

use arrow::array::{AsArray, BinaryArray, RecordBatch, UInt32Array};
use headwater_operators::keys;
use headwater_operators::saved::Damaged;

use super::super::looked_up::Raw;
use super::kept::{self, Kept};
use crate::base::id::{Id, IdVec, ScanId, SourceId};
use crate::base::peer::Peer;
use crate::catalog::opened::Source;

/// By worker that has some of them, of so many.
pub fn sent(source: &Source, raw: &Rc<Raw>, workers: usize) -> Vec<(u64, RecordBatch)> {
    let mut by_worker: Vec<Vec<Kept>> = (0..workers).map(|_| vec![]).collect();
    for (row, key) in (0..).zip(raw.keys.iter().flatten()) {
        let owner = keys::owner(keys::hash(key.unwrap_or_default()), workers);
        by_worker[owner as usize].push(Kept { row: (raw.clone(), row), holdings: vec![], found: vec![] });
    }
    let some = (0..).zip(by_worker).filter(|(_, kept)| !kept.is_empty());
    some.map(|(to, kept)| (to, kept::write(source, &kept, false))).collect()
}

/// The rows of a batch whose keys are a worker's.
///
/// # Errors
/// It has no keys.
pub fn owned(batch: &RecordBatch, peer: Peer) -> Result<UInt32Array, Damaged> {
    let keys: Option<&BinaryArray> = batch.column_by_name("_key").and_then(|keys| keys.as_binary_opt());
    let keys = keys.ok_or_else(|| Damaged("no column _key".to_owned()))?;
    let is_mine = |key: Option<&[u8]>| peer.owns(key.unwrap_or_default());
    Ok((0..).zip(keys).filter(|(_, key)| is_mine(*key)).map(|(row, _)| row).collect())
}

/// Records that a worker has sent, of a plan with so many scans.
pub fn received((id, source): (SourceId, &Source), batch: &RecordBatch, scans: usize) -> Vec<Rc<Raw>> {
    let all: UInt32Array = (0..batch.num_rows() as u32).map(Some).collect();
    let same: IdVec<ScanId, Option<ScanId>> = (0..scans).map(|scan| Some(ScanId::at(scan))).collect();
    let kept = kept::read((id, source), batch, &all, &same).expect("records as they were sent");
    let mut received: Vec<Rc<Raw>> = kept.into_iter().map(|kept| kept.row.0).collect();
    received.dedup_by(|a, b| Rc::ptr_eq(a, b));
    received
}
