//! What the workers of a process have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater_connectors::sink::Store;

use super::caught::Catch;
use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::{IdVec, RowsId, ScanId, SinkId, WorkerId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::Opened;
use crate::checkpoint::generations::Starts;
use crate::checkpoint::resumption::Start;
use crate::checkpoint::store::StateStore;
use crate::ingest::effs::Effs;
use crate::ingest::history::rows_left;
use crate::ingest::seam::Seam;
use crate::observe::earlier::Earlier;
use crate::observe::status::{Board, GroupStatus, ProcessStatus, SinkStatus, SourceStatus};
use crate::plan::Plan;
use crate::plan::mode::Mode;
use crate::sink::thread::Backlog;

/// Opens the store of a sink for a worker.
pub type OpenStore = Box<dyn Fn(SinkId) -> Result<Box<dyn Store>, Failure> + Send + Sync>;

/// What every worker of a process is given.
pub struct Shared {
    pub opened: Arc<Opened>,
    pub start: Arc<Start>,
    pub state: Arc<StateStore>,
    /// On process 0: all starts of the job, this one the last.
    pub starts: Arc<Starts>,
    /// By side.
    pub sets: Vec<Arc<ColumnSets>>,
    pub seams: Arc<IdVec<ScanId, Seam>>,
    pub effs: Arc<IdVec<ScanId, Effs>>,
    pub mode: Mode,
    pub fresh: bool,
    pub board: Board,
    pub stop: Arc<AtomicBool>,
    /// Set where the run was stopped before its end; and where it starts again at once.
    pub interrupted: Arc<AtomicBool>,
    pub again: Arc<AtomicBool>,
    /// Worker 0 leaves here what the processes say of themselves.
    pub on_status: Arc<dyn Fn(WorkerId, ProcessStatus) + Send + Sync>,
    pub open_store: OpenStore,
    /// Who asks for earlier values; and by group and view, what its rows mean.
    pub earlier: Arc<Earlier>,
    pub meanings: IdVec<RowsId, String>,
    /// By sink, and of each side's dead letters: what waits to become lines.
    pub backlogs: Arc<Vec<Backlog>>,
    pub failures: Failures,
    pub local_workers: usize,
    /// Set once the run has failed.
    pub abandoned: Arc<AtomicBool>,
    /// Whether the process ends with the run.
    pub ends_process: bool,
    /// Of a replay: it has no sinks, writes no dead letters and saves nothing.
    pub catch: Option<Catch>,
}

/// What is known of a run of which nothing is known yet.
pub fn empty_status(opened: &Opened, plan: &Plan, sets: &ColumnSets) -> Result<ProcessStatus, Failure> {
    let rows = rows_left(opened, plan, sets)?;
    Ok(ProcessStatus {
        history_rows_total: rows,
        sources: IdVec::filled(SourceStatus::default(), opened.sources.len()),
        groups: IdVec::filled(GroupStatus::default(), opened.job.all_rows().count()),
        sinks: IdVec::filled(SinkStatus::default(), opened.job.sinks.len()),
        ..ProcessStatus::default()
    })
}
