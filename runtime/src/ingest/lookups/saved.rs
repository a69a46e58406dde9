//! Saving what lookups hold, and going on from it.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::rc::Rc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use headwater_clocks::{Eff, EventTime, Span, Tick};
use headwater_operators::saved::Damaged;

use super::super::looked_up::{Raw, RawRow};
use super::super::versions;
use super::asking::Asked;
use super::kept::{self, FoundRows, HeldState, Holding, Kept};
use super::made::Made;
use super::picked::Picked;
use super::replaced::{Last, ReplacedState};
use super::replacing::Loaded;
use super::state::LookUps;
use crate::base::id::{GroupId, Id, IdVec, ScanId, SourceId};
use crate::base::peer::Peer;
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
    /// Records that replace one another. Of those of another level only what groups have found is new.
    replaced: Vec<(SourceId, Vec<Kept>)>,
}

/// Rows of a batch at most.
const ROWS_AT_ONCE: usize = 16 << 10;

/// What a worker puts into a checkpoint, made as it is asked for. An event that several levels have is one still.
pub fn batches(opened: &Opened, saved: Vec<Saved>) -> impl Iterator<Item = (Kind, RecordBatch)> + '_ {
    let (mut versions, mut events, mut replaced) = (vec![], BTreeMap::new(), BTreeMap::new());
    for Saved { versions: of_level, events: kept, replaced: rows } in saved {
        versions.extend(of_level);
        for (source, kept) in kept {
            add(events.entry(source).or_default(), kept, |kept| Some((Rc::as_ptr(&kept.row.0), kept.row.1)), 0);
        }
        for (source, rows) in rows {
            // Of a key one record is in force, whoever has copied it; each level says of it first that it is.
            let in_force = |kept: &Kept| kept.holdings.first().is_some_and(|of| of.state == HeldState::Held);
            let key = |kept: &Kept| in_force(kept).then(|| ReplacedState::key(&kept.row));
            add(replaced.entry(source).or_default(), rows, key, 1);
        }
    }
    let events = events.into_iter().map(|(source, kept)| (source, Kind::Events(source), kept));
    let replaced = replaced.into_iter().map(|(source, kept)| (source, Kind::Replaced(source), kept));
    let parted = move |(source, kind, kept): (SourceId, Kind, Vec<Kept>)| {
        let find = kept::find(&kept);
        let starts = (0..kept.len()).step_by(ROWS_AT_ONCE);
        starts.map(move |from| {
            let some = &kept[from..kept.len().min(from + ROWS_AT_ONCE)];
            (kind, kept::write(&opened.sources[source], some, find))
        })
    };
    let versions = versions.into_iter().map(|(scan, batch)| (Kind::Versions(scan), batch));
    versions.chain(events.chain(replaced).flat_map(parted))
}

/// To what some levels have of a source that of one more. `key`: what is one has the same; `None`: it is of one level alone. So many
/// holdings are the same in each.
fn add<K: Hash + Eq>(all: &mut Vec<Kept>, kept: Vec<Kept>, key: impl Fn(&Kept) -> Option<K>, same: usize) {
    if all.is_empty() {
        *all = kept;
        return;
    }
    if kept.is_empty() {
        return;
    }
    let known: HashMap<K, usize> = (0..).zip(&*all).filter_map(|(at, kept)| Some((key(kept)?, at))).collect();
    for kept in kept {
        match key(&kept).and_then(|key| known.get(&key)) {
            Some(at) => {
                all[*at].holdings.extend(kept.holdings.into_iter().skip(same));
                all[*at].found.extend(kept.found.into_iter().skip(same));
            }
            None => all.push(kept),
        }
    }
}

/// Events, or records that replace one another, of a source that were saved, those of these rows. `moved`: by scan of then the one that goes on with it.
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

/// Records of one batch that replace one another: those that were in force, and those that waited.
struct OfBatch<'a> {
    raw: &'a Rc<Raw>,
    last: Vec<(u32, &'a Kept)>,
    waiting: Vec<u32>,
}

/// The group that goes on with one of then.
fn group_now(plan: &Plan, of_then: GroupId) -> Option<GroupId> {
    plan.groups.find(|group| group.saved == Some(of_then))
}

impl LookUps {
    /// What is held, where every tick up to some one is done and nothing was taken in that was sent later. Of versions that are in force those
    /// whose key is this worker's.
    pub fn save(&self, peer: Peer) -> Saved {
        let mut versions = vec![];
        for (scan, state) in &self.tables {
            versions.extend(state.messages(|key| peer.owns(key)).into_iter().map(|batch| (*scan, batch)));
        }
        let replaced = self.replaced.values().map(|state| (state.source, self.kept_replaced(state))).collect();
        Saved { versions, events: self.kept(), replaced }
    }

    /// The records of a source that are in force, or wait. The first holding of each says which; those behind it are of groups that have found
    /// rows of others for it.
    fn kept_replaced(&self, state: &ReplacedState) -> Vec<Kept> {
        let (last, waiting) = state.kept();
        let of_record = |state| Holding { group: GroupId::at(0), state, suspected: None };
        let in_force = |last: &Last| {
            let (mut holdings, mut found) = (vec![of_record(HeldState::Held)], vec![vec![]]);
            for (id, slot) in &last.held {
                let group = &self.groups[id];
                // What is in no window any more is held no more.
                let Some(event) = group.held[*slot as usize].as_ref().filter(|_| group.holds(*slot, &last.row)) else {
                    continue;
                };
                let rows = group.found_rows(event);
                if !rows.is_empty() {
                    holdings.push(Holding { group: *id, state: HeldState::Held, suspected: None });
                    found.push(rows);
                }
            }
            Kept { row: last.row.clone(), holdings, found }
        };
        let last = last.map(in_force).filter(|kept| state.tells || kept.holdings.len() > 1);
        let waits = |row: &RawRow| Kept {
            row: row.clone(),
            holdings: vec![of_record(HeldState::Waiting)],
            found: vec![vec![]],
        };
        last.chain(waiting.filter(|_| state.tells).map(waits)).collect()
    }

