//! The services that tests run on, named by the environment as `./dev test` and `./dev services up` set it.
//!
//! A test asks for what it needs: `let case = need!(Case::new("gap"));`. Where a service is not named the test ends there and
//! says that it was skipped; with `HEADWATER_TEST_REQUIRED` set, as both of these set it, it fails.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The value of `HEADWATER_TEST_...`; `None`: the test is skipped, which has been said.
pub fn service(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        skipped(&format!("{variable} is not set (./dev test starts the services, and sets it)"));
    }
    found
}

/// Says that the running test needs something that is not here; panics where all tests are to run.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("HEADWATER_TEST_REQUIRED").is_none(), "{why}");
    let thread = std::thread::current();
    // Past the harness, which shows nobody what a test that passes has printed.
    writeln!(std::io::stderr(), "skipped: {}: {why}", thread.name().unwrap_or("a test")).expect("stderr is there");
}

/// A port of 127.0.0.1 that nobody listens on: below the range that outgoing connections take theirs from, and no two alike.
pub fn free_port() -> u16 {
    // At random: another process may look for ports of its own, and nobody listens on one that was just given.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(RandomState::new().hash_one(0) as u16));
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What a test cannot do without, or the test ends: `service` has said why.
macro_rules! need {
    ($what:expr) => {
        match $what {
            Some(found) => found,
            None => return,
        }
    };
}
pub(crate) use need;
