//! A history in Parquet files, local or in an object store: every row group is one piece.
//!
//! ```text
//! open     glob -> files as they are now (or those pinned) -> every footer, once, many at a time -> the joined schema
//! pieces   row groups and their statistics, from the footers
//! read     one row group's wanted columns, fetched ahead on threads of their own, decoded on the caller's
//! ```
//!
//! Files are joined by column name, those of fields inside of columns too: a file without a column has nulls there, and of two types the wider one is handed on. What
//! a file says of itself (rows, pages, statistics) is compared with what is read; a file that is damaged is named in an error.
//! Every answer of a store is checked to be of the file that was pinned; bytes of another one are never decoded.

mod claims;
mod convert;
pub(super) mod fetch;
mod file;
mod footer;
mod levels;
pub(crate) mod merge;
mod pages;
mod part;
mod read;
pub(super) mod schema;
mod statistics;
pub(super) mod store;
mod thrift;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use parquet::file::metadata::RowGroupMetaData;
use parquet::schema::types::TypePtr;

use super::{History, HistoryConfig, HistoryKind, Piece, Pinned};
use crate::objects::runtime;
use crate::records::path;
use crate::settings::{Kind, Settings};
use crate::{Error, Records, Result, Wanted};
use fetch::Fetch;
use file::ParquetFile;
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
        None => Pinned::of(stores.find(pattern)?),
    };
    open_pinned(stores, pinned)
}

/// As `open`, of files that are known.
pub(super) fn open_pinned(mut stores: Stores, pinned: Pinned) -> Result<ParquetHistory> {
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
        let paths: Vec<_> = columns.iter().map(|name| Some(path(name))).collect();
        let of_file = (0..self.files.len()).map(|file| self.pieces_of(file, &paths));
        Ok(of_file.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Fetching starts now; decoding happens as the iterator is asked.
    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let file = &self.files[piece.file];
        let columns = wanted.schema.fields().iter().map(|field| file.wanted(field));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Box::new(read::batches(file, piece.row_group, wanted, &columns)?))
    }
}

/// What a table needs of its files, each of which may call a column otherwise.
impl ParquetHistory {
    /// The columns of a file.
    pub(super) fn columns_of(&self, file: usize) -> &[TypePtr] {
        self.files[file].footer.metadata.file_metadata().schema().get_fields()
    }

    /// The pieces of a file, with what statistics say of what lies at these paths; `None`: nothing does.
    pub(super) fn pieces_of(&self, file: usize, paths: &[Option<crate::Path>]) -> Result<Vec<Piece>> {
        let parquet = &self.files[file];
        let part = |path: &Option<crate::Path>| path.as_ref().map_or(Ok(None), |path| parquet.part(path, None));
        let parts = paths.iter().map(part).collect::<Result<Vec<_>>>()?;
        let groups = parquet.footer.metadata.row_groups().iter().enumerate();
        let piece = |(row_group, group): (usize, &RowGroupMetaData)| Piece {
            file,
            row_group,
            rows: group.num_rows().max(0) as u64,
            bytes: bytes(group),
            statistics: parts.iter().map(|part| parquet.range(row_group, part.as_ref())).collect(),
        };
        Ok(groups.map(piece).collect())
    }

    /// The numbers of a piece's rows in its file.
    pub(super) fn rows_of(&self, piece: &Piece) -> std::ops::Range<u64> {
        let groups = self.files[piece.file].footer.metadata.row_groups();
        let rows = |group: &RowGroupMetaData| group.num_rows().max(0) as u64;
        let first = groups[..piece.row_group].iter().map(rows).sum();
        first..first + rows(&groups[piece.row_group])
    }
}

fn bytes(group: &RowGroupMetaData) -> u64 {
    group.columns().iter().fold(0, |sum: u64, chunk| sum.saturating_add(chunk.compressed_size().max(0) as u64))
}

#[cfg(test)]
mod tests;
