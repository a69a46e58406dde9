//! Small files as a whole: what a table says of itself.

use object_store::ObjectStoreExt;

use crate::history::parquet::fetch::Fetch;
use crate::history::parquet::store::{Stores, pin};
use crate::history::{PinnedFile, files};
use crate::objects::runtime;
use crate::{Error, Result};

/// All that a file holds, if it is still the one that was found.
pub(in crate::history) fn bytes_of(stores: &mut Stores, file: &PinnedFile) -> Result<bytes::Bytes> {
    let fetch = Fetch { location: stores.location(&file.path)?, pinned: file.clone() };
    if file.size == 0 {
        return Ok(bytes::Bytes::new());
    }
    runtime()?.block_on(fetch.get(0..file.size))
}

/// A file that is there now. `Changed`: it is not.
pub(in crate::history) fn found(stores: &mut Stores, path: &str) -> Result<PinnedFile> {
    let location = stores.location(path)?;
    let look = async { location.store.head(&location.path).await };
    let meta = runtime()?.block_on(look).map_err(|e| match e {
        object_store::Error::NotFound { .. } => files::gone(path),
        other => Error::world(format!("looking at {path}"), other),
    })?;
    Ok(pin(path.to_owned(), &meta))
}
