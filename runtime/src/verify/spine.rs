//! The serve log as spines: for each group or view the keys that were served, when, and what.
//!
//! | column | what |
//! |---|---|
//! | the key columns | of the group's types |
//! | [`TIME`] | when it was asked for |
//! | [`MOMENT`] | the tick that the row was of: the store had every row up to its `as_of`, and this one up to its last change |
//! | [`ROW`] | the row's JSON; null: there was none |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::types::TimestampMicrosecondType;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_clocks::{Tick, Time, WallClock};
use headwater_connectors::storage::Storage;
use headwater_connectors::table::{Table, TableWriter};
use serde::Serialize;
use serde_json::value::RawValue;

use super::request::Request;
use crate::backfill::asked::of_moments;
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::catalog::opened::Opened;
use crate::serve::texts;
use crate::serve_log::{parse_name, schema as log_schema};

/// The spine's own columns beside the key: no group's key can be called so in SQL.
pub const TIME: &str = "served: time";
pub const MOMENT: &str = "served: moment";
pub const ROW: &str = "served: row";

const BATCH_ROWS: usize = 8192;

/// The spines of all of a job that has rows of moments: trailing and lifetime groups, views and links.
pub struct Spines {
    pub groups: Vec<Spine>,
    pub left_out: LeftOut,
}

pub struct Spine {
    /// A group, or behind them a view.
    pub group: RowsId,
    pub path: PathBuf,
    pub rows: u64,
    /// Rows of the log whose key is none of the group's.
    pub unreadable: u64,
}

/// What of the log is not held against anything.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LeftOut {
    /// Rows of a tick that is in no checkpoint yet: what was admitted is not known.
    pub after_the_checkpoint: u64,
    /// There was no row, and the store was not whole yet.
    pub before_the_store_was_whole: u64,
    /// By name, rows of groups that the job does not have any more, or that no backfill gives.
    pub other_groups: BTreeMap<String, u64>,
}

/// Reads what of the log is asked for. `upto`: the newest tick that is to be compared.
pub fn read(
    opened: &Opened,
    path: &str,
    request: &Request,
    upto: Option<Tick>,
    scratch: &Path,
) -> Result<Spines, Failure> {
    let mut writing: BTreeMap<String, Writing> = BTreeMap::new();
    for group in of_moments(&opened.job) {
        writing.insert(opened.job.name_of(group).to_owned(), Writing::begin(opened, group, scratch)?);
    }
    let mut left_out = LeftOut::default();
    let storage = Storage::open(path)?;
    for name in storage.list("")? {
        let Some(times) = parse_name(&name) else { continue };
        if request.meets(times.first, times.last) {
            let file = storage.shown(&name);
            let table = Table::open(&file, scratch)?;
            if table.schema().fields() != log_schema().fields() {
                return Err(Failure::Running(format!("{file}: it is no file of a serve log")));
            }
            for batch in table.read(None)? {
                let asked = Range { request, upto: upto.map(Time::us) };
                take(&Served::open(&batch?), &asked, &mut writing, &mut left_out)?;
            }
        }
    }
    let groups = writing.into_values().map(Writing::finish).collect::<Result<Vec<_>, Failure>>()?;
    Ok(Spines { groups, left_out })
}

struct Range<'a> {
    request: &'a Request,
    upto: Option<i64>,
}

/// A batch of a file.
struct Served<'a> {
    groups: &'a StringArray,
    keys: &'a StringArray,
    times: &'a TimestampMicrosecondArray,
    rows: &'a StringArray,
    changed_at: &'a TimestampMicrosecondArray,
    as_of: &'a TimestampMicrosecondArray,
}

