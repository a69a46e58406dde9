//! A history in Parquet files, local or in an object store: every row group is one piece.
//!
//! ```text
//! open     glob -> files as they are now (or those pinned) -> every footer, once, many at a time -> the joined schema
//! pieces   row groups and their statistics, from the footers
//! read     one row group's wanted columns, fetched ahead on threads of their own, decoded on the caller's
//! ```
//!
//! Files are joined by column name: a file without a column has nulls there. The names of directories are no columns.
//! Every answer of a store is checked to be of the file that was pinned; bytes of another one are never decoded.

mod convert;
mod fetch;
mod schema;
mod statistics;
mod store;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;
use tokio::task::JoinHandle;

use super::{History, HistoryConfig, HistoryKind, Piece, Pinned, Range};
use crate::objects::runtime;
use crate::settings::{Kind, Settings};
use crate::{Error, Payload, Records, Result, Wanted};
use convert::convert;
use fetch::{Fetch, unwrap};
use store::{REQUESTS_MAX, Stores};

const BATCH_RECORDS_MAX: usize = 8192;

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
    footer: ArrowReaderMetadata,
}

/// Finds the files that a glob names, or takes those that were pinned, and reads their footers.
///
/// # Errors
///
/// `Config`: nothing matches, a column has two types, or the store is not set up. `Changed`: a pinned file is another one now.
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
        .map(|file| Ok(Fetch { place: stores.place(&file.path)?, pinned: file.clone() }))
        .collect::<Result<Vec<_>>>()?;
    let opens = fetches.into_iter().map(|fetch| async move {
        let footer = footer(fetch.clone().metadata().await?).map_err(|e| unwrap(e, &fetch.pinned.path))?;
        Ok::<_, Error>(ParquetFile { fetch, footer })
    });
    let files: Vec<_> = runtime()?.block_on(futures::stream::iter(opens).buffered(REQUESTS_MAX).try_collect())?;
    let schema =
        schema::join(files.iter().map(|file| (file.fetch.pinned.path.as_str(), file.footer.schema().clone())))?;
    Ok(ParquetHistory { pinned, files, schema })
}

/// The footer, with the types that columns are decoded to.
fn footer(metadata: ParquetMetaData) -> parquet::errors::Result<ArrowReaderMetadata> {
    let metadata = Arc::new(metadata);
    let found = ArrowReaderMetadata::try_new(metadata.clone(), ArrowReaderOptions::new())?;
    let decoded = |field: &Field| {
        let int96 = statistics::is_int96(&metadata, field.name());
        field.clone().with_data_type(schema::decoded_as(field.data_type(), int96))
    };
    let fields: Vec<Field> = found.schema().fields().iter().map(|field| decoded(field)).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, found.schema().metadata().clone()));
    if schema == *found.schema() {
        return Ok(found);
    }
    // Where the reader does not know how, the column is cast after it was decoded.
    ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new().with_schema(schema)).or(Ok(found))
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
        let pieces = self.files.iter().enumerate().flat_map(|(file, parquet)| {
            let groups = parquet.footer.metadata().row_groups().iter().enumerate();
            groups.map(move |(row_group, group)| Piece {
                file,
                row_group,
                rows: group.num_rows().max(0) as u64,
                bytes: group.compressed_size().max(0) as u64,
                statistics: columns.iter().map(|column| parquet.range(row_group, column)).collect(),
            })
        });
        Ok(pieces.collect())
    }

    /// Fetching starts now; decoding happens as the iterator is asked.
    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let file = &self.files[piece.file];
        let projection = file.projection(wanted)?;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file.fetch.clone(), file.footer.clone())
            .with_row_groups(vec![piece.row_group])
            .with_projection(ProjectionMask::roots(file.footer.parquet_schema(), projection.roots))
            .with_batch_size(BATCH_RECORDS_MAX);
        let path = file.fetch.pinned.path.clone();
        let mut stream = builder.build().map_err(|e| unwrap(e, &path))?;
        let fetching = runtime()?.spawn(async move { stream.next_row_group().await });
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let schema = Arc::new(Schema::new(wanted.schema.fields().iter().map(nullable).collect::<Vec<_>>()));
        Ok(Box::new(Batches { path, schema, columns: projection.columns, state: State::Fetching(fetching) }))
    }
}

