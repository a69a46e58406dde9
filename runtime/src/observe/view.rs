//! What others may watch of a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use headwater_connectors::sink::HeldStore;

use super::earlier::Earlier;
use super::status::{Board, ProcessStatus};
use crate::base::id::{Generation, IdVec, SinkId, WorkerId};
use crate::catalog::opened::Opened;
use crate::checkpoint::resumption::Start;
use crate::checkpoint::store::StateStore;
use crate::plan::mode::Mode;
use crate::serve_log::ServeLog;

/// The stores that this process has to itself.
pub type HeldStores = IdVec<SinkId, Option<Arc<dyn HeldStore>>>;

/// What others may watch of a run.
#[derive(Clone)]
pub struct RunView {
    pub opened: Arc<Opened>,
    pub start: Arc<Start>,
    pub mode: Mode,
    pub state: Arc<StateStore>,
    /// On process 0: how often the job was started, ever.
    pub starts: Generation,
    /// This process's workers.
    pub board: Board,
    /// On process 0: every process's status, by its first worker.
    pub statuses: Arc<Mutex<BTreeMap<WorkerId, ProcessStatus>>>,
    pub stores: HeldStores,
    /// On process 0: the asker's end of earlier values.
    pub earlier: Arc<Earlier>,
    /// Where it is written down what is served, if it is.
    pub serve_log: Option<Arc<ServeLog>>,
}

impl RunView {
    /// The whole job; before the first word of any process, what this one knows.
    pub fn status(&self) -> ProcessStatus {
        let statuses = self.statuses.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if statuses.is_empty() {
            return self.board.sum();
        }
        let mut sum = ProcessStatus::default();
        statuses.values().for_each(|status| sum.add(status));
        sum
    }
}
