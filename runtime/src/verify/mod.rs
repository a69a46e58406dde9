//! Verify: what was served, by the serve log, held against what a backfill gives for the same keys and times.
//!
//! ```text
//! serve log -> a spine for each group     keys, when it was asked, and the tick that the row was of              `spine`
//!
//! served                  what the log says
//!   | unexplained         nothing should be here: another value than a run publishes at that tick
//! --known served  at the row's tick       (where the job keeps admissions)
//!   | late admission      records that the run read after it had published their ticks
//! --known arrival at the row's tick
//!   | staleness           the row was of a tick before it was asked for
//! --known arrival when it was asked
//!   | late arrivals       events that had happened and had not arrived
//! --known event   when it was asked                                                                              `compare`
//! ```
//!
//! The difference of a value is that between what was served and what is known in hindsight, and each step between them that differs is a
//! part of why.

mod compare;
pub mod report;
pub mod request;
mod spine;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use headwater_clocks::Tick;
use headwater_connectors::table::{Source, Target};

use crate::backfill::asked;
use crate::backfill::backfill;
use crate::backfill::request::{Known, Request as Backfill};
use crate::backfill::scratch::{Scratch, SpillDir};
use crate::backfill::served::KeptAdmissions;
use crate::backfill::watch::Watch;
use crate::base::failure::Failure;
use crate::catalog::open::open_for_rows;
use crate::job::Job;
use compare::{Compare, Tables};
use report::Report;
use request::Request;
use spine::{MOMENT, Spine, TIME};

/// Works it out. `watch`: told of each backfill anew.
pub fn verify(job: Job, request: &Request, watch: &Watch, stop: &AtomicBool) -> Result<Report, Failure> {
    let Some(log) = job.serve_log.clone() else {
        return Err(Failure::Usage(
            "the job has no serve log: say where what is served is written down, as in [serve_log] with path = \"serve_log\"".to_owned(),
        ));
    };
    let kept = job.state.admissions_keep.map(|_| KeptAdmissions::find(&job)).transpose()?;
    let own = || SpillDir::own(job.state.local.join("verify"));
    let dir = request.spill.as_ref().map_or_else(own, |dir| SpillDir::named(dir, None));
    let scratch = Scratch::new(&dir, "verify")?;
    let opened = open_for_rows(job.clone())?;
    let upto = kept.as_ref().map(|kept| kept.t);
    let spines = spine::read(&opened, &log.path, request, upto, scratch.dir())?;
    let mut report = Report::new(&job, request, &spines.left_out);
    for spine in spines.groups.iter().filter(|spine| spine.rows > 0) {
        let passes = Passes { job: &job, request, spine, scratch: scratch.dir(), watch, stop };
        let tables = passes.all(kept.is_some())?;
        let replayed = kept.as_ref().map_or(&[] as &[(Tick, Tick)], |kept| kept.replayed());
        report.add(Compare::new(&opened, spine.group, replayed)?.all(&tables, spine)?);
    }
    report.keeps_admissions = kept.is_some();
    Ok(report)
}

/// The backfills of a group's spine.
struct Passes<'a> {
    job: &'a Job,
    request: &'a Request,
    spine: &'a Spine,
    scratch: &'a Path,
    watch: &'a Watch,
    stop: &'a AtomicBool,
}

impl Passes<'_> {
    fn all(&self, keeps_admissions: bool) -> Result<Tables, Failure> {
        let arrival = self.pass(Known::Arrival, MOMENT, "arrival")?;
        // Said once is enough.
        let quiet = tracing::subscriber::NoSubscriber::default();
        tracing::subscriber::with_default(quiet, || {
            let served = if keeps_admissions { Some(self.pass(Known::Served, MOMENT, "served")?) } else { None };
            let at_time = self.pass(Known::Arrival, TIME, "time")?;
            // What has no hindsight is never known better than when it was asked for.
            let has_hindsight = asked::has_hindsight(self.job, self.spine.group);
            let event = if has_hindsight { self.pass(Known::Event, TIME, "event")? } else { at_time.clone() };
            Ok(Tables { arrival, served, at_time, event })
        })
    }

    fn pass(&self, known: Known, time: &str, name: &str) -> Result<PathBuf, Failure> {
        let out = self.scratch.join(format!("{name}.parquet"));
        let Passes { job, request, spine, .. } = self;
        let backfill_of = Backfill {
            spine: Source::Path(spine.path.to_string_lossy().into_owned()),
            out: Target::Path(out.to_string_lossy().into_owned()),
            time: time.to_owned(),
            features: Some(vec![job.name_of(spine.group).to_owned()]),
            known,
            workers: request.workers,
            cluster: None,
            memory: request.memory,
            spill: Some(self.scratch.join("spill")),
        };
        backfill((*job).clone(), &backfill_of, self.watch, self.stop)?;
        Ok(out)
    }
}
