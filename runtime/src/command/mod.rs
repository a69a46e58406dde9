//! The command line: one file a command. Results go to stdout, everything else to stderr.

mod args;
mod backfill;
mod catalog;
mod check;
mod demo;
mod export;
mod get;
mod log;
mod output;
mod panics;
mod progress;
mod run;
mod showing;
mod signals;
mod status;
mod verify;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::base::failure::Failure;
use args::{BackfillArgs, CatalogArgs, CheckArgs, ExportArgs, GetArgs, RunArgs, StatusArgs, VerifyArgs};

/// Keeps machine-learning features fresh: history from files, then the stream, one job for both.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Logs as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
A job is one TOML file:
  headwater check fraud.toml                           is it right, and what would it do?
  headwater run fraud.toml                             history, switch, stream, until Ctrl-C
  headwater get fraud.toml card_activity card_id=c1    one row
  headwater backfill fraud.toml --spine labels.parquet --time at --out rows.parquet    training rows

For JOB, - is a job on stdin. Results go to stdout; logs and progress to stderr (HEADWATER_LOG=debug tells more).
Exit: 0 done, 1 failed while running, 2 wrong usage or job, 3 refused at the seam.";

#[derive(Debug, Subcommand)]
enum Command {
    Check(CheckArgs),
    Run(RunArgs),
    Get(GetArgs),
    Export(ExportArgs),
    Backfill(BackfillArgs),
    Verify(VerifyArgs),
    Status(StatusArgs),
    Catalog(CatalogArgs),
    /// Show the whole story in one process: a made-up history, an embedded Kafka, an embedded store
    Demo(demo::DemoArgs),
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    ExitCode::from(run_line(std::env::args_os()))
}

/// Runs a command line, the program's name first: what to end with.
pub fn run_line(line: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are results, and go to stdout.
            let code = if e.use_stderr() { 2 } else { 0 };
            // Nobody can be told that there is nobody to tell.
            let _ = e.print();
            return code;
        }
    };
    // The demo tells its story itself.
    if !matches!(cli.command, Command::Demo(_)) || std::env::var_os("HEADWATER_LOG").is_some() {
        log::start(cli.log_json);
    }
    panics::install();
    let done = match cli.command {
        Command::Check(args) => check::check(&args),
        Command::Run(args) => run::run(&args),
        Command::Get(args) => get::get(&args),
        Command::Export(args) => export::export(&args),
        Command::Status(args) => status::status(&args),
        Command::Catalog(args) => catalog::catalog(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Backfill(args) => backfill::backfill(&args),
        Command::Verify(args) => verify::verify(&args),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => tell(&failure),
    }
}

fn tell(failure: &Failure) -> u8 {
    panics::take_last_word();
    // Nobody may be there to be told.
    let _ = writeln!(std::io::stderr(), "{}", log::masked(failure.to_string().trim_end()));
    failure.exit_code()
}
