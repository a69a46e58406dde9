//! What the rows should be, by brute force: every event of a key looked at anew for every value.
//!
//! Group `cards` of the tests: key `card`, `where status = 'approved'`, and four columns for every window named.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Event, HOUR, Log, SECOND};

/// Column by name; a null is there as `Value::Null`.
pub type Row = BTreeMap<String, Value>;
pub type Rows = BTreeMap<String, Row>;

/// An event, and the tick from which on it counts.
#[derive(Clone, Debug)]
pub struct Visible {
    pub event: Event,
    pub v: i64,
}

pub fn up(t: i64, tick: i64) -> i64 {
    t.div_euclid(tick) * tick + if t.rem_euclid(tick) == 0 { 0 } else { tick }
}

/// The events of a log, visible as a run with a seam by offset shows them. `s`: the seam.
pub fn visible(log: &Log, s: i64, tick: i64) -> Vec<Visible> {
    let mut all = vec![];
    for partition in log {
        let mut eff = i64::MIN;
        for event in partition {
            eff = eff.max(event.arrived);
            all.push(Visible { event: event.clone(), v: up(eff.max(event.ts).max(s), tick) });
        }
    }
    all
}

/// The rows of the group `cards` at `t`.
pub fn rows(events: &[Visible], windows: &[(&str, Option<i64>)], t: i64) -> Rows {
    let mut by_card: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for Visible { event, .. } in events.iter().filter(|e| e.v <= t && e.event.ok) {
        by_card.entry(&event.card).or_default().push(event);
    }
    let row = |(card, events): (&str, Vec<&Event>)| Some((card.to_owned(), row(&events, windows, t)?));
    by_card.into_iter().filter_map(row).collect()
}

fn row(events: &[&Event], windows: &[(&str, Option<i64>)], t: i64) -> Option<Row> {
    let mut row = Row::new();
    let mut any = false;
    for (name, window) in windows {
        let inside: Vec<&&Event> = events.iter().filter(|e| window.is_none_or(|w| e.ts > t - w)).collect();
        any |= !inside.is_empty();
        let amounts: Vec<f64> = inside.iter().filter_map(|e| e.amount).collect();
        let number = |value: Option<f64>| value.map_or(Value::Null, Value::from);
        row.insert(format!("n_{name}"), inside.len().into());
        row.insert(format!("spend_{name}"), number((!amounts.is_empty()).then(|| amounts.iter().sum())));
        row.insert(format!("least_{name}"), number(amounts.iter().copied().reduce(f64::min)));
        row.insert(format!("most_{name}"), number(amounts.iter().copied().reduce(f64::max)));
    }
    any.then_some(row)
}

/// A row's JSON as a row of ours.
pub fn row_of(json: &Value) -> Row {
    json.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Equal, or says which rows differ.
pub fn assert_rows(what: &str, found: &Rows, expected: &Rows) {
    if found == expected {
        return;
    }
    let keys: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differ: Vec<String> = keys
        .into_iter()
        .filter(|key| found.get(*key) != expected.get(*key))
        .map(|key| format!("{key}\n  found    {:?}\n  expected {:?}", found.get(key), expected.get(key)))
        .collect();
    panic!("{what}: {} of {} rows differ\n{}", differ.len(), expected.len(), differ[..differ.len().min(5)].join("\n"));
}

/// Plays a changelog of the group `cards` up to its end, checking that each line fits on those before it.
pub fn play(lines: &[Value]) -> Rows {
    let mut rows = Rows::new();
    let mut before = i64::MIN;
    for line in lines {
        let time = super::micros(line["time"].as_str().unwrap());
        assert!(before <= time, "lines are in order of time: {line}");
        before = time;
        let (key, row) = (line["key"]["card"].as_str().unwrap(), row_of(&line["row"]));
        match line["diff"].as_i64() {
            Some(1) => assert_eq!(rows.insert(key.to_owned(), row), None, "an insertion over a row: {line}"),
            _ => assert_eq!(rows.remove(key), Some(row), "what is retracted is what was there: {line}"),
        }
    }
    rows
}

/// The windows that most tests use.
pub const WINDOWS: [(&str, Option<i64>); 3] = [("10s", Some(10 * SECOND)), ("1h", Some(HOUR)), ("all", None)];
