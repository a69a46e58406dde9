//! How far the history was read.

use std::collections::BTreeMap;

/// How far each piece was read, by its number: so many rows, or `WHOLE`.
pub type HistoryProgress = BTreeMap<u32, u64>;

/// All rows of a piece.
pub const WHOLE: u64 = u64::MAX;
