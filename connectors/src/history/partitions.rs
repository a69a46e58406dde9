//! Directories as columns: `.../dt=2026-01-31/country=de/a.parquet`, as Hive and Spark lay their files out.
//!
//! ```text
//! partitions = { dt = "date", hour = "int8" }
//!
//! data/dt=2026-01-31/hour=05/a.parquet                         dt 2026-01-31, hour 5
//! data/dt=2026-01-31/hour=__HIVE_DEFAULT_PARTITION__/a.parquet dt 2026-01-31, hour null
//! data/dt=2026-01-31/a.parquet                                 an error: no directory says `hour`
//! ```
//!
//! A value is read as strictly as in CSV, but that an integer may have zeros in front. A column of a file that has the name of a
//! partition is not looked at.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::{History, Piece, Pinned, Range};
use crate::format::value_of_text;
use crate::records::path;
use crate::{Error, Records, Result, Wanted};

/// What stands for null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A history whose directories are columns of these names and types, of which there is at least one. `time_unit_ns`: of times that are integers.
///
/// # Errors
///
/// `Config`: a file lies in no such directory, or its value is not of the column's type.
pub fn partitioned(
    history: Arc<dyn History>,
    columns: &[(String, DataType)],
    time_unit_ns: i64,
) -> Result<Arc<dyn History>> {
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let values = |path: &str| {
        let values = columns.iter().map(|(name, data_type)| {
            let text = value_in(path, name)
                .ok_or_else(|| Error::Config(format!("{path} lies in no directory `{name}=...`, a partition")))?;
            let no_value = || Error::Config(format!("{path}: `{name}={text}` is no {data_type}"));
            let text = if data_type.is_integer() { without_zeros(&text) } else { &text };
            value_of_text(Some(text).filter(|text| *text != NULL), data_type, time_unit_ns).ok_or_else(no_value)
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(schema.clone(), values).map_err(|e| Error::Config(format!("{path}: {e}")))
    };
    let values = history.pinned().files.iter().map(|file| values(&file.path)).collect::<Result<_>>()?;
    Ok(Arc::new(Partitioned { history, schema, values }))
}

fn field((name, data_type): &(String, DataType)) -> Field {
    Field::new(name, data_type.clone(), true)
}

/// What the directories of a path say, by column, the innermost first.
pub fn said_by_directories(path: &str) -> impl Iterator<Item = (String, String)> {
    let (directories, _) = path.rsplit_once('/').unwrap_or_default();
    let parted = directories.rsplit('/').filter_map(|directory| directory.split_once('='));
    parted.map(|(column, value)| (unescaped(column), unescaped(value)))
}

/// What the innermost directory of a path says of a column.
fn value_in(path: &str, name: &str) -> Option<String> {
    said_by_directories(path).find(|(column, _)| column == name).map(|(_, value)| value)
}

/// `%3A` as `:`. What is no such escape stays.
pub(super) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// `05` as `5`.
fn without_zeros(text: &str) -> &str {
    let digits = text.trim_start_matches('0');
    match digits.is_empty() && !text.is_empty() {
        true => "0",
        false => digits,
    }
}

struct Partitioned {
    history: Arc<dyn History>,
    /// Of the partitions.
    schema: SchemaRef,
    /// By file: its partitions, as one row.
    values: Vec<RecordBatch>,
}

impl Partitioned {
    /// The place among the partitions of the column of this name.
    fn place(&self, name: &str) -> Option<usize> {
        let path = path(name);
        self.schema.fields().iter().position(|field| path.names() == [field.name().as_str()])
    }
}

impl History for Partitioned {
    fn pinned(&self) -> &Pinned {
        self.history.pinned()
    }

    /// Of the files' own, and the partitions.
    fn schema(&self) -> Option<SchemaRef> {
        let own = self.history.schema()?;
        let own = own.fields().iter().filter(|field| self.schema.field_with_name(field.name()).is_err());
        Some(Arc::new(Schema::new(own.chain(self.schema.fields()).cloned().collect::<Vec<_>>())))
    }

    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>> {
        let places: Vec<Option<usize>> = columns.iter().map(|name| self.place(name)).collect();
        let own = columns.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(name, _)| *name);
        let pieces = self.history.pieces(&own.collect::<Vec<_>>())?;
        let with = |piece: Piece| {
            let mut own = piece.statistics.iter().copied();
            let of = |place: &Option<usize>| match place {
                Some(place) => range(self.values[piece.file].column(*place), piece.rows),
                None => own.next().flatten(),
            };
            let statistics = places.iter().map(of).collect();
            Piece { statistics, ..piece }
        };
        Ok(pieces.into_iter().map(with).collect())
    }

    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let fields = wanted.schema.fields();
        let places: Vec<Option<usize>> = fields.iter().map(|field| self.place(field.name())).collect();
        if places.iter().all(Option::is_none) {
            return self.history.read(piece, wanted);
        }
        let own: Vec<usize> = (0..fields.len()).filter(|at| places[*at].is_none()).collect();
        let told = |e: arrow::error::ArrowError| Error::world("reading a history with partitions", e);
        let own = Wanted { schema: Arc::new(wanted.schema.project(&own).map_err(told)?), ..wanted.clone() };
        let (schema, values) = (wanted.schema.clone(), self.values[piece.file].clone());
        let records = self.history.read(piece, &own)?;
        Ok(Box::new(records.map(move |records| with_partitions(records?, &schema, &places, &values).map_err(told))))
    }

    fn partitions(&self, file: usize) -> Option<RecordBatch> {
        self.values.get(file).cloned()
    }
}

