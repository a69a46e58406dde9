//! The layering, held: a folder of `runtime` knows only what its line below names; and in every crate no two files know each other, over
//! however many others, and no two folders do.
//!
//! What counts is what a file names in `crate::`, `super::`, `self::` and its own modules, outside of its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Lowest first: a folder, and the folders that it may know.
const LAYERS: [(&str, &str); 22] = [
    ("base", ""),
    ("job", "base"),
    ("plan", "base"),
    ("catalog", "base job plan"),
    ("checkpoint", "base job plan"),
    ("serve_log", "base job"),
    ("observe", "base job plan catalog checkpoint serve_log"),
    ("coordinate", "base plan checkpoint observe"),
    ("ingest", "base job plan catalog checkpoint observe coordinate"),
    ("start", "base job plan catalog checkpoint coordinate ingest"),
    ("sink", "base checkpoint coordinate"),
    ("render", "base job plan catalog checkpoint observe coordinate ingest sink"),
    ("cluster", "base job"),
    ("run", "base job plan catalog checkpoint serve_log observe ingest start render cluster"),
    ("serve", "base job catalog serve_log observe start"),
    ("backfill", "base job plan catalog checkpoint observe ingest start render cluster"),
    ("verify", "base job catalog checkpoint serve_log start serve backfill"),
    ("describe", "base job plan catalog checkpoint observe ingest start serve"),
    ("embed", "base job catalog serve_log observe cluster run serve"),
    ("demo", "base job observe cluster run serve"),
    (
        "command",
        "base job plan catalog checkpoint serve_log observe ingest start cluster run serve backfill verify describe demo",
    ),
    ("bind", "base job catalog start serve backfill describe"),
];

#[test]
fn a_folder_knows_only_those_below_it() {
    let sources = Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/src"));
    let mut wrong = vec![];
    for (from, to) in sources.edges() {
        let (from_folder, to_folder) = (folder(from), folder(to));
        let known = LAYERS.iter().find(|(name, _)| *name == from_folder);
        let allowed = known.is_some_and(|(_, below)| below.split(' ').any(|name| name == to_folder));
        let is_root = ["lib", "main", "layers"].contains(&from_folder);
        if !is_root && from_folder != to_folder && !allowed {
            wrong.push(format!("{from} names {to}"));
        }
    }
    assert!(wrong.is_empty(), "not in LAYERS:\n{}", wrong.join("\n"));
    let order: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    for (at, (name, below)) in LAYERS.iter().enumerate() {
        let is_below = |other: &str| other.is_empty() || order[..at].contains(&other);
        assert!(below.split(' ').all(is_below), "{name} stands below what it knows");
    }
}

/// What holds of all kinds of connectors stands in one file with the list of them: it names each kind, and each kind names it. So do columns
/// and what is nested in them.
const NAMES_ITS_OWN: [&str; 4] = ["format", "format::column", "history", "sink"];

const CRATES: [&str; 5] = ["clocks/src", "connectors/src", "expression/src", "operators/src", "runtime/src"];

#[test]
fn no_circle_of_files() {
    for root in CRATES {
        let sources = Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root));
        let names_its_own = |from: &str, to: &str| {
            root == "connectors/src" && NAMES_ITS_OWN.contains(&from) && to.starts_with(&format!("{from}::"))
        };
        let edges = sources.edges().filter(|(from, to)| !names_its_own(from, to));
        assert_eq!(in_circles(edges), BTreeMap::new(), "circles in {root}");
    }
}

#[test]
fn no_circle_of_folders() {
    for root in CRATES {
        let sources = Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root));
        let folders = sources.edges().map(|(from, to)| (folder(from), folder(to)));
        let edges = folders.filter(|(from, to)| from != to && !["lib", "main", "layers"].contains(from));
        assert_eq!(in_circles(edges), BTreeMap::new(), "circles in {root}");
    }
}

