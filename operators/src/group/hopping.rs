//! row(T)[key, start] = the aggregate of the key's events with V <= T and start <= ts < end, for each window that begins by the clock or
//! by a calendar (`fixed`): with a size, those whose start is a multiple of `every`. Tumbling windows are those that meet.
//!
//! ```text
//! tick 1, count, size 10, lateness 5, retain 20     arrives (ts, eff)   out (key, window, count, time, diff)
//!   T = 3                                           03 3                a [0, 10) 1 3 +1
//!   T = 12                                          07 12 (late)        a [0, 10) 1 12 -1   a [0, 10) 2 12 +1
//!   T = 16                                          08 16               16 > 10 + 5: never comes here, a dead letter
//!   T = 31                                          31 > 10 + 20        the row leaves the store, no change
//! ```
//!
//! Each window takes an event while `eff <= end + lateness`; which windows are closed to it, the event says itself (`_open`).
//! A window whose row had left the store by the first tick is nowhere.
//!
//! How: a unit is a key and a start. It only ever adds, but where events may be taken back: then a row goes with its last event. When no event can come any more its accumulators are emptied, and
//! when its row has left the store too, it is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use headwater_clocks::{Eff, EventTime, Span, Tick};

use super::dense::Dense;
use super::events::Events;
use super::fixed::Fixed;
use super::plan::{Leaving, Plan};
use super::saved::SavedWindow;
use super::units::Units;
use super::windows::{Room, Saved, Windows};
use crate::accumulators::ByNumber;
use crate::ledger::SegmentError;

pub struct Hopping {
    places: Fixed,
    lateness: Span,
    leaves: Leaving,
    units: Units<(u32, EventTime)>,
    numbers: HashMap<(u32, EventTime), u32, BuildHasherDefault<ByNumber>>,
    /// By start.
    windows: BTreeMap<EventTime, Window>,
    /// Windows before it have left the store, and are closed.
    leaving_from: EventTime,
    closing_from: EventTime,
    horizon: Eff,
    /// Units that are forgotten.
    gone: Vec<u32>,
    row: Vec<u64>,
    /// Whether a window may lose its events again.
    corrected: bool,
}

#[derive(Default)]
struct Window {
    units: Vec<u32>,
    has_left: bool,
    closed: bool,
}

impl Hopping {
    pub fn new(plan: &Plan, places: Fixed) -> Hopping {
        Hopping {
            places,
            lateness: plan.lateness,
            leaves: Leaving::new(plan),
            units: Units::default(),
            numbers: HashMap::default(),
            windows: BTreeMap::new(),
            leaving_from: EventTime::BEFORE_ALL,
            closing_from: EventTime::BEFORE_ALL,
            horizon: Eff::BEFORE_ALL,
            gone: vec![],
            row: vec![],
            corrected: plan.corrected,
        }
    }

    /// When a window that starts then leaves the store.
    fn leaves_at(&self, start: EventTime) -> Tick {
        self.leaves.at(self.places.end(start))
    }

    fn take(&mut self, dense: &mut Dense, events: &Events, at: usize, start: EventTime, now: Tick) {
        let key = dense.keys.intern(events.keys.value(at));
        let unit = match self.numbers.get(&(key, start)) {
            Some(unit) => *unit,
            None => self.begin(dense, key, start, now),
        };
        dense.arrive_whole(unit, events, at, now, &mut self.row);
    }

    /// A window that is closed stays as it is.
    fn take_back(&mut self, dense: &mut Dense, events: &Events, at: usize, start: EventTime, now: Tick) {
        let key = dense.keys.find(events.keys.value(at));
        if let Some(unit) = key.and_then(|key| self.numbers.get(&(key, start))) {
            dense.take_back_whole(*unit, events, at, now, &mut self.row);
        }
    }

    fn begin(&mut self, dense: &mut Dense, key: u32, start: EventTime, now: Tick) -> u32 {
        let unit = self.units.begin((key, start));
        dense.make_room(self.units.bound());
        dense.hold_key(key);
        self.numbers.insert((key, start), unit);
        let has_left = self.leaves_at(start) <= now;
        let window = self.windows.entry(start).or_insert_with(|| Window { has_left, ..Window::default() });
        window.units.push(unit);
        if has_left {
            // So has every older one.
            self.leaving_from = self.leaving_from.max(start.just_after());
        }
        unit
    }

    /// A window has left the store, and no event comes to it any more.
    fn forget(&mut self, dense: &mut Dense, start: EventTime, tick: Tick) {
        let window = self.windows.remove(&start).expect("a window that is there");
        window.units.iter().for_each(|unit| dense.rows.close(*unit, tick));
        self.gone.extend(window.units);
    }
}

