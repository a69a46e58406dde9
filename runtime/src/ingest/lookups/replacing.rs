//! What comes of it for groups that another record of a key is in force: the event that goes is taken back, and the one that comes is put
//! in its place, both at that tick.
//!
//! In windows of their own both are judged by the effective time of the record that comes: what it cannot reach any more stays as it is.

use std::rc::Rc;

use headwater_clocks::{Eff, EventTime, Span, Tick};

use super::super::admit::Origin;
use super::super::dead_letters::reason_bit;
use super::super::looked_up::{Raw, RawRow};
use super::asking::{Asked, Asking};
use super::draft::{Fate, Part};
use super::group::GroupState;
use super::kept::FoundRows;
use super::looking::{Picks, read_alike};
use super::made::{Made, tell};
use super::picked::{Look, Picked};
use super::replaced::{ReplacedState, RowKey, Step};
use super::state::{Coming, LookUps};
use super::table::Tables;
use crate::base::id::{GroupId, ScanId};
use crate::catalog::opened::Opened;

/// The steps of a tick, by scan.
pub(super) type Steps = Vec<(ScanId, Vec<Step>)>;

/// An event that was in force when it was saved; and by group what it had looked up in rows of others.
pub(super) type Loaded<'a> = (RowKey, RawRow, Vec<(GroupId, &'a FoundRows)>);

/// An event that is taken back, as it was looked up; and the record that comes in its place.
struct Going {
    row: RawRow,
    looks: Vec<Look>,
    cause: RawRow,
}

impl LookUps {
    /// What is in force from a tick on.
    pub(super) fn steps(&mut self, tick: Tick, made: &mut Made) -> Steps {
        let bounds: Vec<EventTime> = self.replaced.keys().map(|scan| self.remembered_from(*scan, tick)).collect();
        let LookUps { replaced, opened, .. } = self;
        let of_scan = |((scan, state), bound): ((&ScanId, &mut ReplacedState), EventTime)| {
            (*scan, state.do_tick(opened, (tick, bound), made))
        };
        replaced.iter_mut().zip(bounds).map(of_scan).filter(|(_, steps)| !steps.is_empty()).collect()
    }

    /// At a tick, events from before it keep no key of a scan remembered: they are in no window of those that read it.
    pub(super) fn remembered_from(&self, scan: ScanId, tick: Tick) -> EventTime {
        self.readers[&scan].iter().map(|windows| windows.remembered_at(tick)).min().unwrap_or(EventTime::AFTER_ALL)
    }

    /// Takes back what is no longer in force.
    pub(super) fn take_back(&mut self, steps: &Steps, tick: Tick, made: &mut Made) {
        let LookUps { opened, tables, groups, replaced, passed_over, .. } = self;
        for (scan, steps) in steps {
            let state = replaced.get_mut(scan).expect("a scan with steps");
            for (id, group) in groups.iter_mut().filter(|(_, group)| group.reads(*scan)) {
                let going = group.going((*id, tables), state, steps);
                for part in read_alike(going, |going| &going.cause.0) {
                    *passed_over.entry(*id).or_default() += group.take_back(opened, *id, part, tick, made);
                }
            }
        }
    }

    /// What is in force now, as groups get it.
    pub(super) fn coming(&self, steps: &Steps) -> Vec<Coming> {
        let mut all = vec![];
        for (scan, steps) in steps {
            for (id, group) in self.groups.iter().filter(|(_, group)| group.reads(*scan)) {
                let coming = |step: &Step| Some((step.key.clone(), step.coming()?.clone()));
                let coming = steps.iter().filter_map(coming).filter(|(_, row)| group.reaches(row)).collect();
                for part in read_alike(coming, |(_, row): &(RowKey, RawRow)| &row.0) {
                    let (keys, rows) = part.into_iter().unzip();
                    let asking = group.asking(&self.opened, *id, rows);
                    all.push(Coming { scan: *scan, group: *id, keys, asking });
                }
            }
        }
        all
    }

