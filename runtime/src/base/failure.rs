//! How a command fails: with which exit code, and what it tells.

use headwater_connectors::Error;

use super::fault::Faults;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The job is wrong (exit 2): every fault with its place.
    #[error("{0}")]
    Job(Faults),
    /// The command was used wrongly (exit 2).
    #[error("error: {0}")]
    Usage(String),
    /// Records that are needed are gone, or a pinned file changed (exit 3).
    #[error("refused: {0}")]
    Refused(String),
    /// It failed while running (exit 1).
    #[error("error: {0}")]
    Running(String),
    /// Another process of the cluster failed, and so this one does: with its exit code.
    #[error("error: {host} (process {process}) failed:\n{text}")]
    Elsewhere { process: usize, host: String, code: u8, text: String },
}

impl Failure {
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

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Config(message) => Failure::Usage(message),
            Error::Gap(message) | Error::Changed(message) => Failure::Refused(message),
            world @ Error::World { .. } => Failure::Running(world.to_string()),
        }
    }
}
