//! Views and links worked out from the rows of what they read, at many ticks, as the changelog tells them: a change travels through all at
//! one tick, and no reader sees a mixture of two.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::scenario::Scenario;
use crate::one_result::model::length;

/// By what it is called, rows by their key.
type Rows = BTreeMap<String, BTreeMap<String, (Value, Value)>>;
type Table = BTreeMap<String, Value>;

/// At how many ticks at least, where there are as many.
const LOOKS: usize = 150;

/// Returns at how many ticks it has looked.
pub fn check(changes: &[String], scenario: &Scenario) -> Result<usize, String> {
    let names = scenario.names();
    let has = |name: &str| names.iter().any(|(known, _)| *known == name);
    let n = format!("n_{}", length(Some(scenario.short)));
    let mut rows = Rows::new();
    let lines: Vec<Value> = changes.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ticks: Vec<&[Value]> = lines.chunk_by(|a, b| a["time"] == b["time"]).collect();
    let every = (ticks.len() / LOOKS).max(1);
    let mut looked = 0;
    for (number, tick) in ticks.iter().enumerate() {
        for line in *tick {
            let of = rows.entry(line["features"].as_str().unwrap_or_default().to_owned()).or_default();
            let key = format!("{}{}", line["key"], line["window"]);
            match line["diff"].as_i64() {
                Some(1) => drop(of.insert(key, (line["key"].clone(), line["row"].clone()))),
                _ => drop(of.remove(&key)),
            }
        }
        if number % every != 0 && number + 1 != ticks.len() {
            continue;
        }
        looked += 1;
        let checks: [(&str, &dyn Fn() -> Table); 5] = [
            ("busy", &|| busy(&rows, &n)),
            ("total", &|| total(&rows)),
            ("best", &|| best(&rows)),
            ("ring", &|| links(&rows, Some(("m", 6)))),
            ("money", &|| links(&rows, None)),
        ];
        for (name, expected) in checks.into_iter().filter(|(name, _)| has(name)) {
            let found: Table = of(&rows, name).map(|(key, row)| (key.to_string(), row.clone())).collect();
            let expected = expected();
            let differ = found.keys().chain(expected.keys()).find(|key| found.get(*key) != expected.get(*key));
            if let Some(key) = differ {
                let (found, expected) = (found.get(key), expected.get(key));
                let time = &tick[0]["time"];
                return Err(format!("{name} at {time}: {key}\n    found    {found:?}\n    expected {expected:?}"));
            }
        }
    }
    Ok(looked)
}

fn of<'a>(rows: &'a Rows, name: &str) -> impl Iterator<Item = &'a (Value, Value)> {
    rows.get(name).into_iter().flat_map(BTreeMap::values)
}

fn busy(rows: &Rows, n: &str) -> Table {
    let lifetime: BTreeMap<String, &Value> = of(rows, "lifetime").map(|(key, row)| (key.to_string(), row)).collect();
    let joined = of(rows, "recent").filter(|(_, row)| row[n].as_i64() > Some(1)).filter_map(|(key, row)| {
        let ever = lifetime.get(&key.to_string())?;
        Some((key.to_string(), json!({ "n": row[n], "ever": ever["n_all"], "sum": ever["s_all"] })))
    });
    joined.collect()
}

fn total(rows: &Rows) -> Table {
    let all = || of(rows, "lifetime").map(|(_, row)| row);
    let sum: i64 = all().filter_map(|row| row["n_all"].as_i64()).sum();
    let most = all().filter_map(|row| row["s_all"].as_i64()).max();
    // It begins with the group, which always has a row from then on.
    let row = (all().count() > 0).then(|| json!({ "keys": all().count(), "events": sum, "most": most }));
    row.map(|row| (json!({ "one": "all" }).to_string(), row)).into_iter().collect()
}

/// The two of each `m` with the greatest `n`, ties by the smaller row.
fn best(rows: &Rows) -> Table {
    let mut by_m: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for (key, row) in of(rows, "used") {
        let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        by_m.entry(text("m")).or_default().push((-row["n"].as_i64().unwrap_or(0), text("k")));
    }
    let placed = by_m.into_iter().flat_map(|(m, mut all)| {
        all.sort();
        let row = |(place, (n, k)): (usize, (i64, String))| {
            (format!(r#"{{"m":"{m}","place":{}}}"#, place + 1), json!({ "k": k, "n": -n }))
        };
        all.into_iter().take(2).enumerate().map(row).collect::<Vec<_>>()
    });
    placed.collect()
}

/// `things`: the column of what `k` share, and how many may share one; else `k` and `m` are of one kind, with at most 8 others each.
fn links(rows: &Rows, things: Option<(&str, usize)>) -> Table {
    // A thing is told from an entity by its name.
    let thing = |name: &str| if things.is_some() { format!("~{name}") } else { name.to_owned() };
    let mut others: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, _) in of(rows, "used") {
        let (Some(k), Some(m)) = (key["k"].as_str(), key["m"].as_str()) else { continue };
        others.entry(k.to_owned()).or_default().insert(thing(m));
        others.entry(thing(m)).or_default().insert(k.to_owned());
    }
    let most = things.map_or(8, |(_, most)| most);
    let is_crowded = |node: &str| (things.is_none() || node.starts_with('~')) && others[node].len() > most;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut table = Table::new();
    // Entities come first in their order, so that the first of a component is its smallest.
    for first in others.keys().filter(|node| !node.starts_with('~')) {
        let (mut members, mut next) = (vec![], vec![first.as_str()]);
        while let Some(node) = next.pop() {
            if !seen.insert(node) {
                continue;
            }
            members.push(node);
            if !is_crowded(node) {
                next.extend(others[node].iter().map(String::as_str).filter(|other| !is_crowded(other)));
            }
        }
        let entities: Vec<&str> = members.iter().filter(|node| !node.starts_with('~')).copied().collect();
        for entity in &entities {
            let mut row = json!({ "component": first, "size": entities.len() });
            let key = if things.is_some() {
                row["shared"] = (members.len() - entities.len()).into();
                json!({ "k": entity })
            } else {
                json!({ "entity": entity })
            };
            table.insert(key.to_string(), row);
        }
    }
    table
}
