//! Results, on stdout.

use std::io::{ErrorKind, Write};

use crate::base::failure::Failure;

/// Ends the process. Nothing but the command does that.
#[expect(clippy::disallowed_methods, reason = "it is the command's own")]
pub fn exit(status: i32) -> ! {
    std::process::exit(status)
}

/// Writes a result to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has enough, as `head` has.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => exit(0),
        written => written.map_err(|e| Failure::Running(format!("writing to stdout: {e}"))),
    }
}
