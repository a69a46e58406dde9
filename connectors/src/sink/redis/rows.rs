//! A batch's rows as commands that make Redis hold them.

use arrow::array::RecordBatch;
use headwater_clocks::{Span, Tick, Time};

use super::keys::encode;
use super::wire::Commands;
use crate::format::text::{Column, write_number};
use crate::sink::GroupShape;
use crate::sink::changes::Changes;

/// The rows of a batch, ready to be written as often as it takes.
pub(super) struct Rows<'a> {
    pub changes: Changes<'a>,
    /// Key in Redis and row, the last change of each.
    pub newest: Vec<(Vec<u8>, usize)>,
    columns: Vec<(&'a [u8], Column<'a>)>,
    upto: Tick,
}

impl<'a> Rows<'a> {
    pub fn new(prefix: &str, shape: &'a GroupShape, batch: &'a RecordBatch, upto: Tick) -> Rows<'a> {
        let changes = Changes::new(shape, batch);
        let keys: Vec<_> = (0..shape.keys).map(|i| Column::plain(batch.column(i))).collect();
        let newest = changes.newest(|out, row| {
            out.extend_from_slice(prefix.as_bytes());
            let mut value = Vec::new();
            for (i, column) in keys.iter().enumerate() {
                if i > 0 {
                    out.push(b':');
                }
                value.clear();
                column.write(&mut value, row);
                encode(out, &value);
            }
            if let Some((start, _)) = changes.window(row) {
                out.push(b':');
                write_number(out, start.us());
            }
        });
        let column = |i: usize| (shape.schema.field(i).name().as_bytes(), Column::plain(batch.column(i)));
        let columns = shape.columns().map(column).collect();
        Rows { changes, newest, columns, upto }
    }

    /// Appends what makes the hash be this row. `whole`: whatever else it holds goes.
    pub fn put(&self, commands: &mut Commands, key: &[u8], row: usize, group: &GroupShape, whole: bool) {
        let nulls = self.columns.iter().filter(|(_, column)| column.is_null(row)).count();
        if whole {
            commands.push(&[b"DEL", key]);
        } else if nulls > 0 {
            commands.begin(2 + nulls);
            commands.part(b"HDEL");
            commands.part(key);
            self.columns.iter().filter(|(_, c)| c.is_null(row)).for_each(|(name, _)| commands.part(name));
        }
        let window = self.changes.window(row).zip(group.windows);
        let end = window.filter(|(_, windows)| windows.size.is_none()).map(|((_, end), _)| end);
        commands.begin(2 + 2 * (self.columns.len() - nulls + 1 + usize::from(end.is_some())));
        commands.part(b"HSET");
        commands.part(key);
        let mut value = Vec::new();
        for (name, column) in self.columns.iter().filter(|(_, c)| !c.is_null(row)) {
            value.clear();
            column.write(&mut value, row);
            commands.part(name);
            commands.part(&value);
        }
        commands.part(b"_changed_at");
        commands.part(self.changes.time(row).us().to_string().as_bytes());
        if let Some(end) = end {
            commands.part(b"_end");
            commands.part(end.us().to_string().as_bytes());
        }
        if let Some(((_, end), windows)) = window {
            // Counted in the job's time: the wall clock may be far ahead of it.
            let left = (end + windows.retain).past(self.upto).max(Span::ZERO) + Span::DAY;
            commands.push(&[b"PEXPIRE", key, (left.us() / 1000).to_string().as_bytes()]);
        }
    }
}
