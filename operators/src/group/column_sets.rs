//! The column sets of a group: the columns that it began with, and those that were added to it while it ran.
//!
//! ```text
//! set 0   |--history--S0------------- T ---->        a row shows set 0 alone ...
//! set 1         |--history--S1--.....-T ---->        ... until set 1, with events of its own, has come as far: it enters
//! ```
//!
//! A set begins at its start, with what its history has come to. It enters, which is when its columns are shown, at its start
//! too, but not before `floor`, up to which the group's rows were published without it.

use headwater_clocks::Tick;

use super::plan::{ColumnSet, Plan, Window};
use super::sure::Sure;
use crate::accumulators::Accumulators;
use crate::value::Datum;

pub struct ColumnSets {
    sets: Vec<Set>,
    /// Columns of the row.
    columns: usize,
    /// The row is that of the only set.
    plain: bool,
    sure: Sure,
    scratch: Vec<Datum>,
}

pub struct Set {
    pub accumulators: Accumulators,
    /// By column: its place in the row.
    pub places: Vec<Option<usize>>,
    pub start: Tick,
    pub begun: bool,
    pub entered: bool,
}

impl ColumnSets {
    pub fn new(plan: &Plan) -> ColumnSets {
        let set = |set: ColumnSet| {
            let build = if plan.corrected { Accumulators::corrected } else { Accumulators::new };
            let mut accumulators = build(&set.columns, &set.inputs);
            let shown = set.columns.iter().zip(&set.places).filter(|(_, place)| place.is_some());
            accumulators.show(shown.map(|(column, _)| column.length));
            Set { accumulators, places: set.places, start: set.start, begun: false, entered: false }
        };
        let sets: Vec<Set> = plan.column_sets().into_iter().map(set).collect();
        let columns = sets.iter().flat_map(|set| &set.places).flatten().count();
        let plain = sets.len() == 1 && sets[0].places.iter().copied().eq((0..columns).map(Some));
        // A session's window is another one with its events; and what may be taken back can leave a count as it was.
        let can_be_sure = plain && !plan.corrected && !matches!(plan.window, Window::Session { .. });
        let sure = match can_be_sure {
            true => Sure::of(&plan.columns, sets[0].accumulators.windows()),
            false => Sure::default(),
        };
        ColumnSets { sets, columns, plain, sure, scratch: vec![] }
    }

    /// Which moves make a row another one for sure.
    pub fn sure(&self) -> &Sure {
        &self.sure
    }

    /// The accumulators of a group that has one set.
    pub fn whole(&mut self) -> &mut Accumulators {
        &mut self.sets[0].accumulators
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Set> {
        self.sets.iter()
    }

    pub fn get(&self, set: usize) -> &Set {
        &self.sets[set]
    }

    pub fn get_mut(&mut self, set: usize) -> &mut Set {
        &mut self.sets[set]
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn start(&self, set: usize) -> Tick {
        self.sets[set].start
    }

    pub fn has_begun(&self, set: usize) -> bool {
        self.sets[set].begun
    }

    pub fn first_start(&self) -> Tick {
        self.sets.iter().map(|set| set.start).min().unwrap_or(Tick::AFTER_ALL)
    }

    pub fn next_to_begin(&self) -> Option<Tick> {
        self.sets.iter().filter(|set| !set.begun).map(|set| set.start).min()
    }

    pub fn next_to_enter(&self, floor: Option<Tick>) -> Option<Tick> {
        self.sets.iter().filter(|set| !set.entered).map(|set| set.enters_at(floor)).min()
    }

    pub fn begin(&mut self, tick: Tick) {
        self.sets.iter_mut().for_each(|set| set.begun |= set.start <= tick);
    }

    /// Whether some set enters at the tick.
    pub fn enter(&mut self, tick: Tick, floor: Option<Tick>) -> bool {
        let mut any = false;
        for set in self.sets.iter_mut().filter(|set| !set.entered) {
            set.entered = set.enters_at(floor) <= tick;
            any |= set.entered;
        }
        any
    }

    pub fn units(&self) -> usize {
        self.sets[0].accumulators.units()
    }

    pub fn grow(&mut self, units: usize) {
        self.sets.iter_mut().for_each(|set| set.accumulators.grow(units));
    }

    pub fn clear(&mut self, unit: usize) {
        self.sets.iter_mut().for_each(|set| set.accumulators.clear(unit));
    }

    pub fn forget(&mut self, unit: usize, tick: Tick) {
        self.sets.iter_mut().for_each(|set| set.accumulators.forget(unit, tick));
    }

    /// Whether any event is inside any of the windows that are shown.
    pub fn is_shown(&self, unit: usize) -> bool {
        self.sets.iter().any(|set| set.entered && set.accumulators.is_shown(unit))
    }

    /// Whether any event is inside any of the windows.
    pub fn is_there(&self, unit: usize) -> bool {
        self.sets.iter().any(|set| set.accumulators.is_there(unit))
    }

    /// Appends the row's values at a tick; of sets that have not entered they are null. Returns how many sums do not fit their type.
    pub fn row(&mut self, unit: usize, tick: Tick, row: &mut Vec<Datum>) -> u64 {
        if self.plain {
            return self.sets[0].accumulators.append_row(unit, tick, row);
        }
        let first = row.len();
        row.resize(first + self.columns, Datum::Null);
        let mut unfit = 0;
        for set in self.sets.iter_mut().filter(|set| set.entered) {
            unfit += set.accumulators.row(unit, tick, &mut self.scratch);
            for (place, value) in set.places.iter().zip(self.scratch.drain(..)) {
                if let Some(place) = place {
                    row[first + *place] = value;
                }
            }
        }
        unfit
    }
}

impl Set {
    fn enters_at(&self, floor: Option<Tick>) -> Tick {
        floor.map_or(self.start, |floor| floor.max(self.start))
    }
}
