//! Redis while the job runs and nothing happens: what its rows should be, without a start that writes them all anew.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::{self, Bounds};
use crate::outcome::Read;
use crate::scenario::Scenario;
use crate::support::Snapshot;

/// By the end of the Redis key: the columns that the model knows, `None` where there is no row.
type Rows = BTreeMap<String, Value>;

/// Looks at the groups one after the other, after everything that was produced was stored. `read`: without what came later.
pub fn check(scenario: &Scenario, read: &Read, cuts: &[usize], groups: &[Snapshot]) -> Result<(), String> {
    for (i, (group, found)) in scenario.job.groups.iter().zip(groups).enumerate() {
        let (Some(as_of), Some(upto)) = (found.as_of, found.upto) else {
            return Err(format!("{} at rest: it has no marks", group.name));
        };
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
                "{name} in Redis at rest, as of {as_of} and up to {upto}: {} rows differ\n{some}",
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
