//! Saving what lookups hold, and going on from it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use headwater_clocks::{Eff, Span, Tick};
use headwater_operators::keys;
use headwater_operators::saved::Damaged;

use super::super::looked_up::{Raw, RawRow};
use super::super::versions;
use super::kept::{self, FoundRows, HeldState, Holding, Kept};
use super::picked::Picked;
use super::replaced::ReplacedState;
use super::{LookUps, Made};
use crate::base::id::{GroupId, Id, IdVec, ScanId, SourceId};
use crate::catalog::opened::Opened;
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

/// What the lookups of a level put into a checkpoint.
pub struct Saved {
    versions: Vec<(ScanId, RecordBatch)>,
    events: BTreeMap<SourceId, Vec<Kept>>,
    /// Records that replace one another.
    replaced: Vec<(SourceId, Vec<Kept>)>,
}

/// Rows of a batch at most.
const ROWS_AT_ONCE: usize = 16 << 10;

/// What a worker puts into a checkpoint. An event that several levels have is one still.
pub fn batches(opened: &Opened, saved: Vec<Saved>) -> Vec<(Kind, RecordBatch)> {
    let (mut all, mut events) = (vec![], BTreeMap::<SourceId, Vec<Kept>>::new());
    let mut known: HashMap<(*const Raw, u32), usize> = HashMap::new();
    for Saved { versions, events: of_level, replaced } in saved {
        for (source, kept) in replaced {
            let some = kept.chunks(ROWS_AT_ONCE);
            all.extend(some.map(|some| (Kind::Replaced(source), kept::write(&opened.sources[source], some))));
        }
        all.extend(versions.into_iter().map(|(scan, batch)| (Kind::Versions(scan), batch)));
        for (source, kept) in of_level {
            let of_source = events.entry(source).or_default();
            for kept in kept {
                match known.get(&(Rc::as_ptr(&kept.row.0), kept.row.1)) {
                    Some(at) => {
                        of_source[*at].holdings.extend(kept.holdings);
                        of_source[*at].found.extend(kept.found);
                    }
                    None => {
                        known.insert((Rc::as_ptr(&kept.row.0), kept.row.1), of_source.len());
                        of_source.push(kept);
                    }
                }
            }
        }
    }
    for (source, kept) in events {
        let some = kept.chunks(ROWS_AT_ONCE);
        all.extend(some.map(|some| (Kind::Events(source), kept::write(&opened.sources[source], some))));
    }
    all
}

/// Events of a source that were saved, those of these rows. `moved`: by scan of then the one that goes on with it.
///
/// # Errors
/// What is read are no events.
pub fn read_events(
    opened: &Opened,
    source: SourceId,
    batch: &RecordBatch,
    rows: &UInt32Array,
    moved: &IdVec<ScanId, Option<ScanId>>,
) -> Result<Vec<Kept>, Damaged> {
    kept::read((source, &opened.sources[source]), batch, rows, moved)
}

