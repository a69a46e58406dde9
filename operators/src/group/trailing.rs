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

use std::cell::RefCell;
use std::rc::Rc;

use super::Shared;
use super::journal::{Journal, Journaled};
use super::parts::Parts;
use super::pending::Events;
use crate::ledger::{Ledger, SegmentError, Segments};
use crate::limits::Limits;
use crate::saved::Damaged;

pub struct Trailing {
    /// By part.
    ledgers: Vec<Ledger>,
    /// What goes into the ledgers is written down as it comes, if anybody asks for it.
    journaled: Option<Journaled>,
    journal_rows: usize,
    row: Vec<u64>,
    /// Keys whose row went. When it is certain that nothing names their number any more, it is given back.
    gone: Vec<u32>,
}

impl Trailing {
    pub fn new(tick: i64, parts: &Parts, segments: &Rc<RefCell<Box<dyn Segments>>>, limits: Limits) -> Trailing {
        let shared = Limits { ledger_bytes: limits.ledger_bytes / parts.iter().len(), ..limits };
        let ledger = |part: &super::parts::Part| {
            let (windows, lanes) = (part.accumulators.windows(), part.accumulators.lanes());
            Ledger::new(windows, lanes, tick, part.start, Box::new(segments.clone()), shared)
        };
        let ledgers = parts.iter().map(ledger).collect();
        Trailing { ledgers, journaled: None, journal_rows: limits.journal_rows, row: vec![], gone: vec![] }
    }

    pub fn next_due(&self) -> Option<i64> {
        self.ledgers.iter().filter_map(Ledger::next_due).min()
    }

    /// Nothing has left a window of a part later than at tick `done`.
    pub fn begin_at(&mut self, part: usize, done: i64) -> Result<(), SegmentError> {
        self.ledgers[part].settle(done)
    }

    pub fn keep_journal(&mut self, journal: Box<dyn Journal>) {
        self.journaled = Some(Journaled::new(journal, self.ledgers.len(), self.journal_rows));
    }

    /// Writes down what was not yet.
    pub fn write_journal(&mut self, shared: &mut Shared) -> Result<(), SegmentError> {
        let Some(journaled) = &mut self.journaled else { return Ok(()) };
        let mut ledgers = self.ledgers.iter().enumerate();
        ledgers.try_for_each(|(part, ledger)| journaled.write(shared, part, ledger))
    }

    /// Takes in rows of a saved ledger. They are in their units already.
    pub fn load(&mut self, shared: &mut Shared, part: usize, rows: &[u64], now: i64) -> Result<(), SegmentError> {
        let lanes = shared.parts.get(part).accumulators.lanes();
        rows.chunks_exact(lanes).try_for_each(|row| self.keep(shared, part, row, now))
    }

    /// A chunk of the journal of an earlier run, whose units are loaded, stays there until a window comes to it.
    pub fn freeze(&mut self, part: usize, chunk: u64, first: i64, last: i64) {
        self.ledgers[part].freeze(chunk, first, last);
    }

    /// Takes in the chunks that a tick needs; `None`: the one that the ledgers begin at.
    pub fn thaw(&mut self, shared: &mut Shared, now: Option<i64>) -> Result<(), SegmentError> {
        for (part, ledger) in self.ledgers.iter_mut().enumerate() {
            let now = now.unwrap_or(ledger.settled().0);
            while let Some(chunk) = ledger.due_chunk(now) {
                let journaled = self.journaled.as_mut().expect("what is frozen is in a journal");
                let batch = journaled.read(chunk)?;
                let accumulators = &shared.parts.get(part).accumulators;
                let rows = accumulators.unpack(&batch, &shared.keys);
                ledger.thaw(&rows.map_err(|Damaged(why)| SegmentError(why))?)?;
            }
        }
        Ok(())
    }

    /// Puts a row into a part's ledger.
    fn keep(&mut self, shared: &mut Shared, part: usize, row: &[u64], now: i64) -> Result<(), SegmentError> {
        let ledger = &mut self.ledgers[part];
        ledger.insert(row, now)?;
        match &mut self.journaled {
            Some(journaled) => journaled.note(shared, part, row, ledger),
            None => Ok(()),
        }
    }

    pub fn ledger_bytes(&self) -> u64 {
        self.ledgers.iter().map(|ledger| ledger.resident_bytes() as u64).sum()
    }

