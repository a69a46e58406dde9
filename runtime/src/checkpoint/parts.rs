//! Parts as Parquet files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::files::Hashing;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 64 << 10;

/// Writes batches, which there are some of, to the disk. Returns the file's length and hash.
pub fn write(path: &Path, batches: &[RecordBatch]) -> Result<(u64, u64)> {
    // Nobody looks for anything in it.
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let out = Hashing::new(BufWriter::with_capacity(1 << 20, File::create(path)?));
    let mut writer = ArrowWriter::try_new(out, batches[0].schema(), Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    let (out, bytes, hash) = writer.into_inner()?.finish();
    out.into_inner().map_err(|e| e.into_error())?.sync_all()?;
    Ok((bytes, hash))
}

/// The batches of a file.
pub fn read(path: &Path) -> Result<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.with_batch_size(ROWS_AT_ONCE).build()?;
    Ok(reader.collect::<std::result::Result<_, _>>()?)
}
