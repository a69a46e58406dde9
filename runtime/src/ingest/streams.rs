//! The streams of a worker: its partitions side by side, in the order of `eff`, as far as credits go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_clocks::{Eff, Offset, Tick, WallClock};
use headwater_connectors::{Error, Records};

use super::admit::{Admitted, StreamAdmission};
use super::credits::Credits;
use super::lanes::{Lane, SourceReader};
use super::newcomers::Newcomers;
use super::partition::Partition;
use super::pipeline::{Pipeline, SHAPED_BYTES_MAX, Shaped};
use super::seam::Seam;
use super::shape::Batch;
use super::stamp::{Reason, Stamped};
use crate::base::id::{IdVec, ScanId, SourceId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::Opened;
use crate::checkpoint::admissions::AdmissionLog;
use crate::checkpoint::resumption::Start;
use crate::coordinate::messages::PartitionReport;
use crate::job;
use crate::observe::status::{Board, PartitionStatus, ProcessStatus};
use crate::plan::mode::Mode;
use crate::plan::position::Position;

/// Bytes of records read from one partition at a time.
const POLL_BYTES: usize = 256 << 10;
/// Batches read in one activation, so that other operators get their turn.
const POLLS_PER_ACTIVATION: usize = 4;

pub struct Streams {
    opened: Arc<Opened>,
    start: Arc<Start>,
    seams: Arc<IdVec<ScanId, Seam>>,
    /// By source that is read.
    pipelines: BTreeMap<SourceId, Pipeline>,
    mode: Mode,
    /// The tick at which `T` of the side begins.
    first_tick: Tick,
    readers: Vec<SourceReader>,
    newcomers: Vec<Newcomers>,
    /// Where admissions are written down, if they are.
    pub admissions: Option<AdmissionLog>,
    credits: Credits,
    board: Board,
    /// The worker's number within its process.
    local: usize,
    /// The sources of whose malformed records it was told what they look like.
    hinted: BTreeSet<SourceId>,
}

/// How far the job has come.
pub struct Progress<'a> {
    pub t: Option<Tick>,
    /// Windows that closed before it are gone.
    pub horizons: &'a IdVec<ScanId, Eff>,
    /// Every row up to it is stored.
    pub stored: Tick,
}

impl Streams {
    /// `newcomers`: who looks for partitions that come later.
    pub fn new(
        (opened, start, sets): (&Arc<Opened>, &Arc<Start>, &ColumnSets),
        seams: Arc<IdVec<ScanId, Seam>>,
        mode: Mode,
        (readers, newcomers, admissions): (Vec<SourceReader>, Vec<Newcomers>, Option<AdmissionLog>),
        (board, local): (Board, usize),
    ) -> Streams {
        let sources = readers.iter().map(|reader| reader.source).chain(newcomers.iter().map(|n| n.source));
        let pipeline = |source| (source, Pipeline::new(opened, &start.plan, sets, source));
        Streams {
            pipelines: sources.map(pipeline).collect(),
            opened: opened.clone(),
            start: start.clone(),
            seams,
            mode,
            first_tick: start.plan.first_tick(sets.side),
            readers,
            newcomers,
            admissions,
            credits: Credits::default(),
            board,
            local,
            hinted: BTreeSet::new(),
        }
    }

    /// Partitions that are new are read like the others from now on.
    pub fn welcome(&mut self) {
        for newcomers in &mut self.newcomers {
            self.readers.extend(newcomers.take(&self.opened.job.sources[newcomers.source].name));
        }
    }

    /// Reads some batches. `each` is given what becomes of one. Returns whether there may be more.
    pub fn read(
        &mut self,
        progress: &Progress,
        each: &mut dyn FnMut(Shaped) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let now = WallClock::now();
        let mut polls = 0;
        while polls < POLLS_PER_ACTIVATION {
            let Some((s, l)) = self.next_lane(progress) else { break };
            let reader = &mut self.readers[s];
            let lane = &mut reader.lanes[l];
            let records = match lane.rest.pop() {
                Some(rest) => Some(rest),
                None => reader.reader.poll(lane.partition, POLL_BYTES)?,
            };
            match records {
                None => lane.exhausted = true,
                Some(records) => {
                    each(self.take(s, l, records, now, progress))?;
                    polls += 1;
                }
            }
        }
        self.look_at_ends(now, progress);
        Ok(polls > 0)
    }

