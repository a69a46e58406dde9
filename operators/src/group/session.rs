//! row(T)[key, start] = the aggregate of a session: of a chain of the key's events with V <= T, each less than `gap` after the
//! one before. It starts at its first event and ends `gap` after its last one.
//!
//! ```text
//! tick 1, count, gap 10     arrives     out (key, window, count, time, diff)
//!   T = 3                   03          a [3, 13) 1 3 +1
//!   T = 17                  17          a [17, 27) 1 17 +1
//!   T = 18                  09 (late)   a [3, 13) 1 18 -1   a [17, 27) 1 18 -1   a [3, 27) 3 18 +1
//! ```
//!
//! An event of a time `ts` is taken while `eff <= ts + gap + lateness`. So a session changes no more once every `eff` to come is
//! at least its last event's time plus twice the gap plus `lateness`: then its accumulators are emptied, and when its
//! row has left the store too, it is forgotten.
//!
//! How: a unit is a session. Sessions that meet are merged, the smaller into the larger.

use std::collections::{BTreeMap, BTreeSet};

use headwater_clocks::{Eff, EventTime, Span, Tick};

use super::dense::Dense;
use super::events::Events;
use super::plan::{Leaving, Plan};
use super::saved::SavedWindow;
use super::units::Units;
use super::windows::{Room, Saved, Windows};
use crate::ledger::SegmentError;

pub struct Sessions {
    gap: Span,
    lateness: Span,
    leaves: Leaving,
    units: Units<Session>,
    /// The sessions that can still change: by key and first event.
    open: BTreeMap<(u32, EventTime), u32>,
    /// When to look at a session again: whether its row leaves the store, and whether it can change no more. It may have
    /// grown by then.
    leaving: Looks,
    closing: Looks,
    /// How many sessions began: it tells those apart that had the same number.
    begun: u64,
    /// Sessions that are forgotten, or were merged into others.
    gone: Vec<u32>,
    row: Vec<u64>,
}

struct Session {
    key: u32,
    first: EventTime,
    last: EventTime,
    serial: u64,
    has_left: bool,
    closed: bool,
    /// It was merged into another one, and is to be retracted.
    merged: bool,
}

/// Sessions by the last event that they had when they were put here.
#[derive(Default)]
struct Looks(BTreeSet<(EventTime, u32, u64)>);

impl Looks {
    fn put(&mut self, session: &Session, unit: u32) {
        self.0.insert((session.last, unit, session.serial));
    }

    fn next(&self) -> Option<EventTime> {
        self.0.first().map(|(last, ..)| *last)
    }

    /// The next one, if its last event was one that `due` accepts. `None`: none is due; `Some(None)`: it is gone.
    fn pop(&mut self, units: &Units<Session>, due: impl Fn(EventTime) -> bool) -> Option<Option<u32>> {
        self.0.first().filter(|(last, ..)| due(*last))?;
        let (_, unit, serial) = self.0.pop_first()?;
        Some(units.try_get(unit).filter(|session| session.serial == serial && !session.merged).map(|_| unit))
    }
}

impl Sessions {
    pub fn new(plan: &Plan, gap: Span) -> Sessions {
        Sessions {
            gap,
            lateness: plan.lateness,
            leaves: Leaving::new(plan),
            units: Units::default(),
            open: BTreeMap::new(),
            leaving: Looks::default(),
            closing: Looks::default(),
            begun: 0,
            gone: vec![],
            row: vec![],
        }
    }

    /// When a session with this last event leaves the store.
    fn leaves_at(&self, last: EventTime) -> Tick {
        self.leaves.at(last + self.gap)
    }

    fn begin(&mut self, dense: &mut Dense, key: u32, ts: EventTime) -> u32 {
        self.begun += 1;
        let session =
            Session { key, first: ts, last: ts, serial: self.begun, has_left: true, closed: false, merged: false };
        let unit = self.units.begin(session);
        dense.make_room(self.units.bound());
        dense.hold_key(key);
        self.open.insert((key, ts), unit);
        self.closing.put(self.units.get(unit), unit);
        unit
    }

    /// A session whose row had left the store, or was never there, may be late enough to be there again.
    fn stay(&mut self, unit: u32, now: Tick) {
        let session = self.units.get(unit);
        if session.has_left && self.leaves_at(session.last) > now {
            self.leaving.put(session, unit);
            self.units.get_mut(unit).has_left = false;
        }
    }

    /// Merges two sessions that meet: the one with fewer events into the other, which is returned.
    fn merge(&mut self, dense: &mut Dense, older: u32, younger: u32) -> u32 {
        let (key, first, last) = {
            let (older, younger) = (self.units.get(older), self.units.get(younger));
            (older.key, older.first, older.last.max(younger.last))
        };
        self.open.remove(&(key, self.units.get(younger).first));
        let accumulators = dense.sets.whole();
        let smaller_last = accumulators.events(older as usize) >= accumulators.events(younger as usize);
        let (kept, gone) = if smaller_last { (older, younger) } else { (younger, older) };
        self.open.insert((key, first), kept);
        let session = self.units.get_mut(kept);
        (session.first, session.last) = (first, last);
        self.units.get_mut(gone).merged = true;
        dense.sets.whole().merge(kept as usize, gone as usize);
        dense.touched.add(gone, false);
        kept
    }

    /// A session has left the store, and changes no more.
    fn forget(&mut self, dense: &mut Dense, unit: u32, tick: Tick) {
        dense.rows.close(unit, tick);
        self.gone.push(unit);
    }
}

