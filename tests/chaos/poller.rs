//! A reader of Redis that looks all the time: no mark falls, no row is newer than `_upto`, and no row goes back.
//!
//! What a row was before may come again where events grow old or are taken back, and live its tick may be another one after a restart. So a
//! row goes back, where something in it only grows, when what it was is there again; to the end, when it names an earlier tick than
//! before; else, in the groups that the model knows, when both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::round::Round;
use crate::one_result::model::Window;
use crate::support::{Snapshot, connect_to, try_snapshot};

/// What was seen of a group since Redis last lost something.
#[derive(Default)]
struct Seen {
    as_of: Option<i64>,
    upto: Option<i64>,
    rows: BTreeMap<String, SeenRow>,
}

#[derive(Default)]
struct SeenRow {
    now: Option<(i64, Fields)>,
    /// The latest time at which it was told to have changed.
    changed_at: i64,
    before: BTreeSet<Fields>,
}

type Fields = BTreeMap<String, String>;

/// By what it is seen that a row goes back.
#[derive(Clone, Copy)]
struct Back {
    /// It is as it was before.
    again: bool,
    /// It names an earlier tick.
    earlier: bool,
    /// Both.
    earlier_again: bool,
}

/// Looks until `stop`. Returns how often it has seen a group.
pub fn watch(round: &Round, stop: &dyn Fn() -> bool) -> usize {
    let (world, scenario) = (round.world, &round.scenario);
    let names = scenario.names();
    let mut seen: Vec<Seen> = names.iter().map(|_| Seen::default()).collect();
    let mut losses = world.redis_losses.load(Ordering::SeqCst);
    let (mut looks, mut connection) = (0, None);
    while !stop() {
        std::thread::sleep(Duration::from_millis(15));
        for (i, ((name, _), seen)) in names.iter().zip(&mut seen).enumerate() {
            if connection.is_none() {
                connection = connect_to(&world.redis_url(), Duration::from_secs(2)).ok();
            }
            let Some(open) = &mut connection else { break };
            let Ok(now) = try_snapshot(open, &scenario.name, name) else {
                connection = None;
                break;
            };
            let lost = world.redis_losses.load(Ordering::SeqCst);
            if lost != losses || lost % 2 == 1 {
                break;
            }
            looks += 1;
            let group = scenario.job.groups.get(i);
            let grows = group.is_some_and(|group| match &group.window {
                Window::Trailing(windows) => windows.contains(&None),
                Window::Hopping { .. } | Window::Session { .. } => true,
            });
            // With other columns a row is another one.
            let same = round.changes() == 0;
            let back =
                Back { again: same && grows, earlier: same && scenario.to_end, earlier_again: same && group.is_some() };
            if let Err(why) = seen.look(&now, back) {
                round.failures.add(format!("the reader of {name} sees: {why}"));
                return looks;
            }
        }
        let lost = world.redis_losses.load(Ordering::SeqCst);
        if lost != losses {
            losses = lost;
            seen.iter_mut().for_each(|seen| *seen = Seen::default());
        }
    }
    looks
}

impl Seen {
    fn look(&mut self, now: &Snapshot, back: Back) -> Result<(), String> {
        if now.as_of < self.as_of || now.upto < self.upto {
            return Err(format!("marks fall: {:?} {:?} -> {:?} {:?}", self.as_of, self.upto, now.as_of, now.upto));
        }
        (self.as_of, self.upto) = (now.as_of, now.upto);
        for (key, fields) in &now.hashes {
            let mut fields = fields.clone();
            let changed_at = fields.remove("_changed_at").and_then(|us| us.parse().ok());
            let changed_at: i64 = changed_at.ok_or_else(|| format!("{key}: no `_changed_at`"))?;
            if now.upto.is_none_or(|upto| changed_at > upto) {
                return Err(format!("{key}: changed at {changed_at}, newer than `_upto` {:?}", now.upto));
            }
            self.rows
                .entry(key.clone())
                .or_default()
                .is(Some((changed_at, fields)), back)
                .map_err(|why| format!("{key}: {why}"))?;
        }
        for (key, row) in self.rows.iter_mut().filter(|(key, _)| !now.hashes.contains_key(*key)) {
            row.is(None, back).map_err(|why| format!("{key}: {why}"))?;
        }
        Ok(())
    }
}

impl SeenRow {
    fn is(&mut self, now: Option<(i64, Fields)>, back: Back) -> Result<(), String> {
        let fields = |row: &Option<(i64, Fields)>| row.as_ref().map(|(_, fields)| fields.clone());
        if fields(&now) == fields(&self.now) {
            // After a restart the same row may name an earlier tick.
            self.now = now;
            return Ok(());
        }
        if let Some((changed_at, fields)) = &now {
            let (again, earlier) = (self.before.contains(fields), *changed_at < self.changed_at);
            let is_back = back.again && again || back.earlier && earlier || back.earlier_again && again && earlier;
            if is_back {
                return Err(format!("an older state is back: {:?} -> {now:?}", self.now));
            }
            self.changed_at = self.changed_at.max(*changed_at);
        }
        self.before.extend(fields(&self.now));
        self.now = now;
        Ok(())
    }
}
