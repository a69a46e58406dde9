//! A table's metadata: its schemas, its snapshots, and what they are called.

use headwater_clocks::{Time, WallClock};
use serde_json::Value;

use crate::history::lake::{Column, Place};
use crate::{Error, Result};

/// What a table is called at no snapshot: nothing was written to it yet.
pub(super) const EMPTY: &str = "no snapshot";

/// Which snapshot is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Which {
    /// Of the branch `main`.
    Newest,
    Snapshot(i64),
    Tag(String),
    Branch(String),
    /// The newest one of then.
    AsOf(WallClock),
    /// None was there when it was pinned.
    Empty,
}

impl Which {
    /// The one that was pinned.
    ///
    /// # Errors
    /// `Changed`: the text names no snapshot.
    pub fn pinned(text: &str, shown: &str) -> Result<Which> {
        let number = || text.strip_prefix("snapshot ").and_then(|id| id.parse().ok());
        if text == EMPTY {
            return Ok(Which::Empty);
        }
        let wrong =
            || Error::Changed(format!("what was pinned of {shown} is {text:?}, which is no snapshot of a table"));
        number().map(Which::Snapshot).ok_or_else(wrong)
    }
}

pub(super) struct Metadata(Value);

pub(super) struct Snapshot<'a> {
    pub id: i64,
    pub of: &'a Value,
}

/// A snapshot, and the schema by which it is seen.
pub(super) struct PinnedSnapshot<'a> {
    pub schema: &'a Value,
    pub snapshot: Option<Snapshot<'a>>,
}

impl Metadata {
    /// Reads a metadata file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Metadata, String> {
        let metadata: Value = serde_json::from_slice(text).map_err(|e| format!("its metadata is no JSON: {e}"))?;
        match metadata["format-version"].as_i64() {
            Some(1 | 2) => Ok(Metadata(metadata)),
            Some(version) => Err(format!("it is of the format {version}: 1 and 2 are read")),
            None => Err("its metadata has no `format-version`".into()),
        }
    }

    /// The snapshot that is asked for.
    ///
    /// # Errors
    /// There is no such snapshot, or it has no schema, as the end of a message that begins with the table.
    pub fn snapshot(&self, which: &Which) -> Result<PinnedSnapshot<'_>, String> {
        let of = &self.0;
        let newest = || of["current-snapshot-id"].as_i64().filter(|id| *id >= 0);
        let (id, is_past) = match which {
            Which::Empty => (None, false),
            Which::Newest => (newest(), false),
            Which::Snapshot(id) => (Some(*id), true),
            Which::Branch(name) if name == "main" && of["refs"][name].is_null() => (newest(), false),
            Which::Branch(name) => (Some(self.named(name, "branch")?), false),
            Which::Tag(name) => (Some(self.named(name, "tag")?), true),
            Which::AsOf(time) => (Some(self.as_of(*time)?), true),
        };
        let Some(id) = id else { return Ok(PinnedSnapshot { schema: self.schema(None)?, snapshot: None }) };
        let all = || of["snapshots"].as_array().into_iter().flatten();
        let found = all().find(|snapshot| snapshot["snapshot-id"].as_i64() == Some(id));
        let snapshot = found.ok_or_else(|| format!("has no snapshot {id}: it may have expired"))?;
        let schema = self.schema(snapshot["schema-id"].as_i64().filter(|_| is_past))?;
        Ok(PinnedSnapshot { schema, snapshot: Some(Snapshot { id, of: snapshot }) })
    }

    fn named(&self, name: &str, kind: &str) -> Result<i64, String> {
        let of = &self.0["refs"][name];
        let is_it = of["type"].as_str() == Some(kind);
        of["snapshot-id"].as_i64().filter(|_| is_it).ok_or_else(|| {
            let all = self.0["refs"].as_object().into_iter().flatten();
            let known = all.filter(|(_, of)| of["type"].as_str() == Some(kind)).map(|(name, _)| format!("`{name}`"));
            let known = known.collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "there is none".to_owned() } else { format!("there is {known}") };
            format!("has no {kind} `{name}`: {known}")
        })
    }

    /// The snapshot that was the newest of `main` at a time.
    fn as_of(&self, time: WallClock) -> Result<i64, String> {
        let logged = self.0["snapshot-log"].as_array().filter(|log| !log.is_empty());
        let all = logged.or(self.0["snapshots"].as_array()).into_iter().flatten();
        let then = all.filter_map(|entry| Some((entry["timestamp-ms"].as_i64()?, entry["snapshot-id"].as_i64()?)));
        let newest =
            then.filter(|(ms, _)| WallClock::from_us(ms.saturating_mul(1000)) <= time).max_by_key(|(ms, _)| *ms);
        let time = || {
            arrow::temporal_conversions::timestamp_us_to_datetime(time.us()).map(|t| t.to_string()).unwrap_or_default()
        };
        newest.map(|(_, id)| id).ok_or_else(|| format!("has no snapshot as old as {} UTC", time()))
    }

    /// `None`: today's.
    fn schema(&self, id: Option<i64>) -> Result<&Value, String> {
        let of = &self.0;
        let id = id.or(of["current-schema-id"].as_i64());
        let known = of["schemas"].as_array().into_iter().flatten();
        let found = known.into_iter().find(|schema| schema["schema-id"].as_i64() == id);
        found.or(Some(&of["schema"]).filter(|schema| schema.is_object())).ok_or_else(|| "has no schema".into())
    }

    /// What columns are called in files that do not number them; null where the table does not say it.
    pub fn names(&self) -> Value {
        let text = self.0["properties"]["schema.name-mapping.default"].as_str();
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    fn specs(&self) -> Vec<(i64, &Value)> {
        let all = self.0["partition-specs"].as_array().into_iter().flatten();
        let all: Vec<_> = all.map(|spec| (spec["spec-id"].as_i64().unwrap_or_default(), &spec["fields"])).collect();
        if all.is_empty() { vec![(0, &self.0["partition-spec"])] } else { all }
    }

    /// In which field of its partitions a column lies as it is, by the number of how the table is laid out. `None`: it does not.
    pub fn partition_field(&self, spec: i64, column: &Column) -> Option<&str> {
        let Place::Numbered { id, .. } = &column.place else { return None };
        let (_, fields) = self.specs().into_iter().find(|(of, _)| *of == spec)?;
        let is_it = |field: &&Value| {
            field["source-id"].as_i64() == Some(i64::from(*id)) && field["transform"].as_str() == Some("identity")
        };
        fields.as_array()?.iter().find(is_it)?["name"].as_str()
    }

    /// The columns that files have in all rows, however the table was laid out when they were written.
    pub fn constant(&self, columns: &[Column]) -> Vec<usize> {
        let specs = self.specs();
        let is_constant = |column: &Column| specs.iter().all(|(spec, _)| self.partition_field(*spec, column).is_some());
        (0..columns.len()).filter(|at| is_constant(&columns[*at])).collect()
    }
}
