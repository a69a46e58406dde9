//! `lookup.NAME` of a group: what its events look up, in a table or in the rows of another group.

use headwater_clocks::Span;

use crate::base::id::{GroupId, Id, IdVec, SourceId};
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind};
use crate::job::section::{Context, Section, name_is_plain};
use crate::job::validate::names::ELEMENT;
use crate::job::{Group, LookIn, Lookup, Named, Source, Window, duration};

pub const KEYS: [&str; 3] = ["table", "features", "on"];

/// Reads a group's lookups, in their order. Those that are too wrong are left out. `groups`: the names of all; whether such a one can be
/// looked up, `check_groups` says once they are read.
pub fn read(cx: &mut Context, group: &Section, (sources, groups): (&IdVec<SourceId, Source>, &[&str])) -> Vec<Lookup> {
    let Some(entry) = group.get("lookup") else { return vec![] };
    let Some(all) = Section::any(cx, format!("`lookup` of {}", group.what), entry) else { return vec![] };
    all.entries().filter_map(|entry| one(cx, entry, (sources, groups))).collect()
}

fn one(cx: &mut Context, entry: &Entry, (sources, groups): (&IdVec<SourceId, Source>, &[&str])) -> Option<Lookup> {
    let name = entry.name.as_str();
    name_is_plain(cx, "lookup", name, entry.at, "");
    if name == ELEMENT {
        cx.error(entry.at, format!("a lookup may not be called `{ELEMENT}`, as the element of an exploded list is"));
    }
    let section = Section::open(cx, format!("lookup `{name}`"), entry, &KEYS)?;
    let hint = "say by what, like on = \"merchant_id\": a column, SQL, or a list as long as the key there";
    let on = match section.get("on").map(|entry| &entry.value.kind) {
        None => {
            section.missing(cx, "on", hint);
            return None;
        }
        Some(Kind::Array(_)) => section.list(cx, "on")?,
        Some(_) => vec![section.named(cx, "on")?],
    };
    let of = match (section.get("table"), section.get("features")) {
        (Some(_), Some(features)) => {
            cx.error(features.at, "a lookup is in a `table` or in a group of `features`, not in both");
            return None;
        }
        (None, Some(_)) => group_of(cx, &section, groups)?,
        (_, None) => table_of(cx, &section, sources, &on)?,
    };
    Some(Lookup { name: name.to_owned(), at: entry.at, of, on })
}

fn group_of(cx: &mut Context, section: &Section, groups: &[&str]) -> Option<LookIn> {
    let named = section.named(cx, "features")?;
    let found = groups.iter().position(|name| *name == named.text);
    if found.is_none() && !cx.torn.names() {
        let hint = expected(&named.text, groups.iter().copied());
        cx.error(named.at, format!("unknown feature group `{}`: {hint}", named.text));
    }
    found.map(|group| LookIn::Features(GroupId::at(group)))
}

fn table_of(cx: &mut Context, section: &Section, sources: &IdVec<SourceId, Source>, on: &[Named]) -> Option<LookIn> {
    if section.get("table").is_none() {
        section.missing(cx, "table", "name one of [tables.NAME], or a group, like features = \"card_activity\"");
    }
    let table = section.named(cx, "table")?;
    let tables = || sources.pairs().filter(|(_, source)| source.table.is_some());
    let Some((id, found)) = tables().find(|(_, source)| source.name == table.text) else {
        if !cx.torn.names() {
            let hint = expected(&table.text, tables().map(|(_, source)| source.name.as_str()));
            cx.error(table.at, format!("unknown table `{}`: {hint}", table.text));
        }
        return None;
    };
    let key = found.table.as_ref().map_or(&[][..], |table| &table.key);
    if on.len() != key.len() && !key.is_empty() {
        let names: Vec<&str> = key.iter().map(|key: &Named| key.text.as_str()).collect();
        let (told, names) = (on.len(), names.join(", "));
        let message =
            format!("`on` has {told} parts, and the key of table `{}` has {}: {names}", table.text, key.len());
        cx.error(section.get("on").map_or(section.at, |entry| entry.value.at), message);
        return None;
    }
    Some(LookIn::Table(id))
}

