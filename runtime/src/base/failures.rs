//! How whoever works on a thread of its own tells why it could not go on: the first failure ends the run.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::failure::Failure;
use super::threads::guarded;

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
    ) -> Result<JoinHandle<()>, Failure> {
        let failures = self.clone();
        let told = move || match guarded(work) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => failures.tell(failure.into()),
            Err(panic) => failures.tell(Failure::Running(panic)),
        };
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(told);
        spawned.map_err(|e| Failure::Running(format!("starting a thread: {e}")))
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
    fn a_panic_is_a_failure() {
        let (failures, outcome) = Failures::new();
        let panics = || -> Result<(), Failure> { panic!("of 7") };
        failures.spawn("helper", panics).unwrap().join().unwrap();
        drop(failures);
        assert_eq!(outcome.next().unwrap_err().message(), "Headwater has a bug: of 7 (thread helper)");
    }
}
