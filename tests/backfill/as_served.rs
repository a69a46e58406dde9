//! What was served is what is trained on: every row that runs have published, asked for at its tick, comes back to the bit.
//!
//! ```text
//! run              -> changes.jsonl    at each tick the rows that came, and those that went
//! changes.jsonl    -> a spine          the key and the tick of each; a moment before it; between it and the next tick
//! backfill         -> rows             as the changelog has them; where a row went, that of a key without events
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use headwater_connectors::format::text::row_text;
use serde_json::Value;

use super::data::{EVERY_AGGREGATE, Log, Order, Sides, job, log, write_history, write_stream};
use super::{ints, read_table, texts, times, write_table};
use crate::support::*;

/// What of a key was published: at each tick the row that came, or none.
pub type Published = BTreeMap<(String, Key), BTreeMap<i64, Option<String>>>;

/// `k`; and `q`, where it is in the key.
pub type Key = (String, Option<i64>);

const GROUPS: [&str; 2] = ["every", "pairs"];

/// Of the lines from a tick on.
pub fn published(dir: &Path, from: i64) -> Published {
    published_of(dir, from, &GROUPS)
}

/// The same of groups and views that somebody names.
pub fn published_of(dir: &Path, from: i64, names: &[&str]) -> Published {
    let mut all = Published::new();
    for line in std::fs::read_to_string(dir.join("changes.jsonl")).unwrap().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let Some(group) = value["features"].as_str() else { continue };
        let time = micros(value["time"].as_str().unwrap());
        if time < from || !names.contains(&group) {
            continue;
        }
        let key = (value["key"]["k"].as_str().unwrap().to_owned(), value["key"]["q"].as_i64());
        let row = line.split_once("\"row\":").unwrap().1.trim_end_matches('}').to_owned() + "}";
        let rows = all.entry((group.to_owned(), key)).or_default();
        // The row that comes follows the one that goes.
        rows.insert(time, (value["diff"] == 1).then_some(row));
    }
    all
}

/// Labels of a group: (key, time, the row that was published then).
type Label<'a> = (&'a Key, i64, Option<String>);

fn labels<'a>(published: &'a Published, group: &str, tick: i64) -> Vec<Label<'a>> {
    let mut labels = vec![];
    for ((_, key), rows) in published.iter().filter(|((name, _), _)| name == group) {
        let mut before: Option<&Option<String>> = None;
        for (time, row) in rows {
            // A moment before it the old row was still there; until the next tick the new one is.
            labels.extend(before.map(|before| (key, time - 1, before.clone())));
            labels.push((key, *time, row.clone()));
            labels.push((key, time + tick - 1, row.clone()));
            before = Some(row);
        }
    }
    labels
}

/// The rows that a backfill appended for a group, as the changelog writes rows.
fn appended(batch: &RecordBatch, group: &str) -> Vec<String> {
    let prefix = format!("{group}__");
    let schema = batch.schema();
    let of_group = schema.fields().iter().enumerate().filter_map(|(at, f)| Some((at, f.name().strip_prefix(&prefix)?)));
    let (places, fields): (Vec<usize>, Vec<Field>) =
        of_group.map(|(at, name)| (at, Field::new(name, schema.field(at).data_type().clone(), true))).unzip();
    let columns = places.iter().map(|at| batch.column(*at).clone()).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    (0..batch.num_rows()).map(|row| row_text(&batch, 0..batch.num_columns(), row)).collect()
}

/// Rows that were asked for once more.
#[derive(Default)]
pub struct Compared {
    pub compared: usize,
    /// Those that are others now.
    pub different: Vec<String>,
}

/// Asks for everything that was published. Returns how many rows were compared.
pub fn assert_same(dir: &Path, published: &Published, workers: usize, about: &str) -> usize {
    let found = compare(dir, published, SECOND, &["--workers", &workers.to_string()], &[]);
    assert!(found.different.is_empty(), "{about}: {}", found.different[0]);
    found.compared
}

