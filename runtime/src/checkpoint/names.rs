//! What the lines of a job are called in a checkpoint.

/// What a checkpoint calls a sink's changelog.
pub fn changelog(sink: &str) -> String {
    format!("sinks.{sink}")
}

/// What it calls the dead letters, and those of the shadow.
pub const DEAD_LETTERS: &str = "dead_letters";
pub const SHADOW_DEAD_LETTERS: &str = "dead_letters.beside";
