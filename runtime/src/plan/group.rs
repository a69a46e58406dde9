//! The groups of a plan: which of their columns begin together, and of which scan of the source their events are.
//!
//! A group begins with one part. Columns that a changed job adds are a part of their own; columns that it takes away stay
//! in their part, are published no more, and get nothing any more.

use headwater_operators::accumulators::ColumnPlan;
use serde::{Deserialize, Serialize};

use crate::base::id::{GroupId, IdVec, PartId, ScanId};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedGroup {
    pub name: String,
    /// What its state is of, whatever its columns: see `identity`.
    pub identity: String,
    pub parts: IdVec<PartId, PlannedPart>,
    /// Its id in the files of the checkpoint that it goes on from; and whether columns that it had are no longer in the job.
    pub saved: Option<GroupId>,
    #[serde(rename = "renewed")]
    pub dropped_columns: bool,
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
    #[serde(rename = "reading")]
    pub scan: ScanId,
    pub columns: Vec<PlannedColumn>,
    /// The types of its inputs, as text.
    pub inputs: Vec<String>,
    /// Its id there.
    pub saved: Option<PartId>,
}

impl PlannedPart {
    /// All that it takes events of.
    pub fn scans(&self) -> &[ScanId] {
        std::slice::from_ref(&self.scan)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedColumn {
    pub identity: String,
    pub plan: ColumnPlan,
    /// Its index in the job's group; `None`: the job has it no longer.
    #[serde(rename = "place")]
    pub index: Option<usize>,
}
