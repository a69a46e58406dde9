//! What a group's rows are, by definition: at each tick every window of every key is told anew from the events.

use std::collections::{BTreeMap, BTreeSet};

use headwater_clocks::{Span, Tick, Time};
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::group::{Plan, Window};

use crate::values::Value;
use crate::{aggregates, days};

#[derive(Clone, Debug)]
pub struct Event {
    pub key: Vec<Value>,
    pub ts: i64,
    /// By it is judged whether it is late.
    pub eff: i64,
    /// The tick by which it is read.
    pub comes: i64,
    /// The tick from which on it counts.
    pub visible: i64,
    /// By input of the plan.
    pub values: Vec<Value>,
    /// The tick at which it is taken back, because another one stands in its place.
    pub gone: Option<i64>,
    /// It is that it is taken back.
    pub takes_back: bool,
}

impl Event {
    fn is_seen(&self, now: i64) -> bool {
        self.visible <= now && self.gone.is_none_or(|gone| now < gone)
    }
}

/// The events, and behind each of those that is taken back, that it is.
pub fn with_retractions(events: &[Event]) -> Vec<Event> {
    let back = |event: &Event| {
        let gone = event.gone?;
        Some(Event { visible: gone, comes: gone, takes_back: true, ..event.clone() })
    };
    let both = events.iter().flat_map(|event| std::iter::once(event.clone()).chain(back(event)));
    both.collect()
}

/// Start and end, of groups with windows of their own.
pub type Bounds = Option<(i64, i64)>;

/// In order: by tick, then key, retractions before new rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub time: i64,
    pub key: Vec<Value>,
    pub diff: i8,
    pub window: Bounds,
    pub row: Vec<Value>,
}

/// By key and start: the row, with its window and the tick at which it last changed.
pub type Rows = BTreeMap<(Vec<Value>, Option<i64>), (Bounds, Vec<Value>, i64)>;

/// Every tick from the first to `to`.
pub fn every_tick(plan: &Plan, to: i64) -> BTreeSet<i64> {
    (plan.start.us()..=to).step_by(plan.tick.us() as usize).collect()
}

/// The ticks up to `to` at which an event comes or leaves some trailing window.
pub fn eventful_ticks(plan: &Plan, events: &[Event], to: i64) -> BTreeSet<i64> {
    let mut ticks = BTreeSet::from([plan.start.us()]);
    for event in events {
        ticks.insert(event.visible);
        ticks.extend(event.gone);
        let tick = i128::from(plan.tick.us());
        for length in plan.columns.iter().filter_map(|c| c.length) {
            let leaves = (i128::from(event.ts) + i128::from(length.us()) + tick - 1).div_euclid(tick) * tick;
            ticks.extend(i64::try_from(leaves));
        }
    }
    ticks.into_iter().filter(|tick| (plan.start.us()..=to).contains(tick)).collect()
}

pub fn changes(plan: &Plan, events: &[Event], ticks: &BTreeSet<i64>) -> Vec<Change> {
    let mut by_key: BTreeMap<&[Value], Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_key.entry(&event.key).or_default().push(event);
    }
    let mut changes = Vec::new();
    for (key, events) in by_key {
        let (mut units, mut before) = (Units::new(), BTreeMap::<Bounds, Vec<Value>>::new());
        for time in ticks.iter().copied() {
            let now = units_at(plan, &events, time);
            if now == units {
                continue;
            }
            let row_of = |(bounds, inside): (&Bounds, &Vec<Vec<usize>>)| {
                let known = (units.get(bounds) == Some(inside)).then(|| before[bounds].clone());
                (*bounds, known.unwrap_or_else(|| row(plan, &events, inside)))
            };
            let rows: BTreeMap<Bounds, Vec<Value>> = now.iter().map(row_of).collect();
            let change = |diff, (window, row): (&Bounds, &Vec<Value>)| Change {
                time,
                key: key.to_vec(),
                diff,
                window: *window,
                row: row.clone(),
            };
            changes.extend(before.iter().filter(|(w, row)| rows.get(*w) != Some(*row)).map(|old| change(-1, old)));
            changes.extend(rows.iter().filter(|(w, row)| before.get(*w) != Some(*row)).map(|new| change(1, new)));
            (units, before) = (now, rows);
        }
    }
    changes.sort();
    changes
}

