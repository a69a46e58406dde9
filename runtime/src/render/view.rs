//! Views, rendered: each from the rows of what it reads to rows of its own, which sinks read as they do a group's.
//!
//! ```text
//! contents of groups, tables, views --> nodes of the query --> published: a row a key --> changelog, newest, contents
//! ```
//!
//! A view is computed anew by each start. A checkpoint has only when its rows changed last.

use std::cell::RefCell;
use std::rc::Rc;

use headwater_clocks::Tick;
use headwater_expression::Expression;
use headwater_expression::relation::column;
use headwater_operators::collection::Reset;
use headwater_operators::exchange::RowChanges;
use headwater_operators::group::Piece;
use headwater_operators::ledger::SegmentError;
use headwater_operators::operator::{ReadAs, read_rows};
use headwater_operators::relational::published::{Begins, Published, Save, Wanted, publish};
use headwater_operators::relational::{Changed, Keyed};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::Operator;

use super::earlier::KeptRows;
use super::group::GroupStreams;
use super::links;
use super::nodes::{self, Contents, Nodes};
use super::rendering::{Rendering, ViewCounts, Wiring};
use crate::base::failure::Failure;
use crate::base::id::{Id, ViewId};
use crate::catalog::graph::Kind;
use crate::checkpoint;
use crate::observe::status::ProcessStatus;
use crate::plan::mode::Mode;
use crate::plan::side::Side;
use crate::plan::view::PlannedView;

/// What groups and views have put out. `tables`: what tables hold, where views read that.
pub fn render<'scope>(
    made: GroupStreams<'scope>,
    tables: Option<Contents<'scope>>,
    of: Rendering,
    wiring: &Wiring,
) -> Result<GroupStreams<'scope>, Failure> {
    let (opened, plan) = (&of.shared.opened, &of.shared.start.plan);
    let is_here = |view: &ViewId| of.side == Side::Live && plan.side_of(opened.job.rows_of(*view)) == Side::Live;
    let views =
        opened.graph.nodes().filter_map(|node| if let Kind::View(view) = node.kind { Some(view) } else { None });
    let views: Vec<ViewId> = views.filter(is_here).collect();
    if views.is_empty() {
        return Ok(made);
    }
    wiring.checkpoint.borrow_mut().others += views.len();
    let GroupStreams { mut changes, mut rows, mut contents, mut finished, mut kept } = made;
    let scope = changes.scope();
    let here = scope.index() as u64;
    for view in views {
        let id = opened.job.rows_of(view);
        let counts: ViewCounts = (Rc::new(RefCell::new(published(of, view)?)), Rc::default(), Rc::default());
        let keyed = keyed(of, wiring, view, (&contents, tables.as_ref()), &counts)?;
        let state = counts.0.clone();
        let (arranged, activator) = publish(keyed, state.clone(), (wanted(wiring), save(of, wiring, view)));
        wiring.to_wake.borrow_mut().push(Rc::new(activator));
        wiring.views.borrow_mut().push((id, counts));
        if opened.job.history_of(id).is_some() {
            kept.push(KeptRows { rows: (id, arranged.clone()), state: state.clone() });
        }
        let read = |to, told: ReadAs| {
            let (stream, activator) = read_rows(arranged.clone(), (to, id), state.clone(), told);
            wiring.to_wake.borrow_mut().push(Rc::new(activator));
            stream
        };
        if of.tells_changes(id) {
            let changelog = state.borrow().changelog();
            changes = scope.concatenate([changes, read(0, ReadAs::Changes(changelog))]);
        }
        if opened.graph.sinks_of(id).any(|sink| opened.job.sinks[sink].to.store().is_some()) {
            let newest = state.borrow().newest(plan.rows_from[id], plan.skip_refresh);
            rows = scope.concatenate([rows, read(here, ReadAs::Newest(newest, wiring.windows.clone()))]);
        }
        if opened.graph.is_viewed(Kind::View(view)) {
            let shared = state.borrow().contents();
            contents = scope.concatenate([contents, read(here, ReadAs::Contents(shared))]);
        }
        type Nothing = CapacityContainerBuilder<Vec<()>>;
        let done = arranged
            .stream
            .unary::<Nothing, _, _, _>(Pipeline, "finished", |_, _| |input, _| input.for_each(|_, _| ()));
        finished = scope.concatenate([finished, done]);
    }
    Ok(GroupStreams { changes, rows, contents, finished, kept })
}

