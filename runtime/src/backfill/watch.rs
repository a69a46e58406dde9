//! How far a backfill is, for whoever looks on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Files are found, and where history and stream meet.
    Plan,
    /// The spine's keys and times are read.
    Spine,
    /// Tables are read.
    Tables,
    /// Histories and streams are read.
    Events,
    /// They are replayed.
    Replay,
    /// Rows are worked out.
    Rows,
    Write,
}

impl Phase {
    /// What it does, and what is counted.
    pub fn told(self) -> (&'static str, &'static str) {
        match self {
            Phase::Plan => ("planning", ""),
            Phase::Spine => ("spine", "rows"),
            Phase::Tables => ("tables", "records"),
            Phase::Events => ("events", "records"),
            Phase::Replay => ("replaying", "records"),
            Phase::Rows => ("computing", "labels"),
            Phase::Write => ("writing", "rows"),
        }
    }
}

/// Counts of the phase that it is in.
pub struct Watch {
    phase: Mutex<(Phase, Instant, Option<u64>)>,
    done: AtomicU64,
}

/// How far a phase is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub phase: Phase,
    pub began: Instant,
    pub done: u64,
    /// `None`: nobody knows beforehand.
    pub total: Option<u64>,
}

impl Watch {
    pub fn new() -> Watch {
        Watch { phase: Mutex::new((Phase::Plan, Instant::now(), None)), done: AtomicU64::new(0) }
    }

    pub fn enter(&self, phase: Phase, total: Option<u64>) {
        let mut now = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (phase, Instant::now(), total);
        self.done.store(0, Ordering::Relaxed);
    }

    pub fn add(&self, done: usize) {
        self.done.fetch_add(done as u64, Ordering::Relaxed);
    }

    pub fn look(&self) -> Progress {
        let (phase, began, total) = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        Progress { phase, began, done: self.done.load(Ordering::Relaxed), total }
    }
}