/// The rows that the store has at `time`, once these changes are made.
pub fn store<'a>(plan: &Plan, changes: impl IntoIterator<Item = &'a Change>, time: i64) -> Rows {
    let mut rows = replay(changes);
    rows.retain(|_, (window, ..)| !is_gone(plan, *window, time));
    rows
}

fn replay<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Rows {
    let mut rows = Rows::new();
    for Change { time, key, diff, window, row } in changes {
        let place = (key.clone(), window.map(|(start, _)| start));
        if *diff > 0 {
            assert_eq!(rows.insert(place, (*window, row.clone(), *time)), None, "a row comes where none is");
        } else {
            let old = rows.remove(&place).map(|(window, row, _)| (window, row));
            assert_eq!(old, Some((*window, row.clone())), "retracts what is there");
        }
    }
    rows
}

/// What is left of the changes for one that begins at `start`: first every row of then, and never one that was gone by
/// then.
pub fn from(plan: &Plan, changes: &[Change], start: i64) -> Vec<Change> {
    let (before, after) = changes.split_at(changes.partition_point(|c| c.time <= start));
    let image = replay(before).into_iter();
    let image = image.map(|((key, _), (window, row, _))| Change { time: start, key, diff: 1, window, row });
    image.chain(after.iter().cloned()).filter(|change| !is_gone(plan, change.window, start)).collect()
}

/// Whether a window's row has left the store at `time`.
fn is_gone(plan: &Plan, window: Bounds, time: i64) -> bool {
    window.is_some_and(|(_, end)| i128::from(end) + i128::from(plan.retain.us()) < i128::from(time))
}

/// How many events no window holds: those that are too old for every one when they become visible; those of windows gone
/// at the start. Of a session it depends on what it has grown to when the event comes.
pub fn too_old(plan: &Plan, events: &[Event]) -> std::ops::RangeInclusive<u64> {
    let count = |is: &dyn Fn(&Event) -> bool| events.iter().filter(|event| is(event)).count() as u64;
    let gone = |window: (i64, i64)| is_gone(plan, Some(window), plan.start.us());
    match plan.window {
        Window::Trailing => {
            let sure = count(&|event| plan.columns.iter().all(|c| !holds(c, event, event.visible)));
            sure..=sure
        }
        Window::Hopping { .. } | Window::Calendar(_) => {
            let sure = count(&|event| {
                let windows = windows_taking(plan, event);
                !windows.is_empty() && windows.into_iter().all(gone)
            });
            sure..=sure
        }
        Window::Session { gap } => {
            let own = |event: &Event| gone((event.ts, event.ts.saturating_add(gap.us())));
            let in_the_end = |event: &Event| {
                let of_key: Vec<&Event> = events.iter().filter(|other| other.key == event.key).collect();
                let chains = chains(gap.us(), &of_key, i64::MAX);
                let at = |(start, end): &(i64, i64)| (*start..*end).contains(&event.ts);
                chains.into_keys().find(at).is_some_and(gone)
            };
            count(&in_the_end)..=count(&own)
        }
    }
}

/// Whether no window takes an event that lies in one: such an event is a dead letter.
pub fn is_late(plan: &Plan, event: &Event) -> bool {
    match plan.window {
        Window::Trailing => false,
        Window::Hopping { .. } | Window::Calendar(_) => {
            !windows_holding(plan, event.ts).is_empty() && windows_taking(plan, event).is_empty()
        }
        Window::Session { gap } => {
            i128::from(event.eff) > i128::from(event.ts) + i128::from(gap.us()) + i128::from(plan.lateness.us())
        }
    }
}

/// What there is at a tick: by window, for each column, the events inside, by number.
type Units = BTreeMap<Bounds, Vec<Vec<usize>>>;