/// The rows of a view's query, each with its key. One whose key has a null is not the view's.
fn keyed<'scope>(
    of: Rendering,
    wiring: &Wiring,
    view: ViewId,
    (rows, tables): (&Stream<'scope, Tick, Vec<RowChanges>>, Option<&Contents<'scope>>),
    (_, unfit, crowded): &ViewCounts,
) -> Result<Keyed<'scope>, Failure> {
    let (shared, opened) = (of.shared, &of.shared.opened);
    let (open, id) = (&opened.views[view], opened.job.rows_of(view));
    let failures = wiring.derived_failures.clone();
    let count = opened.job.all_rows().count();
    let failed: nodes::Failed = Rc::new(move |rows| {
        if rows > 0 {
            let mut failures = failures.borrow_mut();
            failures.grow_to(count);
            failures[id] += rows;
        }
    });
    let scan = |table| shared.start.plan.first_scan(table);
    let nodes = Nodes { opened, reads: &open.reads, rows, tables, scan: &scan, failed, unfit: unfit.clone() };
    let made = nodes.render(&open.query.node)?;
    if let Some(open) = &open.links {
        return links::render(made, open, crowded);
    }
    let columns: Vec<Expression> = open.columns.iter().map(|at| column(*at, &made.types)).collect();
    let (key, values) = columns.split_at(open.shape.keys);
    nodes.known(made, (key, values))
}

/// What is kept of a view on this worker.
fn published(of: Rendering, view: ViewId) -> Result<Published, Failure> {
    let (opened, plan) = (&of.shared.opened, &of.shared.start.plan);
    let (id, shape) = (opened.job.rows_of(view), &opened.views[view].shape);
    let begins = begins(of, view);
    let changed = match begins {
        Begins::After(_) => changed(of, view)?,
        Begins::At(_) => Changed::default(),
    };
    let reset = plan.floor.filter(|_| plan.changelog_reset).map(|floor| Reset { at: floor, all: true });
    let failed = |e| Failure::Running(format!("rows of {}: {e}", opened.job.name_of(id)));
    Published::new(shape.schema.clone(), shape.keys, (begins, changed), reset).map_err(failed)
}

/// When its rows begin to be told: at its `S`, and where it is new in a job that goes on, behind all that was published.
fn begins(of: Rendering, view: ViewId) -> Begins {
    let (opened, plan) = (&of.shared.opened, &of.shared.start.plan);
    let s = plan.s(opened.job.rows_of(view)).unwrap_or(Tick::AFTER_ALL);
    match plan.floor {
        None => Begins::At(s),
        Some(floor) if plan.views[view].saved && s <= floor => Begins::After(floor),
        Some(floor) if of.shared.mode == Mode::Follow => Begins::At(s.max(floor + opened.job.tick)),
        Some(floor) => Begins::At(s.max(floor)),
    }
}

/// When the rows of a view had changed last at the checkpoint that the run goes on from.
fn changed(of: Rendering, view: ViewId) -> Result<Changed, Failure> {
    let Rendering { shared, peer, .. } = of;
    let mut changed = Changed::default();
    let Some(manifest) = shared.start.manifest() else { return Ok(changed) };
    let name = &shared.opened.job.views[view].name;
    let Some(before) = manifest.plan.views.find(|before: &PlannedView| before.name == *name) else {
        return Ok(changed);
    };
    checkpoint::lookups::read(&shared.state, manifest, Piece::Changed, |of, batch| {
        if of != before.number() {
            return Ok(());
        }
        changed
            .load(batch, |key: &[u8]| peer.owns(key))
            .map_err(|e| Failure::Running(format!("what a checkpoint has of a view: {e}")))
    })?;
    Ok(changed)
}

/// The checkpoint in which it is to be.
fn wanted(wiring: &Wiring) -> Wanted {
    let checkpoint = wiring.checkpoint.clone();
    Box::new(move || checkpoint.borrow().wanted)
}

/// Writes this worker's file of a checkpoint.
fn save(of: Rendering, wiring: &Wiring, view: ViewId) -> Save {
    let (checkpoint, windows) = (wiring.checkpoint.clone(), wiring.windows.clone());
    let (store, of) = (of.shared.state.clone(), of.peer.of_files());
    Box::new(move |number, batch| {
        let all = [((Piece::Changed, view.number()), batch.clone())];
        match checkpoint::lookups::write(&store, number, of, all) {
            Ok(files) => checkpoint.borrow_mut().wrote_other(number, files),
            Err(failure) => windows.borrow_mut().fault = Some(SegmentError(failure.message())),
        }
    })
}

/// Tells what views count.
pub fn note_counters(status: &mut ProcessStatus, wiring: &Wiring) {
    for (id, (rows, unfit, crowded)) in wiring.views.borrow().iter() {
        if let Some(group) = status.groups.get_mut(Id::index(*id)) {
            (group.counts.rows, group.counts.changes) = rows.borrow().counts();
            group.counts.keys = group.counts.rows;
            group.counts.unfit_sums = *unfit.borrow();
            group.crowded = crowded.get().unsigned_abs();
        }
    }
}
