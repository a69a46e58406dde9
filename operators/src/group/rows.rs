//! The rows that a group's units have, and the differences that make them so.
//!
//! What changes is noted by unit, and becomes differences when somebody is to see it: at every tick, or once a batch of moves. So a row
//! that nobody sees is written over, and not built anew; and where it is known without a look at it that it has changed, it is not made
//! before it is seen.

use std::rc::Rc;

use headwater_clocks::Tick;

use super::saved::SavedRow;
use crate::collection::{BEFORE, Phase, RowBatch, Update, Version, batch};
use crate::value::Datum;

/// A row that is to be published.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub key: u32,
    /// As a version has them.
    pub values: &'a [Datum],
    /// Whether the store has it.
    pub stored: bool,
}

#[derive(Default)]
pub struct Rows {
    /// By unit: its row as it was last published.
    newest: Vec<Option<Version>>,
    /// By unit: its place among `changed`, plus 1; 0: it has not changed since the last difference.
    places: Vec<u32>,
    changed: Vec<Changed>,
    /// By unit: whether `newest` is its row up to the last tick that was worked on.
    exact: Vec<bool>,
    updates: Vec<Update>,
    /// Rows that the store has; and those that came, went or became another, ever.
    pub stored: u64,
    pub changes: u64,
}

/// A unit that has changed.
struct Changed {
    unit: u32,
    /// Its row at the last difference.
    old: Option<Version>,
    /// When it changed last.
    at: Tick,
    /// Whether the values of its newest row are still those of one before.
    unmade: bool,
}

impl Rows {
    pub fn grow(&mut self, units: usize) {
        self.newest.resize_with(units, || None);
        self.places.resize(units, 0);
        self.exact.resize(units, false);
    }

    /// The row of a unit at a tick, or that it has none. Notes what that changes.
    pub fn publish(&mut self, unit: u32, row: Option<Row>, tick: Tick) {
        self.exact[unit as usize] = true;
        let newest = &self.newest[unit as usize];
        let same = match (newest, &row) {
            (None, None) => true,
            (Some(old), Some(new)) => *old.values == *new.values,
            _ => false,
        };
        if same {
            return;
        }
        let again = newest.as_ref().is_some_and(|old| old.at == tick && !old.again);
        let (was_stored, is_stored) =
            (newest.as_ref().is_some_and(Version::is_stored), row.is_some_and(|row| row.stored));
        self.changes += 1;
        self.stored = self.stored + u64::from(is_stored) - u64::from(was_stored);
        let unseen = self.note(unit, tick);
        self.mark(unit, false);
        self.newest[unit as usize] = row.map(|Row { key, values, stored }| {
            let phase = if stored { Phase::Stored } else { Phase::Left };
            Version { at: tick, again, phase, key, values: written_over(unseen, values) }
        });
    }

    /// A unit's row has become another one at a tick, and is made later: by `make`, before anything of the unit changes unseen.
    pub fn change(&mut self, unit: u32, stored: bool, tick: Tick) {
        let Some(old) = self.newest[unit as usize].clone() else { unreachable!("an exact row is there") };
        self.changes += 1;
        self.stored = self.stored + u64::from(stored) - u64::from(old.is_stored());
        let again = old.at == tick && !old.again;
        let phase = if stored { Phase::Stored } else { Phase::Left };
        // One that nobody has seen is written over: it must not be shared.
        let Version { key, values, .. } = self.note(unit, tick).unwrap_or(old);
        self.mark(unit, true);
        self.newest[unit as usize] = Some(Version { at: tick, again, phase, key, values });
    }

    /// Whether a unit has a row, and that is the one it had at the last tick that was worked on.
    #[inline]
    pub fn is_exact(&self, unit: u32) -> bool {
        self.exact[unit as usize] && self.newest[unit as usize].is_some()
    }

    /// A unit has moved, and its row was not looked at.
    pub fn is_unseen(&mut self, unit: u32) {
        self.exact[unit as usize] = false;
    }

    /// The units whose rows are still to be made.
    pub fn unmade(&self) -> Vec<u32> {
        self.changed.iter().filter(|changed| changed.unmade).map(|changed| changed.unit).collect()
    }