impl<'a> Served<'a> {
    fn open(batch: &'a RecordBatch) -> Served<'a> {
        let times = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>();
        Served {
            groups: batch.column(0).as_string(),
            keys: batch.column(1).as_string(),
            times: times(2),
            rows: batch.column(3).as_string(),
            changed_at: times(4),
            as_of: times(5),
        }
    }

    /// The tick that a row was of. `None`: nobody can say.
    fn moment(&self, row: usize) -> Option<i64> {
        let value = |times: &TimestampMicrosecondArray| times.is_valid(row).then(|| times.value(row));
        value(self.as_of).max(value(self.changed_at))
    }
}

fn take(
    served: &Served,
    asked: &Range,
    writing: &mut BTreeMap<String, Writing>,
    left_out: &mut LeftOut,
) -> Result<(), Failure> {
    for row in (0..served.groups.len()).filter(|row| asked.request.has(WallClock::from_us(served.times.value(*row)))) {
        let group = served.groups.value(row);
        let Some(writing) = writing.get_mut(group) else {
            *left_out.other_groups.entry(group.to_owned()).or_default() += 1;
            continue;
        };
        match served.moment(row) {
            None => left_out.before_the_store_was_whole += 1,
            Some(moment) if asked.upto.is_some_and(|upto| moment > upto) => left_out.after_the_checkpoint += 1,
            Some(moment) => {
                let text = served.rows.is_valid(row).then(|| served.rows.value(row).to_owned());
                writing.push(served.keys.value(row), (served.times.value(row), moment), text)?;
            }
        }
    }
    Ok(())
}

/// The spine of a group, on its way.
struct Writing {
    group: RowsId,
    path: PathBuf,
    keys: Vec<(String, DataType)>,
    schema: SchemaRef,
    writer: TableWriter,
    rows: u64,
    unreadable: u64,
    /// By key column, the JSON of the values that wait.
    texts: Vec<Vec<Box<RawValue>>>,
    times: Vec<(i64, i64)>,
    served: Vec<Option<String>>,
}

impl Writing {
    fn begin(opened: &Opened, group: RowsId, scratch: &Path) -> Result<Writing, Failure> {
        let shape = opened.shape(group);
        let of_key = shape.schema.fields()[..shape.keys].iter();
        let keys: Vec<_> = of_key.map(|field| (field.name().clone(), field.data_type().clone())).collect();
        let mut fields: Vec<Field> = keys.iter().map(|(name, of)| Field::new(name, of.clone(), true)).collect();
        let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        fields.extend([Field::new(TIME, time(), false), Field::new(MOMENT, time(), false)]);
        fields.push(Field::new(ROW, DataType::Utf8, true));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let path = scratch.join(format!("spine-{}.parquet", shape.name));
        let writer = TableWriter::create(&path.to_string_lossy(), &schema, scratch)?;
        let texts = keys.iter().map(|_| vec![]).collect();
        let (rows, unreadable, times, served) = (0, 0, vec![], vec![]);
        Ok(Writing { group, path, keys, schema, writer, rows, unreadable, texts, times, served })
    }

    fn push(&mut self, key: &str, times: (i64, i64), row: Option<String>) -> Result<(), Failure> {
        let Some(values) = self.key(key) else {
            self.unreadable += 1;
            return Ok(());
        };
        self.texts.iter_mut().zip(values).for_each(|(texts, value)| texts.push(value));
        self.times.push(times);
        self.served.push(row);
        self.rows += 1;
        if self.served.len() == BATCH_ROWS { self.write() } else { Ok(()) }
    }

    /// The values of a key, in the order of its columns; `None`: it is not one of the group's.
    fn key(&self, text: &str) -> Option<Vec<Box<RawValue>>> {
        let mut values: IndexedKey = serde_json::from_str(text).ok()?;
        let is_value = |value: &RawValue, of: &DataType| {
            value.get() != "null" && texts::column(&[Some(value.get())], of).is_ok_and(|column| column.is_valid(0))
        };
        let found: Option<Vec<_>> = self
            .keys
            .iter()
            .map(|(name, of)| values.remove(name).filter(|value| is_value(value.as_ref(), of)))
            .collect();
        found.filter(|_| values.is_empty())
    }

    fn write(&mut self) -> Result<(), Failure> {
        let failed = |e: arrow::error::ArrowError| Failure::Running(format!("reading the serve log: {e}"));
        let mut columns: Vec<ArrayRef> = vec![];
        for (texts, (_, of)) in self.texts.iter_mut().zip(&self.keys) {
            let of_column: Vec<Box<RawValue>> = std::mem::take(texts);
            let of_column: Vec<Option<&str>> = of_column.iter().map(|text| Some(text.get())).collect();
            columns.push(texts::column(&of_column, of).map_err(failed)?);
        }
        let times = std::mem::take(&mut self.times);
        let utc = |times: TimestampMicrosecondArray| -> ArrayRef { Arc::new(times.with_timezone("UTC")) };
        columns.push(utc(TimestampMicrosecondArray::from_iter_values(times.iter().map(|(time, _)| *time))));
        columns.push(utc(TimestampMicrosecondArray::from_iter_values(times.iter().map(|(_, moment)| *moment))));
        columns.push(Arc::new(StringArray::from_iter(std::mem::take(&mut self.served))));
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns).map_err(failed)?)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Spine, Failure> {
        if !self.served.is_empty() {
            self.write()?;
        }
        self.writer.finish()?;
        Ok(Spine { group: self.group, path: self.path, rows: self.rows, unreadable: self.unreadable })
    }
}

type IndexedKey = BTreeMap<String, Box<RawValue>>;