impl Windows for Sessions {
    fn arrive(&mut self, to: &mut Room, events: &Events, at: usize, now: Tick) -> Result<(), SegmentError> {
        let dense = &mut *to.dense;
        let ts = events.ts(at);
        let key = dense.keys.intern(events.keys.value(at));
        let before = self.open.range((key, EventTime::BEFORE_ALL)..=(key, ts)).next_back().map(|(_, unit)| *unit);
        let after = self.open.range((key, ts.just_after())..=(key, EventTime::AFTER_ALL)).next().map(|(_, unit)| *unit);
        let before = before.filter(|unit| ts - self.units.get(*unit).last < self.gap);
        let after = after.filter(|unit| self.units.get(*unit).first - ts < self.gap);
        let unit = match (before, after) {
            (None, None) => self.begin(dense, key, ts),
            (Some(unit), None) => unit,
            (None, Some(unit)) => {
                self.open.remove(&(key, self.units.get(unit).first));
                self.open.insert((key, ts), unit);
                unit
            }
            (Some(older), Some(younger)) => self.merge(dense, older, younger),
        };
        let session = self.units.get_mut(unit);
        (session.first, session.last) = (session.first.min(ts), session.last.max(ts));
        let last = session.last;
        self.stay(unit, now);
        dense.too_old += u64::from(self.leaves_at(last) <= dense.start);
        dense.arrive_whole(unit, events, at, now, &mut self.row);
        Ok(())
    }

    fn finish(&mut self, dense: &mut Dense, unit: u32, (tick, sure): (Tick, bool)) {
        let session = self.units.get(unit);
        let (key, first, last, merged) = (session.key, session.first, session.last, session.merged);
        let leaves_at = self.leaves_at(last);
        if merged || leaves_at <= dense.start {
            // What had left by the first tick is nowhere, until it grows.
            dense.rows.publish(unit, None, tick);
            self.gone.extend(merged.then_some(unit));
            return;
        }
        let bounds = Some((first, last + self.gap));
        dense.publish(unit, key, bounds, tick < leaves_at, (tick, sure));
    }

    fn close(&mut self, dense: &mut Dense, horizon: Eff, tick: Tick) {
        let reach = self.gap + self.gap + self.lateness;
        let due = |last: EventTime| Eff::bound(last, reach) <= horizon;
        while let Some(found) = self.closing.pop(&self.units, due) {
            let Some(unit) = found else { continue };
            let session = self.units.get_mut(unit);
            if session.closed {
                continue;
            }
            if !due(session.last) {
                self.closing.put(session, unit);
                continue;
            }
            session.closed = true;
            let (key, first, has_left) = (session.key, session.first, session.has_left);
            self.open.remove(&(key, first));
            dense.sets.clear(unit as usize);
            dense.dropped += 1;
            if has_left {
                self.forget(dense, unit, tick);
            }
        }
    }

    fn give_back(&mut self, dense: &mut Dense, tick: Tick) {
        for unit in self.gone.drain(..) {
            dense.rows.remove(unit, tick);
            let session = self.units.end(unit);
            dense.release_key(session.key);
        }
        dense.give_back_keys();
    }

    fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    fn next_due(&self) -> Option<Tick> {
        self.leaving.next().map(|last| self.leaves_at(last))
    }

    fn due_within(&self, budget: usize, to: Tick) -> Tick {
        let mut due = self.leaving.0.iter().map(|(last, ..)| self.leaves_at(*last)).take_while(|tick| *tick < to);
        due.nth(budget).unwrap_or(to)
    }

    fn expire(&mut self, dense: &mut Dense, now: Tick) {
        let (leaves, gap) = (self.leaves, self.gap);
        while let Some(found) = self.leaving.pop(&self.units, |last| leaves.at(last + gap) <= now) {
            let Some(unit) = found else { continue };
            let session = self.units.get(unit);
            let (tick, closed) = (self.leaves_at(session.last), session.closed);
            if tick > now {
                self.leaving.put(session, unit);
                continue;
            }
            self.units.get_mut(unit).has_left = true;
            dense.rows.leave_store(unit, tick);
            if closed {
                self.forget(dense, unit, tick);
            }
        }
    }

    fn saved(&self, _: &Dense) -> Vec<Saved> {
        let one = |(unit, session): (u32, &Session)| {
            let Session { first, last, has_left, closed, .. } = *session;
            (unit, session.key, Some(SavedWindow { first, last, has_left, closed }))
        };
        // What is gone may still be there: until its number is given back, and what was merged before the first tick.
        let is_gone = |session: &Session| session.merged || session.closed && session.has_left;
        self.units.iter().filter(|(_, session)| !is_gone(session)).map(one).collect()
    }

    fn load(&mut self, dense: &mut Dense, key: u32, saved: Option<SavedWindow>) -> Option<u32> {
        let saved = saved?;
        let unit = self.begin(dense, key, saved.first);
        let session = self.units.get_mut(unit);
        (session.last, session.has_left, session.closed) = (saved.last, saved.has_left, saved.closed);
        let session = self.units.get(unit);
        if !saved.has_left {
            self.leaving.put(session, unit);
        }
        if saved.closed {
            self.open.remove(&(key, saved.first));
        }
        Some(unit)
    }

    fn open_units(&self) -> u64 {
        self.open.len() as u64
    }
}
