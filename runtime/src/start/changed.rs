//! What has become of a job since a state was written: which columns go on, which are new, which are no more.
//!
//! A group goes on where its key, its `where`, its windows and its source are what they were, whatever its name; a column
//! where its aggregate, its `of` and its window are. In a group with windows of its own, one new column makes all of them new.

use super::{identity, views};
use crate::base::id::{ColumnSetId, GroupId, IdVec, ScanId, SourceId};
use crate::catalog::opened::Opened;
use crate::checkpoint::manifest::Manifest;
use crate::job::Window;
use crate::plan::Plan;
use crate::plan::group::PlannedColumnSet;

#[derive(Debug, Default)]
pub struct Changed {
    /// By scan of the old plan: the source that goes on with it.
    pub kept: IdVec<ScanId, Option<SourceId>>,
    /// By group of the job.
    pub groups: IdVec<GroupId, ChangedGroup>,
    /// Columns and groups of the old plan that are no more, by name.
    pub removed: Vec<String>,
    /// It is the same job, whatever things are called and in which order they stand.
    pub is_nothing: bool,
    /// Events of some group are held on their way to it: then either all of it goes on, or nothing.
    pub is_whole: bool,
    /// Then also everything has the number that it had.
    pub is_in_place: bool,
}

#[derive(Debug, Default)]
pub struct ChangedGroup {
    /// Its id in the old plan; `None`: it is new.
    pub old: Option<GroupId>,
    pub kept: Vec<KeptSet>,
    /// Its columns that are new.
    pub new: Vec<usize>,
    /// Some columns that were published are no longer in the job.
    pub dropped_columns: bool,
}

#[derive(Debug)]
pub struct KeptSet {
    /// Its id in the old group.
    pub set: ColumnSetId,
    /// By column of the column set: its number in the job's group now.
    pub indexes: Vec<Option<usize>>,
}

impl Changed {
    pub fn between(old: &Plan, opened: &Opened) -> Changed {
        let partners = partners(old, opened);
        let is_nothing = partners.len() == old.groups.len();
        let kept = IdVec::filled(None, old.scans.len());
        let mut changed = Changed { kept, is_nothing, is_in_place: true, ..Changed::default() };
        for (group, partner) in partners.pairs() {
            let new =
                || ChangedGroup { new: (0..opened.groups[group].columns.len()).collect(), ..ChangedGroup::default() };
            let whole = partner.map(|partner| compare(old, opened, (group, partner), true));
            changed.is_nothing &= whole.as_ref().is_some_and(|found| found.new.is_empty() && !found.dropped_columns);
            changed.is_in_place &= whole.is_some_and(|found| is_in_place(old, opened, group, &found));
            let found = partner.map(|partner| compare(old, opened, (group, partner), false));
            let found = found.filter(|found| changed.keep_scans(old, found, (opened, group)));
            changed.groups.push(found.unwrap_or_else(new));
        }
        for (source, conf) in opened.job.sources.pairs() {
            // A source that nobody asks goes on too.
            if opened.graph.groups_of(source).next().is_none() {
                let identity = identity::of_source(conf, &opened.sources[source]);
                let same = old.scans.find(|r| r.restored && r.identity == identity);
                if let Some(scan) = same.filter(|scan| changed.kept[*scan].is_none()) {
                    changed.kept[scan] = Some(source);
                }
            }
        }
        changed.is_nothing &= views::are_same(old, opened);
        changed.is_whole = opened.holds_events();
        changed.removed = changed.removed(old);
        changed
    }

    /// Notes the scans of a group that goes on; `false`: another source has one of them already.
    fn keep_scans(&mut self, old: &Plan, found: &ChangedGroup, (opened, group): (&Opened, GroupId)) -> bool {
        let Some(before) = found.old.map(|old_group| &old.groups[old_group]) else { return false };
        let sets = found.kept.iter().map(|kept| &before.sets[kept.set]);
        let scans: Option<Vec<_>> = sets.map(|set| same_sources(old, set, (opened, group))).collect();
        let scans = scans.unwrap_or_default().concat();
        let is_free = |(scan, source): &(ScanId, SourceId)| self.kept[*scan].is_none_or(|other| other == *source);
        let free = !scans.is_empty() && scans.iter().all(is_free);
        if free {
            scans.iter().for_each(|(scan, source)| self.kept[*scan] = Some(*source));
        }
        free
    }

    /// Whether anything goes on from the manifest that it was compared with: some column set, or all of it before its history was read.
    pub fn goes_on(&self, manifest: &Manifest) -> bool {
        if self.is_whole && !(self.is_nothing && manifest.t.is_some()) {
            return false;
        }
        self.kept.iter().any(Option::is_some) || self.is_again(manifest)
    }

    /// Whether its plan can be had once more as it is: the job was stopped before its history was read.
    pub fn is_again(&self, manifest: &Manifest) -> bool {
        manifest.t.is_none() && self.is_nothing && self.is_in_place
    }

