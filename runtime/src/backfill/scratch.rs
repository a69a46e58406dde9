//! A directory of this command's own, which goes with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_connectors::storage::make_dir;

use crate::base::failure::Failure;

pub struct Scratch(PathBuf);

/// Several may be at work in one process.
static MADE: AtomicU64 = AtomicU64::new(0);

impl Scratch {
    /// `what`: what it is for.
    pub fn new(below: &Path, what: &str) -> Result<Scratch, Failure> {
        let dir = below.join(format!("{what}-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)));
        make_dir(&dir).map_err(|e| Failure::Running(format!("creating {}: {e}", dir.display())))?;
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
