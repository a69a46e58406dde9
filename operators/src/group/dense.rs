//! What is kept of a group's units, by number: keys, accumulators, and the row that each has. It is the state of the reduction from
//! events to rows.
//!
//! Numbers are given back behind all who read: a batch that was not read yet may name them.

use headwater_clocks::{EventTime, Tick, Time};

use super::column_sets::ColumnSets;
use super::events::Events;
use super::plan::Plan;
use super::rows::{Row, Rows};
use super::touched::Touched;
use crate::keys::Interner;
use crate::limits::Limits;
use crate::value::Datum;

/// Start and end of a window.
pub type Bounds = (EventTime, EventTime);

pub struct Dense {
    pub start: Tick,
    pub keys: Interner,
    /// By key, how many units name it, and keys that none names any more. Not of trailing groups.
    holders: Vec<u32>,
    unheld: Vec<u32>,
    pub sets: ColumnSets,
    pub touched: Touched,
    /// Of the tick that is being worked on: units to which events come.
    pub arriving: Touched,
    pub rows: Rows,
    values: Vec<Datum>,
    pub too_old: u64,
    pub unfit_sums: u64,
    pub dropped: u64,
}

impl Dense {
    pub fn new(plan: &Plan, limits: Limits) -> Dense {
        Dense {
            start: plan.start,
            keys: Interner::new(limits.freed_key_bytes),
            holders: vec![],
            unheld: vec![],
            sets: ColumnSets::new(plan),
            touched: Touched::default(),
            arriving: Touched::default(),
            rows: Rows::default(),
            values: vec![],
            too_old: 0,
            unfit_sums: 0,
            dropped: 0,
        }
    }

    /// Makes room for units with numbers below `bound`.
    pub fn make_room(&mut self, bound: usize) {
        if bound > self.sets.units() {
            let units = bound.next_power_of_two().max(1024);
            self.sets.grow(units);
            self.rows.grow(units);
            self.touched.grow(units);
            self.arriving.grow(units);
        }
    }

    /// Takes an event into a unit that keeps all it gets.
    pub fn arrive_whole(&mut self, unit: u32, events: &Events, at: usize, now: Tick, row: &mut Vec<u64>) {
        self.touch(unit, self.sets.sure().of_arrival(0));
        let accumulators = self.sets.whole();
        accumulators.ledger_row(unit, events.ts(at), &events.inputs, at, row);
        accumulators.arrive(0, now, row, &events.inputs, at);
    }

    /// Takes an event back from a unit that keeps all it gets.
    pub fn take_back_whole(&mut self, unit: u32, events: &Events, at: usize, now: Tick, row: &mut Vec<u64>) {
        self.touch(unit, false);
        let accumulators = self.sets.whole();
        accumulators.ledger_row(unit, events.ts(at), &events.inputs, at, row);
        accumulators.take_back(0, now, row, &events.inputs, at);
    }

    /// Something of a unit is about to move. `sure`: that alone makes its row another one (see `Sure`); else the row is made that it had
    /// so far, to compare.
    #[inline]
    pub fn touch(&mut self, unit: u32, sure: bool) {
        if !self.touched.has(unit) {
            let sure = sure && self.rows.is_exact(unit);
            if !sure {
                self.make(unit);
            }
            self.touched.add(unit, sure);
        }
    }

    /// Makes all rows that are still to be made.
    pub fn make_all(&mut self) {
        for unit in self.rows.unmade() {
            self.make(unit);
        }
    }

    /// Makes a unit's row, if it is still to be made.
    fn make(&mut self, unit: u32) {
        let Some(row) = self.rows.to_make(unit) else { return };
        self.values.clear();
        // Its window is what it was.
        self.values.extend_from_slice(&row.values[..row.values.len() - self.sets.columns()]);
        self.unfit_sums += self.sets.row(unit as usize, row.at, &mut self.values);
        self.rows.make(unit, &self.values);
    }

    /// Publishes a unit's row as it is. `sure`: it is another one than before.
    pub fn publish(&mut self, unit: u32, key: u32, bounds: Option<Bounds>, stored: bool, (tick, sure): (Tick, bool)) {
        if sure {
            return self.rows.change(unit, stored, tick);
        }
        self.values.clear();
        self.values.extend(bounds.into_iter().flat_map(|(start, end)| [Datum::int(start.us()), Datum::int(end.us())]));
        self.unfit_sums += self.sets.row(unit as usize, tick, &mut self.values);
        self.rows.publish(unit, Some(Row { key, values: &self.values, stored }), tick);
    }

    pub fn hold_key(&mut self, key: u32) {
        self.holders.resize(self.holders.len().max(self.keys.bound()), 0);
        self.holders[key as usize] += 1;
    }

    pub fn release_key(&mut self, key: u32) {
        let holders = &mut self.holders[key as usize];
        *holders -= 1;
        if *holders == 0 {
            self.unheld.push(key);
        }
    }

    /// Gives back the numbers of keys that no unit names.
    pub fn give_back_keys(&mut self) {
        self.unheld.sort_unstable();
        self.unheld.dedup();
        for key in self.unheld.drain(..).filter(|key| self.holders[*key as usize] == 0) {
            self.keys.free(key);
        }
    }
}
