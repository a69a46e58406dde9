//! A history in Parquet files, local or in an object store: every row group is one piece.
//!
//! ```text
//! open     glob -> files as they are now (or those pinned) -> every footer, once, many at a time -> the joined schema
//! pieces   row groups and their statistics, from the footers
//! read     one row group's wanted columns, fetched ahead on threads of their own, decoded on the caller's
//! ```
//!
//! Files are joined by column name: a file without a column has nulls there, and of two types the wider one is handed on. What
//! a file says of itself (rows, pages, statistics) is compared with what is read; a file that is damaged is named in an error.
//! The names of directories are no columns.
//! Every answer of a store is checked to be of the file that was pinned; bytes of another one are never decoded.

mod claims;
mod convert;
mod fetch;
mod footer;
mod pages;
mod read;
mod schema;
mod statistics;
mod store;
mod thrift;

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use parquet::file::metadata::RowGroupMetaData;

use super::{History, HistoryConfig, HistoryKind, Piece, Pinned, Range};
use crate::objects::runtime;
use crate::settings::{Kind, Settings};
use crate::{Error, Records, Result, Wanted};
use fetch::{Fetch, damaged};
use footer::{Column, Footer};
use store::{REQUESTS_MAX, Stores};

/// Parquet as a kind of history.
pub static PARQUET: &ParquetKind = &ParquetKind;

/// See [`PARQUET`].
#[derive(Debug)]
pub struct ParquetKind;

impl Kind for ParquetKind {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["path"]
    }
}

impl HistoryKind for ParquetKind {
    fn title(&self) -> &'static str {
        "Parquet"
    }

    fn gives_columns(&self) -> bool {
        true
    }

    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn HistoryConfig> {
        Arc::new(ParquetFiles { path: super::path(settings) })
    }
}

#[derive(Debug)]
struct ParquetFiles {
    path: String,
}

impl HistoryConfig for ParquetFiles {
    fn path(&self) -> &str {
        &self.path
    }

    fn open(&self, pinned: Option<&Pinned>) -> Result<Arc<dyn History>> {
        Ok(Arc::new(open(&self.path, pinned)?))
    }
}

/// The pinned files with their footers.
pub struct ParquetHistory {
    pinned: Pinned,
    files: Vec<ParquetFile>,
    schema: SchemaRef,
}

struct ParquetFile {
    fetch: Fetch,
    footer: Footer,
}

/// Finds the files that a glob names, or takes those that were pinned, and reads their footers.
///
/// # Errors
///
/// `Config`: nothing matches, or the store is not set up. `Changed`: a pinned file is another one now.
/// `World`: a file cannot be read, or is not Parquet.
pub fn open(pattern: &str, pinned: Option<&Pinned>) -> Result<ParquetHistory> {
    let mut stores = Stores::default();
    let pinned = match pinned {
        Some(pinned) => pinned.clone(),
        None => Pinned { files: stores.find(pattern)? },
    };
    open_pinned(stores, pinned)
}

fn open_pinned(mut stores: Stores, pinned: Pinned) -> Result<ParquetHistory> {
    let fetches = pinned
        .files
        .iter()
        .map(|file| Ok(Fetch { location: stores.location(&file.path)?, pinned: file.clone() }))
        .collect::<Result<Vec<_>>>()?;
    let opens = fetches.into_iter().map(|fetch| async move {
        let footer = fetch.footer().await?;
        Ok::<_, Error>(ParquetFile { fetch, footer })
    });
    let files: Vec<_> = runtime()?.block_on(futures::stream::iter(opens).buffered(REQUESTS_MAX).try_collect())?;
    let schema = schema::join(files.iter().map(|file| (file.path(), &file.footer.columns[..])));
    Ok(ParquetHistory { pinned, files, schema })
}

impl History for ParquetHistory {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn schema(&self) -> Option<SchemaRef> {
        Some(self.schema.clone())
    }

    /// `bytes` are the row group's on disk, of all columns.
    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>> {
        let mut pieces = vec![];
        for (file, parquet) in self.files.iter().enumerate() {
            let columns = columns.iter().map(|name| parquet.column(name)).collect::<Result<Vec<_>>>()?;
            let groups = parquet.footer.metadata.row_groups().iter().enumerate();
            pieces.extend(groups.map(|(row_group, group)| Piece {
                file,
                row_group,
                rows: group.num_rows().max(0) as u64,
                bytes: bytes(group),
                statistics: columns.iter().map(|column| parquet.range(row_group, *column)).collect(),
            }));
        }
        Ok(pieces)
    }

    /// Fetching starts now; decoding happens as the iterator is asked.
    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let file = &self.files[piece.file];
        let columns = wanted.schema.fields().iter().map(|field| file.wanted(field.name(), field.data_type()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Box::new(read::batches(file, piece.row_group, wanted, &columns)?))
    }
}

fn bytes(group: &RowGroupMetaData) -> u64 {
    group.columns().iter().fold(0, |sum: u64, chunk| sum.saturating_add(chunk.compressed_size().max(0) as u64))
}

impl ParquetFile {
    fn path(&self) -> &str {
        &self.fetch.pinned.path
    }

    /// The only column of this name; `None`: there is none, and all is null.
    fn column(&self, name: &str) -> Result<Option<&Column>> {
        self.footer.column(name).map_err(|why| damaged(self.path(), why))
    }

    fn wanted(&self, name: &str, wanted: &DataType) -> Result<Option<&Column>> {
        let Some(column) = self.column(name)? else { return Ok(None) };
        let told = |why: String| Error::Config(format!("column {name:?} {why}"));
        let found = column.arrow.as_ref().map_err(|why| told(format!("of {} cannot be read: {why}", self.path())))?;
        let found = schema::seen_as(found.data_type());
        match schema::widest(&found, wanted) {
            Some(widest) if widest == *wanted => Ok(Some(column)),
            _ => Err(told(format!("is {found} in {}, and {wanted} is wanted", self.path()))),
        }
    }

    fn range(&self, row_group: usize, column: Option<&Column>) -> Option<Range> {
        let group = self.footer.metadata.row_group(row_group);
        let Some(column) = column else {
            return Some(Range { bounds: None, nulls: group.num_rows().max(0) as u64 });
        };
        let field = column.arrow.as_ref().ok()?;
        statistics::range(group.column(column.value()?), group.num_rows(), field.data_type())
    }
}

#[cfg(test)]
mod tests;
