//! The lease of a state in an object store: its job runs once at a time.
//!
//! A state on a local disk is locked with its directory. An object store has no locks, so the job that runs says every 10 s
//! that it lives, in `lease.json`, by replacing what it wrote before. A second start that sees it live is refused; after 30 s without
//! a word it takes over. No clock is compared: it looks on for so long itself. Whoever starts where the holder ran, with its local
//! directory, need not wait: that directory's lock is free, so the holder is gone.
//!
//! A holder ends when it finds that another has taken over. A store that does not answer is no reason to end: nobody can take over
//! there either. What two that run at once must not both write is guarded by generations, not by the lease.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use headwater_clocks::WallClock;
use headwater_connectors::storage::{Storage, Version};
use headwater_connectors::threads::{Helper, guarded};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::generations::host;
use crate::base::failure::Failure;
use crate::base::failures::{Failures, Standing};

const NAME: &str = "lease.json";
const RENEW_EVERY: Duration = Duration::from_secs(10);
const LASTS: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the end of a run waits for a store that does not answer.
const RELEASE_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// Of this holder alone.
    token: String,
    host: String,
    pid: u32,
    #[serde(rename = "since_us")]
    since: WallClock,
    renewed: u64,
    /// The holder has ended.
    released: bool,
}

impl Holder {
    fn who(&self) -> String {
        format!("{}, pid {}, since {}", self.host, self.pid, self.since)
    }
}

/// Held until it is dropped.
pub struct Lease {
    /// Another start has taken over.
    lost: Standing,
    end: Option<Sender<()>>,
    done: Receiver<()>,
}

impl Lease {
    /// Takes the lease of a state, once it is free. `local`: the job's local directory, which this process has locked.
    pub fn take(storage: &Storage, local: &Path, stop: &AtomicBool) -> Result<Lease, Failure> {
        let kept = TokenFile(local.join("lease"));
        let holder = Holder {
            token: format!("{:032x}", rand::rng().random::<u128>()),
            host: host(),
            pid: std::process::id(),
            since: WallClock::now(),
            renewed: 0,
            released: false,
        };
        let version = take(storage, &holder, kept.read().as_deref(), stop)?;
        kept.write(&holder.token)?;
        let lost = Standing::default();
        let (end, ended) = channel();
        let (is_done, done) = channel::<()>();
        let renewing = Renewing { storage: storage.clone(), holder, version };
        let known = lost.clone();
        let renew = move || {
            guarded(|| renewing.renew(&ended)).unwrap_or_else(|failure| known.tell(&failure));
            drop(is_done);
            Ok::<(), Failure>(())
        };
        Helper::start("lease", renew)?;
        Ok(Lease { lost, end: Some(end), done })
    }

    /// From now on this is told when another start has taken over; at once, where one has already.
    pub fn report_to(&self, failures: &Failures) {
        self.lost.report_to(failures);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end = None;
        // It has released the lease, or cannot.
        let _ = self.done.recv_timeout(RELEASE_MAX);
    }
}

/// Where the token of the last holder here is.
struct TokenFile(PathBuf);

impl TokenFile {
    fn read(&self) -> Option<String> {
        std::fs::read_to_string(&self.0).ok()
    }

    fn write(&self, token: &str) -> Result<(), Failure> {
        std::fs::write(&self.0, token).map_err(|e| Failure::Running(format!("writing {}: {e}", self.0.display())))
    }
}

/// The lease as somebody else holds it, and since when it looks so.
struct OtherLease {
    holder: Holder,
    since: Instant,
}

fn take(storage: &Storage, holder: &Holder, before: Option<&str>, stop: &AtomicBool) -> Result<Version, Failure> {
    let mut seen: Option<OtherLease> = None;
    loop {
        let Some((held, version)) = read(storage)? else {
            storage.create(NAME, &text(holder))?;
            if let Some((_, version)) = read(storage)?.filter(|(found, _)| found == holder) {
                return Ok(version);
            }
            continue;
        };
        let silent = seen.as_ref().filter(|seen| seen.holder == held).map(|seen| seen.since.elapsed());
        let free = held.released || before == Some(held.token.as_str()) || silent.is_some_and(|silent| silent > LASTS);
        if free {
            if let Some(version) = replace(storage, holder, &version)? {
                return Ok(version);
            }
            continue;
        }
        match &seen {
            Some(seen) if seen.holder != held => return Err(refused(storage, &held)),
            Some(_) => {}
            None => {
                tracing::info!(
                    "the state is held by a run on {}: looking for {} s whether it still lives",
                    held.who(),
                    LASTS.as_secs()
                );
                seen = Some(OtherLease { holder: held, since: Instant::now() });
            }
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::Running("stopped before the start, while waiting for the state's lease".to_owned()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn refused(storage: &Storage, held: &Holder) -> Failure {
    Failure::Running(format!("another run holds {}: it is on {}. Stop it first", storage.shown(""), held.who()))
}

fn text(holder: &Holder) -> Vec<u8> {
    serde_json::to_vec_pretty(holder).expect("a lease is plain data")
}

fn read(storage: &Storage) -> Result<Option<(Holder, Version)>, Failure> {
    let Some((bytes, version)) = storage.read(NAME)? else { return Ok(None) };
    let holder = serde_json::from_slice(&bytes)
        .map_err(|e| Failure::Running(format!("reading {}: {e}", storage.shown(NAME))))?;
    Ok(Some((holder, version)))
}

/// Replaces what was read. An answer that got lost may have made it ours all the same.
fn replace(storage: &Storage, holder: &Holder, version: &Version) -> Result<Option<Version>, Failure> {
    if let Some(version) = storage.replace(NAME, &text(holder), version)? {
        return Ok(Some(version));
    }
    Ok(read(storage)?.filter(|(found, _)| found == holder).map(|(_, version)| version))
}

struct Renewing {
    storage: Storage,
    holder: Holder,
    version: Version,
}

impl Renewing {
    /// Until the run ends. An error: another one has taken over.
    fn renew(mut self, ended: &Receiver<()>) -> Result<(), Failure> {
        let mut every = RENEW_EVERY;
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            self.holder.renewed += 1;
            every = match self.say() {
                Ok(()) => RENEW_EVERY,
                Err(Say::Lost(why)) => return Err(Failure::Running(why)),
                Err(Say::Silent(why)) => {
                    tracing::warn!("cannot say that this run lives, and tries again: {why}");
                    LOOK_EVERY
                }
            };
        }
        self.holder.released = true;
        match self.say() {
            Ok(()) | Err(Say::Lost(_)) => {}
            Err(Say::Silent(why)) => {
                let seconds = LASTS.as_secs();
                tracing::warn!("a start elsewhere will wait {seconds} s for this run: {why}");
            }
        }
        Ok(())
    }

    fn say(&mut self) -> Result<(), Say> {
        let silent = |e: Failure| Say::Silent(e.message());
        if let Some(version) = replace(&self.storage, &self.holder, &self.version).map_err(silent)? {
            self.version = version;
            return Ok(());
        }
        let found = read(&self.storage).map_err(silent)?;
        let shown = self.storage.shown("");
        match found {
            Some((found, version)) if found.token == self.holder.token => {
                self.version = version;
                Err(Say::Silent(format!("{} changed meanwhile", self.storage.shown(NAME))))
            }
            Some((found, _)) => Err(Say::Lost(format!("another run has taken {shown} over: it is on {}", found.who()))),
            None => Err(Say::Lost(format!("somebody has removed {}", self.storage.shown(NAME)))),
        }
    }
}

/// Why a lease was not renewed.
enum Say {
    Lost(String),
    Silent(String),
}
