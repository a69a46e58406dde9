//! The job files below the paths that were named.

use std::path::{Path, PathBuf};

use crate::base::failure::Failure;

/// A file is taken as it is; of a directory, every TOML file that has sources and features, in the order of their names.
pub fn jobs(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = vec![];
    for path in paths {
        if path.is_dir() {
            below(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    if found.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let hint = "a job is a TOML file with [sources.NAME] and [features.NAME]";
        return Err(Failure::Usage(format!("no job below {}: {hint}", shown.join(", "))));
    }
    Ok(found)
}

fn below(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::Running(format!("reading {}: {e}", dir.display()));
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(failed)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    for path in entries {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        // A link to a directory may lead in a circle.
        if path.is_dir() && !path.is_symlink() {
            below(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "toml") && is_job(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_job(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let has = |table: &str| text.lines().any(|line| line.trim_start().trim_start_matches('[').starts_with(table));
    has("sources") && (has("features") || has("features_file"))
}
