//! Partitions that a stream gets while a job follows it. On every worker a thread for each source looks for them.
//!
//! ```text
//! partitions of the plan     0 1 2         dealt out by the plan
//! a look, asked at w         0 1 2 3       3 is read by worker (source + 3) % workers
//! ```
//!
//! Whose a partition is depends on its number alone: workers that see it at different moments agree, so no two read it, and none is
//! left over. It is read from its first record. What `T` has passed by then is admitted; so that none of it finds its window gone,
//! windows are kept for what a partition that nobody has seen yet may bring: see `looked`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use headwater_clocks::{Time, WallClock};
use headwater_connectors::Error;
use headwater_connectors::stream::{Reader, Start};

use super::lanes::{Lane, SourceReader};
use super::partition::Partition;
use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::{Id, ScanId, SourceId};
use crate::base::peer::Peer;
use crate::catalog::opened::Opened;
use crate::checkpoint::resumption;
use crate::plan::scan::{PartitionPlan, Scan};
use crate::plan::side::Side;

const LOOK_EVERY: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The partitions that a source may get, on one worker.
pub struct Newcomers {
    pub source: SourceId,
    /// The wall clock when a look was asked for whose partitions have all been handed out.
    pub looked: WallClock,
    start: Arc<resumption::Start>,
    side: Side,
    answered: Arc<AtomicI64>,
    found: Receiver<NewPartitions>,
    /// The thread ends with it.
    _listening: Sender<()>,
}

/// Some partitions of this worker's, and who reads them.
struct NewPartitions {
    starts: Vec<Start>,
    reader: Box<dyn Reader>,
}

impl Newcomers {
    /// Begins to look, for a side. Sources without a stream that may get any have none.
    pub fn all(
        opened: &Arc<Opened>,
        start: &Arc<resumption::Start>,
        side: Side,
        peer: Peer,
        failures: &Failures,
    ) -> Result<Vec<Newcomers>, Failure> {
        let grows = |source: &SourceId| opened.sources[*source].stream.as_ref().is_some_and(|stream| stream.grows());
        let is_read = |source: &SourceId| start.plan.scans.iter().any(|r| (r.source, r.side) == (*source, side));
        let sources = opened.sources.ids().filter(grows).filter(is_read);
        sources.map(|source| Newcomers::of_source(opened, start, (source, side), peer, failures)).collect()
    }

    fn of_source(
        opened: &Arc<Opened>,
        start: &Arc<resumption::Start>,
        (source, side): (SourceId, Side),
        peer: Peer,
        failures: &Failures,
    ) -> Result<Newcomers, Failure> {
        let scans = start.plan.scans.iter().filter(|scan| scan.source == source);
        let known = scans.flat_map(|scan| scan.partitions.iter().map(|p| p.partition)).collect();
        let (to, found) = channel();
        let (listening, gone) = channel();
        let answered = Arc::new(AtomicI64::new(WallClock::BEFORE_ALL.us()));
        let looking = Looking { opened: opened.clone(), source, peer, known, to };
        let answering = answered.clone();
        failures.spawn("new-partitions", move || looking.run(&answering, &gone))?;
        let start = start.clone();
        Ok(Newcomers { source, looked: WallClock::BEFORE_ALL, start, side, answered, found, _listening: listening })
    }

    /// Those that came since.
    pub fn take(&mut self, name: &str) -> Vec<SourceReader> {
        // First, so that whatever was found by then is taken.
        let answered = WallClock::from_us(self.answered.load(Ordering::Acquire));
        let mut readers = vec![];
        while let Ok(found) = self.found.try_recv() {
            let NewPartitions { starts, mut reader } = found;
            let thread = std::thread::current();
            reader.on_ready(Box::new(move || thread.unpark()));
            for Start { partition, offset } in &starts {
                tracing::info!(source = name, partition, first_read = offset.number(), "a new partition");
            }
            let lanes = starts.iter().map(|start| self.lane(start)).collect();
            readers.push(SourceReader { source: self.source, reader, lanes });
        }
        self.looked = answered;
        readers
    }

    /// The scans of the source, on this side.
    pub fn scans(&self) -> impl Iterator<Item = ScanId> {
        let is_read = |scan: &Scan| (scan.source, scan.side) == (self.source, self.side);
        self.start.plan.scans.pairs().filter(move |(_, scan)| is_read(scan)).map(|(id, _)| id)
    }

    fn lane(&self, start: &Start) -> Lane {
        let Start { partition, offset } = *start;
        let plan = PartitionPlan::unknown(partition, offset);
        let scans = self.scans().map(|scan| Partition::new(scan, plan.clone(), WallClock::now()));
        Lane { partition, exhausted: false, rest: vec![], scans: scans.collect() }
    }
}

/// The thread's own.
struct Looking {
    opened: Arc<Opened>,
    source: SourceId,
    peer: Peer,
    known: BTreeSet<i32>,
    to: Sender<NewPartitions>,
}

impl Looking {
    fn run(mut self, answered: &AtomicI64, gone: &Receiver<()>) -> Result<(), Error> {
        loop {
            let asked = WallClock::now();
            let pause = if self.look()? {
                answered.store(asked.us(), Ordering::Release);
                LOOK_EVERY
            } else {
                AGAIN_AFTER
            };
            if gone.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return Ok(());
            }
        }
    }

    /// `false`: there was no answer. (Those who read the source tell that.)
    fn look(&mut self) -> Result<bool, Error> {
        let Some(stream) = self.opened.sources[self.source].stream.clone() else { return Ok(true) };
        let starts = match stream.appeared(&self.known) {
            Ok(starts) => starts,
            Err(e) => {
                tracing::debug!("{e}");
                return Ok(false);
            }
        };
        self.known.extend(starts.iter().map(|start| start.partition));
        let mine = |start: &Start| self.peer.is_dealt(turn(self.source, start.partition));
        let starts: Vec<Start> = starts.into_iter().filter(mine).collect();
        if !starts.is_empty() {
            let found = self.open(starts)?;
            // Nobody listens at the end of a run.
            let _ = self.to.send(found);
        }
        Ok(true)
    }

    fn open(&self, starts: Vec<Start>) -> Result<NewPartitions, Error> {
        let (conf, open) = (&self.opened.job.sources[self.source], &self.opened.sources[self.source]);
        let stream = open.stream.as_ref().expect("a source that is looked at has a stream");
        for Start { partition, offset } in starts.iter().filter(|start| start.offset > stream.first_offset()) {
            let gap = format!(
                "{}, partition {partition}: it is new, and its first records are gone already: the earliest held is {offset}",
                stream.name()
            );
            if !conf.seam.allow_gap {
                return Err(Error::Gap(gap));
            }
            tracing::warn!("{gap}");
        }
        let reader = stream.reader(&starts, &open.wanted)?;
        Ok(NewPartitions { starts, reader })
    }
}

/// The place at which a partition that is not of the plan is dealt out among workers.
fn turn(source: SourceId, partition: i32) -> usize {
    source.index() + partition.unsigned_abs() as usize
}
