//! Bytes of a pinned file: every answer says what file it is of, so none is taken from a file that changed.

use std::fmt::Display;
use std::ops::Range;

use bytes::Bytes;
use object_store::{GetOptions, OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, coalesce_ranges};

use super::footer::{self, FILE_BYTES_MIN, Footer, TAIL_BYTES};
use super::store::{Location, failed, pin};
use crate::format::looks;
use crate::history::{PinnedFile, files};
use crate::{Error, Result};

/// Most footers lie in the last so many bytes, and need no second request.
const FOOTER_BYTES: u64 = 64 << 10;

#[derive(Clone)]
pub(in crate::history) struct Fetch {
    pub location: Location,
    pub pinned: PinnedFile,
}

impl Fetch {
    /// The bytes of a range.
    pub async fn get(&self, range: Range<u64>) -> Result<Bytes> {
        let failed = |e| failed("reading", &self.pinned.path, e);
        let wanted = range.end - range.start;
        let options = GetOptions::new().with_range(Some(range));
        let answer = match self.location.store.get_opts(&self.location.path, options).await {
            // A file that got shorter cannot serve the range.
            Err(e) => return Err(self.changed().await.unwrap_or_else(|| failed(e))),
            Ok(answer) => answer,
        };
        files::check_same(&self.pinned, &pin(self.pinned.path.clone(), &answer.meta))?;
        let bytes = answer.bytes().await.map_err(failed)?;
        if bytes.len() as u64 != wanted {
            let why = format!("the store gave {} bytes where {wanted} were asked for", bytes.len());
            return Err(Error::world(format!("reading {}", self.pinned.path), why));
        }
        Ok(bytes)
    }

    /// Whether the file is another one than was pinned.
    async fn changed(&self) -> Option<Error> {
        use object_store::ObjectStoreExt;
        let meta = self.location.store.head(&self.location.path).await.ok()?;
        files::check_same(&self.pinned, &pin(self.pinned.path.clone(), &meta)).err()
    }

    /// Reads the footer. What is wrong with it is the file's fault, and names it.
    pub(super) async fn footer(&self) -> Result<Footer> {
        let (path, size) = (&self.pinned.path, self.pinned.size);
        if size < FILE_BYTES_MIN {
            let too_short = "it is too short to be a Parquet file".into();
            return Err(damaged(path, self.what_else(too_short).await?));
        }
        let start = size.saturating_sub(FOOTER_BYTES);
        let mut end = self.get(start..size).await?;
        let length = match footer::length(&end, size) {
            Ok(length) => length + TAIL_BYTES,
            Err(why) => return Err(damaged(path, self.what_else(why).await?)),
        };
        if length > end.len() {
            end = self.get(size - length as u64..size).await?;
        }
        let bytes = end.len().checked_sub(length).map(|first| &end[first..end.len() - TAIL_BYTES]);
        let bytes = bytes.ok_or_else(|| damaged(path, "it ends too early"))?;
        Footer::decode(bytes).map_err(|why| damaged(path, why))
    }

    /// What a file is that is no Parquet, if its first bytes say it; else what is wrong with it.
    async fn what_else(&self, why: String) -> Result<String> {
        let start = 0..self.pinned.size.min(looks::START_BYTES as u64);
        let start = if start.is_empty() { Bytes::new() } else { self.get(start).await? };
        let is_parquet = start.starts_with(b"PAR1");
        Ok(looks::of_bytes(&start).filter(|_| !is_parquet).map_or(why, |look| look.instead_of("Parquet")))
    }

    /// The bytes of each range; what lies close together is asked for at once.
    pub(super) async fn ranges(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        coalesce_ranges(&ranges, |range| self.get(range), OBJECT_STORE_COALESCE_DEFAULT).await
    }
}

/// A file that is not what it says, or no Parquet at all.
pub(super) fn damaged(path: &str, why: impl Display) -> Error {
    Error::world(format!("reading {path} as Parquet"), why)
}
