//! Raw -> validated: pure, and every fault at once. A part that is wrong is told, and left out or stood in for, so that the
//! rest can be looked at all the same.

mod about;
pub mod calendar;
mod column;
mod derived;
mod group;
mod keyed;
mod links;
mod listed;
mod lookup;
pub mod names;
pub(crate) mod schema;
mod serve_log;
mod sink;
mod source;
pub(crate) mod types;
pub(crate) mod union;
mod view;
mod windowed;

use std::path::{Path, PathBuf};

use headwater_clocks::Span;
use headwater_connectors::sink as sinks;

use super::duration::{DAY_US, SECOND_US};
use super::raw::{self, Entry, Raw, Table};
use super::section::{Context, SOME, Section, name_is_plain};
use super::{Group, Job, Sink, Source, State, paths, sql};
use crate::base::fault::{At, Faults};
use crate::base::id::IdVec;
use crate::base::secrets::mask;

const KEYS: [&str; 14] = [
    "name",
    "tick",
    "stall_limit",
    "idle_limit",
    "sources",
    "tables",
    "features",
    "features_file",
    "views",
    "links",
    "sinks",
    "dead_letters",
    "state",
    "serve_log",
];

const STATE_KEYS: [&str; 4] = ["path", "checkpoint_every", "admissions", "admissions_keep"];

/// The keys that each kind of table in a job file may have, but for those that a `type` brings.
pub fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("job", KEYS.to_vec()),
        ("source", [&source::KEYS[..], &keyed::SOURCE_KEYS].concat()),
        ("table", [&source::KEYS[..], &keyed::TABLE_KEYS].concat()),
        ("seam", source::seam_keys()),
        ("features", group::KEYS.to_vec()),
        ("lookup", lookup::KEYS.to_vec()),
        ("window", group::WINDOW_KEYS.to_vec()),
        ("column", column::keys()),
        ("derived", derived::KEYS.to_vec()),
        ("view", view::KEYS.to_vec()),
        ("links", links::KEYS.to_vec()),
        ("state", STATE_KEYS.to_vec()),
        ("serve_log", serve_log::KEYS.to_vec()),
    ]
}

/// Validates the text of a job file. The job is whole only if the faults have no error.
pub fn job(file: &str, dir: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Job, Faults) {
    let mut faults = Faults::new(file);
    let raw = raw::read(text, env, &mut faults);
    read(raw, dir, faults)
}

/// Validates a job as it was typed, or built; `faults`: what was wrong before.
pub fn read(mut raw: Raw, dir: &Path, mut faults: Faults) -> (Job, Faults) {
    sql::expand(&mut raw.root, dir, &mut faults);
    let mut cx = Context { dir, torn: raw.torn, faults: Faults::new(faults.places.clone()), secrets: Vec::new() };
    let job = whole(&mut cx, &raw.root);
    faults.faults.extend(cx.faults.faults.into_iter().filter(|fault| !cx.torn.on(fault.at)));
    for fault in &mut faults.faults {
        fault.message = mask(&fault.message, &job.secrets);
    }
    (job, faults)
}

fn whole(cx: &mut Context, root: &Table) -> Job {
    let section = Section::root(cx, root, &KEYS);
    let name = section.required(cx, "name", "give the job a name, like name = \"fraud\"");
    name_is_plain(cx, "job", &name.text, name.at, "-");
    let tick = section.duration(cx, "tick", SOME).unwrap_or(Span::from_us(10_000));
    let stall_limit = section.duration(cx, "stall_limit", SOME).unwrap_or(Span::from_us(5 * SECOND_US));
    let idle_limit = section.duration(cx, "idle_limit", SOME).unwrap_or(Span::DAY);

    let tables = named_tables(cx, &section, "sources", Some("name at least one under [sources.NAME]"));
    let mut sources: IdVec<_, _> = tables.iter().map(|entry| source::read(cx, entry)).collect();
    for entry in named_tables(cx, &section, "tables", None) {
        if sources.iter().any(|source: &Source| source.name == entry.name) {
            cx.error(entry.at, format!("table `{}` has the name of a source: give it another one", entry.name));
        }
        sources.push(source::read_table(cx, entry));
    }
    let tables = named_tables(cx, &section, "features", Some("name at least one group under [features.NAME]"));
    let mut names: Vec<&str> = tables.iter().map(|entry| entry.name.as_str()).collect();
    let group_names = names.clone();
    let read = |entry: &&Entry| group::read(cx, entry, (&sources, &group_names), tick);
    let mut groups: IdVec<_, _> = tables.iter().filter_map(read).collect();
    lookup::check_groups(cx, &mut groups, &group_names);
    let tables = named_tables(cx, &section, "views", None);
    let of_kind = |table: bool| {
        let some = sources.iter().filter(|source| source.table.is_some() == table);
        some.map(|source| source.name.as_str()).collect::<Vec<&str>>()
    };
    let others = [("source", of_kind(false)), ("table", of_kind(true)), ("feature group", names.clone())];
    view::check_names(cx, "view", &tables, &others);
    let mut views: IdVec<_, _> = tables.iter().filter_map(|entry| view::read(cx, entry, tick)).collect();
    names.extend(tables.iter().map(|entry| entry.name.as_str()));
    let links = named_tables(cx, &section, "links", None);
    let of_views = tables.iter().map(|entry| entry.name.as_str()).collect();
    let others: Vec<_> = others.into_iter().chain([("view", of_views)]).collect();
    view::check_names(cx, "links", &links, &others);
    links.iter().filter_map(|entry| links::read(cx, entry, tick)).for_each(|links| _ = views.push(links));
    names.extend(links.iter().map(|entry| entry.name.as_str()));
    let state = state(cx, &section, &name.text);
    let tables = named_tables(cx, &section, "sinks", None);
    let rows: Vec<&str> =
        groups.iter().map(|group| group.name.as_str()).chain(views.iter().map(|view| view.name.as_str())).collect();
    let read = |entry: &&Entry| sink::read(cx, entry, &rows, &names, &state.home());
    let sinks: IdVec<_, _> = tables.iter().filter_map(read).collect();
    let serve_log = serve_log::read(cx, &section, &groups);
    let (dead_letters, dead_letters_at) = sink::dead_letters(cx, &section, &state);

    let mut job = Job {
        name: name.text,
        places: cx.faults.places.clone(),
        warnings: Vec::new(),
        dir: cx.dir.to_path_buf(),
        tick,
        stall_limit,
        idle_limit,
        sources,
        groups,
        views,
        sinks,
        dead_letters,
        dead_letters_at,
        state,
        serve_log,
        secrets: Vec::new(),
    };
    across(cx, &job, &group_names);
    if section.get("sinks").is_none_or(|entry| named_sinks(entry) == 0) {
        let rows = job.all_rows().collect();
        let (to, unsaid) = sinks::default_sink(&job.state.home());
        if let Some(message) = unsaid {
            cx.error(job.state.at, message);
        }
        job.sinks = IdVec::from(vec![Sink { name: sinks::DEFAULT.into(), at: At::default(), to, rows }]);
    }
    job.secrets = std::mem::take(&mut cx.secrets);
    job.secrets.sort();
    job.secrets.dedup();
    job
}

