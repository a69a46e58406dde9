//! `headwater run JOB`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::args::RunArgs;
use super::progress::{self, Progress};
use super::{log, panics};
use crate::base::failure::Failure;
use crate::cluster::hosts;
use crate::run::{self, Options};
use crate::serve::{self, Serving};

pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let job = log::load(&args.job)?;
    let options = Options { until_end: args.until_end, fresh: args.fresh, cluster: args.cluster(), ends_process: true };
    panics::of_cluster(hosts::read(&options.cluster)?);
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(stop.clone())?;
    let mut board = None;
    let first = args.process == 0;
    let status = run::run(job, &options, stop, |view, before: Option<(Option<Serving>, Option<Progress>)>| {
        board = Some(view.board.clone());
        let failed = |e| Failure::Running(format!("starting a thread: {e}"));
        // The whole job is process 0's to tell.
        let serving = match before.and_then(|(serving, _)| serving) {
            Some(serving) => Some(serving.follow(view.clone())),
            None => first.then(|| serve::start(view.clone())).transpose()?,
        };
        let progress = first.then(|| Progress::start(view).map_err(failed)).transpose()?;
        Ok((serving, progress))
    })?;
    // A process alone knows itself to the last event; what others said may be a moment old.
    let status = board.filter(|_| args.processes == 1).map_or(status, |board| board.sum());
    tracing::info!("done: {}", progress::summary(&status));
    Ok(())
}

/// SIGINT and SIGTERM ask for a clean end; a second one ends at once.
fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::Running(format!("waiting for signals: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // Caught from here on, however late the thread is.
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(inside);
    let wait = async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
            tracing::info!("stopping: writing what has been read; once more ends at once");
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait)).map_err(failed)?;
    Ok(())
}
