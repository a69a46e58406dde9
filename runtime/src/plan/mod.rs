//! The plan of a start, written down before any row is counted: what each source is read from, and what is made of it.
//!
//! All of it is data. How a plan is made, `start` says.

pub mod group;
pub mod last_record;
pub mod mode;
pub mod position;
pub mod progress;
pub mod replay;
pub mod scan;
pub mod side;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use headwater_clocks::{Eff, Tick, WallClock};
use headwater_connectors::format::Pins;
use headwater_connectors::history::Pinned;
use headwater_operators::group::Resumed;
use serde::{Deserialize, Serialize};

use group::{PlannedColumnSet, PlannedGroup};
use progress::HistoryProgress;
use scan::Scan;
use side::Side;
use view::PlannedView;

use crate::base::id::{CheckpointNumber, GroupId, HasRows, Id, IdVec, RowsId, ScanId, SinkId, SourceId, ViewId};

/// The smallest horizon of some scans. `None`: one of them has none yet.
pub fn horizon(scans: &[ScanId], horizons: &IdVec<ScanId, Eff>) -> Option<Eff> {
    scans.iter().map(|scan| horizons.get(*scan).copied()).min().flatten()
}

fn has_none(views: &IdVec<ViewId, PlannedView>) -> bool {
    views.is_empty()
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The wall clock of the start that asked for the ends of the streams.
    #[serde(rename = "now_us")]
    pub now: WallClock,
    /// Of a source, those that began earlier come first.
    #[serde(rename = "readings")]
    pub scans: IdVec<ScanId, Scan>,
    pub groups: IdVec<GroupId, PlannedGroup>,
    #[serde(default, skip_serializing_if = "has_none")]
    pub views: IdVec<ViewId, PlannedView>,
    /// Of groups, then of views: from which tick on rows are written to stores: `Tick::BEFORE_ALL` where nothing was written yet.
    pub rows_from: IdVec<RowsId, Tick>,
    /// The stores have every row of the checkpoint that the run goes on from, and none else: there is no full refresh at the start.
    #[serde(default)]
    #[serde(rename = "is_stored")]
    pub skip_refresh: bool,
    /// The last tick may not be before it (a store's `_upto`, without `--fresh`).
    pub end_at_least: Tick,
    /// By sink, what its store counts starts by.
    pub generations: IdVec<SinkId, u64>,
    /// By changelog, what its rows mean (see `start::meaning::meaning`).
    #[serde(default)]
    pub changelogs: BTreeMap<String, i64>,
    /// Where the lines of changelogs and dead letters go, by their name in a checkpoint.
    #[serde(default)]
    #[serde(rename = "places")]
    pub destinations: BTreeMap<String, String>,
    /// Changelogs are reset at `floor`: a line says that all before it is void, and every row follows as an insertion.
    #[serde(default)]
    #[serde(rename = "told_anew")]
    pub changelog_reset: bool,
    /// What streams have pinned: the schemas that say what their columns are, by subject.
    #[serde(default, skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
    /// Up to there everything was published by the run that this one goes on from.
    pub floor: Option<Tick>,
    /// How far the pieces of the history were read by then.
    pub read: HistoryProgress,
    /// The checkpoints of this start have the numbers after it.
    pub checkpoints: CheckpointNumber,
}

impl Plan {
    /// One that goes on from nothing, and knows of no sink yet.
    pub fn of(now: WallClock, scans: IdVec<ScanId, Scan>, groups: IdVec<GroupId, PlannedGroup>) -> Plan {
        Plan {
            now,
            scans,
            rows_from: IdVec::filled(Tick::BEFORE_ALL, groups.len()),
            groups,
            views: IdVec::new(),
            skip_refresh: false,
            end_at_least: Tick::BEFORE_ALL,
            generations: IdVec::new(),
            changelogs: BTreeMap::new(),
            destinations: BTreeMap::new(),
            changelog_reset: false,
            pins: Pins::new(),
            floor: None,
            read: HistoryProgress::new(),
            checkpoints: CheckpointNumber::NONE,
        }
    }

