//! The operators of a worker's groups: events of all groups in, rows out, as far as the input's frontier allows.
//!
//! ```text
//! events --> arrange --> group 0: reduce --> rows, arranged --> changelog, newest, contents
//!                  '---> group 1: reduce --> rows, arranged --> changelog, newest, contents
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::trace::TraceReader;
use headwater_clocks::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{Operator, OutputBuilder};
use timely::dataflow::operators::{Capability, Concatenate};
use timely::dataflow::{Scope, Stream};
use timely::progress::Antichain;
use timely::scheduling::Activator;

use crate::arrange::arrange_events;
use crate::collection::{Changelog, Contents, Newest, Readable, RowReader, RowTrace};
use crate::control::{SharedControl, SharedState};
use crate::exchange::{Columns, Events, RowChanges};
use crate::id::{GroupId, Id, RowsId};
use crate::reduce::reduce_rows;

/// The operators' outputs. A frontier of `f` says that the ticks before `f` are finished.
pub struct Outputs<'scope> {
    /// Every change at every tick, of the groups that a changelog asks for, addressed to worker 0.
    pub changes: Stream<'scope, Tick, Vec<RowChanges>>,
    /// Newest rows, of the groups that a store asks for, left where they are.
    pub rows: Stream<'scope, Tick, Vec<RowChanges>>,
    /// What stores have, at every tick, of the groups on which something is built, left where it is.
    pub contents: Stream<'scope, Tick, Vec<RowChanges>>,
    /// Nothing: it follows all groups.
    pub finished: Stream<'scope, Tick, Vec<()>>,
    /// Wake the operators, for whoever tells them something.
    pub activators: Vec<Rc<Activator>>,
}

/// Rows, arranged by unit, and what they are of.
pub type RowsOf<'scope, Of = GroupId> = (Of, Arranged<'scope, RowTrace>);

/// See `arrange::arrange_events`. `states`: of this worker, by group; everything is loaded.
pub fn windows<'scope>(
    events: Stream<'scope, Tick, Vec<Events>>,
    states: &[SharedState],
    control: &SharedControl,
) -> Outputs<'scope> {
    let groups: Vec<GroupId> = (0..states.len()).map(GroupId::at).collect();
    let (scope, (rows, activator)) = (events.scope(), rows(events, &groups, states, control));
    let mut out = outputs(scope, &rows, states, control);
    out.activators.push(activator);
    out
}

/// The rows of some groups, of all that there are, and what wakes their operator. A group's rows may be read while others are still to be
/// made of them.
pub fn rows<'scope>(
    events: Stream<'scope, Tick, Vec<Events>>,
    groups: &[GroupId],
    states: &[SharedState],
    control: &SharedControl,
) -> (Vec<RowsOf<'scope>>, Rc<Activator>) {
    let (arranged, activator) = arrange_events(events, groups, states, control);
    let reduced = groups
        .iter()
        .zip(arranged)
        .map(|(group, events)| (*group, reduce_rows(events, states[group.index()].clone(), control.clone())));
    (reduced.collect(), Rc::new(activator))
}

/// What sinks are told of the rows of all groups.
pub fn outputs<'scope>(
    scope: Scope<'scope, Tick>,
    rows: &[RowsOf<'scope>],
    states: &[SharedState],
    control: &SharedControl,
) -> Outputs<'scope> {
    let here = scope.index() as u64;
    let (mut changes, mut newest, mut contents, mut finished) = (vec![], vec![], vec![], vec![]);
    let mut activators = vec![];
    for (group, rows) in rows {
        let state = &states[group.index()];
        let (changelog, store) = (state.borrow().changelog(), state.borrow().newest());
        let shared = state.borrow().contents();
        let mut read = |to, told: ReadAs| {
            let (stream, activator) = read_rows(rows.clone(), (to, RowsId::from(*group)), state.clone(), told);
            activators.push(activator);
            stream
        };
        changes.extend(changelog.map(|changelog| read(0, ReadAs::Changes(changelog))));
        newest.extend(store.map(|store| read(here, ReadAs::Newest(store, control.clone()))));
        contents.extend(shared.map(|shared| read(here, ReadAs::Contents(shared))));
        let rows = rows.stream.clone();
        finished.push(rows.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "finished", |_, _| {
            |input, _| input.for_each(|_, _| ())
        }));
    }
    Outputs {
        changes: scope.concatenate(changes),
        rows: scope.concatenate(newest),
        contents: scope.concatenate(contents),
        finished: scope.concatenate(finished),
        activators: activators.into_iter().map(Rc::new).collect(),
    }
}

