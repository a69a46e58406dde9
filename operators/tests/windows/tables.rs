//! The tables of `tests/data`: events on the left, the changes they make on the right.
//!
//! ```text
//! # what it shows                      until `until` (else the last line's tick) nothing else may change
//! tick 1m
//! of x float64                         an input; `key NAME TYPE` likewise, else the key is one text
//! tx count 10m                         a column: NAME AGGREGATE [INPUT] LENGTH
//! sum_x sum x all
//!
//! T     | arrives: ts key values       | changes: key row diff
//! 10:00 | 10:00 a 1.5                  | a 1 1.5 +1
//! 10:03 | 09:59 a null; 10:03 b 1 (late) | a 1 1.5 -1; a 2 1.5 +1; b 1 1 +1
//! ```
//!
//! Times are `HH:MM[:SS]` or microseconds; the first line's tick is the group's start. Each table is run as it stands, from
//! spilled ledgers, record by record, and cut into history | stream at every tick.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::array_value_to_string;
use headwater_operators::accumulators::{Aggregate, ColumnPlan, result_types};
use headwater_operators::group::Plan;
use headwater_operators::ledger::up;

use crate::drive::{Group, Run, assert_same};
use crate::model::{self, Change, Event};
use crate::values::{Value, array, values};

struct Table {
    group: Arc<Group>,
    events: Vec<Event>,
    to: i64,
    expected: Vec<String>,
}

#[test]
fn every_table_holds() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let table = Table::parse(&std::fs::read_to_string(&path).unwrap());
        table.check(&name);
        names.push(name);
    }
    assert!(names.len() > 10, "only {names:?}");
}

impl Table {
    fn check(&self, name: &str) {
        let Table { group, events, to, expected } = self;
        let ticks = model::eventful_ticks(&group.plan, events, *to);
        let changes = model::changes(&group.plan, events, &ticks);
        assert_eq!(self.show(&changes), *expected, "the model, {name}");
        for resident_max in [1 << 20, 0] {
            let run = run(group, events, [*to].into(), resident_max);
            assert_eq!(self.show(&run.sorted_changes()), *expected, "{name}, resident_max {resident_max}");
            assert_eq!(run.rows, model::rows(&changes), "{name}");
        }
        let run = run(group, events, ticks.clone(), 0);
        assert_eq!(self.show(&run.sorted_changes()), *expected, "{name}, tick by tick");
        for cut in ticks {
            self.check_cut(cut, &changes, name);
        }
    }

    /// What happened by `cut` becomes the history: from then on the same rows at every tick.
    fn check_cut(&self, cut: i64, changes: &[Change], name: &str) {
        let (before, after) = changes.split_at(changes.partition_point(|c| c.time <= cut));
        let image = model::rows(before);
        let image = image.into_iter().map(|(key, (row, _))| Change { time: cut, key, diff: 1, row });
        let expected: Vec<Change> = image.chain(after.iter().cloned()).collect();
        let plan = Plan { start: cut, ..self.group.plan.clone() };
        let group = Arc::new(Group { plan, ..(*self.group).clone() });
        let events: Vec<Event> =
            self.events.iter().map(|e| Event { visible: e.visible.max(cut), ..e.clone() }).collect();
        let run = run(&group, &events, [self.to].into(), 1 << 20);
        assert_same(&run.sorted_changes(), &expected, &|| format!("{name}, cut at {cut}"));
    }

