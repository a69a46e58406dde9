//! Sinks that hold rows, rendered: the newest row of each key goes to a store, whose marks follow the frontier of all workers.

use headwater_clocks::Tick;
use headwater_connectors::sink::StoreConfig;
use headwater_operators::exchange::RowChanges;
use timely::dataflow::Stream;

use super::rendering::Rendering;
use crate::base::failure::Failure;
use crate::base::id::{IdVec, RowsId, SinkId};
use crate::catalog::graph::Kind;
use crate::coordinate::channel::CoordinatorHandle;
use crate::job::Sink;
use crate::plan::mode::Mode;
use crate::plan::side::Side;
use crate::sink::stores::{Marked, Marking, StoreHandle, mark_as_of, store_rows};

/// The stores' threads, where this worker writes to them. A store that one process has to itself is written by worker 0 alone.
pub type Stores = IdVec<SinkId, Option<StoreHandle>>;

/// Opens the stores of a rendering.
pub fn open(of: Rendering) -> Result<Stores, Failure> {
    let (shared, plan) = (of.shared, &of.shared.start.plan);
    let full_refresh = (!plan.skip_refresh).then_some(shared.fresh && shared.mode == Mode::UntilEnd);
    // Rows of groups that are still worked out stay as they were.
    let spared: Vec<RowsId> = plan.all_rows().filter(|rows| plan.side_of(*rows) == Side::Shadow).collect();
    let start = |sink| StoreHandle::start((shared.open_store)(sink)?, full_refresh, &spared, &shared.failures);
    let open = |(id, sink): (SinkId, &Sink)| match sink.to.store().filter(|_| of.has(Kind::Sink(id))) {
        Some(store) if of.peer.is_first() || !store.is_exclusive() => start(id).map(Some),
        Some(_) | None => Ok(None),
    };
    shared.opened.job.sinks.pairs().map(open).collect()
}

pub fn render<'scope>(
    rows: Stream<'scope, Tick, Vec<RowChanges>>,
    of: Rendering,
    (id, to): (SinkId, &dyn StoreConfig),
    stores: &Stores,
    coordinator: &CoordinatorHandle,
) -> Stream<'scope, Tick, Vec<()>> {
    let groups: Vec<RowsId> = of.shared.opened.graph.rows_in(id).collect();
    let by_first = to.is_exclusive();
    let owner = move |routed: &RowChanges| if by_first { 0 } else { routed.to };
    let marking = marking(of, &groups, coordinator.clone());
    let marker = stores[id].clone().filter(|_| of.peer.is_first());
    let acknowledged = store_rows(rows, stores[id].clone(), groups, owner);
    mark_as_of(acknowledged, marker, marking)
}

fn marking(of: Rendering, groups: &[RowsId], coordinator: CoordinatorHandle) -> Marking {
    let plan = &of.shared.start.plan;
    let s = |group: &RowsId| plan.s(*group).filter(|_| plan.side_of(*group) == Side::Live);
    let from = groups.iter().filter_map(|group| Some(s(group)?.max(plan.rows_from[*group]))).max();
    let marked = |group: &RowsId| {
        let untouched = plan.rows_from[*group] == Tick::BEFORE_ALL;
        let scans = plan.scans_behind(*group).into_iter().collect();
        Some(Marked { group: *group, scans, s: s(group)?, untouched })
    };
    Marking {
        tick: of.shared.opened.job.tick,
        skip_refresh: plan.skip_refresh,
        from: from.unwrap_or(Tick::AFTER_ALL),
        groups: groups.iter().filter_map(marked).collect(),
        coordinator,
    }
}
