//! The scan: histories, and what streams hold up to their ends, as events of the groups, parted by key.
//!
//! Planned as a run from nothing is: files are pinned, the seam is found, and a gap refuses it. Threads share the work: each reads every so
//! many-th partition of a stream, from its start to its end, and takes pieces of the histories as long as there are any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, RecordBatch};
use headwater_connectors::Records;
use headwater_connectors::history::Piece;
use headwater_connectors::stream::{self, Start};
use headwater_operators::probe::Enter;
use headwater_operators::{events, keys};

use super::admit::{Admission, Reach};
use super::labels::Labels;
use super::request::Known;
use super::served::{KeptAdmissions, Served};
use super::shards::{Collector, Parted, Storage};
use super::spine::Spine;
use super::watch::{Phase, Watch};
use super::workers::Workers;
use crate::base::failure::Failure;
use crate::base::id::{ColumnSetId, GroupId, IdVec, ScanId, SourceId};
use crate::base::time::{EventTime, MatchTime, WallClock};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::Opened;
use crate::ingest::admit::Admitted;
use crate::ingest::dead_letters::Tally;
use crate::ingest::effs::Effs;
use crate::ingest::partition::Partition;
use crate::ingest::pipeline::Pipeline;
use crate::ingest::seam::Seam;
use crate::ingest::shape::Batch;
use crate::ingest::stamp::Stamped;
use crate::plan::Plan;
use crate::plan::group::PlannedGroup;
use crate::plan::side::Side;
use crate::start::fresh;
use crate::start::told::say_plan;

/// Bytes of records read from a partition at a time.
const POLL_BYTES: usize = 1 << 20;
/// Events of a shard, about: its keys, its order and its inputs lie near each other while it is worked out.
const SHARD_RECORDS: u64 = 32 << 10;

/// What is read.
pub struct Scan {
    opened: Arc<Opened>,
    plan: Plan,
    sets: ColumnSets,
    seams: IdVec<ScanId, Seam>,
    known: Known,
    /// Every piece of the histories, and how many records there are in all.
    pieces: Vec<(ScanId, Piece)>,
    records: u64,
}

/// What came of reading.
#[derive(Default)]
pub struct Read {
    tally: Tally,
    pub records: u64,
}

impl Read {
    pub fn dead_letters(&self) -> Vec<(&'static str, u64)> {
        self.tally.by_reason().into_iter().collect()
    }
}

impl Scan {
    /// Finds where history and stream meet, for the sources of these groups.
    pub fn plan(opened: &Arc<Opened>, groups: &[GroupId], known: Known, now: WallClock) -> Result<Scan, Failure> {
        let mut scans = IdVec::new();
        let mut of_source: BTreeMap<SourceId, ScanId> = BTreeMap::new();
        for source in groups.iter().flat_map(|group| opened.graph.sources_of(*group)) {
            if let std::collections::btree_map::Entry::Vacant(new) = of_source.entry(source) {
                new.insert(scans.push(fresh::plan_source(opened, source, now, false)?));
            }
        }
        let planned = |id: GroupId| match groups.contains(&id) {
            true => {
                let scans: Vec<ScanId> = opened.graph.sources_of(id).map(|source| of_source[&source]).collect();
                PlannedGroup::whole(opened, id, &scans)
            }
            false => PlannedGroup::with(opened, id, IdVec::new()),
        };
        let plan = Plan::of(now, scans, opened.groups.ids().map(planned).collect());
        say_plan(opened, &plan);
        if known.enter() == Enter::Visible {
            warn_of_lost_lateness(opened, &plan);
        }
        let sets = ColumnSets::open(opened, &plan, Side::Live)?;
        let seams = Seam::all(opened, &plan)?;
        let pieces = pieces(opened, &plan)?;
        let of_streams = plan.scans.iter().flat_map(|scan| &scan.partitions);
        let of_streams: u64 = of_streams.map(|partition| partition.end.past(partition.start).max(0) as u64).sum();
        let records = of_streams + pieces.iter().map(|(_, piece)| piece.rows).sum::<u64>();
        Ok(Scan { opened: opened.clone(), plan, sets, seams, known, pieces, records })
    }

