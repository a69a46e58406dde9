//! What a running job says of itself: for `status`, `/metrics` and the progress bar.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard};

use headwater_clocks::{Eff, Offset, Tick};
use headwater_operators::group::Counters;
use serde::{Deserialize, Serialize};

use crate::base::id::{IdVec, RowsId, SinkId, SourceId};
use crate::plan::side::Side;

/// What one process knows; the whole is the sum over the processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    pub history_rows_total: u64,
    pub history_rows_read: u64,
    pub sources: IdVec<SourceId, SourceStatus>,
    pub groups: IdVec<RowsId, GroupStatus>,
    pub sinks: IdVec<SinkId, SinkStatus>,
    /// Dead letters that wait to be written.
    pub dead_letters_waiting: u64,
    /// Attempts to reach where the state is kept that failed, and were made again.
    pub state_failures: u64,
    /// The job's own time.
    pub t: Option<Tick>,
    /// Up to here every row is in every store, from all workers.
    pub stored: Option<Tick>,
    /// That of the shadow, which computes what is new in a changed job.
    pub shadow: Option<Box<ProcessStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    pub counts: SourceCounts,
    pub dead_letters: BTreeMap<String, u64>,
    pub partitions: Vec<PartitionStatus>,
    /// Of a table: versions of its rows that workers hold, each all of them.
    #[serde(default)]
    pub versions_held: u64,
    /// Of events that replace one another: keys of which some window may hold an event.
    #[serde(default)]
    pub keys_remembered: u64,
    /// Removals of what was not there.
    #[serde(default)]
    pub removed_nothing: u64,
}

/// What was read of a source. Whoever adds a number here adds it below; then it is summed, and told of a running job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Records read from the stream.
    pub records: u64,
    /// What they had, before they were decoded.
    pub bytes: u64,
    /// Records of the stream that the seam passed over.
    pub passed_over: u64,
    /// Of these, records that were appended after the first pass: the history may lack them (seam by time or id).
    pub missed: u64,
    /// Records without a value.
    pub tombstones: u64,
    /// Records read after `T` had passed their tick.
    pub admitted: u64,
    /// Of a table: versions that came so late that they are in force later than they say.
    #[serde(default)]
    pub late_versions: u64,
}

impl AddAssign for SourceCounts {
    fn add_assign(&mut self, other: SourceCounts) {
        let SourceCounts { records, bytes, passed_over, missed, tombstones, admitted, late_versions } = other;
        self.records += records;
        self.bytes += bytes;
        self.passed_over += passed_over;
        self.missed += missed;
        self.tombstones += tombstones;
        self.admitted += admitted;
        self.late_versions += late_versions;
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub partition: i32,
    /// The first offset that this run read.
    pub start: Offset,
    /// The next offset to read.
    pub position: Offset,
    pub end: Option<Offset>,
    /// The newest `eff`.
    pub eff: Option<Eff>,
    pub left_out: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    pub counts: Counters,
    /// Rows that came with a null since a derived column failed.
    pub derived_failures: u64,
    pub dead_letters: BTreeMap<String, u64>,
    /// Events that a version of a table may still correct.
    #[serde(default)]
    pub events_held: u64,
    /// Of links, what is linked to too many to link any.
    #[serde(default)]
    pub crowded: u64,
    /// Events that stay in a window since what replaced them came too late for it.
    #[serde(default)]
    pub past_taking_back: u64,
    /// Rows that are kept so that earlier ones can be read, those of now among them.
    #[serde(default)]
    pub earlier_rows: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Rows, or lines, that wait to be written.
    pub waiting: u64,
    /// How often a worker found that the store had lost writes: all rows were written once more.
    pub losses: u64,
}

impl ProcessStatus {
    /// Adds what another process or worker knows.
    pub fn add(&mut self, other: &ProcessStatus) {
        self.history_rows_total = self.history_rows_total.max(other.history_rows_total);
        self.history_rows_read += other.history_rows_read;
        self.t = self.t.max(other.t);
        self.stored = match (self.stored, other.stored) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Some(theirs) = &other.shadow {
            self.shadow.get_or_insert_default().add(theirs);
        }
        self.sources.grow_to(other.sources.len());
        self.sinks.grow_to(other.sinks.len());
        self.dead_letters_waiting += other.dead_letters_waiting;
        self.state_failures += other.state_failures;
        self.groups.grow_to(other.groups.len());
        for (ours, theirs) in self.sources.iter_mut().zip(&other.sources) {
            ours.add(theirs);
        }
        for (ours, theirs) in self.sinks.iter_mut().zip(&other.sinks) {
            ours.waiting += theirs.waiting;
            ours.losses += theirs.losses;
        }
        for (ours, theirs) in self.groups.iter_mut().zip(&other.groups) {
            ours.add(theirs);
        }
    }
}

impl SourceStatus {
    fn add(&mut self, other: &SourceStatus) {
        self.counts += other.counts;
        add_counts(&mut self.dead_letters, &other.dead_letters);
        self.partitions.extend(other.partitions.iter().cloned());
        self.partitions.sort_by_key(|p| p.partition);
        self.versions_held += other.versions_held;
        self.keys_remembered += other.keys_remembered;
        self.removed_nothing += other.removed_nothing;
    }
}

impl GroupStatus {
    fn add(&mut self, other: &GroupStatus) {
        self.counts += other.counts;
        self.derived_failures += other.derived_failures;
        add_counts(&mut self.dead_letters, &other.dead_letters);
        self.events_held += other.events_held;
        self.crowded += other.crowded;
        self.past_taking_back += other.past_taking_back;
        self.earlier_rows += other.earlier_rows;
    }
}

pub fn add_counts(ours: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    theirs.iter().for_each(|(reason, n)| *ours.entry(reason.clone()).or_default() += n);
}

/// The statuses of a process's workers, each kept by its worker.
#[derive(Clone)]
pub struct Board {
    workers: Arc<Vec<Mutex<ProcessStatus>>>,
    shadow: Option<Box<Board>>,
}

impl Board {
    /// `empty`: by side.
    pub fn new(workers: usize, empty: &[ProcessStatus]) -> Board {
        let (live, shadow) = (&empty[0], &empty[1..]);
        let shadow = (!shadow.is_empty()).then(|| Box::new(Board::new(workers, shadow)));
        Board { workers: Arc::new((0..workers).map(|_| Mutex::new(live.clone())).collect()), shadow }
    }

    /// Where a side's workers keep theirs.
    pub fn of(&self, side: Side) -> Board {
        match &self.shadow {
            Some(shadow) if side == Side::Shadow => (**shadow).clone(),
            _ => self.clone(),
        }
    }

    pub fn worker(&self, local: usize) -> MutexGuard<'_, ProcessStatus> {
        self.workers[local].lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The process as a whole.
    pub fn sum(&self) -> ProcessStatus {
        let mut sum = ProcessStatus::default();
        (0..self.workers.len()).for_each(|local| sum.add(&self.worker(local)));
        sum.shadow = self.shadow.as_ref().map(|shadow| Box::new(shadow.sum()));
        sum
    }
}
