//! What is to be verified.

use std::path::PathBuf;

use headwater_clocks::WallClock;

/// Of a job's serve log.
#[derive(Clone, Debug)]
pub struct Request {
    /// What was asked for from then on, and before then.
    pub since: Option<WallClock>,
    pub until: Option<WallClock>,
    pub workers: usize,
    /// Bytes that a backfill may keep in memory.
    pub memory: u64,
    /// Where the rest lies; `None`: below the job's state.
    pub spill: Option<PathBuf>,
}

impl Request {
    pub fn has(&self, time: WallClock) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether any time from `first` to `last` is asked for.
    pub fn meets(&self, first: WallClock, last: WallClock) -> bool {
        self.since.is_none_or(|since| last >= since) && self.until.is_none_or(|until| first < until)
    }
}
