//! Parquet whose columns are encoded side by side, on some threads: the same bytes for any number of them.

use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

/// A row group is closed when it has so many bytes, as written, or so many rows.
const ROW_GROUP_BYTES: usize = 64 << 20;
const ROW_GROUP_ROWS: usize = 1 << 20;
/// So few values are sooner encoded than a thread begins.
const VALUES_MIN: usize = 64 << 10;

pub struct ColumnsWriter {
    file: SerializedFileWriter<File>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    threads: usize,
    group: Option<RowGroup>,
    groups: usize,
}

/// The row group in progress: a writer for each leaf of the schema.
struct RowGroup {
    leaves: Vec<ArrowColumnWriter>,
    rows: usize,
}

impl ColumnsWriter {
    /// # Errors
    /// A column has a type that Parquet does not have.
    pub fn new(file: File, schema: &SchemaRef, properties: WriterProperties) -> Result<ColumnsWriter> {
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
        let (file, factory) = writer.into_serialized_writer()?;
        Ok(ColumnsWriter { file, factory, schema: schema.clone(), threads: 1, group: None, groups: 0 })
    }

    pub fn set_threads(&mut self, threads: usize) {
        self.threads = threads.max(1);
    }

    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let group = match &mut self.group {
                Some(group) => group,
                none => none.insert(RowGroup { leaves: self.factory.create_column_writers(self.groups)?, rows: 0 }),
            };
            let count = (batch.num_rows() - from).min(ROW_GROUP_ROWS - group.rows);
            group.write(&self.schema, &batch.slice(from, count), self.threads)?;
            if group.is_full() {
                self.flush()?;
            }
            from += count;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let mut writer = self.file.next_row_group()?;
        for leaf in group.leaves {
            leaf.close()?.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        self.groups += 1;
        Ok(())
    }

    /// # Errors
    /// It cannot be written to its end.
    pub fn close(mut self) -> Result<()> {
        self.flush()?;
        self.file.close().map(drop)
    }
}

impl RowGroup {
    fn write(&mut self, schema: &SchemaRef, batch: &RecordBatch, threads: usize) -> Result<()> {
        let mut leaves: Vec<ArrowLeafColumn> = vec![];
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            leaves.extend(compute_leaves(field, column)?);
        }
        self.rows += batch.num_rows();
        let is_little = batch.num_rows() * leaves.len() < VALUES_MIN;
        let threads = if is_little { 1 } else { threads.min(leaves.len()) };
        let mut shares: Vec<Vec<(&mut ArrowColumnWriter, &ArrowLeafColumn)>> = (0..threads).map(|_| vec![]).collect();
        for (at, one) in self.leaves.iter_mut().zip(&leaves).enumerate() {
            shares[at % threads].push(one);
        }
        let encode = |share: Vec<(&mut ArrowColumnWriter, &ArrowLeafColumn)>| {
            share.into_iter().try_for_each(|(writer, leaf)| writer.write(leaf))
        };
        std::thread::scope(|scope| {
            let own = shares.pop();
            let others: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || encode(share))).collect();
            let own = own.map_or(Ok(()), encode);
            let joined = others.into_iter().map(|other| other.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            joined.fold(own, Result::and)
        })
    }

    fn is_full(&self) -> bool {
        let bytes = || self.leaves.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>();
        self.rows >= ROW_GROUP_ROWS || bytes() >= ROW_GROUP_BYTES
    }
}