/// Says which groups cannot be looked up, and takes such lookups out. `names`: of all groups, those among them that were too wrong to be read.
pub fn check_groups(cx: &mut Context, groups: &mut IdVec<GroupId, Group>, names: &[&str]) {
    let found: Vec<Option<GroupId>> = names.iter().map(|name| groups.find(|group| group.name == *name)).collect();
    for group in groups.iter_mut() {
        group.lookups.retain_mut(|lookup| match &mut lookup.of {
            LookIn::Table(_) => true,
            LookIn::Features(named) => found[named.index()].map(|group| *named = group).is_some(),
        });
    }
    let known = groups.clone();
    for group in groups.iter_mut() {
        group.lookups.retain(|lookup| lookup.features().is_none_or(|features| is_fit(cx, lookup, &known[features])));
    }
    while let Some((id, at)) = circle(groups) {
        let lookup = groups[id].lookups.remove(at);
        let of = lookup.features().map_or("", |group| groups[group].name.as_str());
        let why = if of == groups[id].name { "itself" } else { "what looks up in it" };
        let message =
            format!("group `{}` looks up in {why}: lookups go from group to group, not in circles", groups[id].name);
        cx.error(lookup.at, message);
    }
}

fn is_fit(cx: &mut Context, lookup: &Lookup, group: &Group) -> bool {
    let name = &group.name;
    if group.window != Window::Trailing {
        let hint = "a row just before is there of trailing and lifetime groups, without `window`";
        cx.error(lookup.at, format!("group `{name}` has windows of its own: {hint}"));
        return false;
    }
    let (told, key) = (lookup.on.len(), group.key.len());
    if told != key && key > 0 {
        let names: Vec<&str> = group.key.iter().map(|key| key.name.as_str()).collect();
        let at = lookup.on.first().map_or(lookup.at, |on| on.at);
        cx.error(at, format!("`on` has {told} parts, and the key of group `{name}` has {key}: {}", names.join(", ")));
        return false;
    }
    true
}

/// A lookup that leads back to its own group, by group and place there.
fn circle(groups: &IdVec<GroupId, Group>) -> Option<(GroupId, usize)> {
    let leads = |from: GroupId, to: GroupId| {
        let (mut seen, mut next) = (vec![], vec![from]);
        while let Some(group) = next.pop() {
            if group == to {
                return true;
            }
            if !seen.contains(&group) {
                seen.push(group);
                next.extend(groups[group].lookups.iter().filter_map(Lookup::features));
            }
        }
        false
    };
    groups.pairs().find_map(|(id, group)| {
        let back = |lookup: &Lookup| lookup.features().is_some_and(|features| leads(features, id));
        Some((id, group.lookups.iter().position(back)?))
    })
}

/// An event that is taken out of a session could split it.
pub fn refuse_sessions(cx: &mut Context, lookups: &[Lookup], sources: &IdVec<SourceId, Source>) {
    for lookup in lookups {
        let Some(table) = lookup.table().map(|table| &sources[table]) else { continue };
        if table.lateness > Span::ZERO {
            let late = duration::display(table.lateness);
            let why = format!("a version of table `{}` may come {late} late and correct events", table.name);
            let hint = "give the table lateness = \"0s\", or the group another window";
            cx.error(lookup.at, format!("sessions cannot be of events that are corrected, and {why}: {hint}"));
        }
        let looks_back = lookups.iter().any(|lookup| lookup.features().is_some());
        if looks_back && table.event_time.is_none() && !table.is_timeless() {
            let why =
                format!("what the history of table `{}` holds is in force from the beginning of time", table.name);
            let hint = "give the table an `event_time`, or the group no lookup in a group";
            cx.error(lookup.at, format!("sessions cannot be of events that are corrected, and {why}: {hint}"));
        }
    }
}
