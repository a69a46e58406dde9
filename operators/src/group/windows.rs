//! What a kind of windows decides: which units an event counts in, when a unit changes without one, and when it is forgotten.

use headwater_clocks::{Eff, Tick};

use super::dense::Dense;
use super::events::Events;
use super::ledgers::Ledgers;
use super::saved::SavedWindow;
use crate::ledger::SegmentError;

/// A unit, its key, and its window.
pub type Saved = (u32, u32, Option<SavedWindow>);

/// Where a unit is put, and what an event does there.
pub trait Windows {
    /// An event becomes visible at tick `now`.
    fn arrive(&mut self, to: &mut Room, events: &Events, at: usize, now: Tick) -> Result<(), SegmentError>;

    /// Events of the history come. No tick comes between them.
    fn arrive_at_start(
        &mut self,
        to: &mut Room,
        events: &Events,
        rows: &[u32],
        start: Tick,
    ) -> Result<(), SegmentError> {
        rows.iter().try_for_each(|at| self.arrive(to, events, *at as usize, start))
    }

    /// Publishes the row of a unit that was touched at a tick; and whether it became another one for sure.
    fn finish(&mut self, dense: &mut Dense, unit: u32, at: (Tick, bool));

    /// Gives back the numbers of what is gone: all who read have read what names them. `tick`: of what that changes.
    fn give_back(&mut self, dense: &mut Dense, tick: Tick);

    /// Whether there are numbers to give back.
    fn has_gone(&self) -> bool;

    /// Every unit.
    fn saved(&self, dense: &Dense) -> Vec<Saved>;

    /// The number of a unit as it was saved; `None`: it is of another kind.
    fn load(&mut self, dense: &mut Dense, key: u32, saved: Option<SavedWindow>) -> Option<u32>;

    /// In how many windows an event may be, about.
    fn windows_of_event(&self) -> usize {
        1
    }

    /// The next tick at which a row leaves the store.
    fn next_due(&self) -> Option<Tick> {
        None
    }

    /// The tick up to `to` by which about so many rows leave the store.
    fn due_within(&self, _budget: usize, to: Tick) -> Tick {
        to
    }

    /// Rows leave the store by tick `now`.
    fn expire(&mut self, _: &mut Dense, _now: Tick) {}

    /// No event with an `eff` before `horizon` comes any more. `tick`: the last one that is finished.
    fn close(&mut self, _: &mut Dense, _horizon: Eff, _tick: Tick) {}

    /// Units that still take events.
    fn open_units(&self) -> u64 {
        0
    }
}

/// Where the events of a column set go.
pub struct Room<'a> {
    pub dense: &'a mut Dense,
    pub ledgers: &'a mut Ledgers,
    pub set: usize,
}