    /// What grows old by tick `now` goes. Returns how many events that were.
    pub fn expire(&mut self, shared: &mut Shared, now: i64) -> Result<usize, SegmentError> {
        self.thaw(shared, Some(now))?;
        let mut moved = 0;
        for (part, ledger) in self.ledgers.iter_mut().enumerate() {
            let accumulators = &mut shared.parts.get(part).accumulators;
            ledger.expire(now, |window, row| {
                accumulators.leave(window, row);
                shared.touched.add(row[1] as u32);
                moved += 1;
            })?;
            ledger.settle(now)?;
        }
        Ok(moved)
    }

    pub fn arrive(
        &mut self,
        shared: &mut Shared,
        part: usize,
        events: &Events,
        at: usize,
        now: i64,
    ) -> Result<(), SegmentError> {
        let Some((key, class)) = place(shared, part, events, at, now) else { return Ok(()) };
        let accumulators = &mut shared.parts.get(part).accumulators;
        accumulators.ledger_row(key, events.ts.value(at), &events.inputs, at, &mut self.row);
        accumulators.arrive(class, now, &mut self.row, &events.inputs, at);
        shared.touched.add(key);
        // The ledger keeps an event as long as some finite window holds it.
        if class == accumulators.windows().len() {
            return Ok(());
        }
        let row = std::mem::take(&mut self.row);
        let kept = self.keep(shared, part, &row, now);
        self.row = row;
        kept
    }

    /// Takes in events of the history. No tick comes between them, so each key's are taken together: its accumulators are
    /// fetched into the cache once a batch.
    pub fn arrive_at_start(
        &mut self,
        shared: &mut Shared,
        part: usize,
        events: &Events,
        rows: &[u32],
    ) -> Result<(), SegmentError> {
        let (lanes, start) = (shared.parts.get(part).accumulators.lanes(), shared.parts.start(part));
        let mut ledger_rows: Vec<u64> = Vec::with_capacity(rows.len() * lanes);
        let mut order: Vec<(u32, u32, u32)> = Vec::with_capacity(rows.len());
        for at in rows {
            let Some((key, _)) = place(shared, part, events, *at as usize, start) else { continue };
            let ts = events.ts.value(*at as usize);
            shared.parts.get(part).accumulators.ledger_row(key, ts, &events.inputs, *at as usize, &mut self.row);
            order.push((key, (ledger_rows.len() / lanes) as u32, *at));
            ledger_rows.extend_from_slice(&self.row);
        }
        order.sort_unstable();
        let accumulators = &mut shared.parts.get(part).accumulators;
        for (_, number, at) in order {
            let row = &mut ledger_rows[number as usize * lanes..][..lanes];
            let class = accumulators.class(row[0] as i64, start);
            accumulators.arrive(class, start, row, &events.inputs, at as usize);
        }
        let finite = accumulators.windows().len();
        let inside =
            |row: &[u64], shared: &mut Shared| shared.parts.get(part).accumulators.class(row[0] as i64, start) < finite;
        let mut rows = ledger_rows.chunks_exact(lanes);
        rows.try_for_each(|row| if inside(row, shared) { self.keep(shared, part, row, start) } else { Ok(()) })
    }

    /// Publishes a key's row.
    pub fn finish(&mut self, shared: &mut Shared, key: u32, tick: i64) {
        let there = shared.parts.is_shown(key as usize);
        shared.parts.forget(key as usize, tick);
        if !there {
            self.gone.push(key);
            return shared.published.publish(key, None, tick);
        }
        shared.publish(key, key, None, true, tick);
    }

    /// Gives back the numbers of keys that went and did not come again. No change names them any more.
    pub fn give_back(&mut self, shared: &mut Shared) {
        self.gone.sort_unstable();
        self.gone.dedup();
        for key in self.gone.drain(..) {
            if !shared.parts.is_there(key as usize) {
                shared.parts.clear(key as usize);
                shared.keys.free(key);
                shared.dropped += 1;
            }
        }
    }
}

/// An event's key and age class; `None` where it is too old for every window.
fn place(shared: &mut Shared, part: usize, events: &Events, at: usize, now: i64) -> Option<(u32, usize)> {
    let accumulators = &shared.parts.get(part).accumulators;
    let class = accumulators.class(events.ts.value(at), now);
    if class == accumulators.windows().len() && !accumulators.all() {
        shared.too_old += 1;
        return None;
    }
    let key = shared.keys.intern(events.keys.value(at));
    shared.make_room(shared.keys.bound());
    Some((key, class))
}
