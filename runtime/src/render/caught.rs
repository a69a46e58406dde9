//! What a replay is made for, rendered: changes of rows, or the events that they are made of, are handed to whoever wants them, on the
//! worker that has them. No result depends on the order in which workers do so.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use headwater_clocks::Tick;
use headwater_operators::exchange::Routed;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::base::id::RowsId;

/// Is given what is caught, on any worker; it may hold that up.
pub type Catcher = Arc<dyn Fn(RowsId, &RecordBatch) + Send + Sync>;

/// What is caught, in the place of sinks and dead letters.
#[derive(Clone)]
pub struct Catch {
    pub what: Caught,
    /// Of groups, and behind them views.
    pub of: BTreeSet<RowsId>,
    pub to: Catcher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// Every change of their rows at every tick, without derived columns (see `changes` of `operators`); those of a key in the order of ticks.
    Changes,
    /// Events as they come and are taken back (see `events` of `operators`).
    Events,
}

/// What comes by, `whose` it is by what a message is of, where somebody wants it. Nothing is left of it but how far it is.
pub fn render<'scope, Of: Clone + 'static>(
    stream: Stream<'scope, Tick, Vec<Routed<Of>>>,
    whose: impl Fn(&Of) -> RowsId + 'static,
    catch: Catch,
) -> Stream<'scope, Tick, Vec<()>> {
    stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "caught", move |_, _| {
        move |input, _| {
            input.for_each(|_, batches| {
                for routed in batches.drain(..) {
                    let id = whose(&routed.of);
                    if catch.of.contains(&id) {
                        (catch.to)(id, &routed.columns.0);
                    }
                }
            });
        }
    })
}
