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
//! Groups with windows of their own have columns without a length, and changes with the window after the key:
//!
//! ```text
//! window hopping 1h 15m                or `tumbling 1h`, or `session 30m`
//! lateness 30m                         0s if it is not said
//! retain 1d                            the lateness and the size (or the gap) if it is not said
//! tx count
//!
//! T     | arrives                      | changes                  | store
//! 10:00 | 09:59 a @09:59               | a [09:00,10:00) 1 +1     | a [09:00,10:00)
//! ```
//!
//! Where an event's `eff` is not the tick at which it arrives, it follows after `@`. What is late never comes, as elsewhere.
//! `store`, which may be left out: the rows that are stored when the tick is finished.
//!
//! Times are `HH:MM[:SS]` or microseconds; the first line's tick is the group's start. Each table is run as it stands,
//! from spilled ledgers, tick by tick with state dropped as soon as may be, and cut into history | stream at every tick.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::array_value_to_string;
use headwater_clocks::{Span, Tick, Time};
use headwater_operators::accumulators::{ColumnPlan, result_types};
use headwater_operators::group::{Calendar, Plan, Window};

use crate::drive::{Group, Run, assert_same};
use crate::model::{self, Bounds, Change, Event, Rows, up};
use crate::values::{Value, array, values};

struct Table {
    group: Arc<Group>,
    events: Vec<Event>,
    to: i64,
    expected: Vec<String>,
    /// By tick, where it is told.
    stores: BTreeMap<i64, Vec<String>>,
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
        let Table { group, events, to, expected, .. } = self;
        let ticks = model::eventful_ticks(&group.plan, events, *to);
        let changes = model::changes(&group.plan, events, &ticks);
        assert_eq!(self.show(&changes), *expected, "the model, {name}");
        for ledger_bytes in [1 << 20, 0] {
            let run = self.run([*to].into(), ledger_bytes, |_, _| ());
            assert_eq!(self.show(&run.sorted_changes()), *expected, "{name}, ledger_bytes {ledger_bytes}");
            assert_eq!(run.rows, model::store(&group.plan, &changes, *to), "{name}");
        }
        let ticks: BTreeSet<i64> = ticks.into_iter().chain(self.stores.keys().copied()).collect();
        let run = self.run(ticks.clone(), 0, |rows, tick| {
            let past = &changes[..changes.partition_point(|c| c.time <= tick)];
            assert_eq!(*rows, model::store(&group.plan, past, tick), "{name}, the store at {tick}");
            let told = self.stores.get(&tick);
            assert!(told.is_none_or(|store| *store == self.show_store(rows)), "{name} at {tick}: {rows:?}");
        });
        assert_eq!(self.show(&run.sorted_changes()), *expected, "{name}, tick by tick");
        for cut in ticks {
            self.check_cut(cut, &changes, name);
        }
    }

    /// What happened by `cut` becomes the history: from then on the same rows at every tick.
    fn check_cut(&self, cut: i64, changes: &[Change], name: &str) {
        let expected = model::from(&self.group.plan, changes, cut);
        let plan = Plan { start: Tick::from_us(cut), ..self.group.plan.clone() };
        let shift = |e: &Event| Event { comes: e.comes.max(cut), visible: e.visible.max(cut), ..e.clone() };
        let table = Table {
            group: Arc::new(Group { plan, ..(*self.group).clone() }),
            events: self.events.iter().map(shift).collect(),
            to: self.to,
            expected: vec![],
            stores: BTreeMap::new(),
        };
        let run = table.run([self.to].into(), 1 << 20, |_, _| ());
        assert_same(&run.sorted_changes(), &expected, &|| format!("{name}, cut at {cut}"));
    }

    /// Events come one by one. `stored`: is shown the store after each of `targets`.
    fn run(&self, targets: BTreeSet<i64>, ledger_bytes: usize, stored: impl Fn(&Rows, i64)) -> Run {
        let Table { group, events, to, .. } = self;
        let mut run = Run::new(group, ledger_bytes, group.plan.start.us(), *to);
        let mut horizons = model::horizons(&group.plan, events, *to).into_iter().peekable();
        let mut from = i64::MIN;
        for target in targets {
            events.iter().filter(|e| e.comes > from && e.comes <= target).for_each(|e| run.insert([e]));
            run.close_after(std::iter::from_fn(|| horizons.next_if(|(t, _)| *t <= target)));
            run.advance(target, usize::MAX);
            run.take(target);
            stored(&run.rows, target);
            from = target;
        }
        run
    }

    fn parse(text: &str) -> Table {
        let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| !l.is_empty());
        let (rows, head_lines): (Vec<&str>, Vec<&str>) = lines.partition(|l| l.contains('|'));
        let (keys, plan, until) = head(&head_lines);
        let mut table = Table {
            group: Arc::new(Group { plan, keys }),
            events: vec![],
            to: i64::MIN,
            expected: vec![],
            stores: BTreeMap::new(),
        };
        let start = rows.get(1).map(|line| time(line.split('|').next().unwrap_or_default().trim()));
        Arc::make_mut(&mut table.group).plan.start = Tick::from_us(start.expect("a table has lines"));
        rows.into_iter().skip(1).for_each(|line| table.parse_line(line));
        table.to = until.unwrap_or(table.to);
        table
    }

    fn parse_line(&mut self, line: &str) {
        let Group { plan, keys } = &*self.group;
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let (tick, arrives, changes) = (time(parts[0]), parts[1], parts[2]);
        assert_eq!(up(tick, plan.tick), tick, "{line}");
        for mut event in items(arrives) {
            let eff = event.pop_if(|word| word.starts_with('@')).map_or(tick, |word| time(&word[1..]));
            assert_eq!(event.len(), 1 + keys.len() + plan.inputs.len(), "{event:?}");
            let parse =
                |types: &[DataType], words: &[&str]| types.iter().zip(words).map(|(t, w)| value(t, w)).collect();
            let (key, values) = event[1..].split_at(keys.len());
            let (key, values) = (parse(keys, key), parse(&plan.inputs, values));
            self.events.push(Event {
                key,
                ts: time(event[0]),
                eff,
                comes: tick,
                visible: tick,
                values,
                gone: None,
                takes_back: false,
            });
        }
        self.events.retain(|event| !model::is_late(plan, event));
        let words = |words: Vec<&str>| words.into_iter().map(canonical).collect::<Vec<_>>().join(" ");
        self.expected.extend(items(changes).into_iter().map(|change| format!("{tick} {}", words(change))));
        if let Some(store) = parts.get(3) {
            self.stores.insert(tick, items(store).into_iter().map(words).collect());
        }
        self.to = tick;
    }

    /// As the table's right side has them.
    fn show(&self, changes: &[Change]) -> Vec<String> {
        let results = result_types(&self.group.plan.columns, &self.group.plan.inputs);
        let show = |change: &Change| {
            let row = results.iter().zip(&change.row).map(|(t, v)| token(t, v));
            let unit = self.show_unit(&change.key, change.window);
            format!("{} {unit} {} {:+}", change.time, row.collect::<Vec<_>>().join(" "), change.diff)
        };
        changes.iter().map(show).collect()
    }

    fn show_store(&self, rows: &Rows) -> Vec<String> {
        rows.iter().map(|((key, _), (window, ..))| self.show_unit(key, *window)).collect()
    }

    fn show_unit(&self, key: &[Value], window: Bounds) -> String {
        let key = self.group.keys.iter().zip(key).map(|(t, v)| token(t, v));
        let window = window.map(|(start, end)| format!("[{start},{end})"));
        key.chain(window).collect::<Vec<_>>().join(" ")
    }
}

