//! A directory of this verification's own, which goes with it.

use std::path::{Path, PathBuf};

use headwater_connectors::storage::make_dir;

use crate::base::failure::Failure;

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(below: &Path) -> Result<Scratch, Failure> {
        let dir = below.join(format!("verify-{}", std::process::id()));
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
