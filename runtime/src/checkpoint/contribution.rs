//! What a worker puts into a checkpoint: files, how far it has read, and where its lines are left.

use std::time::Duration;

use headwater_connectors::sink::lines::SinkPosition;
use headwater_operators::group::Piece;
use serde::{Deserialize, Serialize};

use crate::base::id::{GroupId, PartId};
use crate::plan::position::Position;
use crate::plan::progress::HistoryProgress;
use crate::plan::side::Side;

/// In which checkpoint's directory a file lies, and its name there.
pub type PartName = (u64, String);

/// A file of a checkpoint, as it has to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The checkpoint in whose directory it lies.
    pub number: u64,
    pub group: GroupId,
    /// Of which worker, and of how many: the files of a group and a worker belong together. (0: an earlier version wrote it.)
    pub worker: u32,
    #[serde(default)]
    pub workers: u32,
    pub piece: Piece,
    /// Of which part of the group.
    pub of: PartId,
    /// Where the state was worked out that it is of.
    #[serde(default)]
    pub side: Side,
    pub name: String,
    pub bytes: u64,
    pub xxh3: u64,
    /// Of a ledger: the first and the last event time.
    #[serde(default)]
    pub span: Option<(i64, i64)>,
}

impl Part {
    pub fn name(&self) -> PartName {
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
    pub parts: Vec<Part>,
    /// How long it took to write and send them.
    pub took: Duration,
}

/// Where lines are left at the tick of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    pub number: u64,
    pub left: Option<SinkPosition>,
}
