//! Files by a pattern, in the order of their paths as text: local ones by walking, those of an object store by their keys.
//!
//! ```text
//! *  ?  [ab]  [!ab]     within a name; names that begin with `.` or `_` only where the pattern has that character
//! **                    any directories, or none, such ones left out; at the end: every file below
//! {a,b}                 either of these, in a name or across names
//! a directory           every file below it, such ones left out. With a wildcard, only one called `key=value` is meant
//! ```

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::{Error, Result};

/// `*` leaves hidden files alone. A name has no separator.
const GLOB: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

const WILDCARDS: [char; 3] = ['*', '?', '['];

/// A pattern with more alternatives than that is a mistake.
const ALTERNATIVES_MAX: usize = 10_000;

/// What the name of a file or a directory has to be.
#[derive(Clone, Debug)]
enum Name {
    /// Any number of directories.
    AnyDirectories,
    Exactly(String),
    Like(Pattern),
}

impl Name {
    fn new(name: &str, pattern: &str) -> Result<Name> {
        Ok(match name {
            "**" => Name::AnyDirectories,
            _ if !name.contains(WILDCARDS) => Name::Exactly(name.into()),
            _ => Name::Like(Pattern::new(name).map_err(|e| wrong(pattern, e))?),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Name::AnyDirectories => false,
            Name::Exactly(exactly) => exactly == name,
            Name::Like(like) => {
                like.matches_with(name, GLOB) && (!name.starts_with('_') || like.as_str().starts_with('_'))
            }
        }
    }

    /// Whether a directory that it matches stands for its files.
    fn means_directory(&self, name: &str) -> bool {
        matches!(self, Name::Exactly(_)) || name.contains('=')
    }
}

fn wrong(pattern: &str, why: impl std::fmt::Display) -> Error {
    Error::Config(format!("{pattern} is not a path with wildcards: {why}"))
}

/// Names that a pattern does not mean unless it says so.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// One alternative of a pattern, name by name.
pub(crate) struct Alternative {
    pub text: String,
    names: Vec<Name>,
}

/// What a pattern stands for: each way to read its braces.
pub(crate) fn alternatives(pattern: &str) -> Result<Vec<Alternative>> {
    let mut texts = vec![];
    spell_out(pattern, pattern, &mut texts)?;
    let alternative = |text: String| {
        let whole = every_file(&text);
        let names = whole.split('/').filter(|name| !name.is_empty()).map(|name| Name::new(name, pattern));
        Ok(Alternative { names: names.collect::<Result<_>>()?, text })
    };
    texts.into_iter().map(alternative).collect()
}

/// `a{b,c{d,e}}` as `ab`, `acd`, `ace`.
fn spell_out(pattern: &str, whole: &str, texts: &mut Vec<String>) -> Result<()> {
    let Some((before, inside, after)) = braces(pattern).map_err(|why| wrong(whole, why))? else {
        texts.push(pattern.into());
        return if texts.len() > ALTERNATIVES_MAX { Err(wrong(whole, "it has too many alternatives")) } else { Ok(()) };
    };
    inside.into_iter().try_for_each(|inside| spell_out(&format!("{before}{inside}{after}"), whole, texts))
}

/// What stands before a pattern's first braces, the alternatives inside, and what comes after.
type Braces<'a> = (&'a str, Vec<&'a str>, &'a str);

/// `None`: there are no braces.
fn braces(pattern: &str) -> Result<Option<Braces<'_>>, &'static str> {
    let (mut open, mut depth, mut from, mut inside) = (None, 0usize, 0, vec![]);
    let mut at = 0;
    while let Some(c) = pattern[at..].chars().next() {
        match c {
            // `[{]` is a brace itself; `[]]` a bracket.
            '[' => at += class(&pattern[at..]),
            '{' => {
                depth += 1;
                if depth == 1 {
                    (open, from) = (Some(at), at + 1);
                }
            }
            ',' if depth == 1 => {
                inside.push(&pattern[from..at]);
                from = at + 1;
            }
            '}' if depth == 1 => {
                inside.push(&pattern[from..at]);
                let open = open.unwrap_or_default();
                return Ok(Some((&pattern[..open], inside, &pattern[at + 1..])));
            }
            '}' if depth > 1 => depth -= 1,
            _ => {}
        }
        at += c.len_utf8();
    }
    if depth > 0 { Err("a `{` is not closed; the character itself is written `[{]`") } else { Ok(None) }
}

