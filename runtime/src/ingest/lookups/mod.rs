//! What comes between the records of a source and the groups that hold them on their way: lookups in tables or in the rows of other groups, and
//! events that replace one another.
//!
//! ```text
//! orders of tick 3     --> the last of each key, where it is kept --> -1 of the one before, +1 of the new one
//! versions of tick 3   --> table                  events of tick 3 --> on -> what is in force -> where, key, of --> +1
//! versions of tick 9   --> table --> the events that they concern, where these are held --> -1 as they were, +1 as they are
//! ```
//!
//! An event is looked up at its tick, after the versions of that tick. It is held as long as a version may still come that is in force at its
//! time, and some window of the group may hold it. What a group's rows are before its `S` nobody sees: dead letters of what is wrong
//! then are told at `S`, if it is still so.
//!
//! Every worker has all tables, and looks up what it has read itself. Records that replace one another are where their key is. Rows of other
//! groups lie with the workers of their keys, which are asked: a row just before an event never changes. As soon as the event is there, where
//! what it looks up depends on it alone; else at its tick, which is not done before there is an answer. Groups of one *level*, which look up
//! in rows of those below, have lookups of their own.

mod asking;
mod compact;
mod contents;
mod draft;
mod group;
mod kept;
mod looking;
mod made;
mod picked;
mod replaced;
mod replacing;
mod runs;
mod saved;
mod sent;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod ticks;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use headwater_clocks::{Eff, EventTime, Span, Tick};
use headwater_operators::table::Pick;

pub use self::contents::Content;
use self::contents::Contents;
use self::draft::Draft;
use self::group::{GroupState, Windows};
pub use self::made::Made;
use self::picked::Answers;
pub use self::picked::Query;
use self::replaced::ReplacedState;
use self::runs::Runs;
pub use self::saved::{Kind, Saved, batches, read_events};
pub use self::sent::{owned, received, sent};
pub use self::state::LookUps;
use self::state::Waits;
pub use self::table::Corrects;
use self::table::TableState;
use super::looked_up::{Raw, RawRow};
use super::versions::Message;
use crate::base::id::{GroupId, IdVec, ScanId};
use crate::base::peer::Peer;
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::{OpenLookup, Opened};
use crate::job::LookIn;
use crate::observe::status::ProcessStatus;
use crate::plan::Plan;
use crate::plan::side::Side;

/// Versions stay so long after no window reaches them any more: an event that is too old for every window is looked up as it was, so that
/// what is wrong with it is told.
const GRACE: Span = Span::from_us(86_400_000_000);

