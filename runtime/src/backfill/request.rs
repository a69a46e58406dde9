//! What a backfill is asked for, and what came of it.

use std::path::PathBuf;
use std::time::Duration;

use headwater_clocks::{EventTime, Span, Tick};
use headwater_connectors::table::{Source, Target};
use headwater_operators::probe::Enter;

use super::scratch::SpillDir;
use crate::base::human::{HumanBytes, HumanCount};
use crate::cluster::options::Options;
use crate::job::Job;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub spine: Source,
    pub out: Target,
    /// The spine's column of times.
    pub time: String,
    /// Names of groups and views; `None`: every trailing and lifetime group.
    pub features: Option<Vec<String>>,
    pub known: Known,
    /// Threads of this process.
    pub workers: usize,
    /// The processes that share the work; `None`: it is alone.
    pub cluster: Option<Options>,
    /// Bytes of events, labels and rows that may stay in memory.
    pub memory: u64,
    /// Where the rest lies; `None`: below the job's state.
    pub spill: Option<PathBuf>,
}

impl Request {
    pub fn cluster(&self) -> Options {
        self.cluster.clone().unwrap_or_else(|| Options::alone(self.workers))
    }

    /// What every process must be told alike. Where spine and rows lie may differ from host to host.
    pub fn flags(&self) -> String {
        let features =
            self.features.as_ref().map_or_else(String::new, |names| format!(" --features {}", names.join(",")));
        format!("backfill --time {} --known {}{features}", self.time, self.known.name())
    }

    /// Where this process keeps what does not stay in memory: no two in the same directory, though they share a disk.
    pub fn spill_dir(&self, job: &Job) -> SpillDir {
        let process = self.cluster.as_ref().filter(|cluster| cluster.processes > 1).map(|cluster| cluster.process);
        match (&self.spill, process) {
            (Some(dir), None) => SpillDir::named(dir, None),
            (Some(dir), Some(process)) => SpillDir::named(dir, Some(&format!("process-{process}"))),
            (None, None) => SpillDir::own(job.state.local.join("backfill")),
            (None, Some(process)) => SpillDir::own(job.state.local.join(format!("backfill-{process}"))),
        }
    }
}

/// As of when a row is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// As a run would have served it: at the last tick up to the time.
    Arrival,
    /// As a run did serve it: so, but for records that it had admitted late.
    Served,
    /// In hindsight: all that had happened by the time, however late it came.
    Event,
}

impl Known {
    /// As it is called.
    pub fn named(name: &str) -> Option<Known> {
        [Known::Arrival, Known::Event, Known::Served].into_iter().find(|known| known.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Known::Arrival => "arrival",
            Known::Event => "event",
            Known::Served => "served",
        }
    }

    pub fn enter(self) -> Enter {
        match self {
            Known::Arrival | Known::Served => Enter::Visible,
            Known::Event => Enter::Happened,
        }
    }

    /// The moment at which a row is asked for.
    pub fn moment(self, time: EventTime, tick: Span) -> Tick {
        match self {
            Known::Arrival | Known::Served => Tick::down(time, tick),
            Known::Event => Tick::leaving(time, Span::ZERO),
        }
    }
}

/// What came of a backfill.
#[derive(Debug, Default)]
pub struct Done {
    /// Rows of the spine.
    pub rows: u64,
    /// Columns that were appended.
    pub columns: usize,
    /// Records that were read of histories and streams.
    pub records: u64,
    /// By reason.
    pub dead_letters: Vec<(String, u64)>,
    /// Sums that did not fit their type, once for each row that could not show one; of what is replayed, at any tick and of any key.
    pub unfit_sums: u64,
    /// Rows of a group with a null since a derived column failed; and of views, at any tick and of any key, on which an expression did.
    pub failed_rows: u64,
    /// Bytes that did not stay in memory.
    pub spilled: u64,
}

impl Done {
    /// What came of it, in one line.
    pub fn summary(&self, out: &str, took: Duration) -> String {
        let dead_letters = match self.dead_letters.as_slice() {
            [] => "none".to_owned(),
            some => {
                some.iter().map(|(reason, n)| format!("{} {reason}", HumanCount(*n))).collect::<Vec<_>>().join(", ")
            }
        };
        let mut text = format!(
            "{} rows with {} columns more in {out}; {} records read, dead letters: {dead_letters}; {:.1} seconds",
            HumanCount(self.rows),
            self.columns,
            HumanCount(self.records),
            took.as_secs_f64()
        );
        if self.unfit_sums > 0 {
            text += &format!("; {} sums that do not fit their type are null", HumanCount(self.unfit_sums));
        }
        if self.failed_rows > 0 {
            text += &format!(
                "; {} rows on which a derived column or a view's expression failed",
                HumanCount(self.failed_rows)
            );
        }
        if self.spilled > 0 {
            text += &format!("; {} went to disk", HumanBytes(self.spilled));
        }
        text
    }
}
