//! Derived columns, rendered: they come to each row on its way to the sinks.

use std::sync::Arc;

use headwater_clocks::Tick;
use headwater_operators::exchange::{Columns, RowChanges};
use timely::dataflow::Stream;
use timely::dataflow::operators::vec::Map;

use super::group::GroupStreams;
use super::rendering::{Rendering, Wiring};
use crate::base::id::{GroupId, Id};

/// What groups have put out, with their derived columns.
pub fn render<'scope>(made: GroupStreams<'scope>, of: Rendering, wiring: &Wiring) -> GroupStreams<'scope> {
    if of.shared.opened.groups.iter().all(|group| group.derived.is_empty()) {
        return made;
    }
    let opened = of.shared.opened.clone();
    let stored = move |group| opened.graph.sinks_of(group).any(|sink| opened.job.sinks[sink].to.store().is_some());
    // What fails is counted once: where a store asks for rows, on their way there.
    let changes = derive(made.changes, of, wiring, move |group| !stored(group));
    GroupStreams { changes, rows: derive(made.rows, of, wiring, |_| true), ..made }
}

fn derive<'scope>(
    rows: Stream<'scope, Tick, Vec<RowChanges>>,
    of: Rendering,
    wiring: &Wiring,
    is_counted: impl Fn(GroupId) -> bool + 'static,
) -> Stream<'scope, Tick, Vec<RowChanges>> {
    let (opened, failures) = (Arc::clone(&of.shared.opened), wiring.derived_failures.clone());
    rows.flat_map(move |routed| {
        let id = GroupId::at(routed.of.index());
        let group = &opened.groups[id];
        if group.derived.is_empty() {
            return vec![routed];
        }
        let (parts, failed) = group.derived.add_to(&routed.columns.0, &group.shape.schema);
        if failed > 0 && is_counted(id) {
            let mut failures = failures.borrow_mut();
            failures.grow_to(opened.groups.len());
            failures[routed.of] += failed;
        }
        let of_part = |part| RowChanges { columns: Columns::from(part), ..routed };
        parts.into_iter().map(of_part).collect()
    })
}
