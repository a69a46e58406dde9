//! What a trailing group keeps of its keys: counts and sums by ring, staircases, and how the two become a row.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, i256};

use super::extremes::Extremes;
use super::plan::{Adds, Inner, Layout, Plan, Source};
use crate::aggregate::float_sum::FloatSum;
use crate::value::{Datum, Kind, Values};

/// Words of a ledger row before its values: the event time; the key and the first null flags.
const HEAD_LANES: usize = 2;
/// Null flags that fit beside the key.
const HEAD_FLAGS: usize = 32;

/// The accumulators of all keys, which are told apart by number.
pub struct Accumulators {
    pub layout: Layout,
    kinds: Vec<Kind>,
    cells: Vec<Cells>,
    extremes: Vec<Extremes>,
    /// By input: its null flag's place, where nulls matter; and the lane of its value, where values do.
    flags: Vec<Option<usize>>,
    value_lanes: Vec<Option<usize>>,
    lanes: usize,
    pub keys: usize,
}

/// One track's accumulators of all keys: of key `k` those from `k * rings` on.
enum Cells {
    Counts(Vec<i64>),
    Ints(Vec<i128>),
    Floats(Vec<FloatSum>),
    Decimals(Vec<i256>),
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
    /// # Panics
    /// On an input of a type that no input can have: `check` has refused it.
    pub fn new(plan: &Plan) -> Accumulators {
        let layout = Layout::of(plan);
        let kinds: Vec<Kind> =
            plan.inputs.iter().map(|t| Kind::of(t).expect("the type of an input was checked")).collect();
        let asked = |adds| layout.tracks.iter().any(|t| t.adds == adds);
        let mut counted = 0usize..;
        let flags: Vec<_> =
            (0..kinds.len()).map(|i| asked(Adds::NotNull(i)).then(|| counted.next().unwrap_or(0))).collect();
        let mut lanes = HEAD_LANES + counted.start.saturating_sub(HEAD_FLAGS).div_ceil(64);
        let mut value_lane = |i: usize| {
            let lane = asked(Adds::Value(i)).then_some(lanes)?;
            lanes += if matches!(kinds[i], Kind::Decimal { .. }) { 2 } else { 1 };
            Some(lane)
        };
        let value_lanes = (0..kinds.len()).map(&mut value_lane).collect();
        let cells = layout.tracks.iter().map(|t| Cells::new(t.adds, &kinds)).collect();
        let extremes = layout.extremes.iter().map(|(input, least)| Extremes::new(kinds[*input], *least)).collect();
        Accumulators { layout, kinds, cells, extremes, flags, value_lanes, lanes, keys: 0 }
    }

    /// Words of a ledger row.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Makes room for so many keys.
    pub fn grow(&mut self, keys: usize) {
        self.keys = keys;
        for (cells, track) in self.cells.iter_mut().zip(&self.layout.tracks) {
            cells.grow(keys * track.rings());
        }
        self.extremes.iter_mut().for_each(|e| e.grow(keys));
    }

