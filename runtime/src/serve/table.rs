//! Rows as a table, and that as a Parquet file: key columns, `window_start` and `window_end` of windowed groups, the row's columns,
//! `changed_at` and `as_of`, each with its own type.
//!
//! Rows come as the lines that `export` prints, so that it is the same whoever reads them; each value's text is cast to
//! its column's type, which gives back what was written.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_connectors::sink::GroupShape;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::texts::column;
use crate::base::failure::Failure;

const BATCH_ROWS: usize = 8192;

/// Writes a group's rows; `finish` makes it a file.
pub struct Table<W: Write + Send> {
    rows: Rows,
    writer: ArrowWriter<W>,
}

/// A group's rows, batch by batch.
pub struct Rows {
    keys: usize,
    windowed: bool,
    schema: SchemaRef,
    /// By column: the values' JSON.
    texts: Vec<Vec<Option<Box<RawValue>>>>,
}

#[derive(Deserialize)]
struct Line {
    key: BTreeMap<String, Box<RawValue>>,
    window: Option<Window>,
    row: BTreeMap<String, Box<RawValue>>,
    changed_at: Box<RawValue>,
    as_of: Box<RawValue>,
}

#[derive(Deserialize)]
struct Window {
    start: Box<RawValue>,
    end: Box<RawValue>,
}

fn failed(cause: impl std::fmt::Display) -> Failure {
    Failure::Running(format!("writing Parquet: {cause}"))
}

impl<W: Write + Send> Table<W> {
    pub fn new(shape: &GroupShape, to: W) -> Result<Table<W>, Failure> {
        let rows = Rows::new(shape);
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let writer = ArrowWriter::try_new(to, rows.schema.clone(), Some(properties)).map_err(failed)?;
        Ok(Table { rows, writer })
    }

    /// Adds a row, as `export` prints it.
    pub fn push(&mut self, line: &str) -> Result<(), Failure> {
        match self.rows.push(line)? {
            Some(batch) => self.writer.write(&batch).map_err(failed),
            None => Ok(()),
        }
    }

    /// The file, whole.
    pub fn finish(mut self) -> Result<W, Failure> {
        if let Some(batch) = self.rows.rest()? {
            self.writer.write(&batch).map_err(failed)?;
        }
        self.writer.into_inner().map_err(failed)
    }
}

impl Rows {
    pub fn new(shape: &GroupShape) -> Rows {
        let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
        let fields = shape.schema.fields();
        let mut all: Vec<Field> = fields[..shape.keys].iter().map(|f| f.as_ref().clone()).collect();
        if shape.windowed() {
            all.extend([time("window_start"), time("window_end")]);
        }
        all.extend(fields[shape.columns()].iter().map(|f| f.as_ref().clone()));
        all.extend([time("changed_at"), time("as_of")]);
        let schema = Arc::new(Schema::new(all));
        let texts = schema.fields().iter().map(|_| vec![]).collect();
        Rows { keys: shape.keys, windowed: shape.windowed(), schema, texts }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds a row, as `export` prints it; a batch of them, if that is full.
    pub fn push(&mut self, line: &str) -> Result<Option<RecordBatch>, Failure> {
        let mut line: Line = serde_json::from_str(line).map_err(failed)?;
        let (start, end) = line.window.map_or((None, None), |w| (Some(w.start), Some(w.end)));
        let first_column = self.keys + if self.windowed { 2 } else { 0 };
        let last_column = self.schema.fields().len() - 2;
        let mut values = Vec::with_capacity(self.texts.len());
        for (i, field) in self.schema.fields().iter().enumerate() {
            values.push(match i {
                i if i < self.keys => line.key.remove(field.name()),
                i if i >= first_column && i < last_column => line.row.remove(field.name()),
                _ => None,
            });
        }
        if self.windowed {
            (values[self.keys], values[self.keys + 1]) = (start, end);
        }
        (values[last_column], values[last_column + 1]) = (Some(line.changed_at), Some(line.as_of));
        self.texts.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        if self.texts[0].len() == BATCH_ROWS { self.rest() } else { Ok(None) }
    }

    /// The rows since the last batch, if there are any.
    pub fn rest(&mut self) -> Result<Option<RecordBatch>, Failure> {
        if self.texts[0].is_empty() {
            return Ok(None);
        }
        let fields = self.schema.fields();
        let columns = fields.iter().zip(&mut self.texts).map(|(field, texts)| {
            let texts: Vec<Option<Box<RawValue>>> = std::mem::take(texts);
            column(&texts.iter().map(|text| text.as_deref().map(RawValue::get)).collect::<Vec<_>>(), field.data_type())
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>().map_err(failed)?;
        RecordBatch::try_new(self.schema.clone(), columns).map(Some).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::types::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::DataType::*;
    use headwater_clocks::Span;
    use headwater_connectors::sink::RowWindows;

    use super::*;

    #[test]
    fn a_windowed_group_has_its_window() {
        let shape = GroupShape {
            name: "g".into(),
            keys: 1,
            windows: Some(RowWindows { retain: Span::ZERO, size: None }),
            schema: headwater_operators::changes::schema(
                &[("id".into(), Int64)],
                true,
                &[("n".into(), Int64), ("amount".into(), Decimal128(38, 2)), ("avg".into(), Float64)],
            ),
        };
        let mut table = Table::new(&shape, vec![]).unwrap();
        let window = r#""window":{"start":"1970-01-01T00:00:00Z","end":"1970-01-01T01:00:00Z"}"#;
        let line = format!(
            r#"{{"key":{{"id":7}},{window},"row":{{"n":3,"amount":"1.50","avg":null}},"changed_at":"1970-01-01T00:00:01Z","as_of":null}}"#
        );
        table.push(&line).unwrap();
        let bytes = axum::body::Bytes::from(table.finish().unwrap());
        let mut reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 10).unwrap();
        let batch = reader.next().unwrap().unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["id", "window_start", "window_end", "n", "amount", "avg", "changed_at", "as_of"]);
        assert_eq!(batch.column(2).as_primitive::<TimestampMicrosecondType>().value(0), 3_600_000_000);
        assert_eq!(batch.column(3).as_primitive::<Int64Type>().value(0), 3);
        assert_eq!(batch.column(4).as_primitive::<Decimal128Type>().value(0), 150);
        assert!(batch.column(5).as_primitive::<Float64Type>().is_null(0));
        assert!(batch.column(7).is_null(0));
    }
}
