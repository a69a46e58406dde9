//! Stores: each worker that writes to one has a thread for it, so that a slow store holds up the sources and nothing else.
//!
//! ```text
//! rows --> queue --> [thread: newest row a key, raise _upto, write] --> acknowledged tick --> frontier --> _as_of
//! ```
//!
//! A store that lost writes is told to begin a new image: see `Announcement::image`.
//!
//! The operator's frontier is the last tick that the store has acknowledged; the one of all workers together is `_as_of`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use headwater_connectors::Error;
use headwater_connectors::sink::Store;
use headwater_operators::exchange::Routed;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use crate::coordinate::channel::CoordinatorHandle;

enum Task {
    Write {
        group: usize,
        rows: RecordBatch,
    },
    /// Everything written so far is up to this tick.
    Flush {
        tick: i64,
    },
    AsOf {
        groups: Vec<usize>,
        tick: i64,
        sweep: bool,
    },
    BeginImage,
}

/// A worker's side of a store's thread.
#[derive(Clone)]
pub struct StoreHandle {
    tasks: Sender<Task>,
    shared: Arc<Shared>,
}

struct Shared {
    /// The last tick of a flush, and of an `_as_of`, that was acknowledged.
    flushed: AtomicI64,
    as_of: AtomicI64,
    /// Rows in the queue.
    waiting: AtomicUsize,
    fault: Mutex<Option<Error>>,
    /// The store lost writes and nobody was told yet.
    lost: AtomicBool,
    wake: Mutex<Vec<SyncActivator>>,
}

impl Shared {
    fn wake(&self) {
        let wake = self.wake.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for activator in wake.iter() {
            // A worker that has gone needs no waking.
            let _ = activator.activate();
        }
    }
}

impl StoreHandle {
    /// Starts the thread. `image`: the first rows are an image, which may replace a newer one (see `Store::begin_image`); `spared`: see
    /// `Store::sweep`.
    pub fn start(mut store: Box<dyn Store>, image: Option<bool>, spared: Vec<usize>) -> StoreHandle {
        let (tasks, queue) = channel();
        let shared = Arc::new(Shared {
            flushed: AtomicI64::new(i64::MIN),
            as_of: AtomicI64::new(i64::MIN),
            waiting: AtomicUsize::new(0),
            fault: Mutex::new(None),
            lost: AtomicBool::new(false),
            wake: Mutex::new(vec![]),
        });
        let ours = shared.clone();
        let work = move || {
            let begun = image.map_or(Ok(()), |replace| store.begin_image(replace));
            let replace = image == Some(true);
            if let Err(e) = begun.and_then(|()| serve(store.as_mut(), &queue, &ours, (replace, &spared))) {
                *ours.fault.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(e);
                ours.wake();
            }
        };
        std::thread::Builder::new().name("store".to_owned()).spawn(work).expect("a thread can be started");
        StoreHandle { tasks, shared }
    }

    fn send(&self, task: Task) {
        // A thread that ended has left a fault, which ends the run.
        let _ = self.tasks.send(task);
    }

    pub fn take_fault(&self) -> Option<Error> {
        self.shared.fault.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }

    /// Whether the store has lost writes since the last call, and needs an image.
    pub fn take_lost(&self) -> bool {
        self.shared.lost.swap(false, Ordering::Acquire)
    }

    /// All rows come once more, after this.
    pub fn begin_image(&self) {
        self.send(Task::BeginImage);
    }

    /// Rows that wait to be written.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }
}

/// Rows that are taken from the queue at once.
const ROWS_AT_ONCE: usize = 100_000;

