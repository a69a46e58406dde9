//! One of the workers of a run.

use headwater_operators::keys;

use super::id::{Id, WorkerId};

/// A worker among all workers of all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which one it is.
    pub worker: WorkerId,
    /// How many there are.
    pub peers: usize,
}

impl Peer {
    /// Whether it has what is told of a key.
    pub fn owns(self, key: &[u8]) -> bool {
        keys::owner(keys::hash(key), self.peers) == u64::from(self.worker.number())
    }

    /// Whether it takes one of so many things that are dealt out in turn.
    pub fn is_dealt(self, number: usize) -> bool {
        number % self.peers == self.worker.index()
    }

    /// Whether it is the one that writes what has one writer.
    pub fn is_first(self) -> bool {
        self.worker == WorkerId::FIRST
    }

    /// As files have it: which one it is, and how many there are.
    pub fn of_files(self) -> (WorkerId, u32) {
        (self.worker, self.peers as u32)
    }
}
