//! The changelog: one JSON line a change, in the order of time, group, key (its JSON text), diff and window start.
//!
//! ```json
//! {"features":"card_hourly","key":{"card_id":"c1"},"window":{"start":"...","end":"..."},"time":"...","diff":-1,"row":{"n":2}}
//! ```

use std::path::Path;

use arrow::array::RecordBatch;

use super::GroupShape;
use super::changes::Changes;
use super::line_file::LineFile;
use crate::Result;
use crate::format::text::{write_string, write_time};

/// Lines are handed to the file in pieces of about this size.
const PIECE_BYTES: usize = 1 << 18;

/// A changelog in a JSONL file. Written by one process.
pub struct ChangelogFile {
    file: LineFile,
    groups: Vec<GroupShape>,
    /// `{"features":"name","key":` of each group.
    heads: Vec<Vec<u8>>,
}

impl ChangelogFile {
    /// A fresh run's: replaces an old file and makes missing directories.
    pub fn create(path: &Path, groups: &[GroupShape]) -> Result<ChangelogFile> {
        Ok(ChangelogFile::with(LineFile::create(path)?, groups))
    }

    /// A restart's: the old file cut back to its first `bytes`, as `bytes` told them before a checkpoint.
    pub fn resume(path: &Path, groups: &[GroupShape], bytes: u64) -> Result<ChangelogFile> {
        Ok(ChangelogFile::with(LineFile::open(path, bytes)?, groups))
    }

    fn with(file: LineFile, groups: &[GroupShape]) -> ChangelogFile {
        let head = |group: &GroupShape| {
            let mut out = b"{\"features\":".to_vec();
            write_string(&mut out, &group.name);
            out.extend_from_slice(b",\"key\":");
            out
        };
        ChangelogFile { file, heads: groups.iter().map(head).collect(), groups: groups.to_vec() }
    }

    /// Writes all changes of an interval of ticks, by group, from all workers in any order; later calls bring later ticks.
    pub fn write(&mut self, step: &[(usize, RecordBatch)]) -> Result<()> {
        let views: Vec<_> =
            step.iter().map(|(group, batch)| (*group, Changes::new(&self.groups[*group], batch))).collect();
        let mut lines = Vec::with_capacity(2 * PIECE_BYTES);
        for line in Lines::sorted(&views).lines {
            let (group, changes) = &views[line.view as usize];
            write_line(&mut lines, &self.heads[*group], changes, line.row as usize);
            if lines.len() >= PIECE_BYTES {
                self.file.write(&lines)?;
                lines.clear();
            }
        }
        self.file.write(&lines)
    }

    /// What the file holds once it is flushed, in bytes: where a checkpoint leaves it.
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Other processes see what has been written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }

    /// What has been written is on the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }
}

/// The changes of a step in their order. Of a change only what orders it is kept.
struct Lines {
    lines: Vec<Line>,
}

struct Line {
    time: i64,
    group: u32,
    diff: i8,
    start: i64,
    /// The key's JSON text, in the arena.
    key: (usize, usize),
    view: u32,
    row: u32,
}

impl Lines {
    fn sorted(views: &[(usize, Changes)]) -> Lines {
        let mut keys = Vec::new();
        let mut lines = Vec::with_capacity(views.iter().map(|(_, c)| c.times.len()).sum());
        for (view, (group, changes)) in views.iter().enumerate() {
            for row in 0..changes.times.len() {
                let from = keys.len();
                changes.key.write(&mut keys, row);
                lines.push(Line {
                    time: changes.times[row],
                    group: *group as u32,
                    diff: changes.diffs[row],
                    start: changes.window(row).map_or(0, |(start, _)| start),
                    key: (from, keys.len()),
                    view: view as u32,
                    row: row as u32,
                });
            }
        }
        let key = |line: &Line| &keys[line.key.0..line.key.1];
        lines.sort_unstable_by(|a, b| {
            (a.time, a.group, key(a), a.diff, a.start).cmp(&(b.time, b.group, key(b), b.diff, b.start))
        });
        Lines { lines }
    }
}