fn with_partitions(
    records: Records,
    schema: &SchemaRef,
    places: &[Option<usize>],
    values: &RecordBatch,
) -> std::result::Result<Records, arrow::error::ArrowError> {
    let rows = UInt32Array::from(vec![0; records.len()]);
    let mut own = records.batch.columns().iter().cloned().zip(records.undecoded);
    let (mut columns, mut undecoded) = (vec![], vec![]);
    for place in places {
        let (column, failed) = match place {
            Some(place) => (take(values.column(*place), &rows, None)?, None),
            None => own.next().expect("as many columns as were wanted"),
        };
        columns.push(column);
        undecoded.push(failed);
    }
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    Ok(Records { bytes: records.bytes + batch.get_array_memory_size(), batch, undecoded, ..records })
}

/// What is known of a column that is the same in all rows.
pub(super) fn range(value: &ArrayRef, rows: u64) -> Option<Range> {
    if value.is_null(0) {
        return Some(Range { bounds: None, nulls: rows });
    }
    let is_exact = value.data_type().is_integer() || value.data_type().is_temporal();
    let number = is_exact.then(|| cast(value, &DataType::Int64).ok()).flatten()?;
    let number = number.as_primitive::<Int64Type>();
    number.is_valid(0).then(|| Range { bounds: Some((number.value(0), number.value(0))), nulls: 0 })
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;

    use super::*;

    fn micros() -> DataType {
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
    }

    /// A file of two JSON lines in a directory.
    fn history(directory: &str) -> (tempfile::TempDir, Arc<dyn History>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(directory);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("a=9.jsonl"), "{\"x\":1,\"a\":\"file\"}\n{\"x\":\"no\"}\n").unwrap();
        let config = crate::history::jsonl::of_path(&format!("{}/**", dir.path().display()));
        let history = config.open(None).unwrap();
        (dir, history)
    }

    #[test]
    fn directories_are_columns() {
        let text = DataType::Utf8;
        let rows = [
            ("a=x", text.clone(), Ok("x")),
            ("a=x/b=1/a=y", text.clone(), Ok("y")),
            ("a=2026%3A%2F%zz%C3%A9", text.clone(), Ok("2026:/%zzé")),
            ("a=", text.clone(), Ok("")),
            ("a=__HIVE_DEFAULT_PARTITION__", text.clone(), Ok("null")),
            ("a=2026-01-31", DataType::Date32, Ok("2026-01-31")),
            ("a=05", DataType::Int8, Ok("5")),
            ("a=00", DataType::UInt16, Ok("0")),
            ("a=-7", DataType::Int64, Ok("-7")),
            ("a=true", DataType::Boolean, Ok("true")),
            ("a=1.50", DataType::Decimal128(5, 2), Ok("1.50")),
            ("a=2026-01-31T10%3A00%3A00Z", micros(), Ok("2026-01-31T10:00:00Z")),
            ("a=1767225600", micros(), Ok("2026-01-01T00:00:00Z")),
            ("a=2026-1-31", DataType::Date32, Err("`a=2026-1-31` is no Date32")),
            ("a=", DataType::Int64, Err("`a=` is no Int64")),
            ("a=300", DataType::Int8, Err("`a=300` is no Int8")),
            ("b=1", text, Err("lies in no directory `a=...`, a partition")),
        ];
        for (directory, data_type, expected) in rows {
            let (_dir, history) = history(directory);
            let opened = partitioned(history, &[("a".into(), data_type.clone())], 1_000_000_000);
            let history = match (opened, expected) {
                (Ok(history), Ok(_)) => history,
                (Err(Error::Config(told)), Err(expected)) => {
                    assert!(told.contains("a=9.jsonl") && told.ends_with(expected), "{told}");
                    continue;
                }
                (opened, _) => panic!("{directory}: {:?}", opened.err()),
            };
            let fields = [("x", DataType::Int64), ("a", data_type)].map(|(name, t)| Field::new(name, t, true));
            let wanted = Wanted { schema: Arc::new(Schema::new(fields.to_vec())), time_unit_ns: 1 };
            let piece = history.pieces(&["a", "x"]).unwrap().remove(0);
            let records = history.read(&piece, &wanted).unwrap().next().unwrap().unwrap();
            let value = records.batch.column(1);
            for row in 0..2 {
                let shown = if value.is_null(row) { "null".into() } else { array_value_to_string(value, row).unwrap() };
                assert_eq!(Ok(shown.as_str()), expected, "{directory}");
            }
            assert_eq!(records.undecoded[0].as_ref().unwrap().iter().collect::<Vec<_>>(), [false, true]);
            assert!(records.undecoded[1].is_none() && piece.statistics[1].is_none());
            assert_eq!(history.partitions(0).unwrap().column(0).data_type(), value.data_type());
        }
    }

    #[test]
    fn what_a_directory_says_is_known_of_all_rows() {
        for (directory, data_type, range) in [
            ("a=7", DataType::Int32, Some(Range { bounds: Some((7, 7)), nulls: 0 })),
            ("a=1970-01-11", DataType::Date32, Some(Range { bounds: Some((10, 10)), nulls: 0 })),
            ("a=3", micros(), Some(Range { bounds: Some((3_000_000, 3_000_000)), nulls: 0 })),
            ("a=__HIVE_DEFAULT_PARTITION__", DataType::Int32, Some(Range { bounds: None, nulls: 2 })),
            ("a=18446744073709551615", DataType::UInt64, None),
            ("a=x", DataType::Utf8, None),
        ] {
            let (_dir, history) = history(directory);
            let history = partitioned(history, &[("a".into(), data_type)], 1_000_000_000).unwrap();
            assert_eq!(history.pieces(&["a"]).unwrap()[0].statistics, [range], "{directory}");
        }
    }
}
