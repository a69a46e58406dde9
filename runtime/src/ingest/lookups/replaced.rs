//! A source whose events replace one another, as one scan reads it: which record of each key is in force.
//!
//! ```text
//! offset 3: order o1, 10 EUR       V = 5     in force from 5 to 9
//! offset 4: order o1, 12 EUR       V = 9     from 9 on: at 9 the first one is taken back, and this one comes
//! offset 5: order o1, cancelled    V = 9     ... but at 9 this is the last of both, so the second one never was
//! ```
//!
//! In force at `T` is, of the records of a key with `V <= T`, the last in the order of the log. A key is remembered as long as some window
//! may hold its event; a removed one as long as it would be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use arrow::array::{ArrayRef, BinaryArray};
use headwater_clocks::{Eff, EventTime, Offset, Span, Tick};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::table::Place;

use super::super::looked_up::{Raw, RawRow};
use super::super::stamp::Reason;
use super::made::{Made, Suspicion};
use crate::base::id::{GroupId, ScanId, SourceId};
use crate::catalog::computed::is_computed;
use crate::catalog::opened::Opened;
use crate::plan::Plan;

/// The bytes of a primary key.
pub(super) type RowKey = Rc<[u8]>;

pub(super) struct ReplacedState {
    pub(super) source: SourceId,
    entries: HashMap<RowKey, Entry>,
    /// By tick.
    waiting: BTreeMap<Tick, Vec<(RawRow, Place)>>,
    /// By the tick at which all is read that came no later, then by effective time: whose partition a key is, the first of these says.
    registering: BTreeMap<(Tick, Eff), Vec<(RawRow, i64)>>,
    /// By the event time up to which they are remembered.
    by_ts: BTreeSet<(EventTime, RowKey)>,
    /// What is wrong with events that are in force, before their group's `S`; of groups that look nothing up.
    pub(super) suspects: BTreeMap<(GroupId, RowKey), (RawRow, Suspicion)>,
    /// The columns by which the greater row is found, and how they are compared.
    order: Vec<usize>,
    codec: KeyCodec,
    tick: Span,
    /// Nothing is in force before all is read that may be by then.
    first: Tick,
    /// What is wrong with its records is told here, and not by the lookups of another level.
    pub(super) tells: bool,
    /// Removals of what was not there.
    pub(super) passed_over: u64,
    /// Records that were taken in since what is in force was copied together.
    pub(super) taken: usize,
}

/// What is known of a key.
#[derive(Default)]
struct Entry {
    /// The partition of the stream that is its own.
    home: Option<i64>,
    /// How many of its records wait for their tick.
    waiting: u32,
    /// How many of these had come by the last tick: how many are read before that is no matter of the log.
    ahead: u32,
    last: Option<Last>,
}

impl Entry {
    /// Whether the key is remembered at a tick, from which on windows hold what is not before `bound`.
    fn is_remembered(&self, bound: EventTime) -> bool {
        self.ahead > 0 || self.last.as_ref().is_some_and(|last| remembered_until(&last.row) >= bound)
    }
}

/// The record that is in force.
pub(super) struct Last {
    pub(super) row: RawRow,
    place: Place,
    /// By group that looks its events up: under which number it holds this one.
    pub(super) held: Vec<(GroupId, u32)>,
}

/// A key gets another record.
pub(super) struct Step {
    pub(super) key: RowKey,
    /// The event that goes, and under which numbers it is held.
    pub(super) old: Option<(RawRow, Vec<(GroupId, u32)>)>,
    pub(super) new: RawRow,
}

impl Step {
    /// The event that comes.
    pub(super) fn coming(&self) -> Option<&RawRow> {
        Some(&self.new).filter(|row| !removes(row))
    }
}

pub(super) fn removes((raw, row): &RawRow) -> bool {
    raw.stamped[*row as usize].removes
}

impl ReplacedState {
    pub(super) fn new(opened: &Opened, plan: &Plan, id: ScanId, tells: bool) -> ReplacedState {
        let source = plan.scans[id].source;
        let open = &opened.sources[source];
        let fields = open.wanted.schema.fields();
        let is_ordered = |place: &usize| {
            !is_computed(fields[*place].name()) && KeyCodec::new(&[fields[*place].data_type().clone()]).is_ok()
        };
        let mut order: Vec<usize> = (0..fields.len()).filter(is_ordered).collect();
        let column = |place: &usize| {
            let name = fields[*place].name();
            open.schema.fields().iter().position(|field| field.name() == name).unwrap_or(usize::MAX)
        };
        order.sort_by_key(|place| (column(place), *place));
        let types: Vec<_> = order.iter().map(|place| fields[*place].data_type().clone()).collect();
        ReplacedState {
            source,
            entries: HashMap::new(),
            waiting: BTreeMap::new(),
            registering: BTreeMap::new(),
            by_ts: BTreeSet::new(),
            suspects: BTreeMap::new(),
            order,
            codec: KeyCodec::new(&types).expect("types that have an order"),
            tick: opened.job.tick,
            first: plan.first_tick(plan.scans[id].side),
            tells,
            passed_over: 0,
            taken: 0,
        }
    }

