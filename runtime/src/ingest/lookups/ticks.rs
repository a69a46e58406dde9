//! Ticks, done one after the other: the versions of each, and what events look up once these are there, or once rows of other groups have
//! come.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use headwater_clocks::Tick;

use super::super::looked_up::RawRow;
use super::super::pipeline::SHAPED_BYTES_MAX;
use super::asking::{Asked, Asking};
use super::draft::Fate;
use super::group::GroupState;
use super::looking::{Picks, parts};
use super::made::{Made, Suspicion, tell};
use super::picked::Picked;
use super::state::{Coming, Doing, LookUps, Waits};
use crate::base::id::{GroupId, ScanId, SourceId};
use crate::catalog::opened::Opened;

/// Events that come, each as a place among those that came with it.
type Arrivals = Vec<(Rc<Asking>, usize)>;

/// What events look up at some ticks.
#[derive(Default)]
struct Looked {
    /// Held events of a group.
    corrections: Vec<(GroupId, Vec<u32>, Picks)>,
    /// Events of a group that come.
    lookups: Vec<(GroupId, Arrivals, Picks)>,
    /// As what comes in the place of others.
    replacements: Vec<(GroupId, Picks)>,
}

/// Events that are made at once, about.
const EVENTS_AT_ONCE: usize = 20_000;

impl LookUps {
    /// Does every tick up to one, or fewer where enough events are made. Returns up to which; `None`: not even the first is done.
    pub fn advance(&mut self, to: Tick) -> (Made, Option<Tick>) {
        let mut made = Made { contents: std::mem::take(&mut self.loaded), ..Made::default() };
        let reached = if self.make(&mut made) { self.do_upto(to, &mut made) } else { Some(to) };
        // What is left of the draft is made the next time.
        let is_made = self.make(&mut made);
        let reached = match self.draft.from.filter(|_| !is_made) {
            Some(from) => reached.min(before(from)),
            None => reached,
        };
        let Some(reached) = reached else { return (made, None) };
        self.done = self.done.max(reached);
        if is_made {
            let mut closed = None;
            while let Some((_, horizons)) = self.horizons.pop_front_if(|(t, _)| *t <= reached) {
                closed = Some(horizons);
            }
            if let Some(horizons) = closed {
                self.horizon = horizons;
                self.forget(reached);
            }
            self.compact();
        }
        (made, Some(reached))
    }

    /// Does ticks as far as that is not enough; what comes of them is in the draft then. Returns up to which.
    fn do_upto(&mut self, to: Tick, made: &mut Made) -> Option<Tick> {
        loop {
            let next = self.next_tick(to).filter(|tick| *tick <= to);
            let is_enough = self.draft.records >= EVENTS_AT_ONCE || made.bytes >= SHAPED_BYTES_MAX;
            if let Some(next) = next.filter(|_| is_enough) {
                return before(next);
            }
            let begins = self.groups.values().filter(|group| !group.begun && group.s <= to).map(|group| group.s).min();
            match (next, begins) {
                (Some(tick), begins) if begins.is_none_or(|begins| tick <= begins) => {
                    // What replaces an event takes it back at once, as it was made by then.
                    if !self.replaced.is_empty() && !self.make(made) {
                        return Some(to);
                    }
                    if !self.do_ticks(tick, begins.map_or(to, |begins| begins.min(to)), made) {
                        return before(tick);
                    }
                }
                (_, Some(_)) if !self.make(made) => return Some(to),
                (_, Some(begins)) => self.begin(begins, made),
                (_, None) => return Some(to),
            }
        }
    }

