//! Local files by a glob, in the order of their paths as text.
//!
//! ```text
//! *  ?  [ab]  [!ab]     within a name; hidden files (.x) only where the pattern has the dot
//! **                    any directories, or none, hidden ones left out; at the end: every file below
//! ```

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::{Error, Result};

/// `*` stays inside a directory, and leaves hidden files alone.
pub(crate) const GLOB: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

const WILDCARDS: [char; 3] = ['*', '?', '['];

/// The local files that match. None is an error.
pub(crate) fn local(pattern: &str) -> Result<Vec<String>> {
    let pattern = pattern.strip_prefix("file://").unwrap_or(pattern);
    if pattern.contains("://") {
        return Err(Error::Config(format!("{pattern}: expected a path of local files")));
    }
    let whole = every_file(pattern);
    let names: Vec<&str> = whole.split('/').filter(|name| !name.is_empty()).collect();
    let mut found = Vec::new();
    let root = if whole.starts_with('/') { Path::new("/") } else { Path::new("") };
    walk(root, &names, pattern, &mut found)?;
    let mut paths = Vec::new();
    for path in found {
        if !is_file(&path, pattern)? {
            continue;
        }
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

/// Whether what matches is a file. Directories are none, and are passed over; what cannot be looked at, or is neither, is not left
/// out in silence.
fn is_file(path: &Path, pattern: &str) -> Result<bool> {
    let looking = || format!("looking at {}, which {pattern} matches", path.display());
    let metadata = path.metadata().map_err(|e| Error::world(looking(), e))?;
    if metadata.is_file() || metadata.is_dir() {
        return Ok(metadata.is_file());
    }
    Err(Error::world(looking(), "it is neither a file nor a directory"))
}

/// The pattern, with what a `**` at its end stands for spelled out: every file below.
pub(crate) fn every_file(pattern: &str) -> String {
    if pattern == "**" || pattern.ends_with("/**") { format!("{pattern}/*") } else { pattern.into() }
}

/// The part of a pattern before its first wildcard that is whole directories, with its slash.
pub(crate) fn fixed_part(pattern: &str) -> &str {
    let plain = pattern.find(WILDCARDS).map_or(pattern, |at| &pattern[..at]);
    &plain[..plain.rfind('/').map_or(0, |at| at + 1)]
}

/// What matches `names`, the rest of the pattern, below a directory.
fn walk(directory: &Path, names: &[&str], pattern: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let Some((name, rest)) = names.split_first() else {
        found.push(directory.into());
        return Ok(());
    };
    if *name == "**" {
        walk(directory, rest, pattern, found)?;
        for below in entries(directory, "*", pattern)?.iter().filter(|below| !leads_back(below)) {
            if below.is_dir() {
                walk(below, names, pattern, found)?;
            }
        }
        return Ok(());
    }
    if !name.contains(WILDCARDS) {
        let path = directory.join(name);
        // A link that leads nowhere is there too, and is told.
        let is_there = if rest.is_empty() { path.symlink_metadata().is_ok() } else { path.exists() };
        return if is_there { walk(&path, rest, pattern, found) } else { Ok(()) };
    }
    for entry in entries(directory, name, pattern)? {
        if rest.is_empty() || entry.is_dir() {
            walk(&entry, rest, pattern, found)?;
        }
    }
    Ok(())
}

/// What a directory holds under a name that matches; nothing, if it is no directory.
fn entries(directory: &Path, name: &str, pattern: &str) -> Result<Vec<PathBuf>> {
    let name = Pattern::new(name).map_err(|e| Error::Config(format!("{pattern} is not a path with wildcards: {e}")))?;
    let readable = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if !readable.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |e: std::io::Error| Error::world(format!("looking for {pattern} in {}", readable.display()), e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(readable).map_err(failed)? {
        let file_name = entry.map_err(failed)?.file_name();
        if name.matches_with(&file_name.to_string_lossy(), GLOB) {
            paths.push(directory.join(file_name));
        }
    }
    Ok(paths)
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
        format!("{pattern} is a directory: name its files, as in {}/*", pattern.trim_end_matches('/'))
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
        for name in ["b.json", "a.json", "B.json", "a/x.json", "a/b/y.json", "a/.hidden.json", ".z/w.json", "a/b/n.txt"]
        {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let rows = [
            ("*.json", "B.json a.json b.json"),
            ("?.json", "B.json a.json b.json"),
            ("[ab].json", "a.json b.json"),
            ("[!a].json", "B.json b.json"),
            ("*", "B.json a.json b.json"),
            ("*/*.json", "a/x.json to/x.json"),
            ("**/*.json", "B.json a.json a/b/y.json a/x.json b.json to/b/y.json to/x.json"),
            ("**/b/*", "a/b/n.txt a/b/y.json to/b/n.txt to/b/y.json"),
            ("a/**", "a/b/n.txt a/b/y.json a/x.json"),
            ("a/.*.json", "a/.hidden.json"),
            ("a.json", "a.json"),
            ("**/**/x.json", "a/x.json to/x.json"),
            ("a/../*.json", "a/../B.json a/../a.json a/../b.json"),
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
            (root.to_string(), format!("{root} is a directory: name its files, as in {root}/*")),
        ];
        for (pattern, expected) in rows {
            let Err(Error::Config(message)) = local(&pattern) else { panic!("{pattern} is found") };
            assert_eq!(message, expected);
        }
    }
}
