//! The processes of a run: how they find each other, agree on a plan, and start their workers.
//!
//! ```text
//! connect   each pair has one connection; both have proved that they know the secret and run the same job
//! agree     process 0 plans and sends the plan, or why there is none
//! execute   process 0 waits until all are ready, then timely takes the connections; or whoever has no dataflow: `links`
//! ```
//!
//! A cluster fails as one: whoever loses a peer ends, and it is started again as a whole.

mod frame;
mod handshake;
pub mod hosts;
mod join;
pub mod links;
pub mod options;
mod proof;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

use crate::base::failure::Failure;
use crate::base::secrets::{mask, with_escapes};
use crate::job::Job;
use frame::{Patient, is_gone};
use handshake::Who;
use links::Links;
use options::Options;

pub struct Cluster<'a> {
    options: Options,
    hosts: Vec<String>,
    /// Of the job: what no failure that others are told of shows.
    secrets: Vec<String>,
    /// By process, none for this one.
    peers: Vec<Option<TcpStream>>,
    stop: &'a AtomicBool,
}

/// What process 0 tells the others before the workers start.
#[derive(Serialize, Deserialize)]
enum ControlMessage<P> {
    Plan(P),
    Failed { code: u8, text: String },
    Go,
}

/// What the others tell process 0.
#[derive(Serialize, Deserialize)]
enum Reply {
    Ready,
    Failed { code: u8, text: String },
}

/// A plan lists the history's files, and what is known of each.
const MESSAGE_BYTES_MAX: u32 = 1 << 30;
/// For the last word of a process that fails.
const LAST_MESSAGE: Duration = Duration::from_secs(5);

impl<'a> Cluster<'a> {
    /// Joins the others. `flags`: the options that must be the same everywhere.
    pub fn connect(options: &Options, job: &Job, flags: &str, stop: &'a AtomicBool) -> Result<Cluster<'a>, Failure> {
        let hosts = hosts::read(options)?;
        let mut peers = vec![];
        if options.processes > 1 {
            let secret = std::env::var_os("HEADWATER_SECRET").filter(|secret| !secret.is_empty());
            let secret = secret.ok_or_else(|| {
                Failure::Usage("set HEADWATER_SECRET: the processes of a cluster know each other by it".to_owned())
            })?;
            let joining = join::Joining {
                hosts: &hosts,
                who: &who(options, job, flags)?,
                secret: secret.as_encoded_bytes(),
                timeout: options.join_timeout,
                stop,
            };
            peers = join::join(&joining)?;
        }
        Ok(Cluster { options: options.clone(), hosts, secrets: with_escapes(&job.secrets), peers, stop })
    }

    pub fn process(&self) -> usize {
        self.options.process
    }

    /// Process 0 decides on a plan, and tells the others; they follow. `O`: the job, opened for that plan.
    pub fn agree<O, P: Serialize + DeserializeOwned>(
        &mut self,
        decide: impl FnOnce(Job) -> Result<(O, P), Failure>,
        follow: impl FnOnce(Job, &P) -> Result<O, Failure>,
        job: Job,
    ) -> Result<(O, P), Failure> {
        if self.process() > 0 {
            return self.follow(follow, job);
        }
        match decide(job) {
            Ok((opened, plan)) => {
                let message = ControlMessage::Plan(plan);
                self.others().try_for_each(|(to, _)| self.send(to, &message, None))?;
                let ControlMessage::Plan(plan) = message else { unreachable!("it is the plan") };
                Ok((opened, plan))
            }
            Err(failure) => {
                self.tell_all_of(&failure);
                Err(failure)
            }
        }
    }

    fn follow<O, P: DeserializeOwned>(
        &self,
        follow: impl FnOnce(Job, &P) -> Result<O, Failure>,
        job: Job,
    ) -> Result<(O, P), Failure> {
        tracing::info!("waiting for the plan of {} (process 0)", self.hosts[0]);
        let plan = match self.receive(0)? {
            ControlMessage::Plan(plan) => plan,
            ControlMessage::Failed { code, text } => return Err(self.elsewhere(0, code, text)),
            ControlMessage::Go => return Err(Failure::Running("process 0 gave no plan".to_owned())),
        };
        match follow(job, &plan) {
            Ok(opened) => Ok((opened, plan)),
            Err(failure) => {
                let reply = Reply::Failed { code: failure.exit_code(), text: self.text_of(&failure) };
                // Where it cannot be told, process 0 sees the connection close.
                let _ = self.send(0, &reply, Some(Instant::now() + LAST_MESSAGE));
                Err(failure)
            }
        }
    }

    /// Starts the workers of this process, as soon as all processes are ready.
    pub fn execute(mut self, work: impl Fn(&mut Worker) + Send + Sync + 'static) -> Result<WorkerGuards<()>, Failure> {
        self.await_all()?;
        let failed = |e: &dyn std::fmt::Display| Failure::Running(format!("starting the workers: {e}"));
        let Options { workers, process, .. } = self.options;
        if self.peers.is_empty() {
            let communication =
                if workers == 1 { CommunicationConfig::Thread } else { CommunicationConfig::Process(workers) };
            let config = timely::Config { communication, worker: WorkerConfig::default() };
            return timely::execute(config, work).map_err(|e| failed(&e));
        }
        let peers = std::mem::take(&mut self.peers);
        for peer in peers.iter().flatten() {
            let untimed = peer.set_read_timeout(None).and_then(|()| peer.set_write_timeout(None));
            untimed.map_err(|e| failed(&e))?;
        }
        let hooks = Hooks::default();
        let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, threads) =
            initialize_networking_from_sockets(local, peers, process, workers, hooks).map_err(|e| failed(&e))?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        timely::execute::execute_from(builders, Box::new(threads), WorkerConfig::default(), work)
            .map_err(|e| failed(&e))
    }

