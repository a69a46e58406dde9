//! Reading one row group: its wanted columns are fetched ahead, then walked, decoded and held against the file's own claims.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::ParquetMetaData;
use tokio::task::JoinHandle;

use super::claims::Claims;
use super::convert::convert;
use super::fetch::damaged;
use super::file::ParquetFile;
use super::footer::descriptor;
use super::pages::{self, RowGroup};
use super::part::Part;
use super::schema::seen_as;
use super::thrift::Walked;
use crate::guard::guarded;
use crate::objects::runtime;
use crate::{Error, Records, Result, Wanted};

const BATCH_RECORDS_MAX: usize = 8192;

/// The records of a row group, in order. `columns`: by wanted column; `None` where the file does not have it.
pub(super) struct Batches {
    path: String,
    schema: SchemaRef,
    /// By wanted column: its place in what is decoded, and what its values are seen as.
    indexes: Vec<Option<(usize, DataType)>>,
    parts: Vec<Part>,
    claims: Vec<Option<Claims>>,
    rows_left: u64,
    state: State,
}

enum State {
    Fetching(JoinHandle<Result<Vec<Bytes>>>, Decoding),
    Decoding(ParquetRecordBatchReader),
    Done,
}

/// What is needed to decode a row group once its bytes are here.
struct Decoding {
    metadata: Arc<ParquetMetaData>,
    row_group: usize,
    leaves: Vec<usize>,
    levels: FieldLevels,
}

/// Starts to fetch.
pub(super) fn batches(
    file: &ParquetFile,
    row_group: usize,
    wanted: &Wanted,
    columns: &[Option<Part>],
) -> Result<Batches> {
    let path = file.path().to_owned();
    let metadata = file.footer.metadata.clone();
    let group = metadata.row_group(row_group);
    let mut parts: Vec<Part> = vec![];
    let indexes = columns.iter().map(|part| {
        let part = part.as_ref()?;
        parts.push(part.clone());
        Some((parts.len() - 1, seen_as(part.data_type())))
    });
    let indexes: Vec<_> = indexes.collect();
    let leaves: Vec<usize> = parts.iter().flat_map(|part| part.leaves.clone()).collect();
    let size = file.fetch.pinned.size;
    let ranges: Walked<Vec<_>> = leaves.iter().map(|leaf| pages::range(group.column(*leaf), size)).collect();
    let ranges = ranges.map_err(|why| damaged(&path, why))?;
    let levels = levels(&parts).map_err(|why| damaged(&path, why))?;
    let names =
        wanted.schema.fields().iter().zip(columns).filter(|(_, part)| part.is_some()).map(|(field, _)| field.name());
    let claimed = || names.zip(&parts).map(|(name, part)| claims(&metadata, row_group, name, part)).collect();
    let claims = guarded(claimed).map_err(|why| damaged(&path, why))?;
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let schema = Arc::new(Schema::new(wanted.schema.fields().iter().map(nullable).collect::<Vec<_>>()));
    let rows_left = group.num_rows().max(0) as u64;
    let state = if rows_left == 0 {
        State::Done
    } else {
        let fetch = file.fetch.clone();
        let fetching = runtime()?.spawn(async move { fetch.ranges(ranges).await });
        State::Fetching(fetching, Decoding { metadata: metadata.clone(), row_group, leaves, levels })
    };
    Ok(Batches { indexes, parts, path, schema, claims, rows_left, state })
}

/// How these columns of the file become Arrow's.
fn levels(parts: &[Part]) -> Walked<FieldLevels> {
    guarded(|| {
        let descriptor = descriptor(parts.iter().map(|part| part.parquet.clone()))?;
        // What they are decoded to, as a hint for the reader.
        let hints: Fields = parts.iter().map(|part| part.arrow.clone()).collect();
        parquet_to_arrow_field_levels(&descriptor, ProjectionMask::all(), Some(&hints)).map_err(|e| e.to_string())
    })?
}