/// What is told of rows.
pub enum ReadAs {
    /// To a changelog.
    Changes(Changelog),
    /// To a store, which asks for them.
    Newest(Newest, SharedControl),
    /// To what is built on them.
    Contents(Contents),
}

impl ReadAs {
    fn name(&self) -> &'static str {
        match self {
            ReadAs::Changes(_) => "changelog",
            ReadAs::Newest(..) => "newest",
            ReadAs::Contents(_) => "contents",
        }
    }

    /// Hears what stores have asked for.
    fn reader(&mut self) -> &mut dyn RowReader {
        match self {
            ReadAs::Changes(changelog) => changelog,
            ReadAs::Contents(contents) => contents,
            ReadAs::Newest(newest, control) => {
                let control = control.borrow();
                control.full_refresh.into_iter().for_each(|asked| newest.refresh(asked));
                newest.ask_by(control.last_tick.unwrap_or(Tick::AFTER_ALL));
                newest
            }
        }
    }
}

/// Tells of rows as changes, addressed to a worker. What it returns wakes it.
pub fn read_rows<'scope, S: Readable + 'static>(
    rows: Arranged<'scope, RowTrace>,
    (to, of): (u64, RowsId),
    state: Rc<RefCell<S>>,
    mut told: ReadAs,
) -> (Stream<'scope, Tick, Vec<RowChanges>>, Activator) {
    let (scope, mut trace) = (rows.stream.scope(), rows.trace);
    let mut builder = OperatorBuilder::new(told.name().to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(rows.stream, Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<RowChanges>>>::from(output);
    state.borrow_mut().add_reader();
    builder.build(move |mut capabilities| {
        move |frontiers| {
            let mut batches = vec![];
            input.for_each(|sent, spans| {
                // What is told of a batch goes at the batch's own time: those of one worker may lie beyond the frontier, one after the other.
                let at = sent.retain_least(0);
                batches.extend(spans.drain(..).filter_map(|span| Some((at.clone()?, span.inner?))));
            });
            let Some(capability) = capabilities.first_mut() else { return };
            let mut upper = Antichain::new();
            trace.read_upper(&mut upper);
            let frontier = frontiers[0].frontier().first().copied();
            // What lies before the frontier is here, and what is in the trace may lie beyond it.
            let done = upper.as_option().copied().max(frontier).unwrap_or(Tick::AFTER_ALL).just_before();
            {
                let mut state = state.borrow_mut();
                let reader = told.reader();
                let mut read = |batch, at: &Capability<Tick>| {
                    let changes = reader.read(batch, &trace, done, &state.keys());
                    for columns in changes.into_iter().map(Columns::from) {
                        output.activate().session(at).give(RowChanges { to, of, columns });
                    }
                };
                if batches.is_empty() {
                    read(None, capability);
                }
                batches.iter().for_each(|(at, batch)| read(Some(batch), at));
                batches.iter().for_each(|_| state.is_read());
            }
            trace.set_logical_compaction(upper.borrow());
            trace.set_physical_compaction(upper.borrow());
            match frontier {
                Some(frontier) => capability.downgrade(&frontier),
                None => capabilities.clear(),
            }
        }
    });
    (stream, activator)
}
