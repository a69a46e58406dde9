//! The threads of a backfill: they work side by side, and the first that fails, or a signal, stops all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use headwater_connectors::threads::guarded;

use crate::base::failure::Failure;

pub struct Workers<'a> {
    number: usize,
    /// A signal came.
    stop: &'a AtomicBool,
    failed: AtomicBool,
}

impl<'a> Workers<'a> {
    pub fn new(number: usize, stop: &'a AtomicBool) -> Workers<'a> {
        Workers { number: number.max(1), stop, failed: AtomicBool::new(false) }
    }

    pub fn number(&self) -> usize {
        self.number
    }

    /// Asked often by whoever works.
    pub fn check(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed) {
            return Err(Failure::Running("stopped before it was done: nothing was written".to_owned()));
        }
        Ok(())
    }

    /// What `work` gives on each thread, which it is given the number of.
    pub fn run<T: Send>(&self, work: impl Fn(usize) -> Result<T, Failure> + Sync) -> Result<Vec<T>, Failure> {
        let first: Mutex<Option<Failure>> = Mutex::new(None);
        let one = |worker: usize| {
            let failure = match guarded(|| work(worker)) {
                Ok(done) => return Some(done),
                Err(failure) => failure,
            };
            // Those that are stopped by it say only that.
            if !self.failed.swap(true, Ordering::Relaxed) {
                *first.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            }
            None
        };
        let done: Vec<Option<T>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.number).map(|worker| scope.spawn(move || one(worker))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
        });
        match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure),
            None => Ok(done.into_iter().flatten().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told() {
        let stop = AtomicBool::new(false);
        let workers = Workers::new(3, &stop);
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
        let workers = Workers::new(2, &stop);
        let stopped = workers.run(|_| workers.check()).unwrap_err().message();
        assert!(stopped.starts_with("stopped before it was done"), "{stopped}");
    }
}
