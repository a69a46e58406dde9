//! How a process takes part in a cluster.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Options {
    /// Workers of this process.
    pub workers: usize,
    pub processes: usize,
    pub process: usize,
    pub hosts: Option<PathBuf>,
    /// How long to wait for the other processes.
    pub join_timeout: Duration,
}

impl Options {
    /// One process.
    pub fn alone(workers: usize) -> Options {
        Options { workers, processes: 1, process: 0, hosts: None, join_timeout: Duration::ZERO }
    }
}
