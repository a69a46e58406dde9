//! How the processes of a cluster find each other: each listens on its own address and connects to all before it. The
//! order in which they start does not matter.

use std::collections::BTreeSet;
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::frame::{Patient, is_gone};
use super::handshake::{self, Refused, Who};
use super::hosts;
use crate::base::failure::Failure;

const HANDSHAKE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const REMIND_EVERY: Duration = Duration::from_secs(10);
/// Strangers that are listened to at the same time, and those that are remembered so as to be logged once.
const STRANGERS_MAX: usize = 64;
const TOLD_MAX: usize = 1000;
/// A host that is gone is noticed after this time.
const GONE: Duration = Duration::from_secs(10);

/// What a process needs in order to join.
pub struct Joining<'a> {
    pub hosts: &'a [String],
    pub who: &'a Who,
    pub secret: &'a [u8],
    pub timeout: Duration,
    pub stop: &'a AtomicBool,
}

struct State<'a> {
    joining: &'a Joining<'a>,
    peers: Mutex<Vec<Option<TcpStream>>>,
    /// By process: why it could not be joined, the last time.
    reasons: Mutex<Vec<Option<String>>>,
    /// What makes waiting pointless.
    failure: Mutex<Option<Failure>>,
    strangers: AtomicUsize,
    told: Mutex<BTreeSet<(IpAddr, String)>>,
    over: AtomicBool,
}

