//! The barrier between the two sides of a run: the shadow stays behind the live dataflow, and both stop once it is near.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use headwater_clocks::{Span, Tick};
use timely::dataflow::operators::probe::Handle as ProbeHandle;

use crate::plan::side::Side;

/// A shadow that is no further behind is joined: rows stand still until it has caught up.
const NEAR: Span = Span::from_us(5_000_000);

/// How far behind the live dataflow a shadow may be in order to be joined with it.
pub fn near(tick: Span) -> Span {
    NEAR.max(tick + tick)
}

/// What the coordinators of two sides know of each other, on worker 0.
#[derive(Default)]
pub struct CatchUpBarrier {
    tick: Span,
    /// `T` of both, and up to where the shadow is finished.
    live: Cell<Option<Tick>>,
    shadow: Cell<Option<Tick>>,
    finished: RefCell<Option<ProbeHandle<Tick>>>,
    is_met: Cell<bool>,
}

impl CatchUpBarrier {
    /// `live`: `T` of the live side at the start.
    pub fn new(tick: Span, live: Option<Tick>) -> CatchUpBarrier {
        CatchUpBarrier { tick, live: Cell::new(live), ..CatchUpBarrier::default() }
    }

    /// `finished`: up to where the shadow is finished.
    pub fn watch(&self, finished: ProbeHandle<Tick>) {
        *self.finished.borrow_mut() = Some(finished);
    }

    /// Whether the shadow is so near that both stop. Once it is, it stays so.
    fn meets(&self) -> bool {
        let finished = self.finished.borrow().as_ref().and_then(|f| f.with_frontier(Tick::of_frontier));
        let finished = finished.filter(|_| self.shadow.get().is_some());
        let is_near = |(finished, live): (Tick, Tick)| finished > live - near(self.tick);
        self.is_met.set(self.is_met.get() || finished.zip(self.live.get()).is_some_and(is_near));
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
    /// Whether both stop. The live side decides, the shadow follows.
    pub fn meets(&self) -> bool {
        match self.side {
            Side::Live => self.barrier.meets(),
            Side::Shadow => self.barrier.is_met.get(),
        }
    }

    /// `T` may not pass it: the shadow stays a tick behind, so that it enters at a tick of its own. `None`: nobody knows
    /// yet where the live side is.
    pub fn t_max(&self) -> Option<Tick> {
        match self.side {
            Side::Live => Some(Tick::AFTER_ALL),
            Side::Shadow => self.barrier.live.get().map(|live| live - self.barrier.tick),
        }
    }

    /// The side has come to `t`.
    pub fn announce(&self, t: Option<Tick>) {
        let of_side = if self.side == Side::Live { &self.barrier.live } else { &self.barrier.shadow };
        of_side.set(t);
    }
}
