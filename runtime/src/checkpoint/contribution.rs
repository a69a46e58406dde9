//! What a worker puts into a checkpoint: files, how far it has read, and the positions of its sinks of lines.

use std::time::Duration;

use headwater_clocks::EventTime;
use headwater_connectors::sink::lines::SinkPosition;
use headwater_operators::group::Piece;
use serde::{Deserialize, Serialize};

use crate::base::id::{ColumnSetId, GroupId, Id};
use crate::plan::position::Position;
use crate::plan::progress::HistoryProgress;
use crate::plan::side::Side;

/// In which checkpoint's directory a file lies, and its name there.
pub type StateFileName = (u64, String);

/// A file of a checkpoint, as it has to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// The checkpoint in whose directory it lies.
    pub number: u64,
    pub group: GroupId,
    /// Of which worker, and of how many: the files of a group and a worker belong together. (0: an earlier version wrote it.)
    pub worker: u32,
    #[serde(default)]
    pub workers: u32,
    pub piece: Piece,
    /// Of which column set of the group.
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

/// The group of files that belong to none.
const NO_GROUP: u32 = u32::MAX;

impl StateFile {
    /// One of a worker that is still to be written; `name`: the first part of its name.
    pub fn like(
        name: String,
        (group, of, piece): (GroupId, ColumnSetId, Piece),
        (worker, workers): (u32, u32),
    ) -> StateFile {
        let (side, span) = (Side::Live, None);
        StateFile { number: 0, group, worker, workers, piece, of, side, name, bytes: 0, xxh3: 0, span }
    }

    /// The same of what is kept for no group: rows that grow old, as those of a ledger.
    pub fn of_no_group(name: String, worker: (u32, u32)) -> StateFile {
        StateFile::like(name, (GroupId::from(NO_GROUP), ColumnSetId::at(0), Piece::Ledger), worker)
    }

    /// Whether it is of a group's state.
    pub fn has_group(&self) -> bool {
        self.group.number() != NO_GROUP
    }

    pub fn name(&self) -> StateFileName {
        (self.number, self.name.clone())
    }
}

/// What a worker has put into a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    pub number: u64,
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
    pub number: u64,
    pub position: Option<SinkPosition>,
}
