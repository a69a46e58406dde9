//! Whether a file is still what it was when it was pinned.

use std::time::{SystemTime, UNIX_EPOCH};

use arrow::temporal_conversions::timestamp_us_to_datetime;
use headwater_clocks::{Time, WallClock};

use super::PinnedFile;
use crate::{Error, Result};

/// A local file as it is now.
pub(crate) fn look(path: &str) -> Result<PinnedFile> {
    let metadata = std::fs::metadata(path).map_err(|e| unavailable(path, &e))?;
    let modified = metadata.modified().map_err(|e| Error::world(format!("reading when {path} was modified"), e))?;
    Ok(PinnedFile { path: path.into(), size: metadata.len(), etag: None, modified: wall_clock(modified) })
}

/// A file that goes away while it is needed has changed; anything else is the world's fault.
pub(crate) fn unavailable(path: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => gone(path),
        _ => Error::world(format!("looking at {path}"), error),
    }
}

/// Floored.
fn wall_clock(time: SystemTime) -> WallClock {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).map_or(WallClock::AFTER_ALL, WallClock::from_us),
        Err(before) => i64::try_from(before.duration().as_nanos().div_ceil(1000))
            .map_or(WallClock::BEFORE_ALL, |us| WallClock::from_us(-us)),
    }
}

/// An error if the file is not what was pinned.
pub(crate) fn check_same(pinned: &PinnedFile, now: &PinnedFile) -> Result<()> {
    let same = pinned.size == now.size
        && match (&pinned.etag, &now.etag) {
            // Some stores quote an ETag in one answer and not in another.
            (Some(then), Some(now)) => then.trim_matches('"') == now.trim_matches('"'),
            _ => pinned.modified == now.modified,
        };
    if same {
        return Ok(());
    }
    Err(Error::Changed(format!(
        "{} changed after it was pinned: it had {}, and now has {}. {WHAT_TO_DO}",
        pinned.path,
        describe(pinned),
        describe(now)
    )))
}

pub(crate) fn gone(path: &str) -> Error {
    Error::Changed(format!("{path} was pinned, and is gone. {WHAT_TO_DO}"))
}

pub(super) const WHAT_TO_DO: &str = "What was read of the history may not fit what is there now: put the file back as it was, or start anew \
                          with --fresh.";

fn describe(file: &PinnedFile) -> String {
    let modified =
        timestamp_us_to_datetime(file.modified.us()).map(|t| format!(", modified {t} UTC")).unwrap_or_default();
    let etag = file.etag.as_ref().map(|etag| format!(", ETag {etag}")).unwrap_or_default();
    format!("{} bytes{modified}{etag}", file.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64, etag: Option<&str>, modified_us: i64) -> PinnedFile {
        let modified = WallClock::from_us(modified_us);
        PinnedFile { path: "f".into(), size, etag: etag.map(String::from), modified }
    }

    #[test]
    fn a_file_is_the_same_by_size_and_etag_or_by_size_and_time() {
        let rows = [
            (file(1, None, 5), file(1, None, 5), true),
            (file(1, None, 5), file(2, None, 5), false),
            (file(1, None, 5), file(1, None, 6), false),
            (file(1, Some("\"a\""), 5), file(1, Some("a"), 6), true),
            (file(1, Some("a"), 5), file(1, Some("b"), 5), false),
            (file(1, Some("a"), 5), file(1, None, 5), true),
        ];
        for (then, now, same) in rows {
            assert_eq!(check_same(&then, &now).is_ok(), same, "{then:?} {now:?}");
        }
        let Err(Error::Changed(message)) = check_same(&file(1, None, 0), &file(2, Some("b"), 1)) else { panic!() };
        assert!(message.starts_with(
            "f changed after it was pinned: it had 1 bytes, modified 1970-01-01 00:00:00 UTC, and now has 2 bytes, \
             modified 1970-01-01 00:00:00.000001 UTC, ETag b."
        ));
    }
}
