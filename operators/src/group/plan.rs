//! The plan of a group: what makes its rows, which columns they have, and when its ticks are.

use arrow::datatypes::DataType;

use crate::accumulators::ColumnPlan;
use crate::ledger::up;

/// What a row is about besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Nothing: each column looks back from now by a length of its own, or over all time.
    Trailing,
    /// A window `[start, start + size)`, where `start` is a multiple of `every` since 1970. Tumbling: `every` is `size`.
    Hopping { size: i64, every: i64 },
    /// A chain of events, each less than `gap` after the one before.
    Session { gap: i64 },
}

/// A group: its windows, its columns, and the inputs that they share. Times are microseconds.
#[derive(Clone, Debug)]
pub struct Plan {
    pub window: Window,
    /// How long past its end a window's row stays in the store.
    pub retain: i64,
    /// How long past its end a window takes events.
    pub lateness: i64,
    /// At least one.
    pub columns: Vec<ColumnPlan>,
    /// The types of the inputs: of each distinct `of`.
    pub inputs: Vec<DataType>,
    /// Between two ticks.
    pub tick: i64,
    /// The first tick: no row is there before it.
    pub start: i64,
}

impl Plan {
    /// A trailing group.
    pub fn trailing(columns: Vec<ColumnPlan>, inputs: Vec<DataType>, tick: i64, start: i64) -> Plan {
        Plan { window: Window::Trailing, retain: 0, lateness: 0, columns, inputs, tick, start }
    }
}

/// When rows of windows leave the store.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    retain: i64,
    tick: i64,
}

impl Leaving {
    pub fn new(plan: &Plan) -> Leaving {
        Leaving { retain: plan.retain, tick: plan.tick }
    }

    /// The first tick `T > end + retain`.
    pub fn at(self, end: i64) -> i64 {
        up(end.saturating_add(self.retain).saturating_add(1), self.tick)
    }
}
