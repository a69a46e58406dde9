//! How a job shows itself without its secrets.

use std::fmt;

use super::Job;
use crate::base::secrets::mask;

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A debug text escapes: a PEM's line breaks are `\n` there.
        let escaped = self.secrets.iter().map(|secret| secret.escape_debug().to_string());
        let secrets: Vec<String> = self.secrets.iter().cloned().chain(escaped).collect();
        let shown = |value: &dyn fmt::Debug| mask(&format!("{value:?}"), &secrets);
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("tick_us", &self.tick_us)
            .field("stall_limit_us", &self.stall_limit_us)
            .field("idle_limit_us", &self.idle_limit_us)
            .field("sources", &format_args!("{}", shown(&self.sources)))
            .field("groups", &self.groups)
            .field("sinks", &format_args!("{}", shown(&self.sinks)))
            .field("dead_letters", &format_args!("{}", shown(&self.dead_letters)))
            .field("state", &format_args!("{}", shown(&self.state)))
            .finish_non_exhaustive()
    }
}