    /// Puts it in, with what it looks up.
    pub(super) fn put_in(&mut self, coming: Coming, picks: Picks, tick: Tick, made: &mut Made) {
        let LookUps { opened, groups, replaced, .. } = self;
        let state = replaced.get_mut(&coming.scan).expect("a scan with steps");
        let group = groups.get_mut(&coming.group).expect("a group that reads the scan");
        group.put_in((opened, coming.group), state, (coming.keys, coming.asking, picks), tick, made);
    }

    /// Records that came ask for the rows that their events will look up, where that depends on them alone.
    pub(super) fn ask_for_replaced(&mut self, raw: &Rc<Raw>, rows: impl Iterator<Item = u32> + Clone) {
        let LookUps { opened, groups, answers, .. } = self;
        for (id, group) in groups.iter().filter(|(_, group)| group.asks_ahead && group.reads(raw.scan)) {
            let some = rows.clone().map(|row| (raw.clone(), row));
            let some = some.filter(|row| !super::replaced::removes(row) && group.reaches(row));
            group.asking(opened, *id, some.collect()).ask_ahead(&opened.groups[*id].lookups, answers);
        }
    }

    /// Events that were in force when they were saved are held again, with what they had looked up in rows of groups.
    pub(super) fn hold_replaced(&mut self, scan: ScanId, loaded: &[Loaded]) {
        let LookUps { opened, tables, groups, replaced, answers, done, horizon, .. } = self;
        let state = replaced.get_mut(&scan).expect("a scan whose events are replaced");
        for (id, group) in groups.iter_mut().filter(|(_, group)| group.reads(scan)) {
            if group.scans.is_empty() && group.begun {
                continue;
            }
            let from = group.windows.from(*done, horizon);
            let is_in =
                |(_, row, _): &&Loaded| !super::replaced::removes(row) && group.reaches(row) && row.0.ts(row.1) >= from;
            let some: Vec<&Loaded> = loaded.iter().filter(is_in).collect();
            for part in read_alike(some, |(_, row, _): &&Loaded| &row.0) {
                let rows: Vec<RawRow> = part.iter().map(|(_, row, _)| row.clone()).collect();
                let of_group = |of: &[(GroupId, &FoundRows)]| -> Vec<Option<Picked>> {
                    let found = of.iter().filter(|(of, _)| of == id).flat_map(|(_, found)| found.iter());
                    found.map(|found| found.as_ref().map(Picked::saved)).collect()
                };
                let before: Vec<_> = part.iter().map(|(.., found)| of_group(found)).collect();
                let asking = group.asking(opened, *id, rows);
                let asked = before.iter().enumerate().map(|(event, before)| Asked::Comes(&asking, event, before));
                let picks = group.pick(opened, (*id, tables), answers, &asked.collect::<Vec<_>>());
                let picks = picks.expect("what was found in rows is saved");
                let keys = part.iter().map(|(key, ..)| key.clone()).collect();
                // They are in the group's state already: what comes of it is not told again.
                let found = (keys, asking, picks);
                group.put_in((opened, *id), state, found, *done, &mut Made::default());
            }
        }
    }
}

impl GroupState {
    /// Whether it takes the events of a scan.
    pub(super) fn reads(&self, scan: ScanId) -> bool {
        self.event_scans.contains(&scan)
    }

    /// Whether some window may hold an event.
    fn reaches(&self, (raw, row): &RawRow) -> bool {
        let origin = if raw.of_history { Origin::History { s: Some(self.s) } } else { Origin::Stream };
        self.shapers[&raw.source].reaches_row(raw.scan, origin, &raw.stamped[*row as usize])
    }

