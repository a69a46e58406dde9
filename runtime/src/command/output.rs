//! Results, on stdout.

use std::io::{ErrorKind, Write};

use crate::base::failure::Failure;

/// Writes a result to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has enough, as `head` has.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|e| Failure::Running(format!("writing to stdout: {e}"))),
    }
}
