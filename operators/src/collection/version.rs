//! A row as it was from a tick on, told apart from others of its unit by when, never by what it holds.

use std::cmp::Ordering;
use std::rc::Rc;

use headwater_clocks::Tick;

use crate::value::Datum;

/// The time of rows that were there before the run.
pub const BEFORE: Tick = Tick::BEFORE_ALL;

/// A row as it was from a tick on.
#[derive(Clone, Debug)]
pub struct Version {
    /// The tick at which it changed last.
    pub at: Tick,
    /// Tells it from another one of the same tick: what is published once more at the tick at which a run goes on.
    pub again: bool,
    /// Who is to see it.
    pub phase: Phase,
    /// The number of its key.
    pub key: u32,
    /// The columns of a group's changes but for key, `_time` and `_diff`: start and end of a window are the first two.
    pub values: Rc<[Datum]>,
}

/// How long a row is there, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// For everybody.
    Stored,
    /// Its window has left the store, which is no change of the row. It may still change.
    Left,
    /// It is about to be forgotten, which is no change either.
    Closed,
}

impl Version {
    fn place(&self) -> (Tick, bool, Phase) {
        (self.at, self.again, self.phase)
    }

    /// Whether a store has it.
    pub fn is_stored(&self) -> bool {
        self.phase == Phase::Stored
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        self.place().cmp(&other.place())
    }
}
