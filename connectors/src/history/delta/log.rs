//! A table's log: which files a version of it has, and how to read them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use headwater_clocks::{Time, WallClock};
use object_store::ObjectStore;
use serde_json::{Map, Value};

use crate::history::lake::{self, bytes_of, found};
use crate::history::parquet::open_pinned;
use crate::history::parquet::store::{Location, Stores, pin};
use crate::history::{History, Pinned, PinnedFile};
use crate::objects::runtime;
use crate::{Error, Result, Wanted};

/// What a reader here can do that a table may ask for.
const FEATURES: [&str; 10] = [
    "columnMapping",
    "deletionVectors",
    "inCommitTimestamp",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    // A column of this type cannot be used, and harms only who names it.
    "variantType",
    "variantType-preview",
];

/// Which version is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Which {
    Newest,
    Version(i64),
    /// The newest one that was there then.
    AsOf(WallClock),
}

/// What lies in a table's log.
pub(super) struct Log {
    table: String,
    /// Commits by version.
    commits: BTreeMap<i64, PinnedFile>,
    /// Checkpoints by version: their parts, and how many there have to be.
    checkpoints: BTreeMap<i64, Vec<Part>>,
}

struct Part {
    /// How many there are of its checkpoint. 0: it has a name of its own, and is the whole of it.
    of: usize,
    file: PinnedFile,
}

/// A table at a version.
#[derive(Default)]
pub(super) struct Snapshot {
    pub version: i64,
    /// As JSON.
    pub schema: String,
    pub mapping: Mapping,
    /// The columns that are partitions.
    pub partitions: Vec<String>,
    pub files: Vec<Add>,
}

/// By what files know columns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Mapping {
    #[default]
    No,
    ByName,
    ById,
}

/// A file of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Add {
    /// As the log has it: a URI, from the table's directory on.
    pub path: String,
    /// By the names that columns have in files.
    pub partitions: Map<String, Value>,
    pub deletion: Option<Deletion>,
}

/// Where it is said which rows of a file are deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deletion {
    pub kind: String,
    pub text: String,
    pub offset: Option<i64>,
    pub size: i64,
    pub rows: i64,
}

/// What actions have made of a table so far.
#[derive(Default)]
struct State {
    /// By path, and by what is deleted of it.
    files: HashMap<(String, Option<String>), Add>,
    schema: Option<String>,
    configuration: Map<String, Value>,
    partitions: Vec<String>,
    protocol: Option<(i64, Vec<String>)>,
    /// Files that a checkpoint has beside it.
    sidecars: Vec<String>,
    /// Where these and all others of the log lie.
    stores: Stores,
}

impl Log {
    /// # Errors
    /// `Config`: no table lies there, or no store is set up for it. `World`: it cannot be listed.
    pub fn open(table: &str) -> Result<Log> {
        let mut log = Log { table: table.to_owned(), commits: BTreeMap::new(), checkpoints: BTreeMap::new() };
        let directory = format!("{table}/_delta_log");
        let location = Stores::default().location(&directory)?;
        let Location { store, path } = location;
        let list = async { store.list_with_delimiter(Some(&path)).await };
        let listed = runtime()?.block_on(list).map_err(|e| Error::world(format!("listing {directory}"), e))?;
        for meta in listed.objects {
            let name = meta.location.filename().unwrap_or_default().to_owned();
            let file = pin(format!("{directory}/{name}"), &meta);
            log.add(&name, file);
        }
        if log.commits.is_empty() && log.checkpoints.is_empty() {
            let hint = "expected the directory of a Delta table, in which `_delta_log` lies";
            return Err(Error::Config(format!("there is no Delta table at {table}: {hint}")));
        }
        Ok(log)
    }

    fn add(&mut self, name: &str, file: PinnedFile) {
        let mut parts = name.split('.');
        let Some(version) = parts.next().filter(|n| n.len() == 20).and_then(|n| n.parse::<i64>().ok()) else { return };
        match parts.collect::<Vec<_>>()[..] {
            ["json"] => drop(self.commits.insert(version, file)),
            ["checkpoint", "parquet"] => self.checkpoints.entry(version).or_default().push(Part { of: 1, file }),
            ["checkpoint", _, of, "parquet"] => {
                if let Ok(of) = of.parse() {
                    self.checkpoints.entry(version).or_default().push(Part { of, file });
                }
            }
            ["checkpoint", _, "parquet" | "json"] => {
                self.checkpoints.entry(version).or_default().push(Part { of: 0, file });
            }
            _ => {}
        }
    }

    fn reading(&self, version: i64) -> String {
        format!("reading version {version} of the Delta table {}", self.table)
    }