    /// In how many shards keys are parted.
    pub fn shards(&self) -> usize {
        (self.records / SHARD_RECORDS).next_power_of_two().clamp(1, keys::SHARDS) as usize
    }

    /// Reads all that some label asks for: by group of the spine its events. `kept`: the admissions of a run, where they are asked for.
    pub fn read<'a>(
        &self,
        spine: &Spine,
        labels: &Labels,
        kept: Option<&KeptAdmissions>,
        storage: Storage<'a>,
        (workers, watch): (&Workers, &Watch),
    ) -> Result<(Vec<Parted<'a>>, Read), Failure> {
        let of_group = |(group, _): &(GroupId, usize)| {
            let inputs: Vec<_> =
                self.opened.groups[*group].inputs.iter().map(|input| input.data_type().clone()).collect();
            Parted::new(events::schema(&inputs, false), self.shards(), storage)
        };
        let parted: Vec<Parted> = spine.groups.iter().map(of_group).collect();
        let Some(span) = labels.span() else { return Ok((parted, Read::default())) };
        let groups =
            spine.groups.iter().map(|(id, set)| Asking { id: *id, set: *set, reach: self.reach(*id, span) }).collect();
        let reaches = self.plan.scans.pairs().map(|(scan, _)| self.reach_of_scan(scan, span)).collect::<IdVec<_, _>>();
        let effs = reaches
            .pairs()
            .map(|(scan, reach)| Effs::of_rows(&self.opened, &self.plan, scan, reach.after.map(EventTime::from_us)));
        let effs = effs.collect::<Result<IdVec<ScanId, Effs>, Failure>>()?;
        let pieces = self.pieces.iter().filter(|(scan, piece)| self.meets(*scan, piece, reaches[*scan])).collect();
        let served = kept.map(|kept| kept.read(&self.opened.job, &self.plan, span)).transpose()?;
        let next = AtomicUsize::new(0);
        let shared = Shared { scan: self, labels, groups, reaches, effs, served, pieces, next, workers, watch };
        watch.enter(Phase::Events, Some(shared.records()));
        let read = workers.run(|worker| Reading::new(&shared, &parted).all(worker))?;
        let mut all = Read::default();
        for one in read {
            all.tally.add(&one.tally);
            all.records += one.records;
        }
        Ok((parted, all))
    }

    /// The event times that labels from the first to the last moment ask for.
    fn reach(&self, group: GroupId, (first, last): (i64, i64)) -> Reach {
        let lengths: Option<Vec<i64>> = self.opened.groups[group].columns.iter().map(|column| column.length).collect();
        let longest = lengths.map(|all| all.into_iter().max().unwrap_or(0));
        Reach { after: longest.map(|longest| first.saturating_sub(longest)), upto: last }
    }

    fn reach_of_scan(&self, scan: ScanId, span: (i64, i64)) -> Reach {
        let groups = self.sets.of_scan(scan).map(|(group, _)| self.reach(group, span).after);
        let after: Option<Vec<i64>> = groups.collect();
        Reach { after: after.and_then(|all| all.into_iter().min()), upto: span.1 }
    }

    /// Whether some row of a piece may be within reach.
    fn meets(&self, scan: ScanId, piece: &Piece, reach: Reach) -> bool {
        let open = &self.opened.sources[self.plan.scans[scan].source];
        let event_time = open.event_time.expect("events have a time");
        let integers = open.wanted.schema.field(event_time).data_type().is_integer();
        let range = piece.statistics.first().copied().flatten().filter(|range| !integers && range.nulls == 0);
        range.and_then(|range| range.bounds).is_none_or(|(first, last)| reach.meets(first, last))
    }
}

