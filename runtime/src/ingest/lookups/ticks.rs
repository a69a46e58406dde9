//! Ticks, done one after the other: the versions of each, and what events look up once these are there, or once rows of other groups have
//! come.

use std::collections::{BTreeMap, BTreeSet};

use headwater_clocks::Tick;

use super::super::looked_up::RawRow;
use super::looking::{Found, read_alike};
use super::picked::Picked;
use super::replacing::Coming;
use super::{EVENTS_AT_ONCE, LookUps, Made, tell};
use crate::base::id::{GroupId, ScanId};

/// Ticks that are being done.
pub(super) struct Doing {
    pub(super) from: Tick,
    upto: Tick,
    /// The events that come in the place of others.
    pub(super) coming: Vec<Coming>,
    /// The held events that versions of the first concern.
    dirty: BTreeMap<GroupId, BTreeSet<u32>>,
    /// The events that come.
    rows: BTreeMap<GroupId, Vec<RawRow>>,
}

/// Held events of a group, and what they look up now.
type Correction = (GroupId, Vec<u32>, Found);

/// Events of a group that come, with what they look up.
type LookedUp = (GroupId, Found);

/// What events look up at some ticks.
struct Looked {
    corrections: Vec<Correction>,
    lookups: Vec<LookedUp>,
    /// As what comes in the place of others.
    replacements: Vec<Found>,
}

impl LookUps {
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
        let Some(Looked { corrections, lookups, replacements }) = self.find(&doing) else {
            self.doing = Some(doing);
            return false;
        };
        corrections.into_iter().for_each(|(id, slots, found)| self.correct(id, slots, found, tick, made));
        lookups.into_iter().for_each(|(id, found)| self.look_up(id, found, tick, made));
        let coming = doing.coming.into_iter().zip(replacements);
        coming.for_each(|(coming, found)| self.put_in(coming, found, tick, made));
        self.answers.forget(doing.upto);
        true
    }

    /// What events look up at a tick, all of it or nothing: those that versions concern, those that come, and those that come in the place of
    /// others.
    fn find(&mut self, doing: &Doing) -> Option<Looked> {
        let LookUps { opened, tables, groups, answers, .. } = self;
        let (mut corrections, mut lookups, mut replacements, mut is_whole) = (vec![], vec![], vec![], true);
        let mut pick = |id: GroupId, rows: Vec<RawRow>, held: &[u32]| {
            let group = &groups[&id];
            let before = |event: usize, lookup: usize| Some(&group.event(*held.get(event)?).picked[lookup]);
            let found = group.pick(opened, (id, tables), answers, &rows, &before);
            is_whole &= found.is_some();
            found.map(|(seen, picked)| Found { rows, seen, picked })
        };
        for (id, slots) in &doing.dirty {
            // One that was forgotten since is in no window any more.
            let raw = |slot: &u32| Some((*slot, groups[id].held[*slot as usize].as_ref()?.raw.clone()));
            let held = slots.iter().filter_map(raw).collect();
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
        for coming in &doing.coming {
            replacements.extend(pick(coming.group, coming.rows.clone(), &[]));
        }
        is_whole.then_some(Looked { corrections, lookups, replacements })
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
        Doing { from: tick, upto, coming: self.coming(&steps), dirty, rows: by_group(rows) }
    }

    /// Events come, with what they look up, and are held where a version may still correct them.
    fn look_up(&mut self, id: GroupId, found: Found, tick: Tick, made: &mut Made) {
        let Found { rows, seen, picked } = found;
        let LookUps { opened, tables, groups, horizon, .. } = self;
        let group = groups.get_mut(&id).expect("a group that looks up");
        let visible: Vec<Tick> = rows.iter().map(|(raw, row)| raw.visible[*row as usize]).collect();
        let refused = group.shape(&rows, &seen, &visible, 1, made);
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
}

fn by_group(rows: Vec<(GroupId, RawRow)>) -> BTreeMap<GroupId, Vec<RawRow>> {
    let mut all: BTreeMap<GroupId, Vec<RawRow>> = BTreeMap::new();
    rows.into_iter().for_each(|(group, row)| all.entry(group).or_default().push(row));
    all
}
