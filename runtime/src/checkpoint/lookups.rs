//! What is held beside groups, in a checkpoint: by lookups (see `ingest::lookups`), of views, when their rows changed last, and rows as they
//! were. Written by each worker, read by all of a later run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::RecordBatch;
use headwater_connectors::storage::{make_dir, sync_dir};
use headwater_operators::group::Piece;

use super::contribution::StateFile;
use super::files::failed;
use super::manifest::Manifest;
use super::state::word;
use super::state_file;
use super::store::StateStore;
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, ColumnSetId, Id, WorkerId};
use crate::plan::side::Side;

/// Of which table's scan, source, group or view, by number.
pub type Of = (Piece, u32);

/// Writes what one worker has, as it comes.
pub fn write(
    store: &StateStore,
    number: CheckpointNumber,
    (worker, workers): (WorkerId, u32),
    saved: impl IntoIterator<Item = (Of, RecordBatch)>,
) -> Result<Vec<StateFile>, Failure> {
    let dir = store.written(number, worker);
    make_dir(&dir).map_err(|e| failed("creating", &dir, e))?;
    let mut writers: BTreeMap<Of, (String, state_file::Writer)> = BTreeMap::new();
    for ((piece, of), batch) in saved {
        let (_, writer) = match writers.entry((piece, of)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let what = match piece {
                    Piece::Changed => "view",
                    Piece::Earlier => "rows",
                    Piece::Versions | Piece::Held | Piece::Past | Piece::Replaced => "lookups",
                    Piece::Values | Piece::Units | Piece::Ledger | Piece::Pending => {
                        unreachable!("a group's state has files of its own")
                    }
                };
                let name = format!("{what}-{of}-worker-{}-{}.parquet", worker.number(), word(piece));
                let writer = state_file::Writer::create(&dir.join(&name), batch.schema());
                new.insert((name, writer.map_err(|e| failed("writing to", &dir, e))?))
            }
        };
        writer.write(&batch).map_err(|e| failed("writing to", &dir, e))?;
    }
    let mut files = vec![];
    for ((piece, owner), (name, writer)) in writers {
        let (bytes, xxh3) = writer.finish().map_err(|e| failed("writing to", &dir, e))?;
        let (of, side, span) = (ColumnSetId::at(0), Side::Live, None);
        files.push(StateFile { number, owner, worker, workers, piece, of, side, name, bytes, xxh3, span });
    }
    sync_dir(&dir).map_err(|e| failed("writing to", &dir, e))?;
    Ok(files)
}

/// Gives each batch of a kind that any worker has written.
pub fn read(
    store: &StateStore,
    manifest: &Manifest,
    piece: Piece,
    mut each: impl FnMut(u32, &RecordBatch) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut files: Vec<&StateFile> = manifest.files.iter().filter(|file| file.piece == piece).collect();
    files.sort_by_key(|file| (file.owner, file.worker));
    for file in files {
        let path = store.fetch(file)?.map_err(Failure::Running)?;
        for batch in state_file::read(&path).map_err(|e| failed("reading", &path, e))? {
            each(file.owner, &batch.map_err(|e| failed("reading", &path, e))?)?;
        }
    }
    Ok(())
}
