//! What a job has put out, and what it should be.

use std::collections::BTreeMap;
use std::path::Path;

use headwater_clocks::format_time;
use serde_json::Value;

use super::scenario::{Record, Scenario};
use crate::one_result::model::{self, Bounds, Log};
use crate::support::{headwater, micros};

/// By key and window.
pub type Table = BTreeMap<(String, Bounds), Value>;

/// The records of a topic, by partition: those that are events, each with its offset; and what the source refuses.
pub struct Read {
    pub log: Log,
    offsets: Vec<Vec<usize>>,
    refused: Vec<(String, i64, i64)>,
}

impl Read {
    pub fn new(topic: &[Vec<Option<Vec<u8>>>]) -> Read {
        let mut read = Read { log: vec![], offsets: vec![], refused: vec![] };
        for (p, records) in topic.iter().enumerate() {
            let (mut events, mut offsets) = (vec![], vec![]);
            for (o, payload) in records.iter().enumerate() {
                let mut refuse = |reason: &str| read.refused.push((reason.to_owned(), p as i64, o as i64));
                match Record::parse(payload.as_deref()) {
                    Record::Event { event, .. } => {
                        events.push(event);
                        offsets.push(o);
                    }
                    Record::WrongClock { .. } => refuse("future"),
                    Record::Malformed => refuse("malformed"),
                    Record::Tombstone => {}
                }
            }
            read.log.push(events);
            read.offsets.push(offsets);
        }
        read
    }

    /// How many events lie before these offsets.
    pub fn cuts(&self, before: &[usize]) -> Vec<usize> {
        before.iter().zip(&self.offsets).map(|(before, offsets)| offsets.partition_point(|o| o < before)).collect()
    }
}

/// A dead letter as the model knows it: reason, partition, offset, by how much it was late.
type Letter = (String, i64, i64, Option<i64>);

/// What the model says of the end.
pub struct Expected {
    pub t: i64,
    /// By group: every row that the changelog leaves; those that are in the stores.
    pub tables: Vec<Table>,
    pub stored: Vec<Table>,
    pub dead_letters: Vec<Letter>,
}

impl Expected {
    /// `t`: where it ends, where other sources go on longer than this one.
    pub fn new(scenario: &Scenario, read: &Read, cuts: &[usize], t: Option<i64>) -> Expected {
        let end = model::at_end(&scenario.job, &read.log, cuts, None);
        let t = t.filter(|t| *t > end.t && scenario.collections.has_feeds());
        let end = t.map_or(end, |t| model::at_end(&scenario.job, &read.log, cuts, Some(t)));
        let mut dead_letters: Vec<Letter> = read.refused.iter().map(|(r, p, o)| (r.clone(), *p, *o, None)).collect();
        dead_letters.extend(end.dead_letters.into_iter().map(|(reason, p, o, _, by)| {
            let offset = read.offsets[p as usize][o as usize] as i64;
            (reason, p, offset, by)
        }));
        dead_letters.sort();
        let parse = |(at, row): ((String, Bounds), String)| (at, serde_json::from_str(&row).unwrap());
        let tables: Vec<Table> = end.rows.into_iter().map(|rows| rows.into_iter().map(parse).collect()).collect();
        let stored = scenario
            .job
            .groups
            .iter()
            .zip(&tables)
            .map(|(group, table)| stored_at(table, group.retain, end.t))
            .collect();
        Expected { t: end.t, tables, stored, dead_letters }
    }
}

/// The rows that have not left the store.
pub fn stored_at(table: &Table, retain: i64, t: i64) -> Table {
    let held = |bounds: &Bounds| bounds.is_none_or(|(_, end)| end + retain >= t);
    table.iter().filter(|((_, bounds), _)| held(bounds)).map(|(at, row)| (at.clone(), row.clone())).collect()
}

/// What lies in a job's directory after a run.
pub struct Found {
    pub t: Option<i64>,
    /// By group: what the changelog leaves; and by store.
    pub tables: Vec<Table>,
    pub stores: Vec<(String, Vec<Table>)>,
    /// As they are: what each store exports, the changelog, and the dead letters, sorted.
    pub lines: Vec<(String, Vec<String>)>,
    pub changes: Vec<String>,
    pub dead_letters: Vec<String>,
}

impl Found {
    pub fn read(dir: &Path, scenario: &Scenario, sinks: &[&str]) -> Result<Found, String> {
        let groups: Vec<&str> = scenario.names().into_iter().map(|(name, _)| name).collect();
        let mut t = None;
        let (mut stores, mut lines) = (vec![], vec![]);
        for sink in sinks {
            let mut all = vec![];
            let tables =
                groups.iter().map(|group| export(dir, group, sink, &mut t, &mut all)).collect::<Result<_, _>>()?;
            stores.push(((*sink).to_owned(), tables));
            lines.push(((*sink).to_owned(), all));
        }
        let path = dir.join("state/changes.jsonl");
        let changes = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let changes: Vec<String> = changes.lines().map(str::to_owned).collect();
        let tables = fold(&changes, &groups)?;
        let dead_letters = std::fs::read_to_string(dir.join("state/dead_letters.jsonl")).unwrap_or_default();
        let mut dead_letters: Vec<String> = dead_letters.lines().map(str::to_owned).collect();
        dead_letters.sort();
        Ok(Found { t, tables, stores, lines, changes, dead_letters })
    }

