//! What other languages are given: a job, and what one asks of it, with tables as Arrow. The Python package stands on this.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use headwater_connectors::table::{Source, Target};

pub use headwater_connectors::table::Rows;

use crate::backfill::request::{Known, Request};
use crate::backfill::watch::Watch;
use crate::backfill::{backfill as work_out, memory};
use crate::base::failure::Failure;
use crate::base::fault::Faults;
use crate::catalog::open::open_for_rows;
use crate::describe::{catalog, check};
use crate::job::{Job, validate};
use crate::serve::{endpoint, export};
use crate::start::{identity, meaning};

/// A job as it was written; `shown` is what places call the text.
pub fn job(shown: &str, text: &str, dir: &Path) -> Result<Job, Faults> {
    Job::from_text(shown, text, dir)
}

/// The keys that each kind of table in a job file may have, but for those that a `type` brings.
pub fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    validate::keys()
}

/// Where the running job is found.
pub fn endpoint(job: &Job) -> String {
    endpoint::path(job).display().to_string()
}

/// Looks at its sources, whether every name and type fits.
pub fn open(job: &Job) -> Result<(), Failure> {
    open_for_rows(job.clone()).map(drop).map_err(|failure| masked(job, failure))
}

/// What `headwater check` tells.
pub fn check(job: &Job) -> Result<String, Failure> {
    let told = || {
        let looked = check::look(job.clone())?;
        looked.start.map(|_| job.mask(&looked.text))
    };
    told().map_err(|failure| masked(job, failure))
}

/// What `headwater catalog` knows of it, as JSON.
pub fn catalog(job: &Job) -> Result<String, Failure> {
    catalog::json_of(job.clone()).map(|text| job.mask(&text))
}

/// What its rows mean, in one number: jobs with the same one go on from each other's states.
pub fn fingerprint(job: &Job) -> Result<String, Failure> {
    let opened = open_for_rows(job.clone()).map_err(|failure| masked(job, failure))?;
    let mut text = String::new();
    for (id, group) in opened.job.groups.pairs() {
        text += &format!("{} {}\n", group.name, identity::of_group(&opened, id));
        for (n, column) in group.columns.iter().enumerate() {
            text += &format!("{} {}\n", column.name, identity::of_column(&opened, id, n));
        }
        for derived in &group.derived {
            text += &format!("{} = {}\n", derived.name, derived.of.text);
        }
    }
    for view in opened.views.ids() {
        text += &format!("{}\n", meaning::of_query(&opened, view));
    }
    Ok(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes())))
}

/// Every row of a group, whether the job runs or not.
pub fn export(job: &Job, group: &str, sink: Option<&str>) -> Result<Rows, Failure> {
    export::table(job.clone(), group, sink).map_err(|failure| masked(job, failure))
}

/// What a backfill is asked for; `known` as on the command line.
pub struct BackfillArguments {
    /// The spine's column of times.
    pub time: String,
    /// `arrival`, `event` or `served`.
    pub known: String,
    /// Names of groups; otherwise all that have rows of moments.
    pub features: Option<Vec<String>>,
    /// Threads; otherwise as many as there are cores.
    pub workers: Option<usize>,
    /// As in `512MiB`.
    pub memory: Option<String>,
}

/// How far a backfill is, and how it is stopped.
#[derive(Clone)]
pub struct Course(Arc<(Watch, AtomicBool)>);

impl Default for Course {
    fn default() -> Course {
        Course(Arc::new((Watch::new(), AtomicBool::new(false))))
    }
}

impl Course {
    /// What it is doing, what it counts, how many of how many there are.
    pub fn look(&self) -> (&'static str, &'static str, u64, Option<u64>) {
        let progress = self.0.0.look();
        let (doing, counted) = progress.phase.told();
        (doing, counted, progress.done, progress.total)
    }

    /// Returns at once; the backfill fails soon.
    pub fn stop(&self) {
        self.0.1.store(true, Ordering::Relaxed);
    }
}

/// Training rows for the rows of a spine, in its order.
pub fn backfill(job: &Job, spine: Rows, asked: &BackfillArguments, course: &Course) -> Result<Rows, Failure> {
    let began = Instant::now();
    let known = Known::named(&asked.known)
        .ok_or_else(|| Failure::Usage(format!("known: `{}` is none of: arrival, event, served", asked.known)))?;
    let memory = asked.memory.as_deref().map(memory::parse).transpose().map_err(Failure::Usage)?;
    let to = Arc::new(Mutex::new(None));
    let request = Request {
        spine: Source::Rows(spine),
        out: Target::Rows(to.clone()),
        time: asked.time.clone(),
        features: asked.features.clone(),
        known,
        workers: asked.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        cluster: None,
        memory: memory.unwrap_or_else(memory::by_default),
        spill: None,
    };
    let done = work_out(job.clone(), &request, &course.0.0, &course.0.1).map_err(|failure| masked(job, failure))?;
    let told = done.summary("memory", began.elapsed());
    match done.dead_letters.is_empty() && done.unfit_sums == 0 {
        true => tracing::info!("done: {told}"),
        false => tracing::warn!("done: {told}"),
    }
    let rows = to.lock().unwrap_or_else(PoisonError::into_inner).take();
    rows.ok_or_else(|| Failure::Running("the backfill gave no rows".to_owned()))
}

fn masked(job: &Job, failure: Failure) -> Failure {
    failure.masked(|text| job.mask(text))
}
