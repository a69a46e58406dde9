//! What: moves go into the accumulators, and each unit that is touched has another row at the end of the tick.

use headwater_clocks::Tick;

use super::moves::{Moves, TickMoves};
use super::state::State;
use super::windows::Room;
use crate::collection::RowBatch;
use crate::ledger::SegmentError;

impl State {
    /// Does what `advance` gave, and tells what becomes of the rows; `None`: nothing. All who read rows have read what it told before.
    /// `lower`: the first time of the differences.
    ///
    /// # Errors
    /// A segment of the ledger could not be written.
    pub fn apply(&mut self, moves: &Moves, lower: Tick) -> Result<Option<RowBatch>, SegmentError> {
        // What was loaded comes before everything.
        self.dense.rows.settle();
        self.windows.give_back(&mut self.dense, lower);
        if moves.look_at_all {
            self.look_at_all();
        }
        for tick in moves.ticks() {
            self.leave_store(tick.at);
            self.take(&tick)?;
            self.finish(tick.at);
        }
        if self.done.is_some() {
            self.leave_store(moves.upto);
        }
        // What closes below keeps nothing to make a row of.
        self.dense.make_all();
        if let Some(horizon) = moves.horizon {
            self.windows.close(&mut self.dense, horizon, moves.upto);
        }
        let rows = self.dense.rows.take();
        self.is_done(rows.is_some());
        Ok(rows)
    }

    /// Every key's row may have become another. Units of other groups are touched when they get something.
    fn look_at_all(&mut self) {
        if !self.windowed {
            self.dense.keys.numbers().for_each(|key| self.dense.touched.add(key, false));
        }
    }

    /// Rows of windows leave the store up to a tick.
    fn leave_store(&mut self, upto: Tick) {
        while let Some(due) = self.windows.next_due().filter(|due| *due <= upto) {
            self.windows.expire(&mut self.dense, due);
            self.settle(due);
        }
    }

    /// What grows old goes, and what becomes visible comes.
    fn take(&mut self, tick: &TickMoves) -> Result<(), SegmentError> {
        self.look_ahead(tick);
        for (set, window, row) in tick.leaves() {
            let unit = row[1] as u32;
            let sure = self.dense.sets.sure().of_leave(window) && !self.dense.arriving.has(unit);
            self.dense.touch(unit, sure);
            self.dense.sets.get_mut(set).accumulators.leave(window, row);
        }
        self.dense.arriving.clear();
        for (set, events, at) in tick.arrivals() {
            let mut room = Room { dense: &mut self.dense, ledgers: &mut self.ledgers, set };
            self.windows.arrive(&mut room, events, at, tick.at)?;
        }
        Ok(())
    }

    /// Where events come to a unit and others leave it, its counts may be what they were.
    fn look_ahead(&mut self, tick: &TickMoves) {
        if !self.windowed && self.dense.sets.sure().any() && tick.leaves().next().is_some() {
            for (_, events, at) in tick.arrivals() {
                if let Some(unit) = self.dense.keys.find(events.keys.value(at)) {
                    self.dense.arriving.add(unit, false);
                }
            }
        }
    }

    /// Publishes the rows of all touched units.
    fn finish(&mut self, tick: Tick) {
        let dense = &mut self.dense;
        let unseen = !self.windowed && !self.fresh && self.floor.is_some_and(|floor| tick < floor);
        for (unit, sure) in dense.touched.take() {
            if unseen {
                dense.sets.forget(unit as usize, tick);
                dense.rows.is_unseen(unit);
            } else {
                self.windows.finish(dense, unit, (tick, sure));
            }
        }
        self.settle(tick);
    }

    fn settle(&mut self, tick: Tick) {
        if tick >= self.every_tick_from() {
            self.dense.make_all();
            self.dense.rows.settle();
        }
    }
}