    fn removed(&self, old: &Plan) -> Vec<String> {
        let mut removed = vec![];
        let was_there = |set: &PlannedColumnSet| old.is_restored(set);
        for (id, group) in old.groups.pairs().filter(|(_, group)| group.sets.iter().any(was_there)) {
            let Some(now) = self.groups.iter().find(|now| now.old == Some(id)) else {
                removed.push(group.name.clone());
                continue;
            };
            for (set, planned) in group.sets.pairs().filter(|(_, set)| was_there(set)) {
                let kept = now.kept.iter().find(|kept| kept.set == set);
                let stays = |column: usize| kept.is_some_and(|kept| kept.indexes[column].is_some());
                let gone =
                    planned.columns.iter().enumerate().filter(|(n, column)| column.index.is_some() && !stays(*n));
                removed.extend(gone.map(|(_, column)| format!("{}.{}", group.name, column.plan.name)));
            }
        }
        removed
    }
}

/// Which source goes on with each scan of a column set: one of the same identity, in their order. `None`: they are others.
fn same_sources(
    old: &Plan,
    set: &PlannedColumnSet,
    (opened, group): (&Opened, GroupId),
) -> Option<Vec<(ScanId, SourceId)>> {
    let identity = |source| identity::of_source(&opened.job.sources[source], &opened.sources[source]);
    let mut left: Vec<(SourceId, String)> =
        opened.graph.all_sources_of(group).into_iter().map(|source| (source, identity(source))).collect();
    let mut same = |scan: &ScanId| {
        let at = left.iter().position(|(_, identity)| *identity == old.scans[*scan].identity)?;
        Some((*scan, left.remove(at).0))
    };
    set.scans.iter().map(&mut same).collect::<Option<Vec<_>>>().filter(|_| left.is_empty())
}

fn is_in_place(old: &Plan, opened: &Opened, group: GroupId, found: &ChangedGroup) -> bool {
    let Some(before) = old.groups.get(group).filter(|_| found.old == Some(group)) else { return false };
    let sources = || opened.graph.all_sources_of(group).into_iter();
    let has_same = |set: &PlannedColumnSet| sources().eq(set.scans.iter().map(|scan| old.scans[*scan].source));
    let same_source = before.sets.iter().all(has_same);
    let same_indexes = |kept: &KeptSet| {
        before.sets[kept.set].columns.iter().zip(&kept.indexes).all(|(column, index)| column.index == *index)
    };
    same_source && found.kept.iter().all(same_indexes)
}

/// By group of the job: the old one that has the same identity. Names decide where there are several.
fn partners(old: &Plan, opened: &Opened) -> IdVec<GroupId, Option<GroupId>> {
    let ids = opened.groups.ids();
    let identities: IdVec<GroupId, String> = ids.map(|group| identity::of_group(opened, group)).collect();
    let mut partners = IdVec::filled(None, identities.len());
    for by_name in [true, false] {
        for group in identities.ids() {
            let name = &opened.job.groups[group].name;
            let fits = |id: &GroupId| {
                old.groups[*id].identity == identities[group] && (!by_name || old.groups[*id].name == *name)
            };
            if partners[group].is_none() {
                partners[group] = old.groups.ids().find(|id| fits(id) && !partners.contains(&Some(*id)));
            }
        }
    }
    partners
}

/// `all`: also what has nothing to go on with yet, where the history was not read to its end.
fn compare(old: &Plan, opened: &Opened, (group, partner): (GroupId, GroupId), all: bool) -> ChangedGroup {
    let sets = &old.groups[partner].sets;
    let mut indexes: IdVec<ColumnSetId, Vec<Option<usize>>> =
        sets.iter().map(|set| vec![None; set.columns.len()]).collect();
    let mut new = vec![];
    for column in 0..opened.groups[group].columns.len() {
        let wanted = identity::of_column(opened, group, column);
        let sets_too = sets.pairs().filter(|(_, set)| all || old.is_restored(set));
        let columns = sets_too.flat_map(|(p, set)| (0..set.columns.len()).map(move |c| (p, c)));
        let fits = |(p, c): &(ColumnSetId, usize)| {
            let known = &sets[*p].columns[*c];
            known.index.is_some() && known.identity == wanted && indexes[*p][*c].is_none()
        };
        match columns.into_iter().find(fits) {
            Some((p, c)) => indexes[p][c] = Some(column),
            None => new.push(column),
        }
    }
    let kept = indexes.pairs().filter(|(_, indexes)| indexes.iter().any(Option::is_some));
    let kept: Vec<KeptSet> = kept.map(|(set, indexes)| KeptSet { set, indexes: indexes.clone() }).collect();
    let whole = opened.job.groups[group].window == Window::Trailing || new.is_empty();
    if kept.is_empty() || !whole {
        return ChangedGroup { new: (0..opened.groups[group].columns.len()).collect(), ..ChangedGroup::default() };
    }
    let had = sets.iter().filter(|set| all || old.is_restored(set));
    let published = had.flat_map(|set| &set.columns).filter(|column| column.index.is_some()).count();
    let stay = kept.iter().flat_map(|kept| &kept.indexes).flatten().count();
    ChangedGroup { old: Some(partner), kept, new, dropped_columns: stay < published }
}
