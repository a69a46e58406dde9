//! The feed: the operator through which records enter the dataflow.
//!
//! ```text
//! history   slice after slice, each at a dataflow time before the first tick: a worker is at most a few slices ahead
//! stream    partitions side by side in the order of `eff`; what is ahead of `T`, or not yet stored, costs credits
//! last      `T` is final: wait until everything up to it is stored, then let go
//! ```
//!
//! A message is sent at the first tick that is not announced yet; its events say themselves when they become visible.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_connectors::{Error, Records};
use headwater_operators::events;
use headwater_operators::exchange::{Columns, Routed};
use headwater_operators::ledger::up;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

use super::history::Slice;
use super::lanes::{Lane, SourceReader};
use super::letters::Letters;
use super::newcomers::Newcomers;
use super::partition::Partition;
use super::seam::{Seam, Verdict};
use super::shape::{Shaper, When};
use super::stamp::{Stamped, Stamper};
use crate::base::time::wall_clock_us;
use crate::catalog::opened::Opened;
use crate::catalog::parts;
use crate::checkpoint::local::Local;
use crate::checkpoint::resumption::Start;
use crate::coordinate::clock::{ClockHandle, PartitionReport, Report};
use crate::observe::status::{Board, PartitionStatus};
use crate::plan::last_record::LastRecord;
use crate::plan::mode::Mode;
use crate::plan::position::Position;
use crate::plan::progress::HistoryProgress;

/// Slices of history that may be under way, by worker.
const SLICES_UNDER_WAY: i64 = 3;
/// Bytes of records read from one partition at a time.
const POLL_BYTES: usize = 256 << 10;
/// Credits: bytes of records ahead of `T`, and of records behind it that are not stored yet, by worker.
const AHEAD_BYTES_MAX: usize = 32 << 20;
const UNSTORED_BYTES_MAX: usize = 32 << 20;
/// Batches read in one activation, so that other operators get their turn.
const POLLS_PER_ACTIVATION: usize = 4;
/// A wake-up may get lost, so the feed looks by itself now and then.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const STATUS_EVERY: Duration = Duration::from_millis(100);

/// What a worker's feed is made of.
pub struct Parts {
    pub opened: Arc<Opened>,
    pub start: Arc<Start>,
    pub parts: Arc<parts::Parts>,
    pub seams: Arc<Vec<Seam>>,
    pub mode: Mode,
    pub worker: usize,
    pub peers: usize,
    /// The worker's number within its process.
    pub local: usize,
    pub history: Receiver<Result<Slice, Error>>,
    pub readers: Vec<SourceReader>,
    pub newcomers: Vec<Newcomers>,
    pub clock: ClockHandle,
    /// Up to where the windows are finished, and up to where everything is stored, by all workers.
    pub finished: ProbeHandle<i64>,
    pub stored: Vec<ProbeHandle<i64>>,
    pub board: Board,
    pub stop: Arc<std::sync::atomic::AtomicBool>,
    pub checkpoint: Rc<RefCell<Local>>,
    pub fault: Rc<RefCell<Option<Error>>>,
}

pub struct Streams<'scope> {
    pub events: Stream<'scope, i64, Vec<Routed>>,
    pub letters: Stream<'scope, i64, Vec<DeadLetter>>,
    /// To be activated when there may be something to do.
    pub activator: Rc<Activator>,
}

pub fn feed<'scope>(scope: Scope<'scope, i64>, parts: impl FnOnce(Rc<Activator>) -> Parts) -> Streams<'scope> {
    let mut builder = OperatorBuilder::new("feed".to_owned(), scope);
    let activator = Rc::new(scope.activator_for(builder.operator_info().address));
    let (events, events_stream) = builder.new_output::<Vec<Routed>>();
    let (letters, letters_stream) = builder.new_output::<Vec<DeadLetter>>();
    let (mut events, mut letters) = (OutputBuilder::from(events), OutputBuilder::from(letters));
    let parts = parts(activator.clone());
    let again = activator.clone();
    builder.build(move |capabilities| {
        let mut feed = Feed::new(parts, capabilities);
        move |_| {
            if feed.capabilities.is_empty() || feed.parts.fault.borrow().is_some() {
                return;
            }
            let (mut out_events, mut out_letters) = (VecDeque::new(), vec![]);
            if let Err(e) = feed.step(&mut out_events, &mut out_letters) {
                *feed.parts.fault.borrow_mut() = Some(e);
                return;
            }
            if !out_events.is_empty() {
                events.activate().session(&feed.capabilities[0]).give_iterator(out_events.into_iter());
            }
            if !out_letters.is_empty() {
                letters.activate().session(&feed.capabilities[1]).give_iterator(out_letters.into_iter());
            }
            feed.advance();
            match feed.capabilities.is_empty() {
                true => {}
                false if feed.busy => again.activate(),
                false => again.activate_after(LOOK_EVERY),
            }
        }
    });
    Streams { events: events_stream, letters: letters_stream, activator }
}

