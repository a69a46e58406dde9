//! Files of a checkpoint: Parquet, written and read a batch at a time.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use headwater_clocks::EventTime;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;

use super::files::Hashing;

/// Rows that are held in memory until they are written, or read at once; and bytes, since units may be large.
const ROWS_AT_ONCE: usize = 64 << 10;
const HELD_BYTES_MAX: usize = 16 << 20;

pub struct Writer(ArrowWriter<Hashing<BufWriter<File>>>);

impl Writer {
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Writer> {
        // Nobody looks for anything in it, but for the event times of a ledger.
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_column_statistics_enabled(ColumnPath::from("_ts"), EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(ROWS_AT_ONCE))
            .build();
        let file = Hashing::new(BufWriter::with_capacity(1 << 20, File::create(path)?));
        Ok(Writer(ArrowWriter::try_new(file, schema, Some(properties))?))
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch)?;
        if self.0.in_progress_size() > HELD_BYTES_MAX { self.0.flush() } else { Ok(()) }
    }

    /// Everything is on the disk when it returns: the file's length and hash.
    pub fn finish(self) -> Result<(u64, u64)> {
        let (file, bytes, hash) = self.0.into_inner()?.finish();
        file.into_inner().map_err(|e| ParquetError::from(e.into_error()))?.sync_all()?;
        Ok((bytes, hash))
    }
}

/// A file of a journal. It stays open, so that it may be removed meanwhile.
pub struct Chunks {
    file: File,
    metadata: ArrowReaderMetadata,
}

impl Chunks {
    pub fn open(path: &Path) -> Result<Chunks> {
        let file = File::open(path)?;
        let metadata = ArrowReaderMetadata::load(&file, Default::default())?;
        Ok(Chunks { file, metadata })
    }

    /// By chunk: its first and its last event time.
    pub fn spans(&self) -> Result<Vec<(EventTime, EventTime)>> {
        let span = |chunk: &RowGroupMetaData| match chunk.columns().first()?.statistics()? {
            Statistics::Int64(times) => {
                Some((EventTime::from_us(*times.min_opt()?), EventTime::from_us(*times.max_opt()?)))
            }
            _ => None,
        };
        let spans: Option<_> = self.metadata.metadata().row_groups().iter().map(span).collect();
        spans.ok_or_else(|| ParquetError::General("a chunk of a journal without event times".to_owned()))
    }

    pub fn read(&self, chunk: usize) -> Result<RecordBatch> {
        let (file, metadata) = (self.file.try_clone()?, self.metadata.clone());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let batches = builder.with_row_groups(vec![chunk]).with_batch_size(ROWS_AT_ONCE).build()?;
        let batches = batches.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(concat_batches(self.metadata.schema(), &batches)?)
    }
}

/// The batches of a file.
pub fn read(path: &Path) -> Result<impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>> {
    let reader: ParquetRecordBatchReader =
        ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.with_batch_size(ROWS_AT_ONCE).build()?;
    Ok(reader)
}
