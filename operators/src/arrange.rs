//! Events of all groups, arranged: each group's moves, as differential's `arrange` gives the batches of its batcher, but with a budget.
//!
//! Dataflow time is the tick: a frontier of `f` says that every event with `_visible < f` is here, so ticks before `f` can
//! be finished. A backlog is drained in tick order, so many moves at each activation, all groups side by side, and the output's frontier
//! tells how far it is. After the last event values still fall, so it follows the frontier and not the events.
//!
//! Its batches' bounds lie where the budget ends, on each worker elsewhere. One is done and read before the next is made.

use std::rc::Rc;
use std::time::Duration;

use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::trace::{Description, Span, TraceReader};
use headwater_clocks::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;
use timely::scheduling::Activator;

use crate::control::{SharedControl, SharedState};
use crate::exchange::Events;
use crate::group::Moves;
use crate::id::{GroupId, Id};
use crate::ledger::SegmentError;

/// Events that may come and go in one activation.
const BUDGET_EVENTS: usize = 20_000;

/// When rows are held back, how soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

type MovesSpan = Span<Tick, Rc<Moves>>;
type Output = OutputBuilder<Tick, CapacityContainerBuilder<Vec<MovesSpan>>>;

/// The arranged events of a group.
pub type ArrangedMoves<'scope> = Arranged<'scope, Unkept>;