impl LookUps {
    /// What is held, where every tick up to some one is done and nothing was taken in that was sent later. Of versions that are in force those
    /// whose key is this worker's, of so many.
    pub fn save(&self, (worker, workers): (usize, usize)) -> Saved {
        let mut versions = vec![];
        for (scan, state) in &self.tables {
            let is_mine = |key: &[u8]| keys::owner(keys::hash(key), workers) == worker as u64;
            versions.extend(state.messages(is_mine).into_iter().map(|batch| (*scan, batch)));
        }
        let of_source = |state: &ReplacedState| {
            let (last, waiting) = state.kept();
            let kept = |row: &RawRow, state| {
                let holdings = vec![Holding { group: 0, state, suspected: None }];
                Kept { row: row.clone(), holdings, found: vec![vec![]] }
            };
            let last = last.map(|row| kept(row, HeldState::Held));
            (state.source, last.chain(waiting.map(|row| kept(row, HeldState::Waiting))).collect())
        };
        let replaced = self.replaced.values().map(of_source).collect();
        Saved { versions, events: self.kept(), replaced }
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
        for kept in kept::read((source, &self.opened.sources[source]), batch, rows, moved)? {
            let Kept { row: (raw, row), holdings, .. } = kept;
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
        let mut add = |row: &RawRow, holding: Holding, found: FoundRows| {
            let of_source = all.entry(row.0.source).or_default();
            let at = *known.entry((Rc::as_ptr(&row.0), row.1)).or_insert_with(|| {
                of_source.push(Kept { row: row.clone(), holdings: vec![], found: vec![] });
                of_source.len() - 1
            });
            of_source[at].holdings.push(holding);
            of_source[at].found.push(found);
        };
        let suspected = |what: (u8, Option<Span>)| Some(what);
        for (id, group) in &self.groups {
            let group_id = id.number();
            for (slot, event) in (0u32..).zip(&group.held) {
                // What replaces one another is saved by its key.
                let Some(event) = event.as_ref().filter(|event| event.raw.0.keys.is_none()) else { continue };
                let what = group.suspects.get(&slot).copied().and_then(suspected);
                let holding = Holding { group: group_id, state: HeldState::Held, suspected: what };
                add(&event.raw, holding, group.found_rows(event));
            }
            for (row, what) in &group.settled {
                let suspected = suspected(*what);
                add(row, Holding { group: group_id, state: HeldState::Settled, suspected }, vec![]);
            }
        }
        for (group, row) in self.waiting.values().flatten() {
            add(row, Holding { group: group.number(), state: HeldState::Waiting, suspected: None }, vec![]);
        }
        all
    }

    /// Goes on where every tick up to one was done. `versions` follow, then `settle`, then `events`.
    pub fn begin_at(&mut self, done: Tick, horizons: IdVec<ScanId, Eff>) {
        self.done = done;
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
            self.tables.get_mut(&scan).map(|state| state.do_tick(&opened, Tick::BEFORE_ALL, &mut nothing));
        }
        self.loaded.extend(nothing.contents);
        // What had come by then in another partition is told already.
        self.tables.values_mut().for_each(|state| drop(state.register(self.done)));
    }

    /// All records that replace one another are there.
    pub fn settle_replaced(&mut self) {
        self.replaced.values_mut().for_each(|state| drop(state.register(self.done)));
    }

    /// Takes events that were saved of one source, those that its groups have.
    pub fn load_events(&mut self, plan: &Plan, all: &[Kept]) {
        let mut held: BTreeMap<GroupId, Vec<(RawRow, Holding, &FoundRows)>> = BTreeMap::new();
        let mut waiting: BTreeMap<GroupId, Vec<RawRow>> = BTreeMap::new();
        for Kept { row, holdings, found } in all {
            for (holding, found) in holdings.iter().zip(found) {
                let group = plan.groups.find(|group| group.saved == Some(GroupId::from(holding.group)));
                let group = group.filter(|group| self.groups.contains_key(group));
                let Some(group) = group else { continue };
                match holding.state {
                    HeldState::Waiting => waiting.entry(group).or_default().push(row.clone()),
                    HeldState::Held => held.entry(group).or_default().push((row.clone(), *holding, found)),
                    HeldState::Settled => {
                        let (reasons, by) = holding.suspected.unwrap_or_default();
                        let state = self.groups.get_mut(&group).expect("a group that looks up");
                        state.settled.push((row.clone(), (reasons, by)));
                    }
                }
            }
        }
        waiting.into_iter().for_each(|(group, rows)| self.wait(group, rows));
        for (group, all) in held {
            for some in all.chunks(ROWS_AT_ONCE) {
                self.hold_again(group, some);
            }
        }
    }

    /// Events that were held look up what they had looked up.
    fn hold_again(&mut self, id: GroupId, some: &[(RawRow, Holding, &FoundRows)]) {
        let LookUps { opened, tables, groups, answers, .. } = self;
        let group = groups.get_mut(&id).expect("a group that looks up");
        let rows: Vec<RawRow> = some.iter().map(|(row, ..)| row.clone()).collect();
        let picked = |found: &FoundRows| found.iter().map(|found| found.as_ref().map(Picked::saved)).collect();
        let before: Vec<Vec<Option<Picked>>> = some.iter().map(|(.., found)| picked(found)).collect();
        let before = |event: usize, lookup: usize| before[event].get(lookup)?.as_ref();
        let found = group.pick(opened, (id, tables), answers, &rows, &before);
        let (_, picked) = found.expect("what was found in rows is saved");
        for ((row, holding, _), picked) in some.iter().zip(picked) {
            let slot = group.hold(tables, row.clone(), picked);
            if let Some((reasons, by)) = holding.suspected {
                group.suspects.insert(slot, (reasons, by));
            }
        }
    }
}
