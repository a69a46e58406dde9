//! Panics of libraries that read what others wrote: caught in one place, and told as what is wrong with the input.
//!
//! A library that trusts a damaged file panics. That is no fault of ours, and no reason to end the process: the caller gets
//! the panic's message as an error, to which it adds what was being read.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::threads::said;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside `guarded` just now. A panic in there is an error of the input: a panic hook that ends the
/// process passes it over.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// What `read` gives; a panic in it as its message.
///
/// # Errors
/// The panic's message.
pub fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(outer);
    outcome.map_err(|panic| said(&*panic).unwrap_or("it cannot be read").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_message() {
        assert_eq!(guarded(is_guarded), Ok(true));
        let nothing: Vec<u8> = vec![];
        assert!(guarded(|| nothing[0]).is_err_and(|message| message.starts_with("index out of bounds")));
        assert_eq!(guarded(|| -> u8 { panic!("a text") }), Err("a text".to_owned()));
        assert!(!is_guarded());
    }
}
