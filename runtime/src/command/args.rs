//! What each command is told on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use headwater_clocks::WallClock;

use crate::backfill::memory;
use crate::backfill::request::Known;
use crate::cluster::options::Options;
use crate::job::{duration, instant};

/// Tell what a job would do, or everything that is wrong with it
///
/// Validates the job against its schema and data. Prints sources, the seam that a run would find, and each feature's type
/// and meaning. Nothing is written, and no store is touched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater check fraud.toml
  headwater check fraud.toml --sample 100    and what the 100 latest events would give

All faults are told at once, as FILE:LINE:COL: error: ... (exit 2). A gap between history and stream is exit 3.")]
pub struct CheckArgs {
    /// The job file
    pub job: PathBuf,
    /// Also print the rows that the N latest events of each source give by themselves, and dead letters with reasons
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub sample: Option<usize>,
}

/// Bootstrap from the history, switch to the stream, and follow it until SIGTERM or Ctrl-C
///
/// Reads the history, switches to the stream without a gap or a double count, and keeps every row current. While it runs it
/// serves `get`, `export`, `status` and Prometheus metrics on a loopback address.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater run fraud.toml                  until SIGTERM or Ctrl-C, then a clean exit
  headwater run fraud.toml --until-end      a result that is a function of the input alone
  headwater run fraud.toml --workers 8      on eight threads

The address of the metrics is the url in endpoint.json in the job's state directory, with /metrics behind it.")]
pub struct RunArgs {
    /// The job file
    pub job: PathBuf,
    /// Stop at the ends that the streams have at the start
    #[arg(long)]
    pub until_end: bool,
    /// Set what earlier runs left aside at once
    #[arg(long)]
    pub fresh: bool,
    /// Worker threads of this process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Which process of how many this one is.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// How many processes the cluster has
    #[arg(long, default_value_t = 1, requires = "hosts")]
    pub processes: usize,
    /// Which of them this one is, from 0
    #[arg(long, default_value_t = 0)]
    pub process: usize,
    /// A file with one HOST:PORT a line, in the order of the processes
    #[arg(long)]
    pub hosts: Option<PathBuf>,
    /// How long to wait for the other processes
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = wait)]
    pub join_timeout: Duration,
}

fn wait(text: &str) -> Result<Duration, String> {
    duration::parse(text).map(|span| Duration::from_micros(span.us().unsigned_abs()))
}

