//! Manifests: which files a snapshot has, in Avro.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};

use super::metadata::{Metadata, Snapshot};
use crate::format::avro::container::{Container, Wrong};
use crate::format::{Decoder, Message};
use crate::history::lake::{Column, bytes_of, found};
use crate::history::parquet::store::Stores;
use crate::{Error, Path, Result, Wanted};

/// A file of a snapshot.
pub(super) struct DataFile {
    pub path: String,
    /// When it came: deletes are of files that came no later.
    pub sequence: i64,
    /// By constant column.
    pub constants: Vec<ArrayRef>,
}

/// A file that says which rows of others are deleted.
pub(super) struct DeleteFile {
    pub path: String,
    pub sequence: i64,
}

#[derive(Default)]
pub(super) struct Manifests {
    pub data: Vec<DataFile>,
    pub deletes: Vec<DeleteFile>,
}

/// A manifest, as a snapshot lists it.
struct Listed {
    path: String,
    spec: i64,
    sequence: i64,
}

const DELETED: i32 = 2;

/// The files of a snapshot. `constant`: the columns that partitions say.
pub(super) fn read(
    stores: &mut Stores,
    snapshot: Snapshot,
    metadata: &Metadata,
    constant: &[&Column],
) -> Result<Manifests> {
    let mut all = Manifests::default();
    for listed in listed(stores, &snapshot)? {
        files(stores, &listed, metadata, constant, &mut all)?;
    }
    Ok(all)
}

fn listed(stores: &mut Stores, snapshot: &Snapshot) -> Result<Vec<Listed>> {
    let Some(list) = snapshot.of["manifest-list"].as_str() else {
        // As the first format could: each by its name.
        let paths = snapshot.of["manifests"].as_array().into_iter().flatten().filter_map(|path| path.as_str());
        return Ok(paths.map(|path| Listed { path: local(path), spec: 0, sequence: 0 }).collect());
    };
    let wanted = [
        ("manifest_path", DataType::Utf8),
        ("partition_spec_id", DataType::Int32),
        ("sequence_number", DataType::Int64),
    ];
    let path = local(list);
    let mut all = vec![];
    for batch in records(stores, &path, &wanted)? {
        for row in 0..batch.num_rows() {
            let manifest = text(&batch, 0, row).ok_or_else(|| damaged(&path, "a manifest has no path"))?;
            let spec = i64::from(int(&batch, 1, row).unwrap_or_default());
            all.push(Listed { path: local(&manifest), spec, sequence: long(&batch, 2, row).unwrap_or_default() });
        }
    }
    Ok(all)
}

fn files(
    stores: &mut Stores,
    listed: &Listed,
    metadata: &Metadata,
    constant: &[&Column],
    all: &mut Manifests,
) -> Result<()> {
    let path = &listed.path;
    let field = |column: &&Column| metadata.partition_field(listed.spec, column).map(avro_name);
    let partitions: Vec<Option<String>> = constant.iter().map(field).collect();
    let partitions: Vec<Option<String>> = partitions
        .into_iter()
        .map(|name| name.map(|name| Path::of(["data_file", "partition", &name]).to_string()))
        .collect();
    let mut wanted = vec![
        ("status", DataType::Int32),
        ("sequence_number", DataType::Int64),
        ("data_file.content", DataType::Int32),
        ("data_file.file_path", DataType::Utf8),
        ("data_file.file_format", DataType::Utf8),
    ];
    let fixed = wanted.len();
    for (column, name) in constant.iter().zip(&partitions) {
        wanted.extend(name.as_deref().map(|name| (name, column.field.data_type().clone())));
    }
    for batch in records(stores, path, &wanted)? {
        for row in 0..batch.num_rows() {
            let status = int(&batch, 0, row).ok_or_else(|| damaged(path, "an entry has no status"))?;
            if status == DELETED {
                continue;
            }
            let sequence = long(&batch, 1, row).unwrap_or(listed.sequence);
            let file = text(&batch, 3, row).ok_or_else(|| damaged(path, "a file has no path"))?;
            let format = text(&batch, 4, row).unwrap_or_default();
            if !format.eq_ignore_ascii_case("parquet") {
                let why = format!("the file {file} is of the format {format:?}: Parquet is read");
                return Err(damaged(path, &why));
            }
            match int(&batch, 2, row).unwrap_or_default() {
                0 => {
                    let mut columns = batch.columns()[fixed..].iter();
                    let value = |(column, name): (&&Column, &Option<String>)| match name {
                        Some(_) => columns.next().map(|values| values.slice(row, 1)),
                        None => Some(new_null_array(column.field.data_type(), 1)),
                    };
                    let constants = constant.iter().zip(&partitions).filter_map(value).collect();
                    all.data.push(DataFile { path: local(&file), sequence, constants });
                }
                1 => all.deletes.push(DeleteFile { path: local(&file), sequence }),
                2 => {
                    return Err(damaged(
                        path,
                        "the table has rows that are deleted by the values of columns (equality deletes), which is not read yet: compact it, or delete by position",
                    ));
                }
                other => {
                    return Err(damaged(path, &format!("a file has the content {other}, which is not known here")));
                }
            }
        }
    }
    Ok(())
}

