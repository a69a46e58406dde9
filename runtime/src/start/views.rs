//! The views of a plan. What a checkpoint has of one counts as long as its rows mean the same.

use std::collections::BTreeSet;

use super::meaning::{of_query, of_rows};
use crate::base::id::{IdVec, ScanId, ViewId};
use crate::catalog::graph::Kind;
use crate::catalog::opened::Opened;
use crate::plan::Plan;
use crate::plan::view::PlannedView;

/// The views of a job. `old`: the plan of the checkpoint that the start goes on from.
pub fn planned(opened: &Opened, plan: &Plan, old: Option<&Plan>) -> IdVec<ViewId, PlannedView> {
    let one = |view: ViewId| {
        let identity = hashed(&of_rows(plan, opened, opened.job.rows_of(view)));
        let query = hashed(&of_query(opened, view));
        let name = opened.job.views[view].name.clone();
        let is_it = |other: &&PlannedView| other.saved && other.name == name && other.identity == identity;
        let saved = old.is_some_and(|old| old.views.iter().any(|other| is_it(&other)));
        PlannedView { scans: scans(opened, plan, view), saved, name, query, identity }
    };
    opened.views.ids().map(one).collect()
}

/// Whether the views of a job are those of a plan. What they read is compared apart.
pub fn are_same(old: &Plan, opened: &Opened) -> bool {
    let queries = || opened.views.ids().map(|view| hashed(&of_query(opened, view)));
    old.views.iter().map(|view| view.query.clone()).eq(queries())
}

fn hashed(text: &str) -> String {
    format!("{:016x}", headwater_operators::keys::hash(text.as_bytes()))
}

/// All that the rows of a view are made of.
fn scans(opened: &Opened, plan: &Plan, view: ViewId) -> Vec<ScanId> {
    let mut scans = BTreeSet::new();
    for kind in opened.graph.behind(view) {
        match kind {
            Kind::Group(group) => scans.extend(plan.groups[group].first().scans.iter().copied()),
            Kind::Source(table) => _ = scans.insert(plan.first_scan(table)),
            Kind::View(_) | Kind::Sink(_) | Kind::DeadLetters => {}
        }
    }
    scans.into_iter().collect()
}
