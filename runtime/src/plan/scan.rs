//! A source as a start reads it: up to where its history goes, and where its partitions begin.

use headwater_clocks::{Eff, MatchTime, Offset, Tick};
use headwater_connectors::history::Pinned;
use serde::{Deserialize, Serialize};

use super::last_record::LastRecord;
use super::replay::Replay;
use super::side::Side;
use crate::base::id::SourceId;

/// A source as it is read from one seam. A job that was changed reads a source anew for what is new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scan {
    pub source: SourceId,
    /// What its records are: see `identity`.
    pub identity: String,
    pub pinned: Pinned,
    /// The seam in time; `None` where neither history nor stream held a record and the wall clock is not asked.
    pub s: Option<Tick>,
    /// A table that has been there for ever, and has no seam in time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timeless: bool,
    /// The largest match time of the history.
    pub c: Option<MatchTime>,
    pub history_rows: u64,
    pub partitions: Vec<PartitionPlan>,
    /// For people: what is odd, and goes on all the same.
    pub warnings: Vec<String>,
    /// A checkpoint has its history.
    pub restored: bool,
    /// A checkpoint has every tick up to it, if the scan had begun.
    pub done: Option<Tick>,
    /// Whether the rows that readers have seen had its columns.
    #[serde(rename = "shown")]
    pub published: bool,
    /// Which dataflow of this run computes it.
    #[serde(default)]
    pub side: Side,
    /// Which one had computed what a checkpoint has of it.
    #[serde(default)]
    pub saved: Side,
    /// Where it is read once more for rows of the past. Nobody writes such a plan down.
    #[serde(skip)]
    pub replay: Option<Replay>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionPlan {
    pub partition: i32,
    /// The last offset that the history has (seam by offset).
    pub history_offset: Option<Offset>,
    /// Where `eff` begins: at what an earlier start has read, or the largest arrival of the history's part (seam by offset).
    pub history_eff: Option<Eff>,
    /// See `Position`, as an earlier start left it.
    pub admitted: Option<Tick>,
    pub last: Option<LastRecord>,
    /// The first offset to read.
    pub start: Offset,
    /// One past the last offset at the start.
    pub end: Offset,
}

impl Scan {
    /// One of which nothing else is known yet.
    pub fn of(source: SourceId, identity: String) -> Scan {
        Scan {
            source,
            identity,
            pinned: Pinned::default(),
            s: None,
            timeless: false,
            c: None,
            history_rows: 0,
            partitions: vec![],
            warnings: vec![],
            restored: false,
            done: None,
            published: false,
            side: Side::default(),
            saved: Side::default(),
            replay: None,
        }
    }

    /// Where its history ends, in ticks: also of one that is replayed.
    pub fn seam(&self) -> Option<Tick> {
        self.replay.as_ref().map_or(self.s, |replay| replay.s)
    }
}

impl PartitionPlan {
    /// One that neither the history nor a state knows: all of it came after the start.
    pub fn unknown(partition: i32, start: Offset) -> PartitionPlan {
        PartitionPlan {
            partition,
            history_offset: None,
            history_eff: None,
            admitted: None,
            last: None,
            start,
            end: start,
        }
    }
}