/// Waits for all the others. Returns a connection by process, none for this one.
pub fn join(joining: &Joining) -> Result<Vec<Option<TcpStream>>, Failure> {
    let Joining { hosts, who, .. } = joining;
    let here = &hosts[who.process];
    let listen = || {
        let listener = TcpListener::bind(hosts::resolve(here).map_err(std::io::Error::other)?.as_slice())?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = listen().map_err(|e: std::io::Error| Failure::Running(format!("listening on {here}: {e}")))?;
    let state = State {
        joining,
        peers: Mutex::new(hosts.iter().map(|_| None).collect()),
        reasons: Mutex::new(vec![None; hosts.len()]),
        failure: Mutex::new(None),
        strangers: AtomicUsize::new(0),
        told: Mutex::default(),
        over: AtomicBool::new(false),
    };
    let (state, listener) = (&state, &listener);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !state.over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, from)) if state.strangers.load(Ordering::Relaxed) < STRANGERS_MAX => {
                        state.strangers.fetch_add(1, Ordering::Relaxed);
                        scope.spawn(move || state.listen(stream, from.ip()));
                    }
                    Ok(_) => {}
                    Err(_) => std::thread::sleep(LOOK_EVERY),
                }
            }
        });
        for to in 0..who.process {
            scope.spawn(move || state.keep_dialing(to));
        }
        let outcome = state.wait();
        state.over.store(true, Ordering::Relaxed);
        outcome
    })?;
    tracing::info!(processes = hosts.len(), "all processes are here");
    Ok(std::mem::take(&mut *held(&state.peers)))
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl State<'_> {
    /// Until all are here.
    fn wait(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let mut told = None;
        loop {
            let missing = self.missing();
            if missing.is_empty() {
                return Ok(());
            }
            if let Some(failure) = held(&self.failure).take() {
                return Err(failure);
            }
            let names = || missing.iter().map(|p| self.joining.hosts[*p].as_str()).collect::<Vec<_>>().join(", ");
            if self.joining.stop.load(Ordering::Relaxed) {
                return Err(Failure::Running(format!("stopped while waiting for {}", names())));
            }
            if began.elapsed() >= self.joining.timeout {
                return Err(self.too_late(&missing));
            }
            if told.is_none_or(|at: Instant| at.elapsed() >= REMIND_EVERY) {
                tracing::info!("{}waiting for {}", if told.is_some() { "still " } else { "" }, names());
                told = Some(Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Who is not here, or no longer.
    fn missing(&self) -> Vec<usize> {
        let mut peers = held(&self.peers);
        for peer in peers.iter_mut() {
            if peer.as_ref().is_some_and(is_gone) {
                *peer = None;
            }
        }
        let missing = peers.iter().enumerate().filter(|(_, peer)| peer.is_none()).map(|(process, _)| process);
        missing.filter(|process| *process != self.joining.who.process).collect()
    }

    fn too_late(&self, missing: &[usize]) -> Failure {
        let reasons = held(&self.reasons);
        let one = |process: &usize| {
            let why = reasons[*process].as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("  {} (process {process}){why}", self.joining.hosts[*process])
        };
        let missing: Vec<String> = missing.iter().map(one).collect();
        let after = self.joining.timeout.as_secs_f64();
        Failure::Running(format!("after {after} s (--join-timeout) these are still missing:\n{}", missing.join("\n")))
    }

    fn listen(&self, stream: TcpStream, from: IpAddr) {
        let admit = |process: usize| {
            let mut peers = held(&self.peers);
            let taken = peers[process].as_ref().is_some_and(|peer| !is_gone(peer));
            if taken {
                return Err(format!("process {process} is here already"));
            }
            peers[process] = None;
            Ok(())
        };
        let done = stream.set_nonblocking(false).and_then(|()| tune(&stream)).map_err(Refused::from).and_then(|()| {
            let mut connection = self.patient(&stream);
            handshake::listen(&mut connection, self.joining.secret, self.joining.who, admit)
        });
        match done {
            Ok(process) => self.take(process, stream),
            Err(Refused::ForNow(why) | Refused::ForGood(why)) => {
                // What it has sent and nobody read must not turn the goodbye into a reset.
                let _ = stream.shutdown(Shutdown::Write);
                self.tell(from, why);
            }
        }
        self.strangers.fetch_sub(1, Ordering::Relaxed);
    }

    fn take(&self, process: usize, stream: TcpStream) {
        let mut peers = held(&self.peers);
        if peers[process].as_ref().is_none_or(is_gone) {
            peers[process] = Some(stream);
        }
    }

    /// One line for each stranger and reason.
    fn tell(&self, from: IpAddr, why: String) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        let mut told = held(&self.told);
        if told.len() < TOLD_MAX && told.insert((from, why.clone())) {
            tracing::warn!("refused a connection from {from}: {why}");
        }
    }

    /// Connects to a process, and again if it goes away while others are waited for.
    fn keep_dialing(&self, to: usize) {
        let mut pause = PAUSE;
        while !self.over.load(Ordering::Relaxed) {
            if held(&self.peers)[to].is_some() {
                (pause, _) = (PAUSE, std::thread::sleep(LOOK_EVERY));
                continue;
            }
            match self.dial(to) {
                Ok(stream) => self.take(to, stream),
                Err(Refused::ForNow(why)) => {
                    held(&self.reasons)[to] = Some(why);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(Refused::ForGood(why)) => {
                    let host = &self.joining.hosts[to];
                    let text = format!("this process cannot join {host} (process {to}): {why}");
                    held(&self.failure).get_or_insert(Failure::Usage(text));
                    return;
                }
            }
        }
    }

    fn dial(&self, to: usize) -> Result<TcpStream, Refused> {
        let mut reason = "it has no address".to_owned();
        for address in hosts::resolve(&self.joining.hosts[to]).map_err(Refused::ForNow)? {
            let stream = match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => stream,
                Err(e) => {
                    reason = e.to_string();
                    continue;
                }
            };
            // Where nobody listens, a connection may by chance reach itself.
            if stream.local_addr()? == stream.peer_addr()? {
                continue;
            }
            tune(&stream)?;
            handshake::dial(&mut self.patient(&stream), self.joining.secret, self.joining.who, to)?;
            return Ok(stream);
        }
        Err(Refused::ForNow(reason))
    }

    fn patient<'s>(&'s self, stream: &'s TcpStream) -> Patient<'s> {
        Patient::new(stream, Some(Instant::now() + HANDSHAKE), &self.over)
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probe = GONE / 5;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(probe * 2).with_interval(probe).with_retries(3))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(GONE))?;
    Ok(())
}
