//! The lines that a worker writes: changelogs and dead letters, taken up where the checkpoint left them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use headwater_connectors::Error;
use headwater_connectors::format::text::format_time;
use headwater_connectors::sink::changelog::Changelog;
use headwater_connectors::sink::dead_letters;
use headwater_connectors::sink::lines::{LineFile, LineSink, LinesConfig, LinesStart, SinkPosition};

use super::shared::Shared;
use crate::base::failure::Failure;
use crate::base::id::{Id, SinkId};
use crate::checkpoint::names::{DEAD_LETTERS, LETTERS_BESIDE, changelog};
use crate::job::Job;
use crate::plan::side::Side;
use crate::sink::lines::{Letters, Named, Step};
use crate::sink::writer::Writer;

/// The place of a side's dead letters among the backlogs.
pub fn letters_of(shared: &Shared, side: Side) -> usize {
    shared.opened.job.sinks.len() + usize::from(side == Side::Beside)
}

pub type Changelogs = BTreeMap<SinkId, Named<Step>>;

/// Process 0's first worker writes changelogs, by sink, and dead letters.
pub fn open_lines(shared: &Shared, side: Side, index: usize) -> Result<(Changelogs, Named<Letters>), Failure> {
    let job = &shared.opened.job;
    let shapes: Vec<_> = shared.opened.groups.iter().map(|g| g.shape.clone()).collect();
    let mut changelogs = Changelogs::new();
    for (id, sink) in job.sinks.pairs().filter(|_| side == Side::Shown) {
        let Some(to) = sink.to.lines() else { continue };
        let mut lines = Named { name: changelog(&sink.name), writer: None };
        if index == 0 {
            let changelog = Changelog::new(&shapes);
            let write = move |to: &mut dyn LineSink, step: Step| changelog.write(to, &step);
            let to = open(shared, &lines.name, to.as_ref(), shared.start.plan.told_anew)?;
            lines.writer =
                Some(Writer::start(to, shared.backlogs[id.index()].clone(), Box::new(write), &shared.failures)?);
        }
        changelogs.insert(id, lines);
    }
    let mut letters = Named { name: String::new(), writer: None };
    if index == 0 {
        let write = |to: &mut dyn LineSink, letters: Letters| dead_letters::write(to, &letters);
        let (name, lines) = open_letters(shared, side)?;
        let backlog = shared.backlogs[letters_of(shared, side)].clone();
        letters = Named {
            name: name.to_owned(),
            writer: Some(Writer::start(lines, backlog, Box::new(write), &shared.failures)?),
        };
    }
    Ok((changelogs, letters))
}

/// The dead letters of a side. Where only one can write to a place, since each is cut back for itself, what is beside has a file of its own,
/// which the first start without that side adds to the others.
fn open_letters(shared: &Shared, side: Side) -> Result<(&'static str, Box<dyn LineSink>), Error> {
    let job = &shared.opened.job;
    let beside = letters_beside(job);
    if side == Side::Beside {
        let lines = match (job.dead_letters.join(shared.stop.clone()), left_beside(shared)) {
            (Some(joined), _) => joined?,
            (None, Some(SinkPosition::Bytes(bytes))) => Box::new(LineFile::resume(&beside, *bytes)?),
            (None, _) => Box::new(LineFile::create(&beside)?),
        };
        return Ok((LETTERS_BESIDE, lines));
    }
    let name = DEAD_LETTERS;
    let position = shared.start.position_of(job, name, job.dead_letters.as_ref());
    if let Some(floor) = shared.start.plan.floor.filter(|_| position.is_none()) {
        let t = format_time(floor);
        tracing::warn!(
            "{name} begins with what comes after T = {t}: start with --fresh to have what was before in it too"
        );
    }
    let mut lines = open(shared, name, job.dead_letters.as_ref(), false)?;
    match left_beside(shared).filter(|_| !shared.start.plan.is_beside()) {
        // An older checkpoint may name what a newer one had taken over already.
        Some(SinkPosition::Bytes(bytes)) if beside.metadata().map_or(0, |found| found.len()) < *bytes => {
            tracing::warn!("{} is gone: dead letters of what was new are not added", beside.display());
        }
        Some(SinkPosition::Bytes(bytes)) => dead_letters::add(lines.as_mut(), &beside, *bytes)?,
        // They are among the others by now, or void.
        _ if !shared.start.plan.is_beside() && beside.exists() => drop(std::fs::remove_file(&beside)),
        _ => {}
    }
    Ok((DEAD_LETTERS, lines))
}

/// Where dead letters lie that wait beside the others.
fn letters_beside(job: &Job) -> PathBuf {
    job.dead_letters.waiting_file().unwrap_or_else(|| job.state.local.join("dead_letters.jsonl.beside"))
}

/// Opens where lines go, taken up where the checkpoint left it if the run goes on from one. `is_void`: all that it holds is void.
fn open(shared: &Shared, name: &str, to: &dyn LinesConfig, is_void: bool) -> Result<Box<dyn LineSink>, Error> {
    let job = &shared.opened.job;
    let position = shared.start.position_of(job, name, to);
    // While its history is read, a job has told letters of the history alone, which have no time: they stay.
    let before_all =
        || Some(shared.start.plan.first_tick(Side::Shown)).filter(|t| *t < i64::MAX).map(|t| t - job.tick_us);
    let valid_to_us = shared.start.plan.floor.or_else(before_all);
    to.open(&LinesStart { position, is_void, valid_to_us }, shared.stop.clone())
}

fn left_beside(shared: &Shared) -> Option<&SinkPosition> {
    let manifest = shared.start.manifest().filter(|_| shared.start.goes_on_beside())?;
    manifest.lines.get(LETTERS_BESIDE)
}