fn serve(
    store: &mut dyn Store,
    queue: &Receiver<Task>,
    shared: &Shared,
    (replace, spared): (bool, &[usize]),
) -> Result<(), Error> {
    let mut asked = false;
    while let Ok(first) = queue.recv() {
        let mut rows: Vec<Vec<RecordBatch>> = vec![];
        let (mut count, mut flushed, mut marks, mut image) = (0, None, vec![], false);
        let mut next = Some(first);
        while let Some(task) = next {
            match task {
                Task::Write { group, rows: batch } => {
                    rows.resize_with(rows.len().max(group + 1), Vec::new);
                    count += batch.num_rows();
                    rows[group].push(batch);
                }
                Task::Flush { tick } => flushed = Some(tick),
                Task::AsOf { groups, tick, sweep } => marks.push((groups, tick, sweep)),
                Task::BeginImage => image = true,
            }
            // What came before an image must not be taken for a part of it.
            next = if count < ROWS_AT_ONCE && !image { queue.try_recv().ok() } else { None };
        }
        for (group, batches) in rows.into_iter().enumerate().filter(|(_, batches)| !batches.is_empty()) {
            let all = concat_batches(&batches[0].schema(), &batches)
                .map_err(|e| Error::world("joining rows for a store", e))?;
            let newest = all.column(all.num_columns() - 2).as_primitive::<Int64Type>().values().iter().copied().max();
            store.write(group, &all, newest.max(flushed).unwrap_or(i64::MIN))?;
        }
        shared.waiting.fetch_sub(count, Ordering::Relaxed);
        mark(store, &marks, spared)?;
        // Told before anything is acknowledged, so that no run ends without having heard of it.
        let needs_image = store.needs_image();
        if needs_image && !asked {
            shared.lost.store(true, Ordering::Release);
        }
        asked = needs_image && !image;
        if let Some(tick) = flushed {
            shared.flushed.store(tick, Ordering::Release);
        }
        // Without an image the mark has not risen; all goes on until there is one.
        if let Some((_, tick, _)) = marks.last() {
            shared.as_of.store(*tick, Ordering::Release);
        }
        if image {
            store.begin_image(replace)?;
        }
        shared.wake();
    }
    Ok(())
}

fn mark(store: &mut dyn Store, marks: &[(Vec<usize>, i64, bool)], spared: &[usize]) -> Result<(), Error> {
    if marks.iter().any(|(_, _, sweep)| *sweep) {
        let gone = store.sweep(spared)?;
        if gone > 0 {
            tracing::info!(rows = gone, "removed rows that an earlier start had left");
        }
    }
    let mut newest: std::collections::BTreeMap<usize, i64> = std::collections::BTreeMap::new();
    for (groups, tick, _) in marks {
        newest.extend(groups.iter().map(|g| (*g, *tick)));
    }
    newest.into_iter().try_for_each(|(group, tick)| store.set_as_of(group, tick))
}

/// Writes rows to a store. The output carries nothing: its frontier is what the store has acknowledged. `store`: `None` on
/// a worker that does not write to it. `to`: the worker that a row goes to.
pub fn store_rows<'scope>(
    rows: Stream<'scope, i64, Vec<Routed>>,
    store: Option<StoreHandle>,
    groups: Vec<usize>,
    to: impl Fn(&Routed) -> u64 + 'static,
) -> Stream<'scope, i64, Vec<()>> {
    let scope = rows.scope();
    let mut builder = OperatorBuilder::new("store".to_owned(), scope);
    let address = builder.operator_info().address;
    let mut input = builder.new_input(rows, Exchange::new(to));
    let (output, acknowledged) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    if let Some(store) = &store {
        let activator = scope.worker().sync_activator_for(address.to_vec());
        store.shared.wake.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(activator);
    }
    builder.build(move |mut capabilities| {
        // Flushes that are under way, and whether rows came since the last.
        let (mut sent, mut unflushed) = (i64::MIN, false);
        move |frontiers| {
            let _ = &_output;
            input.for_each_stamp(|_, batches| {
                for routed in batches.flat_map(|batch| batch.drain(..)) {
                    let Some(store) = &store else { continue };
                    let group = routed.group as usize;
                    if groups.contains(&group) {
                        store.shared.waiting.fetch_add(routed.columns.0.num_rows(), Ordering::Relaxed);
                        store.send(Task::Write { group, rows: routed.columns.0 });
                        unflushed = true;
                    }
                }
            });
            let Some(frontier) = frontiers[0].frontier().iter().next().copied() else {
                capabilities.clear();
                return;
            };
            let done = frontier.saturating_sub(1);
            let Some(capability) = capabilities.first_mut() else { return };
            let reached = match &store {
                None => done,
                Some(store) => {
                    if unflushed && done > sent {
                        store.send(Task::Flush { tick: done });
                        (sent, unflushed) = (done, false);
                    }
                    let flushed = store.shared.flushed.load(Ordering::Acquire);
                    // With nothing under way, and nothing to write, the frontier alone counts.
                    if flushed >= sent && !unflushed { done } else { flushed }
                }
            };
            let next = reached.saturating_add(1);
            if *capability.time() < next {
                capability.downgrade(&next);
            }
        }
    });
    acknowledged
}

