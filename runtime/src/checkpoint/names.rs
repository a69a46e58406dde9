//! What the lines of a job are called in a checkpoint.

/// What a checkpoint calls a sink's changelog.
pub fn changelog(sink: &str) -> String {
    format!("sinks.{sink}")
}

/// What it calls the dead letters, and those of what is worked out beside the rows.
pub const DEAD_LETTERS: &str = "dead_letters";
pub const LETTERS_BESIDE: &str = "dead_letters.beside";