    /// Where the plan of a job's last start on this machine lies; `local`: the directory of its state.
    pub fn path(local: &Path) -> PathBuf {
        local.join("plan.json")
    }

    /// The files of a source's history that have to be as they were.
    pub fn pinned(&self, source: SourceId, by_id: bool) -> Option<&Pinned> {
        // A state has the history in it. To compare ids it is read again.
        let scan = self.scans.iter().rfind(|scan| scan.source == source)?;
        (!scan.restored || by_id).then_some(&scan.pinned)
    }

    /// The first scan of a source.
    pub fn first_scan(&self, source: SourceId) -> ScanId {
        self.scans.find(|scan| scan.source == source).expect("every source is read")
    }

    pub fn of_source(&self, source: SourceId) -> &Scan {
        &self.scans[self.first_scan(source)]
    }

    /// Says what the views are, which have rows as groups have.
    pub fn set_views(&mut self, views: IdVec<ViewId, PlannedView>) {
        let from = self.floor.unwrap_or(Tick::BEFORE_ALL);
        let of_groups = self.groups.ids().map(|group| self.rows_from[group.into()]);
        self.rows_from = of_groups.chain(views.iter().map(|_| from)).collect();
        self.views = views;
    }

    /// Whose rows they are.
    fn owner(&self, rows: impl Into<RowsId>) -> HasRows {
        HasRows::of(rows.into(), self.groups.len())
    }

    /// All rows: those of groups, then those of views.
    pub fn all_rows(&self) -> impl Iterator<Item = RowsId> + use<> {
        (0..self.groups.len() + self.views.len()).map(RowsId::at)
    }

    /// `S` of a group or a view: the tick at which its rows begin. `None`: nobody knows it yet.
    pub fn s(&self, rows: impl Into<RowsId>) -> Option<Tick> {
        match self.owner(rows) {
            HasRows::Group(group) => self.s_of(self.groups[group].first()),
            HasRows::View(view) => self.s_of_view(&self.views[view]),
        }
    }

    /// The largest of what it reads. What has been there for ever has none: what reads nothing else begins with the job.
    pub fn s_of_view(&self, view: &PlannedView) -> Option<Tick> {
        let scans = || view.scans.iter().map(|scan| &self.scans[*scan]);
        let begins = || Some(self.first_tick(Side::Live)).filter(|first| *first < Tick::AFTER_ALL);
        if scans().all(|scan| scan.timeless) { begins() } else { scans().filter_map(|scan| scan.s).max() }
    }

    /// What the rows of a group or a view are made of.
    pub fn scans_behind(&self, rows: impl Into<RowsId>) -> BTreeSet<ScanId> {
        match self.owner(rows) {
            HasRows::Group(group) => self.groups[group].sets.iter().flat_map(|set| &set.scans).copied().collect(),
            HasRows::View(view) => self.views[view].scans.iter().copied().collect(),
        }
    }

    /// The same of a column set of it: the largest of what it reads.
    pub fn s_of(&self, set: &PlannedColumnSet) -> Option<Tick> {
        self.read_by(set).filter_map(|scan| scan.s).max()
    }

    /// Windows of a group that closed before it are gone: the smallest of what it reads. `None`: one of these has none yet.
    pub fn horizon(&self, group: GroupId, horizons: &IdVec<ScanId, Eff>) -> Option<Eff> {
        horizon(&self.groups[group].first().scans, horizons)
    }

    /// Every tick of a column set up to it was finished, if it had begun.
    pub fn done(&self, set: &PlannedColumnSet) -> Option<Tick> {
        self.read_by(set).map(|scan| scan.done).min().flatten()
    }

    /// Whether a checkpoint has all of the history of a column set.
    pub fn is_restored(&self, set: &PlannedColumnSet) -> bool {
        self.read_by(set).all(|scan| scan.restored)
    }