    /// The partition that is behind, unless it has to wait: for `T`, or for what is not stored yet.
    fn next_lane(&mut self, progress: &Progress) -> Option<(usize, usize)> {
        let tick = self.opened.job.tick;
        self.credits.settle(progress.stored, progress.t);
        if self.credits.wait_for_stores() {
            return None;
        }
        let readers = self.readers.iter().enumerate();
        let all = readers.flat_map(|(s, r)| r.lanes.iter().enumerate().map(move |(l, lane)| (s, l, lane)));
        let ready = all.filter(|(_, _, lane)| !lane.ended() && !lane.exhausted);
        let (s, l, lane) = ready.min_by_key(|(_, _, lane)| lane.clock())?;
        // The one that holds `T` back is always read.
        let next = progress.t.map_or(self.first_tick, |t| t + tick);
        let holds_back = lane.clock() < Eff::reached(next);
        (!self.credits.wait_for_t() || holds_back).then_some((s, l))
    }

    /// Makes events of some records of a partition, for each scan that takes them. Of those that come to too much the first ones are taken, and
    /// the others are the lane's rest: nobody has seen them yet.
    fn take(&mut self, s: usize, l: usize, mut records: Records, now: WallClock, progress: &Progress) -> Shaped {
        loop {
            let before = self.readers[s].lanes[l].scans.clone();
            if let Some(shaped) = self.take_within(s, l, &records, now, progress) {
                return shaped;
            }
            let lane = &mut self.readers[s].lanes[l];
            lane.scans = before;
            let [first, second] = records.halves();
            lane.rest.push(second);
            records = first;
        }
    }

    /// `None`: they come to too much.
    fn take_within(
        &mut self,
        s: usize,
        l: usize,
        records: &Records,
        now: WallClock,
        progress: &Progress,
    ) -> Option<Shaped> {
        let SourceReader { source, lanes, .. } = &mut self.readers[s];
        let (lane, pipeline) = (&mut lanes[l], &self.pipelines[source]);
        let (tick, until_end) = (self.opened.job.tick, self.mode == Mode::UntilEnd);
        let stamped = pipeline.stamp(records, if until_end { self.start.plan.now } else { now });
        let mut admitted = vec![];
        let mut counts = None;
        for partition in &mut lane.scans {
            let id = partition.scan;
            let (scan, t, horizons) = (&self.start.plan.scans[id], progress.t, progress.horizons);
            let (seam, looks_back) = (&self.seams[id], self.opened.looks_back());
            let admission = StreamAdmission { seam, scan, tick, until_end, looks_back, t, horizons };
            let (taken, counted) = admission.admit(partition, records, &stamped, now);
            admitted.push(taken);
            counts.get_or_insert(counted);
        }
        let batch = Batch { records, stamped: &stamped };
        let shaped = pipeline.shape_within(batch, &pipeline.log_positions(records), &admitted, SHAPED_BYTES_MAX)?;
        if let Some(log) = &mut self.admissions {
            note_late(log, lane.partition, records, &stamped, &admitted);
        }
        if !self.hinted.contains(source) {
            let conf = &self.opened.job.sources[*source];
            if let Some(hint) = conf.stream.as_ref().and_then(|stream| hint(stream, &shaped)) {
                tracing::warn!(source = conf.name, partition = lane.partition, "a record is malformed: {hint}");
                self.hinted.insert(*source);
            }
        }
        let eff = lane.scans.iter().map(|partition| partition.eff).max().flatten();
        self.credits.spend(eff.map_or(Tick::BEFORE_ALL, |eff| Tick::up(eff, tick)), shaped.bytes().max(records.bytes));
        let mut status = self.board.worker(self.local);
        shaped.tally.add_to(&mut status);
        let status = &mut status.sources[*source].counts;
        let counts = counts.unwrap_or_default();
        if counts.missed > 0 && status.missed == 0 {
            tracing::warn!(
                source = self.opened.job.sources[*source].name,
                partition = lane.partition,
                "records that belong before the seam came after the history was looked at: they are in neither (see `missed` in the status)"
            );
        }
        status.records += records.len() as u64;
        status.bytes += records.bytes as u64;
        status.passed_over += counts.passed_over;
        status.admitted += counts.admitted;
        status.late_versions += shaped.versions.iter().map(|versions| versions.too_late).sum::<u64>();
        status.missed += counts.missed;
        Some(shaped)
    }