fn units_at(plan: &Plan, events: &[&Event], now: i64) -> Units {
    let seen = |n: &usize| events[*n].is_seen(now);
    let units: BTreeMap<(i64, i64), Vec<usize>> = match plan.window {
        Window::Trailing => {
            let inside = |c| (0..events.len()).filter(|n| holds(c, events[*n], now)).collect();
            let windows: Vec<Vec<usize>> = plan.columns.iter().map(inside).collect();
            let there = windows.iter().any(|events| !events.is_empty());
            return there.then_some((None, windows)).into_iter().collect();
        }
        Window::Hopping { .. } | Window::Calendar(_) => {
            let mut units = BTreeMap::<_, Vec<usize>>::new();
            for n in (0..events.len()).filter(seen) {
                windows_taking(plan, events[n]).into_iter().for_each(|window| units.entry(window).or_default().push(n));
            }
            units
        }
        Window::Session { gap } => chains(gap.us(), events, now),
    };
    let there = units.into_iter().filter(|(window, _)| !is_gone(plan, Some(*window), plan.start.us()));
    there.map(|(window, inside)| (Some(window), vec![inside; plan.columns.len()])).collect()
}

/// Sessions: chains of events, each less than `gap` after the one before.
fn chains(gap: i64, events: &[&Event], now: i64) -> BTreeMap<(i64, i64), Vec<usize>> {
    let mut in_time: Vec<usize> = (0..events.len()).filter(|n| events[*n].is_seen(now)).collect();
    in_time.sort_by_key(|n| events[*n].ts);
    let split = |a: &usize, b: &usize| events[*b].ts - events[*a].ts < gap;
    let chains = in_time.chunk_by(split).map(|chain| {
        let (first, last) = (events[chain[0]].ts, events[chain[chain.len() - 1]].ts);
        let mut chain = chain.to_vec();
        chain.sort_unstable();
        ((first, last + gap), chain)
    });
    chains.collect()
}

fn windows_holding(plan: &Plan, ts: i64) -> Vec<(i64, i64)> {
    let (size, every) = match plan.window {
        Window::Hopping { size, every } => (size.us(), every.us()),
        Window::Calendar(calendar) => return days::holding(calendar, ts),
        _ => panic!("no fixed windows: {plan:?}"),
    };
    let newest = i128::from(ts).div_euclid(every.into()) * i128::from(every);
    let starts =
        (0..).map(|n| newest - n * i128::from(every)).take_while(|start| i128::from(ts) < start + i128::from(size));
    starts.filter_map(|start| i64::try_from(start).ok()).map(|start| (start, start + size)).collect()
}

fn windows_taking(plan: &Plan, event: &Event) -> Vec<(i64, i64)> {
    let takes = |(_, end): &(i64, i64)| i128::from(event.eff) <= i128::from(*end) + i128::from(plan.lateness.us());
    windows_holding(plan, event.ts).into_iter().filter(takes).collect()
}

fn holds(column: &ColumnPlan, event: &Event, now: i64) -> bool {
    let after = |length: Span| i128::from(event.ts) > i128::from(now) - i128::from(length.us());
    event.is_seen(now) && column.length.is_none_or(after)
}

fn row(plan: &Plan, events: &[&Event], windows: &[Vec<usize>]) -> Vec<Value> {
    let inside = |numbers: &Vec<usize>| numbers.iter().map(|n| events[*n]).collect::<Vec<_>>();
    plan.columns.iter().zip(windows).map(|(c, numbers)| aggregates::value(plan, c, &inside(numbers))).collect()
}

/// (t, horizon) for the ticks up to `to` after which an event comes: once `t` is finished, no event with an `eff` before
/// the horizon comes any more. Both rise.
pub fn horizons(plan: &Plan, events: &[Event], to: i64) -> Vec<(i64, i64)> {
    let mut in_time: Vec<&Event> = events.iter().collect();
    in_time.sort_by_key(|e| std::cmp::Reverse(e.comes));
    let (mut horizons, mut least) = (vec![(to, to)], i64::MAX);
    for event in in_time {
        least = least.min(event.eff);
        let t = event.comes - plan.tick.us();
        horizons.push((t, least.min(t)));
    }
    horizons.sort_unstable();
    horizons.dedup_by_key(|(t, _)| *t);
    horizons.retain(|(t, _)| (plan.start.us()..=to).contains(t));
    horizons
}

/// When an event becomes visible, where every record is read in time.
pub fn visible(plan: &Plan, eff: i64, ts: i64) -> i64 {
    up(eff.max(ts), plan.tick).max(plan.start.us())
}

/// The first tick at or after a time.
pub fn up(t: i64, tick: Span) -> i64 {
    Tick::up(Tick::from_us(t), tick).us()
}
