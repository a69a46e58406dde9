//! Events that were taken back while the ledger still has them. The ledger only appends, so it hands them back when they are old: then
//! they are passed over, as many of equal rows as were taken back.
//!
//! ```text
//! window 10     ts 3, x = 5 comes     the ledger has it: due at 13
//!               it is taken back      5 goes from the sums; (ts 3, mark of x = 5) is cancelled once
//!               13                    the ledger hands it back: it is passed over, and nobody has anything of it any more
//! ```
//!
//! Two rows of a unit with one event time and one mark are of equal events, and so leave together: it is all the same which of them is meant.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use arrow::array::{Array, ArrayRef};
use headwater_clocks::EventTime;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::ledger::time_of;
use crate::saved::{Damaged, get, put};
use crate::synopses::numbered::ByNumber;
use crate::value::Values;

/// Of one set of accumulators.
pub struct Corrections {
    /// Where a row has the mark of its event.
    mark_lane: usize,
    /// Finite windows.
    windows: usize,
    /// By unit: rows that the ledger has of it, those that were taken back among them.
    rows: Vec<u32>,
    /// By unit, what was taken back, by event time and mark.
    cancelled: HashMap<u32, BTreeMap<(EventTime, u64), Entry>, BuildHasherDefault<ByNumber>>,
}

/// An entry, by its event's time and what it is known by.
type Cancelled = ((EventTime, u64), Entry);

/// Equal rows that were taken back.
#[derive(Serialize, Deserialize)]
struct Entry {
    count: u32,
    /// By window: how many of them have left it.
    left: Vec<u32>,
    /// By synopsis: the word that it keeps for them.
    words: Vec<u64>,
}

/// Equal events that were taken back, as they were saved.
pub struct TakenBack {
    pub ts: EventTime,
    pub count: u32,
    /// What a synopsis knows them by.
    pub word: u64,
}

/// What tells an event from another one of its unit and time: its inputs.
pub fn mark(values: &[Values], arrays: &[ArrayRef], at: usize) -> u64 {
    let mut hash = Xxh3::new();
    for (values, array) in values.iter().zip(arrays) {
        hash.update(&[u8::from(array.is_null(at))]);
        if array.is_null(at) {
            continue;
        }
        match values {
            Values::Words(words) => hash.update(&words[at].to_le_bytes()),
            Values::Decimals(decimals) => hash.update(&decimals.value(at).to_le_bytes()),
            Values::Texts(texts) => {
                hash.update(&(texts.value(at).len() as u64).to_le_bytes());
                hash.update(texts.value(at).as_bytes());
            }
        }
    }
    hash.digest()
}

impl Corrections {
    pub fn new(mark_lane: usize, windows: usize) -> Corrections {
        Corrections { mark_lane, windows, rows: vec![], cancelled: HashMap::default() }
    }

    pub fn mark_lane(&self) -> usize {
        self.mark_lane
    }

    pub fn grow(&mut self, units: usize) {
        self.rows.resize(units, 0);
    }

    /// The ledger has one more row of a unit.
    pub fn keep(&mut self, unit: usize) {
        self.rows[unit] += 1;
    }

    pub fn has_rows(&self, unit: usize) -> bool {
        self.rows[unit] > 0
    }

    /// The ledger has a row that is to be passed over. `words`: by synopsis.
    pub fn cancel(&mut self, row: &[u64], words: &[u64]) {
        let of_unit = self.cancelled.entry(row[1] as u32).or_default();
        let new = || Entry { count: 0, left: vec![0; self.windows], words: words.to_vec() };
        of_unit.entry((time_of(row), row[self.mark_lane])).or_insert_with(new).count += 1;
    }

    /// The ledger hands a row back that leaves a window. Whether it is to be passed over.
    pub fn leave(&mut self, window: usize, row: &[u64]) -> bool {
        let unit = row[1] as u32;
        let is_last = window + 1 == self.windows;
        if is_last {
            self.rows[unit as usize] -= 1;
        }
        let Some(of_unit) = self.cancelled.get_mut(&unit) else { return false };
        let place = (time_of(row), row[self.mark_lane]);
        let Some(entry) = of_unit.get_mut(&place).filter(|entry| entry.left[window] < entry.count) else {
            return false;
        };
        entry.left[window] += 1;
        if is_last && entry.left[window] == entry.count {
            of_unit.remove(&place);
            if of_unit.is_empty() {
                self.cancelled.remove(&unit);
            }
        }
        true
    }

    pub fn clear(&mut self, unit: usize) {
        debug_assert!(self.rows[unit] == 0 && !self.cancelled.contains_key(&(unit as u32)), "rows of unit {unit}");
    }

    pub fn save(&self, unit: usize, out: &mut Vec<u8>) {
        let cancelled = self.cancelled.get(&(unit as u32));
        put(out, &(self.rows[unit], cancelled.map_or(vec![], |of_unit| of_unit.iter().collect())));
    }

    /// Takes in what was saved of a unit. `word`: of a synopsis the word of so many equal events of a time, as it is now.
    pub fn load(
        &mut self,
        unit: usize,
        input: &mut &[u8],
        mut word: impl FnMut(usize, TakenBack) -> Result<u64, Damaged>,
    ) -> Result<(), Damaged> {
        let (rows, mut cancelled): (u32, Vec<Cancelled>) = get(input)?;
        self.rows[unit] = rows;
        for ((ts, _), entry) in &mut cancelled {
            if entry.left.len() != self.windows {
                return Err(Damaged("rows that were taken back from other windows".to_owned()));
            }
            for (synopsis, saved) in entry.words.iter_mut().enumerate().filter(|(_, saved)| **saved != 0) {
                *saved = word(synopsis, TakenBack { ts: *ts, count: entry.count, word: *saved })?;
            }
        }
        if !cancelled.is_empty() {
            self.cancelled.insert(unit as u32, cancelled.into_iter().collect());
        }
        Ok(())
    }
}
