//! Sources, rendered: the feed, which reads the histories of a rendering and its partitions of their streams.

use std::collections::BTreeMap;

use headwater_clocks::{Eff, Offset, Span, Tick, WallClock};
use headwater_connectors::stream::Start;
use timely::dataflow::Scope;
use timely::dataflow::operators::probe::Handle as ProbeHandle;

use super::rendering::{Rendering, Wiring};
use crate::base::failure::Failure;
use crate::base::id::{IdVec, SourceId};
use crate::catalog::opened::Opened;
use crate::checkpoint::admissions::{AdmissionLog, Held, source_hash};
use crate::checkpoint::generations;
use crate::coordinate::channel::CoordinatorHandle;
use crate::ingest::feed::{self, Fed, FeedParts};
use crate::ingest::history;
use crate::ingest::lanes::{Lane, SourceReader};
use crate::ingest::newcomers::Newcomers;
use crate::ingest::partition::Partition;
use crate::ingest::slices::Slices;
use crate::ingest::streams::Streams;
use crate::job::Window;
use crate::plan::mode::Mode;
use crate::plan::scan::Scan;
use crate::plan::side::Side;

/// `finished`: up to where the windows are; `stored`: up to where everything is in all sinks.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    of: Rendering,
    (wiring, coordinator): (&Wiring, &CoordinatorHandle),
    (finished, stored): (&ProbeHandle<Tick>, &ProbeHandle<Tick>),
) -> Result<Fed<'scope>, Failure> {
    let Rendering { shared, side, peer } = of;
    let (opened, start, sets) = (&shared.opened, &shared.start, of.sets());
    let readers = readers(of)?;
    let slices = history::read(
        opened.clone(),
        start.clone(),
        sets.clone(),
        shared.effs.clone(),
        peer,
        (std::thread::current(), &shared.failures),
    )?;
    let newcomers = match shared.mode {
        Mode::Follow => Newcomers::all(opened, start, side, peer, &shared.failures)?,
        Mode::UntilEnd => vec![],
    };
    let admissions = admissions(of);
    let board = shared.board.of(side);
    let streams = Streams::new(
        (opened, start, sets),
        shared.seams.clone(),
        shared.mode,
        (readers, newcomers, admissions),
        (board.clone(), of.local()),
    );
    let feed_parts = FeedParts {
        slices: Slices::new(slices),
        streams,
        peer,
        local: of.local(),
        first_tick: if opened.looks_back() { Tick::BEFORE_ALL } else { start.plan.first_tick(side) },
        horizons: IdVec::filled(Eff::BEFORE_ALL, start.plan.scans.len()),
        coordinator: coordinator.clone(),
        finished: finished.clone(),
        stored: stored.clone(),
        board,
        stop: shared.stop.clone(),
        checkpoint: wiring.checkpoint.clone(),
        fault: wiring.faults.clone(),
    };
    let fed = feed::feed(scope, |_| feed_parts);
    wiring.to_wake.borrow_mut().push(fed.activator.clone());
    Ok(fed)
}

/// Where this worker writes down what it admits late, if the job keeps that. What the shadow admits is in it before its rows are seen.
fn admissions(of: Rendering) -> Option<AdmissionLog> {
    let Rendering { shared, side, peer } = of;
    let (opened, start) = (&shared.opened, &shared.start);
    let keep = opened.job.state.admissions_keep.filter(|_| side == Side::Live && opened.has_stream())?;
    let sources = start.plan.scans.iter().map(|scan| (source_hash(scan), held(opened, scan.source))).collect();
    let earlier = start.manifest().into_iter().flat_map(|manifest| &manifest.files);
    let generation = generations::of_number(start.plan.checkpoints);
    Some(AdmissionLog::open((&shared.state, generation), peer, keep, sources, earlier))
}

/// What trailing and lifetime windows hold of a source. A table's version is in force for whatever comes after it.
fn held(opened: &Opened, source: SourceId) -> Held {
    if opened.job.sources[source].table.is_some() {
        return Held::All;
    }
    let groups = opened.graph.groups_of(source).filter(|group| opened.job.groups[*group].window == Window::Trailing);
    let mut columns = groups.flat_map(|group| &opened.groups[group].columns);
    let longest = columns.try_fold(Span::ZERO, |longest, column| Some(column.length?.max(longest)));
    longest.map_or(Held::All, Held::Younger)
}

/// The partitions that this worker reads: every `workers`-th.
fn readers(of: Rendering) -> Result<Vec<SourceReader>, Failure> {
    let Rendering { shared, side, peer } = of;
    let mut readers = vec![];
    let mut number = 0;
    for (source, open) in shared.opened.sources.pairs() {
        let Some(stream) = &open.stream else { continue };
        let mut lanes: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
        let is_read = |plan: &Scan| (plan.source, plan.side) == (source, side);
        for (scan, plan) in shared.start.plan.scans.pairs().filter(|(_, plan)| is_read(plan)) {
            for partition in &plan.partitions {
                let of_scan = Partition::new(scan, partition.clone(), WallClock::now());
                lanes.entry(partition.partition).or_default().push(of_scan);
            }
        }
        let mut mine = vec![];
        for (partition, scans) in lanes {
            if peer.is_dealt(number) {
                mine.push(Lane { partition, exhausted: false, rest: vec![], scans });
            }
            number += 1;
        }
        if mine.is_empty() {
            continue;
        }
        let start = |lane: &Lane| {
            let offset = lane.scans.iter().map(|partition| partition.plan.start).min();
            Start { partition: lane.partition, offset: offset.unwrap_or(Offset::at(0)) }
        };
        let starts: Vec<Start> = mine.iter().map(start).collect();
        let mut reader = stream.reader(&starts, &open.wanted)?;
        let thread = std::thread::current();
        reader.on_ready(Box::new(move || thread.unpark()));
        readers.push(SourceReader { source, reader, lanes: mine });
    }
    Ok(readers)
}