impl ClusterArgs {
    /// With so many workers a process.
    pub fn of(&self, workers: impl Into<usize>) -> Options {
        Options {
            workers: workers.into(),
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
/// store through the job if it runs. With --at the row is the one of an earlier time, which a running job keeps of groups, views
/// and links with `history`: all that are read at one TIME are of one tick, the last one until then.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater get fraud.toml card_activity card_id=c1
  headwater get fraud.toml user_activity user_id=7 country=DE
  headwater get fraud.toml card_hourly card_id=c1 --window 2026-01-31T10:00:00Z
  headwater get fraud.toml card_activity card_id=c1 --at 2026-01-31T10:42:07.5Z

No such row is exit 1.")]
pub struct GetArgs {
    /// The job file
    pub job: PathBuf,
    /// The feature group
    pub group: String,
    /// A value for each key column
    #[arg(required = true, value_name = "COL=VALUE")]
    pub key: Vec<String>,
    /// Only the window that starts then
    #[arg(long, value_name = "START")]
    pub window: Option<String>,
    /// The row as it was then: a time like 2026-01-31T10:00:00Z, or microseconds since 1970
    #[arg(long, value_name = "TIME", conflicts_with = "sink")]
    pub at: Option<String>,
    /// The sink to read; otherwise the first Redis or embedded one that holds the group
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
}

/// Print every row of a group as JSON lines, or write them to a file
///
/// Every row of a group, in order of key (and window).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater export fraud.toml card_activity | head
  headwater export fraud.toml card_activity --out rows.jsonl
  headwater export fraud.toml card_activity --out rows.parquet    key columns, columns, changed_at, as_of")]
pub struct ExportArgs {
    /// The job file
    pub job: PathBuf,
    /// The feature group
    pub group: String,
    /// Write a file: Parquet if it ends in .parquet, else JSON lines
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The sink to read; otherwise the first Redis or embedded one that holds the group
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
}

/// Training rows: for each row of a spine, what the features were at its time
///
/// A spine is a table of labels: the key columns of the groups, a time, and anything else. It is written again, in its own order,
/// with `GROUP__COLUMN` beside its columns, in the order of the job: to the bit what a run would have served then. Tables are Parquet
/// (.parquet) or Arrow (.arrow, .feather, .ipc), local or in an object store.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater backfill fraud.toml --spine labels.parquet --time label_time --out rows.parquet
  headwater backfill fraud.toml --spine labels.parquet --time label_time --out rows.parquet --features card_activity
  headwater backfill fraud.toml --spine s3://ml/labels.arrow --time at --out s3://ml/rows.arrow --memory 8GiB
  headwater backfill fraud.toml --spine s3://ml/labels.arrow --time at --out s3://ml/rows.arrow \
      --processes 4 --process 2 --hosts hosts.txt    one of four processes that share the work

A key without events, a null key or a null time has counts 0 and the rest null; of views and links, which are in it where --features
names them, all is null. Each key column of a group is a column of the spine, of the same type or another width. Nothing of the
job is written, and no store is touched. A gap between history and stream is exit 3.")]
pub struct BackfillArgs {
    /// The job file
    pub job: PathBuf,
    /// The rows that are asked for: a path or URL
    #[arg(long, value_name = "FILE")]
    pub spine: String,
    /// The spine's column with the time of each row: a timestamp, UTC where it has no zone
    #[arg(long, value_name = "COL")]
    pub time: String,
    /// Where the rows go: a path or URL; it is there once it is whole
    #[arg(long, value_name = "FILE")]
    pub out: String,
    /// The groups, views and links, separated by commas; otherwise all trailing and lifetime groups
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub features: Option<Vec<String>>,
    /// What is known at a row's time
    #[arg(long, value_enum, default_value_t = KnownArg::Arrival)]
    pub known: KnownArg,
    /// Threads of this process; otherwise as many as the machine has. The result is the same for any number
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// About how much memory events, labels and rows may take in this process, as in 512MiB or 8GB; otherwise a quarter of the
    /// machine's, at most 2GiB. The rest goes to disk
    #[arg(long, value_name = "SIZE", value_parser = memory::parse)]
    pub memory: Option<u64>,
    /// Where that lies; otherwise below the job's local state
    #[arg(long, value_name = "DIR")]
    pub spill: Option<PathBuf>,
}

/// What is known at a row's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KnownArg {
    /// What a run would have served at that time: events that had arrived
    Arrival,
    /// In hindsight: all events that had happened, however late they came
    Event,
    /// What a live run did serve, with the records that it admitted late: `[state] admissions = true`
    Served,
}

impl From<KnownArg> for Known {
    fn from(known: KnownArg) -> Known {
        match known {
            KnownArg::Arrival => Known::Arrival,
            KnownArg::Event => Known::Event,
            KnownArg::Served => Known::Served,
        }
    }
}

/// Hold what was served against what a backfill gives
///
/// Reads the job's serve log ([serve_log]), backfills every row of it, and tells by group and column how many values are equal to what is
/// known in hindsight, and why the others are not: they were stale, a record was admitted late, or events came late.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater verify fraud.toml                             all that the log has
  headwater verify fraud.toml --since 1d                  what was asked for within a day
  headwater verify fraud.toml --since 2026-01-31T00:00:00Z --until 2026-02-01T00:00:00Z --json

Exit 1 where a value differs from what a run publishes and nothing explains it, or where there is nothing to compare.")]
pub struct VerifyArgs {
    /// The job file
    pub job: PathBuf,
    /// Only what was asked for from then on: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<WallClock>,
    /// Only what was asked for before then: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<WallClock>,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Threads; otherwise as many as the machine has
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,
    /// About how much memory a backfill may take, as in 512MiB or 8GB; otherwise a quarter of the machine's, at most 2GiB. The rest
    /// goes to disk
    #[arg(long, value_name = "SIZE", value_parser = memory::parse)]
    pub memory: Option<u64>,
    /// Where that lies; otherwise below the job's local state
    #[arg(long, value_name = "DIR")]
    pub spill: Option<PathBuf>,
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<WallClock, String> {
    let ago = || duration::parse(text).ok().map(|span| WallClock::now() - span);
    let at = instant::parse(text).map(WallClock::from_us);
    at.or_else(ago)
        .ok_or_else(|| format!("`{text}` is no time: expected one like 2026-01-31T10:00:00Z, or how long ago, like 1d"))
}

/// Tell how a running job is
///
/// Asks a running job: progress of the bootstrap, seam, lag by partition, staleness by group, dead letters by reason.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater status fraud.toml
  headwater status fraud.toml --json | jq '.groups[].staleness_seconds'

A job that does not run is exit 1.")]
pub struct StatusArgs {
    /// The job file
    pub job: PathBuf,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// List what features there are, what they mean, and where they come from
///
/// Of job files, or of all below a directory: sources with their schemas and seams, features with type, meaning, window, key,
/// owner and lineage, and where they are served. No job has to run; of one that runs it says how fresh its rows are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwater catalog fraud.toml
  headwater catalog jobs/ --search 'card amount'      what has both words in a name, a meaning or a tag
  headwater catalog jobs/ --markdown > FEATURES.md
  headwater catalog jobs/ --json | jq '.jobs[].features[].columns[].column'

`description`, `owner` and `tags` of sources, features and columns are written in the job.")]
pub struct CatalogArgs {
    /// Job files, or directories with some in them
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Only what has all of these words
    #[arg(long, value_name = "WORDS")]
    pub search: Option<String>,
    /// As one JSON object
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// As a page of Markdown
    #[arg(long)]
    pub markdown: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number from 1 on".to_owned())
}
