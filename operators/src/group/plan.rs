//! The plan of a group: what makes its rows, which columns they have, and when its ticks are.

use arrow::datatypes::DataType;
use headwater_clocks::{EventTime, Span, Tick};

use super::calendar::Calendar;
use crate::accumulators::ColumnPlan;

/// What a row is about besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Nothing: each column looks back from now by a length of its own, or over all time.
    Trailing,
    /// A window `[start, start + size)`, where `start` is a multiple of `every` since 1970. Tumbling: `every` is `size`.
    Hopping {
        /// Its length.
        size: Span,
        /// From one start to the next.
        every: Span,
    },
    /// The same in whole days of a zone.
    Calendar(Calendar),
    /// A chain of events, each less than `gap` after the one before.
    Session {
        /// The least time between two sessions.
        gap: Span,
    },
}

/// A group: its windows, its columns, and the inputs that they share. What was added to it since it
/// began is worked out from events of its own.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What a row is about besides its key.
    pub window: Window,
    /// How long past its end a window's row stays in the store.
    pub retain: Span,
    /// How long past its end a window takes events.
    pub lateness: Span,
    /// At least one.
    pub columns: Vec<ColumnPlan>,
    /// By column: its place in the row; `None`: it is shown no more.
    pub places: Vec<Option<usize>>,
    /// The types of the inputs: of each distinct `of`.
    pub inputs: Vec<DataType>,
    /// Between two ticks.
    pub tick: Span,
    /// The first tick: no row is there before it.
    pub start: Tick,
    /// Of trailing groups only.
    pub added: Vec<ColumnSet>,
    /// Whether events may be taken back. Not of sessions, which that could split.
    pub corrected: bool,
}

/// Columns that begin together, with events of their own: those that a group began with, or some that were added.
#[derive(Clone, Debug)]
pub struct ColumnSet {
    /// As of the group: at least one.
    pub columns: Vec<ColumnPlan>,
    /// By column: its place in the row; `None`: it is shown no more.
    pub places: Vec<Option<usize>>,
    /// The types of its own inputs.
    pub inputs: Vec<DataType>,
    /// The tick from which on its values are right.
    pub start: Tick,
}

impl Plan {
    /// A trailing group.
    pub fn trailing(columns: Vec<ColumnPlan>, inputs: Vec<DataType>, tick: Span, start: Tick) -> Plan {
        let places = (0..columns.len()).map(Some).collect();
        let (window, added) = (Window::Trailing, vec![]);
        Plan {
            window,
            retain: Span::ZERO,
            lateness: Span::ZERO,
            columns,
            places,
            inputs,
            tick,
            start,
            added,
            corrected: false,
        }
    }

    /// What it began with, then what was added.
    pub fn column_sets(&self) -> Vec<ColumnSet> {
        let Plan { columns, places, inputs, start, .. } = self.clone();
        std::iter::once(ColumnSet { columns, places, inputs, start }).chain(self.added.iter().cloned()).collect()
    }
}

/// When rows of windows leave the store.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    retain: Span,
    tick: Span,
}

impl Leaving {
    pub fn new(plan: &Plan) -> Leaving {
        Leaving { retain: plan.retain, tick: plan.tick }
    }

    /// The first tick `T > end + retain`.
    pub fn at(self, end: EventTime) -> Tick {
        Tick::up((end + self.retain).just_after(), self.tick)
    }
}
