//! How whoever works on a thread of its own tells why it could not go on: the first failure ends the run.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

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
    /// Waits for a while. `None`: nobody has said anything.
    pub fn wait(&self, at_most: Duration) -> Option<Result<(), Failure>> {
        let heard = self.0.recv_timeout(at_most).ok()?;
        Some(heard.map_or(Ok(()), Err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_counts() {
        let (failures, outcome) = Failures::new();
        assert!(outcome.wait(Duration::ZERO).is_none());
        let fails = || Err(Failure::Running("away".to_owned()));
        failures.spawn("one", || Ok::<(), Failure>(())).unwrap().join().unwrap();
        failures.spawn("other", fails).unwrap().join().unwrap();
        failures.done();
        let Some(Err(failure)) = outcome.wait(Duration::from_secs(9)) else { panic!("no failure") };
        assert_eq!(failure.message(), "away");
        assert!(matches!(outcome.wait(Duration::from_secs(9)), Some(Ok(()))));
    }

    #[test]
    fn a_panic_is_a_failure() {
        let (failures, outcome) = Failures::new();
        let panics = || -> Result<(), Failure> { panic!("of 7") };
        failures.spawn("helper", panics).unwrap().join().unwrap();
        let Some(Err(failure)) = outcome.wait(Duration::from_secs(9)) else { panic!("no failure") };
        assert_eq!(failure.message(), "Headwater has a bug: of 7 (thread helper)");
    }
}
