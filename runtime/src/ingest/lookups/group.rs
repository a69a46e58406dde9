//! The events that a group holds, and from when on it needs them no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use headwater_clocks::{Eff, EventTime, Span, Tick};
use headwater_operators::events;
use headwater_operators::group::Fixed;
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::table::Changed;

use super::super::looked_up::RawRow;
use super::super::shape::Shaper;
use super::super::versions::value_types;
use super::kept::FoundRows;
use super::made::Suspicion;
use super::picked::{LookupCodecs, OnKey, Picked};
use super::table::{Tables, is_timed};
use crate::base::id::{GroupId, IdVec, ScanId, SourceId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::{OpenLookup, Opened};
use crate::job::{LookIn, Window};

pub(super) struct GroupState {
    /// By source.
    pub(super) shapers: BTreeMap<SourceId, Shaper>,
    pub(super) codecs: Vec<LookupCodecs>,
    /// By lookup in a table: of which scan of it.
    pub(super) scans: Vec<Option<ScanId>>,
    /// Whose events it takes.
    pub(super) event_scans: Vec<ScanId>,
    /// Some rows of other groups can be asked for before the event's tick.
    pub(super) asks_ahead: bool,
    /// Some keys depend on what is looked up before.
    pub(super) looks_further: bool,
    /// Whether some of its events replace one another.
    pub(super) is_replaced: bool,
    /// Whether some of its tables are known tick by tick: see `TableState`.
    pub(super) is_timed: bool,
    /// `S` of the group; and the tick before which nobody tells its rows apart.
    pub(super) s: Tick,
    pub(super) told_from: Tick,
    pub(super) begun: bool,
    pub(super) corrected: Option<SchemaRef>,
    pub(super) windows: Windows,
    pub(super) held: Vec<Option<HeldEvent>>,
    pub(super) free: Vec<u32>,
    /// By event time.
    pub(super) by_ts: BTreeSet<(EventTime, u32)>,
    /// By lookup and number of the key: (event time, held event).
    pub(super) by_key: Vec<Vec<BTreeSet<(EventTime, u32)>>>,
    /// What is wrong before `S`: of events that are held, and of others.
    pub(super) suspects: BTreeMap<u32, Suspicion>,
    pub(super) settled: Vec<(RawRow, Suspicion)>,
}

/// What the windows of a group may hold.
pub(super) struct Windows {
    /// `S` of the group.
    s: Tick,
    /// Of all that it reads.
    pub(super) scans: Vec<ScanId>,
    window: Window,
    /// The longest window of a trailing group; `None`: it holds everything.
    longest: Option<Span>,
    lateness: Span,
    /// How much longer its windows are kept where events replace one another.
    grace: Span,
}

impl Windows {
    pub(super) fn of(opened: &Opened, sets: &ColumnSets, id: GroupId) -> Windows {
        let conf = &opened.job.groups[id];
        let set = sets.groups[id].iter().next().expect("a group has a column set");
        let lengths = conf.columns.iter().map(|column| column.length).collect::<Option<Vec<Span>>>();
        Windows {
            s: set.s.unwrap_or(Tick::AFTER_ALL),
            scans: set.scans.values().copied().collect(),
            window: conf.window,
            longest: lengths.and_then(|all| all.into_iter().max()),
            lateness: opened.lateness(id),
            grace: opened.grace(id),
        }
    }

    /// Events before it are in no window any more, once every tick up to one is done.
    pub(super) fn from(&self, done: Tick, horizon: &IdVec<ScanId, Eff>) -> EventTime {
        self.behind(done, self.scans.iter().map(|scan| horizon[*scan]).min().unwrap_or(Eff::BEFORE_ALL))
    }

    /// The same at a tick from the log alone: how far a horizon has come by then is no matter of it.
    pub(super) fn remembered_at(&self, tick: Tick) -> EventTime {
        if self.s <= tick { self.behind(tick, Eff::reached(tick)) } else { EventTime::BEFORE_ALL }
    }

    fn behind(&self, done: Tick, closed: Eff) -> EventTime {
        let closes = |size: Span| closed.reaches_back(self.lateness) - size - self.grace;
        match self.window {
            Window::Trailing => self.longest.map_or(EventTime::BEFORE_ALL, |longest| done.left(longest).just_after()),
            Window::Tumbling { size } | Window::Hopping { size, .. } => closes(size),
            Window::Calendar(calendar) => closes(Fixed::Calendar(calendar).longest()),
            Window::Session { gap } => closes(gap),
        }
    }

    /// The same, where what is wrong before `S` is still to be known until then.
    pub(super) fn remembered_from(&self, done: Tick, horizon: &IdVec<ScanId, Eff>) -> EventTime {
        if self.s <= done { self.from(done, horizon) } else { EventTime::BEFORE_ALL }
    }
}

/// An event that a version may still correct.
pub(super) struct HeldEvent {
    pub(super) raw: RawRow,
    /// By lookup, of an event that is a list by element before that.
    pub(super) picked: Box<[Picked]>,
}

impl GroupState {
    pub(super) fn new(opened: &Arc<Opened>, sets: &ColumnSets, id: GroupId, scans: Vec<Option<ScanId>>) -> GroupState {
        let open = &opened.groups[id];
        let set = sets.groups[id].iter().next().expect("a group has a column set");
        let windows = Windows::of(opened, sets, id);
        let s = windows.s;
        let shaper = |source: SourceId| {
            let mut of_source = Shaper::of_source(opened, sets, source).into_iter();
            (source, of_source.find(|shaper| shaper.group == id).expect("a group of the source"))
        };
        let codecs = |lookup: &OpenLookup| {
            let (key_types, values) = match lookup.of {
                LookIn::Table(id) => {
                    let table = opened.sources[id].table.as_ref().expect("a table");
                    (table.key_types.clone(), value_types(opened, id))
                }
                LookIn::Features(id) => (opened.groups[id].key_types.clone(), opened.groups[id].looked_up_types()),
            };
            LookupCodecs {
                key: KeyCodec::new(&key_types).expect("key types were checked"),
                key_types,
                values: KeyCodec::new(&values).expect("every type of a column has an order"),
            }
        };
        let windowed = open.shape.windowed();
        GroupState {
            shapers: opened.graph.events_of(id).map(shaper).collect(),
            codecs: open.lookups.iter().map(codecs).collect(),
            by_key: scans.iter().map(|_| vec![]).collect(),
            scans,
            event_scans: opened.graph.events_of(id).map(|source| set.scans[&source]).collect(),
            asks_ahead: open.lookups.iter().any(|of| of.is_ahead && matches!(of.of, LookIn::Features(_))),
            looks_further: open.lookups.iter().any(|of| !of.is_ahead),
            is_replaced: opened.is_replaced(id),
            is_timed: open.lookups.iter().any(|of| matches!(of.of, LookIn::Table(table) if is_timed(opened, table))),
            s,
            told_from: if opened.is_looked_up(id) { Tick::BEFORE_ALL } else { s },
            begun: false,
            corrected: opened.is_corrected(id).then(|| events::corrected_schema(&set.plan.inputs, windowed)),
            windows,
            held: vec![],
            free: vec![],
            by_ts: BTreeSet::new(),
            suspects: BTreeMap::new(),
            settled: vec![],
        }
    }

    pub(super) fn event(&self, slot: u32) -> &HeldEvent {
        self.held[slot as usize].as_ref().expect("an event that is held")
    }

    /// The held events that a change of a table concerns.
    pub(super) fn concerned(&self, scan: ScanId, changed: Changed) -> impl Iterator<Item = u32> {
        let of_lookups = self.by_key.iter().zip(&self.scans).filter(move |(_, of)| **of == Some(scan));
        let of_key = of_lookups.filter_map(move |(by_key, _)| by_key.get(changed.key as usize));
        of_key.flat_map(move |held| {
            let some = held.range((changed.from, 0)..);
            some.take_while(move |(ts, _)| changed.until.is_none_or(|until| *ts < until)).map(|(_, slot)| *slot)
        })
    }

    /// No version that comes behind a tick is in force at a time before it.
    pub(super) fn corrected_from(&self, tables: &Tables, horizon: &IdVec<ScanId, Eff>, tick: Tick) -> EventTime {
        let of_scan = |scan: &ScanId| tables[scan].corrects.from(horizon[*scan], tick);
        self.scans.iter().flatten().map(of_scan).min().unwrap_or(EventTime::AFTER_ALL)
    }

    /// Events before it need not be held any more, once every tick up to one is done.
    pub(super) fn held_from(&self, tables: &Tables, done: Tick, horizon: &IdVec<ScanId, Eff>) -> EventTime {
        let windows = self.windows.from(done, horizon);
        // What replaces an event takes it back as it was.
        if self.is_replaced { windows } else { windows.max(self.corrected_from(tables, horizon, done)) }
    }

    /// Whether an event of a time is to be held, that comes at a tick or behind it.
    pub(super) fn is_held(
        &self,
        tables: &Tables,
        horizon: &IdVec<ScanId, Eff>,
        tick: Tick,
    ) -> impl Fn(EventTime) -> bool + use<> {
        let from = self.corrected_from(tables, horizon, tick);
        let is_corrected = self.corrected.is_some();
        // What a history holds of its tables may still be to come.
        let any = self.is_timed && !self.begun;
        move |ts| is_corrected && (any || ts >= from)
    }

    /// Under which number an event is held next.
    pub(super) fn next_slot(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.held.len() as u32)
    }

    /// `picked`: its keys are held.
    pub(super) fn hold(&mut self, raw: RawRow, picked: Box<[Picked]>) -> u32 {
        let (ts, slot) = (raw.0.ts(raw.1), self.next_slot());
        if self.free.pop().is_none() {
            self.held.push(None);
        }
        self.list((ts, slot), &picked);
        self.held[slot as usize] = Some(HeldEvent { raw, picked });
        self.by_ts.insert((ts, slot));
        slot
    }

    /// What a held event looks up in the rows of groups.
    pub(super) fn found_rows(&self, event: &HeldEvent) -> FoundRows {
        if self.scans.iter().all(Option::is_some) {
            return vec![];
        }
        let one = |(scan, picked): (&Option<ScanId>, &Picked)| if scan.is_none() { picked.to_save() } else { None };
        self.scans.iter().cycle().zip(&event.picked).map(one).collect()
    }

    /// A held event looks up something else from now on.
    pub(super) fn replace(&mut self, tables: &mut Tables, slot: u32, picked: Box<[Picked]>) {
        let HeldEvent { raw, picked: old } = self.held[slot as usize].take().expect("an event that is held");
        let ts = raw.0.ts(raw.1);
        if old.len() != picked.len() || old.iter().zip(&picked).any(|(old, new)| old.key != new.key) {
            self.unlist((ts, slot), &old);
            self.list((ts, slot), &picked);
        }
        self.release(tables, &old);
        self.held[slot as usize] = Some(HeldEvent { raw, picked });
    }

    /// A held event that is no longer listed by its time is let go.
    pub(super) fn let_go(&mut self, tables: &mut Tables, ts: EventTime, slot: u32) {
        let Some(event) = self.held[slot as usize].take() else { return };
        self.unlist((ts, slot), &event.picked);
        self.release(tables, &event.picked);
        self.free.push(slot);
        if let Some(what) = self.suspects.remove(&slot) {
            self.settled.push((event.raw, what));
        }
    }

    fn list(&mut self, event: (EventTime, u32), picked: &[Picked]) {
        for (lookup, number) in self.numbers(picked) {
            let by_key = &mut self.by_key[lookup];
            if by_key.len() <= number as usize {
                by_key.resize_with(number as usize + 1, BTreeSet::new);
            }
            by_key[number as usize].insert(event);
        }
    }

    fn unlist(&mut self, event: (EventTime, u32), picked: &[Picked]) {
        for (lookup, number) in self.numbers(picked) {
            self.by_key[lookup][number as usize].remove(&event);
        }
    }

    /// Lets go of the keys that are held for what was looked up.
    pub(super) fn release(&self, tables: &mut Tables, picked: &[Picked]) {
        for (lookup, number) in self.numbers(picked) {
            if let Some(state) = self.scans[lookup].and_then(|scan| tables.get_mut(&scan)) {
                state.table.release(number);
            }
        }
    }

    /// The numbers of keys in tables, each with its lookup.
    fn numbers<'p>(&self, picked: &'p [Picked]) -> impl Iterator<Item = (usize, u32)> + use<'p> {
        let lookups = self.scans.len();
        let number = move |(at, picked): (usize, &Picked)| match picked.key {
            OnKey::Number(number) => Some((at % lookups, number)),
            _ => None,
        };
        picked.iter().enumerate().filter_map(number)
    }
}