    /// The next tick at which something may come, where every tick up to one can be done.
    fn next_tick(&self, to: Tick) -> Option<Tick> {
        if let Some(doing) = &self.doing {
            return Some(doing.from);
        }
        let of_tables = self.tables.values().filter_map(|table| table.next_tick(to));
        let of_replaced = self.replaced.values().filter_map(|state| state.next_tick(to));
        self.waiting.first().into_iter().chain(of_tables).chain(of_replaced).min()
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
        let Some(Looked { corrections, lookups, replacements }) = self.find(&doing) else {
            self.doing = Some(doing);
            return false;
        };
        corrections.into_iter().for_each(|(id, slots, picks)| self.correct(id, slots, picks, tick));
        lookups.into_iter().for_each(|(id, events, picks)| self.look_up(id, events, picks, tick));
        let coming = doing.coming.into_iter().zip(replacements);
        coming.for_each(|(coming, (_, picks))| self.put_in(coming, picks, tick, made));
        self.answers.forget(if doing.is_cut { doing.upto.just_before() } else { doing.upto });
        true
    }

    /// What events look up at a tick, all of it or nothing: those that versions concern, those that come, and those that come in the place of
    /// others.
    fn find(&mut self, doing: &Doing) -> Option<Looked> {
        let LookUps { opened, tables, groups, answers, .. } = self;
        let (mut looked, mut is_whole) = (Looked::default(), true);
        let mut pick = |id: GroupId, asked: &[Asked]| {
            let picks = groups[&id].pick(opened, (id, tables), answers, asked);
            is_whole &= picks.is_some();
            picks
        };
        for (id, slots) in &doing.dirty {
            let group = &groups[id];
            // One that was forgotten since is in no window any more.
            let held = slots.iter().copied().filter(|slot| group.held[*slot as usize].is_some()).collect();
            for slots in group.together(held, |slot| group.event(*slot).raw.0.source) {
                let asked: Vec<Asked> = slots.iter().map(|slot| Asked::Held(group.event(*slot))).collect();
                looked.corrections.extend(pick(*id, &asked).map(|picks| (*id, slots, picks)));
            }
        }
        for (id, events) in &doing.rows {
            for events in groups[id].together(events.clone(), |(asking, event)| asking.rows[*event].0.source) {
                let asked: Vec<Asked> =
                    events.iter().map(|(asking, event)| Asked::Comes(asking, *event, &[])).collect();
                looked.lookups.extend(pick(*id, &asked).map(|picks| (*id, events, picks)));
            }
        }
        for Coming { group, asking, .. } in &doing.coming {
            let asked: Vec<Asked> = (0..asking.rows.len()).map(|event| Asked::Comes(asking, event, &[])).collect();
            looked.replacements.extend(pick(*group, &asked).map(|picks| (*group, picks)));
        }
        if is_whole {
            return Some(looked);
        }
        let Looked { corrections, lookups, replacements } = looked;
        let corrections = corrections.into_iter().map(|(id, _, picks)| (id, picks));
        let lookups = lookups.into_iter().map(|(id, _, picks)| (id, picks));
        let all = corrections.chain(lookups).chain(replacements);
        all.for_each(|(id, picks)| picks.let_go(&groups[&id], tables));
        None
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
        let versions = self.tables.values().filter_map(|table| table.waiting.first()).min();
        let last = versions.map_or(to, |next| to.min(next.just_before()));
        // What is replaced is so tick by tick.
        let last = if self.replaced.is_empty() { last } else { tick };
        // What is asked for already is answered in the order of ticks.
        let last = self.answers.first_asked().map_or(last, |asked| last.min(asked.just_before())).max(tick);
        let came = self.waiting.take(last, EVENTS_AT_ONCE);
        let upto = came.last().map_or(tick, |(tick, _)| *tick);
        let is_cut = self.waiting.first().is_some_and(|next| next <= upto);
        let mut rows: BTreeMap<GroupId, Vec<(Rc<Asking>, usize)>> = BTreeMap::new();
        for (_, Waits { group, asking, event }) in came {
            rows.entry(group).or_default().push((asking, event as usize));
        }
        Doing { from: tick, upto, is_cut, coming: self.coming(&steps), dirty, rows }
    }