    /// A unit's row that is still to be made: of its values only those of its window are right.
    pub fn to_make(&self, unit: u32) -> Option<&Version> {
        let place = self.places[unit as usize].checked_sub(1)?;
        self.newest[unit as usize].as_ref().filter(|_| self.changed[place as usize].unmade)
    }

    /// Gives such a row its values.
    pub fn make(&mut self, unit: u32, values: &[Datum]) {
        self.mark(unit, false);
        if let Some(row) = self.newest[unit as usize].take() {
            let Version { at, again, phase, key, .. } = row;
            self.newest[unit as usize] =
                Some(Version { at, again, phase, key, values: written_over(Some(row), values) });
        }
    }

    /// A unit's row leaves the store at a tick, which is no change.
    pub fn leave_store(&mut self, unit: u32, tick: Tick) {
        if self.newest[unit as usize].as_ref().is_some_and(Version::is_stored) {
            self.stored -= 1;
            self.turn(unit, Phase::Left, tick);
        }
    }

    /// A unit is to be forgotten, which is no change either: its row has left the store. `remove` follows, behind all who read.
    pub fn close(&mut self, unit: u32, tick: Tick) {
        debug_assert!(!self.newest[unit as usize].as_ref().is_some_and(Version::is_stored));
        self.turn(unit, Phase::Closed, tick);
    }

    /// The row of a unit that is given back goes.
    pub fn remove(&mut self, unit: u32, tick: Tick) {
        if self.newest[unit as usize].is_some() {
            self.note(unit, tick);
            self.newest[unit as usize] = None;
        }
    }

    /// What was published of a unit before.
    pub fn load(&mut self, unit: u32, key: u32, saved: SavedRow, values: Vec<Datum>) {
        self.stored += u64::from(saved.stored);
        self.note(unit, BEFORE);
        let phase = if saved.stored { Phase::Stored } else { Phase::Left };
        let values = values.into();
        self.newest[unit as usize] = Some(Version { at: saved.changed_at, again: false, phase, key, values });
    }

    pub fn get(&self, unit: u32) -> Option<&Version> {
        self.newest[unit as usize].as_ref()
    }

    /// Whether anything has changed since the last difference.
    pub fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What was noted becomes differences.
    pub fn settle(&mut self) {
        self.changed.sort_unstable_by_key(|changed| changed.unit);
        for Changed { unit, old, at, unmade } in self.changed.drain(..) {
            debug_assert!(!unmade || self.newest[unit as usize].is_none());
            self.places[unit as usize] = 0;
            let new = self.newest[unit as usize].clone();
            self.updates.extend(old.map(|old| ((unit, old), at, -1)));
            self.updates.extend(new.map(|new| ((unit, new), at, 1)));
        }
    }

    /// The differences since the last call, all of which are settled.
    pub fn take(&mut self) -> Option<RowBatch> {
        self.settle();
        if self.updates.is_empty() { None } else { batch(&mut self.updates) }
    }

    /// Of a unit that has changed.
    fn mark(&mut self, unit: u32, unmade: bool) {
        let place = self.places[unit as usize] as usize - 1;
        self.changed[place].unmade = unmade;
    }

    fn turn(&mut self, unit: u32, phase: Phase, tick: Tick) {
        if let Some(row) = self.newest[unit as usize].clone() {
            self.note(unit, tick);
            self.newest[unit as usize] = Some(Version { phase, ..row });
        }
    }

    /// Notes that a unit changes. Takes its row, which is returned if nobody has seen it.
    fn note(&mut self, unit: u32, at: Tick) -> Option<Version> {
        let newest = self.newest[unit as usize].take();
        match self.places[unit as usize].checked_sub(1) {
            Some(place) => {
                self.changed[place as usize].at = at;
                newest
            }
            None => {
                self.changed.push(Changed { unit, old: newest, at, unmade: false });
                self.places[unit as usize] = self.changed.len() as u32;
                None
            }
        }
    }
}

/// The values of a row, in the place of one that nobody has seen where there is one.
fn written_over(unseen: Option<Version>, values: &[Datum]) -> Rc<[Datum]> {
    if let Some(Version { values: mut place, .. }) = unseen
        && let Some(unshared) = Rc::get_mut(&mut place)
    {
        unshared.clone_from_slice(values);
        return place;
    }
    values.into()
}