    /// Whether the rows that readers have seen had the columns of a column set.
    pub fn is_published(&self, set: &PlannedColumnSet) -> bool {
        self.read_by(set).all(|scan| scan.published)
    }

    /// Which dataflow computes a column set: all that it reads is read there.
    pub fn side_of_set(&self, set: &PlannedColumnSet) -> Side {
        self.one_of(set).side
    }

    /// Which one had computed what a checkpoint has of it.
    pub fn saved_side_of(&self, set: &PlannedColumnSet) -> Side {
        self.one_of(set).saved
    }

    /// Any scan of a column set will do where it is asked for what is the same of all.
    fn one_of(&self, set: &PlannedColumnSet) -> &Scan {
        &self.scans[*set.scans.first().expect("a column set takes events of a scan")]
    }

    fn read_by(&self, set: &PlannedColumnSet) -> impl Iterator<Item = &Scan> {
        set.scans.iter().map(|scan| &self.scans[*scan])
    }

    /// The last tick that is asked for, where it is replayed, if there is one.
    pub fn until(&self) -> Option<Tick> {
        self.scans.iter().filter_map(|scan| scan.replay.as_ref()?.until).max()
    }

    /// What a checkpoint writes down of it. `t`: by side, its tick, when all of its histories are in the state; `None`: they were
    /// read up to `read`.
    pub fn at(&self, t: impl Fn(Side) -> Option<Tick>, read: HistoryProgress) -> Plan {
        let mut plan = Plan { read, ..self.clone() };
        for scan in &mut plan.scans {
            let t = t(scan.side);
            scan.restored |= t.is_some();
            scan.done = scan.done.max(t.filter(|t| scan.timeless || scan.s.is_some_and(|s| s <= *t)));
            scan.saved = scan.side;
        }
        plan.changelog_reset &= t(Side::Live) < self.floor;
        if self.has_shadow() {
            plan.floor = plan.floor.max(t(Side::Live));
        }
        for (id, group) in plan.groups.pairs_mut() {
            group.saved = Some(id);
            group.dropped_columns &= t(Side::Live) <= self.floor;
            group.sets.pairs_mut().for_each(|(id, set)| set.saved = Some(id));
        }
        plan.views.iter_mut().for_each(|view| view.saved = true);
        plan
    }

    /// Where the column sets of a group go on from, `None` for those of the other side; `None`: it is new.
    pub fn resumed(&self, group: GroupId, side: Side) -> Option<Vec<Option<Resumed>>> {
        let planned = &self.groups[group];
        let set = |set: &PlannedColumnSet| {
            let saved = set.saved.filter(|_| self.side_of_set(set) == side)?.index();
            let shadow = self.saved_side_of(set) == Side::Shadow;
            let done = self.done(set);
            Some(Resumed { saved, shadow, done, shown: self.is_published(set) })
        };
        planned.saved.map(|_| planned.sets.iter().map(set).collect())
    }

    pub fn has_shadow(&self) -> bool {
        self.scans.iter().any(|scan| scan.side == Side::Shadow)
    }

    /// Those that the run has.
    pub fn sides(&self) -> Vec<Side> {
        if self.has_shadow() { vec![Side::Live, Side::Shadow] } else { vec![Side::Live] }
    }

    /// The tick at which `T` begins; `Tick::AFTER_ALL` where nobody knows it.
    pub fn first_tick(&self, side: Side) -> Tick {
        self.scans.iter().filter(|scan| scan.side == side).filter_map(|scan| scan.s).min().unwrap_or(Tick::AFTER_ALL)
    }

    /// Where a group began. A view is made where all is that it reads: while some of that is in the shadow, it has no rows yet.
    pub fn side_of(&self, rows: impl Into<RowsId>) -> Side {
        match self.owner(rows) {
            HasRows::Group(group) => self.side_of_set(self.groups[group].first()),
            HasRows::View(view) => {
                self.views[view].scans.iter().map(|scan| self.scans[*scan].side).max().unwrap_or_default()
            }
        }
    }
}
