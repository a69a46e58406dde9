//! The views of a plan: what they mean, and what they are made of.

use serde::{Deserialize, Serialize};

use crate::base::id::ScanId;

/// A view. Its rows are computed anew by each start; a checkpoint has when they changed last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedView {
    pub name: String,
    /// What it asks, by itself.
    pub query: String,
    /// What its rows mean, with all that they are made of.
    pub identity: String,
    /// All that its rows are made of, over however many others.
    pub scans: Vec<ScanId>,
    /// Whether the checkpoint that the start goes on from has when its rows changed last.
    pub saved: bool,
}