/// Every piece of the histories, with what statistics say of its event times.
fn pieces(opened: &Opened, plan: &Plan) -> Result<Vec<(ScanId, Piece)>, Failure> {
    let mut all = vec![];
    for (id, scan) in plan.scans.pairs() {
        let open = &opened.sources[scan.source];
        let Some(history) = &open.history else { continue };
        let event_time = open.wanted.schema.field(open.event_time.expect("events have a time")).name();
        all.extend(history.pieces(&[event_time])?.into_iter().map(|piece| (id, piece)));
    }
    Ok(all)
}

fn warn_of_lost_lateness(opened: &Opened, plan: &Plan) {
    let sources = plan.scans.iter().map(|scan| &opened.job.sources[scan.source]);
    for source in sources.filter(|source| source.history.is_some() && source.arrival_time.is_none()) {
        tracing::warn!(
            source = source.name,
            "its history does not say when records arrived (`arrival_time`), and so not which came late: each counts from its event \
             time on, which may be sooner than a run could know it"
        );
    }
}

/// A group that labels ask for.
struct Asking {
    id: GroupId,
    /// Its labels.
    set: usize,
    reach: Reach,
}

/// What all threads share.
struct Shared<'s> {
    scan: &'s Scan,
    labels: &'s Labels<'s>,
    groups: Vec<Asking>,
    reaches: IdVec<ScanId, Reach>,
    effs: IdVec<ScanId, Effs>,
    served: Option<Served>,
    pieces: Vec<&'s (ScanId, Piece)>,
    next: AtomicUsize,
    workers: &'s Workers<'s>,
    watch: &'s Watch,
}

impl Shared<'_> {
    /// How many records are to be read.
    fn records(&self) -> u64 {
        let streams = self.scan.plan.scans.iter().flat_map(|scan| &scan.partitions);
        let streams: u64 = streams.map(|partition| partition.end.past(partition.start).max(0) as u64).sum();
        streams + self.pieces.iter().map(|(_, piece)| piece.rows).sum::<u64>()
    }

    fn admission(&self, scan: ScanId) -> Admission<'_> {
        let served = self.served.as_ref();
        Admission { scan, tick: self.scan.opened.job.tick(), reach: self.reaches[scan], served }
    }
}

/// One thread's part of it.
struct Reading<'s> {
    shared: &'s Shared<'s>,
    pipelines: BTreeMap<SourceId, Pipeline>,
    /// By group.
    collectors: Vec<Collector<'s, 's>>,
    read: Read,
}

