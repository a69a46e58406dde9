//! From a job as it is written, in a file, a text or Rust, to a job, or to all that is wrong with it.

use std::path::{Path, PathBuf};

use super::open::more_faults;
use crate::base::fault::{At, Faults};
use crate::job::build::JobBuilder;
use crate::job::{Job, raw, validate};

impl Job {
    /// Reads a job file. Relative paths start at its directory, and `${VAR}` is read from the environment of this process. Sources,
    /// streams and stores are not opened: `run` does, and tells what it finds wrong there.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line and column.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Job, Faults> {
        let path = path.as_ref();
        let file = path.display().to_string();
        let absolute = std::path::absolute(path).map_err(|error| unreadable(&file, &error))?;
        let dir = absolute.parent().unwrap_or(&absolute);
        utf8(dir, &file)?;
        let bytes = std::fs::read(path).map_err(|error| unreadable(&file, &error))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| not_utf8(&file, &bytes, error.valid_up_to()))?;
        settled(validate::job(&file, dir, text, &variable))
    }

    /// Reads the text of a job file: as `from_file`, with relative paths that start at `dir`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line and column.
    pub fn from_toml(text: &str, dir: impl AsRef<Path>) -> Result<Job, Faults> {
        Job::from_text("job.toml", text, dir.as_ref())
    }

    /// `shown`: what places call the text.
    pub(crate) fn from_text(shown: &str, text: &str, dir: &Path) -> Result<Job, Faults> {
        let dir = std::path::absolute(dir).map_err(|error| unreadable(shown, &error))?;
        utf8(&dir, shown)?;
        settled(validate::job(shown, &dir, text, &variable))
    }
}

impl JobBuilder {
    /// The job, if nothing is wrong with it.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its key, as in `features.card_activity.columns.tx`.
    pub fn build(self) -> Result<Job, Faults> {
        let dir = self.dir.clone().map_or_else(std::env::current_dir, std::path::absolute);
        let dir: PathBuf = dir.map_err(|error| unreadable("", &error))?;
        utf8(&dir, "")?;
        let (root, faults) = self.raw();
        settled(validate::read(raw::Raw { root, torn: Default::default() }, &dir, faults))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn settled((job, mut faults): (Job, Faults)) -> Result<Job, Faults> {
    if faults.has_errors() {
        // All faults in one go: those of names and types too, as far as they can be seen.
        let told: Vec<At> = faults.faults.iter().map(|fault| fault.at).collect();
        // In a place that is wrong already, what was read may not be what was meant.
        let more = more_faults(&job).faults.into_iter().filter(|fault| !told.contains(&fault.at));
        faults.faults.extend(more);
        faults.faults.iter_mut().for_each(|fault| fault.message = job.mask(&fault.message));
    }
    faults.settle();
    if faults.has_errors() { Err(faults) } else { Ok(Job { warnings: faults.faults, ..job }) }
}

fn utf8(dir: &Path, file: &str) -> Result<(), Faults> {
    dir.to_str().map(drop).ok_or_else(|| unreadable(file, &"the path of its directory is not UTF-8"))
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
    faults
        .error(At { line, column: last.chars().count() + 1, file: 0 }, "the job file must be UTF-8: this byte is not");
    faults
}
