//! `headwater backfill JOB`: training rows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use headwater_connectors::table::{Source, Target};
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::BackfillArgs;
use super::showing::Showing;
use super::{log, panics, signals};
use crate::backfill::request::Request;
use crate::backfill::watch::{Phase, Progress, Watch};
use crate::backfill::{backfill as work_out, memory};
use crate::base::failure::Failure;
use crate::base::human::HumanCount;
use crate::cluster::hosts;

const LOG_EVERY: Duration = Duration::from_secs(10);

/// So long a backfill that has lost a process may take to end.
const ENDING: Duration = Duration::from_secs(20);

pub fn backfill(args: &BackfillArgs) -> Result<(), Failure> {
    let job = log::load(&args.job)?;
    let request = request(args);
    panics::of_cluster(hosts::read(&request.cluster())?, ENDING);
    let stop = Arc::new(AtomicBool::new(false));
    signals::stop_on_signal(stop.clone(), "nothing is written")?;
    let began = Instant::now();
    let watch = Arc::new(Watch::new());
    let is_first = args.cluster.process == 0;
    // The whole is process 0's to tell.
    let showing = is_first.then(|| show_progress(watch.clone())).transpose()?;
    let done = work_out(job, &request, &watch, &stop);
    drop(showing);
    let done = done?;
    match is_first {
        true => tracing::info!("done: {}", done.summary(&args.out, began.elapsed())),
        false => tracing::info!("done: process 0 has written the rows"),
    }
    Ok(())
}

fn request(args: &BackfillArgs) -> Request {
    let workers = args.workers.map(usize::from);
    let workers = workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    Request {
        spine: Source::Path(args.spine.clone()),
        out: Target::Path(args.out.clone()),
        time: args.time.clone(),
        features: args.features.clone(),
        known: args.known.into(),
        workers,
        cluster: Some(args.cluster.of(workers)),
        memory: args.memory.unwrap_or_else(memory::by_default),
        spill: args.spill.clone(),
    }
}

/// Shows how far it is as long as that is held: a bar on a terminal, log lines elsewhere.
pub(super) fn show_progress(watch: Arc<Watch>) -> Result<Showing, Failure> {
    let bar = log::draws().then(bar);
    let mut logged = Instant::now();
    Showing::start(move |last| match &bar {
        Some(bar) if last => {
            bar.finish_and_clear();
            log::write_above(None);
        }
        Some(bar) => draw(bar, watch.look()),
        None if !last && logged.elapsed() >= LOG_EVERY => {
            logged = Instant::now();
            tracing::info!("{}", line(watch.look()));
        }
        None => {}
    })
}

fn bar() -> ProgressBar {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    log::write_above(Some(all.clone()));
    let bar = all.add(ProgressBar::new(0));
    let style = ProgressStyle::with_template("{bar:30} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar
}

fn draw(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.total.unwrap_or(progress.done).max(1));
    bar.set_position(progress.done);
    bar.set_message(line(progress));
}

/// `events: 1,000 of 20,000 records, 500 records/s, 38 seconds to go`
fn line(progress: Progress) -> String {
    let (doing, counted) = progress.phase.told();
    if progress.phase == Phase::Plan {
        return doing.to_owned();
    }
    let seconds = progress.began.elapsed().as_secs_f64().max(1e-3);
    let per_second = progress.done as f64 / seconds;
    let rate = format!("{} {counted}/s", HumanCount(per_second as u64));
    let Some(total) = progress.total else {
        return format!("{doing}: {} {counted}, {rate}", HumanCount(progress.done));
    };
    let left = total.saturating_sub(progress.done) as f64 / per_second.max(1.0);
    let left = HumanDuration(Duration::from_secs_f64(left.min(1e9)));
    format!("{doing}: {} of {} {counted}, {rate}, {left} to go", HumanCount(progress.done), HumanCount(total))
}
