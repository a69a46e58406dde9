//! Connectors on real servers: those that `./dev test` starts, or `eval "$(./dev services up)"` for use by hand.

mod kafka;
#[path = "../../../tests/support/services.rs"]
mod needs;
mod redis;

use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(60);

/// Tries until it succeeds; says what was waited for when it does not.
fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < WAIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
