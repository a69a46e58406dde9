//! The processes of a job and their supervisor, which starts again whatever ends, as systemd would.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::round::{Failures, wait_for};
use crate::support::free_port;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub processes: usize,
    pub workers: usize,
}

pub struct Cluster {
    dir: PathBuf,
    failures: Failures,
    inner: Mutex<Inner>,
}

struct Inner {
    size: Size,
    hosts: Vec<String>,
    /// Whether what ends is started again.
    supervised: bool,
    until_end: bool,
    /// KiB that a file may have, for what is started from now on.
    file_limit_kib: Option<u64>,
    slots: Vec<Slot>,
    /// Frozen, and replaced meanwhile.
    zombies: Vec<Slot>,
    started: usize,
    exits: Vec<Exit>,
}

struct Slot {
    child: Option<Child>,
    number: usize,
    log: PathBuf,
    frozen: bool,
    /// We asked it to end.
    asked: bool,
    /// It has reached its end.
    done: bool,
    start_at: Instant,
}

impl Slot {
    /// Whether it has waited for others for long.
    fn waits(&self) -> bool {
        let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
        self.child.is_some() && log().lines().last().is_some_and(|line| line.contains("still waiting for"))
    }
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Exit {
    pub number: usize,
    pub status: ExitStatus,
    pub asked: bool,
    pub log: String,
}

const PAUSE: Duration = Duration::from_millis(100);

impl Cluster {
    pub fn new(dir: &Path, failures: Failures) -> Cluster {
        let size = Size { processes: 0, workers: 0 };
        let inner = Inner {
            size,
            hosts: vec![],
            supervised: false,
            until_end: false,
            zombies: vec![],
            file_limit_kib: None,
            slots: vec![],
            started: 0,
            exits: vec![],
        };
        std::fs::create_dir_all(dir.join("logs")).unwrap();
        Cluster { dir: dir.to_owned(), failures, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Starts a cluster of this size; none is running.
    pub fn start(&self, size: Size, until_end: bool) {
        let mut inner = self.inner();
        assert!(inner.slots.iter().all(|slot| slot.child.is_none()), "something is running still");
        inner.size = size;
        inner.hosts = (0..size.processes).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        std::fs::write(self.dir.join("hosts"), inner.hosts.join("\n")).unwrap();
        let slot = |_| Slot {
            child: None,
            number: 0,
            log: PathBuf::new(),
            frozen: false,
            asked: false,
            done: false,
            start_at: Instant::now(),
        };
        inner.slots = (0..size.processes).map(slot).collect();
        (inner.supervised, inner.until_end) = (true, until_end);
    }

    /// What is started from now on can write no longer files than this.
    pub fn limit_files(&self, kib: Option<u64>) {
        self.inner().file_limit_kib = kib;
    }

    /// One look at every process: what has ended is judged, and started again.
    pub fn supervise(&self) {
        let mut inner = self.inner();
        // One that ended well just after another was started again is waited for by that one.
        if inner.slots.iter().any(|slot| slot.done) && inner.slots.iter().any(Slot::waits) {
            inner.slots.iter_mut().for_each(|slot| slot.done = false);
        }
        for process in 0..inner.slots.len() {
            let slot = &mut inner.slots[process];
            let ended = slot.child.as_mut().and_then(|child| child.try_wait().unwrap());
            if let Some(status) = ended {
                slot.child = None;
                slot.start_at = Instant::now() + PAUSE;
                let log = std::fs::read_to_string(&slot.log).unwrap_or_default();
                let exit = Exit { number: slot.number, status, asked: slot.asked, log };
                if let Err(why) = exit.judge() {
                    self.failures.add(format!("{}: {why}\n{}", slot.log.display(), exit.log));
                }
                let reached = status.code() == Some(0) && inner.until_end && !exit.asked;
                inner.slots[process].done = reached;
                inner.exits.push(exit);
            }
            let slot = &inner.slots[process];
            if slot.child.is_none() && !slot.done && inner.supervised && Instant::now() >= slot.start_at {
                self.spawn(&mut inner, process);
            }
        }
    }

    fn spawn(&self, inner: &mut Inner, process: usize) {
        // A cluster starts as one: those that have reached the end come once more.
        inner.slots.iter_mut().for_each(|slot| slot.done = false);
        inner.started += 1;
        let number = inner.started;
        let log = self.dir.join(format!("logs/{number:03}-process-{process}"));
        let mut args =
            vec!["run".to_owned(), "job.toml".to_owned(), "--workers".to_owned(), inner.size.workers.to_string()];
        args.extend(inner.until_end.then(|| "--until-end".to_owned()));
        if inner.size.processes > 1 {
            let (processes, process) = (inner.size.processes.to_string(), process.to_string());
            args.extend(["--processes", &processes, "--process", &process, "--hosts", "hosts"].map(str::to_owned));
        }
        let binary = env!("CARGO_BIN_EXE_headwater");
        let mut command = match inner.file_limit_kib {
            None => Command::new(binary),
            Some(kib) => {
                let mut limited = Command::new("bash");
                let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
                limited.args(["-c", &script, binary]);
                limited
            }
        };
        command.args(args).current_dir(&self.dir).env("HEADWATER_SECRET", "s3cret").env("NO_COLOR", "1");
        command.env("HEADWATER_LOG", "info,fjall=warn,lsm_tree=warn,headwater=debug");
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let start_at = Instant::now();
        inner.slots[process] =
            Slot { child: Some(child), number, log, frozen: false, asked: false, done: false, start_at };
    }

    pub fn size(&self) -> Size {
        self.inner().size
    }

    /// What runs now: (process, number of the start, frozen).
    pub fn running(&self) -> Vec<(usize, usize, bool)> {
        let inner = self.inner();
        let running = inner.slots.iter().enumerate().filter(|(_, slot)| slot.child.is_some());
        running.map(|(process, slot)| (process, slot.number, slot.frozen)).collect()
    }

    pub fn log_of(&self, process: usize) -> String {
        std::fs::read_to_string(&self.inner().slots[process].log).unwrap_or_default()
    }

    /// Of all that run.
    pub fn logs(&self) -> String {
        self.running().iter().map(|(process, ..)| self.log_of(*process) + "---\n").collect()
    }

    /// Whether any process ever did, also one that was abandoned.
    pub fn has_said(&self, words: &str) -> bool {
        let logs = std::fs::read_dir(self.dir.join("logs")).unwrap();
        let mut logs = logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap_or_default());
        logs.any(|log| log.contains(words))
    }

    pub fn exit_of(&self, number: usize) -> Option<Exit> {
        self.inner().exits.iter().find(|exit| exit.number == number).cloned()
    }

    pub fn exits(&self) -> Vec<Exit> {
        self.inner().exits.clone()
    }

    /// `KILL`, `TERM`, `STOP` or `CONT`, to a process; whether it ran.
    pub fn signal(&self, process: usize, signal: &str) -> bool {
        let mut inner = self.inner();
        let Some(slot) = inner.slots.get_mut(process) else { return false };
        let Some(child) = &slot.child else { return false };
        match signal {
            "STOP" => slot.frozen = true,
            "CONT" => slot.frozen = false,
            _ => slot.asked = true,
        }
        // It may have ended meanwhile.
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).output();
        sent.is_ok_and(|kill| kill.status.success())
    }