/// By group of some, their arranged events, and what wakes the operator. `states`: of all groups. Events go to the worker that they are addressed to (see
/// `events::split`); an event travels at a time no later than its `_visible`. Keep the input open until the outputs have passed the
/// last tick: when its frontier is empty, what is not finished is left.
pub fn arrange_events<'scope>(
    events: Stream<'scope, Tick, Vec<Events>>,
    groups: &[GroupId],
    states: &[SharedState],
    control: &SharedControl,
) -> (Vec<ArrangedMoves<'scope>>, Activator) {
    let scope = events.scope();
    let mut builder = OperatorBuilder::new("arrange".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let again = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(events, Exchange::new(|routed: &Events| routed.to));
    let (outputs, streams): (Vec<Output>, Vec<_>) = groups
        .iter()
        .map(|_| {
            let (output, stream) = builder.new_output();
            (OutputBuilder::from(output), stream)
        })
        .unzip();
    let (groups, states, control) = (groups.to_vec(), states.to_vec(), control.clone());
    control.borrow_mut().lowers.resize(states.len(), Tick::BEFORE_ALL);
    builder.build(move |capabilities| {
        let groups = outputs.into_iter().zip(capabilities).zip(groups);
        let groups = groups.map(|((output, capability), id)| Group {
            id,
            state: states[id.index()].clone(),
            output,
            lower: Tick::BEFORE_ALL,
            capability,
        });
        let mut driver = Driver { groups: groups.collect(), states, control };
        move |frontiers| {
            if driver.control.borrow().fault.is_some() {
                return;
            }
            let mut inserted = Ok(());
            // In the order in which each worker sent them: what takes an event back comes behind it.
            input.for_each(|sent, batch| {
                let sent = sent.least().copied().unwrap_or(Tick::BEFORE_ALL);
                for routed in batch.drain(..) {
                    if inserted.is_ok() {
                        let (group, set) = routed.of;
                        let mut state = driver.states[group.index()].borrow_mut();
                        inserted = state.insert(set.index(), &routed.columns.0, sent);
                    }
                }
            });
            let frontier = frontiers[0].frontier().iter().next().copied();
            let next = match (inserted, frontier) {
                (Err(fault), _) => Err(fault),
                (Ok(()), None) => return driver.groups.clear(),
                (Ok(()), Some(frontier)) => driver.step(frontier),
            };
            match next {
                Ok(Next::AtOnce) => again.activate(),
                Ok(Next::Soon) => again.activate_after(LOOK_AGAIN),
                Ok(Next::WhenTold) => {}
                Err(fault) => driver.control.borrow_mut().fault = Some(fault),
            }
        }
    });
    let arranged = streams.into_iter().map(|stream| Arranged { stream, trace: Unkept::default() });
    (arranged.collect(), activator)
}

struct Driver {
    groups: Vec<Group>,
    /// Of all groups, those that others arrange among them.
    states: Vec<SharedState>,
    control: SharedControl,
}

/// A group's side of it.
struct Group {
    id: GroupId,
    state: SharedState,
    output: Output,
    /// Where the next batch begins.
    lower: Tick,
    capability: Capability<Tick>,
}

/// When there is something to do again.
enum Next {
    AtOnce,
    Soon,
    WhenTold,
}

impl Driver {
    fn step(&mut self, frontier: Tick) -> Result<Next, SegmentError> {
        if self.groups.iter().any(|group| group.state.borrow().is_busy()) {
            return Ok(Next::AtOnce);
        }
        if self.control.borrow().hold.as_ref().is_some_and(|hold| hold()) {
            return Ok(Next::Soon);
        }
        for (group, t, horizon) in self.control.borrow_mut().horizons.drain(..) {
            self.states[group.index()].borrow_mut().close_after(t, horizon);
        }
        self.save()?;
        let checkpoint = self.control.borrow().checkpoints.front().map(|(_, t)| *t);
        // At the first time that there is nothing is finished.
        if frontier == Tick::BEFORE_ALL {
            return Ok(Next::WhenTold);
        }
        let target = checkpoint.unwrap_or(Tick::AFTER_ALL).min(frontier.just_before());
        let made = self.make(target)?;
        // Until it is saved nobody is told that the tick of a checkpoint is finished.
        self.groups.iter_mut().for_each(|group| group.pass(checkpoint.unwrap_or(Tick::AFTER_ALL)));
        self.control.borrow_mut().counters = self.states.iter().map(|state| state.borrow().counters()).collect();
        let is_behind = self.groups.iter().any(|group| group.lower <= target);
        Ok(if made || is_behind || checkpoint == Some(target) { Next::AtOnce } else { Next::WhenTold })
    }

    /// Makes the next batches up to `target`, as far as the budget goes. The group that is behind goes first and the others no further than
    /// it, so that a backlog is drained side by side. Returns whether there is any.
    fn make(&mut self, target: Tick) -> Result<bool, SegmentError> {
        let (mut made, mut reached) = (false, target);
        let mut order: Vec<&mut Group> = self.groups.iter_mut().collect();
        order.sort_by_key(|group| group.lower);
        for group in order {
            if group.lower > reached {
                continue;
            }
            let moves = group.state.borrow_mut().advance(reached, BUDGET_EVENTS)?;
            made |= moves.is_some();
            reached = moves.as_ref().map_or(reached, |moves| moves.upto);
            group.send(moves, reached.just_after());
            self.control.borrow_mut().lowers[group.id.index()] = group.lower;
        }
        Ok(made)
    }

    /// Saves every group, once all ticks up to a checkpoint are finished and told.
    fn save(&mut self) -> Result<(), SegmentError> {
        let is_idle = |state: &SharedState| !state.borrow().is_busy();
        let checkpoint = {
            let control = self.control.borrow();
            let checkpoint = control.checkpoints.front().copied();
            checkpoint.filter(|(_, t)| control.lowers.iter().all(|lower| lower > t))
        };
        let Some((number, t)) = checkpoint.filter(|_| self.states.iter().all(is_idle)) else { return Ok(()) };
        let save = self.control.borrow_mut().save.take();
        if let Some(mut save) = save {
            save(number, t, &self.states)?;
            self.control.borrow_mut().save = Some(save);
        }
        self.control.borrow_mut().checkpoints.pop_front();
        Ok(())
    }
}

impl Group {
    fn send(&mut self, moves: Option<Moves>, upper: Tick) {
        if let Some(moves) = moves {
            let bounds = [self.lower, upper, Tick::BEFORE_ALL].map(Antichain::from_elem);
            let [lower, upper, since] = bounds;
            let span = Span::new(Description::new(lower, upper, since), Some(Rc::new(moves)));
            // Each at a time of its own, so that whoever sorts by time keeps their order.
            self.output.activate().session(&self.capability.delayed(&self.lower)).give(span);
        }
        self.lower = upper;
    }

    /// Lets go of the ticks that are finished, up to one that is held.
    fn pass(&mut self, held: Tick) {
        let next = self.lower.min(held);
        if *self.capability.time() < next {
            self.capability.downgrade(&next);
        }
    }
}

/// The trace of arranged events: their index is the ledger, and what reduces them has accumulators of its own, so it keeps nothing.
pub struct Unkept([Antichain<Tick>; 2]);

impl Default for Unkept {
    fn default() -> Unkept {
        Unkept([Tick::BEFORE_ALL, Tick::BEFORE_ALL].map(Antichain::from_elem))
    }
}

impl TraceReader for Unkept {
    type Time = Tick;
    type Batch = Rc<Moves>;

    fn spans_through(&mut self, _: AntichainRef<'_, Tick>) -> Option<Vec<MovesSpan>> {
        Some(vec![])
    }

    fn set_logical_compaction(&mut self, frontier: AntichainRef<'_, Tick>) {
        self.0[0] = frontier.to_owned();
    }

    fn get_logical_compaction(&mut self) -> AntichainRef<'_, Tick> {
        self.0[0].borrow()
    }

    fn set_physical_compaction(&mut self, frontier: AntichainRef<'_, Tick>) {
        self.0[1] = frontier.to_owned();
    }

    fn get_physical_compaction(&mut self) -> AntichainRef<'_, Tick> {
        self.0[1].borrow()
    }

    fn map_spans<F: FnMut(&MovesSpan)>(&self, _: F) {}
}
