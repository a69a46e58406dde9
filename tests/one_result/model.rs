//! What a job's output should be, by brute force: at every tick every row is made anew from all events.

use std::collections::{BTreeMap, BTreeSet};

use headwater_clocks::format_time;

#[derive(Clone, Debug)]
pub struct Event {
    pub key: Option<String>,
    pub x: Option<i64>,
    pub ts: i64,
    /// Null: it arrived when it happened.
    pub arrived: Option<i64>,
}

impl Event {
    pub fn a(&self) -> i64 {
        self.arrived.unwrap_or(self.ts)
    }
}

/// By partition, in the order of offsets.
pub type Log = Vec<Vec<Event>>;

#[derive(Clone, Debug)]
pub enum Window {
    /// The lengths; `None` is `all`.
    Trailing(Vec<Option<i64>>),
    /// Tumbling: `every` is the size.
    Hopping {
        size: i64,
        every: i64,
    },
    Session {
        gap: i64,
    },
}

#[derive(Clone, Debug)]
pub struct Group {
    pub name: &'static str,
    pub window: Window,
    pub retain: i64,
}

#[derive(Clone, Debug)]
pub struct Job {
    pub tick: i64,
    pub lateness: i64,
    pub groups: Vec<Group>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Output {
    pub changes: Vec<String>,
    /// By group.
    pub rows: Vec<Vec<String>>,
    pub dead_letters: Vec<Letter>,
}

/// Reason, partition, offset, arrival, by how much it was late.
pub type Letter = (String, i64, i64, String, Option<i64>);

/// An event with its place in the log, its effective time and the tick from which on it is visible.
struct Seen<'a> {
    event: &'a Event,
    place: (usize, usize),
    history: bool,
    eff: i64,
    v: i64,
}

pub type Bounds = Option<(i64, i64)>;

pub fn up(t: i64, tick: i64) -> i64 {
    -(-t).div_euclid(tick) * tick
}

