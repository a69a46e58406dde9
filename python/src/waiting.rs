//! Work that takes long: it has a thread of its own, and Python is free meanwhile. Ctrl-C is looked for, and progress told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use headwater::Failure;
use pyo3::prelude::*;

use crate::failure::of_failure;
use crate::log;

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What work for a job gives. `look`: called again and again until it is done; where that fails, or Ctrl-C came, the work is told to `stop`, and its
/// end is waited for where it is a work that stops.
pub fn wait_for<T: Send + 'static>(
    (py, job): (Python<'_>, &headwater::Job),
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    mut look: impl FnMut(Python<'_>) -> PyResult<()>,
    stop: Option<&(dyn Fn() + Sync)>,
) -> PyResult<T> {
    log::listen();
    let (done, mut waiting) = channel();
    let guarded = move || {
        let given = catch_unwind(AssertUnwindSafe(work));
        // Whoever was interrupted does not wait for it any more.
        let _ = done.send(given.unwrap_or_else(|_| Err(Failure::Running("it panicked: see stderr".to_owned()))));
    };
    let thread = std::thread::Builder::new().name("headwater".to_owned()).spawn(guarded);
    let thread = thread.map_err(|e| of_failure(&Failure::Running(format!("starting a thread: {e}"))))?;
    loop {
        let on = &mut waiting;
        let given = py.detach(move || on.recv_timeout(LOOK_EVERY));
        log::tell(py, |line| job.mask(line))?;
        match given {
            Ok(given) => return given.map_err(|failure| of_failure(&failure)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(of_failure(&Failure::Running("the work ended without a word".to_owned())));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(interrupted) = py.check_signals().and_then(|()| look(py)) {
            if let Some(stop) = stop {
                stop();
                // How it ended is no news beside why.
                drop(py.detach(|| thread.join()));
            }
            return Err(interrupted);
        }
    }
}
