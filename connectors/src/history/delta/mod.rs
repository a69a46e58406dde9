//! A Delta table as a kind of history: the files of one version of it, as its log says.
//!
//! ```text
//! _delta_log/00000000000000000007.checkpoint.parquet + ...8.json + ...9.json  (log)  ->  columns (schema), files, deleted rows (deletion)
//! ```
//!
//! The log is read as the protocol has it: a version is its newest checkpoint and the commits after it. What a table asks of its readers that
//! is not known here is refused by its name.

mod deletion;
mod log;
mod schema;

use std::sync::Arc;

use serde_json::Value;

use super::lake::{self, DataFile, Table};
use super::parquet::store::Stores;
use super::{History, HistoryConfig, HistoryKind, Pinned};
use crate::settings::{Kind, Settings};
use crate::{Error, Result};
use log::{Add, Log, Snapshot, Which};

/// Delta tables as a kind of history.
pub static DELTA: &DeltaKind = &DeltaKind;

/// See [`DELTA`].
#[derive(Debug)]
pub struct DeltaKind;

impl Kind for DeltaKind {
    fn name(&self) -> &'static str {
        "delta"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["path", "version", "as_of"]
    }
}

impl HistoryKind for DeltaKind {
    fn title(&self) -> &'static str {
        "Delta"
    }

    fn gives_columns(&self) -> bool {
        true
    }

    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn HistoryConfig> {
        if !settings.has("path") {
            settings.missing("path", "say where the table is, like path = \"lake/payments\"");
        }
        let path = settings.glob("path").unwrap_or_default();
        let version = settings.integer("version", 0, i64::MAX);
        let as_of = lake::instant(settings, "as_of");
        if settings.has("version") && settings.has("as_of") {
            let at = settings.at();
            settings.error(at, "`version` and `as_of` both say which version it is: leave one of them out".into());
        }
        let which = version.map(Which::Version).or(as_of.map(Which::AsOf)).unwrap_or(Which::Newest);
        Arc::new(Delta { place: lake::literal(&path).trim_end_matches('/').to_owned(), path, which })
    }
}

#[derive(Debug)]
struct Delta {
    /// As a pattern.
    path: String,
    /// The table's directory.
    place: String,
    which: Which,
}

impl HistoryConfig for Delta {
    fn path(&self) -> &str {
        &self.path
    }

    fn open(&self, pinned: Option<&Pinned>) -> Result<Arc<dyn History>> {
        let which = match pinned.and_then(|pinned| pinned.version.as_deref()) {
            Some(text) => Which::Version(number(text, &self.place)?),
            None => self.which,
        };
        let log = Log::open(&self.place)?;
        let snapshot = log.snapshot(which).map_err(|e| match (pinned, e) {
            // It was there.
            (Some(_), Error::Config(what)) => Error::Changed(what),
            (_, e) => e,
        })?;
        Ok(Arc::new(lake::open(table(&self.place, &log, snapshot)?, Stores::default(), pinned)?))
    }
}

/// The newest version of the table in a directory.
///
/// # Errors
///
/// `Config`: there is no table. `World`: it cannot be read, or asks its readers for what is not known here.
pub fn open(path: &str) -> Result<Arc<dyn History>> {
    Delta { path: path.to_owned(), place: path.to_owned(), which: Which::Newest }.open(None)
}

fn number(text: &str, place: &str) -> Result<i64> {
    let number = text.strip_prefix("version ").and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        Error::Changed(format!("what was pinned of {place} is {text:?}, which is no version of a table"))
    })
}

fn table(place: &str, log: &Log, snapshot: Snapshot) -> Result<Table> {
    let version = format!("version {}", snapshot.version);
    let reading = || format!("reading {version} of the Delta table {place}");
    let told = |why: String| Error::world(reading(), why);
    let schema = schema::read(&snapshot.schema, snapshot.mapping).map_err(told)?;
    let constant = |name: &String| {
        let at = schema.columns.iter().position(|column| column.field.name() == name);
        at.ok_or_else(|| told(format!("its schema has no column {name:?}, by which it is partitioned")))
    };
    let constant = snapshot.partitions.iter().map(constant).collect::<Result<Vec<_>>>()?;
    let file = |add: &Add| {
        let path = log.path_of(&add.path);
        let value = |at: &usize| {
            let column = &schema.columns[*at];
            let text = add.partitions.get(&schema.physical[*at]).and_then(Value::as_str);
            schema::constant(text, column.field.data_type()).ok_or_else(|| {
                let (name, text) = (column.field.name(), text.unwrap_or_default());
                told(format!("{path}: the partition {name:?} is {text:?}, which is no {}", column.field.data_type()))
            })
        };
        let constants = constant.iter().map(value).collect::<Result<Vec<_>>>()?;
        let deleted = add.deletion.as_ref().map(|vector| deletion::read(log, vector).map(Arc::new)).transpose()?;
        Ok(DataFile { path, constants, deleted })
    };
    let files = snapshot.files.iter().map(file).collect::<Result<Vec<_>>>()?;
    Ok(Table { name: place.to_owned(), version, columns: schema.columns, constant, files })
}

#[cfg(test)]
mod tests;