    /// The ledger's row of an event.
    pub fn ledger_row(&self, key: u32, ts: i64, inputs: &Inputs, at: usize, row: &mut Vec<u64>) {
        row.clear();
        row.resize(self.lanes, 0);
        row[0] = ts as u64;
        row[1] = u64::from(key);
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

    /// Takes an event in: its ledger row into the rings of its class, its values into the staircases.
    pub fn arrive(&mut self, class: usize, row: &[u64], inputs: &Inputs, at: usize) {
        let key = row[1] as u32 as usize;
        for t in 0..self.cells.len() {
            if let Some(ring) = self.layout.tracks[t].ring_of_class[class] {
                self.add(t, key, ring, row, false);
            }
        }
        let recent = class < self.layout.windows.len();
        for (extremes, (input, _)) in self.extremes.iter_mut().zip(&self.layout.extremes) {
            if !inputs.arrays[*input].is_null(at) {
                extremes.insert(key, row[0] as i64, &inputs.values[*input], at, recent);
            }
        }
    }

    /// Moves an event out of a window: into the next ring, or away.
    pub fn leave(&mut self, window: usize, row: &[u64]) {
        let key = row[1] as u32 as usize;
        for i in 0..self.layout.leaving[window].len() {
            let (t, ring) = self.layout.leaving[window][i];
            self.add(t, key, ring, row, true);
            if ring + 1 < self.layout.tracks[t].rings() {
                self.add(t, key, ring + 1, row, false);
            }
        }
    }

    #[inline]
    fn add(&mut self, t: usize, key: usize, ring: usize, row: &[u64], take_away: bool) {
        let track = &self.layout.tracks[t];
        let cell = key * track.rings() + ring;
        let input = match track.adds {
            Adds::Events => return self.cells[t].count(cell, take_away),
            Adds::NotNull(input) | Adds::Value(input) => input,
        };
        let (lane, bit) = flag_place(self.flags[input].unwrap_or(0));
        if row[lane] >> bit & 1 == 1 {
            return;
        }
        match (track.adds, self.value_lanes[input]) {
            (Adds::Value(_), Some(lane)) => self.cells[t].add(cell, &row[lane..], self.kinds[input], take_away),
            _ => self.cells[t].count(cell, take_away),
        }
    }

    /// Forgets what no window reaches at tick `now`.
    pub fn forget(&mut self, key: usize, now: i64) {
        if let Some(longest) = self.layout.windows.last() {
            self.extremes.iter_mut().for_each(|e| e.forget(key, now.saturating_sub(*longest)));
        }
    }

    /// Whether any event is inside any of the windows.
    pub fn is_there(&self, key: usize) -> bool {
        // The first track counts events, up to the longest window.
        self.total(Inner { track: 0, rings: self.layout.tracks[0].rings() }, key) > 0
    }

    /// The row's values at tick `now`. Returns how many sums do not fit their type.
    pub fn row(&self, key: usize, now: i64, row: &mut Vec<Datum>) -> u64 {
        row.clear();
        let mut unfit = 0;
        for source in &self.layout.sources {
            row.push(match source {
                Source::Count(inner) => Datum::int(self.total(*inner, key)),
                Source::Extreme { of, length } => self.extremes[*of].best(key, length.map(|l| now.saturating_sub(l))),
                Source::Sum { sum, not_null, avg } => match self.total(*not_null, key) {
                    0 => Datum::Null,
                    count => self.sum(*sum, key, avg.then_some(count)).unwrap_or_else(|| {
                        unfit += 1;
                        Datum::Null
                    }),
                },
            });
        }
        unfit
    }

    fn total(&self, inner: Inner, key: usize) -> i64 {
        let Cells::Counts(counts) = &self.cells[inner.track] else { unreachable!("a track of counts") };
        let first = key * self.layout.tracks[inner.track].rings();
        counts[first..first + inner.rings].iter().sum()
    }

    /// The exact sum rounded once, over `count` for an average; `None` where it does not fit the type.
    fn sum(&self, inner: Inner, key: usize, count: Option<i64>) -> Option<Datum> {
        let first = key * self.layout.tracks[inner.track].rings();
        let cells = first..first + inner.rings;
        let average = |sum: f64, count: i64| Datum::float(sum / count as f64);
        match &self.cells[inner.track] {
            Cells::Counts(_) => unreachable!("a track of sums"),
            Cells::Floats(sums) => {
                let total = match &sums[cells] {
                    [one] => one.value(),
                    many => {
                        let mut total = FloatSum::default();
                        many.iter().for_each(|s| total.merge(s));
                        total.value()
                    }
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
                let total = sums[cells].iter().fold(i256::ZERO, |a, b| a.wrapping_add(*b));
                let Adds::Value(input) = self.layout.tracks[inner.track].adds else { unreachable!() };
                let Kind::Decimal { scale } = self.kinds[input] else { unreachable!() };
                match count {
                    Some(n) => Some(average(decimal_to_float(total, scale), n)),
                    None => total.to_i128().filter(|v| v.unsigned_abs() < 10u128.pow(38)).map(Datum::decimal),
                }
            }
        }
    }
}

fn flag_place(flag: usize) -> (usize, usize) {
    match flag.checked_sub(HEAD_FLAGS) {
        None => (1, HEAD_FLAGS + flag),
        Some(further) => (HEAD_LANES + further / 64, further % 64),
    }
}

/// The nearest float64, rounded once.
fn decimal_to_float(unscaled: i256, scale: i8) -> f64 {
    format!("{unscaled}e{}", -i32::from(scale)).parse().expect("digits and an exponent")
}

impl Cells {
    fn new(adds: Adds, kinds: &[Kind]) -> Cells {
        match adds {
            Adds::Events | Adds::NotNull(_) => Cells::Counts(vec![]),
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
            Cells::Ints(all) => {
                let v = if kind == Kind::UInt { i128::from(lanes[0]) } else { i128::from(lanes[0] as i64) };
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

/// The types of a row's columns.
///
/// # Panics
/// On an aggregate of a type that it does not take: `check` has refused it.
pub fn result_types(plan: &Plan) -> Vec<DataType> {
    let result = |c: &super::ColumnPlan| c.aggregate.result(c.input.map(|i| &plan.inputs[i]));
    plan.columns.iter().map(|c| result(c).expect("the type of an aggregate was checked")).collect()
}
