//! An Iceberg table as a kind of history: the files of one snapshot of it.
//!
//! ```text
//! catalog -> metadata (JSON) -> a snapshot's list of manifests (Avro) -> manifests (Avro) -> data files, and files of deleted positions
//! ```
//!
//! Tables of the formats 1 and 2, in Parquet. Columns go by their numbers, so that one that was renamed is what it was. Rows that were deleted
//! by their position are left out; a table with other deletes is refused by their name.

mod catalog;
mod deletes;
mod lent;
mod manifest;
mod metadata;
mod schema;
mod vended;

use std::sync::Arc;

use super::lake::{self, DataFile, Table};
use super::parquet::store::Stores;
use super::{History, HistoryConfig, HistoryKind, Pinned};
use crate::settings::{Kind, Settings};
use crate::{Error, Result};
use catalog::Catalog;
use deletes::Deletes;
use lent::OfCatalog;
use metadata::{Metadata, Which};

/// Iceberg tables as a kind of history.
pub static ICEBERG: &IcebergKind = &IcebergKind;

/// See [`ICEBERG`].
#[derive(Debug)]
pub struct IcebergKind;

/// The keys of which one may say which snapshot it is.
const WHICH: [&str; 4] = ["snapshot", "tag", "branch", "as_of"];

impl Kind for IcebergKind {
    fn name(&self) -> &'static str {
        "iceberg"
    }

    fn keys(&self) -> Vec<&'static str> {
        [&["metadata", "catalog", "table"], &WHICH[..]].concat()
    }
}

impl HistoryKind for IcebergKind {
    fn title(&self) -> &'static str {
        "Iceberg"
    }

    fn gives_columns(&self) -> bool {
        true
    }

    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn HistoryConfig> {
        let place = place(settings);
        let shown = match &place {
            MetadataAt::Metadata(path) => path.clone(),
            MetadataAt::Catalog(catalog) => catalog.shown(),
            MetadataAt::Nowhere => String::new(),
        };
        Arc::new(Iceberg { place, shown, which: which(settings) })
    }
}

/// Where a table's metadata is.
#[derive(Debug)]
enum MetadataAt {
    Metadata(String),
    Catalog(Arc<Catalog>),
    /// The job does not say it.
    Nowhere,
}

fn place(settings: &mut dyn Settings) -> MetadataAt {
    match (settings.has("metadata"), settings.has("catalog")) {
        (true, true) => {
            let at = settings.at();
            settings.error(at, "`metadata` and `catalog` both say where the table is: leave one of them out".into());
            MetadataAt::Nowhere
        }
        (false, true) => {
            Catalog::read(settings).map_or(MetadataAt::Nowhere, |catalog| MetadataAt::Catalog(Arc::new(catalog)))
        }
        (is_there, false) => {
            if !is_there {
                let hint = "say where the table's metadata is, like metadata = \"lake/payments/metadata/v3.metadata.json\", \
                            or give `catalog` and `table`";
                settings.missing("metadata", hint);
            }
            if let Some(table) = settings.text("table") {
                settings.error(table.at, "`table` goes with `catalog` only".into());
            }
            settings.glob("metadata").map_or(MetadataAt::Nowhere, |path| MetadataAt::Metadata(lake::literal(&path)))
        }
    }
}

fn which(settings: &mut dyn Settings) -> Which {
    let given: Vec<&str> = WHICH.into_iter().filter(|key| settings.has(key)).collect();
    if let [one, other, ..] = given[..] {
        let at = settings.at();
        settings.error(at, format!("`{one}` and `{other}` both say which snapshot it is: leave one of them out"));
    }
    let snapshot = settings.integer("snapshot", 0, i64::MAX).map(Which::Snapshot);
    let tag = settings.text("tag").map(|text| Which::Tag(text.text));
    let branch = settings.text("branch").map(|text| Which::Branch(text.text));
    let as_of = lake::instant(settings, "as_of").map(Which::AsOf);
    snapshot.or(tag).or(branch).or(as_of).unwrap_or(Which::Newest)
}

#[derive(Debug)]
struct Iceberg {
    place: MetadataAt,
    /// As messages name it.
    shown: String,
    which: Which,
}

impl HistoryConfig for Iceberg {
    fn path(&self) -> &str {
        &self.shown
    }

    fn open(&self, pinned: Option<&Pinned>) -> Result<Arc<dyn History>> {
        let which = match pinned.and_then(|pinned| pinned.version.as_deref()) {
            Some(text) => Which::pinned(text, &self.shown)?,
            None => self.which.clone(),
        };
        let opened = self.metadata().and_then(|(metadata, mut stores)| {
            let table = self.table(&mut stores, &metadata, &which)?;
            lake::open(table, stores, pinned)
        });
        match (opened, pinned) {
            // It was there.
            (Err(Error::Config(what)), Some(_)) => Err(Error::Changed(what)),
            (opened, _) => Ok(Arc::new(opened?)),
        }
    }
}

impl Iceberg {
    /// The table's metadata, and the stores in which its files are.
    fn metadata(&self) -> Result<(Metadata, Stores)> {
        let mut stores = Stores::default();
        let text = match &self.place {
            MetadataAt::Metadata(path) => {
                let path = manifest::local(path);
                let file = lake::found(&mut stores, &path).map_err(|e| match e {
                    Error::Changed(_) => Error::Config(format!("there is no metadata of an Iceberg table at {path}")),
                    other => other,
                })?;
                lake::bytes_of(&mut stores, &file)?.to_vec()
            }
            MetadataAt::Catalog(catalog) => {
                let answer = catalog.asked()?;
                stores = Stores::of(Arc::new(OfCatalog { catalog: catalog.clone(), vended: answer.vended }));
                answer.metadata
            }
            MetadataAt::Nowhere => return Err(Error::Config("it is not said where the Iceberg table is".into())),
        };
        let metadata = Metadata::parse(&text).map_err(|why| self.wrong(&why))?;
        Ok((metadata, stores))
    }

    fn wrong(&self, why: &str) -> Error {
        Error::world(format!("reading the Iceberg table {}", self.shown), why)
    }

    fn table(&self, stores: &mut Stores, metadata: &Metadata, which: &Which) -> Result<Table> {
        let found =
            metadata.snapshot(which).map_err(|why| Error::Config(format!("the Iceberg table {} {why}", self.shown)))?;
        let columns = schema::read(found.schema, metadata.names()).map_err(|why| self.wrong(&why))?;
        let Some(snapshot) = found.snapshot else {
            return Ok(Table {
                name: self.shown.clone(),
                version: metadata::EMPTY.into(),
                columns,
                constant: vec![],
                files: vec![],
            });
        };
        let version = format!("snapshot {}", snapshot.id);
        let constant = metadata.constant(&columns);
        let wanted = constant.iter().map(|at| &columns[*at]).collect::<Vec<_>>();
        let manifests = manifest::read(stores, snapshot, metadata, &wanted)?;
        let deletes = Deletes::read(stores, &manifests.deletes)?;
        let file = |file: manifest::DataFile| {
            let deleted = deletes.of(&file);
            DataFile { path: file.path, constants: file.constants, deleted }
        };
        let files = manifests.data.into_iter().map(file).collect();
        Ok(Table { name: self.shown.clone(), version, columns, constant, files })
    }
}

#[cfg(test)]
mod tests;
