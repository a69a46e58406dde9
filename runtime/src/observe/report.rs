//! What a running job says of itself, with names and times for people: the answer to `status`.

use std::collections::BTreeMap;

use headwater_clocks::Offset;
use headwater_operators::group::Counters;
use serde::{Deserialize, Serialize};

use super::status::SourceCounts;

/// A running job, or how one was at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The name of the job.
    pub job: String,
    /// Of Headwater.
    pub version: String,
    /// The process that tells it: of a cluster, process 0.
    pub pid: u32,
    /// How far it has come.
    pub phase: Phase,
    /// The wall clock, when it was asked.
    pub now: String,
    /// The job's own time, once it has begun.
    pub t: Option<String>,
    /// How much of the history is read.
    pub bootstrap: Bootstrap,
    /// The newest that is whole. A job without any stream has none.
    pub checkpoint: Option<CheckpointReport>,
    /// In the order of the job.
    pub sources: Vec<SourceReport>,
    /// In the order of the job.
    pub groups: Vec<GroupReport>,
    /// In the order of the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<ViewReport>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The history is being read.
    Bootstrap,
    /// The streams are followed.
    Following,
    /// The streams are read to the ends that they had at the start.
    UntilEnd,
}

/// How much of the history is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bootstrap {
    /// So far.
    pub rows_read: u64,
    /// Of all files of all sources, less what a checkpoint has.
    pub rows_total: u64,
}

/// A checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// Those of a later start have greater numbers.
    pub number: u64,
    /// `None`: it was taken while the history was read.
    pub t: Option<String>,
    /// Since it was begun.
    pub age_seconds: Option<f64>,
    /// From then until it was whole, if this run has written it.
    pub duration_seconds: Option<f64>,
    /// What it holds where the state is kept.
    pub bytes: u64,
}

/// A source: since the start of the run, and of the stream alone unless it says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceReport {
    /// As in the job.
    pub name: String,
    /// Where history and stream meet.
    pub seam: SeamReport,
    /// What was read of the stream.
    #[serde(flatten)]
    pub counts: SourceCounts,
    /// By reason: of history and stream.
    pub dead_letters: BTreeMap<String, u64>,
    /// By number.
    pub partitions: Vec<PartitionReport>,
    /// Whether it is a table.
    #[serde(default)]
    pub is_table: bool,
    /// Of a table: versions of its rows that are held, by each worker.
    #[serde(default)]
    pub versions_held: u64,
    /// Whether its events replace one another.
    #[serde(default)]
    pub is_replaced: bool,
    /// Then: keys of which some window may hold an event.
    #[serde(default)]
    pub keys_remembered: u64,
    /// Then: removals of what was not there.
    #[serde(default)]
    pub removed_nothing: u64,
    /// What is odd about the seam.
    pub warnings: Vec<String>,
}

/// Where history and stream meet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeamReport {
    /// `offset`, `time` or `id`.
    pub by: String,
    /// The seam in time: no row is older.
    pub s: Option<String>,
    /// The largest time of the history by which records are matched.
    pub c: Option<String>,
    /// What the history has.
    pub history_rows: u64,
    /// Of a table that has versions: which one was pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_version: Option<String>,
    /// Whether a gap is passed over.
    pub allow_gap: bool,
}

/// A partition of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionReport {
    /// Its number.
    pub partition: i32,
    /// The last offset that the history has (seam by offset).
    pub history_offset: Option<Offset>,
    /// The first offset that this run reads.
    pub first_read: Offset,
    /// The next offset to read.
    pub position: Option<Offset>,
    /// One past the last offset that is known.
    pub end: Option<Offset>,
    /// Records between position and end.
    pub lag: Option<i64>,
    /// The newest effective time.
    pub eff: Option<String>,
    /// It does not answer, and the clock does not wait for it.
    pub left_out: bool,
}

/// A group of columns: since the start of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupReport {
    /// As in the job.
    pub name: String,
    /// Whose events it has: the name of its source, or those of several, with `and` between them.
    pub source: String,
    /// What it has, and what it took.
    #[serde(flatten)]
    pub counts: Counters,
    /// Rows that came with a null since a derived column failed.
    pub derived_failures: u64,
    /// Whether the group has windows of its own.
    pub windowed: bool,
    /// By reason.
    pub dead_letters: BTreeMap<String, u64>,
    /// Events that a version of a table may still correct.
    #[serde(default)]
    pub events_held: u64,
    /// Events that stay in a window since what replaced them came too late for it.
    #[serde(default)]
    pub past_taking_back: u64,
    /// Every row up to it is in every store.
    pub as_of: Option<String>,
    /// How far the wall clock is ahead of `as_of`.
    pub staleness_seconds: Option<f64>,
    /// What can be read of before; `None`: the job keeps nothing, or cannot say it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<EarlierReport>,
    /// How far `T` is ahead of it: what is left of a backlog.
    pub behind_seconds: Option<f64>,
    /// Columns that are new and on their way: they enter once `T` has come as far.
    pub computing: Vec<String>,
    /// The tick at which they enter.
    pub enters_at: Option<String>,
    /// Where a shadow computes them, while the rows go on: how far it is. They enter once that is near `t`.
    #[serde(default)]
    pub computed_to: Option<String>,
}

/// A view: since the start of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ViewReport {
    /// As in the job.
    pub name: String,
    /// The groups, tables and views that it reads.
    pub reads: Vec<String>,
    /// What stores have of it.
    pub rows: u64,
    /// Rows that came, went or became another, ever.
    pub changes: u64,
    /// Rows that came with a null, or not at all, since an expression failed or their key has a null.
    pub failed_rows: u64,
    /// Sums that did not fit their type.
    pub unfit_sums: u64,
    /// Of links, the things, or entities, that are linked to more than `max_degree`, and link none.
    #[serde(default)]
    pub crowded: u64,
    /// Every row up to it is in every store.
    pub as_of: Option<String>,
    /// How far the wall clock is ahead of `as_of`.
    pub staleness_seconds: Option<f64>,
    /// What can be read of before; `None`: the job keeps nothing, or cannot say it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<EarlierReport>,
}

/// Earlier rows that are kept of a group, view or links, and can be read at any time of the last while.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EarlierReport {
    /// The first tick at which they can be read.
    pub from: String,
    /// The last one.
    pub to: String,
    /// Rows that are kept in memory for it, by all workers; those of now are among them.
    pub rows: u64,
}
