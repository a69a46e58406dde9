//! What a group keeps of its units: sums by ring, keepers, and how the two become a row.
//!
//! A *unit* is what has a row: a key, or a key and a window. Units are told apart by number.

mod aggregate;
mod distinct;
mod earliest;
mod extremes;
mod frequencies;
mod keeper;
mod latest;
mod layout;
mod packed;
mod sketches;
mod values;

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, i256};

pub use aggregate::Aggregate;
use aggregate::Keeps;
pub use layout::ColumnPlan;
pub(crate) use values::{ByNumber, NumberedValues};

use crate::aggregate::float_sum::FloatSum;
use crate::aggregate::spread::{Spread, spread_of_floats, spread_of_ints};
use crate::aggregate::squares::SquareSum;
use crate::saved::{Damaged, get, put};
use crate::value::{Datum, Kind, Ordered, Values, decimal_to_float};
use keeper::{Arrival, Departure, Keeper, Loading};
use layout::{Adds, Inner, KeeperPlan, Layout, Source};

/// Words of a ledger row before its values: the event time; the unit and the first null flags.
const HEAD_LANES: usize = 2;
/// Null flags that fit beside the unit.
const HEAD_FLAGS: usize = 32;

/// The accumulators of all units.
pub struct Accumulators {
    layout: Layout,
    kinds: Vec<Kind>,
    cells: Vec<Cells>,
    keepers: Vec<Box<dyn Keeper>>,
    /// By input: its null flag's place, where nulls matter; and the lane of its value, where values do.
    flags: Vec<Option<usize>>,
    value_lanes: Vec<Option<usize>>,
    /// By keeper: the lane of its word, if it gives one.
    word_lanes: Vec<Option<usize>>,
    lanes: usize,
    units: usize,
    /// Rings of the first track up to the longest window that is shown.
    shown: usize,
}

/// One track's accumulators of all units: of unit `u` those from `u * rings` on.
enum Cells {
    Counts(Vec<i64>),
    Ints(Vec<i128>),
    Floats(Vec<FloatSum>),
    Decimals(Vec<i256>),
    Squares(Vec<SquareSum>),
}

/// The inputs of a batch, opened.
pub struct Inputs {
    values: Vec<Values>,
    arrays: Vec<ArrayRef>,
}

impl Inputs {
    /// `first_column`: where the inputs begin.
    pub fn open(batch: &RecordBatch, first_column: usize) -> Inputs {
        let arrays = batch.columns()[first_column..].to_vec();
        Inputs { values: arrays.iter().map(Values::open).collect(), arrays }
    }
}

impl Accumulators {
    /// `inputs`: their types.
    ///
    /// # Panics
    /// On an input of a type that no input can have: `check` has refused it.
    pub fn new(columns: &[ColumnPlan], inputs: &[DataType]) -> Accumulators {
        let layout = Layout::of(columns);
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
        let keepers: Vec<_> = layout.keepers.iter().map(|plan| build(plan, kinds[plan.input])).collect();
        let word_lanes = keepers.iter().map(|keeper| keeper.gives_words().then(|| lane(1))).collect();
        let cells = layout.tracks.iter().map(|t| Cells::new(t.adds, &kinds)).collect();
        let shown = layout.tracks[0].rings.len();
        Accumulators { layout, kinds, cells, keepers, flags, value_lanes, word_lanes, lanes, units: 0, shown }
    }

    /// Only these columns are shown, given by their lengths.
    pub fn show(&mut self, lengths: impl Iterator<Item = Option<i64>>) {
        let rings = &self.layout.tracks[0].rings;
        let window = |length: i64| self.layout.windows.partition_point(|w| *w < length);
        self.shown = lengths.map(|length| rings.place_of(length.map(window)) + 1).max().unwrap_or(0);
    }

    /// The finite lengths, ascending, each once.
    pub fn windows(&self) -> &[i64] {
        &self.layout.windows
    }

    /// Whether a column asks for everything that a unit ever held.
    pub fn all(&self) -> bool {
        self.layout.tracks[0].rings.all()
    }

    /// For how many columns there is a value.
    pub fn columns(&self) -> usize {
        self.layout.sources.len()
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
        self.keepers.iter_mut().for_each(|keeper| keeper.grow(units));
    }

