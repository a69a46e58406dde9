//! The parts of a group: the columns that it began with, and those that were added to it while it ran.
//!
//! ```text
//! part 0   |--history--S0------------- T ---->        a row shows part 0 alone ...
//! part 1         |--history--S1--.....-T ---->        ... until part 1, with events of its own, has come as far: it enters
//! ```
//!
//! A part begins at its start, with what its history has come to. It enters, which is when its columns are shown, at its start
//! too, but not before `floor`, up to which the group's rows were published without it.

use super::plan::{self, Plan};
use crate::accumulators::Accumulators;
use crate::value::Datum;

pub struct Parts {
    parts: Vec<Part>,
    /// Columns of the row.
    columns: usize,
    /// The row is that of the only part.
    plain: bool,
    scratch: Vec<Datum>,
}

pub struct Part {
    pub accumulators: Accumulators,
    /// By column: its place in the row.
    pub places: Vec<Option<usize>>,
    pub start: i64,
    pub begun: bool,
    pub entered: bool,
}

impl Parts {
    pub fn new(plan: &Plan) -> Parts {
        let part = |part: plan::Part| {
            let mut accumulators = Accumulators::new(&part.columns, &part.inputs);
            let shown = part.columns.iter().zip(&part.places).filter(|(_, place)| place.is_some());
            accumulators.show(shown.map(|(column, _)| column.length));
            Part { accumulators, places: part.places, start: part.start, begun: false, entered: false }
        };
        let parts: Vec<Part> = plan.parts().into_iter().map(part).collect();
        let columns = parts.iter().flat_map(|part| &part.places).flatten().count();
        let plain = parts.len() == 1 && parts[0].places.iter().copied().eq((0..columns).map(Some));
        Parts { parts, columns, plain, scratch: vec![] }
    }

    /// The accumulators of a group that has one part.
    pub fn whole(&mut self) -> &mut Accumulators {
        &mut self.parts[0].accumulators
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Part> {
        self.parts.iter()
    }

    pub fn get(&mut self, part: usize) -> &mut Part {
        &mut self.parts[part]
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn start(&self, part: usize) -> i64 {
        self.parts[part].start
    }

    pub fn has_begun(&self, part: usize) -> bool {
        self.parts[part].begun
    }

    pub fn first_start(&self) -> i64 {
        self.parts.iter().map(|part| part.start).min().unwrap_or(i64::MAX)
    }

    pub fn next_to_begin(&self) -> Option<i64> {
        self.parts.iter().filter(|part| !part.begun).map(|part| part.start).min()
    }

    pub fn next_to_enter(&self, floor: Option<i64>) -> Option<i64> {
        self.parts.iter().filter(|part| !part.entered).map(|part| part.enters_at(floor)).min()
    }

    pub fn begin(&mut self, tick: i64) {
        self.parts.iter_mut().for_each(|part| part.begun |= part.start <= tick);
    }

    /// Whether some part enters at the tick.
    pub fn enter(&mut self, tick: i64, floor: Option<i64>) -> bool {
        let mut any = false;
        for part in self.parts.iter_mut().filter(|part| !part.entered) {
            part.entered = part.enters_at(floor) <= tick;
            any |= part.entered;
        }
        any
    }

    pub fn units(&self) -> usize {
        self.parts[0].accumulators.units()
    }

    pub fn grow(&mut self, units: usize) {
        self.parts.iter_mut().for_each(|part| part.accumulators.grow(units));
    }

    pub fn clear(&mut self, unit: usize) {
        self.parts.iter_mut().for_each(|part| part.accumulators.clear(unit));
    }

    pub fn forget(&mut self, unit: usize, tick: i64) {
        self.parts.iter_mut().for_each(|part| part.accumulators.forget(unit, tick));
    }

    /// Whether any event is inside any of the windows that are shown.
    pub fn is_shown(&self, unit: usize) -> bool {
        self.parts.iter().any(|part| part.entered && part.accumulators.is_shown(unit))
    }

    /// Whether any event is inside any of the windows.
    pub fn is_there(&self, unit: usize) -> bool {
        self.parts.iter().any(|part| part.accumulators.is_there(unit))
    }

    /// The row's values at a tick; of parts that have not entered they are null. Returns how many sums do not fit their type.
    pub fn row(&mut self, unit: usize, tick: i64, row: &mut Vec<Datum>) -> u64 {
        if self.plain {
            return self.parts[0].accumulators.row(unit, tick, row);
        }
        row.clear();
        row.resize(self.columns, Datum::Null);
        let mut unfit = 0;
        for part in self.parts.iter_mut().filter(|part| part.entered) {
            unfit += part.accumulators.row(unit, tick, &mut self.scratch);
            for (place, value) in part.places.iter().zip(self.scratch.drain(..)) {
                if let Some(place) = place {
                    row[*place] = value;
                }
            }
        }
        unfit
    }
}

impl Part {
    fn enters_at(&self, floor: Option<i64>) -> i64 {
        floor.map_or(self.start, |floor| floor.max(self.start))
    }
}
