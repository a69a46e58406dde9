//! Tables: what a user hands in and gets back whole, such as a spine and its training rows. Files of Parquet or Arrow IPC, by the name's
//! ending, local or in an object store; or rows in memory.
//!
//! ```text
//! labels.parquet                 read in place
//! s3://bucket/labels.arrow       brought to a local scratch file first, which has no name: nothing of it can be left behind
//! Rows                           as they are
//! ```
//!
//! Every column has the type and the values that the file says. What is written is there once it is whole: see [`mod@write`].

mod columns;
mod format;
pub mod read;
#[cfg(test)]
mod tests;
pub mod write;

pub use format::TableFormat;
pub use read::Table;
pub use write::TableWriter;

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::storage::Storage;
use crate::{Error, Result};

/// A table in memory.
pub type Rows = (SchemaRef, Vec<RecordBatch>);

/// Where a table is that is handed in.
#[derive(Clone, Debug)]
pub enum Source {
    /// A path or a URL.
    Path(String),
    /// Here.
    Rows(Rows),
}

/// Where a table goes that is given back.
#[derive(Clone, Debug)]
pub enum Target {
    /// A path or a URL.
    Path(String),
    /// Here, once the table is finished.
    Rows(Arc<Mutex<Option<Rows>>>),
}

impl Source {
    /// Whether it is in an object store.
    pub fn is_remote(&self) -> bool {
        matches!(self, Source::Path(path) if path.contains("://"))
    }
}

impl Target {
    /// Whether it is in an object store.
    pub fn is_remote(&self) -> bool {
        matches!(self, Target::Path(path) if path.contains("://"))
    }
}

/// An object's storage and its name there; `None`: it is a local file.
fn object(path: &str) -> Result<Option<(Storage, &str)>> {
    if !path.contains("://") || path.starts_with("file://") {
        return Ok(None);
    }
    let (dir, name) = path.rsplit_once('/').unwrap_or_default();
    if name.is_empty() || dir.ends_with('/') {
        return Err(Error::Config(format!("{path}: expected the URL of a file, like s3://bucket/labels.parquet")));
    }
    Ok(Some((Storage::open(dir)?, name)))
}

/// The local path that a path or a `file://` URL means.
fn local(path: &str) -> &str {
    path.strip_prefix("file://").unwrap_or(path)
}