impl LookUps {
    /// Those of the groups of a level; the first also has what tables hold, where views read that, tables of which nobody asks
    /// for anything, and all sources whose events are replaced.
    /// `None`: there is nothing to do. `of`: the worker's number, of so many.
    pub fn open(opened: &Arc<Opened>, plan: &Plan, sets: &ColumnSets, (level, of): (usize, Peer)) -> Option<LookUps> {
        let holds = |group: &GroupId| {
            let mut events = opened.graph.events_of(*group);
            opened.graph.level(*group) == level && events.any(|source| opened.is_held(*group, source))
        };
        let of_side = |group: &GroupId| plan.side_of(*group) == sets.side;
        let mut groups = BTreeMap::new();
        for group in opened.groups.ids().filter(holds).filter(of_side) {
            let set = sets.groups[group].iter().next()?;
            let scan = |lookup: &OpenLookup| match lookup.of {
                LookIn::Table(table) => Some(set.scans[&table]),
                LookIn::Features(_) => None,
            };
            let scans = opened.groups[group].lookups.iter().map(scan).collect();
            groups.insert(group, GroupState::new(opened, sets, group, scans));
        }
        let (mut tables, mut replaced, mut readers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (id, scan) in plan.scans.pairs().filter(|(_, scan)| scan.side == sets.side) {
            let open = &opened.sources[scan.source];
            let is_asked = groups.values().any(|group: &GroupState| group.scans.contains(&Some(id)));
            let is_unasked = level == 0 && opened.graph.groups_of(scan.source).next().is_none();
            if is_asked || is_unasked && open.table.is_some() && open.stream.is_some() {
                tables.insert(id, TableState::new(opened, plan, id, level));
            }
            if open.replaced.is_some() && (level == 0 || groups.values().any(|group| group.reads(id))) {
                replaced.insert(id, ReplacedState::new(opened, plan, id, level == 0));
                let of_groups = opened.graph.groups_of(scan.source).filter(of_side);
                let windows = of_groups.map(|group| Windows::of(opened, sets, group));
                readers.insert(id, windows.filter(|windows| windows.scans.contains(&id)).collect());
            }
        }
        for table in opened.graph.viewed_tables().filter(|_| sets.side == Side::Live && level == 0) {
            let scan = plan.first_scan(table);
            if plan.scans[scan].side == sets.side {
                let state = tables.entry(scan).or_insert_with(|| TableState::new(opened, plan, scan, level));
                (state.contents, state.is_asked) = (Some(Contents::new(scan, of)), true);
            }
        }
        let horizon = IdVec::filled(Eff::BEFORE_ALL, plan.scans.len());
        (!groups.is_empty() || !tables.is_empty() || !replaced.is_empty()).then(|| LookUps {
            opened: opened.clone(),
            tick: opened.job.tick,
            tables,
            replaced,
            readers,
            groups,
            passed_over: BTreeMap::new(),
            waiting: Runs::default(),
            answers: Answers::default(),
            doing: None,
            draft: Draft::default(),
            loaded: vec![],
            done: Tick::BEFORE_ALL,
            horizons: VecDeque::new(),
            horizon,
        })
    }

    /// Takes versions in. `of_history`: what it holds of a table is there before anything is looked up, since no row is shown before its `S`.
    pub fn take_versions(&mut self, scan: ScanId, batch: &RecordBatch, of_history: bool) {
        let Some(state) = self.tables.get_mut(&scan) else { return };
        let message = Rc::new(Message::open(batch));
        let (mut waiting, mut registering) = (Vec::with_capacity(message.len()), vec![]);
        for row in 0..message.len() {
            let visible = message.visible(row);
            let is_there = of_history && visible <= state.s && !state.is_timed && !self.opened.looks_back();
            let at_once = is_there && state.is_first(&self.opened, &message, row);
            let at = if at_once { Tick::BEFORE_ALL } else { visible };
            if let (Some(eff), Some(partition)) = (message.eff(row), message.position(row).0) {
                let known = Tick::up(eff, self.tick);
                let known = if at_once { Tick::BEFORE_ALL } else { known.min(at) };
                registering.push(((known, eff, partition), (message.clone(), row)));
            }
            waiting.push((at, (message.clone(), row)));
        }
        state.registering.push(registering);
        state.waiting.push(waiting);
    }

    /// Takes events in.
    pub fn take_events(&mut self, raw: &Rc<Raw>) {
        if raw.keys.is_some() {
            return self.take_replaced(raw);
        }
        for (group, rows) in &raw.asked {
            self.wait(*group, rows.iter().map(|row| (raw.clone(), *row)).collect());
        }
    }

    /// Events of one source wait for their ticks. What a history holds of a group is looked up as soon as it is there, where that may be
    /// corrected, and nobody asks for rows of before `S`; where somebody does, what is before the `S` of a group whose own rows nobody asks for
    /// is looked up at `S`.
    fn wait(&mut self, id: GroupId, rows: Vec<RawRow>) {
        let Some(group) = self.groups.get(&id) else { return };
        let asking = Rc::new(group.asking(&self.opened, id, rows));
        asking.ask_ahead(&self.opened.groups[id].lookups, &mut self.answers);
        let looks_back = self.opened.looks_back();
        let has_order = self.opened.is_looked_up(id) || group.scans.iter().any(Option::is_none);
        let is_corrected = group.corrected.is_some() && !group.is_timed;
        let at = |(raw, row): &RawRow| {
            let visible = raw.visible[*row as usize];
            match (looks_back, raw.of_history && visible <= group.s && is_corrected) {
                (false, true) => Tick::BEFORE_ALL,
                (true, _) if !has_order => visible.max(group.s),
                _ => visible,
            }
        };
        let waits = |(event, row)| (at(row), Waits { group: id, asking: asking.clone(), event });
        self.waiting.push((0..).zip(&asking.rows).map(waits).collect());
    }

    /// The rows of a group that are asked for and not sent for yet.
    pub fn take_queries(&mut self) -> Vec<Query> {
        self.answers.take_asked()
    }

    /// The row that a key of a group has just before a tick.
    pub fn take_answer(&mut self, features: GroupId, (key, before): (&[u8], Tick), row: Pick) {
        self.answers.answer(features, key, before, row);
    }

    /// Takes in records that replace one another, all whose key is this worker's.
    fn take_replaced(&mut self, raw: &Rc<Raw>) {
        let Some(state) = self.replaced.get_mut(&raw.scan) else { return };
        state.take(raw);
        self.ask_for_replaced(raw, 0..raw.stamped.len() as u32);
    }

    /// Once all ticks up to `t` are done, nothing with an `eff` before these comes any more.
    pub fn close_after(&mut self, t: Tick, horizons: &IdVec<ScanId, Eff>) {
        self.horizons.push_back((t, horizons.clone()));
    }

    /// Whether all that is to be done waits for answers.
    pub fn waits(&self) -> bool {
        self.doing.is_some() && self.draft.parts.is_empty()
    }

    /// Forgets what nothing can ask for any more, once all ticks up to one are done.
    fn forget(&mut self, done: Tick) {
        let LookUps { groups, tables, replaced, readers, horizon, waiting, .. } = self;
        // What replaces or corrects an event before its group begins is still to be known.
        let may_forget = |group: &&mut GroupState| group.begun || !(group.is_replaced || group.is_timed);
        for group in groups.values_mut().filter(may_forget) {
            let bound = group.held_from(tables, done, horizon);
            while group.by_ts.first().is_some_and(|(ts, _)| *ts < bound) {
                let Some((ts, slot)) = group.by_ts.pop_first() else { break };
                group.let_go(tables, ts, slot);
            }
        }
        for (scan, state) in replaced.iter_mut() {
            let from = readers[scan].iter().map(|windows| windows.remembered_from(done, horizon));
            state.forget(from.min().unwrap_or(EventTime::AFTER_ALL));
        }
        for (scan, state) in tables.iter_mut() {
            let of_table = groups.values().filter(|group| group.scans.contains(&Some(*scan)));
            let unasked = if state.contents.is_some() { EventTime::AFTER_ALL } else { EventTime::BEFORE_ALL };
            let bound = of_table.map(|group| group.windows.from(done, horizon)).min().unwrap_or(unasked);
            let oldest = waiting.fronts().map(|waits| waits.asking.oldest).min();
            let held = groups.values().filter_map(|group| group.by_ts.first().map(|(ts, _)| *ts)).min();
            let replaced = replaced.values().filter_map(ReplacedState::oldest_waiting).min();
            let needed = oldest.into_iter().chain(held).chain(replaced);
            let bound = needed.fold(bound - GRACE, EventTime::min).min(state.contents_from(horizon[*scan], done));
            if bound > EventTime::BEFORE_ALL {
                state.table.forget(bound);
            }
        }
    }

    /// Tells how much is held.
    pub fn tell(&self, status: &mut ProcessStatus) {
        for (id, of_source) in status.sources.pairs_mut() {
            let of_table = || self.tables.values().filter(|table| table.source == id && table.tells);
            if of_table().next().is_some() {
                of_source.versions_held = of_table().map(|table| table.table.len() as u64).sum();
            }
            let of_keys = || self.replaced.values().filter(|state| state.source == id && state.tells);
            if of_keys().next().is_some() {
                of_source.keys_remembered = of_keys().map(|state| state.len() as u64).sum();
                of_source.removed_nothing = of_keys().map(|state| state.passed_over).sum();
            }
        }
        for (id, group) in &self.groups {
            let of_group = &mut status.groups[(*id).into()];
            of_group.past_taking_back = self.passed_over.get(id).copied().unwrap_or(0);
            of_group.events_held = group.by_ts.len() as u64;
        }
    }
}
