//! What a group keeps of its units: sums by ring, synopses, and how the two become a row.
//!
//! A *unit* is what has a row: a key, or a key and a window. Units are told apart by number.

mod cells;
mod corrections;
mod layout;
mod nested;
mod packed;
mod row;
mod saved;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use headwater_clocks::{EventTime, Span, Tick, Time};

pub use layout::ColumnPlan;

pub(crate) use crate::synopses::numbered::{ByNumber, NumberedValues};

use crate::ledger::time_of;
use crate::synopses::synopsis::{Arrival, Departure, Synopsis};
use crate::value::{Kind, Values, halves};
use cells::Cells;
use corrections::Corrections;
use layout::{Adds, Inner, Layout};

/// Words of a ledger row before its values: the event time; the unit and the first null flags.
const HEAD_LANES: usize = 2;
/// Null flags that fit beside the unit.
const HEAD_FLAGS: usize = 32;

/// The accumulators of all units.
pub struct Accumulators {
    layout: Layout,
    kinds: Vec<Kind>,
    cells: Vec<Cells>,
    synopses: Vec<Box<dyn Synopsis>>,
    /// By input: its null flag's place, where nulls matter; and the lane of its value, where values do.
    flags: Vec<Option<usize>>,
    value_lanes: Vec<Option<usize>>,
    /// By synopsis: the lane of its word, if it gives one.
    word_lanes: Vec<Option<usize>>,
    lanes: usize,
    units: usize,
    /// Rings of the first track up to the longest window that is shown.
    shown: usize,
    /// Where events may be taken back.
    corrections: Option<Corrections>,
    /// Each cell is of a whole window, and not of a ring.
    nested: bool,
}

/// The inputs of a batch, opened.
pub struct Inputs {
    values: Vec<Values>,
    nulls: Vec<Option<NullBuffer>>,
    arrays: Vec<ArrayRef>,
}

impl Inputs {
    /// Of these columns.
    pub fn of(arrays: &[ArrayRef]) -> Inputs {
        let nulls = arrays.iter().map(|array| array.nulls().cloned()).collect();
        Inputs { values: arrays.iter().map(Values::open).collect(), nulls, arrays: arrays.to_vec() }
    }

    #[inline]
    fn is_null(&self, input: usize, at: usize) -> bool {
        self.nulls[input].as_ref().is_some_and(|nulls| nulls.is_null(at))
    }
}

impl Accumulators {
    /// `inputs`: their types.
    ///
    /// # Panics
    /// On an input of a type that no input can have: `check` has refused it.
    pub fn new(columns: &[ColumnPlan], inputs: &[DataType]) -> Accumulators {
        Accumulators::build(columns, inputs, false)
    }

    /// Those of events that may be taken back.
    ///
    /// # Panics
    /// As `new`.
    pub fn corrected(columns: &[ColumnPlan], inputs: &[DataType]) -> Accumulators {
        Accumulators::build(columns, inputs, true)
    }

    fn build(columns: &[ColumnPlan], inputs: &[DataType], corrected: bool) -> Accumulators {
        let layout = Layout::of(columns, corrected);
        let kinds: Vec<Kind> = inputs.iter().map(|t| Kind::of(t).expect("the type of an input was checked")).collect();
        let asked = |adds| layout.tracks.iter().any(|t| t.adds == adds);
        let mut counted = 0usize..;
        let flags: Vec<_> =
            (0..kinds.len()).map(|i| asked(Adds::NotNull(i)).then(|| counted.next().unwrap_or(0))).collect();
        let mut lanes = HEAD_LANES + counted.start.saturating_sub(HEAD_FLAGS).div_ceil(64);
        let mut lane = |words: usize| {
            lanes += words;
            lanes - words
        };
        let words = |i: usize| if matches!(kinds[i], Kind::Decimal { .. }) { 2 } else { 1 };
        let value_lanes = (0..kinds.len()).map(|i| asked(Adds::Value(i)).then(|| lane(words(i)))).collect();
        let synopses: Vec<_> = layout
            .synopses
            .iter()
            .map(|plan| plan.reading.build(kinds[plan.input], plan.rings.clone(), &plan.arguments))
            .collect();
        let word_lanes = synopses.iter().map(|synopsis| synopsis.gives_words().then(|| lane(1))).collect();
        let corrections = corrected.then(|| Corrections::new(lane(1), layout.windows.len()));
        let cells = layout.tracks.iter().map(|t| Cells::new(t.adds, &kinds)).collect();
        let shown = layout.tracks[0].rings.len();
        Accumulators {
            layout,
            kinds,
            cells,
            synopses,
            flags,
            value_lanes,
            word_lanes,
            lanes,
            units: 0,
            shown,
            corrections,
            nested: false,
        }
    }

    /// Only these columns are shown, given by their lengths.
    pub fn show(&mut self, lengths: impl Iterator<Item = Option<Span>>) {
        let rings = &self.layout.tracks[0].rings;
        let window = |length: Span| self.layout.windows.partition_point(|w| *w < length);
        self.shown = lengths.map(|length| rings.place_of(length.map(window)) + 1).max().unwrap_or(0);
    }

