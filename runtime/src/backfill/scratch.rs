//! Where a command keeps what does not stay in memory, and directories of its own there, which go with it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_connectors::storage::make_dir;

use crate::base::failure::Failure;

/// A directory that is made when it is first needed, and goes once nobody has anything in it. One that the user has named stays, if it was
/// there before.
pub struct SpillDir {
    dir: PathBuf,
    /// What the user has named.
    named: Option<PathBuf>,
}

/// Lies in what was made of the directories that the user has named. Several processes may share these, and the last that leaves takes
/// them away, whichever has made them.
const MADE: &str = ".made-by-headwater";

impl SpillDir {
    /// A directory of Headwater's own.
    pub fn own(dir: PathBuf) -> SpillDir {
        SpillDir { dir, named: None }
    }

    /// A directory that the user has named. `within`: of several processes, in which directory there this one is.
    pub fn named(named: &Path, within: Option<&str>) -> SpillDir {
        SpillDir {
            dir: within.map_or_else(|| named.to_owned(), |name| named.join(name)),
            named: Some(named.to_owned()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Makes it, unless it is there.
    pub fn make(&self) -> Result<(), Failure> {
        self.try_make().map_err(|e| Failure::Running(format!("making the directory {}: {e}", self.dir.display())))
    }

    fn try_make(&self) -> io::Result<()> {
        if let Some(named) = &self.named {
            let missing: Vec<&Path> = named.ancestors().take_while(|dir| !is_there(dir)).collect();
            for dir in missing.iter().rev() {
                match std::fs::create_dir(dir) {
                    Ok(()) => drop(File::create(dir.join(MADE))?),
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(e) => return Err(e),
                }
            }
        }
        make_dir(&self.dir)
    }
}

fn is_there(dir: &Path) -> bool {
    dir.as_os_str().is_empty() || dir.exists()
}

impl Drop for SpillDir {
    fn drop(&mut self) {
        // What stays is only room on the disk.
        if self.named.as_ref() != Some(&self.dir) {
            let _ = std::fs::remove_dir(&self.dir);
        }
        if let Some(named) = &self.named {
            let _ = named.ancestors().try_for_each(unmake);
        }
    }
}

/// Removes a directory that was made, and that nobody has anything in.
fn unmake(dir: &Path) -> io::Result<()> {
    let mut names = std::fs::read_dir(dir)?.map(|file| file.map(|file| file.file_name()));
    if names.any(|name| name.is_ok_and(|name| name != OsStr::new(MADE))) {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    std::fs::remove_file(dir.join(MADE))?;
    std::fs::remove_dir(dir)
}

/// A directory of one command.
pub struct Scratch(PathBuf);

/// Several may be at work in one process.
static MADE_SO_FAR: AtomicU64 = AtomicU64::new(0);

impl Scratch {
    /// `what`: what it is for.
    pub fn new(below: &SpillDir, what: &str) -> Result<Scratch, Failure> {
        let number = MADE_SO_FAR.fetch_add(1, Ordering::Relaxed);
        let dir = below.path().join(format!("{what}-{}-{number}", std::process::id()));
        below.make()?;
        make_dir(&dir).map_err(|e| Failure::Running(format!("making the directory {}: {e}", dir.display())))?;
        Ok(Scratch(dir))
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is only room on the disk.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_goes_with_the_last() {
        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("fast/disk");
        let [first, second] = ["process-0", "process-1"].map(|name| SpillDir::named(&named, Some(name)));
        first.make().unwrap();
        second.make().unwrap();
        let scratch = Scratch::new(&second, "replay").unwrap();
        drop(first);
        assert!(scratch.dir().exists() && !named.join("process-0").exists());
        drop(scratch);
        drop(second);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let (empty, full) = (root.path().join("empty"), root.path().join("full"));
        std::fs::create_dir(&empty).unwrap();
        for dir in
            [SpillDir::named(&empty, None), SpillDir::named(&empty, Some("process-1")), SpillDir::named(&full, None)]
        {
            dir.make().unwrap();
            if dir.path() == full {
                std::fs::write(full.join("of somebody"), "").unwrap();
            }
        }
        assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
        assert!(full.join("of somebody").exists());
        // Nobody has needed it.
        drop(SpillDir::named(&root.path().join("unused"), None));
        assert!(!root.path().join("unused").exists());
    }
}