    /// The ledger's row of an event, but for the words that keepers give.
    pub fn ledger_row(&self, unit: u32, ts: i64, inputs: &Inputs, at: usize, row: &mut Vec<u64>) {
        row.clear();
        row.resize(self.lanes, 0);
        row[0] = ts as u64;
        row[1] = u64::from(unit);
        for (input, array) in inputs.arrays.iter().enumerate() {
            if array.is_null(at) {
                if let Some(flag) = self.flags[input] {
                    let (lane, bit) = flag_place(flag);
                    row[lane] |= 1 << bit;
                }
            } else if let Some(lane) = self.value_lanes[input] {
                match &inputs.values[input] {
                    Values::Words(words) => row[lane] = words[at],
                    Values::Decimals(d) => {
                        let Datum::Wide(parts) = Datum::decimal(d.value(at)) else { unreachable!() };
                        row[lane..lane + 2].copy_from_slice(&parts);
                    }
                    Values::Texts(_) => unreachable!("no text is added up"),
                }
            }
        }
    }

    /// How many of the finite windows an event has left at tick `now`.
    pub fn class(&self, ts: i64, now: i64) -> usize {
        self.layout.windows.partition_point(|w| ts <= now.saturating_sub(*w))
    }

    /// Takes an event in: its ledger row into the rings of its class, its values into the keepers, their words into the row.
    pub fn arrive(&mut self, class: usize, now: i64, row: &mut [u64], inputs: &Inputs, at: usize) {
        let unit = row[1] as u32 as usize;
        for t in 0..self.cells.len() {
            if let Some(ring) = self.layout.tracks[t].rings.of_class(class) {
                self.add(t, unit, ring, row, false);
            }
        }
        let (ts, windows) = (row[0] as i64, self.layout.windows.as_slice());
        for (k, keeper) in self.keepers.iter_mut().enumerate() {
            let input = self.layout.keepers[k].input;
            if !inputs.arrays[input].is_null(at) {
                let values = &inputs.values[input];
                let word = keeper.arrive(Arrival { unit, ts, now, windows, class, values, row: at });
                if let Some(lane) = self.word_lanes[k] {
                    row[lane] = word;
                }
            }
        }
    }

    /// Moves an event out of a window: into the next ring, or away.
    pub fn leave(&mut self, window: usize, row: &[u64]) {
        let (ts, unit) = (row[0] as i64, row[1] as u32 as usize);
        for i in 0..self.layout.leaving[window].tracks.len() {
            let (t, ring) = self.layout.leaving[window].tracks[i];
            self.add(t, unit, ring, row, true);
            if ring + 1 < self.layout.tracks[t].rings.len() {
                self.add(t, unit, ring + 1, row, false);
            }
        }
        for (k, place) in &self.layout.leaving[window].keepers {
            let word = self.word_lanes[*k].map_or(0, |lane| row[lane]);
            if word != 0 {
                self.keepers[*k].leave(Departure { unit, ts, place: *place, word });
            }
        }
    }

    #[inline]
    fn add(&mut self, t: usize, unit: usize, ring: usize, row: &[u64], take_away: bool) {
        let track = &self.layout.tracks[t];
        let cell = unit * track.rings.len() + ring;
        let input = match track.adds {
            Adds::Events => return self.cells[t].count(cell, take_away),
            Adds::NotNull(input) | Adds::Value(input) | Adds::Square(input) => input,
        };
        let (lane, bit) = flag_place(self.flags[input].unwrap_or(0));
        if row[lane] >> bit & 1 == 1 {
            return;
        }
        match (track.adds, self.value_lanes[input]) {
            (Adds::Value(_) | Adds::Square(_), Some(lane)) => {
                self.cells[t].add(cell, &row[lane..], self.kinds[input], take_away)
            }
            _ => self.cells[t].count(cell, take_away),
        }
    }

    /// Forgets what no finite window reaches at tick `now`: each keeper by its own longest one.
    pub fn forget(&mut self, unit: usize, now: i64) {
        for (keeper, plan) in self.keepers.iter_mut().zip(&self.layout.keepers) {
            if let Some(longest) = plan.rings.longest_finite() {
                keeper.forget(unit, now.saturating_sub(self.layout.windows[longest]));
            }
        }
    }

