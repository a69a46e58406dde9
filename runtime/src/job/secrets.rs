//! How a job shows itself without its secrets.

use std::fmt;

use super::Job;
use crate::base::secrets::{mask, with_escapes};

impl Job {
    /// The text without the secrets of the job: for log lines and whatever else a program shows. Errors of a run need it no more.
    pub fn mask(&self, text: &str) -> String {
        mask(text, &with_escapes(&self.secrets))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &dyn fmt::Debug| self.mask(&format!("{value:?}"));
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("file", &self.places.file)
            .field("tick_us", &self.tick.us())
            .field("stall_limit_us", &self.stall_limit.us())
            .field("idle_limit_us", &self.idle_limit.us())
            .field("sources", &format_args!("{}", shown(&self.sources)))
            .field("groups", &self.groups)
            .field("sinks", &format_args!("{}", shown(&self.sinks)))
            .field("dead_letters", &format_args!("{}", shown(&self.dead_letters)))
            .field("state", &format_args!("{}", shown(&self.state)))
            .finish_non_exhaustive()
    }
}
