//! row(T)[key] = for each column, the aggregate of the key's events with V <= T and T - length < ts (`all`: V <= T).
//!
//! ```text
//! tick 1, count over 10     arrives (ts, V)     out (key, count, time, diff)
//!   T = 3                   03 3                a 1 3 +1
//!   T = 7                   05 7 (late)         a 1 7 -1    a 2 7 +1
//!   T = 13                  03 grows old        a 2 13 -1   a 1 13 +1
//!   T = 15                  05 grows old        a 1 15 -1
//! ```
//!
//! A value falls with no new event needed, at the first tick at or after ts + length. A row is there while one event is
//! inside one of the windows. At each tick a key changes at most once, and never to the same row.
//!
//! How: a unit is a key. The ledger says when an event leaves a window.

use super::Shared;
use super::pending::Events;
use super::plan::Plan;
use super::published::Row;
use crate::accumulators::Accumulators;
use crate::ledger::{Ledger, SegmentError, Segments};

pub struct Trailing {
    ledger: Ledger,
    row: Vec<u64>,
    /// Keys whose row went. When it is certain that nothing names their number any more, it is given back.
    gone: Vec<u32>,
}

impl Trailing {
    pub fn new(plan: &Plan, accumulators: &Accumulators, segments: Box<dyn Segments>, resident_max: usize) -> Trailing {
        let windows = accumulators.windows();
        let ledger = Ledger::new(windows, accumulators.lanes(), plan.tick, plan.start, segments, resident_max);
        Trailing { ledger, row: vec![], gone: vec![] }
    }

    pub fn next_due(&self) -> Option<i64> {
        self.ledger.next_due()
    }

    pub fn for_each_kept(&mut self, each: impl FnMut(&[u64]) -> Result<(), SegmentError>) -> Result<(), SegmentError> {
        self.ledger.for_each_kept(each)
    }

    /// Nothing has left a window later than at tick `done`.
    pub fn begin_at(&mut self, done: i64) -> Result<(), SegmentError> {
        self.ledger.settle(done)
    }

    /// Takes in rows of a saved ledger. They are in their units already.
    pub fn load(&mut self, rows: &[u64], lanes: usize, now: i64) -> Result<(), SegmentError> {
        rows.chunks_exact(lanes).try_for_each(|row| self.ledger.insert(row, now))
    }

    pub fn ledger_bytes(&self) -> u64 {
        self.ledger.resident_bytes() as u64
    }

    /// What grows old by tick `now` goes. Returns how many events that were.
    pub fn expire(&mut self, shared: &mut Shared, now: i64) -> Result<usize, SegmentError> {
        let mut moved = 0;
        self.ledger.expire(now, |window, row| {
            shared.accumulators.leave(window, row);
            shared.touched.add(row[1] as u32);
            moved += 1;
        })?;
        self.ledger.settle(now)?;
        Ok(moved)
    }

    pub fn arrive(&mut self, shared: &mut Shared, events: &Events, at: usize, now: i64) -> Result<(), SegmentError> {
        let Some((key, class)) = place(shared, events, at, now) else { return Ok(()) };
        let accumulators = &mut shared.accumulators;
        accumulators.ledger_row(key, events.ts.value(at), &events.inputs, at, &mut self.row);
        accumulators.arrive(class, now, &mut self.row, &events.inputs, at);
        shared.touched.add(key);
        // The ledger keeps an event as long as some finite window holds it.
        if class < accumulators.windows().len() { self.ledger.insert(&self.row, now) } else { Ok(()) }
    }

    /// Takes in events of the history. No tick comes between them, so each key's are taken together: its accumulators are
    /// fetched into the cache once a batch.
    pub fn arrive_at_start(&mut self, shared: &mut Shared, events: &Events, rows: &[u32]) -> Result<(), SegmentError> {
        let (lanes, start) = (shared.accumulators.lanes(), shared.start);
        let mut ledger_rows: Vec<u64> = Vec::with_capacity(rows.len() * lanes);
        let mut order: Vec<(u32, u32, u32)> = Vec::with_capacity(rows.len());
        for at in rows {
            let Some((key, _)) = place(shared, events, *at as usize, start) else { continue };
            let ts = events.ts.value(*at as usize);
            shared.accumulators.ledger_row(key, ts, &events.inputs, *at as usize, &mut self.row);
            order.push((key, (ledger_rows.len() / lanes) as u32, *at));
            ledger_rows.extend_from_slice(&self.row);
        }
        order.sort_unstable();
        for (_, number, at) in order {
            let row = &mut ledger_rows[number as usize * lanes..][..lanes];
            let class = shared.accumulators.class(row[0] as i64, start);
            shared.accumulators.arrive(class, start, row, &events.inputs, at as usize);
        }
        let finite = shared.accumulators.windows().len();
        let inside = |row: &&[u64]| shared.accumulators.class(row[0] as i64, start) < finite;
        ledger_rows.chunks_exact(lanes).filter(inside).try_for_each(|row| self.ledger.insert(row, start))
    }

    /// Publishes a key's row.
    pub fn finish(&mut self, shared: &mut Shared, key: u32, tick: i64) {
        let there = shared.accumulators.is_there(key as usize);
        shared.accumulators.forget(key as usize, tick);
        if !there {
            self.gone.push(key);
            return shared.published.publish(key, None, tick);
        }
        let mut values = std::mem::take(&mut shared.values);
        shared.unfit_sums += shared.accumulators.row(key as usize, tick, &mut values);
        let row = Row { key, bounds: None, values: &values, stored: true };
        shared.published.publish(key, Some(row), tick);
        shared.values = values;
    }

    /// Gives back the numbers of keys that went and did not come again. No change names them any more.
    pub fn give_back(&mut self, shared: &mut Shared) {
        self.gone.sort_unstable();
        self.gone.dedup();
        for key in self.gone.drain(..) {
            if !shared.accumulators.is_there(key as usize) {
                shared.accumulators.clear(key as usize);
                shared.keys.free(key);
                shared.dropped += 1;
            }
        }
    }
}

/// An event's key and age class; `None` where it is too old for every window.
fn place(shared: &mut Shared, events: &Events, at: usize, now: i64) -> Option<(u32, usize)> {
    let class = shared.accumulators.class(events.ts.value(at), now);
    if class == shared.accumulators.windows().len() && !shared.accumulators.all() {
        shared.too_old += 1;
        return None;
    }
    let key = shared.keys.intern(events.keys.value(at));
    shared.make_room(shared.keys.bound());
    Some((key, class))
}
