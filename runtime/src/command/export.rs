//! `headwater export JOB GROUP`: every row of a group, as JSON lines or as Parquet.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use headwater_connectors::Error;
use headwater_connectors::sink::GroupShape;

use super::args::ExportArgs;
use super::log::load;
use super::table::{Rows, Table};
use crate::base::failure::Failure;
use crate::base::id::{GroupId, SinkId};
use crate::catalog::open::open_for_rows;
use crate::catalog::opened::Opened;
use crate::job::Job;
use crate::serve::{endpoint, rows};

pub fn export(args: &ExportArgs) -> Result<(), Failure> {
    let job = load(&args.job)?;
    let group = rows::group(&job, &args.group)?;
    let sink = rows::sink(&job, group, args.sink.as_deref())?;
    let lines = RowSource::open(job, group, sink, (&args.group, args.sink.as_deref()))?;
    match &args.out {
        None => write_lines(lines, &mut BufWriter::new(std::io::stdout().lock()), "stdout"),
        Some(path) => into_file(path, |file| match path.extension().is_some_and(|end| end == "parquet") {
            true => write_parquet(lines, group, file),
            false => write_lines(lines, &mut BufWriter::new(file), &path.display().to_string()),
        }),
    }
}

/// Every row of a group of a job, running or not, as a table.
pub fn table(job: Job, named: &str, sink_named: Option<&str>) -> Result<(SchemaRef, Vec<RecordBatch>), Failure> {
    let group = rows::group(&job, named)?;
    let sink = rows::sink(&job, group, sink_named)?;
    let lines = RowSource::open(job, group, sink, (named, sink_named))?;
    let mut table = Rows::new(&lines.shape(group)?);
    let mut batches = vec![];
    lines.each(&mut |line| {
        batches.extend(table.push(line).map_err(|e| Error::world("exporting", e.message()))?);
        Ok(())
    })?;
    batches.extend(table.rest()?);
    Ok((table.schema().clone(), batches))
}

/// Where rows come from, as lines.
enum RowSource {
    /// A store that is read here.
    Store { opened: Opened, group: GroupId, sink: SinkId },
    /// A running job that holds its store.
    Running { job: Job, answer: BufReader<Box<dyn std::io::Read>> },
}

impl RowSource {
    fn open(
        job: Job,
        group: GroupId,
        sink: SinkId,
        (group_named, sink_named): (&str, Option<&str>),
    ) -> Result<RowSource, Failure> {
        if job.sinks[sink].to.store().is_some_and(|store| store.is_exclusive())
            && let Some(running) = endpoint::running(&job)?
        {
            let mut query = vec![("group", group_named)];
            query.extend(sink_named.map(|sink| ("sink", sink)));
            let answer = BufReader::new(running.ask("/export", &query)?);
            return Ok(RowSource::Running { job, answer });
        }
        Ok(RowSource::Store { opened: open_for_rows(job)?, group, sink })
    }

    fn shape(&self, group: GroupId) -> Result<GroupShape, Failure> {
        match self {
            RowSource::Store { opened, .. } => Ok(opened.groups[group].shape.clone()),
            RowSource::Running { job, .. } => Ok(open_for_rows(job.clone())?.groups[group].shape.clone()),
        }
    }

    fn each(self, each: &mut dyn FnMut(&str) -> Result<(), Error>) -> Result<(), Failure> {
        match self {
            RowSource::Store { opened, group, sink } => {
                rows::export(rows::lookup(&opened, sink, None)?.as_mut(), group, each)
            }
            RowSource::Running { answer, .. } => {
                let broken = |e| Failure::Running(format!("reading the running job's answer: {e}"));
                answer.lines().try_for_each(|line| Ok(each(&line.map_err(broken)?)?))
            }
        }
    }
}

fn write_lines(lines: RowSource, out: &mut dyn Write, to: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| match e.kind() {
        // Whoever reads has enough, as `head` has.
        std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        _ => Error::world(format!("writing to {to}"), e),
    };
    lines.each(&mut |line| writeln!(out, "{line}").map_err(failed))?;
    Ok(out.flush().map_err(failed)?)
}

fn write_parquet(lines: RowSource, group: GroupId, file: &mut File) -> Result<(), Failure> {
    let mut table = Table::new(&lines.shape(group)?, file)?;
    lines.each(&mut |line| table.push(line).map_err(|e| Error::world("exporting", e.message())))?;
    table.finish().map(drop)
}

/// Writes a file that is there once it is whole.
fn into_file(path: &Path, write: impl FnOnce(&mut File) -> Result<(), Failure>) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::Running(format!("writing {}: {e}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let written = File::create(&partial).map_err(failed).and_then(|mut file| write(&mut file));
    match written {
        Ok(()) => std::fs::rename(&partial, path).map_err(failed),
        Err(failure) => {
            // What is left of it helps nobody; that it cannot be removed is no news either.
            let _ = std::fs::remove_file(&partial);
            Err(failure)
        }
    }
}
