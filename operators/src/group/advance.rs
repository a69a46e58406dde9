//! When: the moves of the next ticks of a group, in their order. It stands in the place of an arrangement's batcher, with what that
//! lacks: a budget, and errors.

use headwater_clocks::{Eff, Tick};

use super::moves::Moves;
use super::state::State;
use crate::ledger::SegmentError;

impl State {
    /// The moves of the next ticks up to `to`, until about `budget` events have come or gone, or rows have; a tick is always in it as a
    /// whole. `None`: there are none. All that it gave before is applied. `to` never falls.
    ///
    /// # Errors
    /// A segment of the ledger could not be read.
    pub fn advance(&mut self, to: Tick, budget: usize) -> Result<Option<Moves>, SegmentError> {
        let mut moves = Moves::new(to);
        if !self.is_finished(to) {
            self.gather(budget, &mut moves)?;
            self.done = Some(moves.upto);
            moves.horizon = self.horizon(moves.upto);
        }
        let rows_wait = self.dense.rows.have_changed() || self.windows.has_gone();
        let any = moves.has_ticks() || moves.horizon.is_some() || rows_wait || self.has_due(moves.upto);
        self.busy = usize::from(any);
        Ok(any.then_some(moves))
    }

    fn is_finished(&self, to: Tick) -> bool {
        let refreshes = self.refreshed && self.floor.is_some_and(|floor| floor <= to);
        to < self.dense.sets.first_start() || self.done.is_some_and(|done| done >= to) && !refreshes
    }

    fn has_due(&self, upto: Tick) -> bool {
        self.done.is_some() && self.windows.next_due().is_some_and(|due| due <= upto)
    }

    fn gather(&mut self, budget: usize, moves: &mut Moves) -> Result<(), SegmentError> {
        self.pending.sort();
        moves.upto = self.windows.due_within(budget, moves.upto);
        loop {
            let special = self.next_special();
            let due = self.pending.next().into_iter().chain(self.ledgers.next_due());
            let Some(tick) = due.chain(special).min().filter(|tick| *tick <= moves.upto) else { return Ok(()) };
            // At a tick at which other columns are shown all before is finished.
            let ends = moves.moved >= budget || special == Some(tick);
            if let Some(last) = moves.last_tick().filter(|_| ends) {
                moves.upto = last;
                return Ok(());
            }
            if special == Some(tick) {
                moves.look_at_all = self.begin(tick);
            }
            self.gather_tick(tick, moves)?;
        }
    }

    /// The next tick at which a column set begins or enters, or every row is looked at.
    fn next_special(&self) -> Option<Tick> {
        let sets = &self.dense.sets;
        let refresh = self.floor.filter(|_| self.refreshed);
        let entering = sets.next_to_enter(self.enters_from());
        refresh.into_iter().chain(sets.next_to_begin()).chain(entering).min()
    }

    /// Whether every row may become another one at a tick.
    fn begin(&mut self, tick: Tick) -> bool {
        let enters_from = self.enters_from();
        let refreshes = self.refreshed && self.floor == Some(tick);
        self.refreshed &= !refreshes;
        self.dense.sets.begin(tick);
        self.dense.sets.enter(tick, enters_from) || refreshes
    }

    /// What grows old at a tick, and what becomes visible.
    fn gather_tick(&mut self, tick: Tick, moves: &mut Moves) -> Result<(), SegmentError> {
        self.ledgers.expire(&self.dense, tick, moves)?;
        let (sets, of_event) = (&self.dense.sets, self.windows.windows_of_event());
        self.pending.take(tick, |set, events, at| {
            moves.moved += of_event;
            moves.arrive(set, events, at);
            let (ts, accumulators) = (events.ts(at as usize), &sets.get(set).accumulators);
            let class = accumulators.class(ts, tick);
            if let Some(window) = accumulators.windows().get(class) {
                // By the tick at which it is due it must be in the ledger.
                moves.upto = moves.upto.min(Tick::leaving(ts, *window).just_before());
            }
        });
        moves.end_tick(tick);
        Ok(())
    }

    /// The newest horizon that is reached once all ticks up to `done` are finished.
    fn horizon(&mut self, done: Tick) -> Option<Eff> {
        let mut reached = None;
        while let Some((_, horizon)) = self.horizons.pop_front_if(|(t, _)| *t <= done) {
            reached = Some(horizon);
        }
        reached
    }
}
