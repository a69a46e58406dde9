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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use headwater_clocks::{Eff, Tick};
use headwater_connectors::Error;
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::events;
use headwater_operators::exchange::{Columns, Events, Routed};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

use super::looked_up::Raw;
use super::pipeline::Shaped;
use super::slices::Slices;
use super::streams::{Progress, Streams};
use super::versions::{Versions, without_payload};
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, ColumnSetId, GroupId, Id, IdVec, ScanId};
use crate::base::peer::Peer;
use crate::checkpoint::admissions::AdmissionLog;
use crate::checkpoint::in_progress::CheckpointInProgress;
use crate::coordinate::channel::CoordinatorHandle;
use crate::coordinate::messages::{Announcement, Report};
use crate::observe::status::Board;
use crate::plan::position::Position;

/// A wake-up may get lost, so the feed looks by itself now and then.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const STATUS_EVERY: Duration = Duration::from_millis(100);

/// What a worker's feed is made of.
pub struct FeedParts {
    pub slices: Slices,
    pub streams: Streams,
    pub peer: Peer,
    /// The worker's number within its process.
    pub local: usize,
    /// The tick at which `T` begins; `Tick::BEFORE_ALL` where what is read may count before it.
    pub first_tick: Tick,
    /// Windows that closed before it are gone.
    pub horizons: IdVec<ScanId, Eff>,
    pub coordinator: CoordinatorHandle,
    /// Up to where the windows are finished, and up to where everything is stored, by all workers.
    pub finished: ProbeHandle<Tick>,
    pub stored: ProbeHandle<Tick>,
    pub board: Board,
    pub stop: Arc<AtomicBool>,
    pub checkpoint: Rc<RefCell<CheckpointInProgress>>,
    pub fault: Rc<RefCell<Option<Error>>>,
}

/// What the feed brings into the dataflow.
pub struct Fed<'scope> {
    pub events: Stream<'scope, Tick, Vec<Events>>,
    pub dead_letters: Stream<'scope, Tick, Vec<DeadLetter>>,
    /// Of tables, to every worker; `group` is the scan, and `set` is `OF_HISTORY` or `OF_STREAM`.
    pub versions: Stream<'scope, Tick, Vec<RoutedVersions>>,
    /// Events that are looked up where they were read.
    pub raw: Stream<'scope, Tick, Vec<Rc<Raw>>>,
    /// To be activated when there may be something to do.
    pub activator: Rc<Activator>,
}

pub fn feed<'scope>(scope: Scope<'scope, Tick>, parts: impl FnOnce(Rc<Activator>) -> FeedParts) -> Fed<'scope> {
    let mut builder = OperatorBuilder::new("feed".to_owned(), scope);
    let activator = Rc::new(scope.activator_for(builder.operator_info().address));
    let (events, events_stream) = builder.new_output::<Vec<Events>>();
    let (dead_letters, dead_letters_stream) = builder.new_output::<Vec<DeadLetter>>();
    let (versions, versions_stream) = builder.new_output::<Vec<RoutedVersions>>();
    let (raw, raw_stream) = builder.new_output::<Vec<Rc<Raw>>>();
    let (mut events, mut dead_letters) = (OutputBuilder::from(events), OutputBuilder::from(dead_letters));
    let (mut versions, mut raw) = (OutputBuilder::from(versions), OutputBuilder::from(raw));
    let parts = parts(activator.clone());
    let again = activator.clone();
    builder.build(move |capabilities| {
        let mut feed = Feed::new(parts, capabilities);
        move |_| {
            if feed.capabilities.is_empty() || feed.parts.fault.borrow().is_some() {
                return;
            }
            let mut out = Out::new(feed.parts.peer);
            if let Err(e) = feed.step(&mut out) {
                *feed.parts.fault.borrow_mut() = Some(e);
                return;
            }
            if !out.events.is_empty() {
                events.activate().session(&feed.capabilities[0]).give_iterator(out.events.into_iter());
            }
            if !out.dead_letters.is_empty() {
                dead_letters.activate().session(&feed.capabilities[1]).give_iterator(out.dead_letters.into_iter());
            }
            if !out.versions.is_empty() {
                versions.activate().session(&feed.capabilities[2]).give_iterator(out.versions.into_iter());
            }
            if !out.raw.is_empty() {
                raw.activate().session(&feed.capabilities[3]).give_iterator(out.raw.into_iter());
            }
            if let Err(failure) = feed.advance() {
                let fault = Error::world("writing down what was admitted", failure.message());
                *feed.parts.fault.borrow_mut() = Some(fault);
                return;
            }
            match feed.capabilities.is_empty() {
                true => {}
                false if feed.busy => again.activate(),
                false => again.activate_after(LOOK_EVERY),
            }
        }
    });
    Fed {
        events: events_stream,
        dead_letters: dead_letters_stream,
        versions: versions_stream,
        raw: raw_stream,
        activator,
    }
}

