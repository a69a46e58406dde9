//! The threads of a backfill, and its other processes: they work side by side, and the first that fails, or a signal, stops all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_connectors::threads::guarded;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::failure::Failure;
use crate::cluster::links::{Heard, Hearing, Links, Untaken, Why};

pub struct Workers<'a> {
    number: usize,
    /// A signal came.
    stop: &'a AtomicBool,
    failed: AtomicBool,
    /// Why it failed first.
    first: Mutex<Option<Failure>>,
    /// To the other processes; `None`: it is alone.
    links: Option<Links>,
}

impl<'a> Workers<'a> {
    pub fn new(number: usize, stop: &'a AtomicBool, links: Option<Links>) -> Workers<'a> {
        Workers { number: number.max(1), stop, failed: AtomicBool::new(false), first: Mutex::new(None), links }
    }

    /// Of this process.
    pub fn number(&self) -> usize {
        self.number
    }

    pub fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Which process this is, and how many there are.
    pub fn process(&self) -> (usize, usize) {
        self.links().map_or((0, 1), |links| (links.process(), links.processes()))
    }

    /// Whether it is process 0, which plans, tells and writes.
    pub fn is_first(&self) -> bool {
        self.process().0 == 0
    }

    /// Asked often by whoever works.
    pub fn check(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        Ok(())
    }

    /// What `work` gives on each thread, which it is given the number of.
    pub fn run<T: Send>(&self, work: impl Fn(usize) -> Result<T, Failure> + Sync) -> Result<Vec<T>, Failure> {
        let one = |worker: usize| match guarded(|| work(worker)) {
            Ok(done) => Some(done),
            Err(failure) => {
                drop(self.note(failure));
                None
            }
        };
        let done: Vec<Option<T>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.number).map(|worker| scope.spawn(move || one(worker))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
        });
        let done: Option<Vec<T>> = done.into_iter().collect();
        done.ok_or_else(|| self.why())
    }

    /// Does `work` while what the other processes send is heard, by sender and channel; and waits until all are done with theirs.
    pub fn exchange<T>(
        &self,
        hear: impl Fn((usize, u32), Vec<u8>) -> Result<(), Untaken> + Sync,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(links) = &self.links else { return work() };
        links.exchange(&Ear { workers: self, hear }, |_| work()).ok_or_else(|| self.why())
    }

    /// Does what all do and nobody tells of, while it is heard whether another one fails.
    pub fn together<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        self.exchange(unasked, work)
    }

    /// Tells the others of a failure that they do not know yet.
    pub fn told<T>(&self, done: Result<T, Failure>) -> Result<T, Failure> {
        match done {
            Err(failure) if !self.failed.load(Ordering::Relaxed) => self.exchange(|_, _| Ok(()), || Err(failure)),
            done => done,
        }
    }

    /// What process 0 does last, while the others wait; they get nothing. Once it is done, it is done, whatever becomes of them.
    pub fn first_at_last<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<Option<T>, Failure> {
        let Some(links) = &self.links else { return work().map(Some) };
        let mut done = None;
        let ended = links.exchange(&Ear { workers: self, hear: unasked }, |heard: &Heard| match self.is_first() {
            true => work().map(|of_first| done = Some(of_first)),
            false => heard.until_done(0),
        });
        if ended.is_some() || done.is_some() { Ok(done) } else { Err(self.why()) }
    }

    /// What process 0 works out, for all.
    pub fn of_first<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Send,
    {
        let told: Mutex<Option<T>> = Mutex::new(None);
        let hear = |_, message: Vec<u8>| {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(parsed(&message)?);
            Ok(())
        };
        let own = self.exchange(hear, || match self.is_first() {
            true => work().and_then(|own| self.tell_all(&own).map(|()| Some(own))),
            false => Ok(None),
        })?;
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        own.or(told).ok_or_else(|| Failure::Running("process 0 has told nothing".to_owned()))
    }

    /// What each process works out, by process, for all.
    pub fn of_each<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<Vec<T>, Failure>
    where
        T: Serialize + DeserializeOwned + Send,
    {
        let told: Mutex<BTreeMap<usize, T>> = Mutex::default();
        let add = |process: usize, of: T| told.lock().unwrap_or_else(PoisonError::into_inner).insert(process, of);
        let hear = |(process, _), message: Vec<u8>| {
            add(process, parsed(&message)?);
            Ok(())
        };
        self.exchange(hear, || {
            let own = work()?;
            self.tell_all(&own)?;
            add(self.process().0, own);
            Ok(())
        })?;
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (0..self.process().1).find(|process| !told.contains_key(process)) {
            Some(process) => Err(Failure::Running(format!("process {process} has told nothing"))),
            None => Ok(told.into_values().collect()),
        }
    }

    fn tell_all(&self, value: &impl Serialize) -> Result<(), Failure> {
        let Some(links) = &self.links else { return Ok(()) };
        let message = serde_json::to_vec(value).expect("it is plain data");
        links.others().try_for_each(|to| links.send(to, 0, &message))
    }

    /// Keeps the first failure: those that are stopped by it say only that.
    fn note(&self, failure: Failure) -> MutexGuard<'_, Option<Failure>> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.failed.swap(true, Ordering::Relaxed) {
            *first = Some(failure);
        }
        first
    }

    fn why(&self) -> Failure {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_else(stopped)
    }
}

fn stopped() -> Failure {
    Failure::Running("stopped before it was done: nothing was written".to_owned())
}

fn parsed<T: DeserializeOwned>(message: &[u8]) -> Result<T, Untaken> {
    serde_json::from_slice(message).map_err(|_| Untaken::Senseless)
}

/// Where nobody sends anything.
fn unasked(_: (usize, u32), _: Vec<u8>) -> Result<(), Untaken> {
    Err(Untaken::Senseless)
}

/// Hears for the threads of this process.
struct Ear<'e, 'a, H> {
    workers: &'e Workers<'a>,
    hear: H,
}

impl<H: Fn((usize, u32), Vec<u8>) -> Result<(), Untaken> + Sync> Hearing for Ear<'_, '_, H> {
    fn hear(&self, from: (usize, u32), message: Vec<u8>) -> Result<(), Untaken> {
        (self.hear)(from, message)
    }

    fn check(&self) -> Result<(), Failure> {
        self.workers.check()
    }

    fn fail(&self, failure: Failure) -> Why {
        self.workers.note(failure).as_ref().map_or_else(|| Why::from(&stopped()), Why::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told() {
        let stop = AtomicBool::new(false);
        let workers = Workers::new(3, &stop, None);
        assert_eq!(workers.run(Ok).unwrap(), [0, 1, 2]);
        let failed = workers.run(|worker| match worker {
            1 => Err::<(), _>(Failure::Running("away".to_owned())),
            _ => loop {
                workers.check()?;
            },
        });
        assert_eq!(failed.unwrap_err().message(), "away");
    }

    #[test]
    fn a_signal_stops_all() {
        let stop = AtomicBool::new(true);
        let workers = Workers::new(2, &stop, None);
        let stopped = workers.run(|_| workers.check()).unwrap_err().message();
        assert!(stopped.starts_with("stopped before it was done"), "{stopped}");
    }
}
