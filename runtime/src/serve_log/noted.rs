//! What is written down, and what is counted of it.

use std::sync::atomic::AtomicU64;

use headwater_clocks::{Tick, WallClock};

/// What was served once.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    pub group: String,
    /// The key's JSON text.
    pub key: String,
    /// When it was asked for, by the wall clock.
    pub time: WallClock,
    /// The row's JSON text; `None`: there was none.
    pub row: Option<String>,
    pub changed_at: Option<Tick>,
    /// What the store said of the group before it was asked for the row.
    pub as_of: Option<Tick>,
}

impl Noted {
    pub fn bytes(&self) -> usize {
        self.group.len() + self.key.len() + self.row.as_ref().map_or(0, String::len)
    }
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Counts {
    pub rows: AtomicU64,
    pub files: AtomicU64,
    /// Rows that are not in it, since the queue was full or the log could not be written at the end.
    pub dropped: AtomicU64,
    /// Attempts to write a file that failed, and are made again.
    pub failures: AtomicU64,
}

/// What the thread is told.
pub enum Message {
    Row(Noted),
    End,
}
