//! The lines that a worker writes: changelogs and dead letters, taken up where the checkpoint left them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use headwater_connectors::Error;
use headwater_connectors::format::text::format_time;
use headwater_connectors::sink::changelog::Changelog;
use headwater_connectors::sink::dead_letters;
use headwater_connectors::sink::lines::{Beside, Left, LineFile, LineTopic, Lines};

use super::shared::Shared;
use crate::base::failure::Failure;
use crate::catalog::source::kafka_config;
use crate::checkpoint::names::{DEAD_LETTERS, LETTERS_BESIDE, changelog};
use crate::job::{ChangesTo, Job, SinkTo};
use crate::plan::side::Side;
use crate::sink::lines::{Letters, Named, Step};
use crate::sink::writer::Writer;

/// All lines before it are void, as the mark in a topic says.
const VOID: &[u8] = br#"{"resume":null}"#;

/// The place of a side's dead letters among the backlogs.
pub fn letters_of(shared: &Shared, side: Side) -> usize {
    shared.opened.job.sinks.len() + usize::from(side == Side::Beside)
}

pub type Changelogs = BTreeMap<usize, Named<Step>>;

/// Process 0's first worker writes changelogs, by sink, and dead letters.
pub fn open_lines(shared: &Shared, side: Side, index: usize) -> Result<(Changelogs, Named<Letters>), Failure> {
    let job = &shared.opened.job;
    let shapes: Vec<_> = shared.opened.groups.iter().map(|g| g.shape.clone()).collect();
    let mut changelogs = Changelogs::new();
    for (i, sink) in job.sinks.iter().enumerate().filter(|_| side == Side::Shown) {
        let SinkTo::Changes(to) = &sink.to else { continue };
        let mut lines = Named { name: changelog(&sink.name), writer: None };
        if index == 0 {
            let changelog = Changelog::new(&shapes);
            let write = move |to: &mut dyn Lines, step: Step| changelog.write(to, &step);
            let to = open(shared, &lines.name, to, shared.start.plan.told_anew)?;
            lines.writer = Some(Writer::start(to, shared.backlogs[i].clone(), write));
        }
        changelogs.insert(i, lines);
    }
    let mut letters = Named { name: String::new(), writer: None };
    if index == 0 {
        let write = |to: &mut dyn Lines, letters: Letters| dead_letters::write(to, &letters);
        let (name, lines) = open_letters(shared, side)?;
        let backlog = shared.backlogs[letters_of(shared, side)].clone();
        letters = Named { name: name.to_owned(), writer: Some(Writer::start(lines, backlog, write)) };
    }
    Ok((changelogs, letters))
}

/// The dead letters of a side. A file is one side's alone, since each is cut back for itself: what is beside has one of its own, which
/// the first start without that side adds to the other.
fn open_letters(shared: &Shared, side: Side) -> Result<(&'static str, Box<dyn Lines>), Error> {
    let job = &shared.opened.job;
    let beside = letters_beside(job);
    match (side, &job.dead_letters) {
        (Side::Beside, ChangesTo::Kafka(kafka)) => {
            let lines = LineTopic::join(&kafka_config(kafka), shared.stop.clone())?;
            Ok((LETTERS_BESIDE, Box::new(lines)))
        }
        (Side::Beside, ChangesTo::Jsonl { .. }) => {
            let lines = match left_beside(shared) {
                Some(Left::Bytes(bytes)) => LineFile::resume(&beside, *bytes)?,
                _ => LineFile::create(&beside)?,
            };
            Ok((LETTERS_BESIDE, Box::new(lines)))
        }
        (Side::Shown, to) => {
            let name = DEAD_LETTERS;
            let left = shared.start.left(job, name, to);
            if let Some(floor) = shared.start.plan.floor.filter(|_| left.is_none()) {
                let t = format_time(floor);
                tracing::warn!(
                    "{name} begins with what comes after T = {t}: start with --fresh to have what was before in it too"
                );
            }
            let mut lines = open(shared, name, to, false)?;
            match left_beside(shared).filter(|_| !shared.start.plan.is_beside()) {
                // An older checkpoint may name what a newer one had taken over already.
                Some(Left::Bytes(bytes)) if beside.metadata().map_or(0, |found| found.len()) < *bytes => {
                    tracing::warn!("{} is gone: dead letters of what was new are not added", beside.display());
                }
                Some(Left::Bytes(bytes)) => dead_letters::add(lines.as_mut(), &beside, *bytes)?,
                // They are among the others by now, or void.
                _ if !shared.start.plan.is_beside() && beside.exists() => drop(std::fs::remove_file(&beside)),
                _ => {}
            }
            Ok((DEAD_LETTERS, lines))
        }
    }
}

/// Where dead letters lie that wait beside the others. A device has no place beside it.
fn letters_beside(job: &Job) -> PathBuf {
    match &job.dead_letters {
        ChangesTo::Jsonl { path } if path.metadata().map_or(true, |found| found.is_file()) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{name}.beside"))
        }
        _ => job.state.local.join("dead_letters.jsonl.beside"),
    }
}

/// Opens a file or a topic, taken up where the checkpoint left it if the run goes on from one. `anew`: all that it holds is void.
fn open(shared: &Shared, name: &str, to: &ChangesTo, anew: bool) -> Result<Box<dyn Lines>, Error> {
    let job = &shared.opened.job;
    let left = shared.start.left(job, name, to);
    match (to, left) {
        (ChangesTo::Jsonl { path }, Some(Left::Bytes(bytes))) => {
            let mut file = LineFile::resume(path, *bytes)?;
            if anew && *bytes > 0 {
                file.write(VOID, &Beside { key: &|_| (), time_us: None })?;
            }
            Ok(Box::new(file))
        }
        (ChangesTo::Jsonl { path }, _) => Ok(Box::new(LineFile::create(path)?)),
        (ChangesTo::Kafka(kafka), left) => {
            // While its history is read, a job has told letters of the history alone, which have no time: they stay.
            let before_all =
                || Some(shared.start.plan.first_tick(Side::Shown)).filter(|t| *t < i64::MAX).map(|t| t - job.tick_us);
            let resume = left.and_then(|_| shared.start.plan.floor.or_else(before_all)).filter(|_| !anew);
            Ok(Box::new(LineTopic::open(&kafka_config(kafka), resume, shared.stop.clone())?))
        }
    }
}

fn left_beside(shared: &Shared) -> Option<&Left> {
    let manifest = shared.start.manifest().filter(|_| shared.start.goes_on_beside())?;
    manifest.lines.get(LETTERS_BESIDE)
}