    fn parse(text: &str) -> Table {
        let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| !l.is_empty());
        let (rows, head): (Vec<&str>, Vec<&str>) = lines.partition(|l| l.contains('|'));
        let mut keys = Vec::new();
        let mut inputs: Vec<(&str, DataType)> = Vec::new();
        let mut plan = Plan::trailing(vec![], vec![], 1, i64::MIN);
        let mut until = None;
        for line in head {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["tick", length] => plan.tick = duration(length),
                ["until", t] => until = Some(time(t)),
                ["key", _, of_type] => keys.push(data_type(of_type)),
                ["of", name, of_type] => inputs.push((name, data_type(of_type))),
                [name, aggregate, ref of @ .., length] => {
                    let input = of.first().map(|of| inputs.iter().position(|(name, _)| name == of).unwrap());
                    let length = (length != "all").then(|| duration(length));
                    plan.columns.push(ColumnPlan {
                        name: name.to_owned(),
                        aggregate: parse_aggregate(aggregate),
                        input,
                        length,
                    });
                }
                _ => panic!("what is {line:?}?"),
            }
        }
        plan.inputs = inputs.into_iter().map(|(_, t)| t).collect();
        if keys.is_empty() {
            keys.push(DataType::Utf8);
        }
        let (mut events, mut expected, mut to) = (Vec::new(), Vec::new(), i64::MIN);
        for line in rows.into_iter().skip(1) {
            let [tick, arrives, changes] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let tick = time(tick);
            assert_eq!(up(tick, plan.tick), tick, "{line}");
            if to == i64::MIN {
                plan.start = tick;
            }
            to = tick;
            let key = |tokens: &[&str]| keys.iter().zip(tokens).map(|(t, token)| value(t, token)).collect();
            for event in items(arrives) {
                assert_eq!(event.len(), 1 + keys.len() + plan.inputs.len(), "{event:?}");
                let of = plan.inputs.iter().zip(&event[1 + keys.len()..]).map(|(t, token)| value(t, token)).collect();
                events.push(Event { key: key(&event[1..]), ts: time(event[0]), visible: tick, values: of });
            }
            expected.extend(items(changes).into_iter().map(|change| format!("{tick} {}", change.join(" "))));
        }
        Table { group: Arc::new(Group { plan, keys }), events, to: until.unwrap_or(to), expected }
    }

    /// As the table's right side has them.
    fn show(&self, changes: &[Change]) -> Vec<String> {
        let results = result_types(&self.group.plan.columns, &self.group.plan.inputs);
        let types = || self.group.keys.iter().chain(&results);
        let show = |change: &Change| {
            let tokens = types().zip(change.key.iter().chain(&change.row)).map(|(t, v)| token(t, v));
            format!("{} {} {:+}", change.time, tokens.collect::<Vec<_>>().join(" "), change.diff)
        };
        changes.iter().map(show).collect()
    }
}

fn run(group: &Arc<Group>, events: &[Event], targets: BTreeSet<i64>, resident_max: usize) -> Run {
    let to = *targets.last().expect("a last tick");
    let mut run = Run::new(group, resident_max, group.plan.start, to);
    let mut from = i64::MIN;
    for target in targets {
        events.iter().filter(|e| e.visible > from && e.visible <= target).for_each(|e| run.insert([e]));
        run.advance(target, usize::MAX);
        run.take(target);
        from = target;
    }
    run
}

/// Items parted by `;`, in words, without what stands in brackets.
fn items(text: &str) -> Vec<Vec<&str>> {
    let item = |item| str::split_whitespace(item).take_while(|word| !word.starts_with('(')).collect::<Vec<_>>();
    text.split(';').map(item).filter(|words| !words.is_empty()).collect()
}

fn time(text: &str) -> i64 {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().unwrap_or_else(|_| panic!("no time: {text}")));
    match (parts.next(), parts.next(), parts.next()) {
        (Some(h), Some(m), s) => (h * 3600 + m * 60 + s.unwrap_or(0)) * 1_000_000,
        (Some(us), ..) => us,
        _ => unreachable!(),
    }
}

fn duration(text: &str) -> i64 {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        other => panic!("no unit: {other}"),
    };
    digits.parse::<i64>().unwrap() * unit
}

fn parse_aggregate(name: &str) -> Aggregate {
    match name {
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "avg" => Aggregate::Avg,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        other => panic!("no aggregate: {other}"),
    }
}

fn data_type(name: &str) -> DataType {
    match name {
        "bool" => DataType::Boolean,
        "int16" => DataType::Int16,
        "int64" => DataType::Int64,
        "uint64" => DataType::UInt64,
        "float32" => DataType::Float32,
        "float64" => DataType::Float64,
        "decimal(38,2)" => DataType::Decimal128(38, 2),
        "string" => DataType::Utf8,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        other => panic!("no type: {other}"),
    }
}

fn value(data_type: &DataType, token: &str) -> Value {
    if token == "null" {
        return Value::Null;
    }
    let text: ArrayRef = Arc::new(StringArray::from(vec![token]));
    let array = cast(&text, data_type).unwrap();
    assert!(array.is_valid(0), "{token} is no {data_type}");
    values(&array).remove(0)
}

fn token(data_type: &DataType, value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        value => array_value_to_string(&array(data_type, std::slice::from_ref(value)), 0).unwrap(),
    }
}
