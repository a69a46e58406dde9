//! The command line: one file a command. Results go to stdout, everything else to stderr.

mod demo;
mod export;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cluster;
use crate::failure::Failure;

/// Keeps machine-learning features fresh: history from Parquet, then the stream, one job for both.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 100)]
struct Cli {
    /// Logs as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bootstrap from the history, switch to the stream, and follow it until SIGTERM or Ctrl-C
    Run(RunArgs),
    /// Print every row of a group as JSON lines
    Export(ExportArgs),
    /// Show the whole story in one process: a made-up history, an embedded Kafka, an embedded store
    Demo(demo::DemoArgs),
}

#[derive(Debug, clap::Args)]
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
}

impl RunArgs {
    fn cluster(&self) -> cluster::Options {
        cluster::Options {
            workers: usize::from(self.workers),
            processes: self.processes,
            process: self.process,
            hosts: self.hosts.clone(),
        }
    }
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// The job file
    job: PathBuf,
    /// The feature group
    group: String,
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
        crate::log::start(cli.log_json);
    }
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Export(args) => export::export(&args),
        Command::Demo(args) => demo::demo(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => tell(&failure),
    }
}

fn tell(failure: &Failure) -> ExitCode {
    eprintln!("{}", failure.to_string().trim_end());
    ExitCode::from(failure.exit_code())
}
