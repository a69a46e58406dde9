//! From a job file to a job, or to all that is wrong with it.

use std::path::Path;

use super::open::more_faults;
use crate::base::fault::{At, Fault, Faults};
use crate::job::{Job, validate};

/// Reads and validates a job file, with the environment of this process. Returns the job and its warnings, or every fault.
/// From then on no log shows a secret of the job.
pub fn load(path: &Path) -> Result<(Job, Vec<Fault>), Faults> {
    let file = path.display().to_string();
    let absolute = std::path::absolute(path).map_err(|error| unreadable(&file, &error))?;
    let dir = absolute.parent().unwrap_or(&absolute);
    if dir.to_str().is_none() {
        return Err(unreadable(&file, &"the path of its directory is not UTF-8"));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(&file, &error))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| not_utf8(&file, &bytes, error.valid_up_to()))?;
    let (job, mut faults) = validate::job(&file, dir, text, &|name| std::env::var(name).ok());
    crate::base::secrets::hide(&job.secrets);
    if faults.has_errors() {
        // All faults in one go: those of names and types too, as far as they can be seen.
        let told: Vec<At> = faults.faults.iter().map(|fault| fault.at).collect();
        // In a place that is wrong already, what was read may not be what was meant.
        let more = more_faults(&job).faults.into_iter().filter(|fault| !told.contains(&fault.at));
        faults.faults.extend(more);
    }
    faults.settle();
    if faults.has_errors() { Err(faults) } else { Ok((job, faults.faults)) }
}

fn unreadable(file: &str, why: &dyn std::fmt::Display) -> Faults {
    let mut faults = Faults::new(file);
    faults.error(At::default(), format!("the job file cannot be read: {why}"));
    faults
}

fn not_utf8(file: &str, bytes: &[u8], valid: usize) -> Faults {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let (line, last) = (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default());
    let mut faults = Faults::new(file);
    faults.error(At { line, column: last.chars().count() + 1 }, "the job file must be UTF-8: this byte is not");
    faults
}
