//! The dataflows of a worker.

use serde::{Deserialize, Serialize};

/// One of the dataflows that a worker may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Its rows are shown. Most runs have no other.
    #[default]
    Shown,
    Beside,
}