    /// Partitions that had nothing to read: is their end confirmed, or have they fallen silent?
    fn look_at_ends(&mut self, now: WallClock, progress: &Progress) {
        // Until `T` has passed what an earlier start has published, everybody is waited for.
        let published = self.start.plan.rows_from.iter().max().copied().unwrap_or(Tick::BEFORE_ALL);
        let passed = published == Tick::BEFORE_ALL || progress.t >= Some(published);
        let stall_limit = passed.then_some(self.opened.job.stall_limit);
        for SourceReader { reader, lanes, .. } in &mut self.readers {
            for lane in lanes {
                if !std::mem::take(&mut lane.exhausted) {
                    // It was not asked, so its silence means nothing.
                    lane.scans.iter_mut().for_each(|partition| partition.alive_at = now);
                } else if self.mode == Mode::UntilEnd {
                    let position = reader.position(lane.partition);
                    let ended = lane.scans.iter_mut().filter(|partition| position >= partition.plan.end);
                    ended.for_each(Partition::end);
                } else {
                    let confirmed = reader.end_confirmed(lane.partition);
                    lane.scans.iter_mut().for_each(|partition| partition.quiet(confirmed, stall_limit, now));
                }
            }
        }
    }

    /// How far everything was read.
    pub fn positions(&self) -> Vec<Position> {
        let until_end = self.mode == Mode::UntilEnd;
        let of_lane = |reader: &SourceReader, lane: &Lane| {
            let read = lane.position(reader.reader.position(lane.partition));
            let one = |p: &Partition| {
                // What lies past the end was read and left; what lies before the start is in the state already.
                let offset = if until_end { read.min(p.plan.end) } else { read }.max(p.plan.start);
                let (scan, partition) = (p.scan, lane.partition);
                Position { scan, partition, offset, eff: p.eff, admitted: p.admitted, last: p.last }
            };
            lane.scans.iter().map(one).collect::<Vec<_>>()
        };
        let readers = self.readers.iter();
        readers.flat_map(|reader| reader.lanes.iter().flat_map(move |lane| of_lane(reader, lane))).collect()
    }

    /// What the clock is told of the partitions.
    pub fn partitions(&self) -> Vec<PartitionReport> {
        let (now, idle_limit) = (WallClock::now(), self.opened.job.idle_limit);
        let one = |p: &Partition| PartitionReport {
            scan: p.scan,
            partition: p.plan.partition,
            clock: p.clock(),
            eff: p.eff,
            idle: p.quiet_since.is_some_and(|since| now - since > idle_limit),
            left_out: p.left_out,
        };
        self.all().map(one).collect()
    }

    /// By scan that may get more partitions: the wall clock of the newest look whose partitions are all read.
    pub fn looked(&self) -> Vec<(ScanId, WallClock)> {
        let one = |n: &Newcomers| n.scans().map(|scan| (scan, n.looked)).collect::<Vec<_>>();
        self.newcomers.iter().flat_map(one).collect()
    }

    /// The tick at which all that was read has come in, but for events from the future.
    pub fn reaches(&self) -> Option<Tick> {
        self.all().filter_map(|partition| partition.reaches(self.opened.job.tick)).max()
    }

    /// Tells how far partitions are read.
    pub fn tell(&self, status: &mut ProcessStatus) {
        for source in &mut status.sources {
            source.partitions.clear();
            source.counts.tombstones = 0;
        }
        // One source may have several readers.
        for reader in &self.readers {
            let one = |lane: &Lane| PartitionStatus {
                partition: lane.partition,
                start: lane.scans.iter().map(|partition| partition.plan.start).min().unwrap_or(Offset::at(0)),
                position: lane.position(reader.reader.position(lane.partition)),
                end: reader.reader.end(lane.partition),
                eff: lane.scans.iter().map(|partition| partition.eff).max().flatten(),
                left_out: lane.scans.iter().any(|partition| partition.left_out),
            };
            status.sources[reader.source].partitions.extend(reader.lanes.iter().map(one));
            status.sources[reader.source].counts.tombstones += reader.reader.tombstones();
        }
    }

    fn all(&self) -> impl Iterator<Item = &Partition> {
        self.readers.iter().flat_map(|reader| reader.lanes.iter().flat_map(|lane| &lane.scans))
    }
}

/// What one of the malformed records looks like, if that is plain to see.
fn hint(stream: &job::Stream, shaped: &Shaped) -> Option<String> {
    let mut malformed = shaped.dead_letters.iter().filter(|letter| letter.reason == Reason::Malformed.name());
    malformed.find_map(|letter| stream.config.looks(&letter.payload))
}

/// Writes down what was admitted late: a record that several scans of its source take, once.
fn note_late(log: &mut AdmissionLog, partition: i32, records: &Records, stamped: &[Stamped], admitted: &[Admitted]) {
    let offsets = records.offsets.as_deref().unwrap_or_default();
    let mut noted = BTreeSet::new();
    for of_scan in admitted {
        for (row, visible) in &of_scan.late {
            let row = *row as usize;
            if noted.insert(row) {
                let ts = stamped[row].ts;
                let ticks = (*visible, of_scan.visible[row]);
                log.add(of_scan.scan, (partition, offsets[row]), ts, ticks);
            }
        }
    }
}
