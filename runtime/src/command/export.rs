//! `headwater export JOB GROUP`: every row of a group, as JSON lines or as Parquet.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use headwater_connectors::Error;

use super::args::ExportArgs;
use super::log::load;
use super::output::exit;
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::serve::export::RowSource;
use crate::serve::rows;
use crate::serve::table::Table;

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

fn write_lines(lines: RowSource, out: &mut dyn Write, to: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| match e.kind() {
        // Whoever reads has enough, as `head` has.
        std::io::ErrorKind::BrokenPipe => exit(0),
        _ => Error::world(format!("writing to {to}"), e),
    };
    lines.each(&mut |line| writeln!(out, "{line}").map_err(failed))?;
    Ok(out.flush().map_err(failed)?)
}

fn write_parquet(lines: RowSource, group: RowsId, file: &mut File) -> Result<(), Failure> {
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
