//! How far a stream was read.

use headwater_clocks::{Eff, Offset, Tick};
use serde::{Deserialize, Serialize};

use super::last_record::LastRecord;
use crate::base::id::ScanId;

/// How far a partition was read, and its `eff` there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    #[serde(rename = "reading")]
    pub scan: ScanId,
    pub partition: i32,
    pub offset: Offset,
    pub eff: Option<Eff>,
    /// The newest tick at which a record before it counts that was read after `T` had passed its own.
    pub admitted: Option<Tick>,
    /// The last record before it, where one was read.
    pub last: Option<LastRecord>,
}
