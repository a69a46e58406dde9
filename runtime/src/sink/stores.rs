//! Stores: each worker that writes to one has a thread for it.
//!
//! ```text
//! rows --> [thread: newest row a key, raise _upto, write] --> acknowledged tick --> frontier --> _as_of
//! ```
//!
//! A store that lost writes is told to begin a full refresh: see `Announcement::full_refresh`.
//!
//! The operator's frontier is the last tick that the store has acknowledged; the one of all workers together is `_as_of`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use headwater_clocks::{Span, Tick, Time};
use headwater_connectors::Error;
use headwater_connectors::sink::Store;
use headwater_operators::exchange::RowChanges;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::thread::{Backlog, BlockingSink, Flushing, SinkThread};
use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::{Id, IdVec, RowsId, ScanId};
use crate::coordinate::channel::CoordinatorHandle;

enum Task {
    Write { group: RowsId, rows: RecordBatch },
    AsOf { groups: Vec<RowsId>, tick: Tick, sweep: bool },
    BeginFullRefresh,
}

/// A worker's side of a store's thread.
#[derive(Clone)]
pub struct StoreHandle {
    thread: SinkThread<Task>,
    shared: Arc<Shared>,
}

struct Shared {
    /// The last tick of an `_as_of` that was acknowledged, in microseconds.
    as_of: AtomicI64,
    /// The store lost writes and nobody was told yet.
    lost: AtomicBool,
}

impl StoreHandle {
    /// Starts the thread. `full_refresh`: the first rows are one, and whether it may replace newer rows (see `Store::begin_full_refresh`);
    /// `spared`: see `Store::sweep`.
    pub fn start(
        store: Box<dyn Store>,
        full_refresh: Option<bool>,
        spared: &[RowsId],
        failures: &Failures,
    ) -> Result<StoreHandle, Failure> {
        let shared = Arc::new(Shared { as_of: AtomicI64::new(Tick::BEFORE_ALL.us()), lost: AtomicBool::new(false) });
        let spared = spared.iter().map(|group| group.index()).collect();
        let sink =
            StoreSink { store, full_refresh, spared, shared: shared.clone(), taken: Taken::default(), is_told: false };
        let thread = SinkThread::start("store", sink, Backlog::default(), failures)?;
        Ok(StoreHandle { thread, shared })
    }

    /// Whether the store has lost writes since the last call, and needs a full refresh.
    pub fn take_lost(&self) -> bool {
        self.shared.lost.swap(false, Ordering::Acquire)
    }

    /// All rows come once more, after this.
    pub fn begin_full_refresh(&self) {
        self.thread.send(Task::BeginFullRefresh);
    }

    /// Rows that wait to be written.
    pub fn waiting(&self) -> usize {
        self.thread.waiting()
    }
}

/// The thread's own.
struct StoreSink {
    store: Box<dyn Store>,
    full_refresh: Option<bool>,
    spared: Vec<usize>,
    shared: Arc<Shared>,
    taken: Taken,
    /// That the store needs a full refresh was told.
    is_told: bool,
}

#[derive(Default)]
struct Taken {
    rows: IdVec<RowsId, Vec<RecordBatch>>,
    marks: Vec<Mark>,
    full_refresh: bool,
}

/// Groups, up to where all rows of theirs are in the store, and whether what an earlier start has left is to be swept.
type Mark = (Vec<RowsId>, Tick, bool);

impl BlockingSink for StoreSink {
    type Task = Task;

    fn begin(&mut self) -> Result<(), Error> {
        self.full_refresh.map_or(Ok(()), |replace| self.store.begin_full_refresh(replace))
    }

    fn take(&mut self, task: Task) -> Result<bool, Error> {
        let Taken { rows, marks, full_refresh } = &mut self.taken;
        match task {
            Task::Write { group, rows: batch } => {
                rows.grow_to(group.index() + 1);
                rows[group].push(batch);
            }
            Task::AsOf { groups, tick, sweep } => marks.push((groups, tick, sweep)),
            Task::BeginFullRefresh => *full_refresh = true,
        }
        // What came before a full refresh must not be taken for a part of it.
        Ok(!*full_refresh)
    }

    fn finish(&mut self, flush: Option<Tick>) -> Result<(), Error> {
        let Taken { rows, marks, full_refresh } = std::mem::take(&mut self.taken);
        for (group, batches) in rows.pairs().filter(|(_, batches)| !batches.is_empty()) {
            let all = concat_batches(&batches[0].schema(), batches)
                .map_err(|e| Error::world("joining rows for a store", e))?;
            let ticks = all.column(all.num_columns() - 2).as_primitive::<Int64Type>().values();
            let newest = ticks.iter().copied().max().map(Tick::from_us).max(flush).unwrap_or(Tick::BEFORE_ALL);
            self.store.write(group.index(), &all, newest)?;
        }
        mark(self.store.as_mut(), &marks, &self.spared)?;
        // Told before anything is acknowledged, so that no run ends without having heard of it.
        let needs_full_refresh = self.store.needs_full_refresh();
        if needs_full_refresh && !self.is_told {
            self.shared.lost.store(true, Ordering::Release);
        }
        self.is_told = needs_full_refresh && !full_refresh;
        // Without a full refresh the mark has not risen; all goes on until there is one.
        if let Some((_, tick, _)) = marks.last() {
            self.shared.as_of.store(tick.us(), Ordering::Release);
        }
        if full_refresh { self.store.begin_full_refresh(self.full_refresh == Some(true)) } else { Ok(()) }
    }
}