    /// The table as it is asked for.
    ///
    /// # Errors
    /// `Config`: there is no such version, or the log does not reach back to it. `World`: the log cannot be read, or asks its readers for what is not
    /// known here.
    pub fn snapshot(&self, which: Which) -> Result<Snapshot> {
        let newest = self.commits.keys().chain(self.checkpoints.keys()).max().copied().unwrap_or_default();
        let version = match which {
            Which::Newest => newest,
            Which::Version(version) if version > newest => {
                let what = format!("the Delta table {} has no version {version}", self.table);
                return Err(Error::Config(format!("{what}: its newest is {newest}")));
            }
            Which::Version(version) => version,
            Which::AsOf(time) => self.as_of(time)?,
        };
        let mut state = State::default();
        let checkpoint = self.checkpoint(version);
        if let Some((at, files)) = &checkpoint {
            let told = |e: Error| Error::world(self.reading(version), format!("its checkpoint {at}: {e}"));
            state.restore(files.clone()).map_err(told)?;
            for name in std::mem::take(&mut state.sidecars) {
                let path = lake::unescaped(&name);
                let is_whole = path.starts_with('/') || path.contains("://");
                let path = if is_whole { path } else { self.beside(&format!("_delta_log/_sidecars/{path}")) };
                let file = found(&mut state.stores, &path).map_err(told)?;
                state.restore(vec![file]).map_err(told)?;
            }
        }
        let first = checkpoint.map_or(0, |(at, _)| at + 1);
        for at in first..=version {
            let Some(commit) = self.commits.get(&at) else { return Err(self.lacks(version, at)) };
            state.lines(commit)?;
        }
        state.snapshot(version).map_err(|why| Error::world(self.reading(version), why))
    }

    /// The newest whole checkpoint up to a version.
    fn checkpoint(&self, version: i64) -> Option<(i64, Vec<PinnedFile>)> {
        self.checkpoints.range(..=version).rev().find_map(|(at, parts)| {
            // A table may have a checkpoint more than once, in parts and in one.
            let is_whole =
                |part: &&Part| part.of < 2 || parts.iter().filter(|other| other.of == part.of).count() == part.of;
            let whole = parts.iter().find(is_whole)?;
            let of_it = |part: &&Part| part.of == whole.of && (whole.of > 1 || part.file.path == whole.file.path);
            let files = parts.iter().filter(of_it).map(|part| part.file.clone());
            Some((*at, files.collect()))
        })
    }

    fn lacks(&self, version: i64, commit: i64) -> Error {
        let of = format!("version {version} of the Delta table {}", self.table);
        Error::Config(format!(
            "{of} cannot be read any more: commit {commit} is gone from its log, which is cleaned in time"
        ))
    }

    /// The newest version that was there at a time.
    fn as_of(&self, time: WallClock) -> Result<i64> {
        for (version, commit) in self.commits.iter().rev() {
            if self.committed(commit)? <= time {
                return Ok(*version);
            }
        }
        let time =
            arrow::temporal_conversions::timestamp_us_to_datetime(time.us()).map(|t| t.to_string()).unwrap_or_default();
        Err(Error::Config(format!("the log of the Delta table {} does not reach back to {time} UTC", self.table)))
    }

    /// When a version came to be: as its commit says, else when that was written.
    fn committed(&self, commit: &PinnedFile) -> Result<WallClock> {
        let text = bytes_of(&mut Stores::default(), commit)?;
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first: Value = serde_json::from_slice(first).unwrap_or_default();
        let said = first["commitInfo"]["inCommitTimestamp"].as_i64();
        Ok(said.map_or(commit.modified, |ms| WallClock::from_us(ms.saturating_mul(1000))))
    }

    /// A file in the table's directory.
    pub fn beside(&self, name: &str) -> String {
        format!("{}/{name}", self.table)
    }

    /// Where a file lies that the log names by a URI.
    pub fn path_of(&self, uri: &str) -> String {
        let path = lake::unescaped(uri);
        let is_whole = path.starts_with('/') || path.contains("://");
        if is_whole { path } else { self.beside(&path) }
    }
}