    /// How many events are inside the longest window.
    pub fn events(&self, unit: usize) -> i64 {
        // The first track counts events, up to the longest window.
        self.total(Inner { track: 0, rings: self.layout.tracks[0].rings.len() }, unit)
    }

    /// Whether any event is inside any of the windows.
    pub fn is_there(&self, unit: usize) -> bool {
        self.events(unit) > 0
    }

    /// Whether any event is inside any of the windows that are shown.
    pub fn is_shown(&self, unit: usize) -> bool {
        self.total(Inner { track: 0, rings: self.shown }, unit) > 0
    }

    /// Moves everything that a unit holds to another one. Only where no window is finite.
    pub fn merge(&mut self, into: usize, from: usize) {
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            (0..rings).for_each(|ring| cells.merge(into * rings + ring, from * rings + ring));
        }
        self.keepers.iter_mut().for_each(|keeper| keeper.merge(into, from));
    }

    /// Empties a unit.
    pub fn clear(&mut self, unit: usize) {
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            (0..rings).for_each(|ring| cells.clear(unit * rings + ring));
        }
        self.keepers.iter_mut().for_each(|keeper| keeper.clear(unit));
    }

    /// Writes down what a unit holds.
    pub fn save(&self, unit: usize, out: &mut Vec<u8>) {
        for (cells, track) in self.cells.iter().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            cells.save(unit * rings..(unit + 1) * rings, out);
        }
        self.keepers.iter().for_each(|keeper| keeper.save(unit, out));
    }

    /// Fills a unit that is empty with what one held at tick `now`. `values`: by keeper, those that it named by number.
    ///
    /// # Errors
    /// What is read is no unit of this plan.
    pub fn load(
        &mut self,
        unit: usize,
        input: &mut &[u8],
        now: i64,
        values: &[HashMap<u32, Ordered>],
    ) -> Result<(), Damaged> {
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            let rings = track.rings.len();
            cells.load(unit * rings..(unit + 1) * rings, input)?;
        }
        for (keeper, values) in self.keepers.iter_mut().zip(values) {
            keeper.load(unit, input, &Loading { now, windows: &self.layout.windows, values })?;
        }
        Ok(())
    }

    /// By keeper: the values that saved units name by number.
    pub fn values(&self) -> Vec<Option<&NumberedValues>> {
        self.keepers.iter().map(|keeper| keeper.values()).collect()
    }

    /// The row's values at tick `now`. Returns how many sums do not fit their type.
    pub fn row(&mut self, unit: usize, now: i64, row: &mut Vec<Datum>) -> u64 {
        row.clear();
        let mut unfit = 0;
        for i in 0..self.layout.sources.len() {
            row.push(match &self.layout.sources[i] {
                Source::Count(inner) => Datum::int(self.total(*inner, unit)),
                Source::Kept { keeper, asked } => self.keepers[*keeper].value(unit, asked, now),
                Source::Sum { sum, not_null, avg } => match self.total(*not_null, unit) {
                    0 => Datum::Null,
                    count => self.sum(*sum, unit, avg.then_some(count)).unwrap_or_else(|| {
                        unfit += 1;
                        Datum::Null
                    }),
                },
                Source::Spread { spread, sum, squares, not_null } => {
                    let count = self.total(*not_null, unit);
                    self.spread(*spread, count, *sum, *squares, unit).map(Datum::float).unwrap_or_default()
                }
            });
        }
        unfit
    }

    fn total(&self, inner: Inner, unit: usize) -> i64 {
        let Cells::Counts(counts) = &self.cells[inner.track] else { unreachable!("a track of counts") };
        counts[self.cells_of(inner, unit)].iter().sum()
    }

    fn cells_of(&self, inner: Inner, unit: usize) -> Range<usize> {
        let first = unit * self.layout.tracks[inner.track].rings.len();
        first..first + inner.rings
    }

    fn spread(&self, spread: Spread, count: i64, sum: Inner, squares: Inner, unit: usize) -> Option<f64> {
        let Cells::Squares(all) = &self.cells[squares.track] else { unreachable!("a track of squares") };
        let mut total = SquareSum::default();
        all[self.cells_of(squares, unit)].iter().for_each(|squares| total.merge(squares));
        let cells = self.cells_of(sum, unit);
        match &self.cells[sum.track] {
            Cells::Floats(sums) => spread_of_floats(spread, count, &float_total(&sums[cells]), &total),
            Cells::Ints(sums) => spread_of_ints(spread, count, i256::from_i128(sums[cells].iter().sum()), &total, 0),
            Cells::Decimals(sums) => {
                spread_of_ints(spread, count, decimal_total(&sums[cells]), &total, self.scale(sum.track))
            }
            Cells::Counts(_) | Cells::Squares(_) => unreachable!("a track of sums"),
        }
    }

    fn scale(&self, track: usize) -> i8 {
        let Adds::Value(input) = self.layout.tracks[track].adds else { unreachable!("a track of sums") };
        let Kind::Decimal { scale } = self.kinds[input] else { unreachable!("a sum of decimals") };
        scale
    }

    /// The exact sum rounded once, over `count` for an average; `None` where it does not fit the type.
    fn sum(&self, inner: Inner, unit: usize, count: Option<i64>) -> Option<Datum> {
        let cells = self.cells_of(inner, unit);
        let average = |sum: f64, count: i64| Datum::float(sum / count as f64);
        match &self.cells[inner.track] {
            Cells::Counts(_) | Cells::Squares(_) => unreachable!("a track of sums"),
            Cells::Floats(sums) => {
                let total = match &sums[cells] {
                    [one] => one.value(),
                    many => float_total(many).value(),
                };
                Some(count.map_or_else(|| Datum::float(total), |n| average(total, n)))
            }
            Cells::Ints(sums) => {
                let total: i128 = sums[cells].iter().sum();
                match count {
                    Some(n) => Some(average(total as f64, n)),
                    None => i64::try_from(total).ok().map(Datum::int),
                }
            }
            Cells::Decimals(sums) => {
                let total = decimal_total(&sums[cells]);
                match count {
                    Some(n) => Some(average(decimal_to_float(total, self.scale(inner.track)), n)),
                    None => total.to_i128().filter(|v| v.unsigned_abs() < 10u128.pow(38)).map(Datum::decimal),
                }
            }
        }
    }
}

