//! Whether a run has an end.

use serde::{Deserialize, Serialize};

/// Whether a run follows its streams, or stops at the ends that they had at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    Follow,
    UntilEnd,
}