/// Key types, plan, and how long nothing else may change.
fn head(lines: &[&str]) -> (Vec<DataType>, Plan, Option<i64>) {
    let (mut keys, mut inputs, mut until, mut retain) = (Vec::new(), Vec::<(&str, DataType)>::new(), None, None);
    let mut plan = Plan::trailing(vec![], vec![], Span::from_us(1), Tick::BEFORE_ALL);
    for line in lines {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["tick", length] => plan.tick = duration(length),
            ["until", t] => until = Some(time(t)),
            ["key", _, of_type] => keys.push(data_type(of_type)),
            ["of", name, of_type] => inputs.push((name, data_type(of_type))),
            ["window", "tumbling", size] => {
                plan.window = Window::Hopping { size: duration(size), every: duration(size) };
            }
            ["window", "hopping", size, every] => {
                plan.window = Window::Hopping { size: duration(size), every: duration(every) };
            }
            ["window", "days", size, zone] => {
                let size = size.parse().unwrap();
                plan.window = Window::Calendar(Calendar::new(zone.parse().unwrap(), size, size, 0));
            }
            ["window", "session", gap] => plan.window = Window::Session { gap: duration(gap) },
            ["lateness", length] => plan.lateness = duration(length),
            ["retain", length] => retain = Some(duration(length)),
            [name, aggregate, ref words @ ..] => {
                let (of, length) = match (plan.window, words) {
                    (Window::Trailing, [of @ .., length]) => (of.first(), Some(*length).filter(|l| *l != "all")),
                    (_, of) => (of.first(), None),
                };
                let input = of.map(|of| inputs.iter().position(|(name, _)| name == of).unwrap());
                let (name, aggregate) = (name.to_owned(), aggregate.parse().unwrap());
                plan.places.push(Some(plan.columns.len()));
                plan.columns.push(ColumnPlan { name, aggregate, input, length: length.map(duration) });
            }
            _ => panic!("what is {line:?}?"),
        }
    }
    plan.inputs = inputs.into_iter().map(|(_, t)| t).collect();
    plan.retain = retain.unwrap_or(match plan.window {
        Window::Trailing => Span::ZERO,
        Window::Hopping { size, .. } => plan.lateness + size,
        Window::Calendar(calendar) => plan.lateness + Span::from_us(calendar.size() * Span::DAY.us()),
        Window::Session { gap } => plan.lateness + gap,
    });
    if keys.is_empty() {
        keys.push(DataType::Utf8);
    }
    (keys, plan, until)
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

/// A window's bounds in microseconds; other words as they are.
fn canonical(word: &str) -> String {
    match word.strip_prefix('[').and_then(|word| word.strip_suffix(')')).and_then(|word| word.split_once(',')) {
        Some((start, end)) => format!("[{},{})", time(start), time(end)),
        None => word.to_owned(),
    }
}

fn duration(text: &str) -> Span {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        other => panic!("no unit: {other}"),
    };
    Span::from_us(digits.parse::<i64>().unwrap() * unit)
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
        Value::List(items) => {
            let DataType::List(item) = data_type else { panic!("a list of type {data_type}") };
            format!("[{}]", items.iter().map(|v| token(item.data_type(), v)).collect::<Vec<_>>().join(","))
        }
        value => array_value_to_string(&array(data_type, std::slice::from_ref(value)), 0).unwrap(),
    }
}
