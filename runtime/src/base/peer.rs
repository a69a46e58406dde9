//! One of the workers of a run.

use headwater_operators::keys;

/// A worker among all workers of all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub peers: usize,
}

impl Peer {
    /// Whether it has what is told of a key.
    pub fn owns(self, key: &[u8]) -> bool {
        keys::owner(keys::hash(key), self.peers) == self.index as u64
    }

    /// Whether it takes one of so many things that are dealt out in turn.
    pub fn is_dealt(self, number: usize) -> bool {
        number % self.peers == self.index
    }

    /// As files and messages have it: its number, and how many there are.
    pub fn numbers(self) -> (u32, u32) {
        (self.index as u32, self.peers as u32)
    }
}
