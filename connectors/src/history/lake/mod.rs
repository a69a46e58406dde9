//! Tables of Parquet files at one of their versions: what Delta and Iceberg have in common.
//!
//! ```text
//! the table's own log, at a version          -> columns, and files: what each has in all rows, and which rows are deleted
//! each column's place in each file (`place`) -> read as any Parquet file, under the names that the table has today
//! ```
//!
//! A version never changes, and neither do its files; they may be removed, though: then what is pinned is gone.

mod place;
pub(super) mod schema;
mod small;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, make_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use headwater_clocks::WallClock;
use roaring::RoaringTreemap;

pub(super) use super::partitions::unescaped;
pub(super) use place::{Column, Place};
pub(super) use small::{bytes_of, found};

use super::parquet::store::{Stores, look_at};
use super::parquet::{ParquetHistory, open_pinned};
use super::partitions::range;
use super::{History, Piece, Pinned, PinnedFile, files};
use crate::objects::runtime;
use crate::records::{PATH, path, path_of};
use crate::settings::Settings;
use crate::{Error, Records, Result, Wanted};

/// A table as it is at a version.
pub(super) struct Table {
    /// As messages name it: `/data/payments`.
    pub name: String,
    /// `version 7`.
    pub version: String,
    pub columns: Vec<Column>,
    /// The columns that files have in all rows, by their place among the columns.
    pub constant: Vec<usize>,
    pub files: Vec<DataFile>,
}

/// A file of a table.
pub(super) struct DataFile {
    pub path: String,
    /// By constant column, one row: what all rows have.
    pub constants: Vec<ArrayRef>,
    /// The rows that are no more in the table, by their number in the file.
    pub deleted: Option<Arc<RoaringTreemap>>,
}

/// A table's files as a history.
pub(super) struct LakeHistory {
    pinned: Pinned,
    table: Table,
    schema: SchemaRef,
    /// Of the constant columns.
    constants: SchemaRef,
    files: ParquetHistory,
}

/// Opens a table's files; `pinned`: as they have to be.
pub(super) fn open(mut table: Table, mut stores: Stores, pinned: Option<&Pinned>) -> Result<LakeHistory> {
    table.files.sort_by(|a, b| a.path.cmp(&b.path));
    let paths: Vec<String> = table.files.iter().map(|file| file.path.clone()).collect();
    if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::world(format!("reading {}", table.name), format!("it has the file {} twice", twice[0])));
    }
    let found = match pinned {
        Some(pinned) => {
            let pinned_paths: Vec<&String> = pinned.files.iter().map(|file| &file.path).collect();
            if pinned_paths != paths.iter().collect::<Vec<_>>() {
                let what = format!("{} of {} has other files than were pinned", table.version, table.name);
                return Err(Error::Changed(format!("{what}: it is another table. {}", files::WHAT_TO_DO)));
            }
            pinned.files.clone()
        }
        None => look(&mut stores, &table, &paths)?,
    };
    let pinned = Pinned { files: found, version: Some(table.version.clone()) };
    let files = open_pinned(stores, pinned.clone())?;
    if let Some(at) = (0..paths.len()).find(|at| place::is_unnumbered(&table.columns, files.columns_of(*at))) {
        let why = "its columns have no numbers, and the table does not say what they are called";
        return Err(Error::world(format!("reading {} of {}", paths[at], table.name), why));
    }
    let field = |column: &Column| column.field.clone();
    let schema = Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>()));
    let constants = Arc::new(schema.project(&table.constant).map_err(|e| told(&table, e))?);
    Ok(LakeHistory { pinned, table, schema, constants, files })
}

fn look(stores: &mut Stores, table: &Table, paths: &[String]) -> Result<Vec<PinnedFile>> {
    let locations = paths.iter().map(|path| stores.location(path)).collect::<Result<Vec<_>>>()?;
    runtime()?.block_on(look_at(paths, &locations)).map_err(|e| match e {
        // It was not pinned yet.
        Error::Changed(what) => {
            let path = what.split(" was pinned").next().unwrap_or_default();
            let of = format!("{} of {}", table.version, table.name);
            let hint = "name a version whose files are there, or none for the newest";
            Error::Changed(format!(
                "{path} is gone: it is a file of {of}, which may have been vacuumed or expired; {hint}"
            ))
        }
        other => other,
    })
}

fn told(table: &Table, error: ArrowError) -> Error {
    Error::world(format!("reading {}", table.name), error)
}

impl LakeHistory {
    /// The place among the constants of the column of this name.
    fn constant(&self, name: &str) -> Option<usize> {
        let path = path(name);
        self.constants.fields().iter().position(|field| path.names() == [field.name().as_str()])
    }

    /// How many rows of a piece are deleted.
    fn deleted(&self, piece: &Piece) -> u64 {
        let deleted = self.table.files[piece.file].deleted.as_ref();
        deleted.map_or(0, |deleted| deleted.range_cardinality(self.files.rows_of(piece)))
    }
}

impl History for LakeHistory {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn schema(&self) -> Option<SchemaRef> {
        Some(self.schema.clone())
    }

