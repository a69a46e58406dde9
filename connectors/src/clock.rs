//! The wall clock, in the one place where anybody reads it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970 by the wall clock of this machine; 0 where it is set before that.
pub fn wall_clock_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
