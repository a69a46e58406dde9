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

mod compact;
mod contents;
mod group;
mod kept;
mod looking;
mod picked;
mod replaced;
mod replacing;
mod saved;
mod sent;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use headwater_clocks::{Eff, EventTime, Span, Tick};
use headwater_connectors::Records;
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::table::Pick;

pub use self::contents::Content;
use self::contents::Contents;
use self::group::{GroupState, Suspicion};
pub use self::picked::Query;
use self::picked::{Answers, Picked};
use self::replaced::ReplacedState;
use self::replacing::{Replaced, Steps};
pub use self::saved::{Kind, Saved, batches, read_events};
pub use self::sent::{owned, sent};
pub use self::table::Corrects;
use self::table::{TableState, Tables};
use super::dead_letters::{REASONS, Tally};
use super::looked_up::{Raw, RawRow};
use super::versions::Message;
use crate::base::id::{ColumnSetId, GroupId, IdVec, ScanId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::{OpenLookup, Opened};
use crate::job::LookIn;
use crate::observe::status::ProcessStatus;
use crate::plan::Plan;
use crate::plan::side::Side;

/// Versions stay so long after no window reaches them any more: an event that is too old for every window is looked up as it was, so that
/// what is wrong with it is told.
const GRACE: Span = Span::from_us(86_400_000_000);

/// The bytes of a primary key.
type RowKey = Rc<[u8]>;

/// Events that are made at once.
const EVENTS_AT_ONCE: usize = 20_000;

/// What comes of some ticks.
#[derive(Default)]
pub struct Made {
    /// Of groups, in the order in which they go.
    pub events: Vec<((GroupId, ColumnSetId), RecordBatch)>,
    pub dead_letters: Vec<DeadLetter>,
    pub tally: Tally,
    /// What changes of what tables hold, where views read that.
    pub contents: Vec<Content>,
}

/// The lookups of a worker, on one side of a run.
pub struct LookUps {
    opened: Arc<Opened>,
    tick: Span,
    tables: Tables,
    replaced: Replaced,
    groups: BTreeMap<GroupId, GroupState>,
    /// By group, how many events were past taking back when they were replaced.
    passed_over: BTreeMap<GroupId, u64>,
    waiting: Waiting,
    answers: Answers,
    /// Ticks whose versions are there, and that wait for answers.
    doing: Option<Doing>,
    /// What tables held at the checkpoint that the run goes on from, until it is told.
    loaded: Vec<Content>,
    /// Every tick up to here is done.
    done: Tick,
    /// (t, horizons): once all ticks up to `t` are done, nothing with an `eff` before them comes any more.
    horizons: VecDeque<(Tick, IdVec<ScanId, Eff>)>,
    horizon: IdVec<ScanId, Eff>,
}

impl LookUps {
    /// Those of the groups of a level; the first also has what tables hold, where views read that, tables of which nobody asks
    /// for anything, and what is replaced.
    /// `None`: there is nothing to do. `of`: the worker's number, of so many.
    pub fn open(
        opened: &Arc<Opened>,
        plan: &Plan,
        sets: &ColumnSets,
        (level, of): (usize, (usize, usize)),
    ) -> Option<LookUps> {
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
        let (mut tables, mut replaced) = (BTreeMap::new(), BTreeMap::new());
        for (id, scan) in plan.scans.pairs().filter(|(_, scan)| scan.side == sets.side) {
            let open = &opened.sources[scan.source];
            let is_asked = groups.values().any(|group: &GroupState| group.scans.contains(&Some(id)));
            let is_unasked = level == 0 && opened.graph.groups_of(scan.source).next().is_none();
            if is_asked || is_unasked && open.table.is_some() && open.stream.is_some() {
                tables.insert(id, TableState::new(opened, plan, id, level));
            }
            if level == 0 && open.replaced.is_some() {
                replaced.insert(id, ReplacedState::new(opened, plan, id));
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
            tick: opened.job.tick(),
            tables,
            replaced,
            groups,
            passed_over: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answers: Answers::default(),
            doing: None,
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
        for row in 0..message.len() {
            let visible = message.visible(row);
            let at_once = of_history && visible <= state.s && !state.is_timed && !self.opened.looks_back();
            let at = if at_once { Tick::BEFORE_ALL } else { visible };
            if let Some(eff) = message.eff(row).filter(|_| message.position(row).0.is_some()) {
                let known = Tick::up(eff, self.tick);
                let known = if at_once { Tick::BEFORE_ALL } else { known.min(at) };
                state.registering.entry((known, eff)).or_default().push((message.clone(), row));
            }
            state.waiting.entry(at).or_default().push((message.clone(), row));
        }
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
        group.ask_ahead(&self.opened, id, &mut self.answers, &rows);
        let looks_back = self.opened.looks_back();
        let has_order = self.opened.is_looked_up(id) || group.scans.iter().any(Option::is_none);
        let is_corrected = group.corrected.is_some() && !group.is_timed;
        for (raw, row) in rows {
            let visible = raw.visible[row as usize];
            let at = match (looks_back, raw.of_history && visible <= group.s && is_corrected) {
                (false, true) => Tick::BEFORE_ALL,
                (true, _) if !has_order => visible.max(group.s),
                _ => visible,
            };
            self.waiting.entry(at).or_default().push((id, (raw, row)));
        }
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
    pub fn take_replaced(&mut self, raw: &Rc<Raw>) {
        self.replaced.get_mut(&raw.scan).into_iter().for_each(|state| state.take(raw));
    }

    /// Once all ticks up to `t` are done, nothing with an `eff` before these comes any more.
    pub fn close_after(&mut self, t: Tick, horizons: &IdVec<ScanId, Eff>) {
        self.horizons.push_back((t, horizons.clone()));
    }

    /// Whether the next tick waits for answers.
    pub fn waits(&self) -> bool {
        self.doing.is_some()
    }

    /// Does every tick up to one, or fewer where enough events are made. Returns up to which.
    pub fn advance(&mut self, to: Tick) -> (Made, Tick) {
        let (mut made, mut reached) = (Made { contents: std::mem::take(&mut self.loaded), ..Made::default() }, to);
        let (mut counted, mut events) = (0, 0);
        loop {
            events += made.events[counted..].iter().map(|(_, batch)| batch.num_rows()).sum::<usize>();
            counted = made.events.len();
            let is_enough = events >= EVENTS_AT_ONCE;
            if let Some(next) = self.next_tick(to).filter(|tick| is_enough && *tick <= to && *tick > Tick::BEFORE_ALL) {
                reached = next.just_before();
                break;
            }
            let next = self.next_tick(to).filter(|tick| *tick <= to);
            let begins = self.groups.values().filter(|group| !group.begun && group.s <= to).map(|group| group.s).min();
            match (next, begins) {
                (Some(tick), begins) if begins.is_none_or(|begins| tick <= begins) => {
                    if !self.do_ticks(tick, begins.map_or(to, |begins| begins.min(to)), &mut made) {
                        reached = tick.just_before();
                        break;
                    }
                }
                (_, Some(begins)) => self.begin(begins, &mut made),
                (_, None) => break,
            }
        }
        self.done = self.done.max(reached);
        while let Some((_, horizons)) = self.horizons.pop_front_if(|(t, _)| *t <= reached) {
            self.horizon = horizons;
            self.forget(reached);
        }
        self.compact();
        (made, reached)
    }

    /// The next tick at which something may come, where every tick up to one can be done.
    fn next_tick(&self, to: Tick) -> Option<Tick> {
        if let Some(doing) = &self.doing {
            return Some(doing.from);
        }
        let of_tables = self.tables.values().filter_map(|table| table.next_tick(to));
        let of_replaced = self.replaced.values().filter_map(|state| state.next_tick(to));
        self.waiting.keys().next().copied().into_iter().chain(of_tables).chain(of_replaced).min()
    }

    /// A group's rows are shown from now on: what is wrong is told.
    fn begin(&mut self, tick: Tick, made: &mut Made) {
        let LookUps { groups, opened, replaced, .. } = self;
        for (id, group) in groups.iter_mut().filter(|(_, group)| !group.begun && group.s <= tick) {
            group.begun = true;
            let held = std::mem::take(&mut group.suspects);
            let of_held = held
                .into_iter()
                .filter_map(|(slot, what)| Some((group.held[slot as usize].as_ref()?.raw.clone(), what)));
            let mut all: Vec<_> = of_held.chain(std::mem::take(&mut group.settled)).collect();
            for state in replaced.values_mut() {
                let (of_group, others) =
                    std::mem::take(&mut state.suspects).into_iter().partition(|((of, _), _)| of == id);
                state.suspects = others;
                all.extend(of_group.into_values());
            }
            all.iter().for_each(|(raw, what)| tell(opened, *id, raw, *what, made));
        }
    }

    /// Does a tick, and those behind it up to `to` in which no version comes, as far as enough events do. `false`: they wait for answers, and
    /// are to be done once more.
    fn do_ticks(&mut self, tick: Tick, to: Tick, made: &mut Made) -> bool {
        let doing = match self.doing.take() {
            Some(doing) => doing,
            None => self.begin_ticks(tick, to, made),
        };
        let Some((corrections, lookups)) = self.find(&doing) else {
            self.doing = Some(doing);
            return false;
        };
        corrections.into_iter().for_each(|(id, slots, found)| self.correct(id, slots, found, tick, made));
        lookups.into_iter().for_each(|(id, found)| self.look_up(id, found, tick, made));
        self.put_in(&doing.steps, tick, made);
        self.answers.forget(doing.upto);
        true
    }

    /// What events look up at a tick, all of it or nothing: those that versions concern, and those that come.
    fn find(&mut self, doing: &Doing) -> Option<(Vec<Correction>, Vec<LookedUp>)> {
        let LookUps { opened, tables, groups, answers, .. } = self;
        let (mut corrections, mut lookups, mut is_whole) = (vec![], vec![], true);
        let mut pick = |id: GroupId, rows: Vec<RawRow>, held: &[u32]| {
            let group = &groups[&id];
            let before = |event: usize, lookup: usize| Some(&group.event(*held.get(event)?).picked[lookup]);
            let found = group.pick(opened, (id, tables), answers, &rows, &before);
            is_whole &= found.is_some();
            found.map(|(records, picked)| Found { rows, records, picked })
        };
        for (id, slots) in &doing.dirty {
            let held = slots.iter().map(|slot| (*slot, groups[id].event(*slot).raw.clone())).collect();
            for part in read_alike(held, |(_, row): &(u32, RawRow)| &row.0) {
                let (slots, rows): (Vec<u32>, Vec<RawRow>) = part.into_iter().unzip();
                corrections.extend(pick(*id, rows, &slots).map(|found| (*id, slots, found)));
            }
        }
        for (id, rows) in &doing.rows {
            for rows in read_alike(rows.clone(), |row| &row.0) {
                lookups.extend(pick(*id, rows, &[]).map(|found| (*id, found)));
            }
        }
        is_whole.then_some((corrections, lookups))
    }

    /// The versions of a tick come, and the events of those up to the next that has any.
    fn begin_ticks(&mut self, tick: Tick, to: Tick, made: &mut Made) -> Doing {
        let steps = self.steps(tick, made);
        self.take_back(&steps, tick, made);
        let mut dirty: BTreeMap<GroupId, BTreeSet<u32>> = BTreeMap::new();
        let scans: Vec<ScanId> = self.tables.keys().copied().collect();
        for scan in scans {
            let Some(state) = self.tables.get_mut(&scan) else { continue };
            for changed in state.do_tick(&self.opened, tick, made) {
                for (id, group) in &self.groups {
                    for slot in group.concerned(scan, changed) {
                        dirty.entry(*id).or_default().insert(slot);
                    }
                }
            }
        }
        let versions = self.tables.values().filter_map(|table| table.waiting.keys().next().copied()).min();
        let last = versions.map_or(to, |next| to.min(next.just_before()));
        // What is replaced is so tick by tick.
        let last = if self.replaced.is_empty() { last } else { tick };
        // What is asked for already is answered in the order of ticks.
        let last = self.answers.first_asked().map_or(last, |asked| last.min(asked.just_before())).max(tick);
        let (mut upto, mut rows) = (tick, vec![]);
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= last) {
            if rows.len() >= EVENTS_AT_ONCE {
                break;
            }
            upto = *entry.key();
            rows.extend(entry.remove());
        }
        Doing { from: tick, upto, steps, dirty, rows: by_group(rows) }
    }

    /// Events come, with what they look up, and are held where a version may still correct them.
    fn look_up(&mut self, id: GroupId, found: Found, tick: Tick, made: &mut Made) {
        let Found { rows, records, picked } = found;
        let LookUps { opened, tables, groups, horizon, .. } = self;
        let group = groups.get_mut(&id).expect("a group that looks up");
        let visible: Vec<Tick> = rows.iter().map(|(raw, row)| raw.visible[*row as usize]).collect();
        let refused = group.shape(&rows, &records, &visible, 1, made);
        let held = group.is_held(tables, horizon, tick);
        for (row, (raw, picked)) in rows.into_iter().zip(picked).enumerate() {
            let what = refused.get(&(row as u32)).copied();
            let slot = held(raw.0.ts(raw.1)).then(|| group.hold(tables, raw.clone(), picked));
            match (what, slot) {
                (None, _) => {}
                (Some(what), _) if group.begun => tell(opened, id, &raw, what, made),
                (Some(what), Some(slot)) => {
                    group.suspects.insert(slot, what);
                }
                (Some(what), None) => group.settled.push((raw, what)),
            }
        }
    }

    /// Versions have come that concern events: what these look up may be other now.
    fn correct(&mut self, id: GroupId, slots: Vec<u32>, found: Found, tick: Tick, made: &mut Made) {
        let LookUps { opened, tables, groups, .. } = self;
        let group = groups.get_mut(&id).expect("a group that looks up");
        let Found { rows, picked, .. } = found;
        let is_other = |(slot, new): (&u32, &Vec<Picked>)| {
            group.event(*slot).picked.iter().zip(new).any(|(old, new)| !old.is(new))
        };
        let others: Vec<usize> = (0..slots.len()).filter(|at| is_other((&slots[*at], &picked[*at]))).collect();
        if others.is_empty() {
            return;
        }
        let slots: Vec<u32> = others.iter().map(|at| slots[*at]).collect();
        let rows: Vec<RawRow> = others.iter().map(|at| rows[*at].clone()).collect();
        let new: Vec<Vec<Picked>> = others.iter().map(|at| picked[*at].clone()).collect();
        let old: Vec<Vec<Picked>> = slots.iter().map(|slot| group.event(*slot).picked.clone()).collect();
        let visible = vec![tick; rows.len()];
        let before = group.extended(opened, id, &rows, &old);
        group.shape(&rows, &before, &visible, -1, made);
        let after = group.extended(opened, id, &rows, &new);
        let refused = group.shape(&rows, &after, &visible, 1, made);
        for ((at, slot), picked) in slots.into_iter().enumerate().zip(new) {
            let what = refused.get(&(at as u32)).copied();
            if !group.begun {
                group.suspects.remove(&slot);
                group.suspects.extend(what.map(|what| (slot, what)));
            } else if let Some(what) = what {
                tell(opened, id, &rows[at], what, made);
            }
            group.replace(tables, slot, picked);
        }
    }

    /// Forgets what nothing can ask for any more, once all ticks up to one are done.
    fn forget(&mut self, done: Tick) {
        let LookUps { groups, tables, replaced, horizon, waiting, .. } = self;
        // What replaces or corrects an event before its group begins is still to be known.
        let may_forget = |group: &&mut GroupState| group.begun || !(group.is_replaced || group.is_timed);
        for group in groups.values_mut().filter(may_forget) {
            let bound = group.held_from(tables, done, horizon);
            while let Some((ts, slot)) = group.by_ts.first().copied().filter(|(ts, _)| *ts < bound) {
                group.by_ts.remove(&(ts, slot));
                group.let_go(tables, ts, slot);
            }
        }
        for (scan, state) in replaced.iter_mut() {
            let of_source = groups.values().filter(|group| group.all_scans.contains(scan));
            let from = |group: &GroupState| {
                if group.begun { group.windows_from(done, horizon) } else { EventTime::BEFORE_ALL }
            };
            state.forget(of_source.map(from).min().unwrap_or(EventTime::AFTER_ALL));
        }
        for (scan, state) in tables.iter_mut() {
            let of_table = groups.values().filter(|group| group.scans.contains(&Some(*scan)));
            let unasked = if state.contents.is_some() { EventTime::AFTER_ALL } else { EventTime::BEFORE_ALL };
            let bound = of_table.map(|group| group.windows_from(done, horizon)).min().unwrap_or(unasked);
            let oldest = waiting.values().flatten().map(|(_, (raw, row))| raw.ts(*row)).min();
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
            let of_table = self.tables.values().filter(|table| table.source == id);
            of_source.versions_held = of_table.map(|table| table.table.len() as u64).sum();
            let of_keys = || self.replaced.values().filter(|state| state.source == id);
            of_source.keys_remembered = of_keys().map(|state| state.len() as u64).sum();
            of_source.removed_nothing = of_keys().map(|state| state.passed_over).sum();
        }
        for (id, of_group) in status.groups.pairs_mut() {
            of_group.past_taking_back = self.passed_over.get(&id).copied().unwrap_or(0);
            of_group.events_held = self.groups.get(&id).map_or(0, |group| group.by_ts.len() as u64);
        }
    }
}

/// Events by the tick at which they are looked up, in the order in which they came.
type Waiting = BTreeMap<Tick, Vec<(GroupId, RawRow)>>;

/// Ticks that are being done.
struct Doing {
    from: Tick,
    upto: Tick,
    /// Of which keys another record is in force from the first on.
    steps: Steps,
    /// The held events that versions of the first concern.
    dirty: BTreeMap<GroupId, BTreeSet<u32>>,
    /// The events that come.
    rows: BTreeMap<GroupId, Vec<RawRow>>,
}

/// Events of one source, the records with what they look up, and that by event.
struct Found {
    rows: Vec<RawRow>,
    records: Records,
    picked: Vec<Vec<Picked>>,
}

/// Held events of a group, and what they look up now.
type Correction = (GroupId, Vec<u32>, Found);

/// Events of a group that come, with what they look up.
type LookedUp = (GroupId, Found);

fn by_group(rows: Vec<(GroupId, RawRow)>) -> BTreeMap<GroupId, Vec<RawRow>> {
    let mut all: BTreeMap<GroupId, Vec<RawRow>> = BTreeMap::new();
    rows.into_iter().for_each(|(group, row)| all.entry(group).or_default().push(row));
    all
}

/// Parts of those that were read of one source, when the same windows were closed.
fn read_alike<T>(all: Vec<T>, raw: impl Fn(&T) -> &Raw) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = vec![];
    for one in all {
        let is_alike = |part: &&mut Vec<T>| {
            let (this, other) = (raw(&one), raw(&part[0]));
            this.source == other.source && this.horizons == other.horizons
        };
        match parts.iter_mut().rev().find(is_alike) {
            Some(part) => part.push(one),
            None => parts.push(vec![one]),
        }
    }
    parts
}

/// Tells for which reasons an event is a dead letter of a group, each once.
fn tell(opened: &Opened, group: GroupId, (raw, row): &RawRow, (reasons, late_by): Suspicion, made: &mut Made) {
    let told = &raw.told[*row as usize];
    for (at, reason) in REASONS.iter().enumerate().filter(|(at, _)| reasons & 1 << at != 0) {
        made.tally.refused_by(group, reason);
        if told.get() & 1 << at == 0 {
            told.set(told.get() | 1 << at);
            let late_by = (*reason == "late").then_some(late_by);
            made.tally.refused(raw.source, reason);
            made.dead_letters.push(raw.dead_letter(&opened.job.sources[raw.source].name, *row, reason, late_by));
        }
    }
}
