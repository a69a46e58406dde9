//! A synopsis: what is kept of one input, for all units, where adding up is not enough.
//!
//! Where an event leaves a window only by age, a synopsis holds only what can still matter, and is asked for a window's value by
//! its length. What has to be taken away again is named by a word that the ledger keeps with the event.
//!
//! Where events may be taken back as well, another one stands in its place, which counts all that a window holds.

use std::any::Any;
use std::collections::HashMap;

use headwater_clocks::{EventTime, Span, Tick};

use super::numbered::NumberedValues;
use super::rings::Rings;
use crate::saved::Damaged;
use crate::value::{Kind, Ordered, Values};

/// An event on its way into a synopsis; its value is not null.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    pub unit: usize,
    pub ts: EventTime,
    pub now: Tick,
    /// The finite lengths of the group, ascending, and how many of them it has left by now.
    pub windows: &'a [Span],
    pub class: usize,
    pub values: &'a Values,
    pub row: usize,
}

/// An event that leaves a window: its place is the window's among the synopsis's.
#[derive(Clone, Copy)]
pub struct Departure {
    pub unit: usize,
    pub ts: EventTime,
    pub place: usize,
    /// What `arrive` returned.
    pub word: u64,
}

/// What a column wants to know of a unit, at a tick.
#[derive(Clone, Copy)]
pub struct Asked {
    pub unit: usize,
    pub now: Tick,
    /// The window: its length (`None`: all time), and its place among the synopsis's.
    pub length: Option<Span>,
    pub place: usize,
    /// Of the column's aggregate; 1 where that has no parameter.
    pub argument: f64,
}

impl Asked {
    /// The time after which an event is inside the window; `None`: any time.
    pub fn after(&self) -> Option<EventTime> {
        self.length.map(|length| self.now.left(length))
    }
}

/// Units are told apart by number; a unit begins empty. How values are read is each synopsis's own: see
/// [`Reading`](super::reading::Reading).
pub trait Synopsis: Any {
    /// One for inputs of this kind and these windows. `arguments`: of the aggregates of all columns that read it.
    fn new(kind: Kind, rings: Rings, arguments: &[f64]) -> Self
    where
        Self: Sized;

    /// Makes room for so many units.
    fn grow(&mut self, units: usize);

    /// Takes an event in. Returns the word by which it is taken away again; 0: it need not be.
    fn arrive(&mut self, arrival: Arrival) -> u64;

    /// An event with a word leaves a window.
    fn leave(&mut self, _: Departure) {}

    /// Takes an event back that came before. Returns the word that it had; it stays good as long as a finite window of the synopsis holds
    /// the event: see `leave_taken_back`.
    fn take_back(&mut self, _: Arrival) -> u64 {
        unreachable!("nothing is taken back of what only grows old")
    }

    /// An event with a word that was taken back leaves a window.
    fn leave_taken_back(&mut self, _: Departure) {}

    /// The word of so many events that were taken back, as it is now. `inside`: whether a finite window of the synopsis holds them.
    ///
    /// # Errors
    /// What was saved is no such word.
    fn load_word(&mut self, word: u64, _count: u32, _inside: bool, _: &Loading) -> Result<u64, Damaged> {
        Ok(word)
    }

    /// Nothing at or before `until` is in any finite window any more.
    fn forget(&mut self, _unit: usize, _until: EventTime) {}

    /// Moves everything that a unit holds to another one. Units whose windows are finite are never merged.
    fn merge(&mut self, into: usize, from: usize);

    /// Empties a unit.
    fn clear(&mut self, unit: usize);

    /// Whether `arrive` gives words.
    fn gives_words(&self) -> bool {
        false
    }

    /// Writes down what a unit holds.
    fn save(&self, unit: usize, out: &mut Vec<u8>);

    /// Fills a unit that is empty with what one held.
    ///
    /// # Errors
    /// What is read is no unit of such a synopsis.
    fn load(&mut self, unit: usize, input: &mut &[u8], loading: &Loading) -> Result<(), Damaged>;

    /// The values that words and saved units name by number.
    fn values(&self) -> Option<&NumberedValues> {
        None
    }
}

/// What the units of a checkpoint are read by.
pub struct Loading<'a> {
    /// The tick of the checkpoint, and the finite lengths of the group.
    pub now: Tick,
    pub windows: &'a [Span],
    /// By number, the values that were named by it.
    pub values: &'a HashMap<u32, Ordered>,
}

impl Loading<'_> {
    /// How many of the group's windows an event of that time had left.
    pub fn class(&self, ts: EventTime) -> usize {
        self.windows.partition_point(|w| ts <= self.now.left(*w))
    }

    /// The value that was named by a number.
    ///
    /// # Errors
    /// None was.
    pub fn value(&self, number: u32) -> Result<Ordered, Damaged> {
        self.values.get(&number).cloned().ok_or_else(|| Damaged(format!("no value has the number {number}")))
    }
}
