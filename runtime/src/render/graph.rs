//! A side's dataflow, put together from its operators.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use headwater_connectors::Error;
use headwater_connectors::sink::SinkConfig;
use headwater_connectors::stream::Start;
use headwater_operators::group::State;
use headwater_operators::operator::{Watch, windows};
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::worker::Worker;

use super::lines::open_lines;
use super::shared::Shared;
use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec, SinkId};
use crate::base::time::wall_clock_us;
use crate::checkpoint::contribution::Noted;
use crate::checkpoint::local::Local;
use crate::coordinate::barrier::CatchUpBarrier;
use crate::coordinate::channel::CoordinatorHandle;
use crate::ingest::feed::{self, Parts};
use crate::ingest::history;
use crate::ingest::lanes::{Lane, SourceReader};
use crate::ingest::newcomers::Newcomers;
use crate::ingest::partition::Partition;
use crate::ingest::slices::Slices;
use crate::ingest::streams::Streams;
use crate::plan::group::PlannedPart;
use crate::plan::mode::Mode;
use crate::plan::reading::Reading;
use crate::plan::side::Side;
use crate::sink::lines::{ToWake, write_changelog, write_letters};
use crate::sink::stores::{Marked, Marking, StoreHandle, mark_as_of, store_rows};

/// What a side's operators are made of.
pub struct Built<'a> {
    pub side: Side,
    pub handles: &'a IdVec<SinkId, Option<StoreHandle>>,
    pub faults: &'a Rc<RefCell<Option<Error>>>,
    pub watch: &'a Rc<RefCell<Watch>>,
    pub checkpoint: &'a Rc<RefCell<Local>>,
    pub states: IdVec<GroupId, State>,
    pub coordinator: CoordinatorHandle,
    pub barrier: &'a CatchUpBarrier,
    pub readers: Vec<SourceReader>,
    pub to_wake: ToWake,
}

/// Builds a side's dataflow; the probe is where everything ends.
pub fn build(worker: &mut Worker, shared: &Shared, built: Built) -> Result<ProbeHandle<i64>, Failure> {
    let (index, peers) = (worker.index(), worker.peers());
    let opened = &shared.opened;
    let (start, effs, side) = (shared.start.clone(), shared.effs.clone(), built.side);
    let of_side = shared.parts[side as usize].clone();
    let reading = history::read(
        opened.clone(),
        start,
        of_side.clone(),
        effs,
        index,
        peers,
        (std::thread::current(), &shared.failures),
    )?;
    let newcomers = match shared.mode {
        Mode::Follow => Newcomers::all(opened, &shared.start, side, (index, peers), &shared.failures)?,
        Mode::UntilEnd => vec![],
    };
    let local = index % shared.local_workers;
    let of_plan = (opened, &shared.start, &*of_side);
    let reads = (built.readers, newcomers);
    let streams = Streams::new(of_plan, shared.seams.clone(), shared.mode, reads, (shared.board.of(side), local));
    let (mut changelogs, letters) = open_lines(shared, side, index)?;
    {
        let names = changelogs.values().filter(|lines| lines.writer.is_some()).map(|lines| &lines.name);
        let names = names.chain(letters.writer.as_ref().map(|_| &letters.name));
        built.checkpoint.borrow_mut().lines = names.map(|name| (name.clone(), Noted::default())).collect();
    }
    let (finished, everything) = (ProbeHandle::new(), ProbeHandle::new());
    if side == Side::Beside {
        built.barrier.watch(finished.clone());
    }
    worker.dataflow_named::<i64, _, _>(if side == Side::Beside { "beside" } else { "job" }, |scope| {
        let coordinator = built.coordinator.clone();
        let parts = |_| Parts {
            slices: Slices::new(reading),
            streams,
            worker: index,
            peers,
            local,
            first_tick: shared.start.plan.first_tick(side),
            horizons: IdVec::filled(i64::MIN, shared.start.plan.readings.len()),
            coordinator: coordinator.clone(),
            finished: finished.clone(),
            stored: everything.clone(),
            board: shared.board.of(side),
            stop: shared.stop.clone(),
            checkpoint: built.checkpoint.clone(),
            fault: built.faults.clone(),
        };
        let fed = feed::feed(scope, parts);
        built.to_wake.borrow_mut().push(fed.activator);
        let out = windows(fed.events, built.states.into_iter().collect(), built.watch.clone());
        built.to_wake.borrow_mut().push(Rc::new(out.activator));
        let rows = out.rows.probe_with(&finished);
        let mut ends = vec![write_letters(fed.letters, letters, built.checkpoint.clone(), built.to_wake.clone())];
        if side == Side::Beside {
            // Nobody takes any rows, but how far they are is asked.
            ends.push(store_rows(rows.clone(), None, vec![], |routed| routed.to));
        }
        for (id, sink) in opened.job.sinks.pairs().filter(|_| side == Side::Shown) {
            let groups = sink.groups.clone();
            match &sink.to {
                SinkConfig::Changes(_) => {
                    let Some(lines) = changelogs.remove(&id) else { continue };
                    let (checkpoint, to_wake) = (built.checkpoint.clone(), built.to_wake.clone());
                    ends.push(write_changelog(out.changes.clone(), lines, groups, checkpoint, to_wake));
                }
                SinkConfig::Rows(store) => {
                    let first = store.is_exclusive();
                    let handle = built.handles[id].clone();
                    let marker = handle.clone().filter(|_| index == 0);
                    let owner = move |routed: &headwater_operators::exchange::Routed| if first { 0 } else { routed.to };
                    let acknowledged = store_rows(rows.clone(), handle, groups.clone(), owner);
                    ends.push(mark_as_of(acknowledged, marker, marking(shared, &groups, coordinator.clone())));
                }
            }
        }
        scope.concatenate(ends).probe_with(&everything);
    });
    Ok(everything)
}