/// What no part can see alone.
fn across(cx: &mut Context, job: &Job, group_names: &[&str]) {
    sink::check_apart(cx, job);
    group::check_backfill_names(cx, &job.groups);
    let written: IdVec<_, _> = job.sources.iter().map(schema::written).collect();
    cx.faults.faults.extend(names::check_names(job, &written).faults);
    for (n, source) in job.sources.pairs() {
        // A group that is too wrong to be read may be the one that uses it.
        let is_used = |group: &Group| group.sources.contains(&n) || group.lookups.iter().any(|l| l.table() == Some(n));
        let is_viewed = source.table.is_some() && job.views.iter().any(|view| view.of.mentions(&source.name));
        if group_names.len() == job.groups.len() && !job.groups.iter().any(is_used) && !is_viewed {
            cx.warning(source.at, format!("no group uses {}", source.describe()));
        }
        if source.table.is_some() && group_names.contains(&source.name.as_str()) {
            cx.error(source.at, format!("{} has the name of a feature group: give it another one", source.describe()));
        }
    }
}

/// The tables of `[KEY.NAME]`, in the order of the file.
fn named_tables<'a>(cx: &mut Context, section: &Section<'a>, key: &str, needed: Option<&str>) -> Vec<&'a Entry> {
    let tables = section.get(key).and_then(|entry| Section::any(cx, format!("`{key}`"), entry));
    let tables: Vec<&Entry> = tables.iter().flat_map(|tables| tables.entries()).collect();
    let empty =
        section.get(key).is_none_or(|entry| matches!(&entry.value.kind, raw::Kind::Table(t) if t.entries.is_empty()));
    if let Some(hint) = needed.filter(|_| empty) {
        section.missing(cx, key, hint);
    }
    tables
}

fn named_sinks(entry: &Entry) -> usize {
    match &entry.value.kind {
        raw::Kind::Table(table) => table.entries.len(),
        _ => 1,
    }
}

fn state(cx: &mut Context, section: &Section, name: &str) -> State {
    let at_default = At { line: 1, column: 1, file: 0 };
    let entry = section.get("state");
    let table = entry.and_then(|entry| Section::open(cx, "the state".into(), entry, &STATE_KEYS));
    let default = cx.dir.join(".headwater").join(name);
    let given = table.as_ref().and_then(|table| paths::read(cx, table, "path", paths::local_or_url));
    let path = given.unwrap_or_else(|| default.to_string_lossy().into_owned());
    let every = table.as_ref().and_then(|table| table.duration(cx, "checkpoint_every", SOME));
    let admissions_keep = table.as_ref().and_then(|table| admissions(cx, table));
    let local = if paths::is_url(&path) { default } else { PathBuf::from(&path) };
    State {
        at: entry.map_or(at_default, |entry| entry.at),
        local,
        path,
        checkpoint_every: every.unwrap_or(Span::from_us(30 * SECOND_US)),
        admissions_keep,
    }
}

/// For how long admissions are kept, where they are.
fn admissions(cx: &mut Context, state: &Section) -> Option<Span> {
    let are_kept = state.flag(cx, "admissions");
    let keep = state.duration(cx, "admissions_keep", SOME);
    if !are_kept && let Some(entry) = state.get("admissions_keep") {
        cx.error(
            entry.at,
            "`admissions_keep` says for how long admissions are kept: set `admissions = true` beside it",
        );
    }
    are_kept.then(|| keep.unwrap_or(Span::from_us(30 * DAY_US)))
}
