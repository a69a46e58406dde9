//! Dead letters, rendered: what sources and groups refuse, as lines that process 0's first worker writes, taken up where they were left.

use headwater_clocks::Tick;
use headwater_connectors::Error;
use headwater_connectors::sink::dead_letters::{self, DeadLetter};
use headwater_connectors::sink::lines::file::WaitingFile;
use headwater_connectors::sink::lines::{LineSink, SinkPosition};
use timely::dataflow::Stream;

use super::lines::{self, open};
use super::rendering::{Rendering, Wiring};
use super::shared::Shared;
use crate::base::failure::Failure;
use crate::checkpoint::names::{DEAD_LETTERS, SHADOW_DEAD_LETTERS};
use crate::job::Job;
use crate::plan::side::Side;
use crate::sink::lines::{NamedLines, TimedDeadLetters, write_dead_letters};
use crate::sink::writer::Writer;

/// The index of a side's dead letters among the backlogs.
pub fn dead_letters_backlog(shared: &Shared, side: Side) -> usize {
    shared.opened.job.sinks.len() + usize::from(side == Side::Shadow)
}

pub fn render<'scope>(
    dead_letters: Stream<'scope, Tick, Vec<DeadLetter>>,
    of: Rendering,
    wiring: &Wiring,
) -> Result<Stream<'scope, Tick, Vec<()>>, Failure> {
    let Rendering { shared, side, .. } = of;
    let mut lines = NamedLines { name: String::new(), writer: None };
    if of.peer.is_first() {
        let write = |to: &mut dyn LineSink, dead_letters: TimedDeadLetters| dead_letters::write(to, &dead_letters);
        let (name, to) = open_dead_letters(shared, side)?;
        let backlog = shared.backlogs[dead_letters_backlog(shared, side)].clone();
        let writer = Writer::start(to, backlog, Box::new(write), &shared.failures)?;
        lines = NamedLines { name: name.to_owned(), writer: Some(writer) };
    }
    lines::await_position(&lines, wiring);
    Ok(write_dead_letters(dead_letters, lines, wiring.checkpoint.clone(), wiring.to_wake.clone()))
}

/// Opens a side's dead letters. Where only one can write, since each side cuts its own back, a shadow has a file of its own, which the
/// first start without a shadow adds to the others.
fn open_dead_letters(shared: &Shared, side: Side) -> Result<(&'static str, Box<dyn LineSink>), Error> {
    let job = &shared.opened.job;
    let shadow = shadow_dead_letters(job);
    if side == Side::Shadow {
        let joined = job.dead_letters.join(shared.stop.clone());
        let lines = joined.unwrap_or_else(|| shadow.open(shadow_position(shared)))?;
        return Ok((SHADOW_DEAD_LETTERS, lines));
    }
    let name = DEAD_LETTERS;
    let position = shared.start.position_of(job, name, job.dead_letters.as_ref());
    if let Some(floor) = shared.start.plan.floor.filter(|_| position.is_none()) {
        tracing::warn!(
            "{name} begins with what comes after T = {floor}: start with --fresh to have what was before in it too"
        );
    }
    let mut lines = open(shared, name, job.dead_letters.as_ref(), false)?;
    if !shared.start.plan.has_shadow() {
        match shadow_position(shared).filter(|position| WaitingFile::waits(position)) {
            // An older checkpoint may name what a newer one had taken over already.
            Some(position) if !shadow.add_to(lines.as_mut(), position)? => {
                tracing::warn!("{} is gone: dead letters of what was new are not added", shadow.path().display());
            }
            Some(_) => {}
            // They are among the others by now, or void.
            None => shadow.remove()?,
        }
    }
    Ok((DEAD_LETTERS, lines))
}

/// Where a shadow's dead letters wait.
fn shadow_dead_letters(job: &Job) -> WaitingFile {
    let beside = job.dead_letters.waiting_file();
    WaitingFile::at(beside.unwrap_or_else(|| job.state.local.join("dead_letters.jsonl.beside")))
}

fn shadow_position(shared: &Shared) -> Option<&SinkPosition> {
    let manifest = shared.start.manifest().filter(|_| shared.start.resumes_shadow())?;
    manifest.lines.get(SHADOW_DEAD_LETTERS)
}
