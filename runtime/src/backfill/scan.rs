//! The scan: histories, and what streams hold up to their ends, as events of the groups, parted by key.
//!
//! Planned as a run from nothing is: files are pinned, the seam is found, and a gap refuses it. Threads share the work: each reads every so
//! many-th partition of a stream, from its start to its end, and takes pieces of the histories as long as there are any; of these each
//! process has every so many-th. Tables are read first, since events look up in them: each version by one process, and all have all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::Buffer;
use headwater_clocks::{EventTime, Span, Tick};
use headwater_connectors::Records;
use headwater_connectors::history::Piece;
use headwater_connectors::stream::{self, Start};
use headwater_operators::probe::Enter;
use headwater_operators::{events, keys};

use super::admit::{Admission, Reach};
use super::encoded::{decode, encode};
use super::labels::Labels;
use super::lookups::{self, LookUps};
use super::planned::Planned;
use super::request::Known;
use super::served::{KeptAdmissions, Served};
use super::shards::{Collector, Owned, Parted, Storage};
use super::sweep::Swept;
use super::tables::Tables;
use super::watch::{Phase, Watch};
use super::workers::Workers;
use crate::base::failure::Failure;
use crate::base::id::{GroupId, Id, IdVec, ScanId, SourceId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::Opened;
use crate::cluster::links::Untaken;
use crate::ingest::admit::Admitted;
use crate::ingest::dead_letters::Tally;
use crate::ingest::effs::Effs;
use crate::ingest::partition::Partition;
use crate::ingest::pipeline::{Pipeline, SHAPED_BYTES_MAX};
use crate::ingest::seam::Seam;
use crate::ingest::shape::Batch;
use crate::ingest::stamp::Stamped;
use crate::ingest::versions::{Versions, received};
use crate::plan::Plan;
use crate::plan::group::PlannedGroup;
use crate::plan::side::Side;

/// Bytes of records read from a partition at a time.
const POLL_BYTES: usize = 1 << 20;

/// What is read.
pub struct Scan {
    opened: Arc<Opened>,
    /// Each with its labels.
    groups: Vec<(GroupId, usize)>,
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
    /// Of tables.
    versions: Vec<Versions>,
}

impl Read {
    fn and(mut self, other: Read) -> Read {
        self.tally.add(&other.tally);
        self.records += other.records;
        self.versions.extend(other.versions);
        self
    }

    /// By source and reason.
    pub fn dead_letters(&self) -> BTreeMap<(SourceId, String), u64> {
        self.tally.by_source()
    }
}

impl Scan {
    /// Finds what is to be read for these groups, each with its labels. `planned`: all that they read.
    pub fn plan(
        opened: &Arc<Opened>,
        groups: &[(GroupId, usize)],
        known: Known,
        planned: &Planned,
    ) -> Result<Scan, Failure> {
        let mut scans = IdVec::new();
        let mut of_source: BTreeMap<SourceId, ScanId> = BTreeMap::new();
        for source in groups.iter().flat_map(|(group, _)| opened.graph.sources_of(*group)) {
            if let std::collections::btree_map::Entry::Vacant(new) = of_source.entry(source) {
                new.insert(scans.push(planned.scan(source)));
            }
        }
        let group = |id: GroupId| match groups.iter().any(|(group, _)| *group == id) {
            true => {
                let scans: Vec<ScanId> = opened.graph.sources_of(id).map(|source| of_source[&source]).collect();
                PlannedGroup::whole(opened, id, &scans)
            }
            false => PlannedGroup::with(opened, id, IdVec::new()),
        };
        let plan = Plan::of(planned.now, scans, opened.groups.ids().map(group).collect());
        let sets = ColumnSets::open(opened, &plan, Side::Live)?;
        let seams = Seam::all(opened, &plan)?;
        let pieces = pieces(opened, &plan)?;
        let of_streams = plan.scans.iter().flat_map(|scan| &scan.partitions);
        let of_streams: u64 = of_streams.map(|partition| partition.end.past(partition.start).max(0) as u64).sum();
        let records = of_streams + pieces.iter().map(|(_, piece)| piece.rows).sum::<u64>();
        Ok(Scan { opened: opened.clone(), groups: groups.to_vec(), plan, sets, seams, known, pieces, records })
    }

    /// How many records are read, if all are.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Reads what is this process's of all that some label asks for: of its keys the events, by group. `kept`: the admissions of a run,
    /// where they are asked for and this is process 0.
    pub fn read<'a>(
        &self,
        labels: &Labels,
        kept: Option<&KeptAdmissions>,
        storage: Storage<'a>,
        (workers, watch): (&Workers, &Watch),
    ) -> Result<(Vec<Swept<'a>>, Read), Failure> {
        let of_group = |(at, (group, _)): (usize, &(GroupId, usize))| {
            let schema = lookups::schema(&self.opened, *group, self.known.enter());
            Parted::new(schema, labels.shards(), storage).shared(Owned::Each, at)
        };
        let parted: Vec<Parted> = self.groups.iter().enumerate().map(of_group).collect();
        let Some(span) = labels.span().filter(|_| !self.groups.is_empty()) else {
            return Ok((Swept::all(&self.groups, parted), Read::default()));
        };
        let asking = |(id, set): &(GroupId, usize)| Asking { id: *id, set: *set, reach: self.reach(*id, span) };
        let groups: Vec<Asking> = self.groups.iter().map(asking).collect();
        let reaches = self.plan.scans.pairs().map(|(scan, _)| self.reach_of_scan(scan, span)).collect::<IdVec<_, _>>();
        let effs = reaches.pairs().map(|(scan, reach)| Effs::of_rows(&self.opened, &self.plan, scan, reach.after));
        let effs = workers.together(|| effs.collect::<Result<IdVec<ScanId, Effs>, Failure>>())?;
        let (groups, reaches, effs) = (&groups, &reaches, &effs);
        let served = || Served::of(kept, (&self.opened.job, &self.plan), span, workers);
        let served = (self.known == Known::Served).then(served).transpose()?;
        let (process, processes) = workers.process();
        let pass = |tables: Option<&Tables>| -> Result<Read, Failure> {
            let is_read = |scan: ScanId| self.is_of_table(scan) == tables.is_none();
            let meets = |(scan, piece): &&(ScanId, Piece)| is_read(*scan) && self.meets(*scan, piece, reaches[*scan]);
            let shared = Shared {
                scan: self,
                tables,
                labels,
                groups,
                reaches,
                effs,
                served: served.as_ref(),
                scans: self.plan.scans.ids().filter(|scan| is_read(*scan)).collect(),
                pieces: self.pieces.iter().filter(meets).skip(process).step_by(processes).collect(),
                next: AtomicUsize::new(0),
                workers,
                watch,
            };
            watch.enter(if tables.is_none() { Phase::Tables } else { Phase::Events }, Some(shared.records()));
            let read = workers.run(|worker| Reading::new(&shared, &parted).all(worker))?;
            Ok(read.into_iter().fold(Read::default(), Read::and))
        };
        let mut of_tables = match self.plan.scans.ids().any(|scan| self.is_of_table(scan)) {
            true => self.with_those_of_others(workers, || pass(None))?,
            false => Read::default(),
        };
        let versions = std::mem::take(&mut of_tables.versions);
        let mut tally = Tally::default();
        let tables = Tables::of((&self.opened, &self.plan), versions, served.as_ref(), &mut tally)?;
        if workers.is_first() {
            // What is wrong with a version among the others all know, and one counts.
            of_tables.tally.add(&tally);
        }
        let all = workers.exchange(|(_, group), rows| take(&parted, group, rows), || pass(Some(&tables)))?;
        let all = all.and(of_tables);
        Ok((Swept::all(&self.groups, parted), all))
    }

    /// Versions that this process reads of tables, and those that the others do.
    fn with_those_of_others(
        &self,
        workers: &Workers,
        read: impl FnOnce() -> Result<Read, Failure>,
    ) -> Result<Read, Failure> {
        let others: Mutex<Vec<Versions>> = Mutex::default();
        let hear = |(_, scan): (usize, u32), message: Vec<u8>| {
            let scan = self.plan.scans.ids().find(|id| id.number() == scan && self.is_of_table(*id));
            let scan = scan.ok_or(Untaken::Senseless)?;
            let versions = decode(Buffer::from(message)).ok().flatten();
            let versions =
                versions.and_then(|batch| received(&self.opened, (scan, self.plan.scans[scan].source), batch));
            others.lock().unwrap_or_else(PoisonError::into_inner).push(versions.ok_or(Untaken::Senseless)?);
            Ok(())
        };
        let mut read = workers.exchange(hear, read)?;
        read.versions.extend(others.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(read)
    }

    fn is_of_table(&self, scan: ScanId) -> bool {
        self.opened.sources[self.plan.scans[scan].source].table.is_some()
    }

    /// The event times that labels from the first to the last moment ask for.
    fn reach(&self, group: GroupId, (first, last): (Tick, Tick)) -> Reach {
        let lengths: Option<Vec<Span>> = self.opened.groups[group].columns.iter().map(|column| column.length).collect();
        let longest = lengths.map(|all| all.into_iter().max().unwrap_or(Span::ZERO));
        Reach { after: longest.map(|longest| first.left(longest)), upto: last }
    }

    fn reach_of_scan(&self, scan: ScanId, span: (Tick, Tick)) -> Reach {
        if self.is_of_table(scan) {
            return Reach::ALL;
        }
        let groups = self.sets.of_scan(scan).map(|(group, _)| self.reach(group, span).after);
        let after: Option<Vec<EventTime>> = groups.collect();
        Reach { after: after.and_then(|all| all.into_iter().min()), upto: span.1 }
    }

    /// Whether some row of a piece may be within reach.
    fn meets(&self, scan: ScanId, piece: &Piece, reach: Reach) -> bool {
        let open = &self.opened.sources[self.plan.scans[scan].source];
        let Some(event_time) = open.event_time.filter(|_| reach != Reach::ALL) else { return true };
        let integers = open.wanted.schema.field(event_time).data_type().is_integer();
        let range = piece.statistics.first().copied().flatten().filter(|range| !integers && range.nulls == 0);
        range
            .and_then(|range| range.bounds)
            .is_none_or(|(first, last)| reach.meets(EventTime::from_us(first), EventTime::from_us(last)))
    }
}

/// Tells the other processes of versions.
fn tell(workers: &Workers, versions: &Versions) -> Result<(), Failure> {
    let Some(links) = workers.links() else { return Ok(()) };
    let mut message = vec![];
    encode(&versions.batch, &mut message).map_err(|e| Failure::Running(format!("sending versions: {e}")))?;
    links.others().try_for_each(|to| links.send(to, versions.scan.number(), &message))
}

/// Takes what is sent on a channel.
pub fn take(parted: &[Parted], channel: u32, rows: Vec<u8>) -> Result<(), Untaken> {
    parted.get(channel as usize).ok_or(Untaken::Senseless)?.take(rows, |_, _| true)
}

/// Every piece of the histories, with what statistics say of its event times.
fn pieces(opened: &Opened, plan: &Plan) -> Result<Vec<(ScanId, Piece)>, Failure> {
    let mut all = vec![];
    for (id, scan) in plan.scans.pairs() {
        let open = &opened.sources[scan.source];
        let Some(history) = &open.history else { continue };
        let event_time = open.event_time.map(|place| open.wanted.schema.field(place).name().as_str());
        all.extend(history.pieces(event_time.as_slice())?.into_iter().map(|piece| (id, piece)));
    }
    Ok(all)
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
    /// What events look up in; `None`: these are read now.
    tables: Option<&'s Tables>,
    labels: &'s Labels<'s>,
    groups: &'s [Asking],
    reaches: &'s IdVec<ScanId, Reach>,
    effs: &'s IdVec<ScanId, Effs>,
    served: Option<&'s Served>,
    /// What is read now.
    scans: Vec<ScanId>,
    pieces: Vec<&'s (ScanId, Piece)>,
    next: AtomicUsize,
    workers: &'s Workers<'s>,
    watch: &'s Watch,
}

impl Shared<'_> {
    /// How many records this process is to read.
    fn records(&self) -> u64 {
        let (process, processes) = self.workers.process();
        let of_scan = |scan: &ScanId| self.scan.plan.scans[*scan].partitions.iter().skip(process).step_by(processes);
        let streams = self.scans.iter().flat_map(of_scan);
        let streams: u64 = streams.map(|partition| partition.end.past(partition.start).max(0) as u64).sum();
        streams + self.pieces.iter().map(|(_, piece)| piece.rows).sum::<u64>()
    }

    fn admission(&self, scan: ScanId) -> Admission<'_> {
        Admission { scan, tick: self.scan.opened.job.tick, reach: self.reaches[scan], served: self.served }
    }
}