    /// Events come, with what they look up, and are held where a version may still correct them.
    fn look_up(&mut self, id: GroupId, events: Vec<(Rc<Asking>, usize)>, mut picks: Picks, tick: Tick) {
        let LookUps { tables, groups, horizon, draft, .. } = self;
        let group = groups.get_mut(&id).expect("a group that looks up");
        let held = group.is_held(tables, horizon, tick);
        for (asking, event) in events {
            let (raw, row) = asking.rows[event].clone();
            let (ts, visible, picked) = (raw.ts(row), raw.visible[row as usize], picks.next());
            let slot = held(ts).then(|| group.next_slot());
            let (becomes, looks) = ((1, Fate::Comes(slot)), picked.iter().map(Picked::look));
            draft.push((id, group.scans.len()), (raw.clone(), row), (tick, visible), becomes, looks);
            match slot {
                Some(_) => drop(group.hold((raw, row), picked)),
                None => group.release(tables, &picked),
            }
        }
    }

    /// Versions have come that concern events: what these look up may be other now.
    fn correct(&mut self, id: GroupId, slots: Vec<u32>, mut picks: Picks, tick: Tick) {
        let LookUps { tables, groups, draft, .. } = self;
        let group = groups.get_mut(&id).expect("a group that looks up");
        let lookups = (id, group.scans.len());
        for slot in slots {
            let (new, event) = (picks.next(), group.event(slot));
            if event.picked.iter().zip(&new).all(|(old, new)| old.is(new)) {
                group.release(tables, &new);
                continue;
            }
            let (old, row) = (event.picked.iter().map(Picked::look), &event.raw);
            draft.push(lookups, row.clone(), (tick, tick), (-1, Fate::Goes), old);
            draft.push(lookups, row.clone(), (tick, tick), (1, Fate::ComesAgain(slot)), new.iter().map(Picked::look));
            group.replace(tables, slot, new);
        }
    }

    /// Makes events of what is in the draft, as long as that is not enough. Returns whether it is all of it.
    fn make(&mut self, made: &mut Made) -> bool {
        let LookUps { draft, groups, opened, .. } = self;
        while let Some(part) = draft.parts.front_mut() {
            let group = groups.get_mut(&part.group).expect("a group that looks up");
            while let Some(events) = part.next() {
                if made.bytes >= SHAPED_BYTES_MAX {
                    return false;
                }
                let refused = group.shape(opened, part, events.clone(), made);
                for event in events.clone() {
                    let (fate, row) = (part.entries[event].fate, &part.rows[event]);
                    group.note((opened, part.group), (row, fate), refused.get(&(event as u32)).copied(), made);
                }
                part.made = events.end;
            }
            draft.parts.pop_front();
        }
        (draft.records, draft.from) = (0, None);
        true
    }
}

/// The last tick before one, if there is any.
fn before(tick: Tick) -> Option<Tick> {
    (tick > Tick::BEFORE_ALL).then(|| tick.just_before())
}

impl GroupState {
    /// Events among which some keys may depend on what is looked up are looked up together where they are of one source, others all at once.
    fn together<T>(&self, all: Vec<T>, source: impl Fn(&T) -> SourceId) -> Vec<Vec<T>> {
        parts(all, |one, other| !self.looks_further || source(one) == source(other))
    }

    /// What is wrong with an event is told, or is noted as long as nobody sees the group's rows.
    fn note(
        &mut self,
        (opened, id): (&Opened, GroupId),
        (row, fate): (&RawRow, Fate),
        what: Option<Suspicion>,
        made: &mut Made,
    ) {
        match (fate, what) {
            (Fate::ComesAgain(slot), _) if !self.begun => {
                self.suspects.remove(&slot);
                self.suspects.extend(what.map(|what| (slot, what)));
            }
            (Fate::Goes, _) | (_, None) => {}
            (_, Some(what)) if self.begun => tell(opened, id, row, what, made),
            (Fate::Comes(Some(slot)) | Fate::ComesAgain(slot), Some(what)) => drop(self.suspects.insert(slot, what)),
            (Fate::Comes(None), Some(what)) => self.settled.push((row.clone(), what)),
        }
    }
}