    /// Takes records in.
    pub(super) fn take(&mut self, raw: &Rc<Raw>) {
        let rows = self.rows(raw);
        self.taken += rows.len();
        for (row, place) in rows {
            self.wait(row, place);
        }
    }

    /// Records with their places in the log.
    fn rows(&self, raw: &Rc<Raw>) -> Vec<(RawRow, Place)> {
        let is_placed = |row: usize| matches!(raw.positions[row], (Some(_), Some(_)));
        let all = 0..raw.stamped.len();
        let greater = all.clone().any(|row| !is_placed(row)).then(|| self.greater(raw));
        let place = |row: usize| match (raw.positions[row], &greater) {
            ((Some(_), Some(offset)), _) => Place::Log(offset),
            (_, greater) => {
                let eff = raw.effs[row].unwrap_or(Eff::BEFORE_ALL);
                let values = greater.as_ref().map_or(&[][..], |greater| greater.value(row));
                Place::History(eff, raw.stamped[row].ts, values.into())
            }
        };
        all.map(|row| ((raw.clone(), row as u32), place(row))).collect()
    }

    /// By record, bytes of which those of a greater row are greater.
    fn greater(&self, raw: &Raw) -> BinaryArray {
        let columns: Vec<ArrayRef> = self.order.iter().map(|place| raw.records.batch.column(*place).clone()).collect();
        match columns.is_empty() {
            true => BinaryArray::from_iter_values((0..raw.stamped.len()).map(|_| b"")),
            false => self.codec.encode(&columns).expect("columns of its own types"),
        }
    }

    pub(super) fn key((raw, row): &RawRow) -> RowKey {
        raw.keys.as_ref().expect("records that replace one another").value(*row as usize).into()
    }

    fn wait(&mut self, row: RawRow, place: Place) {
        let key = Self::key(&row);
        let (raw, at) = (&row.0, row.1 as usize);
        let visible = raw.visible[at];
        if let (Some(partition), Some(eff)) = (raw.positions[at].0.filter(|_| is_registered(&row)), raw.effs[at]) {
            let known = Tick::up(eff, self.tick).min(visible);
            self.registering.entry((known, eff)).or_default().push((row.clone(), partition));
        }
        self.entries.entry(key).or_default().waiting += 1;
        self.waiting.entry(visible).or_default().push((row, place));
    }

    /// The next tick at which something may come, where every tick up to one can be done.
    pub(super) fn next_tick(&self, to: Tick) -> Option<Tick> {
        let registering = self.registering.keys().next().map(|(known, _)| *known);
        self.waiting.keys().next().copied().into_iter().chain(registering).min().filter(|_| to >= self.first)
    }

    /// All is known that came by a tick: whose partition each key is. Returns what came in another one. `bound`: no window holds an event
    /// from before it; a key that is remembered no more may come in any partition, whether or not it was forgotten already.
    pub(super) fn register(&mut self, tick: Tick, bound: EventTime) -> Vec<RawRow> {
        let mut moved = vec![];
        while let Some(entry) = self.registering.first_entry().filter(|entry| entry.key().0 <= tick) {
            let mut same = entry.remove();
            same.sort_by_key(|(_, partition)| *partition);
            for (row, partition) in same {
                let key = Self::key(&row);
                let entry = self.entries.entry(key.clone()).or_default();
                if entry.home.is_some_and(|home| home != partition) && !entry.is_remembered(bound) {
                    let last = entry.last.take();
                    last.iter().for_each(|last| _ = self.by_ts.remove(&(remembered_until(&last.row), key.clone())));
                    entry.home = None;
                }
                entry.ahead += 1;
                let home = *entry.home.get_or_insert(partition);
                moved.extend((home != partition).then_some(row));
            }
        }
        moved
    }

    /// Does a tick. Returns of which keys another record is in force from then on. `bound`: see `register`.
    pub(super) fn do_tick(&mut self, opened: &Opened, (tick, bound): (Tick, EventTime), made: &mut Made) -> Vec<Step> {
        for row in self.register(tick, bound).iter().filter(|_| self.tells) {
            self.tell_moved(opened, row, made);
        }
        let mut newest: BTreeMap<RowKey, (RawRow, Place)> = BTreeMap::new();
        for (row, place) in self.waiting.remove(&tick).unwrap_or_default() {
            let key = Self::key(&row);
            let entry = self.entries.entry(key.clone()).or_default();
            entry.waiting -= 1;
            let (partition, offset) = row.0.positions[row.1 as usize];
            if is_registered(&row) {
                entry.ahead -= 1;
            }
            let is_moved = offset.is_some() && entry.home.zip(partition).is_some_and(|(home, of)| home != of);
            if is_moved {
                continue;
            }
            match newest.get(&key) {
                Some((_, known)) if *known >= place => {}
                _ => drop(newest.insert(key, (row, place))),
            }
        }
        newest.into_iter().filter_map(|(key, (row, place))| self.step(key, row, place)).collect()
    }