/// What is read of a file.
struct Projection {
    /// Its columns, ascending.
    roots: Vec<usize>,
    /// By wanted column: its place in `roots`; `None` where the file does not have it.
    columns: Vec<Option<usize>>,
}

impl ParquetFile {
    fn range(&self, row_group: usize, column: &str) -> Option<Range> {
        let metadata = self.footer.metadata();
        let group = metadata.row_group(row_group);
        match self.footer.schema().field_with_name(column) {
            Ok(field) => statistics::range(metadata, group, column, field.data_type()),
            Err(_) => Some(Range { bounds: None, nulls: group.num_rows().max(0) as u64 }),
        }
    }

    fn projection(&self, wanted: &Wanted) -> Result<Projection> {
        let schema = self.footer.schema();
        let found: Vec<Option<usize>> = wanted.schema.fields().iter().map(|f| schema.index_of(f.name()).ok()).collect();
        for (field, at) in wanted.schema.fields().iter().zip(&found) {
            let found = at.map_or(DataType::Null, |at| schema::seen_as(schema.field(at).data_type()));
            if found != DataType::Null && found != *field.data_type() {
                return Err(Error::Config(format!(
                    "column {:?} is {found} in {}, and {} is wanted",
                    field.name(),
                    self.fetch.pinned.path,
                    field.data_type()
                )));
            }
        }
        let mut roots: Vec<usize> = found.iter().flatten().copied().collect();
        roots.sort_unstable();
        roots.dedup();
        let columns = found.iter().map(|at| at.and_then(|at| roots.binary_search(&at).ok())).collect();
        Ok(Projection { roots, columns })
    }
}

struct Batches {
    path: String,
    schema: SchemaRef,
    columns: Vec<Option<usize>>,
    state: State,
}

enum State {
    Fetching(JoinHandle<parquet::errors::Result<Option<ParquetRecordBatchReader>>>),
    Decoding(ParquetRecordBatchReader),
    Done,
}

impl Batches {
    fn batch(&mut self) -> Result<Option<Records>> {
        if let State::Fetching(fetching) = &mut self.state {
            let fetched =
                runtime()?.block_on(fetching).map_err(|e| Error::world(format!("reading {}", self.path), e))?;
            self.state = fetched.map_err(|e| unwrap(e, &self.path))?.map_or(State::Done, State::Decoding);
        }
        let State::Decoding(reader) = &mut self.state else { return Ok(None) };
        let Some(batch) = reader.next() else { return Ok(None) };
        batch
            .and_then(|batch| self.records(&batch))
            .map(Some)
            .map_err(|e| Error::world(format!("decoding {}", self.path), e))
    }

    fn records(&self, batch: &RecordBatch) -> Result<Records, arrow::error::ArrowError> {
        let mut undecoded = Vec::with_capacity(self.columns.len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (at, field) in self.columns.iter().zip(self.schema.fields()) {
            let (column, failed) = match at {
                Some(at) => convert(batch.column(*at), field.data_type())?,
                None => (new_null_array(field.data_type(), batch.num_rows()), None),
            };
            columns.push(column);
            undecoded.push(failed);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(Records {
            bytes: batch.get_array_memory_size(),
            batch,
            undecoded,
            malformed: None,
            partition: None,
            offsets: None,
            stamps: None,
            payload: Payload::Row,
        })
    }
}

impl Iterator for Batches {
    type Item = Result<Records>;

    fn next(&mut self) -> Option<Result<Records>> {
        let batch = self.batch().transpose();
        if !matches!(batch, Some(Ok(_))) {
            self.state = State::Done;
        }
        batch
    }
}

#[cfg(test)]
mod tests;