/// What the versions of a message were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionsFrom {
    Stream,
    History,
}

/// Versions of a table's scan.
pub type RoutedVersions = Routed<(ScanId, VersionsFrom)>;

/// What is sent in one activation.
struct Out {
    events: VecDeque<Events>,
    dead_letters: Vec<DeadLetter>,
    versions: Vec<RoutedVersions>,
    raw: Vec<Rc<Raw>>,
    peer: Peer,
}

impl Out {
    fn new(peer: Peer) -> Out {
        Out { events: VecDeque::new(), dead_letters: vec![], versions: vec![], raw: vec![], peer }
    }

    fn send(
        &mut self,
        events: Vec<((GroupId, ColumnSetId), RecordBatch)>,
        dead_letters: Vec<DeadLetter>,
    ) -> Result<(), Error> {
        for (of, batch) in events {
            let split = events::split(batch, self.peer.peers).map_err(|e| Error::world("parting events by key", e))?;
            let routed = |(to, batch)| Events { to, of, columns: Columns::from(batch) };
            self.events.extend(split.into_iter().map(routed));
        }
        self.dead_letters.extend(dead_letters);
        Ok(())
    }

    /// Events that are looked up here; and versions: those of a stream for every worker, those of a history, which each reads itself, for
    /// this one.
    fn send_lookups(&mut self, versions: Vec<Versions>, raw: Vec<Raw>, from: VersionsFrom) {
        for Versions { scan, batch, .. } in versions {
            let to = |to: usize| {
                let columns = if to == self.peer.worker.index() { batch.clone() } else { without_payload(&batch) };
                Routed { to: to as u64, of: (scan, from), columns: Columns::from(columns) }
            };
            match from {
                VersionsFrom::History => self.versions.push(to(self.peer.worker.index())),
                VersionsFrom::Stream => self.versions.extend((0..self.peer.peers).map(to)),
            }
        }
        self.raw.extend(raw.into_iter().map(Rc::new));
    }
}

struct Feed {
    parts: FeedParts,
    capabilities: Vec<Capability<Tick>>,
    reported: Option<Report>,
    status_at: Instant,
    busy: bool,
    /// The newest announcement, which the capabilities follow.
    announced: Rc<Announcement>,
    /// How far everything was read when the capabilities moved last; and the last checkpoint that was told of it.
    cut: Vec<Position>,
    cut_told: CheckpointNumber,
}

impl Feed {
    fn new(parts: FeedParts, capabilities: Vec<Capability<Tick>>) -> Feed {
        Feed {
            parts,
            capabilities,
            reported: None,
            status_at: Instant::now(),
            busy: true,
            announced: Rc::default(),
            cut: vec![],
            cut_told: CheckpointNumber::NONE,
        }
    }

    /// Reads what may be read now.
    fn step(&mut self, out: &mut Out) -> Result<(), Error> {
        self.busy = false;
        self.announced = self.parts.coordinator.announced();
        for (ours, announced) in self.parts.horizons.iter_mut().zip(&self.announced.horizons) {
            *ours = *announced;
        }
        if self.announced.last {
            return Ok(());
        }
        self.parts.streams.welcome();
        if self.announced.history_done {
            if !self.waits_for_save() {
                self.read_streams(out)?;
            }
        } else if !self.parts.slices.is_done() && !self.is_pausing() && !self.waits_for_save() {
            self.read_history(out)?;
        }
        self.report();
        Ok(())
    }

    fn is_pausing(&self) -> bool {
        self.announced.pause > self.announced.checkpoint.map_or(CheckpointNumber::NONE, |(number, _)| number)
    }

    /// The checkpoint that was taken between two slices of the history, if the newest one was: after which one.
    fn between_slices(&self) -> Option<i64> {
        self.announced.checkpoint.and_then(|(_, t)| t.slice())
    }