impl Windows for Hopping {
    fn arrive(&mut self, to: &mut Room, events: &Events, at: usize, now: Tick) -> Result<(), SegmentError> {
        let (ts, open) = (events.ts(at), events.open(at));
        // Times near the ends of i64 have no windows there.
        let mut start = self.places.newest(ts);
        let (mut held, mut taken) = (false, false);
        let takes_back = events.takes_back(at);
        while self.places.holds(start, ts) {
            let end = self.places.end(start);
            // It is closed to this event, and so is every older one.
            if end < open || Eff::bound(end, self.lateness) < self.horizon {
                break;
            }
            held = true;
            if self.leaves_at(start) > to.dense.start {
                taken = true;
                match takes_back {
                    true => self.take_back(to.dense, events, at, start, now),
                    false => self.take(to.dense, events, at, start, now),
                }
            }
            let Some(older) = self.places.before(start) else { break };
            start = older;
        }
        to.dense.too_old += u64::from(held && !taken && !takes_back);
        Ok(())
    }

    fn finish(&mut self, dense: &mut Dense, unit: u32, (tick, sure): (Tick, bool)) {
        let (key, start) = *self.units.get(unit);
        let bounds = (start, self.places.end(start));
        if self.corrected && !dense.sets.is_there(unit as usize) {
            return dense.rows.publish(unit, None, tick);
        }
        let stored = tick < self.leaves_at(start);
        dense.publish(unit, key, Some(bounds), stored, (tick, sure));
    }

    fn close(&mut self, dense: &mut Dense, horizon: Eff, tick: Tick) {
        self.horizon = self.horizon.max(horizon);
        while let Some(start) = self.windows.range(self.closing_from..).next().map(|(start, _)| *start) {
            if Eff::bound(self.places.end(start), self.lateness) >= self.horizon {
                break;
            }
            self.closing_from = start.just_after();
            let window = self.windows.get_mut(&start).expect("a window that was just found");
            window.closed = true;
            for unit in &window.units {
                dense.sets.clear(*unit as usize);
                self.numbers.remove(self.units.get(*unit));
            }
            dense.dropped += window.units.len() as u64;
            if window.has_left {
                self.forget(dense, start, tick);
            }
        }
    }

    fn give_back(&mut self, dense: &mut Dense, tick: Tick) {
        for unit in self.gone.drain(..) {
            dense.rows.remove(unit, tick);
            let (key, _) = self.units.end(unit);
            dense.release_key(key);
        }
        dense.give_back_keys();
    }

    fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    fn windows_of_event(&self) -> usize {
        self.places.of_event()
    }

    fn next_due(&self) -> Option<Tick> {
        self.windows.range(self.leaving_from..).next().map(|(start, _)| self.leaves_at(*start))
    }

    fn due_within(&self, budget: usize, to: Tick) -> Tick {
        let mut units = 0;
        for (start, window) in self.windows.range(self.leaving_from..) {
            let tick = self.leaves_at(*start);
            units += window.units.len();
            if tick >= to || units >= budget {
                return tick.min(to);
            }
        }
        to
    }

    fn expire(&mut self, dense: &mut Dense, now: Tick) {
        while let Some(start) = self.windows.range(self.leaving_from..).next().map(|(start, _)| *start) {
            let tick = self.leaves_at(start);
            if tick > now {
                break;
            }
            self.leaving_from = start.just_after();
            let window = self.windows.get_mut(&start).expect("a window that was just found");
            window.has_left = true;
            window.units.iter().for_each(|unit| dense.rows.leave_store(*unit, tick));
            if window.closed {
                self.forget(dense, start, tick);
            }
        }
    }

    fn saved(&self, _: &Dense) -> Vec<Saved> {
        let one = |(start, window): (&EventTime, &Window)| {
            let saved = SavedWindow { first: *start, last: *start, has_left: window.has_left, closed: window.closed };
            window.units.iter().map(move |unit| (*unit, saved)).collect::<Vec<_>>()
        };
        self.windows.iter().flat_map(one).map(|(unit, saved)| (unit, self.units.get(unit).0, Some(saved))).collect()
    }

    fn load(&mut self, dense: &mut Dense, key: u32, saved: Option<SavedWindow>) -> Option<u32> {
        let saved = saved?;
        let unit = self.units.begin((key, saved.first));
        dense.make_room(self.units.bound());
        dense.hold_key(key);
        if !saved.closed {
            self.numbers.insert((key, saved.first), unit);
        }
        let SavedWindow { first: start, has_left, closed, .. } = saved;
        let window = self.windows.entry(start).or_insert_with(|| Window { has_left, closed, ..Window::default() });
        window.units.push(unit);
        // So has every older one.
        if has_left {
            self.leaving_from = self.leaving_from.max(start.just_after());
        }
        if closed {
            self.closing_from = self.closing_from.max(start.just_after());
        }
        Some(unit)
    }

    fn open_units(&self) -> u64 {
        self.numbers.len() as u64
    }
}
