//! What workers and the coordinator tell each other.

use headwater_clocks::{Eff, Tick, WallClock};
use serde::{Deserialize, Serialize};

use crate::base::id::{CheckpointNumber, IdVec, ScanId, WorkerId};
use crate::checkpoint::contribution::Contribution;
use crate::observe::status::ProcessStatus;

/// What a worker tells the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// How far it has come: whenever that changes, and ten times a second.
    Report(Report),
    /// Its part of a checkpoint, once everything that is in it is in all of its sinks.
    Contribution { worker: WorkerId, contribution: Contribution },
    /// What its process knows of itself: now and then, from the first worker of each.
    Status { worker: WorkerId, status: Box<ProcessStatus> },
}

/// What a worker says of its partitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub worker: WorkerId,
    pub history_done: bool,
    /// Slices of history that it has sent.
    pub slices: i64,
    /// The checkpoint for which it reads no more of them.
    pub paused: CheckpointNumber,
    pub partitions: Vec<PartitionReport>,
    /// By scan that may get more of them: the wall clock of the newest look whose partitions are all in here.
    pub looked: Vec<(ScanId, WallClock)>,
    /// The tick at which all that was read has come in, but for events from the future.
    pub reaches: Option<Tick>,
    /// This process was asked to stop.
    pub stop: bool,
    /// The number of the full refresh of the stores that this worker asks for; 0: none but that of the start.
    pub full_refresh: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionReport {
    pub scan: ScanId,
    pub partition: i32,
    /// No record with an `eff` up to here can come any more; `Eff::AFTER_ALL`: none at all.
    pub clock: Eff,
    /// No later record has a smaller one.
    pub eff: Option<Eff>,
    /// It has been at its end for `idle_limit`: no window is kept for it.
    pub idle: bool,
    pub left_out: bool,
}

/// What the coordinator tells every worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Everybody has read its history: streams may be read.
    pub history_done: bool,
    /// Nobody reads any history until a checkpoint of this number has been asked for.
    pub pause: CheckpointNumber,
    /// The job's own time, once it has begun.
    pub t: Option<Tick>,
    /// Since `t`: no record that counts in a window has a smaller `eff`.
    pub horizons: IdVec<ScanId, Eff>,
    /// Nothing is published after it.
    pub last: bool,
    /// It is the last because somebody asked to stop, not because the end was reached.
    pub stopped: bool,
    /// It is the last because the shadow has caught up: the run starts again with one dataflow, though nobody asked it to stop.
    pub again: bool,
    /// Scans with a partition that is left out: the `_as_of` of their groups stays.
    pub stalled: Vec<ScanId>,
    /// The number of the newest full refresh, in which every worker writes all its rows once more because a store lost writes; 0: none
    /// but that of the start. And the tick at which it begins.
    pub full_refresh: u64,
    pub full_refresh_from: Option<Tick>,
    /// The newest checkpoint: its number and its dataflow time.
    pub checkpoint: Option<(CheckpointNumber, Tick)>,
}
