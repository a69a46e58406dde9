//! A rendering's dataflow. All sources are one operator, which reads them in the order of their times; all groups are another, which share a
//! budget; views follow in the order in which they read each other. Then each sink of the graph, and the dead letters, are given what
//! their inputs have put out.

use headwater_clocks::Tick;
use headwater_connectors::sink::SinkConfig;
use headwater_operators::control::SharedState;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::worker::Worker;

use super::caught::Caught;
use super::rendering::{Rendering, Wiring};
use super::sink_rows::Stores;
use super::{caught, dead_letters, derived, earlier, group, sink_changes, sink_rows, source, view};
use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec};
use crate::catalog::graph::Kind;
use crate::coordinate::barrier::CatchUpBarrier;
use crate::coordinate::channel::CoordinatorHandle;
use crate::plan::side::Side;

/// Builds it; the probe is where everything ends.
pub fn build(
    worker: &mut Worker,
    of: Rendering,
    (wiring, coordinator): (&Wiring, &CoordinatorHandle),
    (stores, states): (&Stores, IdVec<GroupId, SharedState>),
    barrier: &CatchUpBarrier,
) -> Result<ProbeHandle<Tick>, Failure> {
    let (finished, everything) = (ProbeHandle::new(), ProbeHandle::new());
    let name = match of.side {
        Side::Live => "job",
        Side::Shadow => {
            barrier.watch(finished.clone());
            "shadow"
        }
    };
    let opened = &of.shared.opened;
    worker.dataflow_named::<Tick, _, _>(name, |scope| {
        let fed = source::render(scope, of, (wiring, coordinator), (&finished, &everything))?;
        let (made, letters, contents) = group::render(&fed, &states, (of, wiring), &finished)?;
        // Whoever catches rows works out the derived columns of those that it wants.
        let made = if of.shared.catch.is_none() { derived::render(made, of, wiring) } else { made };
        let made = view::render(made, contents, of, wiring)?;
        let catch = of.shared.catch.iter().filter(|catch| catch.what == Caught::Changes);
        let mut ends: Vec<_> =
            catch.map(|catch| caught::render(made.changes.clone(), |rows| *rows, catch.clone())).collect();
        for node in opened.graph.nodes().filter(|node| of.has(node.kind)) {
            let end = match node.kind {
                Kind::Source(_) | Kind::Group(_) | Kind::View(_) => continue,
                Kind::Sink(id) => match &opened.job.sinks[id].to {
                    SinkConfig::Changes(to) => {
                        sink_changes::render(made.changes.clone(), of, (id, to.as_ref()), wiring)?
                    }
                    SinkConfig::Rows(to) => {
                        sink_rows::render(made.rows.clone(), of, (id, to.as_ref()), stores, coordinator)
                    }
                },
                Kind::DeadLetters => dead_letters::render(letters.clone(), of, wiring)?,
            };
            ends.push(end);
        }
        earlier::render(made.kept, made.finished.clone(), of, wiring)?;
        ends.push(made.finished);
        scope.concatenate(ends).probe_with(&everything);
        Ok::<(), Failure>(())
    })?;
    Ok(everything)
}
