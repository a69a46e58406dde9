//! Saving what lookups hold, and going on from it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use headwater_operators::keys;
use headwater_operators::saved::Damaged;

use super::super::looked_up::{Raw, RawRow};
use super::super::versions;
use super::kept::{self, HeldState, Holding, Kept};
use super::{LookUps, Made, wait};
use crate::base::id::{GroupId, Id, IdVec, ScanId, SourceId};
use crate::base::time::{Eff, Span, Tick, Time};
use crate::plan::Plan;

/// Of what a batch of a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Versions, of a scan.
    Versions(ScanId),
    /// Events, of a source.
    Events(SourceId),
    /// Of events that replace one another, of a source.
    Replaced(SourceId),
}

/// What a worker puts into a checkpoint.
pub type Saved = Vec<(Kind, RecordBatch)>;

/// Rows of a batch at most.
const ROWS_AT_ONCE: usize = 16 << 10;

impl LookUps {
    /// What is held, where every tick up to some one is done and nothing was taken in that was sent later. Of versions that are in force those
    /// whose key is this worker's, of so many.
    pub fn save(&self, (worker, workers): (usize, usize)) -> Saved {
        let mut all = vec![];
        for (scan, state) in &self.tables {
            let is_mine = |key: &[u8]| keys::owner(keys::hash(key), workers) == worker as u64;
            all.extend(state.messages(is_mine).into_iter().map(|batch| (Kind::Versions(*scan), batch)));
        }
        for (source, kept) in self.kept() {
            for some in kept.chunks(ROWS_AT_ONCE) {
                all.push((Kind::Events(source), kept::write(&self.opened.sources[source], some)));
            }
        }
        for state in self.replaced.values() {
            let (last, waiting) = state.kept();
            let holding = |state| vec![Holding { group: 0, state, suspected: None }];
            let last = last.map(|row| (row.clone(), holding(HeldState::Held)));
            let kept: Vec<Kept> = last.chain(waiting.map(|row| (row.clone(), holding(HeldState::Waiting)))).collect();
            for some in kept.chunks(ROWS_AT_ONCE) {
                all.push((Kind::Replaced(state.source), kept::write(&self.opened.sources[state.source], some)));
            }
        }
        all
    }

    /// Takes records that replace one another and were saved, those of these rows. `moved`: by scan of then the one that goes on with it.
    ///
    /// # Errors
    /// What is read are no such records.
    pub fn load_replaced(
        &mut self,
        source: SourceId,
        batch: &RecordBatch,
        rows: &UInt32Array,
        moved: &IdVec<ScanId, Option<ScanId>>,
    ) -> Result<(), Damaged> {
        // Of each batch: those that were in force, and those that waited.
        let mut all: Vec<(Rc<Raw>, Vec<u32>, Vec<u32>)> = vec![];
        for ((raw, row), holdings) in kept::read((source, &self.opened.sources[source]), batch, rows, moved)? {
            let at = all.iter().position(|(known, ..)| Rc::ptr_eq(known, &raw)).unwrap_or_else(|| {
                all.push((raw.clone(), vec![], vec![]));
                all.len() - 1
            });
            match holdings.first().map(|holding| holding.state) {
                Some(HeldState::Held) => all[at].1.push(row),
                _ => all[at].2.push(row),
            }
        }
        for (raw, last, waiting) in all {
            let Some(state) = self.replaced.get_mut(&raw.scan) else { continue };
            let loaded = state.load(&raw, &last);
            state.load_waiting(&raw, &waiting);
            self.hold_replaced(raw.scan, loaded);
        }
        Ok(())
    }

    /// By source, the events that groups hold or wait for.
    fn kept(&self) -> BTreeMap<SourceId, Vec<Kept>> {
        let mut all: BTreeMap<SourceId, Vec<Kept>> = BTreeMap::new();
        let mut known: HashMap<(*const Raw, u32), usize> = HashMap::new();
        let mut add = |row: &RawRow, holding: Holding| {
            let of_source = all.entry(row.0.source).or_default();
            let at = *known.entry((Rc::as_ptr(&row.0), row.1)).or_insert_with(|| {
                of_source.push((row.clone(), vec![]));
                of_source.len() - 1
            });
            of_source[at].1.push(holding);
        };
        let suspected = |what: (u8, Option<Span>)| Some((what.0, what.1.map(|by| by.us())));
        for (id, group) in &self.groups {
            let group_id = id.number();
            for (slot, event) in (0u32..).zip(&group.held) {
                // What replaces one another is saved by its key.
                let Some(event) = event.as_ref().filter(|event| event.raw.0.keys.is_none()) else { continue };
                let what = group.suspects.get(&slot).copied().and_then(suspected);
                add(&event.raw, Holding { group: group_id, state: HeldState::Held, suspected: what });
            }
            for (row, what) in &group.settled {
                let suspected = suspected(*what);
                add(row, Holding { group: group_id, state: HeldState::Settled, suspected });
            }
        }
        for (group, row) in self.waiting.values().flatten() {
            add(row, Holding { group: group.number(), state: HeldState::Waiting, suspected: None });
        }
        all
    }

