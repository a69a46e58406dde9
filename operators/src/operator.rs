//! The operator `windows`: events of all groups in, changes and newest rows out, as far as the input's frontier allows.
//!
//! Dataflow time is the tick: a frontier of `f` says that every event with `_visible < f` is here, so ticks before `f` can
//! be finished. Work is budgeted: a backlog is drained in tick order, a piece at each activation, and the output's frontier
//! tells how far it is. After the last event values still fall, so the operator follows the frontier and not the events.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::exchange::{Columns, Routed};
use crate::group::{Counters, State};
use crate::ledger::SegmentError;

/// Events that may come and go in one activation.
const BUDGET_EVENTS: usize = 20_000;

/// When rows are held back, how soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What the operator shows of itself while it runs.
#[derive(Default)]
pub struct Watch {
    /// By group, of this worker.
    pub counters: Vec<Counters>,
    /// What ended the operator: its frontiers stand from then on.
    pub fault: Option<SegmentError>,
    /// Whether whatever takes the rows has enough of them for now: then ticks wait.
    pub hold: Option<Box<dyn Fn() -> bool>>,
    /// The last tick of the run, once it is known: by then every group's rows have been asked for.
    pub rows_by: Option<i64>,
    /// From this tick on every row is given once more.
    pub image_from: Option<i64>,
    /// (group, t, horizon): see `State::close_after`. Put here before the frontier passes `t`.
    pub horizons: Vec<(usize, i64, i64)>,
    /// Checkpoints to be taken: (number, t). Put here before the frontier passes `t`, where the operator stands until it is saved.
    pub checkpoints: VecDeque<(u64, i64)>,
    /// Takes a checkpoint of all groups.
    pub save: Option<Save>,
}

/// Is given (number, t, states by group): all ticks up to `t` are finished and told.
pub type Save = Box<dyn FnMut(u64, i64, &mut [State]) -> Result<(), SegmentError>>;

/// The operator's outputs. A frontier of `f` says that the ticks before `f` are finished.
pub struct Outputs<'scope> {
    /// Every change at every tick, for changelogs, addressed to worker 0.
    pub changes: Stream<'scope, i64, Vec<Routed>>,
    /// Newest rows for stores, left where they are.
    pub rows: Stream<'scope, i64, Vec<Routed>>,
    /// Wakes the operator, for whoever lets go of `hold`.
    pub activator: Activator,
}

/// Events go to the worker that they are addressed to (see `events::split`); an event travels at a time no later than its
/// `_visible`. `states`: of this worker, by group. Keep the input open until the outputs have passed the last tick: when its
/// frontier is empty, what is not finished is left.
pub fn windows<'scope>(
    events: Stream<'scope, i64, Vec<Routed>>,
    mut states: Vec<State>,
    watch: Rc<RefCell<Watch>>,
) -> Outputs<'scope> {
    let scope = events.scope();
    let here = scope.index() as u64;
    let mut builder = OperatorBuilder::new("windows".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let again = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(events, Exchange::new(|routed: &Routed| routed.to));
    let (changes, changes_stream) = builder.new_output();
    let (rows, rows_stream) = builder.new_output();
    let (mut changes, mut rows) = (OutputBuilder::from(changes), OutputBuilder::from(rows));
    builder.build(move |mut capabilities| {
        move |frontiers| {
            let failed = |watch: &RefCell<Watch>, fault| watch.borrow_mut().fault = Some(fault);
            if watch.borrow().fault.is_some() {
                return;
            }
            let mut inserted = Ok(());
            input.for_each_stamp(|sent, batches| {
                for routed in batches.flat_map(|batch| batch.drain(..)) {
                    if inserted.is_ok() {
                        let sent = sent.least().copied().unwrap_or(i64::MIN);
                        let state = &mut states[routed.group as usize];
                        inserted = state.insert_into(routed.part as usize, &routed.columns.0, sent);
                    }
                }
            });
            if let Err(fault) = inserted {
                return failed(&watch, fault);
            }
            let frontier = frontiers[0].frontier().iter().next().copied();
            let Some(frontier) = frontier else {
                capabilities.clear();
                return;
            };
            if watch.borrow().hold.as_ref().is_some_and(|hold| hold()) {
                again.activate_after(LOOK_AGAIN);
                return;
            }
            let rows_by = watch.borrow().rows_by.unwrap_or(i64::MAX);
            if let Some(from) = watch.borrow_mut().image_from.take() {
                states.iter_mut().for_each(|state| state.begin_image(from));
            }
            for (group, t, horizon) in watch.borrow_mut().horizons.drain(..) {
                states[group].close_after(t, horizon);
            }
            let upto = frontier.saturating_sub(1);
            let checkpoint = watch.borrow().checkpoints.front().copied();
            let target = checkpoint.map_or(upto, |(_, t)| upto.min(t));
            let reached = match advance(&mut states, target) {
                Ok(reached) => reached,
                Err(fault) => return failed(&watch, fault),
            };
            for (group, state) in (0..).zip(&mut states) {
                if let Some(batch) = state.take_changes() {
                    let routed = Routed { to: 0, group, part: 0, columns: Columns::from(batch) };
                    changes.activate().session(&capabilities[0]).give(routed);
                }
                if let Some(batch) = state.take_rows(rows_by) {
                    let routed = Routed { to: here, group, part: 0, columns: Columns::from(batch) };
                    rows.activate().session(&capabilities[1]).give(routed);
                }
            }
            if let Some((number, t)) = checkpoint.filter(|(_, t)| *t <= reached) {
                if let Err(fault) = save(&mut states, &watch, number, t) {
                    return failed(&watch, fault);
                }
                watch.borrow_mut().checkpoints.pop_front();
                again.activate();
            }
            watch.borrow_mut().counters = states.iter().map(State::counters).collect();
            let next = reached.saturating_add(1);
            capabilities.iter_mut().filter(|c| *c.time() < next).for_each(|c| c.downgrade(&next));
            if reached < target {
                again.activate();
            }
        }
    });
    Outputs { changes: changes_stream, rows: rows_stream, activator }
}

/// Finishes ticks up to `target`, as far as the budget goes. The group that is behind goes first and the others no further than
/// it, so that a backlog is drained side by side.
fn advance(states: &mut [State], target: i64) -> Result<i64, SegmentError> {
    let mut order: Vec<usize> = (0..states.len()).collect();
    order.sort_by_key(|group| states[*group].done());
    order.into_iter().try_fold(target, |reached, group| states[group].advance(reached, BUDGET_EVENTS))
}

/// Saves every group, once all ticks up to `t` are finished and told.
fn save(states: &mut [State], watch: &RefCell<Watch>, number: u64, t: i64) -> Result<(), SegmentError> {
    let Some(mut save) = watch.borrow_mut().save.take() else { return Ok(()) };
    save(number, t, states)?;
    watch.borrow_mut().save = Some(save);
    Ok(())
}