    /// Takes records of a source that replace one another and were saved.
    pub fn load_replaced(&mut self, plan: &Plan, all: &[Kept]) {
        let mut batches: Vec<OfBatch> = vec![];
        for kept in all {
            let (raw, row) = &kept.row;
            let at = batches.iter().position(|of| Rc::ptr_eq(of.raw, raw)).unwrap_or_else(|| {
                batches.push(OfBatch { raw, last: vec![], waiting: vec![] });
                batches.len() - 1
            });
            match kept.holdings.first().map(|holding| holding.state) {
                Some(HeldState::Held) => batches[at].last.push((*row, kept)),
                _ => batches[at].waiting.push(*row),
            }
        }
        for OfBatch { raw, last, waiting } in batches {
            let Some(state) = self.replaced.get_mut(&raw.scan) else { continue };
            let (rows, last): (Vec<u32>, Vec<&Kept>) = last.into_iter().unzip();
            let loaded = state.load(raw, &rows);
            state.load_waiting(raw, &waiting);
            let loaded = loaded.into_iter().zip(last).map(|((key, row), kept)| {
                let of_groups = kept.holdings.iter().zip(&kept.found).skip(1);
                let found = of_groups.filter_map(|(holding, found)| Some((group_now(plan, holding.group)?, found)));
                (key, row, found.collect())
            });
            let loaded: Vec<Loaded> = loaded.collect();
            self.hold_replaced(raw.scan, &loaded);
            self.ask_for_replaced(raw, waiting.into_iter());
        }
    }

    /// By source, the events that groups hold or wait for.
    fn kept(&self) -> BTreeMap<SourceId, Vec<Kept>> {
        let mut all: BTreeMap<SourceId, Vec<Kept>> = BTreeMap::new();
        // One group alone has each event once.
        let mut known = (self.groups.len() > 1).then(HashMap::<(*const Raw, u32), usize>::new);
        let mut add = |row: &RawRow, holding: Holding, found: FoundRows| {
            let of_source = all.entry(row.0.source).or_default();
            let next = of_source.len();
            let at = known.as_mut().map_or(next, |known| *known.entry((Rc::as_ptr(&row.0), row.1)).or_insert(next));
            if at == next {
                of_source.push(Kept { row: row.clone(), holdings: vec![], found: vec![] });
            }
            of_source[at].holdings.push(holding);
            of_source[at].found.push(found);
        };
        let suspected = |what: (u8, Option<Span>)| Some(what);
        for (id, group) in &self.groups {
            for (slot, event) in (0u32..).zip(&group.held) {
                // What replaces one another is saved by its key.
                let Some(event) = event.as_ref().filter(|event| event.raw.0.keys.is_none()) else { continue };
                let what = group.suspects.get(&slot).copied().and_then(suspected);
                let holding = Holding { group: *id, state: HeldState::Held, suspected: what };
                add(&event.raw, holding, group.found_rows(event));
            }
            for (row, what) in &group.settled {
                let suspected = suspected(*what);
                add(row, Holding { group: *id, state: HeldState::Settled, suspected }, vec![]);
            }
        }
        for waits in self.waiting.values() {
            let (group, row) = (waits.group, waits.row());
            add(row, Holding { group, state: HeldState::Waiting, suspected: None }, vec![]);
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
        let bounds: Vec<EventTime> = self.replaced.keys().map(|scan| self.remembered_from(*scan, self.done)).collect();
        for (state, bound) in self.replaced.values_mut().zip(bounds) {
            // What had come by then in another partition is told already.
            state.register(self.done, bound);
        }
    }

    /// Takes events that were saved of one source, those that its groups have.
    pub fn load_events(&mut self, plan: &Plan, all: &[Kept]) {
        let mut held: BTreeMap<GroupId, Vec<(RawRow, Holding, &FoundRows)>> = BTreeMap::new();
        let mut waiting: BTreeMap<GroupId, Vec<RawRow>> = BTreeMap::new();
        for Kept { row, holdings, found } in all {
            for (holding, found) in holdings.iter().zip(found) {
                let group = group_now(plan, holding.group).filter(|group| self.groups.contains_key(group));
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
        let asking = group.asking(opened, id, some.iter().map(|(row, ..)| row.clone()).collect());
        let saved = |found: &FoundRows| found.iter().map(|found| found.as_ref().map(Picked::saved)).collect();
        let before: Vec<Vec<Option<Picked>>> = some.iter().map(|(.., found)| saved(found)).collect();
        let asked = before.iter().enumerate().map(|(event, before)| Asked::Comes(&asking, event, before));
        let picks = group.pick(opened, (id, tables), answers, &asked.collect::<Vec<_>>());
        let mut picks = picks.expect("what was found in rows is saved");
        for (row, holding, _) in some {
            let slot = group.hold(row.clone(), picks.next());
            if let Some((reasons, by)) = holding.suspected {
                group.suspects.insert(slot, (reasons, by));
            }
        }
    }
}
