//! The catalogue: what features there are, what they mean, where they come from and where they are served. No job has
//! to run for it; of one that runs it says how fresh its rows are.

pub mod entries;
#[cfg(feature = "command")]
pub mod find;
#[cfg(feature = "command")]
pub mod markdown;
#[cfg(feature = "command")]
pub mod search;
#[cfg(feature = "command")]
pub mod text;

use std::path::Path;

use crate::base::failure::Failure;
use crate::job::Job;
use entries::JobEntry;

/// What it says of one job, as JSON.
pub fn json_of(job: Job) -> Result<String, Failure> {
    let entry = JobEntry::of(Path::new(""), job);
    serde_json::to_string(&entry).map_err(|e| Failure::Running(e.to_string()))
}