    /// Instead of workers: the connections, as soon as all processes are ready. `None`: it is alone.
    pub fn links(mut self) -> Result<Option<Links>, Failure> {
        self.await_all()?;
        let peers = std::mem::take(&mut self.peers);
        (!peers.is_empty()).then(|| Links::new(self.options, (self.hosts, self.secrets), peers)).transpose()
    }

    /// No process sends before all can receive: a connection that nobody reads for long counts as lost.
    fn await_all(&self) -> Result<(), Failure> {
        if self.peers.is_empty() {
            return Ok(());
        }
        if self.process() > 0 {
            self.send(0, &Reply::Ready, None)?;
            return match self.receive::<ControlMessage<()>>(0)? {
                ControlMessage::Failed { code, text } => Err(self.elsewhere(0, code, text)),
                ControlMessage::Plan(_) | ControlMessage::Go => Ok(()),
            };
        }
        for (from, _) in self.others() {
            if let Reply::Failed { code, text } = self.receive(from)? {
                let failure = self.elsewhere(from, code, text);
                self.tell_all_of(&failure);
                return Err(failure);
            }
        }
        self.others().try_for_each(|(to, _)| self.send(to, &ControlMessage::<()>::Go, None))
    }

    fn tell_all_of(&self, failure: &Failure) {
        let message = ControlMessage::<()>::Failed { code: failure.exit_code(), text: self.text_of(failure) };
        let deadline = Some(Instant::now() + LAST_MESSAGE);
        // Whoever does not hear it sees the connection close.
        self.others().for_each(|(to, _)| drop(self.send(to, &message, deadline)));
    }

    /// As the others are told of it.
    fn text_of(&self, failure: &Failure) -> String {
        mask(&failure.to_string(), &self.secrets)
    }

    fn others(&self) -> impl Iterator<Item = (usize, &TcpStream)> {
        self.peers.iter().enumerate().filter_map(|(process, peer)| Some((process, peer.as_ref()?)))
    }

    fn send(&self, to: usize, message: &impl Serialize, deadline: Option<Instant>) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(message).expect("it is plain data");
        self.exchange(to, deadline, |connection| frame::write(connection, &bytes))
    }

    fn receive<T: DeserializeOwned>(&self, from: usize) -> Result<T, Failure> {
        let bytes = self.exchange(from, None, |connection| frame::read(connection, MESSAGE_BYTES_MAX))?;
        let host = &self.hosts[from];
        serde_json::from_slice(&bytes)
            .map_err(|e| Failure::Running(format!("what {host} (process {from}) said makes no sense: {e}")))
    }

    fn exchange<T>(
        &self,
        with: usize,
        deadline: Option<Instant>,
        exchange: impl FnOnce(&mut Patient) -> std::io::Result<T>,
    ) -> Result<T, Failure> {
        let stream = self.peers[with].as_ref().expect("only others are spoken to");
        let mut connection = Patient::new(stream, deadline, self.stop);
        // One that went away before the start may have been replaced by one that waits for us as we wait here.
        connection.others = &self.peers;
        exchange(&mut connection).map_err(|e| {
            let lost = self.others().find(|(process, other)| *process != with && is_gone(other));
            let with = lost.filter(|_| e.kind() == ErrorKind::ConnectionAborted).map_or(with, |(process, _)| process);
            let host = &self.hosts[with];
            if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Failure::Running(format!(
                    "stopped before the start, while waiting for {host} (process {with})"
                ));
            }
            let why = match e.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted => "it closed the connection".to_owned(),
                _ => e.to_string(),
            };
            Failure::Running(format!("lost {host} (process {with}): {why}"))
        })
    }

    fn elsewhere(&self, process: usize, code: u8, text: String) -> Failure {
        Failure::Elsewhere { process, host: self.hosts[process].clone(), code, text }
    }
}

fn who(options: &Options, job: &Job, flags: &str) -> Result<Who, Failure> {
    let text = std::fs::read(&job.places.file)
        .map_err(|e| Failure::Usage(format!("the job file {} cannot be read: {e}", job.places.file)))?;
    Ok(Who {
        process: options.process,
        processes: options.processes,
        workers: options.workers,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        job: job.name.clone(),
        fingerprint: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&text)),
        flags: flags.to_owned(),
    })
}
