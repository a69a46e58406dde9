//! A user's fault, with its place in the job: collected, and told all at once.

use std::fmt;
use std::sync::Arc;

pub use headwater_connectors::settings::At;

/// What places are in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Places {
    /// The file, as it was given; empty for a job that was built.
    pub file: String,
    /// Of a job that was built: its keys, as in `features.card_activity.columns.tx`.
    pub keys: Arc<[String]>,
    /// Other files, as the job names them: `At::file` is their number, from 1.
    pub others: Vec<String>,
}

impl Places {
    /// A place as it is told: `job.toml:3:1`, or `sources.tx.event_time`.
    pub fn show(&self, at: At) -> String {
        if let Some(other) = at.file.checked_sub(1).and_then(|number| self.others.get(number as usize)) {
            return format!("{other}:{}:{}", at.line, at.column);
        }
        let key = at.line.checked_sub(1).and_then(|number| self.keys.get(number));
        match (key, at.line) {
            (Some(key), _) => key.clone(),
            (None, _) if self.file.is_empty() => "the job".to_owned(),
            (None, 0) => self.file.clone(),
            (None, line) => format!("{}:{line}:{}", self.file, at.column),
        }
    }

    /// Another file that places are in; its number.
    pub fn add_file(&mut self, path: &str) -> u16 {
        self.others.push(path.to_owned());
        self.others.len() as u16
    }
}

impl From<&str> for Places {
    fn from(file: &str) -> Places {
        Places { file: file.to_owned(), ..Places::default() }
    }
}

/// Something that is wrong with a job, or odd.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where: see `Faults::place`.
    pub at: At,
    /// What is wrong and what was expected, with the nearest known name where one was mistyped.
    pub message: String,
    /// The job may run all the same.
    pub warning: bool,
}

/// All faults of a job, in the order of their places. Shown, they are a line each: `job.toml:3:1: error: ...`, or, of a job that was
/// built, `sources.tx.event_time: error: ...`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// What their places are in.
    pub(crate) places: Places,
    /// One by one.
    pub faults: Vec<Fault>,
}

impl Faults {
    /// None so far.
    pub(crate) fn new(places: impl Into<Places>) -> Self {
        Faults { places: places.into(), faults: Vec::new() }
    }

    /// Where a fault is, as it is told.
    pub fn place(&self, fault: &Fault) -> String {
        self.places.show(fault.at)
    }

    pub(crate) fn error(&mut self, at: At, message: impl Into<String>) {
        self.faults.push(Fault { at, message: message.into(), warning: false });
    }

    pub(crate) fn warning(&mut self, at: At, message: impl Into<String>) {
        self.faults.push(Fault { at, message: message.into(), warning: true });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.faults.iter().any(|f| !f.warning)
    }

    /// Puts the faults in the order of their places, each told once: a column over many windows is one mistake.
    pub fn settle(&mut self) {
        self.faults.sort_by_key(|fault| fault.at);
        let mut told: Vec<Fault> = Vec::new();
        self.faults.retain(|fault| {
            let new = !told.iter().rev().take_while(|t| t.at == fault.at).any(|t| t == fault);
            told.extend(new.then(|| fault.clone()));
            new
        });
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut settled = self.clone();
        settled.settle();
        for fault in &settled.faults {
            let kind = if fault.warning { "warning" } else { "error" };
            writeln!(f, "{}: {kind}: {}", self.place(fault), fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