/// The keeper of a plan.
fn build(plan: &KeeperPlan, kind: Kind) -> Box<dyn Keeper> {
    let rings = plan.rings.clone();
    match plan.keeps {
        Keeps::Least => Box::new(extremes::Extremes::new(kind, rings, true)),
        Keeps::Greatest => Box::new(extremes::Extremes::new(kind, rings, false)),
        Keeps::Earliest => Box::new(earliest::Earliest::new(kind, rings)),
        Keeps::Latest => Box::new(latest::Latest::new(kind, rings, plan.n)),
        Keeps::Distinct => Box::new(distinct::Distinct::new(kind, rings)),
        Keeps::Frequencies => Box::new(frequencies::Frequencies::new(kind, rings)),
        Keeps::HyperLogLog => Box::new(sketches::Registers::new(rings)),
        Keeps::DdSketch => Box::new(sketches::Buckets::new(kind, rings)),
    }
}

fn float_total(sums: &[FloatSum]) -> FloatSum {
    let mut total = FloatSum::default();
    sums.iter().for_each(|sum| total.merge(sum));
    total
}

fn decimal_total(sums: &[i256]) -> i256 {
    sums.iter().fold(i256::ZERO, |a, b| a.wrapping_add(*b))
}

fn flag_place(flag: usize) -> (usize, usize) {
    match flag.checked_sub(HEAD_FLAGS) {
        None => (1, HEAD_FLAGS + flag),
        Some(further) => (HEAD_LANES + further / 64, further % 64),
    }
}

impl Cells {
    fn new(adds: Adds, kinds: &[Kind]) -> Cells {
        match adds {
            Adds::Events | Adds::NotNull(_) => Cells::Counts(vec![]),
            Adds::Square(_) => Cells::Squares(vec![]),
            Adds::Value(input) => match kinds[input] {
                Kind::Float => Cells::Floats(vec![]),
                Kind::Decimal { .. } => Cells::Decimals(vec![]),
                _ => Cells::Ints(vec![]),
            },
        }
    }

