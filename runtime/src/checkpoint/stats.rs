//! What is known of a run's checkpoints, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use headwater_clocks::{Span, Tick, WallClock};

use crate::base::id::CheckpointNumber;

/// The newest checkpoint that is whole: what another start would go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    pub number: CheckpointNumber,
    /// `None`: it was taken while the history was read.
    pub t: Option<Tick>,
    /// When it was begun. `None`: an earlier version wrote it.
    pub begun: Option<WallClock>,
    /// From then until it was whole. `None`: an earlier start wrote it.
    pub took: Option<Duration>,
    /// What its files hold.
    pub bytes: u64,
}

impl CheckpointInfo {
    pub fn age(&self, now: WallClock) -> Option<Span> {
        self.begun.map(|begun| (now - begun).max(Span::ZERO))
    }
}

#[derive(Default)]
pub struct CheckpointStats {
    newest: Mutex<Option<CheckpointInfo>>,
    committed: AtomicU64,
    failures: AtomicU64,
}

impl CheckpointStats {
    /// The run goes on from a checkpoint.
    pub fn found(&self, info: CheckpointInfo) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(info);
    }

    /// The run has made a checkpoint, which is whole from now on.
    pub fn committed(&self, info: CheckpointInfo) {
        let took = info.age(WallClock::now()).map(|age| Duration::from_micros(age.us().unsigned_abs()));
        // Where only the shadow was saved, the rest is as old as it was.
        let before = self.newest().filter(|newest| newest.begun == info.begun);
        self.found(CheckpointInfo { took: before.and_then(|newest| newest.took).or(took), ..info });
        self.committed.fetch_add(1, Ordering::Relaxed);
    }

    /// Where the state is kept did not answer: it is tried again.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn newest(&self) -> Option<CheckpointInfo> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many checkpoints this run has made.
    pub fn count(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
