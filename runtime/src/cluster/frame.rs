//! Frames: a length, and so many bytes. They are read and written with patience, which ends at a deadline or on a wish.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a connection that waits looks whether it still should.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who goes away has told process 0 why, and that word is waited for.
const LAST_MESSAGE: Duration = Duration::from_secs(2);

/// A connection that gives up: at a deadline, where it has one, when `stop` has been true for `grace`, and when one of the others has
/// gone away.
pub struct Patient<'a> {
    pub stream: &'a TcpStream,
    pub deadline: Option<Instant>,
    pub stop: &'a AtomicBool,
    pub grace: Duration,
    pub others: &'a [Option<TcpStream>],
    stopped_since: Option<Instant>,
    gone_since: Option<Instant>,
}

impl<'a> Patient<'a> {
    pub fn new(stream: &'a TcpStream, deadline: Option<Instant>, stop: &'a AtomicBool) -> Patient<'a> {
        Patient { stream, deadline, stop, grace: Duration::ZERO, others: &[], stopped_since: None, gone_since: None }
    }

    /// How long to wait until the next look.
    fn wait(&mut self) -> io::Result<Duration> {
        if self.stop.load(Ordering::Relaxed) {
            let since = *self.stopped_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.grace {
                return Err(io::Error::other("stopped"));
            }
        }
        if self.others.iter().flatten().any(|other| !std::ptr::eq(other, self.stream) && is_gone(other)) {
            let since = *self.gone_since.get_or_insert_with(Instant::now);
            if since.elapsed() > LAST_MESSAGE {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
        let Some(deadline) = self.deadline else { return Ok(LOOK_EVERY) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::Error::new(ErrorKind::TimedOut, "no answer in time")),
            left => Ok(left.min(LOOK_EVERY)),
        }
    }

    fn again(e: &io::Error) -> bool {
        matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
    }
}

/// Whether the other side has closed. What has come already stays unread.
pub fn is_gone(peer: &TcpStream) -> bool {
    let peeked = peer.set_nonblocking(true).and_then(|()| peer.peek(&mut [0]));
    let blocking = peer.set_nonblocking(false);
    match peeked {
        Ok(n) => n == 0 || blocking.is_err(),
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.wait()?))?;
            match self.stream.read(into) {
                Err(e) if Self::again(&e) => {}
                done => return done,
            }
        }
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.wait()?))?;
            match self.stream.write(from) {
                Err(e) if Self::again(&e) => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn write(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a message of more than 4 GiB"))?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(bytes)
}

/// Reads one frame of at most `bytes_max` bytes.
pub fn read(stream: &mut impl Read, bytes_max: u32) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > bytes_max {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    // The length is not believed before the bytes are there.
    let mut bytes = vec![];
    stream.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() < length as usize {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_bounds() {
        let mut wire = vec![];
        write(&mut wire, b"one").unwrap();
        write(&mut wire, b"").unwrap();
        let mut from = wire.as_slice();
        assert_eq!(read(&mut from, 3).unwrap(), b"one");
        assert_eq!(read(&mut from, 3).unwrap(), b"");
        assert_eq!(read(&mut from, 3).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(read(&mut wire.as_slice(), 2).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read(&mut &wire[..5], 9).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
