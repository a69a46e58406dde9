//! What is counted of a group.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What a state has seen and holds. Whoever adds a number here adds it below; then it is summed, and told of a running job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Rows that the store has.
    pub rows: u64,
    /// Keys of which something is kept.
    pub keys: u64,
    /// Events taken in.
    pub events: u64,
    /// Events that were taken back since they were corrected.
    #[serde(default)]
    pub corrections: u64,
    /// Rows that came, went or became another, ever.
    pub changes: u64,
    /// Events that were too old for every window when they became visible, or whose windows had left before the first tick.
    pub too_old: u64,
    /// Sums that did not fit their type, once for each row that could not show one.
    pub unfit_sums: u64,
    /// Windows that can still change; in a trailing group there are none.
    pub open_windows: u64,
    /// Windows that were closed, or in a trailing group keys that were forgotten, ever.
    pub dropped: u64,
    /// Bytes of the ledger in memory.
    pub ledger_bytes: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        let Counters {
            rows,
            keys,
            events,
            corrections,
            changes,
            too_old,
            unfit_sums,
            open_windows,
            dropped,
            ledger_bytes,
        } = other;
        self.rows += rows;
        self.keys += keys;
        self.events += events;
        self.corrections += corrections;
        self.changes += changes;
        self.too_old += too_old;
        self.unfit_sums += unfit_sums;
        self.open_windows += open_windows;
        self.dropped += dropped;
        self.ledger_bytes += ledger_bytes;
    }
}
