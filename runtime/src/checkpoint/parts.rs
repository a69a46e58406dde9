//! Parts as Parquet files, written and read a batch at a time.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::files::Hashing;

/// Rows that are held in memory until they are written, or read at once; and bytes, since units may be large.
const ROWS_AT_ONCE: usize = 64 << 10;
const HELD_BYTES_MAX: usize = 16 << 20;

pub struct Writer(ArrowWriter<Hashing<BufWriter<File>>>);

impl Writer {
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Writer> {
        // Nobody looks for anything in it.
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
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

/// The batches of a file.
pub fn read(path: &Path) -> Result<impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>> {
    let reader: ParquetRecordBatchReader =
        ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.with_batch_size(ROWS_AT_ONCE).build()?;
    Ok(reader)
}
