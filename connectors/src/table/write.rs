//! Writing a table: under another name beside it, which it gets once it is whole. What fails or is stopped leaves nothing behind.
//!
//! ```text
//! rows.parquet           written as rows.parquet.4711.partial, then renamed
//! s3://bucket/rows.arrow written to a local scratch file, then uploaded: an object is there as a whole or not at all
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, IntervalUnit, SchemaRef};
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::columns::ColumnsWriter;
use super::{Rows, TableFormat, Target, local, object};
use crate::storage::Storage;
use crate::{Error, Result};

/// A table on its way. `finish` makes it one; dropped before, it never was.
pub struct TableWriter {
    path: String,
    /// Of a file: where it is until it is whole, and where it goes then.
    file: Option<(PathBuf, To)>,
    out: Option<Out>,
}

enum To {
    Local(PathBuf),
    Object(Storage, String),
}

enum Out {
    Parquet(Box<ColumnsWriter>),
    Ipc(Box<FileWriter<BufWriter<File>>>),
    Rows(Rows, Arc<Mutex<Option<Rows>>>),
}

impl TableWriter {
    /// Begins a table. `scratch`: a directory in which what goes to an object store waits for its end.
    ///
    /// # Errors
    /// `Config`: no such format, a column that it cannot hold, or no such directory. `World`: nothing can be written there.
    pub fn create(path: &str, schema: &SchemaRef, scratch: &Path) -> Result<TableWriter> {
        let format = TableFormat::of(path)?;
        if format == TableFormat::Parquet {
            fits_parquet(schema).map_err(|e| Error::Config(format!("{path}: {e}")))?;
        }
        let (partial, to) = match object(path)? {
            None => {
                let path = PathBuf::from(local(path));
                (beside(&path), To::Local(path))
            }
            Some((storage, name)) => {
                // Whoever may not write there is told before the work, not after it.
                storage.size(name)?;
                (scratch.join(format!("table-{}.partial", std::process::id())), To::Object(storage, name.to_owned()))
            }
        };
        let file = File::create(&partial).map_err(|e| Error::Config(format!("{path} cannot be written: {e}")))?;
        let mut writer = TableWriter { path: path.to_owned(), file: Some((partial, to)), out: None };
        writer.out = Some(out(file, format, schema).map_err(|e| writer.failed(e))?);
        Ok(writer)
    }

    /// Begins a table wherever it goes.
    ///
    /// # Errors
    /// As `create`.
    pub fn to(target: &Target, schema: &SchemaRef, scratch: &Path) -> Result<TableWriter> {
        match target {
            Target::Path(path) => TableWriter::create(path, schema, scratch),
            Target::Rows(to) => {
                let out = Out::Rows((schema.clone(), vec![]), to.clone());
                Ok(TableWriter { path: "rows".to_owned(), file: None, out: Some(out) })
            }
        }
    }

    /// Encodes columns on so many threads, where the format's are apart. What is written is the same.
    pub fn on_threads(mut self, threads: usize) -> TableWriter {
        if let Some(Out::Parquet(writer)) = &mut self.out {
            writer.set_threads(threads);
        }
        self
    }

    /// Writes rows.
    ///
    /// # Errors
    /// `World`: they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let written = match out {
            Out::Parquet(writer) => writer.write(batch).map_err(|e| e.to_string()),
            Out::Ipc(writer) => writer.write(batch).map_err(|e| told(&e.to_string())),
            Out::Rows((_, batches), _) => {
                batches.push(batch.clone());
                Ok(())
            }
        };
        written.map_err(|e| self.failed(e))
    }

    /// Makes it a table, in place of any that was there.
    ///
    /// # Errors
    /// `World`: it cannot be written to its end, or not be put in its place.
    pub fn finish(mut self) -> Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        match out {
            Out::Rows(rows, to) => *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows),
            Out::Parquet(writer) => writer.close().map_err(|e| self.failed(e))?,
            Out::Ipc(mut writer) => {
                writer.finish().map_err(|e| self.failed(e))?;
                writer.get_mut().flush().map_err(|e| self.failed(e))?;
            }
        }
        match &self.file {
            Some((partial, To::Local(path))) => std::fs::rename(partial, path).map_err(|e| self.failed(e)),
            Some((partial, To::Object(storage, name))) => storage.upload(name, partial),
            None => Ok(()),
        }
    }

    fn failed(&self, cause: impl std::fmt::Display) -> Error {
        Error::world(format!("writing {}", self.path), cause)
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        // Renamed, it is gone from here; that what is left of a failure cannot be removed is no news beside that.
        let _ = self.file.as_ref().map(|(partial, _)| std::fs::remove_file(partial));
    }
}

/// Some types are found out only when the first rows are written: these are told beforehand.
fn fits_parquet(schema: &SchemaRef) -> Result<(), String> {
    for field in schema.flattened_fields() {
        if let DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Union(..) | DataType::RunEndEncoded(..) =
            field.data_type()
        {
            let (name, data_type) = (field.name(), field.data_type());
            return Err(format!("Parquet cannot hold the column `{name}`, which is {data_type}: write Arrow (.arrow)"));
        }
    }
    ArrowSchemaConverter::new().convert(schema).map(drop).map_err(|e| e.to_string())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
}

fn out(file: File, format: TableFormat, schema: &SchemaRef) -> Result<Out, String> {
    if format == TableFormat::Ipc {
        let writer = FileWriter::try_new(BufWriter::new(file), schema).map_err(|e| e.to_string())?;
        return Ok(Out::Ipc(Box::new(writer)));
    }
    let metadata = schema.metadata().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let mut metadata: Vec<KeyValue> = metadata.collect();
    metadata.sort_by(|a, b| a.key.cmp(&b.key));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata).filter(|metadata| !metadata.is_empty()))
        .build();
    let writer = ColumnsWriter::new(file, schema, properties).map_err(|e| e.to_string())?;
    Ok(Out::Parquet(Box::new(writer)))
}

fn told(text: &str) -> String {
    match text.contains("Dictionary replacement") {
        true => "a column of categories has others in each part of the table, which an Arrow file cannot have: write Parquet \
                 (.parquet)"
            .to_owned(),
        false => text.to_owned(),
    }
}