struct Feed {
    parts: Parts,
    /// By reading: its parts' shapers.
    shapers: Vec<Vec<Shaper>>,
    capabilities: Vec<Capability<i64>>,
    slices: i64,
    history_done: bool,
    /// How far this worker's pieces of the history were read.
    read: HistoryProgress,
    /// The checkpoint for which no history is read.
    paused: u64,
    /// Bytes of records sent whose tick is ahead of `T`, or behind it and not stored yet: (tick of `eff`, bytes), by tick.
    unsettled: VecDeque<(i64, usize)>,
    reported: Report,
    status_at: Instant,
    busy: bool,
    /// The newest announcement that the capabilities follow.
    t: Option<i64>,
    last: bool,
    /// By reading: windows that closed before it are gone.
    horizons: Vec<i64>,
    /// How far everything was read when the capabilities moved last; and the newest checkpoint, with the last one that was
    /// told of it.
    cut: Vec<Position>,
    checkpoint: Option<(u64, i64)>,
    cut_told: u64,
}

impl Feed {
    fn new(parts: Parts, capabilities: Vec<Capability<i64>>) -> Feed {
        Feed {
            shapers: (0..parts.start.plan.readings.len())
                .map(|reading| Shaper::of_reading(&parts.opened, &parts.parts, reading))
                .collect(),
            capabilities,
            slices: 0,
            history_done: false,
            read: HistoryProgress::new(),
            paused: 0,
            unsettled: VecDeque::new(),
            reported: Report { worker: usize::MAX, ..Report::default() },
            status_at: Instant::now(),
            busy: true,
            t: None,
            last: false,
            horizons: vec![i64::MIN; parts.start.plan.readings.len()],
            cut: vec![],
            checkpoint: None,
            cut_told: 0,
            parts,
        }
    }

    /// Reads what may be read now.
    fn step(&mut self, events: &mut VecDeque<Routed>, letters: &mut Vec<DeadLetter>) -> Result<(), Error> {
        self.busy = false;
        let announced = self.parts.clock.announced();
        (self.t, self.last, self.checkpoint) = (announced.t, announced.last, announced.checkpoint);
        for (ours, announced) in self.horizons.iter_mut().zip(announced.horizons) {
            *ours = announced;
        }
        if self.last {
            return Ok(());
        }
        self.welcome()?;
        self.paused = announced.pause;
        if announced.history_done {
            if !self.waits_for_save() {
                self.read_streams(events, letters)?;
            }
        } else if !self.history_done && !self.is_pausing() && !self.waits_for_save() {
            self.read_history(events, letters)?;
        }
        self.report();
        Ok(())
    }

    /// Partitions that are new are read like the others from now on.
    fn welcome(&mut self) -> Result<(), Error> {
        let Parts { opened, newcomers, readers, .. } = &mut self.parts;
        for newcomers in newcomers {
            readers.extend(newcomers.take(&opened.job.sources[newcomers.source].name)?);
        }
        Ok(())
    }

    fn is_pausing(&self) -> bool {
        self.paused > self.checkpoint.map_or(0, |(number, _)| number)
    }

    /// Whether somebody has still to save the state between two slices: what is sent later must not get into it.
    fn waits_for_save(&self) -> bool {
        let between_slices =
            self.checkpoint.map(|(_, t)| t).filter(|t| *t < self.parts.start.plan.first_tick(self.parts.parts.side));
        between_slices.is_some_and(|t| self.parts.finished.less_than(&t.saturating_add(1)))
    }

