//! Avro's own files as a kind of history, local or in an object store: every file is one piece.
//!
//! Each file says its own schema, by which its records are read; of the same columns in several files the widest type is handed on, as of
//! Parquet files. A file that is damaged is an error that names it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::bytes::{FileBytes, told};
use super::parquet::fetch::Fetch;
use super::parquet::merge::{merged, of_file, settled};
use super::parquet::store::Stores;
use super::{History, HistoryConfig, HistoryKind, Piece, Pinned};
use crate::format::avro::AvroDecoder;
use crate::format::avro::container::{Container, Wrong};
use crate::format::{Decoded, Decoder, Message};
use crate::settings::{Kind, Settings};
use crate::{Error, Records, Result, Wanted};

const BATCH_RECORDS_MAX: usize = 8192;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Avro files as a kind of history.
pub static AVRO: &AvroKind = &AvroKind;

/// See [`AVRO`].
#[derive(Debug)]
pub struct AvroKind;

impl Kind for AvroKind {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["path"]
    }
}

impl HistoryKind for AvroKind {
    fn title(&self) -> &'static str {
        "Avro"
    }

    fn gives_columns(&self) -> bool {
        true
    }

    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn HistoryConfig> {
        Arc::new(AvroFiles { path: super::path(settings) })
    }
}

#[derive(Debug)]
struct AvroFiles {
    path: String,
}

impl HistoryConfig for AvroFiles {
    fn path(&self) -> &str {
        &self.path
    }

    fn open(&self, pinned: Option<&Pinned>) -> Result<Arc<dyn History>> {
        Ok(Arc::new(open(&self.path, pinned)?))
    }
}

/// The pinned files with their headers read.
pub struct AvroHistory {
    pinned: Pinned,
    files: Vec<Fetch>,
    schema: SchemaRef,
}

/// Finds the files that a glob names, or takes those that were pinned, and reads their headers.
///
/// # Errors
///
/// `Config`: nothing matches, or the store is not set up. `Changed`: a pinned file is another one now. `World`: a file cannot be read, or is
/// no such file.
pub fn open(pattern: &str, pinned: Option<&Pinned>) -> Result<AvroHistory> {
    let mut stores = Stores::default();
    let pinned = match pinned {
        Some(pinned) => pinned.clone(),
        None => Pinned::of(stores.find(pattern)?),
    };
    let fetch = |file: &super::PinnedFile| Ok(Fetch { location: stores.location(&file.path)?, pinned: file.clone() });
    let files = pinned.files.iter().map(fetch).collect::<Result<Vec<_>>>()?;
    let mut joined: Vec<Field> = vec![];
    let mut places: HashMap<String, usize> = HashMap::new();
    for file in &files {
        for field in container(file)?.columns().fields() {
            let seen = of_file(field, &file.pinned.path);
            match places.entry(field.name().clone()) {
                Entry::Occupied(place) => {
                    let known = &mut joined[*place.get()];
                    *known = merged(known, &seen, field.name());
                }
                Entry::Vacant(place) => {
                    place.insert(joined.len());
                    joined.push(seen);
                }
            }
        }
    }
    let schema = Arc::new(Schema::new(joined.iter().map(settled).collect::<Vec<_>>()));
    Ok(AvroHistory { pinned, files, schema })
}

fn container(file: &Fetch) -> Result<Container<FileBytes>> {
    Container::open(FileBytes::new(file.clone())).map_err(|wrong| wrong_with(file, wrong))
}

fn wrong_with(file: &Fetch, wrong: Wrong) -> Error {
    let path = &file.pinned.path;
    match wrong {
        Wrong::Read(error) => told(path, error),
        Wrong::Damaged(why) => Error::world(format!("reading {path} as Avro"), why),
    }
}

impl History for AvroHistory {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn schema(&self) -> Option<SchemaRef> {
        Some(self.schema.clone())
    }

    /// Blocks have no statistics.
    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>> {
        let piece = |(number, file): (usize, &Fetch)| {
            let rows = container(file)?.count().map_err(|wrong| wrong_with(file, wrong))?;
            let statistics = vec![None; columns.len()];
            Ok(Piece { file: number, row_group: 0, rows, bytes: file.pinned.size, statistics })
        };
        self.files.iter().enumerate().map(piece).collect()
    }

    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let file = self.files[piece.file].clone();
        let container = container(&file)?;
        let decoder = container.decoder(wanted);
        Ok(Box::new(Batches { file, container, decoder, bytes: 0, ready: vec![], done: false }))
    }
}

/// The records of one file.
struct Batches {
    file: Fetch,
    container: Container<FileBytes>,
    decoder: AvroDecoder,
    /// Of the records that the decoder has.
    bytes: usize,
    /// Of the last block: the first is the last one here.
    ready: Vec<Records>,
    done: bool,
}

impl Batches {
    /// Reads on until there is a batch, or the end.
    fn more(&mut self) -> Result<(), Wrong> {
        while self.ready.is_empty() && !self.done {
            let Some(block) = self.container.next()? else {
                self.done = true;
                break;
            };
            let Batches { container, decoder, bytes, ready, .. } = self;
            container.records(&block, &mut |record| {
                decoder.push(&Message::of(record));
                *bytes += record.len();
                if decoder.len() >= BATCH_RECORDS_MAX || *bytes >= BATCH_BYTES_MAX {
                    *bytes = 0;
                    ready.push(records(decoder.finish()));
                }
            })?;
            ready.reverse();
        }
        if self.ready.is_empty() && !self.decoder.is_empty() {
            self.ready.push(records(self.decoder.finish()));
        }
        Ok(())
    }
}

/// A dead letter quotes the record's columns: its bytes say nothing without the file.
fn records(decoded: Decoded) -> Records {
    let Decoded { batch, undecoded, malformed, removals: _ } = decoded;
    Records { bytes: batch.get_array_memory_size(), malformed, ..Records::of_rows(batch, undecoded) }
}

impl Iterator for Batches {
    type Item = Result<Records>;

    fn next(&mut self) -> Option<Result<Records>> {
        if let Err(wrong) = self.more() {
            self.done = true;
            self.ready.clear();
            self.decoder.finish();
            return Some(Err(wrong_with(&self.file, wrong)));
        }
        self.ready.pop().map(Ok)
    }
}

#[cfg(test)]
mod tests;
