//! A group's rows: differential's `reduce` of its arranged events, with the accumulators as its tactic.

use std::rc::Rc;

use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::operators::reduce::{ReduceTactic, reduce_with_tactic};
use differential_dataflow::trace::{Description, Span};
use headwater_clocks::Tick;
use timely::progress::Antichain;

use crate::arrange::ArrangedMoves;
use crate::collection::{RowBatch, RowSpine, RowTrace};
use crate::control::{SharedControl, SharedState};
use crate::group::Moves;

/// The rows of a group, arranged by unit.
pub fn reduce_rows<'scope>(
    events: ArrangedMoves<'scope>,
    state: SharedState,
    control: SharedControl,
) -> Arranged<'scope, RowTrace> {
    reduce_with_tactic::<_, RowSpine, _>(events, "reduce", Accumulate { state, control })
}

struct Accumulate {
    state: SharedState,
    control: SharedControl,
}

impl ReduceTactic<Tick, Rc<Moves>, RowBatch> for Accumulate {
    fn retire(
        &mut self,
        _events: Vec<Rc<Moves>>,
        _rows: Vec<RowBatch>,
        moves: Vec<Rc<Moves>>,
        lower: &Antichain<Tick>,
        upper: &Antichain<Tick>,
        held: &Antichain<Tick>,
    ) -> (Option<Span<Tick, RowBatch>>, Antichain<Tick>) {
        assert!(moves.len() <= 1, "{} batches at once: they are done one by one", moves.len());
        let (Some(moves), Some(first)) = (moves.first(), lower.as_option()) else { return (None, Antichain::new()) };
        match self.state.borrow_mut().apply(moves, *first) {
            Ok(rows) => {
                let bounds = Description::new(lower.clone(), upper.clone(), Antichain::from_elem(Tick::BEFORE_ALL));
                (rows.map(|rows| Span::new(bounds, Some(rows))), Antichain::new())
            }
            Err(fault) => {
                self.control.borrow_mut().fault = Some(fault);
                (None, held.clone())
            }
        }
    }
}