fn mark(store: &mut dyn Store, marks: &[Mark], spared: &[usize]) -> Result<(), Error> {
    if marks.iter().any(|(_, _, sweep)| *sweep) {
        let gone = store.sweep(spared)?;
        if gone > 0 {
            tracing::info!(rows = gone, "removed rows that an earlier start had left");
        }
    }
    let mut newest: BTreeMap<RowsId, Tick> = BTreeMap::new();
    for (groups, tick, _) in marks {
        newest.extend(groups.iter().map(|g| (*g, *tick)));
    }
    newest.into_iter().try_for_each(|(group, tick)| store.set_as_of(group.index(), tick))
}

/// Writes rows to a store. The output carries nothing: its frontier is what the store has acknowledged. `store`: `None` on
/// a worker that does not write to it. `to`: the worker that a row goes to.
pub fn store_rows<'scope>(
    rows: Stream<'scope, Tick, Vec<RowChanges>>,
    store: Option<StoreHandle>,
    groups: Vec<RowsId>,
    to: impl Fn(&RowChanges) -> u64 + 'static,
) -> Stream<'scope, Tick, Vec<()>> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new("store".to_owned(), scope);
    let address = builder.operator_info().address;
    let mut input = builder.new_input(rows, Exchange::new(to));
    let (output, acknowledged) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    store.iter().for_each(|store| store.thread.wakes(scope.worker().sync_activator_for(address.to_vec())));
    builder.build(move |mut capabilities| {
        let mut flushing = store.map(|store| Flushing::new(store.thread));
        move |frontiers| {
            let _ = &_output;
            input.for_each(|_, batch| {
                for routed in batch.drain(..) {
                    let Some(flushing) = &mut flushing else { continue };
                    let (group, rows) = (routed.of, routed.columns.0);
                    if groups.contains(&group) {
                        let count = rows.num_rows();
                        flushing.write(Task::Write { group, rows }, count);
                    }
                }
            });
            let Some(frontier) = Tick::of_frontier(frontiers[0].frontier()) else {
                capabilities.clear();
                return;
            };
            let done = frontier.just_before();
            let Some(capability) = capabilities.first_mut() else { return };
            let reached = flushing.as_mut().map_or(done, |flushing| flushing.reached(done));
            let next = reached.just_after();
            if *capability.time() < next {
                capability.downgrade(&next);
            }
        }
    });
    acknowledged
}

/// Worker 0 tells a store how far every worker has come. The output's frontier is what the store has marked.
pub fn mark_as_of<'scope>(
    acknowledged: Stream<'scope, Tick, Vec<()>>,
    store: Option<StoreHandle>,
    marks: Marking,
) -> Stream<'scope, Tick, Vec<()>> {
    let scope = acknowledged.scope();
    let mut builder = OperatorBuilder::new("as_of".to_owned(), scope);
    let address = builder.operator_info().address;
    let mut input = builder.new_input(acknowledged, Pipeline);
    let (output, marked) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    store.iter().for_each(|store| store.thread.wakes(scope.worker().sync_activator_for(address.to_vec())));
    builder.build(move |mut capabilities| {
        // `swept`: the last full refresh that was swept.
        let (mut sent, mut swept) = (Tick::BEFORE_ALL, marks.skip_refresh.then_some(0));
        move |frontiers| {
            let _ = &_output;
            input.for_each(|_, _| ());
            let Some(frontier) = Tick::of_frontier(frontiers[0].frontier()) else {
                capabilities.clear();
                return;
            };
            let Some(capability) = capabilities.first_mut() else { return };
            let done = frontier.just_before();
            let mut reached = done;
            if let Some(store) = &store {
                let tick = Tick::down(done, marks.tick);
                let whole = marks.is_whole(tick);
                let groups = marks.due(tick, whole);
                if tick > sent && done != Tick::BEFORE_ALL && (whole || !groups.is_empty()) {
                    let full_refresh = Some(marks.coordinator.announced().full_refresh);
                    store.thread.send(Task::AsOf { groups, tick, sweep: whole && swept != full_refresh });
                    sent = tick;
                    swept = if whole { full_refresh } else { swept };
                }
                let marked = Tick::from_us(store.shared.as_of.load(Ordering::Acquire));
                if marked < sent {
                    reached = marked;
                }
            }
            let next = reached.just_after();
            if *capability.time() < next {
                capability.downgrade(&next);
            }
        }
    });
    marked
}

/// Which groups' marks follow the frontier, and from when on.
pub struct Marking {
    pub tick: Span,
    /// There is no full refresh at the start, so nothing is swept for one.
    pub skip_refresh: bool,
    /// From then on the store is whole: what the full refresh of this start lacks may be removed.
    pub from: Tick,
    pub groups: Vec<Marked>,
    pub coordinator: CoordinatorHandle,
}

/// A group of the store.
pub struct Marked {
    pub group: RowsId,
    pub scans: Vec<ScanId>,
    /// The seam that it began with.
    pub s: Tick,
    /// No earlier start has left anything of it: its marks need not wait until the store is whole.
    pub untouched: bool,
}

impl Marking {
    fn is_whole(&self, tick: Tick) -> bool {
        let announced = self.coordinator.announced();
        let last = announced.t.filter(|_| announced.last && !announced.stopped).unwrap_or(Tick::AFTER_ALL);
        tick >= self.from.min(last).max(announced.full_refresh_from.unwrap_or(Tick::BEFORE_ALL))
    }

    fn due(&self, tick: Tick, whole: bool) -> Vec<RowsId> {
        let announced = self.coordinator.announced();
        let rewritten = announced.full_refresh_from.is_none_or(|from| tick >= from);
        let due = |marked: &&Marked| {
            marked.s <= tick
                && (whole || marked.untouched && rewritten)
                && !marked.scans.iter().any(|scan| announced.stalled.contains(scan))
        };
        self.groups.iter().filter(due).map(|marked| marked.group).collect()
    }
}
