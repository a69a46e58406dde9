//! What moves in an interval of ticks: a batch of the arrangement of a group's events.
//!
//! An event is `+1` at the tick at which it becomes visible, and moves out of each window at the tick at which it is too old for it.
//! The index of the arrangement is the ledger, and whoever reads it has accumulators of its own, so no trace keeps a batch.

use std::rc::Rc;

use headwater_clocks::{Eff, Tick};

use super::events::Events;

/// The moves of the ticks up to one, in the order of ticks: of each, first what leaves and then what comes.
pub struct Moves {
    /// All ticks up to here are in it.
    pub upto: Tick,
    /// At its first tick every row may become another one.
    pub(super) look_at_all: bool,
    /// Once its ticks are finished, no event with an `eff` before it comes any more.
    pub(super) horizon: Option<Eff>,
    ticks: Vec<End>,
    leaves: Vec<Leave>,
    /// The ledger's rows of the events that leave.
    words: Vec<u64>,
    batches: Vec<(usize, Rc<Events>)>,
    arrivals: Vec<(u32, u32)>,
    /// How many events, or rows, come and go.
    pub moved: usize,
}

struct End {
    at: Tick,
    /// Where its moves end.
    leaves: usize,
    arrivals: usize,
}

struct Leave {
    set: u32,
    window: u32,
    from: usize,
}

/// The moves of one tick.
pub(super) struct TickMoves<'a> {
    pub at: Tick,
    moves: &'a Moves,
    leaves: &'a [Leave],
    arrivals: &'a [(u32, u32)],
}

impl Moves {
    pub(super) fn new(upto: Tick) -> Moves {
        Moves {
            upto,
            look_at_all: false,
            horizon: None,
            ticks: vec![],
            leaves: vec![],
            words: vec![],
            batches: vec![],
            arrivals: vec![],
            moved: 0,
        }
    }

    pub(super) fn has_ticks(&self) -> bool {
        !self.ticks.is_empty()
    }

    /// An event leaves a window of a column set.
    #[inline]
    pub(super) fn leave(&mut self, set: usize, window: usize, row: &[u64]) {
        self.leaves.push(Leave { set: set as u32, window: window as u32, from: self.words.len() });
        self.words.extend_from_slice(row);
        self.moved += 1;
    }

    /// An event comes to a column set.
    #[inline]
    pub(super) fn arrive(&mut self, set: usize, events: &Rc<Events>, at: u32) {
        if self.batches.last().is_none_or(|(_, last)| !Rc::ptr_eq(last, events)) {
            self.batches.push((set, events.clone()));
        }
        self.arrivals.push((self.batches.len() as u32 - 1, at));
    }

    /// All moves of a tick are told.
    pub(super) fn end_tick(&mut self, at: Tick) {
        self.ticks.push(End { at, leaves: self.leaves.len(), arrivals: self.arrivals.len() });
    }

    /// The last tick in it.
    pub(super) fn last_tick(&self) -> Option<Tick> {
        self.ticks.last().map(|tick| tick.at)
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = TickMoves<'_>> {
        let (mut leaves, mut arrivals) = (0, 0);
        self.ticks.iter().map(move |tick| {
            let of_tick = TickMoves {
                at: tick.at,
                moves: self,
                leaves: &self.leaves[leaves..tick.leaves],
                arrivals: &self.arrivals[arrivals..tick.arrivals],
            };
            (leaves, arrivals) = (tick.leaves, tick.arrivals);
            of_tick
        })
    }
}

impl<'a> TickMoves<'a> {
    /// What leaves: the column set, its window, and the ledger's row with whatever follows it.
    pub fn leaves(&self) -> impl Iterator<Item = (usize, usize, &'a [u64])> {
        let words = &self.moves.words;
        self.leaves.iter().map(|leave| (leave.set as usize, leave.window as usize, &words[leave.from..]))
    }

    /// What comes: the column set, and the event.
    pub fn arrivals(&self) -> impl Iterator<Item = (usize, &'a Events, usize)> {
        let batches = &self.moves.batches;
        self.arrivals.iter().map(|(batch, at)| {
            let (set, events) = &batches[*batch as usize];
            (*set, &**events, *at as usize)
        })
    }
}
