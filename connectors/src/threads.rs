//! Helper threads: what panics in one is a failure of what it helps, and of nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

/// Why a helper thread has no result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThreadError {
    /// The system gives no thread.
    #[error("starting the thread {name}: {cause}")]
    Start {
        /// The thread's name.
        name: String,
        /// What the system said.
        cause: String,
    },
    /// It panicked.
    #[error("Headwater has a bug: {said} (thread {name})")]
    Bug {
        /// The thread's name.
        name: String,
        /// The panic's message.
        said: String,
    },
}

/// A thread that works until it is waited for.
pub struct Helper<T, E>(JoinHandle<Result<T, E>>);

impl<T: Send + 'static, E: From<ThreadError> + Send + 'static> Helper<T, E> {
    /// Starts it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        name: &str,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<Helper<T, E>, ThreadError> {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || guarded(work));
        spawned.map(Helper).map_err(|e| ThreadError::Start { name: name.to_owned(), cause: e.to_string() })
    }

    /// Whether it has ended, so that `join` returns at once.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Ends its sleep, if it is parked.
    pub fn unpark(&self) {
        self.0.thread().unpark();
    }

    /// Waits for what it gives.
    ///
    /// # Errors
    /// What it failed with, or its panic.
    pub fn join(self) -> Result<T, E> {
        let name = self.0.thread().name().unwrap_or_default().to_owned();
        self.0.join().unwrap_or_else(|panic| Err(bug(name, &*panic).into()))
    }
}

/// Works, and gives a panic as an error. Nothing that the work has touched is looked at afterwards.
///
/// # Errors
/// What the work failed with, or its panic.
pub fn guarded<T, E: From<ThreadError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let thread = std::thread::current();
        Err(bug(thread.name().unwrap_or("without a name").to_owned(), &*panic).into())
    })
}

fn bug(name: String, panic: &(dyn Any + Send)) -> ThreadError {
    ThreadError::Bug { name, said: said(panic).unwrap_or("no message").to_owned() }
}

/// A panic's message.
pub(crate) fn said(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told() {
        let done = Helper::start("helper", || Ok::<_, ThreadError>(1)).unwrap();
        assert_eq!(done.join(), Ok(1));
        let panics = || -> Result<(), ThreadError> { panic!("of {}", 7) };
        let told = Helper::start("helper", panics).unwrap().join().unwrap_err();
        assert_eq!(told.to_string(), "Headwater has a bug: of 7 (thread helper)");
        let other = || -> Result<(), ThreadError> { std::panic::panic_any(7) };
        let told = Helper::start("helper", other).unwrap().join().unwrap_err();
        assert_eq!(told.to_string(), "Headwater has a bug: no message (thread helper)");
    }
}
