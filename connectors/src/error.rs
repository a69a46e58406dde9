//! The world's faults: what was being done, to what, and whether trying again can help.

/// What went wrong outside of Headwater, or in what the user asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user's configuration cannot work as it stands (exit 2): no such topic, no file matches, a wrong type.
    #[error("{0}")]
    Config(String),
    /// Records that are needed are gone or never were (exit 3).
    #[error("{0}")]
    Gap(String),
    /// A pinned history file changed or went away while it was needed (exit 3).
    #[error("{0}")]
    Changed(String),
    /// Something outside failed: what was being done and to what.
    #[error("{doing}: {cause}")]
    World {
        /// What was being done, and to what: `reading data/a.csv`.
        doing: String,
        /// Why it did not succeed.
        cause: String,
        /// Trying again may help.
        transient: bool,
    },
}

/// The result of what may fail outside.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Something failed that trying again will not mend.
    pub fn world(doing: impl Into<String>, cause: impl std::fmt::Display) -> Error {
        Error::World { doing: doing.into(), cause: cause.to_string(), transient: false }
    }

    /// Something failed that may succeed later.
    pub fn transient(doing: impl Into<String>, cause: impl std::fmt::Display) -> Error {
        Error::World { doing: doing.into(), cause: cause.to_string(), transient: true }
    }
}
