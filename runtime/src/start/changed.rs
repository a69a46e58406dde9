//! What has become of a job since a state was written: which columns go on, which are new, which are no more.
//!
//! A group goes on where its key, its `where`, its windows and its source are what they were, whatever its name; a column
//! where its aggregate, its `of` and its window are. In a group with windows of its own, one new column makes all of them new.

use super::identity;
use crate::catalog::opened::Opened;
use crate::checkpoint::manifest::Manifest;
use crate::job::Window;
use crate::plan::Plan;
use crate::plan::group::PlannedPart;

#[derive(Debug, Default)]
pub struct Changed {
    /// By reading of the old plan: the source that goes on with it.
    pub kept: Vec<Option<usize>>,
    /// By group of the job.
    pub groups: Vec<ChangedGroup>,
    /// Columns and groups of the old plan that are no more, by name.
    pub removed: Vec<String>,
    /// It is the same job, whatever things are called and in which order they stand.
    pub is_nothing: bool,
    /// Then also everything has the number that it had.
    pub is_in_place: bool,
}

#[derive(Debug, Default)]
pub struct ChangedGroup {
    /// Its number in the old plan; `None`: it is new.
    pub old: Option<usize>,
    pub kept: Vec<KeptPart>,
    /// Its columns that are new.
    pub new: Vec<usize>,
    /// Some columns that were shown are not any more.
    pub renewed: bool,
}

#[derive(Debug)]
pub struct KeptPart {
    /// Its number in the old group.
    pub part: usize,
    /// By column of the part: its number in the job's group now.
    pub places: Vec<Option<usize>>,
}

impl Changed {
    pub fn between(old: &Plan, opened: &Opened) -> Changed {
        let partners = partners(old, opened);
        let is_nothing = partners.len() == old.groups.len();
        let kept = vec![None; old.readings.len()];
        let mut changed = Changed { kept, is_nothing, is_in_place: true, ..Changed::default() };
        for (group, partner) in partners.iter().enumerate() {
            let new =
                || ChangedGroup { new: (0..opened.groups[group].columns.len()).collect(), ..ChangedGroup::default() };
            let whole = partner.map(|partner| compare(old, opened, (group, partner), true));
            changed.is_nothing &= whole.as_ref().is_some_and(|found| found.new.is_empty() && !found.renewed);
            changed.is_in_place &= whole.is_some_and(|found| is_in_place(old, opened, group, &found));
            let found = partner.map(|partner| compare(old, opened, (group, partner), false));
            let found = found.filter(|found| changed.keep_readings(old, found, opened.job.groups[group].source));
            changed.groups.push(found.unwrap_or_else(new));
        }
        for (source, (conf, open)) in opened.job.sources.iter().zip(&opened.sources).enumerate() {
            // A source that nobody asks goes on too.
            if opened.job.groups.iter().all(|group| group.source != source) {
                let identity = identity::of_source(conf, open);
                let same = old.readings.iter().position(|r| r.restored && r.identity == identity);
                if let Some(reading) = same.filter(|reading| changed.kept[*reading].is_none()) {
                    changed.kept[reading] = Some(source);
                }
            }
        }
        changed.removed = changed.removed(old);
        changed
    }

    /// Notes the readings of a group that goes on; `false`: another source has one of them already.
    fn keep_readings(&mut self, old: &Plan, found: &ChangedGroup, source: usize) -> bool {
        let Some(group) = found.old.map(|old_group| &old.groups[old_group]) else { return false };
        let readings: Vec<usize> = found.kept.iter().map(|kept| group.parts[kept.part].reading).collect();
        let is_free = |reading: &usize| self.kept[*reading].is_none_or(|other| other == source);
        let free = readings.iter().all(is_free);
        if free {
            readings.iter().for_each(|reading| self.kept[*reading] = Some(source));
        }
        free
    }

    /// Whether anything goes on from the manifest that it was compared with: some part, or all of it before its history was read.
    pub fn goes_on(&self, manifest: &Manifest) -> bool {
        self.kept.iter().any(Option::is_some) || self.is_again(manifest)
    }

    /// Whether its plan can be had once more as it is: the job was stopped before its history was read.
    pub fn is_again(&self, manifest: &Manifest) -> bool {
        manifest.t.is_none() && self.is_nothing && self.is_in_place
    }

