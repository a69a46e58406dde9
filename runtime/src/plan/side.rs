//! The dataflows of a worker: a live one, and where a changed job has something new that is far behind, its shadow.

use serde::{Deserialize, Serialize};

/// One of the dataflows that a worker may have. In a checkpoint they are called `shown` and `beside`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Side {
    /// Its rows go to the sinks. Most runs have no other.
    #[default]
    #[serde(rename = "shown")]
    Live,
    #[serde(rename = "beside")]
    Shadow,
}
