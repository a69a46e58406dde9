//! What a worker puts into a checkpoint: files, how far it has read, and the positions of its sinks of lines.

use std::time::Duration;

use headwater_connectors::sink::lines::SinkPosition;
use headwater_operators::group::Piece;
use serde::{Deserialize, Serialize};

use crate::base::id::{ColumnSetId, GroupId};
use crate::base::time::EventTime;
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

impl StateFile {
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