fn claims(metadata: &ParquetMetaData, row_group: usize, name: &str, part: &Part) -> Option<Claims> {
    let value = part.value()?;
    let (chunk, order) = (metadata.row_group(row_group).column(value), metadata.file_metadata().column_order(value));
    Claims::new(name, chunk, order, part.data_type())
}

impl Decoding {
    fn reader(self, bytes: Vec<Bytes>) -> Walked<ParquetRecordBatchReader> {
        let group = RowGroup::new(self.metadata, self.row_group, &self.leaves, bytes)?;
        let rows = group.batch_rows(BATCH_RECORDS_MAX).map_err(|e| e.to_string())?;
        ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &group, rows, None).map_err(|e| e.to_string())
    }
}

impl Batches {
    fn batch(&mut self) -> Result<Option<Records>> {
        let path = self.path.clone();
        match std::mem::replace(&mut self.state, State::Done) {
            State::Done => return Ok(None),
            State::Decoding(reader) => self.state = State::Decoding(reader),
            State::Fetching(fetching, decoding) => {
                let fetched = runtime()?.block_on(fetching).map_err(|e| Error::world(format!("reading {path}"), e))?;
                let bytes = fetched?;
                let reader = guarded(|| decoding.reader(bytes)).flatten().map_err(|why| damaged(&path, why))?;
                self.state = State::Decoding(reader);
            }
        }
        guarded(|| self.decode()).flatten().map_err(|why| damaged(&path, why))
    }

    fn decode(&mut self) -> Walked<Option<Records>> {
        let State::Decoding(reader) = &mut self.state else { return Ok(None) };
        let Some(batch) = reader.next() else { return self.finish().map(|()| None) };
        let batch = batch.map_err(|e| e.to_string())?;
        let rows = batch.num_rows() as u64;
        self.rows_left = self.rows_left.checked_sub(rows).ok_or("it holds more rows than its footer says")?;
        self.records(&batch).map(Some)
    }

    fn records(&mut self, batch: &RecordBatch) -> Walked<Records> {
        let rows = batch.num_rows();
        let mut undecoded = Vec::with_capacity(self.indexes.len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.indexes.len());
        for (index, field) in self.indexes.iter().zip(self.schema.fields()) {
            let (column, failed) = match index {
                Some((index, seen)) => {
                    let decoded = &self.parts[*index].inside(batch.column(*index))?;
                    if !seen.is_nested() && seen_as(decoded.data_type()) != *seen {
                        return Err(format!("column {:?} is decoded as {}", field.name(), decoded.data_type()));
                    }
                    let (column, failed) = convert(decoded, seen).map_err(|e| e.to_string())?;
                    if let Some(claims) = &mut self.claims[*index] {
                        claims.look(&column, failed.as_ref().map_or(0, BooleanBuffer::count_set_bits))?;
                    }
                    widened(column, failed, field.data_type())?
                }
                None => (new_null_array(field.data_type(), rows), None),
            };
            columns.push(column);
            undecoded.push(failed);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let batch = batch.map_err(|e| e.to_string())?;
        Ok(Records { bytes: batch.get_array_memory_size(), ..Records::of_rows(batch, undecoded) })
    }

    /// The end: whether all that was claimed was there.
    fn finish(&self) -> Walked<()> {
        if self.rows_left > 0 {
            return Err(format!("its footer says {} rows more than it holds", self.rows_left));
        }
        for (index, seen) in self.indexes.iter().flatten() {
            self.claims[*index].iter().try_for_each(|claims| claims.finish(seen))?;
        }
        Ok(())
    }
}

/// Nothing is lost: see `merge::widest`.
fn widened(
    column: ArrayRef,
    failed: Option<BooleanBuffer>,
    wanted: &DataType,
) -> Walked<(ArrayRef, Option<BooleanBuffer>)> {
    match column.data_type() {
        of if of == wanted => Ok((column, failed)),
        of if of.is_nested() => convert(&column, wanted).map_err(|e| e.to_string()).map(|(column, _)| (column, failed)),
        _ => Ok((cast(&column, wanted).map_err(|e| e.to_string())?, failed)),
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