    fn read_history(&mut self, events: &mut VecDeque<Routed>, letters: &mut Vec<DeadLetter>) -> Result<(), Error> {
        let under_way = i64::MIN + (self.slices - SLICES_UNDER_WAY).max(0);
        if self.slices > SLICES_UNDER_WAY && self.parts.finished.less_than(&under_way) {
            return Ok(());
        }
        match self.parts.history.try_recv() {
            Ok(slice) => {
                let slice = slice?;
                self.slices += 1;
                self.read.extend(slice.read.iter().copied());
                for (of, batch) in slice.events {
                    self.send(of, batch, events)?;
                }
                letters.extend(slice.letters);
                let mut status = self.parts.board.worker(self.parts.local);
                status.history_rows_read += slice.rows;
                slice.tally.add_to(&mut status);
                self.busy = true;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                self.history_done = true;
                self.busy = true;
            }
        }
        Ok(())
    }

    fn send(&self, (group, part): (u32, u32), batch: RecordBatch, events: &mut VecDeque<Routed>) -> Result<(), Error> {
        let split = events::split(batch, self.parts.peers).map_err(|e| Error::world("parting events by key", e))?;
        let routed = |(to, batch)| Routed { to, group, part, columns: Columns::from(batch) };
        events.extend(split.into_iter().map(routed));
        Ok(())
    }

    fn read_streams(&mut self, events: &mut VecDeque<Routed>, letters: &mut Vec<DeadLetter>) -> Result<(), Error> {
        let now = wall_clock_us();
        let mut polls = 0;
        while polls < POLLS_PER_ACTIVATION {
            let Some((s, l)) = self.next_lane() else { break };
            let reader = &mut self.parts.readers[s];
            let lane = &mut reader.lanes[l];
            match reader.reader.poll(lane.partition, POLL_BYTES)? {
                None => lane.exhausted = true,
                Some(records) => {
                    self.take(s, l, &records, now, events, letters)?;
                    self.busy = true;
                    polls += 1;
                }
            }
        }
        for s in 0..self.parts.readers.len() {
            for l in 0..self.parts.readers[s].lanes.len() {
                let lane = &mut self.parts.readers[s].lanes[l];
                if std::mem::take(&mut lane.exhausted) {
                    self.look_at_end(s, l, now);
                } else {
                    // It was not asked, so its silence means nothing.
                    lane.readings.iter_mut().for_each(|partition| partition.alive_at = now);
                }
            }
        }
        Ok(())
    }

    /// The partition that is behind, unless it has to wait: for `T`, or for what is not stored yet.
    fn next_lane(&mut self) -> Option<(usize, usize)> {
        let tick = self.parts.opened.job.tick_us;
        let t = self.t.unwrap_or(i64::MIN);
        let stored = self.stored();
        while self.unsettled.front().is_some_and(|(tick, _)| *tick <= stored.min(t)) {
            self.unsettled.pop_front();
        }
        let (behind, ahead) = self.unsettled.iter().fold((0, 0), |(behind, ahead), (tick, bytes)| match *tick <= t {
            true => (behind + bytes, ahead),
            false => (behind, ahead + bytes),
        });
        if behind > UNSTORED_BYTES_MAX {
            return None;
        }
        let readers = self.parts.readers.iter().enumerate();
        let all = readers.flat_map(|(s, r)| r.lanes.iter().enumerate().map(move |(l, lane)| (s, l, lane)));
        let ready = all.filter(|(_, _, lane)| !lane.ended() && !lane.exhausted);
        let (s, l, lane) = ready.min_by_key(|(_, _, lane)| lane.clock())?;
        // The one that holds `T` back is always read.
        let reached =
            self.t.unwrap_or_else(|| self.parts.start.plan.first_tick(self.parts.parts.side).saturating_sub(tick));
        let holds_back = lane.clock() < reached.saturating_add(tick);
        (ahead <= AHEAD_BYTES_MAX || holds_back).then_some((s, l))
    }

    fn stored(&self) -> i64 {
        let frontier = |probe: &ProbeHandle<i64>| probe.with_frontier(|f| f.iter().next().copied().unwrap_or(i64::MAX));
        self.parts.stored.iter().map(frontier).min().unwrap_or(i64::MAX).saturating_sub(1)
    }