    /// A record comes that is the last of its key, unless a later one is there. `None`: nobody sees anything of it.
    fn step(&mut self, key: RowKey, row: RawRow, place: Place) -> Option<Step> {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.last.as_ref().is_some_and(|last| last.place >= place) {
            return None;
        }
        let before = entry.last.replace(Last { row: row.clone(), place, held: vec![] });
        if let Some(before) = &before {
            self.by_ts.remove(&(remembered_until(&before.row), key.clone()));
        }
        self.by_ts.insert((remembered_until(&row), key.clone()));
        let old = before.filter(|last| !removes(&last.row)).map(|last| (last.row, last.held));
        if old.is_none() && removes(&row) {
            self.passed_over += 1;
            return None;
        }
        Some(Step { key, old, new: row })
    }

    fn tell_moved(&self, opened: &Opened, (raw, row): &RawRow, made: &mut Made) {
        let (name, reason) = (&opened.job.sources[self.source].name, Reason::MovedKey.name());
        made.tally.refused(self.source, reason);
        made.dead_letters.push(raw.dead_letter(name, *row, reason, None));
    }

    /// A group holds the event of a key that is in force.
    pub(super) fn note_held(&mut self, key: &RowKey, group: GroupId, slot: u32) {
        if let Some(last) = self.entries.get_mut(key).and_then(|entry| entry.last.as_mut()) {
            last.held.push((group, slot));
        }
    }

    /// No window holds an event from before `bound` any more.
    pub(super) fn forget(&mut self, bound: EventTime) {
        let gone: Vec<(EventTime, RowKey)> = self.by_ts.iter().take_while(|(ts, _)| *ts < bound).cloned().collect();
        for (ts, key) in gone {
            // A record that waits may lie before it in the log.
            if self.entries.get(&key).is_some_and(|entry| entry.waiting == 0) {
                self.entries.remove(&key);
                self.by_ts.remove(&(ts, key));
            }
        }
    }

    /// The oldest time of an event that waits.
    pub(super) fn oldest_waiting(&self) -> Option<EventTime> {
        self.waiting
            .values()
            .flatten()
            .map(|((raw, row), _)| raw.ts(*row))
            .filter(|ts| *ts > EventTime::BEFORE_ALL)
            .min()
    }

    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The records that are in force, and those that wait.
    pub(super) fn kept(&self) -> (impl Iterator<Item = &Last>, impl Iterator<Item = &RawRow>) {
        let last = self.entries.values().filter_map(|entry| entry.last.as_ref());
        (last, self.waiting.values().flatten().map(|(row, _)| row))
    }

    /// The records that are in force.
    pub(super) fn last_rows(&mut self) -> impl Iterator<Item = &mut RawRow> {
        self.entries.values_mut().filter_map(|entry| entry.last.as_mut()).map(|last| &mut last.row)
    }

    /// Takes records that were in force when they were saved. Returns their keys.
    pub(super) fn load(&mut self, raw: &Rc<Raw>, rows: &[u32]) -> Vec<(RowKey, RawRow)> {
        let mut all = self.rows(raw);
        let mut loaded = vec![];
        for row in rows {
            let place = std::mem::replace(&mut all[*row as usize].1, Place::Log(Offset::at(0)));
            let (row, key) = ((raw.clone(), *row), Self::key(&(raw.clone(), *row)));
            let entry = self.entries.entry(key.clone()).or_default();
            let (partition, offset) = raw.positions[row.1 as usize];
            entry.home = partition.filter(|_| offset.is_some());
            entry.last = Some(Last { row: row.clone(), place, held: vec![] });
            self.by_ts.insert((remembered_until(&row), key.clone()));
            loaded.push((key, row));
        }
        loaded
    }

    /// Takes records that waited when they were saved.
    pub(super) fn load_waiting(&mut self, raw: &Rc<Raw>, rows: &[u32]) {
        let mut all = self.rows(raw);
        for row in rows {
            let place = std::mem::replace(&mut all[*row as usize].1, Place::Log(Offset::at(0)));
            self.wait((raw.clone(), *row), place);
        }
    }
}

/// Whether a record says whose partition its key is.
fn is_registered((raw, row): &RawRow) -> bool {
    let row = *row as usize;
    matches!(raw.positions[row], (Some(_), Some(_))) && raw.effs[row].is_some()
}

/// The event time up to which a record's key is remembered. One that removes and has none: by when it came, which is no earlier.
fn remembered_until((raw, row): &RawRow) -> EventTime {
    let row = *row as usize;
    let came = raw.effs[row].map(|eff| eff.reaches_back(Span::ZERO));
    raw.stamped[row].ts.or(came).unwrap_or(EventTime::BEFORE_ALL)
}