    /// The events that go of those that it has, and are held no more.
    fn going(&mut self, (id, tables): (GroupId, &mut Tables), state: &mut ReplacedState, steps: &[Step]) -> Vec<Going> {
        let mut going = vec![];
        for step in steps {
            let Some((row, held)) = step.old.as_ref().filter(|(row, _)| self.reaches(row)) else { continue };
            let mut looks = vec![];
            if self.scans.is_empty() {
                state.suspects.remove(&(id, step.key.clone()));
            } else {
                let slot = held.iter().find(|(group, _)| *group == id).map(|(_, slot)| *slot);
                // If it is not held any more it is in no window.
                let Some(slot) = slot.filter(|slot| self.holds(*slot, row)) else { continue };
                looks = self.event(slot).picked.iter().map(Picked::look).collect();
                let ts = row.0.ts(row.1);
                self.by_ts.remove(&(ts, slot));
                self.suspects.remove(&slot);
                self.let_go(tables, ts, slot);
            }
            going.push(Going { row: row.clone(), looks, cause: step.new.clone() });
        }
        going
    }

    pub(super) fn holds(&self, slot: u32, (raw, row): &RawRow) -> bool {
        let held = self.held.get(slot as usize).and_then(Option::as_ref);
        held.is_some_and(|held| Rc::ptr_eq(&held.raw.0, raw) && held.raw.1 == *row)
    }

    /// Returns how many are past taking back.
    fn take_back(&self, opened: &Opened, id: GroupId, going: Vec<Going>, tick: Tick, made: &mut Made) -> u64 {
        let eff = |(raw, row): &RawRow| raw.effs[*row as usize].unwrap_or(Eff::BEFORE_ALL);
        let visible = tick.max(self.told_from);
        let mut part = Part::new(id, self.scans.len(), going[0].cause.0.horizons.clone());
        for Going { row, looks, cause } in going {
            // What had not taken the event has nothing to give back.
            let judged_by = Some(eff(&row).max(eff(&cause)));
            part.push(row, (visible, judged_by), (-1, Fate::Goes), looks.into_iter());
        }
        let refused = self.shape(opened, &part, 0..part.rows.len(), made);
        let was_taken = |(event, (reasons, by)): (&u32, &(u8, Option<Span>))| {
            let event = *event as usize;
            let later = part.entries[event].eff.map_or(Span::ZERO, |eff_of| eff_of - eff(&part.rows[event]));
            reasons & reason_bit("late") != 0 && by.is_none_or(|by| by <= later)
        };
        refused.iter().filter(|one| was_taken(*one)).count() as u64
    }

    fn put_in(
        &mut self,
        (opened, id): (&Opened, GroupId),
        state: &mut ReplacedState,
        (keys, asking, mut picks): (Vec<RowKey>, Asking, Picks),
        tick: Tick,
        made: &mut Made,
    ) {
        let Some((first, _)) = asking.rows.first() else { return };
        let (looks_up, visible) = (!self.scans.is_empty(), tick.max(self.told_from));
        let mut part = Part::new(id, self.scans.len(), first.horizons.clone());
        for (key, row) in keys.iter().zip(&asking.rows) {
            let (picked, eff) = (picks.next(), row.0.effs[row.1 as usize]);
            let slot = looks_up.then(|| self.next_slot());
            part.push(row.clone(), (visible, eff), (1, Fate::Comes(slot)), picked.iter().map(Picked::look));
            if let Some(slot) = slot {
                self.hold(row.clone(), picked);
                state.note_held(key, id, slot);
            }
        }
        let refused = self.shape(opened, &part, 0..part.rows.len(), made);
        for (event, what) in refused {
            let event = event as usize;
            let (row, key) = (&part.rows[event], &keys[event]);
            match part.entries[event].fate {
                _ if self.begun => tell(opened, id, row, what, made),
                Fate::Comes(Some(slot)) => drop(self.suspects.insert(slot, what)),
                _ => drop(state.suspects.insert((id, key.clone()), (row.clone(), what))),
            }
        }
    }
}