    /// Stamps, shapes and sends records of one partition, for each reading that takes them.
    fn take(
        &mut self,
        s: usize,
        l: usize,
        records: &Records,
        now: i64,
        events: &mut VecDeque<Routed>,
        letters: &mut Vec<DeadLetter>,
    ) -> Result<(), Error> {
        let opened = self.parts.opened.clone();
        let source = self.parts.readers[s].source;
        let (conf, open) = (&opened.job.sources[source], &opened.sources[source]);
        let read_at = if self.parts.mode == Mode::UntilEnd { self.parts.start.plan.now_us } else { now };
        let stamped = Stamper { source: open, future_limit_us: conf.future_limit_us, own: open.stream_own() }
            .stamp(records, read_at);
        let mut refused = Letters::new(&opened, source);
        for nth in 0..self.parts.readers[s].lanes[l].readings.len() {
            let judged = self.judge(s, l, nth, records, &stamped, now);
            let reading = self.parts.readers[s].lanes[l].readings[nth].reading;
            let when = When { visible: &judged.visible, eff: &judged.effs, horizon: self.horizons[reading] };
            for shaper in &self.shapers[reading] {
                let (batch, not) = shaper.shape(records, &judged.accepted, &stamped, when);
                refused.refused(shaper.group as u32, not);
                if let Some(batch) = batch {
                    self.send((shaper.group as u32, shaper.part as u32), batch, events)?;
                }
            }
            // What the source itself refuses, its first reading tells.
            if self.parts.start.plan.readings.iter().position(|other| other.source == source) == Some(reading) {
                refused.of_source(stamped.iter().enumerate().filter(|(i, _)| judged.taken[*i]));
            }
            if nth == 0 {
                self.note(source, &self.parts.readers[s].lanes[l], &judged);
            }
        }
        let lane = &self.parts.readers[s].lanes[l];
        let eff = lane.readings.iter().map(|partition| partition.eff).max().flatten();
        let settled_at = eff.map_or(i64::MIN, |eff| up(eff, opened.job.tick_us));
        let at = self.unsettled.partition_point(|(tick, _)| *tick <= settled_at);
        self.unsettled.insert(at, (settled_at, records.bytes));
        let (number, offsets) = (lane.partition, offsets(records));
        let (dead, tally) = refused.write(records, &stamped, |i| (Some(number), Some(offsets[i])));
        letters.extend(dead);
        let mut status = self.parts.board.worker(self.parts.local);
        tally.add_to(&mut status);
        let status = &mut status.sources[source];
        status.records += records.len() as u64;
        status.bytes += records.bytes as u64;
        Ok(())
    }

    /// Which records of a partition a reading takes, and when they count.
    fn judge(&mut self, s: usize, l: usize, nth: usize, records: &Records, stamped: &[Stamped], now: i64) -> Judged {
        let Parts { opened, start, seams, mode, readers, .. } = &mut self.parts;
        let partition = &mut readers[s].lanes[l].readings[nth];
        let reading = &start.plan.readings[partition.reading];
        let (tick, until_end) = (opened.job.tick_us, *mode == Mode::UntilEnd);
        let (floor, offsets) = (reading.s.unwrap_or(i64::MAX), offsets(records));
        let end = if until_end { partition.plan.end } else { i64::MAX };
        partition.last = LastRecord::before(records, end).or(partition.last);
        // What is finished takes nothing any more.
        let next = self.t.max(reading.done).map_or(i64::MIN, |t| t.saturating_add(tick));
        let verdicts = seams[partition.reading].judge(records, stamped, &partition.plan);
        let mut judged = Judged {
            visible: vec![0; records.len()],
            effs: vec![None; records.len()],
            taken: vec![false; records.len()],
            ..Judged::default()
        };
        let mut first_eff = None;
        for (i, stamp) in stamped.iter().enumerate() {
            // What lies before it is in the state. At the end of a run that ends, what came after the start is not there.
            if offsets[i] < partition.plan.start || until_end && offsets[i] >= partition.plan.end {
                continue;
            }
            if verdicts[i] != Verdict::Taken {
                judged.passed_over += 1;
                let missed = verdicts[i] == Verdict::Before && offsets[i] >= partition.plan.end;
                judged.missed += u64::from(missed);
                continue;
            }
            judged.taken[i] = true;
            let eff = partition.arrive(stamp.clock());
            judged.effs[i] = eff;
            first_eff = first_eff.or(eff.filter(|_| stamp.clock().is_some()));
            if let (None, Some(ts), Some(eff)) = (stamp.reason, stamp.ts, eff) {
                let v = up(eff.max(ts).max(floor), tick);
                if v < next {
                    judged.admitted += 1;
                    partition.admitted = Some(next);
                }
                judged.visible[i] = v.max(next);
                judged.accepted.push(i as u32);
            }
        }
        partition.came(first_eff, now);
        if until_end && offsets.last().is_some_and(|o| o + 1 >= partition.plan.end) {
            partition.end();
        }
        judged
    }

