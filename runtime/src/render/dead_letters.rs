//! Dead letters, rendered: what sources and groups refuse, as lines that process 0's first worker writes, taken up where they were left.

use std::path::PathBuf;

use headwater_connectors::Error;
use headwater_connectors::format::text::format_time;
use headwater_connectors::sink::dead_letters::{self, DeadLetter};
use headwater_connectors::sink::lines::{LineFile, LineSink, SinkPosition};
use timely::dataflow::Stream;

use super::lines::{self, open};
use super::rendering::{Rendering, Wiring};
use super::shared::Shared;
use crate::base::failure::Failure;
use crate::checkpoint::names::{DEAD_LETTERS, LETTERS_BESIDE};
use crate::job::Job;
use crate::plan::side::Side;
use crate::sink::lines::{Letters, Named, write_letters};
use crate::sink::writer::Writer;

/// The place of a side's dead letters among the backlogs.
pub fn letters_of(shared: &Shared, side: Side) -> usize {
    shared.opened.job.sinks.len() + usize::from(side == Side::Beside)
}

pub fn render<'scope>(
    letters: Stream<'scope, i64, Vec<DeadLetter>>,
    of: Rendering,
    wiring: &Wiring,
) -> Result<Stream<'scope, i64, Vec<()>>, Failure> {
    let Rendering { shared, side, .. } = of;
    let mut lines = Named { name: String::new(), writer: None };
    if of.worker == 0 {
        let write = |to: &mut dyn LineSink, letters: Letters| dead_letters::write(to, &letters);
        let (name, to) = open_letters(shared, side)?;
        let backlog = shared.backlogs[letters_of(shared, side)].clone();
        let writer = Writer::start(to, backlog, Box::new(write), &shared.failures)?;
        lines = Named { name: name.to_owned(), writer: Some(writer) };
    }
    lines::note(&lines, wiring);
    Ok(write_letters(letters, lines, wiring.checkpoint.clone(), wiring.to_wake.clone()))
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

fn left_beside(shared: &Shared) -> Option<&SinkPosition> {
    let manifest = shared.start.manifest().filter(|_| shared.start.goes_on_beside())?;
    manifest.lines.get(LETTERS_BESIDE)
}
