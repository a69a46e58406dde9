//! The command line: one file a command. Results go to stdout, everything else to stderr.

mod check;
mod demo;
mod export;
mod get;
mod meaning;
mod run;
mod status;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::{cluster, log, panics};

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

Results go to stdout; logs and progress to stderr (HEADWATER_LOG=debug tells more).
Exit: 0 done, 1 failed while running, 2 wrong usage or job, 3 refused at the seam.";

#[derive(Debug, Subcommand)]
enum Command {
    Check(CheckArgs),
    Run(RunArgs),
    Get(GetArgs),
    Export(ExportArgs),
    Status(StatusArgs),
    /// Show the whole story in one process: a made-up history, an embedded Kafka, an embedded store
    Demo(demo::DemoArgs),
    /// Training rows (not supported yet)
    #[command(hide = true, disable_help_flag = true)]
    Backfill {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _arguments: Vec<String>,
    },
}

/// Tell what a job would do, or everything that is wrong with it
///
/// Validates the job against its schema and data. Prints sources, the seam that a run would find, and each feature's type
/// and meaning. Nothing is written, and no store is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater check fraud.toml
  headwater check fraud.toml --sample 100    and what the 100 latest events would give

All faults are told at once, as FILE:LINE:COL: error: ... (exit 2). A gap between history and stream is exit 3.")]
struct CheckArgs {
    /// The job file
    job: PathBuf,
    /// Also print the rows that the N latest events of each source give by themselves, and dead letters with reasons
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    sample: Option<usize>,
}

/// Bootstrap from the history, switch to the stream, and follow it until SIGTERM or Ctrl-C
///
/// Reads the history, switches to the stream without a gap or a double count, and keeps every row current. While it runs it
/// serves `get`, `export`, `status` and Prometheus metrics on a loopback address.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater run fraud.toml                  until SIGTERM or Ctrl-C, then a clean exit
  headwater run fraud.toml --until-end      a result that is a function of the input alone
  headwater run fraud.toml --workers 8      on eight threads

The address of the metrics is the url in endpoint.json in the job's state directory, with /metrics behind it.")]
struct RunArgs {
    /// The job file
    job: PathBuf,
    /// Stop at the ends that the streams have at the start
    #[arg(long)]
    until_end: bool,
    /// Set what earlier runs left aside at once
    #[arg(long)]
    fresh: bool,
    /// Worker threads of this process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// How many processes the cluster has
    #[arg(long, default_value_t = 1, requires = "hosts")]
    processes: usize,
    /// Which of them this one is, from 0
    #[arg(long, default_value_t = 0)]
    process: usize,
    /// A file with one HOST:PORT a line, in the order of the processes
    #[arg(long)]
    hosts: Option<PathBuf>,
    /// How long to wait for the other processes
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration)]
    join_timeout: std::time::Duration,
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    crate::job::duration::parse(text).map(|us| std::time::Duration::from_micros(us.unsigned_abs()))
}

impl RunArgs {
    fn cluster(&self) -> cluster::Options {
        cluster::Options {
            workers: usize::from(self.workers),
            processes: self.processes,
            process: self.process,
            hosts: self.hosts.clone(),
            join_timeout: self.join_timeout,
        }
    }
}

/// Print one row as JSON
///
/// Prints a key's row as a JSON line; of a group with windows, each window of the key. Reads Redis by itself, and the embedded
/// store through the job if it runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater get fraud.toml card_activity card_id=c1
  headwater get fraud.toml user_activity user_id=7 country=DE
  headwater get fraud.toml card_hourly card_id=c1 --window 2026-01-31T10:00:00Z

No such row is exit 1.")]
struct GetArgs {
    /// The job file
    job: PathBuf,
    /// The feature group
    group: String,
    /// A value for each key column
    #[arg(required = true, value_name = "COL=VALUE")]
    key: Vec<String>,
    /// Only the window that starts then
    #[arg(long, value_name = "START")]
    window: Option<String>,
    /// The sink to read; otherwise the first Redis or embedded one that holds the group
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Print every row of a group as JSON lines, or write them to a file
///
/// Every row of a group, in order of key (and window).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater export fraud.toml card_activity | head
  headwater export fraud.toml card_activity --out rows.jsonl
  headwater export fraud.toml card_activity --out rows.parquet    key columns, columns, changed_at, as_of")]
struct ExportArgs {
    /// The job file
    job: PathBuf,
    /// The feature group
    group: String,
    /// Write a file: Parquet if it ends in .parquet, else JSON lines
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The sink to read; otherwise the first Redis or embedded one that holds the group
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Tell how a running job is
///
/// Asks a running job: progress of the bootstrap, seam, lag by partition, staleness by group, dead letters by reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater status fraud.toml
  headwater status fraud.toml --json | jq '.groups[].staleness_seconds'

A job that does not run is exit 1.")]
struct StatusArgs {
    /// The job file
    job: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number from 1 on".to_owned())
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are results, and go to stdout.
            let code = if e.use_stderr() { 2 } else { 0 };
            let _ = e.print();
            return ExitCode::from(code);
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
        Command::Demo(args) => demo::demo(&args),
        Command::Backfill { .. } => Err(Failure::Usage("`backfill` is not supported yet".to_owned())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => tell(&failure),
    }
}

fn tell(failure: &Failure) -> ExitCode {
    cluster::take_last_word();
    eprintln!("{}", log::masked(failure.to_string().trim_end()));
    ExitCode::from(failure.exit_code())
}

/// Writes a result to stdout.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has enough, as `head` has.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|e| Failure::Running(format!("writing to stdout: {e}"))),
    }
}