/// How long a class of characters is, but for its last bracket; 0 where it is not closed.
fn class(text: &str) -> usize {
    let inside = text[1..].strip_prefix('!').unwrap_or(&text[1..]);
    let skipped = text.len() - inside.len();
    let first = inside.chars().next().map_or(0, char::len_utf8);
    inside.get(first..).and_then(|rest| rest.find(']')).map_or(0, |at| skipped + first + at)
}

/// The pattern, with what a `**` at its end stands for spelled out: every file below.
fn every_file(pattern: &str) -> String {
    if pattern == "**" || pattern.ends_with("/**") { format!("{pattern}/*") } else { pattern.into() }
}

impl Alternative {
    /// The part before its first wildcard that is whole directories, with its slash.
    pub fn fixed_part(&self) -> &str {
        fixed_part(&self.text)
    }

    /// Whether it names one place.
    pub fn is_exact(&self) -> bool {
        self.names.iter().all(|name| matches!(name, Name::Exactly(_)))
    }

    /// Whether it means the file of an object store under this key.
    pub fn means(&self, key: &str) -> bool {
        let names: Vec<&str> = key.split('/').filter(|name| !name.is_empty()).collect();
        means(&self.names, &names)
    }
}

fn means(pattern: &[Name], names: &[&str]) -> bool {
    match (pattern, names) {
        ([Name::AnyDirectories, rest @ ..], _) => {
            means(rest, names) || names.len() > 1 && !is_hidden(names[0]) && means(pattern, &names[1..])
        }
        ([name], [last]) => name.matches(last),
        ([name], [directory, below @ ..]) => {
            name.matches(directory) && name.means_directory(directory) && !below.iter().any(|name| is_hidden(name))
        }
        ([name, rest @ ..], [first, below @ ..]) => name.matches(first) && means(rest, below),
        _ => false,
    }
}

/// The part of a pattern before its first wildcard that is whole directories, with its slash.
pub(crate) fn fixed_part(pattern: &str) -> &str {
    let plain = pattern.find(WILDCARDS).or_else(|| pattern.find('{')).map_or(pattern, |at| &pattern[..at]);
    &plain[..plain.rfind('/').map_or(0, |at| at + 1)]
}

/// Whether a pattern means a local file, by its absolute path, there or not. One that is no pattern means none.
pub(crate) fn means_file(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_prefix("file://").unwrap_or(pattern);
    alternatives(pattern).is_ok_and(|alternatives| alternatives.iter().any(|alternative| alternative.means(path)))
}

/// The local files that match. None is an error.
pub(crate) fn local(pattern: &str) -> Result<Vec<String>> {
    let pattern = pattern.strip_prefix("file://").unwrap_or(pattern);
    if pattern.contains("://") {
        return Err(Error::Config(format!("{pattern}: expected a path of local files")));
    }
    let mut found = Vec::new();
    for alternative in alternatives(pattern)? {
        let root = if alternative.text.starts_with('/') { Path::new("/") } else { Path::new("") };
        Walk { pattern, found: &mut found }.walk(root, &alternative.names)?;
    }
    let mut paths = Vec::new();
    for path in found {
        paths.push(path.into_os_string().into_string().map_err(|path| {
            Error::Config(format!("{pattern} matches the file {path:?}, whose name is not UTF-8: rename it"))
        })?);
    }
    if paths.is_empty() {
        return Err(nothing_matches(pattern));
    }
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

struct Walk<'a> {
    pattern: &'a str,
    found: &'a mut Vec<PathBuf>,
}

