//! A job, as Python holds it.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use headwater::bind::{self, BackfillArguments, Course};
use pyo3::prelude::*;

use crate::arrow_c;
use crate::failure::{Told, of_failure, of_faults, of_table, told};
use crate::rows::Rows;
use crate::waiting::wait_for;

/// A job as it was written, validated.
#[pyclass(frozen, module = "headwater._native")]
pub struct Job(headwater::Job);

/// What nobody watches.
fn unseen(_: Python<'_>) -> PyResult<()> {
    Ok(())
}

#[pymethods]
impl Job {
    /// `shown`: how faults call the text.
    #[new]
    fn new(shown: &str, text: &str, dir: &str) -> PyResult<Job> {
        bind::job(shown, text, Path::new(dir)).map(Job).map_err(|faults| of_faults(&faults))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// What is odd about it.
    #[getter]
    fn warnings(&self) -> Vec<Told> {
        told(&self.0.warnings())
    }

    /// The file that says where the running job is.
    #[getter]
    fn endpoint(&self) -> String {
        bind::endpoint(&self.0)
    }

    /// Looks at its sources, whether every name and type fits.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        let job = self.0.clone();
        wait_for((py, &self.0), move || bind::open(&job), unseen, None)
    }

    /// What `headwater check` tells.
    fn check(&self, py: Python<'_>) -> PyResult<String> {
        let job = self.0.clone();
        wait_for((py, &self.0), move || bind::check(&job), unseen, None)
    }

    /// What `headwater catalog` knows of it, as JSON.
    fn catalog(&self, py: Python<'_>) -> PyResult<String> {
        let job = self.0.clone();
        wait_for((py, &self.0), move || bind::catalog(&job), unseen, None)
    }

    fn fingerprint(&self, py: Python<'_>) -> PyResult<String> {
        let job = self.0.clone();
        wait_for((py, &self.0), move || bind::fingerprint(&job), unseen, None)
    }

    #[pyo3(signature = (group, sink = None))]
    fn export(&self, py: Python<'_>, group: String, sink: Option<String>) -> PyResult<Rows> {
        let job = self.0.clone();
        wait_for((py, &self.0), move || bind::export(&job, &group, sink.as_deref()), unseen, None).map(Rows)
    }

    /// `progress(doing, counted, done, total)` is called now and then.
    #[pyo3(signature = (spine, time, known, features = None, workers = None, memory = None, progress = None))]
    #[allow(clippy::too_many_arguments)]
    fn backfill<'py>(
        &self,
        py: Python<'py>,
        spine: Bound<'py, PyAny>,
        time: String,
        known: String,
        features: Option<Vec<String>>,
        workers: Option<usize>,
        memory: Option<String>,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Rows> {
        let spine = arrow_c::rows_of(py, &spine)?.map_err(of_table)?;
        let (job, course) = (self.0.clone(), Course::default());
        let asked = BackfillArguments { time, known, features, workers, memory };
        let its_own = course.clone();
        let work = move || bind::backfill(&job, spine, &asked, &its_own);
        let look = |_: Python<'_>| match &progress {
            Some(progress) => progress.call1(course.look()).map(drop),
            None => Ok(()),
        };
        wait_for((py, &self.0), work, look, Some(&|| course.stop())).map(Rows)
    }
}

/// The keys that each kind of table in a job file may have, but for those that a `type` brings.
#[pyfunction]
pub fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    bind::keys()
}

/// Runs a command line of `headwater`, the program's name first: what to end with. Signals are its own meanwhile.
#[pyfunction]
pub fn command(py: Python<'_>, line: Vec<OsString>) -> PyResult<u8> {
    py.detach(|| {
        let code = headwater::command::run_line(line);
        std::io::stdout().flush().map(|()| code)
    })
    .map_err(|e| of_failure(&headwater::Failure::Running(format!("writing to stdout: {e}"))))
}
