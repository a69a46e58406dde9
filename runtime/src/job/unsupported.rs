//! What this version does not do yet, with its place in the job. A line goes when the thing is built.

use super::{At, Faults, Job, paths};

fn state(path: &str) -> Option<&'static str> {
    paths::is_url(path).then_some("a state in an object store is")
}

/// Everything that the job asks for and this version does not do yet.
pub fn not_supported(job: &Job) -> Faults {
    let found: [(At, Option<&str>); 1] = [(job.state.at, state(&job.state.path))];
    let mut faults = Faults::new(job.file.display().to_string());
    for (at, what) in found {
        if let Some(what) = what {
            faults.error(at, format!("{what} not supported yet"));
        }
    }
    faults.settle();
    faults
}