fn write_line(out: &mut Vec<u8>, head: &[u8], changes: &Changes, row: usize) {
    out.extend_from_slice(head);
    changes.key.write(out, row);
    if let Some((start, end)) = changes.window(row) {
        out.extend_from_slice(b",\"window\":{\"start\":\"");
        write_time(out, start);
        out.extend_from_slice(b"\",\"end\":\"");
        write_time(out, end);
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b",\"time\":\"");
    write_time(out, changes.times[row]);
    out.extend_from_slice(if changes.diffs[row] < 0 { b"\",\"diff\":-1,\"row\":" } else { b"\",\"diff\":1,\"row\":" });
    changes.row.write(out, row);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::super::samples::{plain, windowed};
    use super::*;

    fn written(path: &Path, mut file: ChangelogFile, steps: &[&[(usize, RecordBatch)]]) -> Vec<String> {
        for step in steps {
            file.write(step).unwrap();
        }
        file.flush().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.len() as u64, file.bytes());
        text.lines().map(String::from).collect()
    }

    #[test]
    fn lines_come_in_order_of_time_group_key_diff_and_window() {
        let (cards, hourly) = (plain(), windowed());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/changes.jsonl");
        let file = ChangelogFile::create(&path, &[cards.shape.clone(), hourly.shape.clone()]).unwrap();
        let step = [
            (1, hourly.batch(&[("a", 3_600_000_000, Some(2.5), 10, 1), ("a", 0, Some(1.0), 10, 1)])),
            (0, cards.batch(&[("b", 0, None, 10, 1), ("a", 0, Some(2.0), 10, 1)])),
            (0, cards.batch(&[("a", 0, Some(1.0), 10, -1), ("z", 0, Some(f64::NAN), 5, 1)])),
        ];
        let lines = written(&path, file, &[&step]);
        let window = |from, to| {
            format!(
                r#""window":{{"start":"1970-01-01T{from}:00:00Z","end":"1970-01-01T{to}:00:00Z"}},"time":"1970-01-01T00:00:00.000010Z""#
            )
        };
        assert_eq!(
            lines,
            [
                r#"{"features":"cards","key":{"card":"z"},"time":"1970-01-01T00:00:00.000005Z","diff":1,"row":{"x":"NaN"}}"#.to_string(),
                r#"{"features":"cards","key":{"card":"a"},"time":"1970-01-01T00:00:00.000010Z","diff":-1,"row":{"x":1.0}}"#.into(),
                r#"{"features":"cards","key":{"card":"a"},"time":"1970-01-01T00:00:00.000010Z","diff":1,"row":{"x":2.0}}"#.into(),
                r#"{"features":"cards","key":{"card":"b"},"time":"1970-01-01T00:00:00.000010Z","diff":1,"row":{"x":null}}"#.into(),
                format!(r#"{{"features":"hourly","key":{{"card":"a"}},{},"diff":1,"row":{{"x":1.0}}}}"#, window("00", "01")),
                format!(r#"{{"features":"hourly","key":{{"card":"a"}},{},"diff":1,"row":{{"x":2.5}}}}"#, window("01", "02")),
            ]
        );
    }

    #[test]
    fn a_restart_cuts_back_and_goes_on() {
        let cards = plain();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("changes.jsonl");
        let groups = [cards.shape.clone()];
        let mut file = ChangelogFile::create(&path, &groups).unwrap();
        file.write(&[(0, cards.batch(&[("a", 0, None, 1, 1)]))]).unwrap();
        let kept = file.bytes();
        file.write(&[(0, cards.batch(&[("b", 0, None, 2, 1)]))]).unwrap();
        file.sync().unwrap();
        drop(file);
        let file = ChangelogFile::resume(&path, &groups, kept).unwrap();
        let lines = written(&path, file, &[&[(0, cards.batch(&[("c", 0, None, 2, 1)]))]]);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains(r#"{"card":"c"}"#));
        let Err(error) = ChangelogFile::resume(&path, &groups, 1 << 30) else { panic!("it is shorter") };
        assert!(error.to_string().contains("changes.jsonl: it holds"), "{error}");
        let fresh = ChangelogFile::create(&path, &groups).unwrap();
        assert_eq!(written(&path, fresh, &[]), [""; 0]);
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let Err(error) = ChangelogFile::create(dir.path(), &[]) else { panic!("it is a directory") };
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    }
}