impl Walk<'_> {
    /// What matches `names`, the rest of the pattern, below a directory.
    fn walk(&mut self, directory: &Path, names: &[Name]) -> Result<()> {
        let Some((name, rest)) = names.split_first() else { return Ok(()) };
        match name {
            Name::AnyDirectories => {
                self.walk(directory, rest)?;
                for (below, file_name) in self.entries(directory)? {
                    if !is_hidden(&file_name) && below.is_dir() && !leads_back(&below) {
                        self.walk(&below, names)?;
                    }
                }
                Ok(())
            }
            Name::Exactly(exactly) => {
                let path = directory.join(exactly);
                // A link that leads nowhere is there too, and is told.
                let is_there = if rest.is_empty() { path.symlink_metadata().is_ok() } else { path.exists() };
                if is_there { self.enter(&path, exactly, name, rest) } else { Ok(()) }
            }
            Name::Like(_) => {
                for (path, file_name) in self.entries(directory)? {
                    if name.matches(&file_name) && (rest.is_empty() || path.is_dir()) {
                        self.enter(&path, &file_name, name, rest)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// A path that `name` matches.
    fn enter(&mut self, path: &Path, file_name: &str, name: &Name, rest: &[Name]) -> Result<()> {
        if !rest.is_empty() {
            return self.walk(path, rest);
        }
        if self.is_file(path)? {
            self.found.push(path.into());
        } else if name.means_directory(file_name) {
            self.everything_below(path)?;
        }
        Ok(())
    }

    fn everything_below(&mut self, directory: &Path) -> Result<()> {
        for (path, file_name) in self.entries(directory)? {
            if is_hidden(&file_name) || leads_back(&path) {
                continue;
            }
            if self.is_file(&path)? { self.found.push(path) } else { self.everything_below(&path)? }
        }
        Ok(())
    }

    /// Whether what matches is a file; else it is a directory. What cannot be looked at, or is neither, is not left out in silence.
    fn is_file(&self, path: &Path) -> Result<bool> {
        let looking = || format!("looking at {}, which {} matches", path.display(), self.pattern);
        let metadata = path.metadata().map_err(|e| Error::world(looking(), e))?;
        if metadata.is_file() || metadata.is_dir() {
            return Ok(metadata.is_file());
        }
        Err(Error::world(looking(), "it is neither a file nor a directory"))
    }

    /// What a directory holds, with the names; nothing, if it is no directory.
    fn entries(&self, directory: &Path) -> Result<Vec<(PathBuf, String)>> {
        let readable = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        if !readable.is_dir() {
            return Ok(Vec::new());
        }
        let failed =
            |e: std::io::Error| Error::world(format!("looking for {} in {}", self.pattern, readable.display()), e);
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(readable).map_err(failed)? {
            let file_name = entry.map_err(failed)?.file_name();
            entries.push((directory.join(&file_name), file_name.to_string_lossy().into_owned()));
        }
        Ok(entries)
    }
}

/// Whether a path is a link to a directory that it lies in: below it, everything would be found again and again.
fn leads_back(path: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    path.is_symlink() && path.parent().and_then(real).zip(real(path)).is_some_and(|(parent, to)| parent.starts_with(to))
}

fn nothing_matches(pattern: &str) -> Error {
    let directory = match fixed_part(pattern) {
        "" => Path::new("."),
        directory => Path::new(directory),
    };
    Error::Config(if Path::new(pattern).is_dir() {
        format!(
            "no file matches {pattern}: the directory holds none (names that begin with `.` or `_` are passed over)"
        )
    } else if directory.is_dir() {
        format!("no file matches {pattern} (looked in {})", directory.display())
    } else {
        let deepest = directory.ancestors().find(|d| d.is_dir()).map(PathBuf::from).unwrap_or_default();
        let missing = directory.strip_prefix(&deepest).unwrap_or(directory);
        format!("no file matches {pattern} ({} has no directory {})", deepest.display(), missing.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_a_shell_would_and_are_sorted_as_text() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        for name in [
            "b.json",
            "a.json",
            "B.json",
            "a/x.json",
            "a/b/y.json",
            "a/.hidden.json",
            ".z/w.json",
            "a/b/n.txt",
            "{.json",
            "_tmp/t.json",
            "_tmp/_t.json",
            "h/dt=1/q.json",
            "h/dt=1/c=x/p.json",
            "h/dt=2/r.json",
            "h/_SUCCESS",
            "h/dt=2/_temporary/s.json",
            "h/dt=2/.crc",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let rows = [
            ("*.json", "B.json a.json b.json {.json"),
            ("?.json", "B.json a.json b.json {.json"),
            ("[ab].json", "a.json b.json"),
            ("[!a].json", "B.json b.json {.json"),
            ("*", "B.json a.json b.json {.json"),
            ("*/*.json", "a/x.json to/x.json"),
            (
                "**/*.json",
                "B.json a.json a/b/y.json a/x.json b.json h/dt=1/c=x/p.json h/dt=1/q.json h/dt=2/r.json to/b/y.json to/x.json {.json",
            ),
            ("**/b/*", "a/b/n.txt a/b/y.json to/b/n.txt to/b/y.json"),
            ("a/**", "a/b/n.txt a/b/y.json a/x.json"),
            ("a/.*.json", "a/.hidden.json"),
            ("a.json", "a.json"),
            ("**/**/x.json", "a/x.json to/x.json"),
            ("a/../*.json", "a/../B.json a/../a.json a/../b.json a/../{.json"),
            ("{a,b}.json", "a.json b.json"),
            ("{a,[{],{B,b}}.json", "B.json a.json b.json {.json"),
            ("{a,none}/{b/y,x}.json", "a/b/y.json a/x.json"),
            ("[{]*", "{.json"),
            ("a", "a/b/n.txt a/b/y.json a/x.json"),
            ("a/", "a/b/n.txt a/b/y.json a/x.json"),
            ("a/{b,.hidden.json}", "a/.hidden.json a/b/n.txt a/b/y.json"),
            ("_tmp/*", "_tmp/t.json"),
            ("_*/t.json", "_tmp/t.json"),
            ("_tmp/_*", "_tmp/_t.json"),
            ("_tmp", "_tmp/t.json"),
            ("h", "h/dt=1/c=x/p.json h/dt=1/q.json h/dt=2/r.json"),
            ("h/*", "h/dt=1/c=x/p.json h/dt=1/q.json h/dt=2/r.json"),
            ("h/dt=?", "h/dt=1/c=x/p.json h/dt=1/q.json h/dt=2/r.json"),
            ("h/dt={1,3}", "h/dt=1/c=x/p.json h/dt=1/q.json"),
            ("h/*/*.json", "h/dt=1/q.json h/dt=2/r.json"),
        ];
        // A link to a directory is followed, but not in a circle.
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/b/up")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("to")).unwrap();
        for (pattern, expected) in rows {
            let found = local(&format!("{root}/{pattern}")).unwrap();
            let names: Vec<&str> = found.iter().map(|path| &path[root.len() + 1..]).collect();
            assert_eq!(names.join(" "), expected, "{pattern}");
        }
    }

    #[test]
    fn keys_of_an_object_store_are_matched_as_paths_are() {
        let keys = [
            "a.json",
            "a/x.json",
            "a/b/y.json",
            "a/.hidden.json",
            "_tmp/t.json",
            "h/_SUCCESS",
            "h/dt=1/q.json",
            "h/dt=2/_t/s.json",
        ];
        let rows = [
            ("*", "a.json"),
            ("a", "a/x.json a/b/y.json"),
            ("a/**", "a/x.json a/b/y.json"),
            ("**", "a.json a/x.json a/b/y.json h/dt=1/q.json"),
            ("**/y.json", "a/b/y.json"),
            ("{a,h}/*", "a/x.json h/dt=1/q.json"),
            ("h/dt=*", "h/dt=1/q.json"),
            ("h/_*", "h/_SUCCESS"),
            ("_tmp/*.json", "_tmp/t.json"),
            ("a/.*", "a/.hidden.json"),
            ("h/dt=2/_t", "h/dt=2/_t/s.json"),
        ];
        for (pattern, expected) in rows {
            let all = alternatives(pattern).unwrap();
            let found = keys.iter().filter(|key| all.iter().any(|one| one.means(key))).copied().collect::<Vec<_>>();
            assert_eq!(found.join(" "), expected, "{pattern}");
        }
    }

    #[test]
    fn what_matches_and_is_no_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("a.json"), "").unwrap();
        std::fs::create_dir(dir.path().join("b.json")).unwrap();
        assert_eq!(local(&format!("{root}/*.json")).unwrap(), [format!("{root}/a.json")]);
        std::os::unix::fs::symlink(dir.path().join("gone"), dir.path().join("c.json")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("d.text")).unwrap();
        let rows = [
            ("*.json", "c.json", "No such file"),
            ("c.json", "c.json", "No such file"),
            ("*.text", "d.text", "neither"),
        ];
        for (pattern, name, why) in rows {
            let told = local(&format!("{root}/{pattern}")).unwrap_err().to_string();
            let place = format!("looking at {root}/{name}, which {root}/{pattern} matches: ");
            assert!(told.starts_with(&place) && told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_glob_without_a_match_says_where_it_looked() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let rows = [
            (format!("{root}/*.json"), format!("no file matches {root}/*.json (looked in {root}/)")),
            (format!("{root}/x/y/*"), format!("no file matches {root}/x/y/* ({root} has no directory x/y)")),
            ("s3://bucket/*.json".into(), "s3://bucket/*.json: expected a path of local files".into()),
            (
                root.to_string(),
                format!(
                    "no file matches {root}: the directory holds none (names that begin with `.` or `_` are passed over)"
                ),
            ),
            (
                format!("{root}/{{a,b"),
                format!(
                    "{root}/{{a,b is not a path with wildcards: a `{{` is not closed; the character itself is written `[{{]`"
                ),
            ),
        ];
        for (pattern, expected) in rows {
            let Err(Error::Config(message)) = local(&pattern) else { panic!("{pattern} is found") };
            assert_eq!(message, expected);
        }
    }
}