impl<'s> Reading<'s> {
    fn new(shared: &'s Shared<'s>, parted: &'s [Parted<'s>]) -> Reading<'s> {
        let collectors = parted.iter().map(|parted| parted.collector()).collect();
        Reading { shared, pipelines: BTreeMap::new(), collectors, read: Read::default() }
    }

    fn all(mut self, worker: usize) -> Result<Read, Failure> {
        for scan in self.shared.scan.plan.scans.ids() {
            self.stream(scan, worker)?;
        }
        while let Some((scan, piece)) = self.shared.pieces.get(self.shared.next.fetch_add(1, Ordering::Relaxed)) {
            self.piece(*scan, piece)?;
        }
        self.collectors.into_iter().try_for_each(Collector::finish)?;
        Ok(self.read)
    }

    /// The partitions of a stream that are this thread's, up to the ends that they had.
    fn stream(&mut self, id: ScanId, worker: usize) -> Result<(), Failure> {
        let shared = self.shared;
        let (scan, seam) = (&shared.scan.plan.scans[id], &shared.scan.seams[id]);
        let open = &shared.scan.opened.sources[scan.source];
        let Some(stream) = &open.stream else { return Ok(()) };
        let mine = scan.partitions.iter().skip(worker).step_by(shared.workers.number());
        let mine: Vec<_> = mine.filter(|partition| partition.start < partition.end).collect();
        if mine.is_empty() {
            return Ok(());
        }
        let starts: Vec<Start> =
            mine.iter().map(|plan| Start { partition: plan.partition, offset: plan.start.number() }).collect();
        let mut reader = stream.reader(&starts, &open.wanted)?;
        for plan in mine {
            let mut partition = Partition::new(id, plan.clone(), shared.scan.plan.now);
            let (number, end) = (plan.partition, plan.end.number());
            while let Some(records) = stream::next(stream.as_ref(), reader.as_mut(), number, end, POLL_BYTES)? {
                let stamped = self.pipeline(scan.source).stamp(&records, shared.scan.plan.now);
                let admitted = shared.admission(id).of_stream(&mut partition, seam, &records, &stamped);
                self.take(scan.source, &records, &stamped, admitted)?;
            }
        }
        Ok(())
    }

    fn piece(&mut self, id: ScanId, piece: &Piece) -> Result<(), Failure> {
        let shared = self.shared;
        let source = shared.scan.plan.scans[id].source;
        let (conf, open) = (&shared.scan.opened.job.sources[source], &shared.scan.opened.sources[source]);
        let complete_until =
            conf.history.as_ref().and_then(|history| history.complete_until_us).map(MatchTime::from_us);
        let history = open.history.as_ref().expect("only histories have pieces");
        for records in history.read(piece, &open.history_wanted)? {
            let records = records?;
            let pipeline = self.pipeline(source);
            let stamped = pipeline.stamp(&records, shared.scan.plan.now);
            let positions = pipeline.log_positions(&records);
            let admitted = shared.admission(id).of_history(&stamped, &positions, &shared.effs[id], complete_until);
            self.take(source, &records, &stamped, admitted)?;
        }
        Ok(())
    }

    fn pipeline(&mut self, source: SourceId) -> &Pipeline {
        let Scan { opened, plan, sets, .. } = self.shared.scan;
        self.pipelines.entry(source).or_insert_with(|| Pipeline::new(opened, plan, sets, source))
    }

    /// Makes events of what was admitted, and collects those that somebody asks for.
    fn take(
        &mut self,
        source: SourceId,
        records: &Records,
        stamped: &[Stamped],
        admitted: Admitted,
    ) -> Result<(), Failure> {
        self.shared.workers.check()?;
        let pipeline = self.pipeline(source);
        let positions = pipeline.log_positions(records);
        let shaped = pipeline.shape(Batch { records, stamped }, &positions, &[admitted]);
        self.read.tally.add(&shaped.tally);
        self.read.records += records.len() as u64;
        self.shared.watch.add(records.len());
        shaped.events.into_iter().try_for_each(|(of, batch)| self.collect(of, batch))
    }

    fn collect(&mut self, (group, _): (GroupId, ColumnSetId), batch: RecordBatch) -> Result<(), Failure> {
        let shared = self.shared;
        let Some(at) = shared.groups.iter().position(|asking| asking.id == group) else { return Ok(()) };
        let Asking { set, reach, .. } = &shared.groups[at];
        let (asked, shards) = (shared.labels.asked(*set), shared.scan.shards());
        let keys = batch.column(events::KEY).as_binary::<i32>().clone();
        let times = |column: usize| batch.column(column).as_primitive::<Int64Type>().values().clone();
        let (ts, visible) = (times(events::TS), times(events::VISIBLE));
        let late = |row: usize| shared.scan.known.enter() == Enter::Visible && visible[row] > reach.upto;
        let pick = |row: usize| {
            let hash = keys::hash(keys.value(row));
            let is_asked = reach.holds(ts[row]) && !late(row) && asked.may_have(hash);
            is_asked.then(|| (row as u32, keys::owner(hash, shards) as u32))
        };
        self.collectors[at].add(batch.clone(), (0..ts.len()).filter_map(pick))
    }
}