    /// Ends all, and starts none again. Fails where one does not end.
    pub fn end(&self, signal: &str) {
        self.inner().supervised = false;
        for process in 0..self.size().processes {
            self.signal(process, signal);
            self.signal(process, "CONT");
        }
        let ended = wait_for(Duration::from_secs(30), || {
            self.supervise();
            self.running().is_empty()
        });
        if !ended {
            self.failures.add(format!("after {signal} these do not end: {:?}\n{}", self.running(), self.logs()));
            self.end_at_once();
        }
    }

    /// Whether every process has reached the end.
    pub fn is_done(&self) -> bool {
        self.inner().slots.iter().all(|slot| slot.done)
    }

    /// Takes a frozen process out of the supervisor's hands.
    pub fn abandon(&self, process: usize) {
        let mut inner = self.inner();
        let Some(slot) = inner.slots.get_mut(process) else { return };
        let Some(child) = slot.child.take() else { return };
        let zombie = Slot { child: Some(child), number: slot.number, log: slot.log.clone(), ..*slot };
        inner.zombies.push(zombie);
    }

    /// Wakes up what was abandoned: it must end by itself.
    pub fn awake(&self) {
        for mut zombie in std::mem::take(&mut self.inner().zombies) {
            let Some(mut child) = zombie.child.take() else { continue };
            let _ = Command::new("kill").args(["-s", "CONT", &child.id().to_string()]).output();
            let mut status = None;
            let ended = wait_for(Duration::from_secs(20), || {
                status = child.try_wait().unwrap();
                status.is_some()
            });
            let log = std::fs::read_to_string(&zombie.log).unwrap_or_default();
            if let Some(status) = status {
                let exit = Exit { number: zombie.number, status, asked: false, log };
                if let Err(why) = exit.judge() {
                    self.failures.add(format!("abandoned: {}: {why}\n{}", zombie.log.display(), exit.log));
                }
            } else if !ended {
                self.failures.add(format!("abandoned: {} does not end\n{log}", zombie.log.display()));
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    fn end_at_once(&self) {
        let mut inner = self.inner();
        inner.supervised = false;
        let Inner { slots, zombies, .. } = &mut *inner;
        for child in slots.iter_mut().chain(zombies).filter_map(|slot| slot.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        inner.slots.iter_mut().for_each(|slot| slot.child = None);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end_at_once();
    }
}

/// What a process may say when it ends with 1: the world was at fault, and that was told.
const EXPECTED: [&str; 14] = [
    "error: lost 127.0.0.1:",
    "(process 0) failed:",
    "looking for topic",
    "asking for the first and last offsets",
    "taking a generation in redis://",
    "reading marks from redis://",
    "stopped while waiting for redis://",
    "stopped before the start",
    "stopped before the end was reached",
    "stopped while waiting for 127.0.0.1:",
    "a store lost writes while the last ones were written",
    // An abandoned process holds it.
    "another run holds",
    "No space left on device",
    "File too large",
];

impl Exit {
    fn judge(&self) -> Result<(), String> {
        // What failed elsewhere is told with the error there.
        let elsewhere = usize::from(self.log.contains("(process 0) failed:"));
        let errors = self.log.lines().filter(|line| line.starts_with("error:")).count() - elsewhere;
        if self.log.contains("panicked") {
            return Err("it panicked".to_owned());
        }
        match (self.status.code(), self.status.signal()) {
            (_, Some(9)) if self.asked => Ok(()),
            (Some(0), _) if self.asked => Ok(()),
            // It had not come as far as catching signals.
            (_, Some(15)) if self.asked && self.log.is_empty() => Ok(()),
            // A peer was asked, and this one heard of it.
            (Some(0), _) if self.log.contains("done:") => Ok(()),
            (Some(1), _) if errors == 1 && EXPECTED.iter().any(|known| self.log.contains(known)) => Ok(()),
            _ => Err(format!("it ended with {:?}, asked: {}", self.status, self.asked)),
        }
    }
}
