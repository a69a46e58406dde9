//! From the text of a job file to a job: pure.

use std::path::Path;

use super::{Job, validate};
use crate::base::fault::Faults;

/// Validates the text of a job file: pure. `file` is its name in messages, `dir` (absolute) where relative paths start.
/// Returns the job and its warnings, or every fault.
pub fn parse(
    file: &str,
    dir: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Job, Faults), Faults> {
    let (job, mut faults) = validate::job(file, dir, text, env);
    faults.settle();
    if faults.has_errors() { Err(faults) } else { Ok((job, faults)) }
}
