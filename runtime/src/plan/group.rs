//! The groups of a plan: which of their columns begin together, and of which reading of the source their events are.
//!
//! A group begins with one part. Columns that a changed job adds are a part of their own; columns that it takes away stay
//! in their part, are shown no more, and get nothing any more.

use headwater_operators::accumulators::ColumnPlan;
use serde::{Deserialize, Serialize};

use crate::base::id::{GroupId, IdVec, PartId, ScanId};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedGroup {
    pub name: String,
    /// What its state is of, whatever its columns: see `identity`.
    pub identity: String,
    pub parts: IdVec<PartId, PlannedPart>,
    /// Its id in the files of the checkpoint that it goes on from; and whether that one showed columns that are no more.
    pub saved: Option<GroupId>,
    pub renewed: bool,
}

impl PlannedGroup {
    /// The part that it began with.
    pub fn first(&self) -> &PlannedPart {
        self.parts.first().expect("a group has a part")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedPart {
    /// What it takes events of.
    pub reading: ScanId,
    pub columns: Vec<PlannedColumn>,
    /// The types of its inputs, as text.
    pub inputs: Vec<String>,
    /// Its id there.
    pub saved: Option<PartId>,
}

impl PlannedPart {
    /// All that it takes events of.
    pub fn scans(&self) -> &[ScanId] {
        std::slice::from_ref(&self.reading)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedColumn {
    pub identity: String,
    pub plan: ColumnPlan,
    /// Its number in the job's group; `None`: it is no more.
    pub place: Option<usize>,
}