/// One thread's part of it.
struct Reading<'s> {
    shared: &'s Shared<'s>,
    pipelines: BTreeMap<SourceId, Pipeline>,
    lookups: Option<LookUps<'s>>,
    /// By group; and of how many batches keys are not looked at any more, since nearly all were asked for.
    collectors: Vec<Collector<'s, 's>>,
    unsifted: Vec<u32>,
    read: Read,
}

/// Of so many batches one is looked at, while at most one of so many of its keys is asked for by no label.
const SIFTED_EVERY: u32 = 16;
const UNASKED_MOST: usize = 8;

impl<'s> Reading<'s> {
    fn new(shared: &'s Shared<'s>, parted: &'s [Parted<'s>]) -> Reading<'s> {
        let collectors = parted.iter().map(|parted| parted.collector()).collect();
        let Scan { opened, sets, known, .. } = shared.scan;
        let lookups = shared.tables.map(|tables| LookUps::new(opened, sets, tables, known.enter()));
        let unsifted = vec![0; parted.len()];
        Reading { shared, pipelines: BTreeMap::new(), lookups, collectors, unsifted, read: Read::default() }
    }

    fn all(mut self, worker: usize) -> Result<Read, Failure> {
        let shared = self.shared;
        shared.scans.iter().try_for_each(|scan| self.stream(*scan, worker))?;
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
        // Neighbours go to other processes.
        let (process, processes) = shared.workers.process();
        let mine = scan.partitions.iter().skip(worker * processes + process);
        let mine = mine.step_by(processes * shared.workers.number());
        let mine: Vec<_> = mine.filter(|partition| partition.start < partition.end).collect();
        if mine.is_empty() {
            return Ok(());
        }
        let starts: Vec<Start> =
            mine.iter().map(|plan| Start { partition: plan.partition, offset: plan.start }).collect();
        let mut reader = stream.reader(&starts, &open.wanted)?;
        for plan in mine {
            let mut partition = Partition::new(id, plan.clone(), shared.scan.plan.now);
            let (number, end) = (plan.partition, plan.end);
            while let Some(records) = stream::next(stream.as_ref(), reader.as_mut(), number, end, POLL_BYTES)? {
                records.in_parts(&mut |records| {
                    let before = partition.clone();
                    let stamped = self.pipeline(scan.source).stamp(records, shared.scan.plan.now);
                    let admitted = shared.admission(id).of_stream(&mut partition, seam, records, &stamped);
                    let is_taken = self.take(scan.source, records, &stamped, admitted)?;
                    if !is_taken {
                        partition = before;
                    }
                    Ok::<_, Failure>(is_taken)
                })?;
            }
        }
        Ok(())
    }

    fn piece(&mut self, id: ScanId, piece: &Piece) -> Result<(), Failure> {
        let shared = self.shared;
        let source = shared.scan.plan.scans[id].source;
        let (conf, open) = (&shared.scan.opened.job.sources[source], &shared.scan.opened.sources[source]);
        let complete_until = conf.history.as_ref().and_then(|history| history.complete_until);
        let history = open.history.as_ref().expect("only histories have pieces");
        for records in history.read(piece, &open.history_wanted)? {
            records?.in_parts(&mut |records| {
                let pipeline = self.pipeline(source);
                let stamped = pipeline.stamp(records, shared.scan.plan.now);
                let positions = pipeline.log_positions(records);
                let admitted = shared.admission(id).of_history(&stamped, &positions, &shared.effs[id], complete_until);
                self.take(source, records, &stamped, admitted)
            })?;
        }
        Ok(())
    }

    fn pipeline(&mut self, source: SourceId) -> &Pipeline {
        let Scan { opened, plan, sets, .. } = self.shared.scan;
        self.pipelines.entry(source).or_insert_with(|| Pipeline::new(opened, plan, sets, source))
    }

    /// Makes events of what was admitted, and collects those that somebody asks for. `false`: they come to too much, and nothing is done.
    fn take(
        &mut self,
        source: SourceId,
        records: &Records,
        stamped: &[Stamped],
        admitted: Admitted,
    ) -> Result<bool, Failure> {
        self.shared.workers.check()?;
        let pipeline = self.pipeline(source);
        let positions = pipeline.log_positions(records);
        let batch = Batch { records, stamped };
        let Some(shaped) = pipeline.shape_within(batch, &positions, &[admitted], SHAPED_BYTES_MAX) else {
            return Ok(false);
        };
        self.read.tally.add(&shaped.tally);
        self.read.records += records.len() as u64;
        self.shared.watch.add(records.len());
        shaped.versions.iter().try_for_each(|versions| tell(self.shared.workers, versions))?;
        self.read.versions.extend(shaped.versions);
        let lookups = self.lookups.take();
        for raw in shaped.raw {
            let lookups = lookups.as_ref().expect("tables are read before events");
            let mut tally = std::mem::take(&mut self.read.tally);
            lookups.events(raw, &mut tally, &mut |group, batch| self.collect(group, batch))?;
            self.read.tally = tally;
        }
        self.lookups = lookups;
        shaped.events.into_iter().try_for_each(|((group, _), batch)| self.collect(group, batch))?;
        Ok(true)
    }

    fn collect(&mut self, group: GroupId, batch: RecordBatch) -> Result<(), Failure> {
        let shared = self.shared;
        let Some(at) = shared.groups.iter().position(|asking| asking.id == group) else { return Ok(()) };
        let Asking { set, reach, .. } = &shared.groups[at];
        let (asked, shards) = (shared.labels.asked(*set), shared.labels.shards());
        let keys = batch.column(events::KEY).as_binary::<i32>().clone();
        let times = |column: usize| batch.column(column).as_primitive::<Int64Type>().values().clone();
        let (ts, visible) = (times(events::TS), times(events::VISIBLE));
        let late = |row: usize| shared.scan.known.enter() == Enter::Visible && Tick::from_us(visible[row]) > reach.upto;
        let sifts = self.unsifted[at] == 0;
        let (mut looked, mut unasked) = (0, 0);
        let pick = |row: usize| {
            if !reach.holds(EventTime::from_us(ts[row])) || late(row) {
                return None;
            }
            let hash = keys::hash(keys.value(row));
            if sifts {
                looked += 1;
                if !asked.may_have(hash) {
                    unasked += 1;
                    return None;
                }
            }
            Some((row as u32, keys::owner(hash, shards) as u32))
        };
        self.collectors[at].add(batch.clone(), (0..ts.len()).filter_map(pick))?;
        self.unsifted[at] = match sifts {
            true if unasked * UNASKED_MOST <= looked => SIFTED_EVERY - 1,
            true => 0,
            false => self.unsifted[at] - 1,
        };
        Ok(())
    }
}
