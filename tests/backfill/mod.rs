//! Backfills: rows of a spine, against what runs have published, against a model that looks at every event for each label, and
//! against everything that a spine may be.
//!
//! | | |
//! |---|---|
//! | `as_served` | the changelog of runs, made a spine: no difference |
//! | `looked_up` | the same of groups that look up in tables |
//! | `replayed` | the same of views, of links, of groups that look up in groups, and of events that replace one another |
//! | `served` | the same of live runs, with what they admitted late |
//! | `verified` | what live runs served, by their serve logs, against backfills |
//! | `random` | random spines, and the model |
//! | `spines` | types, names, formats, what is carried through, what is refused |
//! | `topic` | a history and a Kafka topic as one |
//! | `processes` | the same bytes for any number of processes, which end together |
//! | `running` | the same bytes for any number of threads and any memory; gaps; what is stopped leaves nothing |

mod as_served;
mod data;
mod looked_up;
mod processes;
mod random;
mod replayed;
mod running;
mod served;
mod spines;
mod topic;
mod verified;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use headwater_connectors::table::{Table, TableWriter};

use crate::support::*;

/// Writes a table, by its name's ending.
pub fn write_table(path: &Path, batch: &RecordBatch) {
    let mut writer = TableWriter::create(path.to_str().unwrap(), &batch.schema(), Path::new("/nowhere")).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
}

pub fn read_table(path: &Path) -> RecordBatch {
    let table = Table::open(path.to_str().unwrap(), Path::new("/nowhere")).unwrap();
    let batches: Vec<RecordBatch> = table.read(None).unwrap().map(|batch| batch.unwrap()).collect();
    concat_batches(table.schema(), &batches).unwrap()
}

/// Of `job.toml` in a directory; unless something else is said, of `spine.parquet` and its column `at`.
pub fn backfill(dir: &Path, args: &[&str]) -> Running {
    backfill_with(dir, args, &[])
}

/// With more in its environment.
pub fn backfill_with(dir: &Path, args: &[&str], env: &[(&str, String)]) -> Running {
    let unsaid = [["--spine", "spine.parquet"], ["--time", "at"]].into_iter().filter(|[flag, _]| !args.contains(flag));
    let mut command = headwater();
    command.current_dir(dir).args(["backfill", "job.toml"]).args(unsaid.flatten()).args(args);
    spawn(command.env("NO_COLOR", "1").envs(env.iter().cloned()))
}

pub fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}

pub fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

pub fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values))
}
