//! Windows kept each by itself, a shorter one inside the longer ones, and not as rings: for whoever knows of each window which events come
//! and which go, and hands over many at once. No event has a ledger row.

use arrow::datatypes::DataType;
use headwater_clocks::{EventTime, Tick};

use super::layout::Adds;
use super::{Accumulators, ColumnPlan, Inputs};
use crate::synopses::synopsis::{Arrival, Departure};
use crate::value::{Values, halves};

impl Accumulators {
    /// Those of windows that are kept each by itself: what comes and goes is told by the functions of this file.
    ///
    /// # Panics
    /// As `new`.
    pub fn nested(columns: &[ColumnPlan], inputs: &[DataType]) -> Accumulators {
        Accumulators { nested: true, ..Accumulators::new(columns, inputs) }
    }

    /// Adds events to a window, given by their rows; `None`: to that of all time.
    pub fn add_to(&mut self, unit: usize, window: Option<usize>, inputs: &Inputs, rows: &[u32]) {
        self.change((unit, window), inputs, rows, false);
    }

    /// Takes events away from a window that it holds.
    pub fn take_from(&mut self, unit: usize, window: usize, inputs: &Inputs, rows: &[u32]) {
        self.change((unit, Some(window)), inputs, rows, true);
    }

    fn change(&mut self, (unit, window): (usize, Option<usize>), inputs: &Inputs, rows: &[u32], take_away: bool) {
        for t in 0..self.cells.len() {
            let rings = &self.layout.tracks[t].rings;
            let place = match window {
                Some(window) => rings.ending_at(window),
                None => rings.all().then(|| rings.len() - 1),
            };
            if let Some(place) = place {
                self.change_cell((t, unit * rings.len() + place), inputs, rows, take_away);
            }
        }
    }

    fn change_cell(&mut self, (t, cell): (usize, usize), inputs: &Inputs, rows: &[u32], take_away: bool) {
        let count = |rows: usize| if take_away { -(rows as i64) } else { rows as i64 };
        let cells = &mut self.cells[t];
        let there = |input: usize| rows.iter().map(|row| *row as usize).filter(move |row| !inputs.is_null(input, *row));
        match self.layout.tracks[t].adds {
            Adds::Events => cells.count_many(cell, count(rows.len())),
            Adds::NotNull(input) if inputs.nulls[input].is_none() => cells.count_many(cell, count(rows.len())),
            Adds::NotNull(input) => cells.count_many(cell, count(there(input).count())),
            Adds::Value(input) | Adds::Square(input) => {
                let kind = self.kinds[input];
                match &inputs.values[input] {
                    Values::Words(words) => cells.add_many(cell, there(input).map(|row| words[row]), kind, take_away),
                    Values::Decimals(all) => {
                        there(input).for_each(|row| cells.add(cell, &halves(all.value(row)), kind, take_away));
                    }
                    Values::Texts(_) => unreachable!("no text is added up"),
                }
            }
        }
    }

    /// How many synopses there are.
    pub fn synopses(&self) -> usize {
        self.synopses.len()
    }

    /// Whether any synopsis gives words.
    pub fn gives_words(&self) -> bool {
        self.word_lanes.iter().any(Option::is_some)
    }

    /// Tells synopses of an event that comes. `keep`: gets the word of each by which the event goes.
    pub fn tell_of(
        &mut self,
        (unit, ts, class): (usize, EventTime, usize),
        now: Tick,
        (inputs, at): (&Inputs, usize),
        mut keep: impl FnMut(usize, u64),
    ) {
        let windows = self.layout.windows.as_slice();
        for (k, synopsis) in self.synopses.iter_mut().enumerate() {
            let input = self.layout.synopses[k].input;
            if !inputs.is_null(input, at) {
                let values = &inputs.values[input];
                keep(k, synopsis.arrive(Arrival { unit, ts, now, windows, class, values, row: at }));
            }
        }
    }

    /// Tells synopses of an event that leaves a window. `words`: by synopsis, what each gave of it.
    pub fn tell_of_leaving(&mut self, window: usize, (unit, ts): (usize, EventTime), words: &[u64]) {
        for (k, place) in &self.layout.leaving[window].synopses {
            if words[*k] != 0 {
                self.synopses[*k].leave(Departure { unit, ts, place: *place, word: words[*k] });
            }
        }
    }
}
