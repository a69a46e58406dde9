//! Files under a local directory. What is reported as written is on the disk, and there as a whole.

use std::fs::{File, read_dir};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

/// Makes a file that is there as a whole or not at all. `false`: one of this name is there already.
///
/// # Errors
/// What the system says.
pub fn create(path: &Path, bytes: &[u8]) -> Result<bool> {
    let parent = path.parent().ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
    make_dir(parent)?;
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = match std::fs::hard_link(&unfinished, path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        // Not every file system has links.
        Err(_) if !path.try_exists()? => std::fs::rename(&unfinished, path).map(|()| true),
        linked => linked.map(|()| true),
    };
    let removed = std::fs::remove_file(&unfinished).or_else(unless_gone);
    let created = linked?;
    removed?;
    sync_dir(parent)?;
    Ok(created)
}

/// A file's bytes; `None`: it is not there.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some),
    }
}

/// Every file under a directory, by its path from `root`.
///
/// # Errors
/// What the system says.
pub fn list(root: &Path, under: &Path, found: &mut Vec<String>) -> Result<()> {
    let entries = match read_dir(under) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            list(root, &path, found)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            found.push(name.to_owned());
        }
    }
    Ok(())
}

/// Removes a file or a directory with all that is in it.
///
/// # Errors
/// What the system says.
pub fn remove(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path).or_else(unless_gone),
        Ok(_) => std::fs::remove_file(path).or_else(unless_gone),
        Err(e) => unless_gone(e),
    }
}

/// Makes a directory, and sees to it that its name is on the disk.
///
/// # Errors
/// What the system says.
pub fn make_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Names are in their directory.
///
/// # Errors
/// What the system says.
pub fn sync_dir(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.into() };
    File::open(path)?.sync_all()
}

fn unless_gone(e: Error) -> Result<()> {
    if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) }
}