impl State {
    /// Actions, one a line.
    fn lines(&mut self, file: &PinnedFile) -> Result<()> {
        let text = bytes_of(&mut self.stores, file)?;
        let told = |why: String| Error::world(format!("reading {}", file.path), why);
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let action = serde_json::from_slice(line).map_err(|e| told(format!("a line is no JSON: {e}")))?;
            self.apply(action).map_err(told)?;
        }
        Ok(())
    }

    /// A line of a commit.
    fn apply(&mut self, action: Value) -> Result<(), String> {
        let Value::Object(action) = action else { return Err("a line is no object".into()) };
        for (kind, of) in action {
            match kind.as_str() {
                "add" => self.add(&of)?,
                "remove" => drop(self.files.remove(&key(&of)?)),
                "metaData" => {
                    self.schema = Some(text(&of, "schemaString")?);
                    self.configuration = of["configuration"].as_object().cloned().unwrap_or_default();
                    let names = of["partitionColumns"].as_array().into_iter().flatten();
                    self.partitions = names.filter_map(Value::as_str).map(str::to_owned).collect();
                }
                "protocol" => {
                    let features = of["readerFeatures"].as_array().into_iter().flatten();
                    let features = features.filter_map(Value::as_str).map(str::to_owned).collect();
                    self.protocol = Some((of["minReaderVersion"].as_i64().unwrap_or(1), features));
                }
                "sidecar" => self.sidecars.push(text(&of, "path")?),
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, of: &Value) -> Result<(), String> {
        let deletion = deletion(&of["deletionVector"])?;
        let partitions = of["partitionValues"].as_object().cloned().unwrap_or_default();
        let add = Add { path: text(of, "path")?, partitions, deletion };
        self.files.insert(key(of)?, add);
        Ok(())
    }

    /// What a checkpoint says, each row of which is an action.
    fn restore(&mut self, mut files: Vec<PinnedFile>) -> Result<()> {
        if let [one] = &files[..]
            && one.path.ends_with(".json")
        {
            return self.lines(one);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let history = open_pinned(self.stores.clone(), Pinned::of(files))?;
        let schema = history.schema().unwrap_or_else(|| Arc::new(Schema::empty()));
        let columns =
            ["add", "metaData", "protocol", "sidecar"].iter().filter_map(|name| schema.field_with_name(name).ok());
        let columns: Vec<Field> = columns.map(narrowed).collect();
        let wanted = Wanted { schema: Arc::new(Schema::new(columns)), time_unit_ns: 1_000_000 };
        for piece in history.pieces(&[])? {
            for records in history.read(&piece, &wanted)? {
                let batch = records?.batch;
                for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                    for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
                        let action = Value::Object(Map::from_iter([(field.name().clone(), json(column, row))]));
                        self.apply(action).map_err(|why| Error::world("reading it", why))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn snapshot(self, version: i64) -> Result<Snapshot, String> {
        let (Some(schema), Some((reader, features))) = (self.schema, self.protocol) else {
            return Err("its log does not say what its columns are".into());
        };
        let unknown = features.iter().find(|feature| !FEATURES.contains(&feature.as_str()));
        if let Some(feature) = unknown.filter(|_| reader >= 3) {
            return Err(format!("it asks its readers for {feature:?}, which is not known here"));
        }
        if reader > 3 {
            return Err(format!("it asks for readers of version {reader}: up to 3 is known here"));
        }
        let mapping = match self.configuration.get("delta.columnMapping.mode").and_then(Value::as_str) {
            None | Some("none") => Mapping::No,
            Some("name") => Mapping::ByName,
            Some("id") => Mapping::ById,
            Some(other) => return Err(format!("it maps its columns by {other:?}, which is not known here")),
        };
        let files = self.files.into_values().collect();
        Ok(Snapshot { version, schema, mapping, partitions: self.partitions, files })
    }
}

/// What tells an action's file apart: its path, and what of it is deleted.
fn key(of: &Value) -> Result<(String, Option<String>), String> {
    let deletion = deletion(&of["deletionVector"])?;
    let deletion = deletion.map(|of| format!("{}{}@{}", of.kind, of.text, of.offset.unwrap_or_default()));
    Ok((text(of, "path")?, deletion))
}

fn deletion(of: &Value) -> Result<Option<Deletion>, String> {
    if of.is_null() {
        return Ok(None);
    }
    let number = |name: &str| of[name].as_i64();
    let missing = || "a deletion vector is not whole".to_owned();
    Ok(Some(Deletion {
        kind: text(of, "storageType")?,
        text: text(of, "pathOrInlineDv")?,
        offset: number("offset"),
        size: number("sizeInBytes").ok_or_else(missing)?,
        rows: number("cardinality").ok_or_else(missing)?,
    }))
}

fn text(of: &Value, name: &str) -> Result<String, String> {
    of[name].as_str().map(str::to_owned).ok_or_else(|| format!("an action has no `{name}`"))
}

/// The fields of a checkpoint's column that are looked at.
fn narrowed(field: &Field) -> Field {
    const USED: [&str; 9] = [
        "path",
        "partitionValues",
        "deletionVector",
        "schemaString",
        "configuration",
        "partitionColumns",
        "minReaderVersion",
        "readerFeatures",
        "format",
    ];
    let DataType::Struct(fields) = field.data_type() else { return field.clone() };
    let used = fields.iter().filter(|field| USED.contains(&field.name().as_str()) && field.name() != "format");
    field.clone().with_data_type(DataType::Struct(used.cloned().collect()))
}

/// A value of a checkpoint as a commit has it.
fn json(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Struct(fields) => {
            let inside = fields.iter().zip(column.as_struct().columns());
            Value::Object(inside.map(|(field, column)| (field.name().clone(), json(column, row))).collect())
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            Value::Array((0..items.len()).map(|at| json(&items, at)).collect())
        }
        DataType::Map(..) => {
            let pairs = column.as_map().value(row);
            let (keys, values) = (pairs.column(0), pairs.column(1));
            let pair = |at| Some((json(keys, at).as_str()?.to_owned(), json(values, at)));
            Value::Object((0..pairs.len()).filter_map(pair).collect())
        }
        _ => Value::Null,
    }
}