/// `cuts`: how many records of each partition the history has.
pub fn output(job: &Job, log: &Log, cuts: &[usize]) -> Output {
    let (seen, start, end) = seen(job, log, cuts);
    let mut dead_letters = BTreeMap::new();
    let mut changes = vec![];
    let mut rows = vec![];
    for (order, group) in job.groups.iter().enumerate() {
        let mut stored = vec![];
        for (key, events) in events_of(job, group, &seen, start, &mut dead_letters) {
            let key = format!(r#"{{"k":"{key}"}}"#);
            let mut before: BTreeMap<Bounds, (String, i64)> = BTreeMap::new();
            for t in ticks(job, group, &events, start, end) {
                let now = snapshot(job, group, &events, t, start);
                let same = |bounds: &Bounds, row: &String| before.get(bounds).is_some_and(|(old, _)| old == row);
                let gone = before.iter().filter(|(bounds, (row, _))| now.get(bounds) != Some(row));
                let come = now.iter().filter(|(bounds, row)| !same(bounds, row));
                let gone = gone.map(|(bounds, (row, _))| (-1, *bounds, row));
                for (diff, bounds, row) in gone.chain(come.map(|(bounds, row)| (1, *bounds, row))) {
                    changes.push(((t, order, key.clone(), diff, bounds), change(group, &key, bounds, t, diff, row)));
                }
                let changed_at = |bounds: &Bounds, row: &String| if same(bounds, row) { before[bounds].1 } else { t };
                before = now.into_iter().map(|(b, row)| (b, (row.clone(), changed_at(&b, &row)))).collect();
            }
            let is_stored = |bounds: Bounds| bounds.is_none_or(|(_, past)| past + group.retain >= end);
            for (bounds, (row, changed_at)) in before.into_iter().filter(|(bounds, _)| is_stored(*bounds)) {
                stored.push(((key.clone(), bounds), line(&key, bounds, &row, changed_at, end)));
            }
        }
        stored.sort();
        rows.push(stored.into_iter().map(|(_, line)| line).collect());
    }
    changes.sort();
    Output {
        changes: changes.into_iter().map(|(_, line)| line).collect(),
        rows,
        dead_letters: written(log, dead_letters),
    }
}

/// What is there at the end alone: for the tests of chaos.
#[allow(dead_code)]
#[derive(Debug)]
pub struct AtEnd {
    pub t: i64,
    /// By group, key and window: the last row, whether or not it has left the store.
    pub rows: Vec<BTreeMap<(String, Bounds), String>>,
    pub dead_letters: Vec<Letter>,
}

/// `t`: another end than that of the log, not before it.
#[allow(dead_code)]
pub fn at_end(job: &Job, log: &Log, cuts: &[usize], t: Option<i64>) -> AtEnd {
    let (seen, start, end) = seen(job, log, cuts);
    let t = t.unwrap_or(end);
    let mut dead_letters = BTreeMap::new();
    let mut rows = vec![];
    for group in &job.groups {
        let mut last = BTreeMap::new();
        for (key, events) in events_of(job, group, &seen, start, &mut dead_letters) {
            let now = snapshot(job, group, &events, t, start).into_iter();
            last.extend(now.map(|(bounds, row)| ((format!(r#"{{"k":"{key}"}}"#), bounds), row)));
        }
        rows.push(last);
    }
    AtEnd { t, rows, dead_letters: written(log, dead_letters) }
}

fn written(log: &Log, dead_letters: BTreeMap<(usize, usize, &str), Option<i64>>) -> Vec<Letter> {
    let dead_letters = dead_letters
        .into_iter()
        .map(|((p, o, reason), by)| (reason.to_owned(), p as i64, o as i64, format_time(log[p][o].a()), by));
    let mut dead_letters: Vec<_> = dead_letters.collect();
    dead_letters.sort();
    dead_letters
}

/// The events, the seam and the last tick.
fn seen<'a>(job: &Job, log: &'a Log, cuts: &[usize]) -> (Vec<Seen<'a>>, i64, i64) {
    let mut seen = vec![];
    for (p, records) in log.iter().enumerate() {
        let mut eff = i64::MIN;
        for (o, event) in records.iter().enumerate() {
            eff = eff.max(event.a());
            seen.push(Seen { event, place: (p, o), history: o < cuts[p], eff, v: 0 });
        }
    }
    let newest = seen.iter().filter(|s| s.history).map(|s| s.event.a()).max();
    let start = up(newest.unwrap_or_else(|| seen.iter().map(|s| s.eff).min().unwrap()), job.tick);
    seen.iter_mut().for_each(|s| s.v = up(s.eff.max(s.event.ts).max(start), job.tick));
    let end = seen.iter().filter(|s| !s.history).map(|s| up(s.eff, job.tick)).fold(start, i64::max);
    (seen, start, end)
}

/// The events of a group by key, in order of time. The others become dead letters.
fn events_of<'a>(
    job: &Job,
    group: &Group,
    seen: &'a [Seen<'a>],
    start: i64,
    dead_letters: &mut BTreeMap<(usize, usize, &'static str), Option<i64>>,
) -> BTreeMap<&'a str, Vec<&'a Seen<'a>>> {
    let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for s in seen.iter().filter(|s| is_reached(group, s, start)) {
        let (p, o) = s.place;
        match (s.event.key.as_deref(), late_by(job, group, s)) {
            (None, _) => {
                dead_letters.insert((p, o, "null key"), None);
            }
            (Some(_), Some(by)) => {
                let most = dead_letters.entry((p, o, "late")).or_default();
                *most = (*most).max(Some(by));
            }
            (Some(key), None) => by_key.entry(key).or_default().push(s),
        }
    }
    by_key.values_mut().for_each(|events| events.sort_by_key(|s| s.event.ts));
    by_key
}

/// A row of the history that no window can hold any more at the seam is not looked at.
fn is_reached(group: &Group, s: &Seen, start: i64) -> bool {
    match &group.window {
        _ if !s.history => true,
        Window::Trailing(lengths) => lengths.iter().any(|w| w.is_none_or(|w| s.event.ts > start - w)),
        Window::Hopping { size, every } => {
            holding(*size, *every, s.event.ts).iter().any(|(_, end)| end + group.retain >= start)
        }
        Window::Session { .. } => true,
    }
}

fn late_by(job: &Job, group: &Group, s: &Seen) -> Option<i64> {
    let last = match group.window {
        Window::Trailing(_) => return None,
        Window::Hopping { size, every } => holding(size, every, s.event.ts).into_iter().map(|(_, end)| end).max()?,
        Window::Session { gap } => s.event.ts + gap,
    };
    Some(s.eff - last - job.lateness).filter(|by| *by > 0)
}

/// The windows that hold a time.
fn holding(size: i64, every: i64, ts: i64) -> Vec<(i64, i64)> {
    let newest = ts.div_euclid(every) * every;
    (0..).map(|i| newest - i * every).take_while(|start| ts < start + size).map(|start| (start, start + size)).collect()
}

fn ticks(job: &Job, group: &Group, events: &[&Seen], start: i64, end: i64) -> BTreeSet<i64> {
    let mut ticks: BTreeSet<i64> = events.iter().map(|s| s.v).collect();
    if let Window::Trailing(lengths) = &group.window {
        let old = |s: &&Seen| lengths.iter().flatten().map(|w| up(s.event.ts + w, job.tick)).collect::<Vec<_>>();
        ticks.extend(events.iter().flat_map(old));
    }
    ticks.range(start..=end).copied().collect()
}

fn snapshot(job: &Job, group: &Group, events: &[&Seen], t: i64, start: i64) -> BTreeMap<Bounds, String> {
    let visible: Vec<&Seen> = events.iter().filter(|s| s.v <= t).copied().collect();
    let mut windows: BTreeMap<Bounds, Vec<&Seen>> = BTreeMap::new();
    match &group.window {
        Window::Trailing(lengths) => return trailing(&visible, lengths, t),
        Window::Hopping { size, every } => {
            for s in visible {
                let taking = holding(*size, *every, s.event.ts).into_iter();
                taking
                    .filter(|(_, end)| s.eff <= end + job.lateness)
                    .for_each(|bounds| windows.entry(Some(bounds)).or_default().push(s));
            }
        }
        Window::Session { gap } => {
            for chain in visible.chunk_by(|a, b| b.event.ts - a.event.ts < *gap) {
                let bounds = (chain[0].event.ts, chain[chain.len() - 1].event.ts + gap);
                windows.insert(Some(bounds), chain.to_vec());
            }
        }
    }
    windows.retain(|bounds, _| bounds.is_some_and(|(_, end)| end + group.retain >= start));
    windows.into_iter().map(|(bounds, inside)| (bounds, row(&[(String::new(), inside)]))).collect()
}

fn trailing(visible: &[&Seen], lengths: &[Option<i64>], t: i64) -> BTreeMap<Bounds, String> {
    let inside = |w: Option<i64>| visible.iter().filter(|s| w.is_none_or(|w| s.event.ts > t - w)).copied().collect();
    let all: Vec<(String, Vec<&Seen>)> = lengths.iter().map(|w| (format!("_{}", length(*w)), inside(*w))).collect();
    if all.iter().all(|(_, inside)| inside.is_empty()) { BTreeMap::new() } else { [(None, row(&all))].into() }
}

/// As the job file has it.
pub fn length(us: Option<i64>) -> String {
    us.map_or_else(|| "all".to_owned(), |us| format!("{}s", us / 1_000_000))
}

/// The columns `n s m d l p q` over each of these sets of events, the names with a suffix.
fn row(windows: &[(String, Vec<&Seen>)]) -> String {
    let show = |x: Option<i64>| x.map_or_else(|| "null".to_owned(), |x| x.to_string());
    let xs = |inside: &[&Seen]| inside.iter().filter_map(|s| s.event.x).collect::<Vec<i64>>();
    type Column = (&'static str, fn(&[&Seen], &[i64]) -> Option<i64>);
    let columns: [Column; 7] = [
        ("n", |inside, _| Some(inside.len() as i64)),
        ("s", |_, xs| (!xs.is_empty()).then(|| xs.iter().sum())),
        ("m", |_, xs| xs.iter().max().copied()),
        ("d", |_, xs| Some(xs.iter().collect::<BTreeSet<_>>().len() as i64)),
        ("l", |inside, _| inside.iter().filter_map(|s| Some((s.event.ts, s.event.x?))).max().map(|(_, x)| x)),
        ("p", |_, xs| Some(xs.iter().filter(|x| **x > 2).count() as i64)),
        ("q", |_, xs| xs.iter().filter(|x| **x % 2 == 0).copied().reduce(|a, b| a + b)),
    ];
    let cells = columns.iter().flat_map(|(name, of)| {
        windows.iter().map(move |(suffix, inside)| format!(r#""{name}{suffix}":{}"#, show(of(inside, &xs(inside)))))
    });
    format!("{{{}}}", cells.collect::<Vec<_>>().join(","))
}

fn window(bounds: Bounds) -> String {
    bounds.map_or_else(String::new, |(start, end)| {
        format!(r#""window":{{"start":"{}","end":"{}"}},"#, format_time(start), format_time(end))
    })
}

fn change(group: &Group, key: &str, bounds: Bounds, t: i64, diff: i32, row: &str) -> String {
    let (name, window, time) = (group.name, window(bounds), format_time(t));
    format!(r#"{{"features":"{name}","key":{key},{window}"time":"{time}","diff":{diff},"row":{row}}}"#)
}

fn line(key: &str, bounds: Bounds, row: &str, changed_at: i64, as_of: i64) -> String {
    let (window, changed_at, as_of) = (window(bounds), format_time(changed_at), format_time(as_of));
    format!(r#"{{"key":{key},{window}"row":{row},"changed_at":"{changed_at}","as_of":"{as_of}"}}"#)
}
