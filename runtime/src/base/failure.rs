//! How a run or a command fails, and what it tells.

use headwater_connectors::Error;
use headwater_connectors::threads::ThreadError;

use super::fault::Faults;

/// Why a run, or a look at its rows, failed. Shown, it is what the command tells; no text of it has a secret of the job.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The job is wrong: every fault with its place. (The command ends with exit code 2.)
    #[error("{0}")]
    Job(Faults),
    /// What was asked for cannot be: a group that is not there, a key that is none. (Exit code 2.)
    #[error("error: {0}")]
    Usage(String),
    /// Records that are needed are gone, or a pinned file has changed. (Exit code 3.)
    #[error("refused: {0}")]
    Refused(String),
    /// It failed while running: the world outside, or Headwater itself. (Exit code 1.)
    #[error("error: {0}")]
    Running(String),
    /// Another process of the cluster failed, and so this one does: with its exit code.
    #[error("error: {host} (process {process}) failed:\n{text}")]
    Elsewhere {
        /// Its number.
        process: usize,
        /// Where it runs, as the job was told.
        host: String,
        /// Its exit code.
        code: u8,
        /// What it told.
        text: String,
    },
}

impl Failure {
    /// Which kind of failure it is, in a word: `job`, `usage`, `refused` or `running`. Another process's is a run's.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Job(_) => "job",
            Failure::Usage(_) => "usage",
            Failure::Refused(_) => "refused",
            Failure::Running(_) | Failure::Elsewhere { .. } => "running",
        }
    }

    /// What the command ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Elsewhere { code, .. } => *code,
            Failure::Running(_) => 1,
            Failure::Job(_) | Failure::Usage(_) => 2,
            Failure::Refused(_) => 3,
        }
    }

    /// What is told, without the word before it.
    pub fn message(&self) -> String {
        match self {
            Failure::Job(faults) => faults.to_string(),
            Failure::Usage(message) | Failure::Refused(message) | Failure::Running(message) => message.clone(),
            Failure::Elsewhere { text, .. } => text.clone(),
        }
    }
}

impl Failure {
    /// With every text as `mask` makes it.
    pub(crate) fn masked(self, mask: impl Fn(&str) -> String) -> Failure {
        match self {
            Failure::Job(mut faults) => {
                faults.faults.iter_mut().for_each(|fault| fault.message = mask(&fault.message));
                Failure::Job(faults)
            }
            Failure::Usage(text) => Failure::Usage(mask(&text)),
            Failure::Refused(text) => Failure::Refused(mask(&text)),
            Failure::Running(text) => Failure::Running(mask(&text)),
            Failure::Elsewhere { process, host, code, text } => {
                Failure::Elsewhere { process, host, code, text: mask(&text) }
            }
        }
    }
}

impl From<ThreadError> for Failure {
    fn from(error: ThreadError) -> Failure {
        Failure::Running(error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Config(message) => Failure::Usage(message),
            Error::Gap(message) | Error::Changed(message) => Failure::Refused(message),
            world @ Error::World { .. } => Failure::Running(world.to_string()),
        }
    }
}
