//! Reading a table: its schema first, then some of its columns, batch by batch, as often as one likes.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::{Source, TableFormat, local, object};
use crate::guard::guarded;
use crate::{Error, Result};

/// Rows of a batch of Parquet.
const BATCH_ROWS: usize = 8192;
const IPC_MAGIC: &[u8] = b"ARROW1";

/// Batches of a table, in the order of its rows.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A table that is there to be read. One reading of it at a time.
pub struct Table {
    schema: SchemaRef,
    rows: Option<u64>,
    kept: Contents,
}

enum Contents {
    File(Opened),
    Rows(Vec<RecordBatch>),
}

struct Opened {
    path: String,
    file: File,
    layout: Layout,
    /// Its size and its time when it was opened.
    seen: (u64, Option<SystemTime>),
}

#[derive(Clone)]
enum Layout {
    Parquet(ArrowReaderMetadata),
    IpcFile,
    IpcStream,
}

impl Table {
    /// Opens a table. `scratch`: a directory in which an object is kept as long as it is read.
    ///
    /// # Errors
    /// `Config`: there is no such file, or no such format. `World`: it is damaged, or cannot be read.
    pub fn open(path: &str, scratch: &Path) -> Result<Table> {
        let format = TableFormat::of(path)?;
        let mut file = match object(path)? {
            None => File::open(local(path)).map_err(|e| Error::Config(format!("{path} cannot be opened: {e}")))?,
            Some((storage, name)) => {
                let size = storage.size(name)?;
                let size = size.ok_or_else(|| Error::Config(format!("{path} is not there")))?;
                unnamed(scratch, |to| storage.download(name, size, to))?
            }
        };
        let seen = stamp(&file).map_err(|e| Error::world(format!("reading {path}"), e))?;
        let damaged = |e: String| Error::world(format!("reading {path}"), e);
        let (schema, rows, layout) = guarded(|| layout(&mut file, format)).map_err(damaged)?.map_err(damaged)?;
        Ok(Table { schema, rows, kept: Contents::File(Opened { path: path.to_owned(), file, layout, seen }) })
    }

    /// Opens a table wherever it is.
    ///
    /// # Errors
    /// As `open`.
    pub fn of(source: &Source, scratch: &Path) -> Result<Table> {
        match source {
            Source::Path(path) => Table::open(path, scratch),
            Source::Rows((schema, batches)) => {
                let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
                Ok(Table { schema: schema.clone(), rows: Some(rows), kept: Contents::Rows(batches.clone()) })
            }
        }
    }

    /// All columns, as the file types them.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows it has, where the file says so beforehand.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Reads these columns, which are ascending, or all.
    ///
    /// # Errors
    /// `World`: it is damaged, cannot be read, or is no longer what it was when it was opened.
    pub fn read(&self, columns: Option<&[usize]>) -> Result<Batches> {
        match &self.kept {
            Contents::File(opened) => opened.read(columns),
            Contents::Rows(batches) => {
                let columns = columns.map(<[usize]>::to_vec);
                let picked = move |batch: RecordBatch| match &columns {
                    None => Ok(batch),
                    Some(columns) => batch.project(columns).map_err(|e| Error::world("reading rows", e)),
                };
                Ok(Box::new(batches.clone().into_iter().map(picked)))
            }
        }
    }
}

impl Opened {
    fn read(&self, columns: Option<&[usize]>) -> Result<Batches> {
        let doing = format!("reading {}", self.path);
        let failed = |e: String| Error::world(&doing, e);
        let now = stamp(&self.file).map_err(|e| failed(e.to_string()))?;
        if now != self.seen {
            return Err(failed("it was changed while it was read".to_owned()));
        }
        let file = self.file.try_clone().map_err(|e| failed(e.to_string()))?;
        let mut batches = guarded(|| open(file, &self.layout, columns)).map_err(failed)?.map_err(failed)?;
        let mut is_done = false;
        let told = doing.clone();
        let next = move || {
            if is_done {
                return None;
            }
            let read = guarded(|| batches.next()).unwrap_or_else(|panic| Some(Err(ArrowError::ParquetError(panic))));
            is_done = !matches!(read, Some(Ok(_)));
            read.map(|read| read.map_err(|e| Error::world(&told, explained(&e))))
        };
        Ok(Box::new(std::iter::from_fn(next)))
    }
}

fn stamp(file: &File) -> std::io::Result<(u64, Option<SystemTime>)> {
    let found = file.metadata()?;
    Ok((found.len(), found.modified().ok()))
}

/// A file that only its handle leads to: once filled, its name is taken away.
fn unnamed(scratch: &Path, fill: impl FnOnce(&Path) -> Result<bool>) -> Result<File> {
    let path = scratch.join(format!("table-{}", std::process::id()));
    let failed = |e: std::io::Error| Error::world(format!("writing {}", path.display()), e);
    let filled = fill(&path);
    let file = File::open(&path);
    // Where it was not made there is nothing to remove.
    let _ = std::fs::remove_file(&path);
    match filled? {
        true => file.map_err(failed),
        false => Err(Error::Config("the table went away while it was read".to_owned())),
    }
}

fn layout(file: &mut File, format: TableFormat) -> Result<(SchemaRef, Option<u64>, Layout), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    if format == TableFormat::Parquet {
        let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(|e| text(&e))?;
        let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok();
        return Ok((metadata.schema().clone(), rows, Layout::Parquet(metadata)));
    }
    let mut magic = vec![];
    file.take(IPC_MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| text(&e))?;
    let mut start = buffered(file.try_clone().map_err(|e| text(&e))?).map_err(|e| text(&e))?;
    if magic == b"FEA1\0\0" || magic.starts_with(b"FEA1") {
        return Err("this is the first version of Feather, which is no Arrow file: write it anew".to_owned());
    }
    if magic == IPC_MAGIC {
        start.rewind().map_err(|e| text(&e))?;
        let reader = FileReader::try_new(start, None).map_err(|e| explained(&e))?;
        return Ok((reader.schema(), None, Layout::IpcFile));
    }
    let reader = StreamReader::try_new(start, None).map_err(|e| format!("it is no Arrow file: {}", explained(&e)))?;
    Ok((reader.schema(), None, Layout::IpcStream))
}

fn buffered(mut file: File) -> std::io::Result<BufReader<File>> {
    file.seek(SeekFrom::Start(0))?;
    Ok(BufReader::new(file))
}

type ArrowBatches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

fn open(file: File, layout: &Layout, columns: Option<&[usize]>) -> Result<ArrowBatches, String> {
    let text = |e: ArrowError| explained(&e);
    let projection = columns.map(<[usize]>::to_vec);
    Ok(match layout {
        Layout::Parquet(metadata) => {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
            let mask = match projection {
                None => ProjectionMask::all(),
                Some(columns) => ProjectionMask::roots(builder.parquet_schema(), columns),
            };
            let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
            Box::new(reader.map_err(|e| e.to_string())?)
        }
        Layout::IpcFile => {
            let file = buffered(file).map_err(|e| e.to_string())?;
            Box::new(FileReader::try_new(file, projection).map_err(text)?)
        }
        Layout::IpcStream => {
            let file = buffered(file).map_err(|e| e.to_string())?;
            Box::new(StreamReader::try_new(file, projection).map_err(text)?)
        }
    })
}

/// What a library says, and what to do about it where that is known.
fn explained(error: &ArrowError) -> String {
    let text = error.to_string();
    match text.contains("IPC compression") || text.contains("IPC decompression") {
        true => format!("{text}: write it without compression, or as Parquet"),
        false => text,
    }
}
