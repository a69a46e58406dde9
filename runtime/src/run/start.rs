//! What process 0 decides before the first row is read, and writes down: where to go on from, and with which stores.

use std::collections::BTreeSet;
use std::path::PathBuf;

use headwater_connectors::format::text::format_time;
use headwater_connectors::sink::GroupShape;
use headwater_connectors::sink::embedded::Embedded;

use super::Mode;
use super::stores::{Claimed, claim};
use crate::checkpoint::generations::{self, Starts};
use crate::checkpoint::{self, Manifest, StateStore};
use crate::failure::Failure;
use crate::job::{Job, SinkTo};
use crate::opened::{self, Opened};
use crate::plan::{self, Changed, Plan, wall_clock_us};

/// A start, as process 0 decides it.
pub struct Start<'a> {
    pub mode: Mode,
    pub fresh: bool,
    pub state: &'a StateStore,
    /// By sink: the store, where this process has it open.
    pub held: &'a [Option<Embedded>],
    /// Found: all starts of the job, this one the last.
    pub starts: Starts,
    /// Opened, by sink.
    pub embedded: Vec<Option<Embedded>>,
}

impl Start<'_> {
    pub fn decide(&mut self, job: Job) -> Result<(Opened, Plan), Failure> {
        let opened = opened::open(job, None)?;
        self.state.clear()?;
        let found;
        (found, self.starts) = checkpoint::take_over(self.state, self.fresh)?;
        let (opened, mut plan) = self.plan(opened, found)?;
        self.take_sinks(&opened, &mut plan)?;
        let tick = opened.job.tick_us;
        let whole = |t: &mut i64| *t = if *t == i64::MIN { *t } else { headwater_operators::ledger::up(*t, tick) };
        plan.rows_from.iter_mut().for_each(whole);
        whole(&mut plan.end_at_least);
        plan::set_beside(&mut plan, tick, self.mode == Mode::Follow);
        if plan.is_beside() {
            tracing::info!("rows go on as they are, and what is new is computed beside them");
        }
        write_down(&opened.job, &plan)?;
        // A changelog that was told anew is no more what it was to a job that comes back; and a killed run keeps its end.
        let is_first = plan.has_new() || plan.told_anew || plan.has_own_end(self.mode);
        if opened.has_stream() && is_first {
            plan.checkpoints += 1;
            plan.first_manifest(self.mode).commit(self.state, &self.starts)?;
        }
        Ok((opened, plan))
    }

    /// Goes on from what was found, if the job still means that.
    fn plan(&self, opened: Opened, found: Option<Manifest>) -> Result<(Opened, Plan), Failure> {
        let found = found.filter(|_| opened.has_stream()).map(|manifest| {
            let changed = Changed::between(&manifest.plan, &opened);
            tell_changes(&opened, &manifest, &changed);
            (manifest, changed)
        });
        let unchanged = found.as_ref().is_some_and(|(_, changed)| changed.is_nothing);
        let (opened, mut plan) = match found.filter(|(manifest, changed)| changed.goes_on(manifest)) {
            None => {
                let plan = plan::plan(&opened, wall_clock_us(), self.mode == Mode::Follow)?;
                (opened, plan)
            }
            Some((manifest, changed)) => {
                let plan = plan::go_on(&opened, manifest, &changed, wall_clock_us(), self.mode)?;
                tell_new_files(&opened, &plan);
                (opened::open(opened.job, Some(&plan))?, plan)
            }
        };
        plan.checkpoints = generations::numbers_of(self.starts.newest());
        plan.is_stored = unchanged && plan.is_as_published();
        if let Some(manifest) = &plan.restored {
            let number = manifest.number;
            match manifest.t_of_rows() {
                Some(t) => tracing::info!(number, "going on from a checkpoint at T = {}", format_time(t)),
                None => tracing::info!(number, "going on with the history, by the plan made then"),
            }
        }
        Ok((opened, plan))
    }

    /// Nobody before this start writes to them any more, and the plan knows what is in them.
    fn take_sinks(&mut self, opened: &Opened, plan: &mut Plan) -> Result<(), Failure> {
        let shapes: Vec<GroupShape> = opened.groups.iter().map(|g| g.shape.clone()).collect();
        let saved_at = plan.restored.as_ref().and_then(|manifest| manifest.t);
        for (number, sink) in opened.job.sinks.iter().enumerate() {
            generations::check(&self.state.storage, self.starts.newest())?;
            let held = self.held.get(number).and_then(Option::as_ref);
            let meaning = plan.meaning(opened, sink);
            if let SinkTo::Changes(to) = &sink.to {
                plan.told_anew |= plan.begins_anew(opened, sink);
                plan.places.insert(checkpoint::changelog(&sink.name), opened.job.place_of(to));
                plan.changelogs.insert(sink.name.clone(), meaning);
            }
            let Claimed { generation, marks, store, is_whole } =
                claim((&opened.job, sink), (&shapes, meaning), self.starts.newest(), held)?;
            plan.generations.push(generation);
            // A Redis may have been emptied, or filled from elsewhere, meanwhile.
            plan.is_stored &= match sink.to {
                SinkTo::Changes(_) => true,
                SinkTo::Embedded => is_whole && marks.iter().all(|marks| marks.as_of_us >= saved_at),
                SinkTo::Redis { .. } => false,
            };
            self.embedded.push(store);
            for (group, marks) in sink.groups.iter().zip(marks) {
                let upto = marks.upto_us.max(marks.as_of_us).unwrap_or(i64::MIN);
                plan.rows_from[*group] = plan.rows_from[*group].max(upto);
                if !self.fresh {
                    plan.end_at_least = plan.end_at_least.max(upto);
                }
            }
        }
        plan.places.insert(checkpoint::DEAD_LETTERS.to_owned(), opened.job.place_of(&opened.job.dead_letters));
        plan.told_anew &= plan.floor.is_some();
        if plan.told_anew {
            tracing::info!(
                "the changelog begins anew, with every row: its rows are others than before, or it lies elsewhere"
            );
        }
        Ok(())
    }
}

