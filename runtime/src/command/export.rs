//! `headwater export JOB GROUP`

use std::io::Write;

use headwater_connectors::format::text::format_time;
use headwater_connectors::sink::embedded::Embedded;
use headwater_connectors::sink::{GroupShape, Lookup, RowText};

use super::ExportArgs;
use crate::failure::Failure;
use crate::job;
use crate::opened;
use crate::run::embedded_path;

pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    let (job, _) = job::load(&args.job).map_err(Failure::Job)?;
    let opened = opened::open(job, None)?;
    let shapes: Vec<GroupShape> = opened.groups.iter().map(|g| g.shape.clone()).collect();
    let group = shapes
        .iter()
        .position(|s| s.name == args.group)
        .ok_or_else(|| Failure::Usage(format!("no feature group {:?} in the job", args.group)))?;
    let mut store = Embedded::read_only(&embedded_path(&opened.job), &shapes)?;
    let as_of = store.as_of(group)?.unwrap_or_default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    store.scan(group, &mut |row| {
        writeln!(out, "{}", row_line(&row, as_of)).map_err(|e| headwater_connectors::Error::world("writing to stdout", e))
    })?;
    out.flush().map_err(|e| Failure::Running(format!("writing to stdout: {e}")))
}

/// A row as `get` and `export` print it.
pub fn row_line(row: &RowText, as_of: i64) -> String {
    let window = row.window.map_or_else(String::new, |(start, end)| {
        format!(r#""window":{{"start":"{}","end":"{}"}},"#, format_time(start), format_time(end))
    });
    let (key, values) = (&row.key, &row.row);
    let (changed_at, as_of) = (format_time(row.changed_at_us), format_time(as_of));
    format!(r#"{{"key":{key},{window}"row":{values},"changed_at":"{changed_at}","as_of":"{as_of}"}}"#)
}
