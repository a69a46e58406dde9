//! The spine: the rows that are asked for, with keys, a time and whatever else they have; and what is appended to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_clocks::Span;
use headwater_connectors::table::Table;
use headwater_operators::key_codec::KeyCodec;

use super::as_key::{fits, hint, shown};
use super::request::{Known, Request};
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::catalog::opened::Opened;
use crate::job::nearest::expected;

pub struct Spine {
    pub table: Table,
    pub known: Known,
    pub tick: Span,
    /// Its column of times.
    pub time: usize,
    /// Each distinct list of key columns.
    pub keys: Vec<KeyColumns>,
    /// The groups and views, in the order of the job, each with its place in `keys`.
    pub groups: Vec<(RowsId, usize)>,
    /// Its own columns, and those that are appended.
    schema: SchemaRef,
}

/// The columns of a spine that are the key of some group or view.
pub struct KeyColumns {
    pub columns: Vec<usize>,
    pub codec: KeyCodec,
}

impl Spine {
    /// Opens it, and looks whether it has what the groups need.
    pub fn open(opened: &Opened, groups: &[RowsId], request: &Request, scratch: &Path) -> Result<Spine, Failure> {
        let table = Table::of(&request.spine, scratch)?;
        let own = table.schema().clone();
        let time = time_column(&own, &request.time)?;
        let mut keys: Vec<KeyColumns> = vec![];
        let mut of_groups = vec![];
        for group in groups {
            let columns = key_columns(opened, *group, &own)?;
            let types: Vec<DataType> = key_of(opened, *group).map(|(_, of)| of.clone()).collect();
            let known = keys.iter().position(|known| known.columns == columns && known.codec.types() == types);
            let at = match known {
                Some(at) => at,
                None => {
                    let failed = |e| Failure::Running(format!("keys of {}: {e}", opened.job.name_of(*group)));
                    keys.push(KeyColumns { columns, codec: KeyCodec::new(&types).map_err(failed)? });
                    keys.len() - 1
                }
            };
            of_groups.push((*group, at));
        }
        let schema = whole_schema(opened, groups, &own)?;
        Ok(Spine { table, known: request.known, tick: opened.job.tick, time, keys, groups: of_groups, schema })
    }

    /// Of what is written.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn rows(&self) -> Option<u64> {
        self.table.rows()
    }

    /// How many columns are appended.
    pub fn appended(&self) -> usize {
        self.schema.fields().len() - self.table.schema().fields().len()
    }

    /// The columns that say what is asked for, ascending.
    pub fn asking(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.keys.iter().flat_map(|keys| keys.columns.iter().copied()).collect();
        all.push(self.time);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Rows of the spine beside those that were worked out for them.
    pub fn joined(&self, own: &RecordBatch, appended: impl Iterator<Item = ArrayRef>) -> Result<RecordBatch, Failure> {
        let columns = own.columns().iter().cloned().chain(appended).collect();
        let joined = RecordBatch::try_new(self.schema.clone(), columns);
        joined.map_err(|e| Failure::Running(format!("rows of the spine are not what its schema says: {e}")))
    }
}

/// The place of a column; `None`: there is none, or there are two.
fn find(schema: &Schema, name: &str) -> Result<Option<usize>, Failure> {
    let mut found = schema.fields().iter().enumerate().filter(|(_, field)| field.name() == name).map(|(at, _)| at);
    let first = found.next();
    match found.next() {
        Some(_) => Err(Failure::Usage(format!("the spine has two columns `{name}`: which is meant?"))),
        None => Ok(first),
    }
}

fn names(schema: &Schema) -> impl Iterator<Item = &str> {
    schema.fields().iter().map(|field| field.name().as_str())
}

fn time_column(schema: &Schema, name: &str) -> Result<usize, Failure> {
    let at = find(schema, name)?;
    let at = at.ok_or_else(|| {
        Failure::Usage(format!("--time: the spine has no column `{name}`: {}", expected(name, names(schema))))
    })?;
    match schema.field(at).data_type() {
        DataType::Timestamp(..) => Ok(at),
        other => Err(Failure::Usage(format!(
            "--time: the spine's column `{name}` is {}, expected a timestamp (in pandas: pd.to_datetime(..., utc=True))",
            shown(other)
        ))),
    }
}

/// The columns of the key of a group or a view, with their types.
fn key_of(opened: &Opened, rows: RowsId) -> impl Iterator<Item = (&str, &DataType)> {
    let shape = opened.shape(rows);
    shape.schema.fields()[..shape.keys].iter().map(|field| (field.name().as_str(), field.data_type()))
}

fn key_columns(opened: &Opened, group: RowsId, spine: &Schema) -> Result<Vec<usize>, Failure> {
    let rows = opened.job.name_of(group);
    let mut columns = vec![];
    for (name, data_type) in key_of(opened, group) {
        let at = find(spine, name)?.ok_or_else(|| {
            let near = expected(name, names(spine));
            Failure::Usage(format!("the spine has no column `{name}`, which is in the key of `{rows}`: {near}"))
        })?;
        let found = spine.field(at).data_type();
        if !fits(found, data_type) {
            return Err(Failure::Usage(format!(
                "the spine's column `{name}` is {}, in the key of `{rows}` it is {}: {}",
                shown(found),
                shown(data_type),
                hint(found, data_type)
            )));
        }
        columns.push(at);
    }
    Ok(columns)
}

fn whole_schema(opened: &Opened, groups: &[RowsId], own: &SchemaRef) -> Result<SchemaRef, Failure> {
    let mut fields: Vec<Arc<Field>> = own.fields().iter().cloned().collect();
    let mut known: BTreeMap<String, ()> = names(own).map(|name| (name.to_owned(), ())).collect();
    for group in groups {
        let shape = opened.shape(*group);
        for field in &shape.schema.fields()[shape.columns()] {
            let name = format!("{}__{}", shape.name, field.name());
            if known.insert(name.clone(), ()).is_some() {
                return Err(Failure::Usage(format!(
                    "the spine has a column `{name}` already, as the backfill would call one of `{}`: rename it, or leave it out",
                    shape.name
                )));
            }
            fields.push(Arc::new(Field::new(name, field.data_type().clone(), true)));
        }
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, own.metadata().clone())))
}

impl KeyColumns {
    /// Which rows of a batch have all of their keys, given these columns.
    pub fn are_there(columns: &[ArrayRef], row: usize) -> bool {
        columns.iter().all(|column| column.is_valid(row))
    }
}