fn marking(shared: &Shared, groups: &[GroupId], coordinator: CoordinatorHandle) -> Marking {
    let job = &shared.opened.job;
    let s = |g: &GroupId| shared.start.plan.s(*g).filter(|_| shared.start.plan.side_of(*g) == Side::Shown);
    let from = groups.iter().filter_map(|g| s(g).map(|s| s.max(shared.start.plan.rows_from[*g]))).max();
    let marked = |g: &GroupId| {
        let untouched = shared.start.plan.rows_from[*g] == i64::MIN;
        let readings = shared.start.plan.groups[*g].parts.iter().flat_map(PlannedPart::scans).copied().collect();
        Some(Marked { group: *g, readings, s: s(g)?, untouched })
    };
    let groups = groups.iter().filter_map(marked).collect();
    let is_stored = shared.start.plan.is_stored;
    Marking { tick: job.tick_us, is_stored, from: from.unwrap_or(i64::MAX), groups, coordinator }
}

/// The partitions that this worker reads: every `peers`-th.
pub fn readers(shared: &Shared, side: Side, index: usize, peers: usize) -> Result<Vec<SourceReader>, Failure> {
    let mut readers = vec![];
    let mut number = 0;
    for (source, open) in shared.opened.sources.pairs() {
        let Some(stream) = &open.stream else { continue };
        let mut lanes: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
        let is_read = |plan: &Reading| (plan.source, plan.side) == (source, side);
        for (reading, plan) in shared.start.plan.readings.pairs().filter(|(_, plan)| is_read(plan)) {
            for partition in &plan.partitions {
                let of_reading = Partition::new(reading, partition.clone(), wall_clock_us());
                lanes.entry(partition.partition).or_default().push(of_reading);
            }
        }
        let mut mine = vec![];
        for (partition, readings) in lanes {
            if number % peers == index {
                mine.push(Lane { partition, exhausted: false, readings });
            }
            number += 1;
        }
        if mine.is_empty() {
            continue;
        }
        let start = |lane: &Lane| {
            let offset = lane.readings.iter().map(|partition| partition.plan.start).min().unwrap_or(0);
            Start { partition: lane.partition, offset }
        };
        let starts: Vec<Start> = mine.iter().map(start).collect();
        let mut reader = stream.reader(&starts, &open.wanted)?;
        let thread = std::thread::current();
        reader.on_ready(Box::new(move || thread.unpark()));
        readers.push(SourceReader { source, reader, lanes: mine });
    }
    Ok(readers)
}
