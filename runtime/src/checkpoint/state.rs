//! The state of a group in a checkpoint: written by its workers, read by those of a later run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::RecordBatch;
use headwater_clocks::Tick;
use headwater_connectors::storage::{make_dir, sync_dir};
use headwater_operators::group::{NamedValues, Piece, State};
use headwater_operators::ledger::SegmentError;

use super::contribution::StateFile;
use super::files::failed;
use super::journal::GroupJournal;
use super::manifest::Manifest;
use super::state_file;
use super::store::StateStore;
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, ColumnSetId, GroupId, Id, WorkerId};
use crate::plan::side::Side;

/// Writes the column sets of a group that one worker has, where every tick up to `t` is finished.
pub fn write(
    store: &StateStore,
    number: CheckpointNumber,
    (group, worker, workers): (GroupId, WorkerId, u32),
    state: &mut State,
    journal: &GroupJournal,
    t: Tick,
) -> Result<Vec<StateFile>, Failure> {
    store.forget_brought()?;
    let dir = store.written(number, worker);
    make_dir(&dir).map_err(|e| failed("creating", &dir, e))?;
    let mut writers: BTreeMap<(Piece, usize), (String, state_file::Writer)> = BTreeMap::new();
    let mut each = |piece, set: usize, batch: &RecordBatch| {
        let failed = |e: &dyn std::fmt::Display| SegmentError(format!("writing to {}: {e}", dir.display()));
        let (_, writer) = match writers.entry((piece, set)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let name = format!("group-{}-worker-{}-{}-{set}.parquet", group.number(), worker.number(), word(piece));
                let writer = state_file::Writer::create(&dir.join(&name), batch.schema()).map_err(|e| failed(&e))?;
                new.insert((name, writer))
            }
        };
        writer.write(batch).map_err(|e| failed(&e))
    };
    state.save(t.just_after(), &mut each).map_err(|e| Failure::Running(e.to_string()))?;
    let mut files = vec![];
    for ((piece, set), (name, writer)) in writers {
        let (bytes, xxh3) = writer.finish().map_err(|e| failed("writing to", &dir, e))?;
        let (owner, of, side, span) = (group.number(), ColumnSetId::at(set), Side::Live, None);
        files.push(StateFile { number, owner, worker, workers, piece, of, side, name, bytes, xxh3, span });
    }
    files.extend(journal.cut(number, t)?);
    sync_dir(&dir).map_err(|e| failed("writing to", &dir, e))?;
    Ok(files)
}

/// Whether a file is of a group's state.
pub fn is_of_group(file: &StateFile) -> bool {
    matches!(file.piece, Piece::Values | Piece::Units | Piece::Ledger | Piece::Pending)
}

pub(super) fn word(piece: Piece) -> &'static str {
    match piece {
        Piece::Values => "values",
        Piece::Units => "units",
        Piece::Ledger => "ledger",
        Piece::Pending => "pending",
        Piece::Versions => "versions",
        Piece::Held => "held",
        Piece::Past => "past",
        Piece::Replaced => "replaced",
        Piece::Changed => "changed",
        Piece::Earlier => "earlier",
    }
}

/// Fills a group's state with what all workers had of it, for the keys that `owns` accepts. If there were as many as now, its ledger
/// stays in the journal.
pub fn read(
    store: &StateStore,
    manifest: &Manifest,
    group: GroupId,
    (state, journal): (&mut State, &GroupJournal),
    owns: impl Fn(&[u8]) -> bool,
) -> Result<(), Failure> {
    let is_asked = |file: &&StateFile| {
        file.owner == group.number() && is_of_group(file) && state.resumes(file.side == Side::Shadow)
    };
    let mut of_group: Vec<&StateFile> = manifest.files.iter().filter(is_asked).collect();
    of_group.sort_by_key(|file| (file.side, file.worker, file.piece, file.of));
    for of_worker in of_group.chunk_by(|a, b| (a.side, a.worker) == (b.side, b.worker)) {
        let mut values = NamedValues::of(of_worker[0].side == Side::Shadow);
        for file in of_worker.iter().filter(|file| journal.owns(file) != Some(false)) {
            let path = store.fetch(file)?.map_err(Failure::Running)?;
            if file.piece == Piece::Ledger && journal.owns(file) == Some(true) {
                journal.carry(state, file, &path)?;
                continue;
            }
            for batch in state_file::read(&path).map_err(|e| failed("reading", &path, e))? {
                let batch = batch.map_err(|e| failed("reading", &path, e))?;
                state
                    .load((file.piece, file.of.index()), &batch, &mut values, &owns)
                    .map_err(|e| failed("reading", &path, e))?;
            }
        }
    }
    state.thaw().map_err(|e| Failure::Running(e.to_string()))
}