    /// Counts what became of records.
    fn note(&self, source: usize, lane: &Lane, judged: &Judged) {
        let mut status = self.parts.board.worker(self.parts.local);
        let status = &mut status.sources[source];
        status.passed_over += judged.passed_over;
        status.admitted += judged.admitted;
        if judged.missed > 0 && status.missed == 0 {
            tracing::warn!(
                source = self.parts.opened.job.sources[source].name,
                partition = lane.partition,
                "records that belong before the seam came after the history was looked at: they are in neither (see `missed` in the status)"
            );
        }
        status.missed += judged.missed;
    }

    /// A partition that had nothing to read: is its end confirmed, or has it fallen silent?
    fn look_at_end(&mut self, s: usize, l: usize, now: i64) {
        // Until `T` has passed what an earlier start has published, everybody is waited for.
        let published = self.parts.start.plan.rows_from.iter().max().copied().unwrap_or(i64::MIN);
        let passed = published == i64::MIN || self.t >= Some(published);
        let SourceReader { reader, lanes, .. } = &mut self.parts.readers[s];
        let lane = &mut lanes[l];
        let position = reader.position(lane.partition);
        let confirmed = if self.parts.mode == Mode::UntilEnd { None } else { reader.end_confirmed(lane.partition) };
        for partition in &mut lane.readings {
            if self.parts.mode == Mode::UntilEnd {
                if position >= partition.plan.end {
                    partition.end();
                }
                continue;
            }
            if let Some(at) = confirmed {
                partition.confirm(at, now);
            }
            if passed && now - partition.alive_at > self.parts.opened.job.stall_limit_us && !partition.left_out {
                tracing::warn!(
                    partition = lane.partition,
                    "a partition has not answered within `stall_limit`: it is left out until it does"
                );
                partition.left_out = true;
            }
        }
    }

    /// Tells the clock what has changed.
    fn report(&mut self) {
        let due = self.status_at.elapsed() >= STATUS_EVERY;
        let (now, idle_limit) = (wall_clock_us(), self.parts.opened.job.idle_limit_us);
        let tick = self.parts.opened.job.tick_us;
        let reaches = partitions(&self.parts.readers).filter_map(|p| p.reaches(tick)).max();
        let partitions = partitions(&self.parts.readers).map(|p| PartitionReport {
            reading: p.reading as u32,
            partition: p.plan.partition,
            clock: p.clock(),
            eff: p.eff,
            idle: p.quiet_since.is_some_and(|since| now.saturating_sub(since) > idle_limit),
            left_out: p.left_out,
        });
        let looked = |n: &Newcomers| n.readings().map(|r| (r as u32, n.looked_us)).collect::<Vec<_>>();
        let report = Report {
            worker: self.parts.worker,
            history_done: self.history_done,
            slices: self.slices,
            paused: self.paused,
            partitions: partitions.collect(),
            looked: self.parts.newcomers.iter().flat_map(looked).collect(),
            reaches,
            stop: self.parts.stop.load(std::sync::atomic::Ordering::Relaxed),
            image: self.parts.clock.wanted_image(),
            saved: None,
            status: None,
        };
        if due {
            self.status_at = Instant::now();
            self.write_status();
        }
        let saved = self.parts.clock.take_contribution();
        if report != self.reported || due || saved.is_some() {
            let status = (due && self.parts.local == 0).then(|| self.parts.board.sum());
            self.parts.clock.report(Report { status, saved, ..report.clone() });
            self.reported = report;
        }
    }