fn plan_path(job: &Job) -> PathBuf {
    job.state.local.join("plan.json")
}

fn write_down(job: &Job, plan: &Plan) -> Result<(), Failure> {
    let path = plan_path(job);
    let text = serde_json::to_vec_pretty(plan).expect("a plan is plain data");
    let failed = |e| Failure::Running(format!("writing {}: {e}", path.display()));
    std::fs::create_dir_all(&job.state.local).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)
}

/// Tells what has changed in a job that goes on, or that it does not.
fn tell_changes(opened: &Opened, manifest: &Manifest, changed: &Changed) {
    if changed.is_nothing {
        return;
    }
    if !changed.goes_on(manifest) {
        tracing::warn!("the job has changed since its last checkpoint: everything is computed anew from the history");
        return;
    }
    for (group, changed) in opened.job.groups.iter().zip(&changed.groups).filter(|(_, changed)| !changed.new.is_empty())
    {
        let names: Vec<&str> = changed.new.iter().map(|column| group.columns[*column].name.as_str()).collect();
        let what = if changed.old.is_some() { "new columns" } else { "a new group" };
        tracing::info!(group = group.name, columns = names.join(" "), "{what}: computed from the history");
    }
    if !changed.removed.is_empty() {
        tracing::info!(removed = changed.removed.join(" "), "no longer in the job");
    }
}

/// Beside a stream, a source of history alone is read once.
fn tell_new_files(opened: &Opened, plan: &Plan) {
    for (number, open) in opened.sources.iter().enumerate().filter(|(_, open)| open.stream.is_none()) {
        let Some(history) = &open.history else { continue };
        let read = plan.readings.iter().filter(|reading| reading.source == number);
        let known: BTreeSet<&str> = read.flat_map(|r| &r.pinned.files).map(|file| file.path.as_str()).collect();
        let new = history.pinned().files.iter().filter(|file| !known.contains(file.path.as_str())).count();
        if new > 0 {
            let source = &opened.job.sources[number].name;
            tracing::warn!(source, files = new, "files that came to this history are not read: they wait for --fresh");
        }
    }
}

/// Tells where history and stream meet.
pub fn say_plan(opened: &Opened, plan: &Plan) {
    for (conf, source) in plan.readings.iter().map(|reading| (&opened.job.sources[reading.source], reading)) {
        for warning in &source.warnings {
            tracing::warn!(source = conf.name, "{warning}");
        }
        for partition in &source.partitions {
            tracing::info!(
                source = conf.name,
                partition = partition.partition,
                history_offset = partition.history_offset,
                first_read = partition.start,
                end = partition.end,
                "seam"
            );
        }
    }
}
