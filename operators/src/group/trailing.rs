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

use headwater_clocks::{EventTime, Tick, Time};

use super::dense::Dense;
use super::events::Events;
use super::saved::SavedWindow;
use super::windows::{Room, Saved, Windows};
use crate::ledger::{SegmentError, time_of};

#[derive(Default)]
pub struct Trailing {
    row: Vec<u64>,
    /// Keys whose row went.
    gone: Vec<u32>,
}

impl Windows for Trailing {
    fn arrive(&mut self, to: &mut Room, events: &Events, at: usize, now: Tick) -> Result<(), SegmentError> {
        if events.takes_back(at) {
            take_back(to, events, at, now, &mut self.row);
            return Ok(());
        }
        let Some((key, class)) = place(to, events, at, now) else { return Ok(()) };
        to.dense.touch(key, to.dense.sets.sure().of_arrival(class));
        let accumulators = &mut to.dense.sets.get_mut(to.set).accumulators;
        accumulators.ledger_row(key, events.ts(at), &events.inputs, at, &mut self.row);
        accumulators.arrive(class, now, &mut self.row, &events.inputs, at);
        let is_inside = class < accumulators.windows().len();
        // The ledger keeps an event as long as some finite window holds it.
        if is_inside { to.ledgers.keep(to.dense, to.set, &self.row, now) } else { Ok(()) }
    }

    /// Each key's events are taken together: its accumulators are fetched into the cache once a batch.
    fn arrive_at_start(
        &mut self,
        to: &mut Room,
        events: &Events,
        rows: &[u32],
        start: Tick,
    ) -> Result<(), SegmentError> {
        let lanes = to.dense.sets.get(to.set).accumulators.lanes();
        let mut ledger_rows: Vec<u64> = Vec::with_capacity(rows.len() * lanes);
        let mut order: Vec<(u32, u32, u32)> = Vec::with_capacity(rows.len());
        for at in rows {
            let found = match events.takes_back(*at as usize) {
                true => find(to, events, *at as usize, start),
                false => place(to, events, *at as usize, start),
            };
            let Some((key, _)) = found else { continue };
            let ts = events.ts(*at as usize);
            to.dense.sets.get(to.set).accumulators.ledger_row(key, ts, &events.inputs, *at as usize, &mut self.row);
            order.push((key, (ledger_rows.len() / lanes) as u32, *at));
            ledger_rows.extend_from_slice(&self.row);
        }
        order.sort_unstable();
        let accumulators = &mut to.dense.sets.get_mut(to.set).accumulators;
        for (_, number, at) in order {
            let row = &mut ledger_rows[number as usize * lanes..][..lanes];
            let class = accumulators.class(time_of(row), start);
            if events.takes_back(at as usize) {
                accumulators.take_back(class, start, row, &events.inputs, at as usize);
                // The ledger has no row of it.
                row[0] = EventTime::BEFORE_ALL.us() as u64;
            } else {
                accumulators.arrive(class, start, row, &events.inputs, at as usize);
            }
        }
        let accumulators = &to.dense.sets.get(to.set).accumulators;
        let is_inside = |row: &&[u64]| accumulators.class(time_of(row), start) < accumulators.windows().len();
        let mut inside = ledger_rows.chunks_exact(lanes).filter(is_inside);
        inside.try_for_each(|row| to.ledgers.keep(to.dense, to.set, row, start))
    }

    fn finish(&mut self, dense: &mut Dense, key: u32, (tick, sure): (Tick, bool)) {
        let there = dense.sets.is_shown(key as usize);
        dense.sets.forget(key as usize, tick);
        if !there {
            self.gone.push(key);
            return dense.rows.publish(key, None, tick);
        }
        dense.publish(key, key, None, true, (tick, sure));
    }

    /// A key may have come again.
    fn give_back(&mut self, dense: &mut Dense, _tick: Tick) {
        self.gone.sort_unstable();
        self.gone.dedup();
        for key in self.gone.drain(..) {
            if !dense.sets.is_there(key as usize) {
                dense.sets.clear(key as usize);
                dense.keys.free(key);
                dense.dropped += 1;
            }
        }
    }

    fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    fn saved(&self, dense: &Dense) -> Vec<Saved> {
        let there = dense.keys.numbers().filter(|key| dense.sets.is_there(*key as usize));
        there.map(|key| (key, key, None)).collect()
    }

    fn load(&mut self, dense: &mut Dense, key: u32, saved: Option<SavedWindow>) -> Option<u32> {
        dense.make_room(dense.keys.bound());
        saved.is_none().then_some(key)
    }
}

/// Takes an event back from the windows that still hold it.
fn take_back(to: &mut Room, events: &Events, at: usize, now: Tick, row: &mut Vec<u64>) {
    let Some((key, class)) = find(to, events, at, now) else { return };
    to.dense.touch(key, false);
    let accumulators = &mut to.dense.sets.get_mut(to.set).accumulators;
    accumulators.ledger_row(key, events.ts(at), &events.inputs, at, row);
    accumulators.take_back(class, now, row, &events.inputs, at);
}

/// The key and age class of an event that is taken back; `None`: no window holds it any more.
fn find(to: &Room, events: &Events, at: usize, now: Tick) -> Option<(u32, usize)> {
    let accumulators = &to.dense.sets.get(to.set).accumulators;
    let class = accumulators.class(events.ts(at), now);
    let is_held = class < accumulators.windows().len() || accumulators.all();
    to.dense.keys.find(events.keys.value(at)).filter(|_| is_held).map(|key| (key, class))
}

/// An event's key and age class; `None` where it is too old for every window.
fn place(to: &mut Room, events: &Events, at: usize, now: Tick) -> Option<(u32, usize)> {
    let accumulators = &to.dense.sets.get(to.set).accumulators;
    let class = accumulators.class(events.ts(at), now);
    if class == accumulators.windows().len() && !accumulators.all() {
        to.dense.too_old += 1;
        return None;
    }
    let key = to.dense.keys.intern(events.keys.value(at));
    to.dense.make_room(to.dense.keys.bound());
    Some((key, class))
}
