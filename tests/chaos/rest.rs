//! The stores while the job runs and nothing happens: what their rows should be, without a start that writes them all anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::outcome::Read;
use super::scenario::Scenario;
use crate::one_result::model::{self, Bounds};
use crate::support::{Snapshot, headwater, micros, now_us};

/// What the running job exports of its embedded store, as Redis would have it.
pub fn embedded(dir: &Path, group: &str) -> Result<Snapshot, String> {
    let mut command = headwater();
    let done = command.args(["export", "job.toml", group, "--sink", "local"]).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        return Err(format!("export {group} of the running job: {}", String::from_utf8_lossy(&done.stderr)));
    }
    let mut snapshot = Snapshot { hashes: BTreeMap::new(), as_of: None, upto: Some(now_us()) };
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).map_err(|e| format!("export {group}: {e}"))?;
        let time = |value: &Value| value.as_str().map(micros);
        let mut hash = fields(&line["row"]);
        hash.insert("_changed_at".to_owned(), time(&line["changed_at"]).unwrap_or_default().to_string());
        snapshot.hashes.insert(key(&line), hash);
        snapshot.as_of = time(&line["as_of"]);
    }
    // Without a row there is no mark either.
    snapshot.as_of = snapshot.as_of.or(snapshot.upto);
    Ok(snapshot)
}

/// The end of a row's key in Redis.
fn key(line: &Value) -> String {
    let values = line["key"].as_object().into_iter().flatten().map(|(_, value)| text(value));
    let start = line["window"]["start"].as_str().map(|start| micros(start).to_string());
    values.chain(start).collect::<Vec<_>>().join(":")
}

/// A row's fields in Redis.
fn fields(row: &Value) -> BTreeMap<String, String> {
    let there = row.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    there.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The same of what no model knows: the rows are those that the changelog tells, in every column.
pub fn check_by_changes(what: &str, scenario: &Scenario, changes: &[String], found: &[Snapshot]) -> Result<(), String> {
    let known = scenario.job.groups.len();
    let changes: Vec<Value> = changes.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for ((name, retain), found) in scenario.names().into_iter().zip(found).skip(known) {
        let Some(as_of) = found.as_of.filter(|_| retain == 0) else { continue };
        let lines: Vec<&Value> = changes.iter().filter(|line| line["features"] == name).collect();
        let upto = found.upto.unwrap_or(as_of);
        let at = |t: i64| {
            let mut rows = BTreeMap::new();
            let until = lines.iter().filter(|line| line["time"].as_str().is_some_and(|time| micros(time) <= t));
            until.for_each(|line| match line["diff"].as_i64() {
                Some(1) => drop(rows.insert(key(line), fields(&line["row"]))),
                _ => drop(rows.remove(&key(line))),
            });
            rows
        };
        let newer = found.hashes.values().filter_map(|hash| hash.get("_changed_at")?.parse::<i64>().ok());
        let times: BTreeSet<i64> = newer.chain([as_of, upto]).filter(|t| *t >= as_of).collect();
        let expected: Vec<_> = times.into_iter().map(at).collect();
        let rows = found.hashes.iter().map(|(key, hash)| {
            let fields = hash.iter().filter(|(name, _)| *name != "_changed_at");
            // Numbers and lists as they are read.
            let read =
                |value: &String| serde_json::from_str::<Value>(value).map_or(value.clone(), |value| text(&value));
            (key.clone(), fields.map(|(name, value)| (name.clone(), read(value))).collect())
        });
        let rows: BTreeMap<String, BTreeMap<String, String>> = rows.collect();
        let keys: BTreeSet<&String> = expected.iter().flat_map(BTreeMap::keys).chain(rows.keys()).collect();
        let wrong = keys.into_iter().find(|key| !expected.iter().any(|now| now.get(*key) == rows.get(*key)));
        if let Some(key) = wrong {
            return Err(format!(
                "{name} in {what} at rest, as of {as_of} and up to {upto}: {key}\n    found    {:?}\n    by the changelog {:?}",
                found.hashes.get(key),
                expected[0].get(key)
            ));
        }
    }
    Ok(())
}

/// By the end of the Redis key: the columns that the model knows, `None` where there is no row.
type Rows = BTreeMap<String, Value>;

/// `groups`: looked at one after the other, after everything that was produced was stored. `read`: without what came later.
pub fn check(what: &str, scenario: &Scenario, read: &Read, cuts: &[usize], groups: &[Snapshot]) -> Result<(), String> {
    for (i, (group, found)) in scenario.job.groups.iter().zip(groups).enumerate() {
        let Some(as_of) = found.as_of else {
            return Err(format!("{} at rest: it has no mark", group.name));
        };
        // A Redis that has lost everything has none until there is a row.
        let upto = found.upto.unwrap_or(as_of);
        // A row may be newer than `_as_of`, by no more than the next changes.
        let newer = found.hashes.values().filter_map(|hash| hash.get("_changed_at")?.parse::<i64>().ok());
        let times: BTreeSet<i64> = newer.chain([as_of, upto]).filter(|t| *t >= as_of).collect();
        let at = |t: i64| rows_at(scenario, read, cuts, i, t);
        let expected: Vec<Rows> = times.iter().map(|t| at(*t)).collect();
        let keys: BTreeSet<&String> = expected.iter().flat_map(Rows::keys).chain(found.hashes.keys()).collect();
        let wrong: Vec<String> = keys
            .into_iter()
            .filter(|key| !expected.iter().any(|rows| fits(found.hashes.get(*key), rows.get(*key))))
            .map(|key| {
                format!("  {key}\n    found    {:?}\n    expected {:?}", found.hashes.get(key), expected[0].get(key))
            })
            .collect();
        if !wrong.is_empty() {
            let (some, name) = (wrong[..wrong.len().min(5)].join("\n"), group.name);
            return Err(format!(
                "{name} in {what} at rest, as of {as_of} and up to {upto}: {} rows differ\n{some}",
                wrong.len()
            ));
        }
    }
    Ok(())
}

fn rows_at(scenario: &Scenario, read: &Read, cuts: &[usize], group: usize, t: i64) -> Rows {
    let mut end = model::at_end(&scenario.job, &read.log, cuts, Some(t));
    let retain = scenario.job.groups[group].retain;
    let held = |bounds: &Bounds| bounds.is_none_or(|(_, end)| end + retain >= t);
    let name = |(key, bounds): (String, Bounds)| {
        let key: Value = serde_json::from_str(&key).unwrap();
        let key = key["k"].as_str().unwrap_or_default().to_owned();
        bounds.map_or(key.clone(), |(start, _)| format!("{key}:{start}"))
    };
    let rows = std::mem::take(&mut end.rows[group]).into_iter().filter(|((_, bounds), _)| held(bounds));
    rows.map(|(at, row)| (name(at), serde_json::from_str(&row).unwrap())).collect()
}

fn fits(found: Option<&BTreeMap<String, String>>, expected: Option<&Value>) -> bool {
    match (found, expected.and_then(Value::as_object)) {
        (None, None) => true,
        (Some(found), Some(expected)) => expected.iter().all(|(name, value)| match value {
            Value::Null => !found.contains_key(name),
            value => found.get(name) == Some(&value.to_string()),
        }),
        _ => false,
    }
}