    fn removed(&self, old: &Plan) -> Vec<String> {
        let mut removed = vec![];
        let was_there = |part: &PlannedPart| old.readings[part.reading].restored;
        for (number, group) in old.groups.iter().enumerate().filter(|(_, group)| group.parts.iter().any(was_there)) {
            let Some(now) = self.groups.iter().find(|now| now.old == Some(number)) else {
                removed.push(group.name.clone());
                continue;
            };
            for (part, planned) in group.parts.iter().enumerate().filter(|(_, part)| was_there(part)) {
                let kept = now.kept.iter().find(|kept| kept.part == part);
                let stays = |column: usize| kept.is_some_and(|kept| kept.places[column].is_some());
                let gone =
                    planned.columns.iter().enumerate().filter(|(n, column)| column.place.is_some() && !stays(*n));
                removed.extend(gone.map(|(_, column)| format!("{}.{}", group.name, column.plan.name)));
            }
        }
        removed
    }
}

fn is_in_place(old: &Plan, opened: &Opened, group: usize, found: &ChangedGroup) -> bool {
    let Some(before) = old.groups.get(group).filter(|_| found.old == Some(group)) else { return false };
    let same_source =
        before.parts.iter().all(|part| old.readings[part.reading].source == opened.job.groups[group].source);
    let same_places = |kept: &KeptPart| {
        before.parts[kept.part].columns.iter().zip(&kept.places).all(|(column, place)| column.place == *place)
    };
    same_source && found.kept.iter().all(same_places)
}

/// By group of the job: the old one that has the same identity. Names decide where there are several.
fn partners(old: &Plan, opened: &Opened) -> Vec<Option<usize>> {
    let identities: Vec<String> = (0..opened.groups.len()).map(|group| identity::of_group(opened, group)).collect();
    let mut partners = vec![None; identities.len()];
    for by_name in [true, false] {
        for group in 0..identities.len() {
            let name = &opened.job.groups[group].name;
            let fits =
                |n: &usize| old.groups[*n].identity == identities[group] && (!by_name || old.groups[*n].name == *name);
            if partners[group].is_none() {
                partners[group] = (0..old.groups.len()).find(|n| fits(n) && !partners.contains(&Some(*n)));
            }
        }
    }
    partners
}

/// `all`: also what has nothing to go on with yet, where the history was not read to its end.
fn compare(old: &Plan, opened: &Opened, (group, partner): (usize, usize), all: bool) -> ChangedGroup {
    let parts = &old.groups[partner].parts;
    let mut places: Vec<Vec<Option<usize>>> = parts.iter().map(|part| vec![None; part.columns.len()]).collect();
    let mut new = vec![];
    for column in 0..opened.groups[group].columns.len() {
        let wanted = identity::of_column(opened, group, column);
        let parts_too = parts.iter().enumerate().filter(|(_, part)| all || old.readings[part.reading].restored);
        let columns = parts_too.flat_map(|(p, part)| (0..part.columns.len()).map(move |c| (p, c)));
        let fits = |(p, c): &(usize, usize)| {
            let known = &parts[*p].columns[*c];
            known.place.is_some() && known.identity == wanted && places[*p][*c].is_none()
        };
        match columns.into_iter().find(fits) {
            Some((p, c)) => places[p][c] = Some(column),
            None => new.push(column),
        }
    }
    let kept: Vec<KeptPart> = places
        .into_iter()
        .enumerate()
        .filter(|(_, places)| places.iter().any(Option::is_some))
        .map(|(part, places)| KeptPart { part, places })
        .collect();
    let whole = opened.job.groups[group].window == Window::Trailing || new.is_empty();
    if kept.is_empty() || !whole {
        return ChangedGroup { new: (0..opened.groups[group].columns.len()).collect(), ..ChangedGroup::default() };
    }
    let had = parts.iter().filter(|part| all || old.readings[part.reading].restored);
    let shown = had.flat_map(|part| &part.columns).filter(|column| column.place.is_some()).count();
    let stay = kept.iter().flat_map(|kept| &kept.places).flatten().count();
    ChangedGroup { old: Some(partner), kept, new, renewed: stay < shown }
}
