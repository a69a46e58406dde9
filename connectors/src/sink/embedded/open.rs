//! How the database is opened, and what is told where it cannot be.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use fjall::Database;

use crate::{Error, Result};

const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);
pub(super) const REMEDY: &str = "if this stays so, remove its directory: the next start writes every row anew";

/// Whoever looks up a row of a job that does not run holds its store for a moment; a start waits for that.
pub(super) fn open_patiently(path: &Path) -> Result<Database> {
    let began = Instant::now();
    remove_unfinished(path)
        .map_err(|e| Error::world(format!("cannot open the embedded store {}", path.display()), e))?;
    loop {
        match Database::builder(path).open() {
            Err(fjall::Error::Locked) if began.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_RETRY),
            opened => return opened.map_err(|e| opening(path, e)),
        }
    }
}

/// A start that was killed while it made the store has left something that cannot be opened. Nothing was in it yet.
fn remove_unfinished(path: &Path) -> std::io::Result<()> {
    let [journal, version] = ["0.jnl", "version"].map(|name| path.join(name));
    let is_made = version.metadata().is_ok_and(|version| version.len() > 0);
    if is_made || !journal.exists() || path.join("keyspaces").read_dir()?.next().is_some() {
        return Ok(());
    }
    let lock = File::open(path.join("lock"))?;
    match lock.try_lock() {
        // Whoever holds it is making the store just now.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(e)) => return Err(e),
        Ok(()) => {}
    }
    if version.exists() {
        std::fs::remove_file(version)?;
    }
    std::fs::remove_file(journal)
}

/// What reading says of a file that is there and holds something else than was written.
fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
}

pub(super) fn opening(path: &Path, cause: fjall::Error) -> Error {
    match cause {
        fjall::Error::Locked => Error::Config(format!(
            "the embedded store {} is in use: a job is running with it; while it runs, `headwater get` and `headwater \
             export` ask that job through the endpoint.json in its local state directory",
            path.display()
        )),
        fjall::Error::InvalidVersion(Some(version)) => Error::Config(format!(
            "the embedded store {} was written by another version of it, {version:?}; {REMEDY}",
            path.display()
        )),
        fjall::Error::InvalidVersion(None) => Error::world(
            format!("cannot open the embedded store {}", path.display()),
            format!("it is damaged (its version cannot be read); {REMEDY}"),
        ),
        _ => {
            let first: &(dyn std::error::Error + 'static) = &cause;
            let mut causes = std::iter::successors(Some(first), |cause| cause.source());
            let told = match causes.find_map(|cause| cause.downcast_ref::<std::io::Error>()) {
                Some(disk) if !is_damage(disk.kind()) => disk.to_string(),
                Some(damage) => format!("it is damaged ({damage}); {REMEDY}"),
                None => format!("{cause}; {REMEDY}"),
            };
            Error::world(format!("cannot open the embedded store {}", path.display()), told)
        }
    }
}
