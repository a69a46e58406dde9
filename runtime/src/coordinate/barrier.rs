//! The barrier between the two sides of a run: what is worked out beside the rows stays behind them, and goes in when it is near.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use timely::dataflow::operators::probe::Handle as ProbeHandle;

use crate::plan::side::Side;

/// What is no further behind goes in: rows stand still until it has caught up.
const NEAR_US: i64 = 5_000_000;

/// How far behind the rows what is new may be in order to go in.
pub fn near_us(tick: i64) -> i64 {
    NEAR_US.max(tick.saturating_mul(2))
}

/// What the coordinators of two sides know of each other, on worker 0.
#[derive(Default)]
pub struct CatchUpBarrier {
    tick: i64,
    /// `T` of both, and up to where what is beside is worked out.
    shown: Cell<Option<i64>>,
    beside: Cell<Option<i64>>,
    finished: RefCell<Option<ProbeHandle<i64>>>,
    is_met: Cell<bool>,
}

impl CatchUpBarrier {
    /// `shown`: `T` of the rows at the start.
    pub fn new(tick: i64, shown: Option<i64>) -> CatchUpBarrier {
        CatchUpBarrier { tick, shown: Cell::new(shown), ..CatchUpBarrier::default() }
    }

    /// `finished`: up to where what is beside is worked out.
    pub fn watch(&self, finished: ProbeHandle<i64>) {
        *self.finished.borrow_mut() = Some(finished);
    }

    /// Whether what is beside is so near that both stop. Once it is, it stays so.
    fn meets(&self) -> bool {
        let finished = self.finished.borrow().as_ref().and_then(|f| f.with_frontier(|f| f.iter().next().copied()));
        let finished = finished.filter(|_| self.beside.get().is_some());
        let is_near = |(finished, shown): (i64, i64)| finished > shown.saturating_sub(near_us(self.tick));
        self.is_met.set(self.is_met.get() || finished.zip(self.shown.get()).is_some_and(is_near));
        self.is_met.get()
    }
}

/// One side's end of it.
#[derive(Clone)]
pub struct OfSide {
    pub side: Side,
    pub barrier: Rc<CatchUpBarrier>,
}

impl OfSide {
    /// Whether both stop. The rows decide; what is beside follows.
    pub fn meets(&self) -> bool {
        match self.side {
            Side::Shown => self.barrier.meets(),
            Side::Beside => self.barrier.is_met.get(),
        }
    }

    /// `T` may not pass it: what is beside stays a tick behind the rows, so that it enters at a tick of its own. `None`: nobody knows
    /// yet where the rows are.
    pub fn t_max(&self) -> Option<i64> {
        match self.side {
            Side::Shown => Some(i64::MAX),
            Side::Beside => self.barrier.shown.get().map(|shown| shown.saturating_sub(self.barrier.tick)),
        }
    }

    /// The side has come to `t`.
    pub fn announce(&self, t: Option<i64>) {
        let of_side = if self.side == Side::Shown { &self.barrier.shown } else { &self.barrier.beside };
        of_side.set(t);
    }
}