    /// The finite lengths, ascending, each once.
    pub fn windows(&self) -> &[Span] {
        &self.layout.windows
    }

    /// Whether a column asks for everything that a unit ever held.
    pub fn all(&self) -> bool {
        self.layout.tracks[0].rings.all()
    }

    /// How many units there is room for.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Words of a ledger row.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Makes room for so many units.
    pub fn grow(&mut self, units: usize) {
        self.units = units;
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            cells.grow(units * track.rings.len());
        }
        self.synopses.iter_mut().for_each(|synopsis| synopsis.grow(units));
        self.corrections.iter_mut().for_each(|corrections| corrections.grow(units));
    }

    /// The ledger's row of an event, but for the words that synopses give.
    pub fn ledger_row(&self, unit: u32, ts: EventTime, inputs: &Inputs, at: usize, row: &mut Vec<u64>) {
        row.clear();
        row.resize(self.lanes, 0);
        row[0] = ts.us() as u64;
        row[1] = u64::from(unit);
        for (input, values) in inputs.values.iter().enumerate() {
            if inputs.is_null(input, at) {
                if let Some(flag) = self.flags[input] {
                    let (lane, bit) = flag_place(flag);
                    row[lane] |= 1 << bit;
                }
            } else if let Some(lane) = self.value_lanes[input] {
                match values {
                    Values::Words(words) => row[lane] = words[at],
                    Values::Decimals(d) => row[lane..lane + 2].copy_from_slice(&halves(d.value(at))),
                    Values::Texts(_) => unreachable!("no text is added up"),
                }
            }
        }
        if let Some(corrections) = &self.corrections {
            row[corrections.mark_lane()] = corrections::mark(&inputs.values, &inputs.arrays, at);
        }
    }

    /// How many of the finite windows an event has left at tick `now`.
    pub fn class(&self, ts: EventTime, now: Tick) -> usize {
        self.layout.windows.partition_point(|w| ts <= now.left(*w))
    }

    /// Takes an event in: its ledger row into the rings of its class, its values into the synopses, their words into the row.
    pub fn arrive(&mut self, class: usize, now: Tick, row: &mut [u64], inputs: &Inputs, at: usize) {
        let unit = row[1] as u32 as usize;
        for t in 0..self.cells.len() {
            if let Some(ring) = self.layout.tracks[t].rings.of_class(class) {
                self.add(t, unit, ring, row, false);
            }
        }
        let (ts, windows) = (time_of(row), self.layout.windows.as_slice());
        for (k, synopsis) in self.synopses.iter_mut().enumerate() {
            let input = self.layout.synopses[k].input;
            if !inputs.is_null(input, at) {
                let values = &inputs.values[input];
                let word = synopsis.arrive(Arrival { unit, ts, now, windows, class, values, row: at });
                if let Some(lane) = self.word_lanes[k] {
                    row[lane] = word;
                }
            }
        }
        if let Some(corrections) = self.corrections.as_mut().filter(|_| class < self.layout.windows.len()) {
            corrections.keep(unit);
        }
    }

    /// Takes an event back that came before: its row is that which the ledger has of it. What it moved goes, and once the ledger hands it
    /// back, it is passed over.
    ///
    /// # Panics
    /// Where nothing can be taken back.
    pub fn take_back(&mut self, class: usize, now: Tick, row: &mut [u64], inputs: &Inputs, at: usize) {
        let unit = row[1] as u32 as usize;
        for t in 0..self.cells.len() {
            if let Some(ring) = self.layout.tracks[t].rings.of_class(class) {
                self.add(t, unit, ring, row, true);
            }
        }
        let (ts, windows) = (time_of(row), self.layout.windows.as_slice());
        let mut words = vec![0; self.synopses.len()];
        for (k, synopsis) in self.synopses.iter_mut().enumerate() {
            let input = self.layout.synopses[k].input;
            if !inputs.is_null(input, at) {
                let values = &inputs.values[input];
                words[k] = synopsis.take_back(Arrival { unit, ts, now, windows, class, values, row: at });
            }
        }
        if class < windows.len() {
            self.corrections.as_mut().expect("events that may be taken back").cancel(row, &words);
        }
    }

    /// Moves an event out of a window: into the next ring, or away.
    pub fn leave(&mut self, window: usize, row: &[u64]) {
        let (ts, unit) = (time_of(row), row[1] as u32 as usize);
        if self.corrections.as_mut().is_some_and(|corrections| corrections.leave(window, row)) {
            return self.leave_taken_back(window, row);
        }
        for i in 0..self.layout.leaving[window].tracks.len() {
            let (t, ring) = self.layout.leaving[window].tracks[i];
            self.move_on(t, unit, ring, row);
        }
        for (k, place) in &self.layout.leaving[window].synopses {
            let word = self.word_lanes[*k].map_or(0, |lane| row[lane]);
            if word != 0 {
                self.synopses[*k].leave(Departure { unit, ts, place: *place, word });
            }
        }
    }

    /// An event that was taken back leaves a window: whoever kept something for its row lets it go.
    fn leave_taken_back(&mut self, window: usize, row: &[u64]) {
        let (ts, unit) = (time_of(row), row[1] as u32 as usize);
        for (k, place) in &self.layout.leaving[window].synopses {
            let word = self.word_lanes[*k].map_or(0, |lane| row[lane]);
            if word != 0 {
                self.synopses[*k].leave_taken_back(Departure { unit, ts, place: *place, word });
            }
        }
    }

    #[inline]
    fn add(&mut self, t: usize, unit: usize, ring: usize, row: &[u64], take_away: bool) {
        let cell = unit * self.layout.tracks[t].rings.len() + ring;
        match self.added(t, row) {
            Added::Nothing => {}
            Added::One => self.cells[t].count(cell, take_away),
            Added::Value(words, kind) => self.cells[t].add(cell, words, kind, take_away),
        }
    }

    /// Out of a ring, and into the next one if there is one.
    #[inline]
    fn move_on(&mut self, t: usize, unit: usize, ring: usize, row: &[u64]) {
        let rings = self.layout.tracks[t].rings.len();
        let cell = unit * rings + ring;
        let has_next = ring + 1 < rings;
        match self.added(t, row) {
            Added::Nothing => {}
            Added::One => {
                self.cells[t].count(cell, true);
                if has_next {
                    self.cells[t].count(cell + 1, false);
                }
            }
            Added::Value(words, kind) => {
                self.cells[t].add(cell, words, kind, true);
                if has_next {
                    self.cells[t].add(cell + 1, words, kind, false);
                }
            }
        }
    }

    /// What a track adds up of a row.
    #[inline]
    fn added<'r>(&self, t: usize, row: &'r [u64]) -> Added<'r> {
        let adds = self.layout.tracks[t].adds;
        let input = match adds {
            Adds::Events => return Added::One,
            Adds::NotNull(input) | Adds::Value(input) | Adds::Square(input) => input,
        };
        let (lane, bit) = flag_place(self.flags[input].unwrap_or(0));
        if row[lane] >> bit & 1 == 1 {
            return Added::Nothing;
        }
        match (adds, self.value_lanes[input]) {
            (Adds::Value(_) | Adds::Square(_), Some(lane)) => Added::Value(&row[lane..], self.kinds[input]),
            (Adds::Value(_) | Adds::Square(_), None) | (Adds::Events | Adds::NotNull(_), _) => Added::One,
        }
    }

    /// Forgets what no finite window reaches at tick `now`: each synopsis by its own longest one.
    pub fn forget(&mut self, unit: usize, now: Tick) {
        for (synopsis, plan) in self.synopses.iter_mut().zip(&self.layout.synopses) {
            if let Some(longest) = plan.rings.longest_finite() {
                synopsis.forget(unit, now.left(self.layout.windows[longest]));
            }
        }
    }

    /// How many events are inside the longest window.
    pub fn events(&self, unit: usize) -> i64 {
        // The first track counts events, up to the longest window.
        self.count(Inner { track: 0, rings: self.layout.tracks[0].rings.len() }, unit)
    }

    /// Whether any event is inside any of the windows, or the ledger still has one that was taken back.
    pub fn is_there(&self, unit: usize) -> bool {
        self.events(unit) > 0 || self.corrections.as_ref().is_some_and(|corrections| corrections.has_rows(unit))
    }

    /// Whether any event is inside any of the windows that are shown.
    pub fn is_shown(&self, unit: usize) -> bool {
        self.count(Inner { track: 0, rings: self.shown }, unit) > 0
    }

    /// Moves everything that a unit holds to another one. Only where no window is finite.
    pub fn merge(&mut self, into: usize, from: usize) {
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            (0..rings).for_each(|ring| cells.merge(into * rings + ring, from * rings + ring));
        }
        self.synopses.iter_mut().for_each(|synopsis| synopsis.merge(into, from));
    }

    /// Empties a unit.
    pub fn clear(&mut self, unit: usize) {
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            (0..rings).for_each(|ring| cells.clear(unit * rings + ring));
        }
        self.synopses.iter_mut().for_each(|synopsis| synopsis.clear(unit));
        self.corrections.iter_mut().for_each(|corrections| corrections.clear(unit));
    }
}

/// What an event adds to a sum.
enum Added<'r> {
    Nothing,
    One,
    Value(&'r [u64], Kind),
}

#[inline]
fn flag_place(flag: usize) -> (usize, usize) {
    match flag.checked_sub(HEAD_FLAGS) {
        None => (1, HEAD_FLAGS + flag),
        Some(further) => (HEAD_LANES + further / 64, further % 64),
    }
}

/// The types of a row's columns.
///
/// # Panics
/// On an aggregate of a type that it does not take: `check` has refused it.
pub fn result_types(columns: &[ColumnPlan], inputs: &[DataType]) -> Vec<DataType> {
    let result = |c: &ColumnPlan| c.aggregate.result(c.input.map(|i| &inputs[i]));
    columns.iter().map(|c| result(c).expect("the type of an aggregate was checked")).collect()
}