/// Worker 0 tells a store how far every worker has come. The output's frontier is what the store has marked.
pub fn mark_as_of<'scope>(
    acknowledged: Stream<'scope, i64, Vec<()>>,
    store: Option<StoreHandle>,
    marks: Marking,
) -> Stream<'scope, i64, Vec<()>> {
    let scope = acknowledged.scope();
    let mut builder = OperatorBuilder::new("as_of".to_owned(), scope);
    let address = builder.operator_info().address;
    let mut input = builder.new_input(acknowledged, Pipeline);
    let (output, marked) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    if let Some(store) = &store {
        let activator = scope.worker().sync_activator_for(address.to_vec());
        store.shared.wake.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(activator);
    }
    builder.build(move |mut capabilities| {
        // `swept`: the last image that was swept.
        let (mut sent, mut swept) = (i64::MIN, marks.is_stored.then_some(0));
        move |frontiers| {
            let _ = &_output;
            input.for_each_stamp(|_, _| ());
            let Some(frontier) = frontiers[0].frontier().iter().next().copied() else {
                capabilities.clear();
                return;
            };
            let Some(capability) = capabilities.first_mut() else { return };
            let done = frontier.saturating_sub(1);
            let mut reached = done;
            if let Some(store) = &store {
                let tick = done.div_euclid(marks.tick).saturating_mul(marks.tick);
                let whole = marks.is_whole(tick);
                let groups = marks.due(tick, whole);
                if tick > sent && done != i64::MIN && (whole || !groups.is_empty()) {
                    let image = Some(marks.coordinator.announced().image);
                    store.send(Task::AsOf { groups, tick, sweep: whole && swept != image });
                    sent = tick;
                    swept = if whole { image } else { swept };
                }
                let marked = store.shared.as_of.load(Ordering::Acquire);
                if marked < sent {
                    reached = marked;
                }
            }
            let next = reached.saturating_add(1);
            if *capability.time() < next {
                capability.downgrade(&next);
            }
        }
    });
    marked
}

/// Which groups' marks follow the frontier, and from when on.
pub struct Marking {
    pub tick: i64,
    /// There is no image at the start.
    pub is_stored: bool,
    /// From then on the store is whole: what the image of this start lacks may be removed.
    pub from: i64,
    pub groups: Vec<Marked>,
    pub coordinator: CoordinatorHandle,
}

/// A group of the store.
pub struct Marked {
    pub group: usize,
    pub readings: Vec<u32>,
    /// The seam that it began with.
    pub s: i64,
    /// No earlier start has left anything of it: its marks need not wait until the store is whole.
    pub untouched: bool,
}

impl Marking {
    fn is_whole(&self, tick: i64) -> bool {
        let announced = self.coordinator.announced();
        let last = announced.t.filter(|_| announced.last && !announced.stopped).unwrap_or(i64::MAX);
        tick >= self.from.min(last).max(announced.image_from.unwrap_or(i64::MIN))
    }

    fn due(&self, tick: i64, whole: bool) -> Vec<usize> {
        let announced = self.coordinator.announced();
        let rewritten = announced.image_from.is_none_or(|from| tick >= from);
        let due = |marked: &&Marked| {
            marked.s <= tick
                && (whole || marked.untouched && rewritten)
                && !marked.readings.iter().any(|reading| announced.stalled.contains(reading))
        };
        self.groups.iter().filter(due).map(|marked| marked.group).collect()
    }
}
