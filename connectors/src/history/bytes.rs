//! A pinned file from its first byte to its last, wherever it lies: what comes next is asked for while this is looked at.

use std::io::{Read, Result as IoResult};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::parquet::fetch::Fetch;
use crate::objects::runtime;
use crate::{Error, Result};

/// The first answer: enough for most headers.
const CHUNK_BYTES_MIN: u64 = 64 << 10;
const CHUNK_BYTES_MAX: u64 = 4 << 20;

pub(super) struct FileBytes {
    fetch: Fetch,
    /// Up to here was asked for.
    asked: u64,
    next_bytes: u64,
    chunk: Bytes,
    ahead: Option<JoinHandle<Result<Bytes>>>,
}

impl FileBytes {
    pub fn new(fetch: Fetch) -> FileBytes {
        FileBytes { fetch, asked: 0, next_bytes: CHUNK_BYTES_MIN, chunk: Bytes::new(), ahead: None }
    }

    /// Asks for what comes next; `None`: nothing does.
    fn ask(&mut self) -> Result<Option<JoinHandle<Result<Bytes>>>> {
        let range = self.asked..self.fetch.pinned.size.min(self.asked + self.next_bytes);
        if range.is_empty() {
            return Ok(None);
        }
        self.asked = range.end;
        self.next_bytes = CHUNK_BYTES_MAX;
        let fetch = self.fetch.clone();
        Ok(Some(runtime()?.spawn(async move { fetch.get(range).await })))
    }

    fn more(&mut self) -> Result<()> {
        let is_first = self.asked == 0;
        let Some(coming) = self.ahead.take().map_or_else(|| self.ask(), |coming| Ok(Some(coming)))? else {
            return Ok(());
        };
        let reading = |e| Error::world(format!("reading {}", self.fetch.pinned.path), e);
        self.chunk = runtime()?.block_on(coming).map_err(reading)??;
        // Who wants the header alone stops here.
        if !is_first {
            self.ahead = self.ask()?;
        }
        Ok(())
    }
}

impl Drop for FileBytes {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

impl Read for FileBytes {
    /// Its errors are those of this crate, inside: see [`told`].
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        if self.chunk.is_empty() {
            self.more().map_err(std::io::Error::other)?;
        }
        let taken = self.chunk.split_to(buffer.len().min(self.chunk.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// What went wrong, as `FileBytes` said it.
pub(super) fn told(path: &str, error: std::io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|other| Error::world(format!("reading {path}"), other))
}
