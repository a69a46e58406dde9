//! `headwater run JOB`

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::args::RunArgs;
use super::progress;
use super::showing::Showing;
use super::{log, panics, signals};
use crate::base::failure::Failure;
use crate::cluster::hosts;
use crate::run::{self, Options};
use crate::serve::{self, Serving};

pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let job = log::load(&args.job)?;
    let options = Options {
        until_end: args.until_end,
        fresh: args.fresh,
        cluster: args.cluster.of(args.workers),
        ends_process: true,
    };
    panics::of_cluster(hosts::read(&options.cluster)?, Duration::ZERO);
    let stop = Arc::new(AtomicBool::new(false));
    signals::stop_on_signal(stop.clone(), "writing what has been read")?;
    let mut board = None;
    let first = args.cluster.process == 0;
    let status = run::run(job, &options, stop, |view, before: Option<(Option<Serving>, Option<Showing>)>| {
        board = Some(view.board.clone());
        // The whole job is process 0's to tell.
        let serving = match before.and_then(|(serving, _)| serving) {
            Some(serving) => Some(serving.follow(view.clone())),
            None => first.then(|| serve::start(view.clone())).transpose()?,
        };
        let progress = first.then(|| progress::show(view)).transpose()?;
        Ok((serving, progress))
    })?;
    // A process alone knows itself to the last event; what others said may be a moment old.
    let status = board.filter(|_| args.cluster.processes == 1).map_or(status, |board| board.sum());
    tracing::info!("done: {}", progress::summary(&status));
    Ok(())
}