/// Asks for everything that was published.
pub fn compare(dir: &Path, published: &Published, tick: i64, more: &[&str], env: &[(&str, String)]) -> Compared {
    let mut all = Compared::default();
    let groups: BTreeSet<&str> = published.keys().map(|(group, _)| group.as_str()).collect();
    for group in groups {
        let mut labels = labels(published, group, tick);
        // In another order than time's.
        labels.reverse();
        let keys = labels.iter().map(|((k, _), ..)| Some(k.as_str())).chain([Some("nobody")]);
        let qs = labels.iter().map(|((_, q), ..)| *q).chain([None]);
        let at = labels.iter().map(|(_, at, _)| Some(*at)).chain([labels.iter().map(|(_, at, _)| *at).min()]);
        let spine = RecordBatch::try_from_iter_with_nullable([
            ("k", texts(keys), true),
            ("q", ints(qs), true),
            ("at", times(at), true),
        ]);
        write_table(&dir.join("spine.parquet"), &spine.unwrap());
        let args = ["backfill", "job.toml", "--spine", "spine.parquet", "--time", "at", "--out", "out.parquet"];
        let mut command = headwater();
        command.current_dir(dir).args(args).args(["--features", group]).args(more).envs(env.iter().cloned());
        finish(spawn(&mut command), 0);
        let rows = appended(&read_table(&dir.join("out.parquet")), group);
        let empty = rows.last().unwrap();
        for (label, found) in labels.iter().zip(&rows) {
            let expected = label.2.as_ref().unwrap_or(empty);
            if found != expected {
                all.different.push(format!(
                    "{group} of {:?} at {}:\n  published {expected}\n  now       {found}",
                    label.0, label.1
                ));
            }
        }
        all.compared += labels.len();
    }
    all
}

pub fn run_to_end(dir: &Path, more: &[&str]) {
    let args = ["run", "job.toml", "--until-end"];
    finish(spawn(headwater().current_dir(dir).args(args).args(more)), 0);
}

/// How much of each partition had come when so many records had, or a few more: what comes later comes at a later tick, for a run that
/// ends between them has published the tick of the last.
pub fn cuts(log: &Log, records: usize) -> Vec<usize> {
    let mut arrived: Vec<i64> = log.iter().flatten().map(|event| event.arrived).collect();
    arrived.sort_unstable();
    let next = (records.max(1)..arrived.len()).find(|i| up(arrived[*i], SECOND) > up(arrived[i - 1], SECOND));
    let until = next.map_or(i64::MAX, |i| arrived[i]);
    log.iter().map(|records| records.partition_point(|event| event.arrived < until)).collect()
}

#[test]
fn at_every_seam() {
    let log = log(3, 240, 3, 4);
    let all: Vec<usize> = log.iter().map(Vec::len).collect();
    let mut compared = 0;
    for (records, workers) in [(0, 1), (1, 3), (60, 1), (121, 3), (200, 1), (240, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (cuts, sides) = match records {
            0 => (vec![0; 3], Sides::Stream),
            240 => (all.clone(), Sides::History),
            records => (cuts(&log, records), Sides::Both),
        };
        std::fs::write(dir.join("job.toml"), job(sides, EVERY_AGGREGATE)).unwrap();
        write_history(dir, &log, &cuts, if workers == 1 { Order::Log } else { Order::Mixed });
        write_stream(dir, &log, None);
        run_to_end(dir, &["--workers", &workers.to_string()]);
        compared += assert_same(dir, &published(dir, i64::MIN), 4 - workers, &format!("cut at {cuts:?}"));
    }
    assert!(compared > 2000, "there is something to compare: {compared}");
}

/// A run that is stopped and goes on, and one whose job has got more columns in between.
#[test]
fn over_restarts_and_a_changed_job() {
    for workers in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let log = log(9, 260, 2, 3);
        let before = EVERY_AGGREGATE.replace("n    = {", "#").replace("top  = {", "#").replace("ln   = {", "#");
        std::fs::write(dir.join("job.toml"), job(Sides::Both, &before)).unwrap();
        write_history(dir, &log, &cuts(&log, 70), Order::Log);
        let flags = ["--workers".to_owned(), workers.to_string()];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        write_stream(dir, &log, Some(&cuts(&log, 130)));
        run_to_end(dir, &flags);
        write_stream(dir, &log, Some(&cuts(&log, 200)));
        run_to_end(dir, &flags);
        let told = published(dir, i64::MIN);
        assert!(assert_same(dir, &told, workers, "restarted") > 500);
        let last = told.values().filter_map(|rows| rows.last_key_value()).map(|(time, _)| *time).max().unwrap();
        std::fs::write(dir.join("job.toml"), job(Sides::Both, EVERY_AGGREGATE)).unwrap();
        write_stream(dir, &log, None);
        run_to_end(dir, &flags);
        assert!(assert_same(dir, &published(dir, last + 60 * SECOND), workers, "changed") > 200);
    }
}
