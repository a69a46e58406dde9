//! A user's fault, with its place in the job file: collected, and told all at once.

use std::fmt;

pub use headwater_connectors::settings::At;

#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub at: At,
    /// What is wrong and what was expected, with the nearest known name where one was mistyped.
    pub message: String,
    pub warning: bool,
}

/// All faults of a job file, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    pub file: String,
    pub faults: Vec<Fault>,
}

impl Faults {
    pub fn new(file: impl Into<String>) -> Self {
        Faults { file: file.into(), faults: Vec::new() }
    }

    pub fn error(&mut self, at: At, message: impl Into<String>) {
        self.faults.push(Fault { at, message: message.into(), warning: false });
    }

    pub fn warning(&mut self, at: At, message: impl Into<String>) {
        self.faults.push(Fault { at, message: message.into(), warning: true });
    }

    pub fn has_errors(&self) -> bool {
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
            match fault.at {
                At { line: 0, .. } => writeln!(f, "{}: {kind}: {}", self.file, fault.message)?,
                At { line, column } => writeln!(f, "{}:{line}:{column}: {kind}: {}", self.file, fault.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
