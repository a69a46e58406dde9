//! The processes of a run: how they find each other, and how their workers are started.

use std::path::PathBuf;

use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

use crate::failure::Failure;
use crate::job::Job;
use crate::opened::Opened;
use crate::plan::Plan;

#[derive(Clone, Debug)]
pub struct Options {
    /// Workers of this process.
    pub workers: usize,
    pub processes: usize,
    pub process: usize,
    pub hosts: Option<PathBuf>,
}

pub struct Cluster {
    options: Options,
}

impl Cluster {
    pub fn connect(options: &Options, _job: &Job) -> Result<Cluster, Failure> {
        Ok(Cluster { options: options.clone() })
    }

    pub fn process(&self) -> usize {
        self.options.process
    }

    /// Process 0 decides, and tells the others.
    pub fn agree(
        &mut self,
        decide: impl FnOnce(Job) -> Result<(Opened, Plan), Failure>,
        _follow: impl FnOnce(Job, &Plan) -> Result<Opened, Failure>,
        job: Job,
    ) -> Result<(Opened, Plan), Failure> {
        decide(job)
    }

    pub fn execute(
        self,
        work: impl Fn(&mut Worker) + Send + Sync + 'static,
    ) -> Result<timely::communication::WorkerGuards<()>, Failure> {
        let config = if self.options.workers == 1 { CommunicationConfig::Thread } else { CommunicationConfig::Process(self.options.workers) };
        timely::execute(timely::Config { communication: config, worker: WorkerConfig::default() }, work)
            .map_err(|e| Failure::Running(format!("starting the workers: {e}")))
    }
}
