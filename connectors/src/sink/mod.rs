//! Sinks: where rows go.
//!
//! Rows come as a `RecordBatch` of changes of one group, in order of time:
//!
//! | columns | what |
//! |---|---|
//! | one for each key column | the key |
//! | `_start`, `_end` (windowed groups only) | the window, `Timestamp(us, UTC)` |
//! | one for each feature column | the row |
//! | `_time` (int64) | the tick of the change, in microseconds |
//! | `_diff` (int8) | `1` a row that now is, `-1` a row that was |

use headwater_clocks::Span;

pub mod changelog;
mod changes;
pub mod dead_letters;
pub mod embedded;
pub mod lines;
pub mod redis;
#[cfg(test)]
mod samples;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::settings::{Endpoint, Kind, Settings};
pub use changes::texts;
use lines::LinesConfig;
pub use store::{Claim, Claimed, HeldStore, JobRows, Lookup, Marks, RowText, Store, StoreConfig};

/// Every kind of sink. A new one is its file and a line here.
pub static SINKS: &[&dyn SinkKind] = &[redis::REDIS, embedded::EMBEDDED, lines::file::JSONL, lines::topic::KAFKA];

/// The kind of the sink of a job that names none, and that sink's name.
pub const DEFAULT: &str = "embedded";

/// The kind of dead letters that name none.
pub const DEFAULT_DEAD_LETTERS: &str = "jsonl";

/// A kind of sink.
pub trait SinkKind: Kind {
    /// What it is given.
    fn takes(&self) -> Takes;

    /// Reads `[sinks.NAME]`.
    fn read(&self, settings: &mut dyn Settings, home: &Home) -> SinkConfig;

    /// Reads `[dead_letters]`. `None`: it does not say where, or is of a kind that takes no lines.
    fn read_dead_letters(&self, _settings: &mut dyn Settings, _home: &Home) -> Option<Arc<dyn LinesConfig>> {
        None
    }
}

/// The sink of a job that names none; and what such a job has to say all the same.
pub fn default_sink(home: &Home) -> (SinkConfig, Option<&'static str>) {
    embedded::unsaid(home)
}

/// Where dead letters go that a job says nothing of; and what such a job has to say all the same.
pub fn default_dead_letters(home: &Home) -> (Arc<dyn LinesConfig>, Option<&'static str>) {
    lines::file::unsaid_dead_letters(home)
}

/// What a sink is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The newest row of each key.
    Rows,
    /// Each change, as a line; it can be given dead letters as well.
    Changes,
}

/// A sink as a job has set it.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// Takes the newest row of each key.
    Rows(Arc<dyn StoreConfig>),
    /// Takes each change, as a line.
    Changes(Arc<dyn LinesConfig>),
}

impl SinkConfig {
    /// Where it writes; `None` where the job does not say it.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match self {
            SinkConfig::Rows(store) => store.endpoint(),
            SinkConfig::Changes(lines) => lines.endpoint(),
        }
    }

    /// For people, without secrets.
    pub fn describe(&self) -> String {
        match self {
            SinkConfig::Rows(store) => store.describe(),
            SinkConfig::Changes(lines) => format!("changelog {}", lines.describe()),
        }
    }

    /// The store, if it is one.
    pub fn store(&self) -> Option<&Arc<dyn StoreConfig>> {
        match self {
            SinkConfig::Rows(store) => Some(store),
            SinkConfig::Changes(_) => None,
        }
    }

    /// Where changes go as lines, if they do.
    pub fn lines(&self) -> Option<&Arc<dyn LinesConfig>> {
        match self {
            SinkConfig::Changes(lines) => Some(lines),
            SinkConfig::Rows(_) => None,
        }
    }
}

/// The job's own directory, for what is given no other place.
#[derive(Clone, Debug)]
pub struct Home {
    /// Local, and absolute.
    pub dir: PathBuf,
    /// The job's state is elsewhere, in an object store: what has to last is not kept here unless the job says so.
    pub is_remote: bool,
}

/// The longest JSON text of a key that any store is given: an event with a longer one is a dead letter.
pub const KEY_TEXT_BYTES_MAX: usize = 32 << 10;

/// A group as sinks see it.
#[derive(Clone, Debug)]
pub struct GroupShape {
    /// As the job calls it.
    pub name: String,
    /// How many key columns there are.
    pub keys: usize,
    /// `None`: a row a key, and none leaves but by a change.
    pub windows: Option<RowWindows>,
    /// Of the change batches: see the module's table.
    pub schema: SchemaRef,
}

/// How long rows of windows are kept: by a store, beside the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowWindows {
    /// How long past its window's end a row stays.
    pub retain: Span,
    /// The length of all windows; `None` where each row has an end of its own.
    pub size: Option<Span>,
}

impl GroupShape {
    /// Whether rows have a window, which is a part of what they are known by.
    pub fn windowed(&self) -> bool {
        self.windows.is_some()
    }

    /// Where the feature columns lie in a change batch.
    pub fn columns(&self) -> std::ops::Range<usize> {
        let first = self.keys + if self.windowed() { 2 } else { 0 };
        first..self.schema.fields().len() - 2
    }
}