/// All records of a file in Avro, and of those what is wanted.
fn records(stores: &mut Stores, path: &str, wanted: &[(&str, DataType)]) -> Result<Vec<RecordBatch>> {
    let file = found(stores, path)?;
    let bytes = bytes_of(stores, &file)?;
    let fields = wanted.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    let wanted = Wanted { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), time_unit_ns: 1_000_000 };
    decoded(&bytes, &wanted).map_err(|wrong| damaged(path, &wrong.to_string()))
}

fn decoded(bytes: &[u8], wanted: &Wanted) -> Result<Vec<RecordBatch>, Wrong> {
    let mut container = Container::open(bytes)?;
    let mut decoder = container.decoder(wanted);
    let mut batches = vec![];
    while let Some(block) = container.next()? {
        container.records(&block, &mut |record| decoder.push(&Message::of(record)))?;
        let decoded = decoder.finish();
        // A field that is not of its type must not pass as one that is not there.
        if decoded.malformed.is_some() || decoded.undecoded.iter().any(Option::is_some) {
            return Err(Wrong::Damaged("an entry is not of the types that it should have".into()));
        }
        batches.push(decoded.batch);
    }
    Ok(batches)
}

fn damaged(path: &str, why: &str) -> Error {
    Error::world(format!("reading {path} of an Iceberg table"), why)
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> Option<String> {
    let column = batch.column(column).as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn int(batch: &RecordBatch, column: usize, row: usize) -> Option<i32> {
    let column = batch.column(column).as_primitive::<Int32Type>();
    column.is_valid(row).then(|| column.value(row))
}

fn long(batch: &RecordBatch, column: usize, row: usize) -> Option<i64> {
    let column = batch.column(column).as_primitive::<Int64Type>();
    column.is_valid(row).then(|| column.value(row))
}

/// A place as the stores here know it.
pub(super) fn local(uri: &str) -> String {
    for scheme in ["s3a://", "s3n://"] {
        if let Some(rest) = uri.strip_prefix(scheme) {
            return format!("s3://{rest}");
        }
    }
    // `file:/a` and `file:///a` are the same.
    match uri.strip_prefix("file:") {
        Some(rest) => format!("/{}", rest.trim_start_matches('/')),
        None => uri.to_owned(),
    }
}

/// A field's name as Iceberg writes it in Avro, which allows fewer.
fn avro_name(name: &str) -> String {
    let mut written = String::new();
    for (at, c) in name.chars().enumerate() {
        match c {
            'a'..='z' | 'A'..='Z' | '_' => written.push(c),
            '0'..='9' if at > 0 => written.push(c),
            '0'..='9' => written.extend(['_', c]),
            other => written.push_str(&format!("_x{:X}", u32::from(other))),
        }
    }
    written
}