    /// Where rows are deleted, statistics are of more than is there.
    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>> {
        let constants: Vec<Option<usize>> = columns.iter().map(|name| self.constant(name)).collect();
        let mut pieces = vec![];
        for (number, file) in self.table.files.iter().enumerate() {
            let place = |name: &&str| place::find(&self.table.columns, self.files.columns_of(number), &path(name));
            let places: Vec<_> = columns.iter().map(place).map(|found| found.map(|found| found.path)).collect();
            for piece in self.files.pieces_of(number, &places)? {
                let deleted = self.deleted(&piece);
                let rows = piece.rows - deleted;
                let statistics = piece.statistics.iter().zip(&constants).map(|(known, constant)| match constant {
                    Some(constant) => range(&file.constants[*constant], rows),
                    None => known.filter(|_| deleted == 0),
                });
                pieces.push(Piece { statistics: statistics.collect(), rows, ..piece });
            }
        }
        Ok(pieces)
    }

    fn partitions(&self, file: usize) -> Option<RecordBatch> {
        if self.constants.fields().is_empty() {
            return None;
        }
        let constants = self.table.files.get(file)?.constants.clone();
        RecordBatch::try_new(self.constants.clone(), constants).ok()
    }

    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let file = &self.table.files[piece.file];
        let mut reading = Reading { schema: nullable(&wanted.schema), columns: vec![], deleted: None, first: 0 };
        let mut own = vec![];
        for field in wanted.schema.fields() {
            let path = path_of(field);
            if let Some(constant) = self.constant(&path.to_string()) {
                reading.columns.push(From::Constant(file.constants[constant].clone()));
                continue;
            }
            let found = place::find(&self.table.columns, self.files.columns_of(piece.file), &path);
            let field = match found {
                Some(found) => {
                    let metadata = [(PATH.to_owned(), found.path.to_string())].into();
                    let data_type = place::in_file(found.column, found.parquet, field.data_type());
                    Field::new(field.name(), data_type, true).with_metadata(metadata)
                }
                None => {
                    reading.columns.push(From::Nowhere);
                    continue;
                }
            };
            reading.columns.push(From::File(own.len()));
            own.push(field);
        }
        let rows = self.files.rows_of(piece);
        (reading.first, reading.deleted) = (rows.start, file.deleted.clone());
        let in_file = Piece { rows: rows.end - rows.start, ..piece.clone() };
        let own = Wanted { schema: Arc::new(Schema::new(own)), ..wanted.clone() };
        let doing = format!("reading {}", self.pinned.files[piece.file].path);
        let records = self.files.read(&in_file, &own)?;
        let records = records.map(move |records| reading.records(records?).map_err(|e| Error::world(doing.clone(), e)));
        Ok(Box::new(records))
    }
}

/// A path that a job gave as a pattern, of one place: what is escaped in it is meant.
pub(super) fn literal(pattern: &str) -> String {
    let escapes = [("[[]", "["), ("[*]", "*"), ("[?]", "?"), ("[{]", "{")];
    escapes.iter().fold(pattern.to_owned(), |text, (escaped, meant)| text.replace(escaped, meant))
}

/// Reads a key that is a moment.
pub(super) fn instant(settings: &mut dyn Settings, key: &str) -> Option<WallClock> {
    let text = settings.text(key)?;
    let us = crate::format::time::rfc3339_us(&text.text);
    if us.is_none() {
        let expected = "expected RFC 3339 with an offset, like \"2026-11-01T00:00:00Z\"";
        settings.error(text.at, format!("`{key}`: `{}` is not a time: {expected}", text.text));
    }
    us.map(WallClock::from_us)
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Makes a table's records of those of a file.
struct Reading {
    schema: SchemaRef,
    columns: Vec<From>,
    deleted: Option<Arc<RoaringTreemap>>,
    /// The number in the file of the next record.
    first: u64,
}

/// Where a column is had from.
enum From {
    /// The file's own, by its place among those that are read.
    File(usize),
    Constant(ArrayRef),
    Nowhere,
}

impl Reading {
    fn records(&mut self, records: Records) -> Result<Records, ArrowError> {
        let rows = records.len();
        let one = UInt32Array::from(vec![0; rows]);
        let (mut columns, mut undecoded) = (vec![], vec![]);
        for (from, field) in self.columns.iter().zip(self.schema.fields()) {
            let (column, failed) = match from {
                From::File(at) => {
                    (renamed(records.batch.column(*at), field.data_type())?, records.undecoded[*at].clone())
                }
                From::Constant(value) => (take(value, &one, None)?, None),
                From::Nowhere => (arrow::array::new_null_array(field.data_type(), rows), None),
            };
            columns.push(column);
            undecoded.push(failed);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let first = self.first;
        self.first += rows as u64;
        if let Some(deleted) = &self.deleted {
            let is_left = |row: usize| !deleted.contains(first + row as u64);
            let left = BooleanArray::from(BooleanBuffer::collect_bool(rows, is_left));
            batch = filter_record_batch(&batch, &left)?;
            for failed in undecoded.iter_mut().flatten() {
                *failed = filter(&BooleanArray::new(failed.clone(), None), &left)?.as_boolean().values().clone();
            }
        }
        Ok(Records { bytes: batch.get_array_memory_size(), batch, undecoded, ..records })
    }
}

/// The same values under other names of fields.
fn renamed(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == wanted || !wanted.is_nested() {
        return Ok(column.clone());
    }
    place::relabelled(column.to_data(), wanted).map(make_array)
}

#[cfg(test)]
pub(in crate::history) mod tests;