    /// Those of the source that the model knows, with these reasons.
    pub fn dead_letters(&self, reasons: impl Fn(&str) -> bool) -> Result<Vec<Letter>, String> {
        let is_known = |line: &&String| {
            serde_json::from_str::<Value>(line)
                .is_ok_and(|value| value["source"] == "s" && value["reason"].as_str().is_some_and(&reasons))
        };
        let letter = |line: &String| {
            let value: Value = serde_json::from_str(line).map_err(|e| format!("dead letters: {e}: {line}"))?;
            let number = |name: &str| value[name].as_i64();
            let place = number("partition").zip(number("offset")).ok_or_else(|| format!("no place: {line}"))?;
            Ok((value["reason"].as_str().unwrap_or_default().to_owned(), place.0, place.1, number("late_by_us")))
        };
        let mut dead_letters =
            self.dead_letters.iter().filter(is_known).map(letter).collect::<Result<Vec<_>, String>>()?;
        dead_letters.sort();
        Ok(dead_letters)
    }
}

fn export(dir: &Path, group: &str, sink: &str, t: &mut Option<i64>, lines: &mut Vec<String>) -> Result<Table, String> {
    let mut command = headwater();
    let done = command.args(["export", "job.toml", group, "--sink", sink]).current_dir(dir).output().unwrap();
    if !done.status.success() {
        return Err(format!("export {group} --sink {sink}: {}", String::from_utf8_lossy(&done.stderr)));
    }
    let mut table = Table::new();
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        let value: Value = serde_json::from_str(line).map_err(|e| format!("export {group}: {e}: {line}"))?;
        let as_of = value["as_of"].as_str().map(micros).ok_or_else(|| format!("export {group}: {line}"))?;
        if *t.get_or_insert(as_of) != as_of {
            return Err(format!(
                "export {group} --sink {sink}: as of {} here and {} elsewhere",
                format_time(as_of),
                format_time(t.unwrap_or(0))
            ));
        }
        lines.push(line.to_owned());
        if table.insert(place(&value), value["row"].clone()).is_some() {
            return Err(format!("export {group} --sink {sink}: twice: {line}"));
        }
    }
    Ok(table)
}

fn place(line: &Value) -> (String, Bounds) {
    let bound = |name: &str| line["window"][name].as_str().map(micros);
    (line["key"].to_string(), bound("start").zip(bound("end")))
}

/// Plays a changelog. Each line must fit on those before it.
fn fold(lines: &[String], groups: &[&str]) -> Result<Vec<Table>, String> {
    let mut tables: Vec<Table> = groups.iter().map(|_| Table::new()).collect();
    let (mut before, mut retracted) = (i64::MIN, BTreeMap::new());
    for (number, line) in lines.iter().enumerate() {
        let wrong = |what: &str| format!("the changelog, line {}: {what}: {line}", number + 1);
        let value: Value = serde_json::from_str(line).map_err(|e| wrong(&e.to_string()))?;
        if value.get("resume").is_some_and(Value::is_null) {
            // Rows have become others: all is told anew.
            tables.iter_mut().for_each(Table::clear);
            (before, retracted) = (i64::MIN, BTreeMap::new());
            continue;
        }
        let time = value["time"].as_str().map(micros).ok_or_else(|| wrong("no time"))?;
        if time < before {
            return Err(wrong("an earlier time than the line before"));
        }
        if time > before {
            retracted.clear();
        }
        before = time;
        let group = groups.iter().position(|g| value["features"] == **g).ok_or_else(|| wrong("no such group"))?;
        let (place, row) = (place(&value), value["row"].clone());
        match value["diff"].as_i64() {
            Some(-1) if retracted.insert((group, place.clone()), row.clone()).is_some() => {
                return Err(wrong("a second retraction at its time"));
            }
            Some(-1) => match tables[group].remove(&place) {
                Some(held) if held == row => {}
                held => return Err(wrong(&format!("what it retracts is not there, but {held:?}"))),
            },
            Some(1) if retracted.get(&(group, place.clone())) == Some(&row) => return Err(wrong("it changes nothing")),
            Some(1) => {
                if let Some(held) = tables[group].insert(place, row) {
                    return Err(wrong(&format!("it is inserted over {held}")));
                }
            }
            _ => return Err(wrong("what diff is this?")),
        }
    }
    Ok(tables)
}

/// Says where two tables differ. `columns`: only those that the expected one has.
pub fn compare(what: &str, found: &Table, expected: &Table, columns: bool) -> Result<(), String> {
    let same = |found: Option<&Value>, expected: Option<&Value>| match (found, expected) {
        (Some(Value::Object(found)), Some(Value::Object(expected))) if columns => {
            expected.iter().all(|(name, value)| found.get(name) == Some(value))
        }
        (found, expected) => found == expected,
    };
    let places: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differ: Vec<String> = places
        .iter()
        .filter(|place| !same(found.get(**place), expected.get(**place)))
        .map(|place| {
            let show = |row: Option<&Value>| row.map_or_else(|| "no row".to_owned(), Value::to_string);
            let window = place.1.map(|(start, end)| format!("{}..{} ({start})", format_time(start), format_time(end)));
            let (found, expected) = (show(found.get(*place)), show(expected.get(*place)));
            format!("  {} {}\n    found    {found}\n    expected {expected}", place.0, window.unwrap_or_default())
        })
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    let some = differ[..differ.len().min(5)].join("\n");
    Err(format!("{what}: {} of {} rows differ\n{some}", differ.len(), expected.len()))
}

pub fn compare_lists<T: Ord + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) -> Result<(), String> {
    let at = (0..found.len().max(expected.len())).find(|i| found.get(*i) != expected.get(*i));
    at.map_or(Ok(()), |at| {
        let show = |list: &[T]| format!("{} in all, here {:?}", list.len(), list.get(at));
        Err(format!("{what} differ at {at}\n    found    {}\n    expected {}", show(found), show(expected)))
    })
}
