//! The manifest: everything of a checkpoint but the parts, and how to tell whether those are whole.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{KEPT, Part, Position, dir, failed, files};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::run::Mode;

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 2;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub number: u64,
    /// Every tick up to it is in the state. `None`: the history is still being read, see `Plan::read`.
    pub t: Option<i64>,
    /// By reading: see `Announcement`.
    pub horizons: Vec<i64>,
    pub mode: Mode,
    /// The run had reached its end.
    pub finished: bool,
    pub plan: Plan,
    pub positions: Vec<Position>,
    pub parts: Vec<Part>,
    /// By sink: the length of its changelog, in bytes; and that of the dead letters.
    pub changelogs: Vec<Option<u64>>,
    pub letters: Option<u64>,
}

impl Manifest {
    /// Makes the checkpoint one, and removes those that nobody needs any more.
    pub fn commit(&self, root: &Path) -> Result<(), Failure> {
        let dir = dir(root, self.number);
        // A job without a key yet has no parts.
        std::fs::create_dir_all(&dir).map_err(|e| failed("creating", &dir, e))?;
        let path = dir.join("manifest.json");
        let text = serde_json::to_vec(self).expect("a manifest is plain data");
        files::write_whole(&path, &text).map_err(|e| failed("writing", &path, e))?;
        let mut numbers = numbers(root)?;
        numbers.retain(|number| *number <= self.number);
        let used = |number: &u64| self.parts.iter().any(|part| part.number == *number);
        for old in numbers.iter().rev().skip(KEPT).filter(|number| !used(number)) {
            let dir = super::dir(root, *old);
            std::fs::remove_dir_all(&dir).map_err(|e| failed("removing the old checkpoint", &dir, e))?;
        }
        Ok(())
    }

    /// Whether every part is there as it was written.
    fn check(&self, root: &Path) -> Result<(), String> {
        for part in &self.parts {
            let path = dir(root, part.number).join(&part.name);
            let (bytes, hash) = files::measure(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            if (bytes, hash) != (part.bytes, part.xxh3) {
                return Err(format!("{} is not as it was written", path.display()));
            }
        }
        Ok(())
    }
}

/// The numbers of the checkpoints, whole or not, ascending.
fn numbers(root: &Path) -> Result<Vec<u64>, Failure> {
    let entries = match std::fs::read_dir(root) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.map_err(|e| failed("looking for checkpoints in", root, e))?,
    };
    let mut numbers = vec![];
    for entry in entries {
        let name = entry.map_err(|e| failed("looking for checkpoints in", root, e))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The newest checkpoint that is whole; and the largest number that is taken.
pub fn newest(root: &Path) -> Result<(Option<Manifest>, u64), Failure> {
    let numbers = numbers(root)?;
    let taken = numbers.last().copied().unwrap_or(0);
    for number in numbers.into_iter().rev() {
        let path = dir(root, number).join("manifest.json");
        let text = match std::fs::read(&path) {
            // It was being written when the run ended.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            text => text.map_err(|e| failed("reading", &path, e))?,
        };
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        if let Ok(Head { format }) = serde_json::from_slice(&text)
            && format != FORMAT
        {
            return Err(Failure::Running(format!(
                "{} has the state format {format}; this version reads {FORMAT} alone\n  hint: run the version that wrote it, or start anew with --fresh",
                path.display()
            )));
        }
        let read = serde_json::from_slice::<Manifest>(&text).map_err(|e| format!("{}: {e}", path.display()));
        match read.and_then(|manifest| manifest.check(root).map(|()| manifest)) {
            Ok(manifest) => return Ok((Some(manifest), taken)),
            Err(why) => tracing::warn!("checkpoint {number} is damaged, the one before is used: {why}"),
        }
    }
    Ok((None, taken))
}

/// Sets old checkpoints aside.
pub fn remove_all(root: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(root) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("removing", root, e)),
        _ => Ok(()),
    }
}