    fn write_status(&mut self) {
        let stored = self.stored();
        let mut status = self.parts.board.worker(self.parts.local);
        status.t = self.t;
        status.stored = self.t.map(|t| stored.min(t));
        for source in &mut status.sources {
            source.partitions.clear();
            source.tombstones = 0;
        }
        // One source may have several readers.
        for reader in &self.parts.readers {
            let one = |lane: &Lane| PartitionStatus {
                partition: lane.partition,
                start: lane.readings.iter().map(|partition| partition.plan.start).min().unwrap_or(0),
                position: reader.reader.position(lane.partition),
                end: reader.reader.end(lane.partition),
                eff: lane.readings.iter().map(|partition| partition.eff).max().flatten(),
                left_out: lane.readings.iter().any(|partition| partition.left_out),
            };
            status.sources[reader.source].partitions.extend(reader.lanes.iter().map(one));
            status.sources[reader.source].tombstones += reader.reader.tombstones();
        }
    }

    /// Moves the capabilities to what has been announced, and lets go when the last tick is stored.
    fn advance(&mut self) {
        let first = self.parts.start.plan.first_tick(self.parts.parts.side);
        if let Some((_, t)) = self.checkpoint.filter(|(_, t)| *t < first) {
            // The cut lies behind what everybody has sent.
            self.slices = self.slices.max(t.wrapping_sub(i64::MIN) + 1);
        }
        let slice = i64::MIN + self.slices;
        let to = match self.t {
            Some(t) => t.saturating_add(1),
            None if self.history_done => first,
            None => slice.min(first),
        };
        if *self.capabilities[0].time() < to {
            self.capabilities.iter_mut().for_each(|c| c.downgrade(&to));
            self.cut = self.positions();
        }
        if let Some((number, _)) = self.checkpoint.filter(|(number, _)| *number > self.cut_told) {
            self.cut_told = number;
            self.parts.checkpoint.borrow_mut().positions = Some((number, self.cut.clone(), self.read.clone()));
        }
        let is_saved = self.checkpoint.is_none_or(|(number, _)| self.parts.clock.newest_saved() >= number);
        if self.last && is_saved && self.t.is_none_or(|t| self.stored() >= t) {
            self.write_status();
            let status = (self.parts.local == 0).then(|| self.parts.board.sum());
            let saved = self.parts.clock.take_contribution();
            let report = Report { status, saved, ..self.reported.clone() };
            self.parts.clock.report(Report { worker: self.parts.worker, ..report });
            self.parts.clock.close();
            self.capabilities.clear();
        }
    }
}

impl Feed {
    fn positions(&self) -> Vec<Position> {
        let until_end = self.parts.mode == Mode::UntilEnd;
        let of_lane = |reader: &SourceReader, lane: &Lane| {
            let read = reader.reader.position(lane.partition);
            let one = |p: &Partition| {
                // What lies past the end was read and left; what lies before the start is in the state already.
                let offset = if until_end { read.min(p.plan.end) } else { read }.max(p.plan.start);
                let (reading, partition) = (p.reading as u32, lane.partition);
                Position { reading, partition, offset, eff: p.eff, admitted: p.admitted, last: p.last }
            };
            lane.readings.iter().map(one).collect::<Vec<_>>()
        };
        let readers = self.parts.readers.iter();
        readers.flat_map(|reader| reader.lanes.iter().flat_map(move |lane| of_lane(reader, lane))).collect()
    }
}

/// What a reading makes of some records of a partition.
#[derive(Default)]
struct Judged {
    visible: Vec<i64>,
    effs: Vec<Option<i64>>,
    /// Those that count as events, and those that it takes at all.
    accepted: Vec<u32>,
    taken: Vec<bool>,
    admitted: u64,
    passed_over: u64,
    missed: u64,
}

fn partitions(readers: &[SourceReader]) -> impl Iterator<Item = &Partition> {
    readers.iter().flat_map(|reader| reader.lanes.iter().flat_map(|lane| &lane.readings))
}

fn offsets(records: &Records) -> &[i64] {
    records.offsets.as_deref().expect("records of a stream have offsets")
}
