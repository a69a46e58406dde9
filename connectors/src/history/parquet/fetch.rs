//! Bytes of a pinned file: every answer says what file it is of, so none is taken from a file that changed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{GetOptions, OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, coalesce_ranges};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::store::{Place, failed, pin};
use crate::history::{PinnedFile, files};
use crate::{Error, Result};

/// Most footers lie in the last so many bytes, and need no second request.
const FOOTER_BYTES: usize = 64 << 10;

#[derive(Clone)]
pub(super) struct Fetch {
    pub place: Place,
    pub pinned: PinnedFile,
}

impl Fetch {
    async fn get(&self, range: Range<u64>) -> Result<Bytes> {
        let failed = |e| failed("reading", &self.pinned.path, e);
        let options = GetOptions::new().with_range(Some(range));
        let answer = match self.place.store.get_opts(&self.place.path, options).await {
            // A file that got shorter cannot serve the range.
            Err(e) => return Err(self.changed().await.unwrap_or_else(|| failed(e))),
            Ok(answer) => answer,
        };
        files::check_same(&self.pinned, &pin(self.pinned.path.clone(), &answer.meta))?;
        answer.bytes().await.map_err(failed)
    }

    /// Whether the file is another one than was pinned.
    async fn changed(&self) -> Option<Error> {
        use object_store::ObjectStoreExt;
        let meta = self.place.store.head(&self.place.path).await.ok()?;
        files::check_same(&self.pinned, &pin(self.pinned.path.clone(), &meta)).err()
    }

    pub async fn metadata(mut self) -> Result<ParquetMetaData> {
        let size = self.pinned.size;
        let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
        reader.load_and_finish(&mut self, size).await.map_err(|e| unwrap(e, &self.pinned.path))
    }
}

/// Our own error out of the reader's, or the reader's as one that names the file.
pub(super) fn unwrap(error: ParquetError, path: &str) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(inner) => Error::world(format!("reading {path}"), inner),
        },
        other => Error::world(format!("reading {path} as Parquet"), other),
    }
}

fn wrap(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for Fetch {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { self.get(range).await.map_err(wrap) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let this = &*self;
        async move { coalesce_ranges(&ranges, |range| this.get(range), OBJECT_STORE_COALESCE_DEFAULT).await.map_err(wrap) }
            .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move { self.clone().metadata().await.map(Arc::new).map_err(wrap) }.boxed()
    }
}