/// What is left once all is taken away that knows nobody that is left, or that nobody knows: circles, and what lies between two of them.
fn in_circles<'s>(edges: impl Iterator<Item = (&'s str, &'s str)>) -> BTreeMap<&'s str, BTreeSet<&'s str>> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    edges.for_each(|(from, to)| _ = left.entry(from).or_default().insert(to));
    while let Some(done) = left.iter().find(|(_, to)| to.iter().all(|to| !left.contains_key(to))).map(|(f, _)| *f) {
        left.remove(done);
    }
    while let Some(first) = left.keys().find(|from| !left.values().any(|to| to.contains(*from))).copied() {
        left.remove(first);
    }
    let names: BTreeSet<&str> = left.keys().copied().collect();
    left.values_mut().for_each(|to| to.retain(|to| names.contains(to)));
    left
}

/// By module (`job::validate`): the modules that it names.
struct Sources(BTreeMap<String, BTreeSet<String>>);

impl Sources {
    fn read(root: &Path) -> Sources {
        let mut texts = BTreeMap::new();
        collect(root, "", &mut texts);
        let modules: BTreeSet<String> = texts.keys().cloned().collect();
        let named = |(module, text): (&String, &String)| (module.clone(), named(module, text, &modules));
        Sources(texts.iter().map(named).collect())
    }

    fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(from, all)| all.iter().map(move |to| (from.as_str(), to.as_str())))
    }
}

fn folder(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

fn collect(dir: &Path, module: &str, texts: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_stem().unwrap().to_string_lossy().into_owned();
        let child = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
        if entry.is_dir() {
            collect(&entry, &child, texts);
        } else if entry.extension().is_some_and(|ending| ending == "rs") && !["tests", "testing"].contains(&&*name) {
            let text = std::fs::read_to_string(&entry).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            texts.insert(if name == "mod" { module.to_owned() } else { child }, text);
        }
    }
}

/// The modules that a module names.
fn named(module: &str, text: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    // What `use` calls a module by its last name.
    let mut short: BTreeMap<String, String> = BTreeMap::new();
    let mut paths = vec![];
    for path in
        code.split("use ").skip(1).filter_map(|rest| rest.split_once(';')).flat_map(|(tree, _)| leaves("", tree))
    {
        let path = absolute(module, path.trim_end_matches("::self"), modules);
        if let Some(path) = path {
            if modules.contains(&path) {
                short.insert(path.rsplit("::").next().unwrap_or_default().to_owned(), path.clone());
            }
            paths.push(path);
        }
    }
    let words = code
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .filter(|word| word.contains("::") && !word.ends_with("::"));
    for word in words {
        let (first, rest) = word.split_once("::").unwrap_or_default();
        paths.extend(short.get(first).map(|known| format!("{known}::{rest}")).or(absolute(module, word, modules)));
    }
    let found = paths.iter().filter_map(|path| module_of(path, modules));
    found.filter(|found| *found != module).map(str::to_owned).collect()
}

/// The paths of a `use`, one by one.
fn leaves(before: &str, tree: &str) -> Vec<String> {
    let Some((head, inner)) = tree.trim().split_once('{') else {
        return vec![format!("{before}{}", tree.split(" as ").next().unwrap_or_default().trim())];
    };
    let (mut all, mut depth, mut from) = (vec![], 0, 0);
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = &inner[from..at];
                all.extend(
                    Some(part)
                        .filter(|part| !part.trim().is_empty())
                        .map(|part| leaves(&format!("{before}{head}"), part)),
                );
                from = at + 1;
            }
            _ => {}
        }
    }
    all.concat()
}

/// A path as from the crate's root; `None`: it is of another crate.
fn absolute(module: &str, path: &str, modules: &BTreeSet<String>) -> Option<String> {
    if let Some(rest) = path.strip_prefix("crate::") {
        return Some(rest.to_owned());
    }
    let (mut base, mut rest) = (module, path.strip_prefix("self::").unwrap_or(path));
    while let Some(after) = rest.strip_prefix("super::") {
        (base, rest) = (base.rsplit_once("::").map_or("", |(parent, _)| parent), after);
    }
    let joined = if base.is_empty() { rest.to_owned() } else { format!("{base}::{rest}") };
    let child = joined[..joined.len() - rest.len()].to_owned() + rest.split("::").next().unwrap_or_default();
    (rest.len() < path.len() || modules.contains(&child)).then_some(joined)
}

/// The innermost module that a path goes through.
fn module_of<'a>(path: &'a str, modules: &BTreeSet<String>) -> Option<&'a str> {
    let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
    ends.map(|at| &path[..at]).filter(|part| modules.contains(*part)).last()
}