    /// Goes on where every tick up to one was done. `versions` follow, then `settle`, then `events`.
    pub fn begin_at(&mut self, done: Tick, horizons: IdVec<ScanId, Eff>) {
        self.done = done.us();
        self.horizon = horizons;
        self.groups.values_mut().for_each(|group| group.begun = group.s <= done);
    }

    /// Takes versions that were saved of a scan. `tells`: the rows whose dead letters are this worker's to tell.
    ///
    /// # Errors
    /// What is read are no versions.
    pub fn load_versions(&mut self, scan: ScanId, batch: &RecordBatch, tells: &BooleanArray) -> Result<(), Damaged> {
        let batch = versions::loaded(batch, tells)?;
        self.take_versions(scan, &batch, false);
        Ok(())
    }

    /// All versions are there.
    pub fn settle(&mut self) {
        let mut nothing = Made::default();
        let scans: Vec<ScanId> = self.tables.keys().copied().collect();
        for scan in scans {
            let opened = self.opened.clone();
            self.tables.get_mut(&scan).map(|state| state.do_tick(&opened, i64::MIN, &mut nothing));
        }
        self.loaded.extend(nothing.contents);
        // What had come by then in another partition is told already.
        self.tables.values_mut().for_each(|state| drop(state.register(self.done)));
    }

    /// All records that replace one another are there.
    pub fn settle_replaced(&mut self) {
        self.replaced.values_mut().for_each(|state| drop(state.register(self.done)));
    }

    /// Takes events that were saved, those of these rows. `moved`: by scan of then the one that goes on with it.
    ///
    /// # Errors
    /// What is read are no events.
    pub fn load_events(
        &mut self,
        (plan, source): (&Plan, SourceId),
        batch: &RecordBatch,
        rows: &UInt32Array,
        moved: &IdVec<ScanId, Option<ScanId>>,
    ) -> Result<(), Damaged> {
        let mut held: BTreeMap<GroupId, Vec<(RawRow, Holding)>> = BTreeMap::new();
        for (row, holdings) in kept::read((source, &self.opened.sources[source]), batch, rows, moved)? {
            for holding in holdings {
                let group = plan.groups.find(|group| group.saved == Some(GroupId::from(holding.group)));
                let group = group.filter(|group| self.groups.contains_key(group));
                let Some(group) = group else { continue };
                match holding.state {
                    HeldState::Waiting => {
                        wait(&mut self.waiting, (group, &self.groups[&group]), row.clone());
                    }
                    HeldState::Held => held.entry(group).or_default().push((row.clone(), holding)),
                    HeldState::Settled => {
                        let (reasons, by) = holding.suspected.unwrap_or_default();
                        let state = self.groups.get_mut(&group).expect("a group that looks up");
                        state.settled.push((row.clone(), (reasons, by.map(Span::from_us))));
                    }
                }
            }
        }
        for (group, all) in held {
            for some in all.chunks(ROWS_AT_ONCE) {
                self.hold_again(group, some);
            }
        }
        Ok(())
    }

    /// Events that were held look up what they had looked up.
    fn hold_again(&mut self, id: GroupId, some: &[(RawRow, Holding)]) {
        let LookUps { opened, tables, groups, .. } = self;
        let group = groups.get_mut(&id).expect("a group that looks up");
        let rows: Vec<RawRow> = some.iter().map(|(row, _)| row.clone()).collect();
        let (_, picked) = group.pick(opened, (id, tables), &rows);
        for ((row, holding), picked) in some.iter().zip(picked) {
            let slot = group.hold(tables, row.clone(), picked);
            if let Some((reasons, by)) = holding.suspected {
                group.suspects.insert(slot, (reasons, by.map(Span::from_us)));
            }
        }
    }
}
