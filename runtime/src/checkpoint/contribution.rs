//! What a worker puts into a checkpoint: files, how far it has read, and the positions of its sinks of lines.

use std::time::Duration;

use headwater_clocks::EventTime;
use headwater_connectors::sink::lines::SinkPosition;
use headwater_operators::group::Piece;
use serde::{Deserialize, Serialize};

use crate::base::id::{CheckpointNumber, ColumnSetId, Id, WorkerId};
use crate::plan::position::Position;
use crate::plan::progress::HistoryProgress;
use crate::plan::side::Side;

/// In which checkpoint's directory a file lies, and its name there.
pub type StateFileName = (CheckpointNumber, String);

/// A file of a checkpoint, as it has to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// The checkpoint in whose directory it lies.
    pub number: CheckpointNumber,
    /// Whose it is, by number. Of what kind follows from the piece: a group, a view, a scan, or a source.
    #[serde(rename = "group")]
    pub owner: u32,
    /// Of which worker, and of how many: the files of an owner and a worker belong together. (0: an earlier version wrote it.)
    pub worker: WorkerId,
    #[serde(default)]
    pub workers: u32,
    pub piece: Piece,
    /// Of a group, of which column set of it.
    pub of: ColumnSetId,
    /// Which dataflow had the state that it is of.
    #[serde(default)]
    pub side: Side,
    pub name: String,
    pub bytes: u64,
    pub xxh3: u64,
    /// Of a ledger: the first and the last event time.
    #[serde(default)]
    pub span: Option<(EventTime, EventTime)>,
}

/// The owner of files that are nobody's.
const NOBODY: u32 = u32::MAX;

impl StateFile {
    /// One of a worker that is still to be written; `name`: the first part of its name.
    pub fn like(
        name: String,
        (owner, of, piece): (u32, ColumnSetId, Piece),
        (worker, workers): (WorkerId, u32),
    ) -> StateFile {
        let (side, span) = (Side::Live, None);
        StateFile {
            number: CheckpointNumber::NONE,
            owner,
            worker,
            workers,
            piece,
            of,
            side,
            name,
            bytes: 0,
            xxh3: 0,
            span,
        }
    }

    /// The same of what is kept for nobody: rows that grow old, as those of a ledger.
    pub fn of_nobody(name: String, worker: (WorkerId, u32)) -> StateFile {
        StateFile::like(name, (NOBODY, ColumnSetId::at(0), Piece::Ledger), worker)
    }

    /// Whether it is anybody's.
    pub fn has_owner(&self) -> bool {
        self.owner != NOBODY
    }

    pub fn name(&self) -> StateFileName {
        (self.number, self.name.clone())
    }
}

/// What a worker has put into a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    pub number: CheckpointNumber,
    pub positions: Vec<Position>,
    /// How far this worker's pieces of the history were read.
    pub read: HistoryProgress,
    pub files: Vec<StateFile>,
    /// How long it took to write and send them.
    pub took: Duration,
}

/// Where lines stood at a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct PositionAt {
    pub number: CheckpointNumber,
    pub position: Option<SinkPosition>,
}
