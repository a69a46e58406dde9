//! A run, from the outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_connectors::threads::Helper;

use super::options::Options;
use super::rows;
use super::serve::Seen;
use crate::base::failure::Failure;
use crate::cluster;
use crate::job::Job;
use crate::observe::report::Report;

/// A job that runs, or has ended. Dropped, it asks the run to stop and waits for it.
pub struct Handle {
    job: Job,
    stop: Arc<AtomicBool>,
    seen: Seen,
    thread: Option<Helper<(), Failure>>,
}

/// Starts a job on threads of its own, and returns at once: what is wrong with its sources, its seam or its stores comes out of
/// `Handle::wait`, like whatever else goes wrong on the way.
///
/// ```
/// use headwater::{Job, Options};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("clicks.jsonl"), "{\"ts\":1000,\"user\":\"ann\"}\n{\"ts\":2000,\"user\":\"ann\"}\n")?;
/// let job = Job::from_toml(
///     r#"
///     name = "clicks"
///     [sources.clicks]
///     event_time = "ts"
///     schema = { ts = "timestamp", user = "string" }
///     stream = { type = "jsonl", path = "clicks.jsonl" }
///     [features.users]
///     source = "clicks"
///     key = "user"
///     columns = { n = { agg = "count", window = "1h" } }
///     "#,
///     dir.path(),
/// )?;
/// let status = headwater::run(job.clone(), Options { until_end: true, ..Options::default() })?.wait()?;
/// assert_eq!(status.groups[0].counts.rows, 1);
/// let rows = headwater::get(&job, "users", &[("user", "ann")])?;
/// assert_eq!(rows, [r#"{"key":{"user":"ann"},"row":{"n":2},"changed_at":"1970-01-01T00:00:02Z","as_of":"1970-01-01T00:00:02Z"}"#]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// No thread can be started, or there are no workers.
pub fn run(job: Job, options: Options) -> Result<Handle, Failure> {
    if options.workers == 0 {
        return Err(Failure::Usage("`workers` must be at least 1".to_owned()));
    }
    let inner = crate::run::Options {
        until_end: options.until_end,
        fresh: options.fresh,
        cluster: cluster::options::Options::alone(options.workers),
        ends_process: false,
    };
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Seen::default());
    let (asked, begun, ours) = (stop.clone(), seen.clone(), job.clone());
    let work = move || {
        crate::run::run(job, &inner, asked, |view, before| begun.begin(view, options.endpoint, before)).map(drop)
    };
    let thread = Helper::start(&format!("headwater-{}", ours.name), work)?;
    Ok(Handle { job: ours, stop, seen, thread: Some(thread) })
}

impl Handle {
    /// How the run is, and after its end how it was. `None`: it is still being planned, or failed at that.
    pub fn status(&self) -> Option<Report> {
        self.seen.reporter().map(|reporter| reporter.report())
    }

    /// Asks the run to stop: what was read is written, a checkpoint is taken, and the run ends. Returns at once.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the run has ended, so that `wait` returns at once.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(Helper::is_finished)
    }

    /// Waits for the end: how the run was then.
    ///
    /// # Errors
    /// The run failed; or it was to read its streams to their ends, and was stopped before.
    pub fn wait(mut self) -> Result<Report, Failure> {
        let ended = self.thread.take().map_or(Ok(()), Helper::join);
        ended.map_err(|failure| failure.masked(|text| self.job.mask(text)))?;
        self.status().ok_or_else(|| Failure::Running("the run ended before it began".to_owned()))
    }

    /// The rows of a key as the run has them now: see `headwater::get`.
    ///
    /// # Errors
    /// As `get`; and it is still being planned.
    pub fn get(&self, group: &str, key: &[(&str, &str)]) -> Result<Vec<String>, Failure> {
        rows::of_run(&self.seen, |view| rows::get_from(&view.opened, Some(view), group, key))
            .map_err(|failure| failure.masked(|text| self.job.mask(text)))
    }

    /// The rows of a key as they were at an earlier time, like `"2026-01-31T10:00:00Z"`: at the last tick until then. The group, view or links
    /// need `history`. What is read at one time is of one tick.
    ///
    /// # Errors
    /// As `get`; nothing earlier is kept of it, or nothing of that time; or the run has ended.
    pub fn get_at(&self, group: &str, key: &[(&str, &str)], at: &str) -> Result<Vec<String>, Failure> {
        rows::of_run(&self.seen, |view| rows::get_at(view, group, key, at))
            .map_err(|failure| failure.masked(|text| self.job.mask(text)))
    }

    /// All rows of a group as the run has them now: see `headwater::export`.
    ///
    /// # Errors
    /// As `export`; and it is still being planned.
    pub fn export(&self, group: &str, mut each: impl FnMut(&str)) -> Result<(), Failure> {
        rows::of_run(&self.seen, |view| rows::export_from(&view.opened, Some(view), group, &mut each))
            .map_err(|failure| failure.masked(|text| self.job.mask(text)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        // Whoever wants to know how it ended has waited for it.
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}
