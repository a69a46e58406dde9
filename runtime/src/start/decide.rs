//! What process 0 decides before the first row is read, and writes down: where to go on from, and with which stores.

use std::sync::Arc;

use headwater_clocks::{Tick, WallClock};
use headwater_connectors::format::Pins;
use headwater_connectors::sink::{Claimed, HeldStore, SinkConfig};

use super::changed::Changed;
use super::fresh;
use super::go_on::go_on;
use super::log::{log_changes, log_new_files};
use super::meaning::{meaning, resets_changelog};
use super::pinned::{pinned, pins};
use super::shadow::assign_sides;
use super::stores::{claim, shapes};
use crate::base::failure::Failure;
use crate::base::id::{IdVec, SinkId};
use crate::catalog::open::{open, pin};
use crate::catalog::opened::Opened;
use crate::checkpoint::generations::{self, Starts};
use crate::checkpoint::manifest::{self, Manifest};
use crate::checkpoint::names::{DEAD_LETTERS, changelog};
use crate::checkpoint::resumption::Start;
use crate::checkpoint::store::StateStore;
use crate::job::Job;
use crate::plan::Plan;
use crate::plan::mode::Mode;

/// A start, as process 0 decides it.
pub struct Planner<'a> {
    pub mode: Mode,
    pub fresh: bool,
    pub state: &'a StateStore,
    /// By sink: the store, where this process has it to itself from a start before.
    pub held: &'a IdVec<SinkId, Option<Arc<dyn HeldStore>>>,
    /// Found: all starts of the job, this one the last.
    pub starts: Starts,
    /// By sink: the store, where this process now has it to itself.
    pub taken: IdVec<SinkId, Option<Arc<dyn HeldStore>>>,
}

impl Planner<'_> {
    pub fn decide(&mut self, job: Job) -> Result<(Opened, Start), Failure> {
        let pins = if job.has_pins() && !self.fresh { pins(self.state)? } else { Pins::new() };
        let opened = open(job, &IdVec::new(), &pins)?;
        self.state.clear()?;
        let found;
        (found, self.starts) = manifest::take_over(self.state, self.fresh)?;
        let (opened, mut start) = self.plan(opened, found)?;
        self.take_sinks(&opened, &mut start)?;
        let tick = opened.job.tick;
        let whole = |t: &mut Tick| *t = if *t == Tick::BEFORE_ALL { *t } else { Tick::up(*t, tick) };
        start.plan.rows_from.iter_mut().for_each(whole);
        whole(&mut start.plan.end_at_least);
        assign_sides(&mut start, tick, self.mode == Mode::Follow);
        if start.plan.has_shadow() {
            tracing::info!("rows go on as they are, and what is new catches up meanwhile");
        }
        write_down(&opened.job, &start.plan)?;
        // Written before it is done: a job that is changed back resets its changelog again, and a run to the end keeps its end.
        let is_first = start.has_new() || start.plan.changelog_reset || start.has_own_end(self.mode);
        if opened.has_stream() && is_first {
            start.plan.checkpoints = start.plan.checkpoints.next();
            start.first_manifest(self.mode).commit(self.state, &self.starts)?;
        }
        Ok((opened, start))
    }

    /// Goes on from what was found, if the job still means that.
    fn plan(&self, mut opened: Opened, found: Option<Manifest>) -> Result<(Opened, Start), Failure> {
        let found = found.filter(|_| opened.has_stream()).map(|manifest| {
            let changed = Changed::between(&manifest.plan, &opened);
            log_changes(&opened, &manifest, &changed);
            (manifest, changed)
        });
        let unchanged = found.as_ref().is_some_and(|(_, changed)| changed.is_nothing);
        let mut start = match found.filter(|(manifest, changed)| changed.goes_on(manifest)) {
            None => {
                let plan = fresh::plan(&opened, WallClock::now(), self.mode == Mode::Follow)?;
                Start { plan, from: None }
            }
            Some((manifest, changed)) => {
                let start = go_on(&opened, manifest, &changed, WallClock::now(), self.mode)?;
                log_new_files(&opened, &start.plan);
                let pinned = pinned(&opened.job, &start.plan);
                pin(&mut opened, &pinned)?;
                start
            }
        };
        start.plan.pins = opened.pins();
        start.plan.checkpoints = generations::numbers_of(self.starts.newest());
        start.plan.skip_refresh = unchanged && start.is_as_published();
        if let Some(manifest) = start.manifest() {
            let number = manifest.number.number();
            match manifest.t_of_rows() {
                Some(t) => tracing::info!(number, "going on from a checkpoint at T = {t}"),
                None => tracing::info!(number, "going on with the history, by the plan made then"),
            }
        }
        Ok((opened, start))
    }

    /// Nobody before this start writes to them any more, and the plan knows what is in them.
    fn take_sinks(&mut self, opened: &Opened, start: &mut Start) -> Result<(), Failure> {
        let shapes = shapes(opened);
        let saved_at = start.manifest().and_then(|manifest| manifest.t);
        for (id, sink) in opened.job.sinks.pairs() {
            generations::check(&self.state.storage, self.starts.newest())?;
            let meaning = meaning(&start.plan, opened, sink);
            let store = match &sink.to {
                SinkConfig::Rows(store) => store,
                SinkConfig::Changes(lines) => {
                    start.plan.changelog_reset |= resets_changelog(start, opened, sink);
                    start.plan.destinations.insert(changelog(&sink.name), lines.destination(&opened.job.dir));
                    start.plan.changelogs.insert(sink.name.clone(), meaning);
                    start.plan.generations.push(0);
                    self.taken.push(None);
                    continue;
                }
            };
            let plan = &mut start.plan;
            let held = self.held.get(id).and_then(Option::as_ref);
            let sink_of = (&opened.job, sink, store.as_ref());
            let Claimed { generation, marks, held, is_whole } =
                claim(sink_of, (&shapes, meaning), self.starts.newest(), held)?;
            plan.generations.push(generation);
            plan.skip_refresh &= is_whole && marks.iter().all(|marks| marks.as_of >= saved_at);
            self.taken.push(held);
            for (group, marks) in sink.rows.iter().zip(marks) {
                let upto = marks.upto.max(marks.as_of).unwrap_or(Tick::BEFORE_ALL);
                plan.rows_from[*group] = plan.rows_from[*group].max(upto);
                if !self.fresh {
                    plan.end_at_least = plan.end_at_least.max(upto);
                }
            }
        }
        let plan = &mut start.plan;
        plan.destinations.insert(DEAD_LETTERS.to_owned(), opened.job.dead_letters.destination(&opened.job.dir));
        plan.changelog_reset &= plan.floor.is_some();
        if plan.changelog_reset {
            tracing::info!(
                "the changelog begins anew, with every row: its rows are others than before, or it lies elsewhere"
            );
        }
        Ok(())
    }
}

/// As a whole: whoever looks meanwhile finds the one before or this.
fn write_down(job: &Job, plan: &Plan) -> Result<(), Failure> {
    let path = Plan::path(&job.state.local);
    let new = path.with_extension("json.tmp");
    let text = serde_json::to_vec_pretty(plan).expect("a plan is plain data");
    let failed = |e| Failure::Running(format!("writing {}: {e}", path.display()));
    std::fs::create_dir_all(&job.state.local).map_err(failed)?;
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path)).map_err(failed)
}
