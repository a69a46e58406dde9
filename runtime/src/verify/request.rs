//! What is to be verified.

use std::path::PathBuf;

/// Of a job's serve log.
#[derive(Clone, Debug)]
pub struct Request {
    /// What was asked for from then on, and before then, in microseconds.
    pub since_us: Option<i64>,
    pub until_us: Option<i64>,
    pub workers: usize,
    /// Bytes that a backfill may keep in memory.
    pub memory: u64,
    /// Where the rest lies; `None`: below the job's state.
    pub spill: Option<PathBuf>,
}

impl Request {
    pub fn has(&self, time_us: i64) -> bool {
        self.since_us.is_none_or(|since| time_us >= since) && self.until_us.is_none_or(|until| time_us < until)
    }

    /// Whether any time from `first` to `last` is asked for.
    pub fn meets(&self, first: i64, last: i64) -> bool {
        self.since_us.is_none_or(|since| last >= since) && self.until_us.is_none_or(|until| first < until)
    }
}
