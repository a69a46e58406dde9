//! The job, running on threads of its own, and serving `get` and `status` as any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use headwater_connectors::sink::{HeldStore, Lookup};
use headwater_connectors::threads::Helper;

use crate::base::failure::Failure;
use crate::job::Job;
use crate::observe::status::ProcessStatus;
use crate::observe::view::RunView;
use crate::run::{self, Options};
use crate::{cluster, serve};

pub struct Running {
    pub view: RunView,
    /// Its store, to read rows from as they are written.
    pub store: Arc<dyn HeldStore>,
    pub rows: Box<dyn Lookup>,
    stop: Arc<AtomicBool>,
    thread: Helper<ProcessStatus, Failure>,
}

impl Running {
    /// Starts the job, and returns once the seam is found.
    pub fn start(job: Job) -> Result<Running, Failure> {
        let options =
            Options { until_end: false, fresh: true, cluster: cluster::options::Options::alone(1), ends_process: true };
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, (to_us, from_it)) = (stop.clone(), channel());
        let thread = Helper::start("job", move || {
            run::run(job, &options, asked, move |view, _| {
                let serving = serve::start(view.clone())?;
                // We wait for it.
                let _ = to_us.send(view);
                Ok(serving)
            })
        })?;
        let Ok(view) = from_it.recv() else { return Err(failure(thread)) };
        match view.stores.iter().flatten().next().cloned() {
            Some(store) => Ok(Running { view, rows: store.lookup(), store, stop, thread }),
            None => Err(Failure::Running("the job has no embedded store".to_owned())),
        }
    }

    pub fn status(&self) -> ProcessStatus {
        self.view.board.sum()
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Lets the job finish what it has read.
    pub fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map(drop)
    }

    /// Why it has ended before it was asked to.
    pub fn failure(self) -> Failure {
        failure(self.thread)
    }
}

fn failure(thread: Helper<ProcessStatus, Failure>) -> Failure {
    let ended = |_| Failure::Running("the job ended by itself".to_owned());
    thread.join().map_or_else(|failure| failure, ended)
}
