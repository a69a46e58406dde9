//! The changelog: one JSON line a change, in the order of time, group, key (its JSON text), diff and window start.
//!
//! ```json
//! {"features":"card_hourly","key":{"card_id":"c1"},"window":{"start":"...","end":"..."},"time":"...","diff":-1,"row":{"n":2}}
//! ```

use arrow::array::RecordBatch;
use headwater_clocks::{EventTime, Tick, Time, write_time};

use super::GroupShape;
use super::changes::Changes;
use super::lines::{LineMeta, LineSink};
use crate::Result;
use crate::format::text::write_string;

/// How the changes of a job's groups are written.
pub struct Changelog {
    groups: Vec<GroupShape>,
    /// `{"features":"name","key":` of each group.
    heads: Vec<Vec<u8>>,
}

impl Changelog {
    /// Of all groups of a job: the place of each is its number.
    pub fn new(groups: &[GroupShape]) -> Changelog {
        let head = |group: &GroupShape| {
            let mut out = b"{\"features\":".to_vec();
            write_string(&mut out, &group.name);
            out.extend_from_slice(b",\"key\":");
            out
        };
        Changelog { heads: groups.iter().map(head).collect(), groups: groups.to_vec() }
    }

    /// Writes all changes of an interval of ticks, by group, from all workers in any order; later calls bring later ticks.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write(&self, to: &mut dyn LineSink, step: &[(usize, RecordBatch)]) -> Result<()> {
        let views: Vec<_> =
            step.iter().map(|(group, batch)| (*group, Changes::new(&self.groups[*group], batch))).collect();
        let mut text = Vec::new();
        for line in Sorted::new(&views).lines {
            let (group, changes) = &views[line.view as usize];
            let (head, row) = (&self.heads[*group], line.row as usize);
            text.clear();
            write_line(&mut text, head, changes, row);
            to.write(&text, &LineMeta { key: &|out| write_key(out, head, changes, row), time: None })?;
        }
        Ok(())
    }
}

/// The changes of a step in their order. Of a change only what orders it is kept.
struct Sorted {
    lines: Vec<Line>,
}

struct Line {
    time: Tick,
    group: u32,
    diff: i8,
    start: Option<EventTime>,
    /// The key's JSON text, in the arena.
    key: (usize, usize),
    view: u32,
    row: u32,
}

impl Sorted {
    fn new(views: &[(usize, Changes)]) -> Sorted {
        let mut keys = Vec::new();
        let mut lines = Vec::with_capacity(views.iter().map(|(_, c)| c.len()).sum());
        for (view, (group, changes)) in views.iter().enumerate() {
            for row in 0..changes.len() {
                let from = keys.len();
                changes.key.write(&mut keys, row);
                lines.push(Line {
                    time: changes.time(row),
                    group: *group as u32,
                    diff: changes.diffs[row],
                    start: changes.window(row).map(|(start, _)| start),
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
        Sorted { lines }
    }
}

fn write_line(out: &mut Vec<u8>, head: &[u8], changes: &Changes, row: usize) {
    out.extend_from_slice(head);
    changes.key.write(out, row);
    if let Some((start, end)) = changes.window(row) {
        out.extend_from_slice(b",\"window\":{\"start\":\"");
        write_time(out, start.us());
        out.extend_from_slice(b"\",\"end\":\"");
        write_time(out, end.us());
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b",\"time\":\"");
    write_time(out, changes.time(row).us());
    out.extend_from_slice(if changes.diffs[row] < 0 { b"\",\"diff\":-1,\"row\":" } else { b"\",\"diff\":1,\"row\":" });
    changes.row.write(out, row);
    out.push(b'}');
}

/// What a row is called: `{"features":"card_hourly","key":{"card_id":"c1"},"window":"2026-03-02T10:00:00Z"}`, the window by its
/// start, and only where there are windows.
fn write_key(out: &mut Vec<u8>, head: &[u8], changes: &Changes, row: usize) {
    out.extend_from_slice(head);
    changes.key.write(out, row);
    if let Some((start, _)) = changes.window(row) {
        out.extend_from_slice(b",\"window\":\"");
        write_time(out, start.us());
        out.push(b'"');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::super::samples::{WrittenLines, plain, windowed};
    use super::*;

    #[test]
    fn lines_come_in_order_of_time_group_key_diff_and_window() {
        let (cards, hourly) = (plain(), windowed());
        let changelog = Changelog::new(&[cards.shape.clone(), hourly.shape.clone()]);
        let step = [
            (1, hourly.batch(&[("a", 3_600_000_000, Some(2.5), 10, 1), ("a", 0, Some(1.0), 10, 1)])),
            (0, cards.batch(&[("b", 0, None, 10, 1), ("a", 0, Some(2.0), 10, 1)])),
            (0, cards.batch(&[("a", 0, Some(1.0), 10, -1), ("z", 0, Some(f64::NAN), 5, 1)])),
        ];
        let mut kept = WrittenLines::default();
        changelog.write(&mut kept, &step).unwrap();
        let window = |from, to| {
            format!(
                r#""window":{{"start":"1970-01-01T{from}:00:00Z","end":"1970-01-01T{to}:00:00Z"}},"time":"1970-01-01T00:00:00.000010Z""#
            )
        };
        assert_eq!(
            kept.lines,
            [
                r#"{"features":"cards","key":{"card":"z"},"time":"1970-01-01T00:00:00.000005Z","diff":1,"row":{"x":"NaN"}}"#.to_string(),
                r#"{"features":"cards","key":{"card":"a"},"time":"1970-01-01T00:00:00.000010Z","diff":-1,"row":{"x":1.0}}"#.into(),
                r#"{"features":"cards","key":{"card":"a"},"time":"1970-01-01T00:00:00.000010Z","diff":1,"row":{"x":2.0}}"#.into(),
                r#"{"features":"cards","key":{"card":"b"},"time":"1970-01-01T00:00:00.000010Z","diff":1,"row":{"x":null}}"#.into(),
                format!(r#"{{"features":"hourly","key":{{"card":"a"}},{},"diff":1,"row":{{"x":1.0}}}}"#, window("00", "01")),
                format!(r#"{{"features":"hourly","key":{{"card":"a"}},{},"diff":1,"row":{{"x":2.5}}}}"#, window("01", "02")),
            ]
        );
        let keys = [
            r#"{"features":"cards","key":{"card":"z"}}"#,
            r#"{"features":"cards","key":{"card":"a"}}"#,
            r#"{"features":"cards","key":{"card":"a"}}"#,
            r#"{"features":"cards","key":{"card":"b"}}"#,
            r#"{"features":"hourly","key":{"card":"a"},"window":"1970-01-01T00:00:00Z"}"#,
            r#"{"features":"hourly","key":{"card":"a"},"window":"1970-01-01T01:00:00Z"}"#,
        ];
        assert_eq!(kept.keys, keys);
    }
}
