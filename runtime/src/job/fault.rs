//! A user's fault, with its place in the job file: collected, and told all at once.

use std::fmt;

/// A place in the job file: 1-based line and column (in characters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

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
    pub fn error(&mut self, at: At, message: impl Into<String>) {
        self.faults.push(Fault { at, message: message.into(), warning: false });
    }

    pub fn warning(&mut self, at: At, message: impl Into<String>) {
        self.faults.push(Fault { at, message: message.into(), warning: true });
    }

    pub fn has_errors(&self) -> bool {
        self.faults.iter().any(|f| !f.warning)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults: Vec<&Fault> = self.faults.iter().collect();
        faults.sort_by_key(|fault| fault.at);
        for fault in faults {
            let kind = if fault.warning { "warning" } else { "error" };
            writeln!(f, "{}:{}:{}: {kind}: {}", self.file, fault.at.line, fault.at.column, fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
