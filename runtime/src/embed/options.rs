//! What is said of a run beside its job.

/// How a job runs.
///
/// ```
/// let options = headwater::Options { until_end: true, workers: 2, ..headwater::Options::default() };
/// assert!(!options.fresh && !options.endpoint);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Stop at the ends that the streams have at the start; otherwise it follows them until it is asked to stop. (A job without any
    /// stream always stops.)
    pub until_end: bool,
    /// Set what earlier runs left aside, and begin anew.
    pub fresh: bool,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Serve `headwater get`, `export` and `status`, and Prometheus metrics, over HTTP on a loopback address, as the command does.
    pub endpoint: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { until_end: false, fresh: false, workers: 1, endpoint: false }
    }
}