    fn grow(&mut self, cells: usize) {
        match self {
            Cells::Counts(all) => all.resize(cells, 0),
            Cells::Ints(all) => all.resize(cells, 0),
            Cells::Floats(all) => all.resize_with(cells, FloatSum::default),
            Cells::Decimals(all) => all.resize(cells, i256::ZERO),
            Cells::Squares(all) => all.resize_with(cells, SquareSum::default),
        }
    }

    fn save(&self, range: Range<usize>, out: &mut Vec<u8>) {
        match self {
            Cells::Counts(all) => all[range].iter().for_each(|v| put(out, v)),
            Cells::Ints(all) => all[range].iter().for_each(|v| put(out, v)),
            Cells::Floats(all) => all[range].iter().for_each(|v| put(out, v)),
            Cells::Decimals(all) => all[range].iter().for_each(|v| put(out, &v.to_be_bytes())),
            Cells::Squares(all) => all[range].iter().for_each(|v| put(out, v)),
        }
    }

    fn load(&mut self, range: Range<usize>, input: &mut &[u8]) -> Result<(), Damaged> {
        for cell in range {
            match self {
                Cells::Counts(all) => all[cell] = get(input)?,
                Cells::Ints(all) => all[cell] = get(input)?,
                Cells::Floats(all) => all[cell] = get(input)?,
                Cells::Decimals(all) => all[cell] = i256::from_be_bytes(get(input)?),
                Cells::Squares(all) => all[cell] = get(input)?,
            }
        }
        Ok(())
    }

    fn merge(&mut self, into: usize, from: usize) {
        match self {
            Cells::Counts(all) => all[into] += std::mem::take(&mut all[from]),
            Cells::Ints(all) => all[into] += std::mem::take(&mut all[from]),
            Cells::Floats(all) => {
                let from = std::mem::take(&mut all[from]);
                all[into].merge(&from);
            }
            Cells::Decimals(all) => all[into] = all[into].wrapping_add(std::mem::replace(&mut all[from], i256::ZERO)),
            Cells::Squares(all) => {
                let from = std::mem::take(&mut all[from]);
                all[into].merge(&from);
            }
        }
    }

    fn clear(&mut self, cell: usize) {
        match self {
            Cells::Counts(all) => all[cell] = 0,
            Cells::Ints(all) => all[cell] = 0,
            Cells::Floats(all) => all[cell] = FloatSum::default(),
            Cells::Decimals(all) => all[cell] = i256::ZERO,
            Cells::Squares(all) => all[cell] = SquareSum::default(),
        }
    }

    #[inline]
    fn count(&mut self, cell: usize, take_away: bool) {
        let Cells::Counts(all) = self else { unreachable!("a track of counts") };
        all[cell] += if take_away { -1 } else { 1 };
    }

    #[inline]
    fn add(&mut self, cell: usize, lanes: &[u64], kind: Kind, take_away: bool) {
        match self {
            Cells::Floats(all) => all[cell].add(f64::from_bits(lanes[0]), take_away),
            Cells::Squares(all) => match kind {
                Kind::Float => all[cell].add_float(f64::from_bits(lanes[0]), take_away),
                Kind::Decimal { .. } => all[cell].add_int(Datum::as_decimal([lanes[0], lanes[1]]), take_away),
                _ => all[cell].add_int(int(lanes[0], kind), take_away),
            },
            Cells::Ints(all) => {
                let v = int(lanes[0], kind);
                all[cell] += if take_away { -v } else { v };
            }
            Cells::Decimals(all) => {
                let v = i256::from_i128(Datum::as_decimal([lanes[0], lanes[1]]));
                all[cell] = if take_away { all[cell].wrapping_sub(v) } else { all[cell].wrapping_add(v) };
            }
            Cells::Counts(_) => unreachable!("a track of sums"),
        }
    }
}

fn int(word: u64, kind: Kind) -> i128 {
    if kind == Kind::UInt { i128::from(word) } else { i128::from(word as i64) }
}

/// The types of a row's columns.
///
/// # Panics
/// On an aggregate of a type that it does not take: `check` has refused it.
pub fn result_types(columns: &[ColumnPlan], inputs: &[DataType]) -> Vec<DataType> {
    let result = |c: &ColumnPlan| c.aggregate.result(c.input.map(|i| &inputs[i]));
    columns.iter().map(|c| result(c).expect("the type of an aggregate was checked")).collect()
}
