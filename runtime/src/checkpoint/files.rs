//! Files: their checksums, and how it is told that one failed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::base::failure::Failure;

pub fn failed(doing: &str, path: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::Running(format!("{doing} {}: {cause}", path.display()))
}

/// Counts and hashes what is written.
pub struct Hashing<W> {
    inner: W,
    hash: Xxh3,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub fn new(inner: W) -> Hashing<W> {
        Hashing { inner, hash: Xxh3::new(), bytes: 0 }
    }

    /// What it wrote to, how many bytes, and their hash.
    pub fn finish(self) -> (W, u64, u64) {
        (self.inner, self.bytes, self.hash.digest())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The length and hash of a file.
pub fn measure(path: &Path) -> io::Result<(u64, u64)> {
    let (mut file, mut hash, mut bytes, mut buffer) = (File::open(path)?, Xxh3::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hash.digest()));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}