    /// Whether somebody has still to save the state between two slices: what is sent later must not get into it.
    fn waits_for_save(&self) -> bool {
        self.between_slices().is_some_and(|slice| self.parts.finished.less_than(&Tick::of_slice(slice).just_after()))
    }

    fn read_history(&mut self, out: &mut Out) -> Result<(), Error> {
        let slice = self.parts.slices.next(&self.parts.finished);
        self.busy = slice.is_some() || self.parts.slices.is_done();
        if let Some(slice) = slice {
            out.send(slice.events, slice.dead_letters)?;
            out.send_lookups(slice.versions, slice.raw, VersionsFrom::History);
            let mut status = self.parts.board.worker(self.parts.local);
            status.history_rows_read += slice.rows;
            slice.tally.add_to(&mut status);
        }
        Ok(())
    }

    fn read_streams(&mut self, out: &mut Out) -> Result<(), Error> {
        let (t, stored) = (self.announced.t, self.stored());
        let progress = Progress { t, horizons: &self.parts.horizons, stored };
        let mut send = |Shaped { events, dead_letters, versions, raw, .. }| {
            out.send_lookups(versions, raw, VersionsFrom::Stream);
            out.send(events, dead_letters)
        };
        self.busy = self.parts.streams.read(&progress, &mut send)?;
        Ok(())
    }

    fn stored(&self) -> Tick {
        self.parts.stored.with_frontier(Tick::of_frontier).unwrap_or(Tick::AFTER_ALL).just_before()
    }

    /// Tells the coordinator what has changed.
    fn report(&mut self) {
        let due = self.status_at.elapsed() >= STATUS_EVERY;
        let FeedParts { slices, streams, coordinator, .. } = &self.parts;
        let report = Report {
            worker: self.parts.peer.worker,
            history_done: slices.is_done(),
            slices: slices.sent(),
            paused: self.announced.pause,
            partitions: streams.partitions(),
            looked: streams.looked(),
            reaches: streams.reaches(),
            stop: self.parts.stop.load(Ordering::Relaxed),
            full_refresh: coordinator.wanted_full_refresh(),
        };
        if self.reported.as_ref() != Some(&report) || due {
            self.parts.coordinator.report(report.clone());
            self.reported = Some(report);
        }
        if due {
            self.write_status();
        }
    }

    /// Writes down how far this worker is. The first one of a process tells what the process knows.
    fn write_status(&mut self) {
        self.status_at = Instant::now();
        let (t, stored) = (self.announced.t, self.stored());
        let mut status = self.parts.board.worker(self.parts.local);
        (status.t, status.stored) = (t, t.map(|t| stored.min(t)));
        self.parts.streams.tell(&mut status);
        drop(status);
        if self.parts.local == 0 {
            self.parts.coordinator.tell(self.parts.board.sum());
        }
    }

    /// Moves the capabilities to what has been announced, and lets go when the last tick is stored.
    fn advance(&mut self) -> Result<(), Failure> {
        if let Some(slice) = self.between_slices() {
            // The cut lies behind what everybody has sent.
            self.parts.slices.begin_after(slice);
        }
        let (t, first) = (self.announced.t, self.parts.first_tick.max(self.parts.slices.time()));
        let to = match t {
            Some(t) => t.just_after(),
            None if self.parts.slices.is_done() => first,
            None => self.parts.slices.time().min(first),
        };
        if *self.capabilities[0].time() < to {
            self.capabilities.iter_mut().for_each(|c| c.downgrade(&to));
            self.cut = self.parts.streams.positions();
            self.parts.streams.admissions.iter_mut().try_for_each(AdmissionLog::settle)?;
        }
        let checkpoint = self.announced.checkpoint.map(|(number, _)| number);
        if let Some((number, t)) = self.announced.checkpoint.filter(|(number, _)| *number > self.cut_told) {
            self.cut_told = number;
            let read = self.parts.slices.read().clone();
            let mut in_progress = self.parts.checkpoint.borrow_mut();
            in_progress.positions = Some((number, self.cut.clone(), read));
            if let Some(log) = &mut self.parts.streams.admissions {
                in_progress.admissions.insert(number, log.cut(number, t)?);
            }
        }
        let is_saved = checkpoint.is_none_or(|number| self.parts.coordinator.contributed() >= number);
        if self.announced.last && is_saved && t.is_none_or(|t| self.stored() >= t) {
            self.write_status();
            self.parts.coordinator.close();
            self.capabilities.clear();
        }
        Ok(())
    }
}
