//! How whoever works on a thread of its own tells why it could not go on: the first failure ends the run.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_connectors::threads::{Helper, guarded};

use super::failure::Failure;

/// Where failures are told. Every thread of a run has one.
#[derive(Clone)]
pub struct Failures(Sender<Option<Failure>>);

/// Where they are heard.
pub struct Outcome(Receiver<Option<Failure>>);

impl Failures {
    pub fn new() -> (Failures, Outcome) {
        let (told, heard) = channel();
        (Failures(told), Outcome(heard))
    }

    /// Nobody listens any more only when the run is ending already.
    pub fn tell(&self, failure: Failure) {
        let _ = self.0.send(Some(failure));
    }

    /// All is done, without a failure.
    pub fn done(&self) {
        let _ = self.0.send(None);
    }

    /// Starts a thread. What it fails with is told, and so is its panic.
    pub fn spawn<E: Into<Failure>>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Result<Helper<(), Failure>, Failure> {
        let failures = self.clone();
        let told = move || {
            guarded(|| work().map_err(Into::into)).unwrap_or_else(|failure| failures.tell(failure));
            Ok(())
        };
        Ok(Helper::start(name, told)?)
    }
}

/// What may fail before a run listens, and outlasts it: each run that listens is told.
#[derive(Clone, Default)]
pub struct Standing(Arc<Mutex<Outage>>);

#[derive(Default)]
struct Outage {
    why: Option<String>,
    listener: Option<Failures>,
}

impl Outage {
    fn tell(&self) {
        if let (Some(why), Some(listener)) = (&self.why, &self.listener) {
            listener.tell(Failure::Running(why.clone()));
        }
    }
}

impl Standing {
    /// It has failed.
    pub fn tell(&self, failure: &Failure) {
        let mut outage = self.outage();
        outage.why = Some(failure.message());
        outage.tell();
    }

    /// From now on this is told of it; at once, where it has failed already.
    pub fn report_to(&self, failures: &Failures) {
        let mut outage = self.outage();
        outage.listener = Some(failures.clone());
        outage.tell();
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcome {
    /// Waits for the next word: that all is done, or the first failure that was not heard yet.
    pub fn next(&self) -> Result<(), Failure> {
        match self.0.recv() {
            Ok(told) => told.map_or(Ok(()), Err),
            Err(_) => Err(Failure::Running("every thread of the run has ended without a word".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_counts() {
        let (failures, outcome) = Failures::new();
        let fails = || Err(Failure::Running("away".to_owned()));
        failures.spawn("one", || Ok::<(), Failure>(())).unwrap().join().unwrap();
        failures.spawn("other", fails).unwrap().join().unwrap();
        failures.done();
        drop(failures);
        assert_eq!(outcome.next().unwrap_err().message(), "away");
        assert!(outcome.next().is_ok());
        assert_eq!(outcome.next().unwrap_err().message(), "every thread of the run has ended without a word");
    }

    #[test]
    fn what_failed_before_is_told_to_each() {
        let standing = Standing::default();
        standing.tell(&Failure::Running("away".to_owned()));
        for _ in 0..2 {
            let (failures, outcome) = Failures::new();
            standing.report_to(&failures);
            assert_eq!(outcome.next().unwrap_err().message(), "away");
        }
        let (later, (failures, outcome)) = (Standing::default(), Failures::new());
        later.report_to(&failures);
        later.tell(&Failure::Running("gone".to_owned()));
        assert_eq!(outcome.next().unwrap_err().message(), "gone");
    }

    #[test]
    fn a_panic_is_a_failure() {
        let (failures, outcome) = Failures::new();
        let panics = || -> Result<(), Failure> { panic!("of 7") };
        failures.spawn("helper", panics).unwrap().join().unwrap();
        drop(failures);
        assert_eq!(outcome.next().unwrap_err().message(), "Headwater has a bug: of 7 (thread helper)");
    }
}
