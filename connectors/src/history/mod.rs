//! A history: files that are pinned before the first row is read, then read piece by piece.
//!
//! ```text
//! open (glob, or a table) -> Pinned (path, size, ETag or modification time, a table's version; written down) -> pieces (row groups) -> Records
//! ```

pub mod avro;
pub(crate) mod bytes;
pub mod csv;
pub mod delta;
pub(crate) mod files;
pub(crate) mod find;
mod iceberg;
pub mod jsonl;
mod lake;
pub mod parquet;
mod partitions;
mod text;

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use headwater_clocks::WallClock;
use serde::{Deserialize, Serialize};

use crate::settings::{Endpoint, Kind, Settings};
use crate::{Records, Result, Wanted};
pub use partitions::{partitioned, said_by_directories};
pub(crate) use text::longest_record;

/// Every kind of history. A new one is its file and a line here.
pub static HISTORIES: &[&dyn HistoryKind] =
    &[parquet::PARQUET, jsonl::JSONL, csv::CSV, avro::AVRO, delta::DELTA, iceberg::ICEBERG];

/// A kind of history.
pub trait HistoryKind: Kind {
    /// As messages name it: `Parquet`.
    fn title(&self) -> &'static str;

    /// Whether its files say which columns there are, and of which type; else the job has to.
    fn gives_columns(&self) -> bool;

    /// Reads `[sources.NAME.history]`.
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn HistoryConfig>;
}

/// A history as a job has set it.
pub trait HistoryConfig: Debug + Send + Sync {
    /// Where its files are: a pattern, empty where the job does not say it.
    fn path(&self) -> &str;

    /// Whether it reads what lies at a place.
    fn reads(&self, place: &Endpoint) -> bool {
        place.file().is_some_and(|path| find::means_file(self.path(), path))
    }

    /// The columns of its rows, where the job lists all of them: no file has another.
    fn listed(&self) -> Option<&[String]> {
        None
    }

    /// Finds its files, or takes those that were pinned.
    ///
    /// # Errors
    ///
    /// `Config`: nothing matches, or the files do not fit together. `Changed`: a pinned file is another one now. `World`: a file cannot be
    /// read.
    fn open(&self, pinned: Option<&Pinned>) -> Result<Arc<dyn History>>;
}

/// Reads the key by which a kind finds its files.
fn path(settings: &mut dyn Settings) -> String {
    if !settings.has("path") {
        settings.missing("path", "give a glob of its files, like path = \"data/*.parquet\"");
    }
    settings.glob("path").unwrap_or_default()
}

/// The history's files as they were found. Reading checks that each is still the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    /// In the order of their paths as text.
    pub files: Vec<PinnedFile>,
    /// Of a table that has versions: which one they are, as messages say it: `version 7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Pinned {
    /// Files that are of no table.
    pub(crate) fn of(files: Vec<PinnedFile>) -> Pinned {
        Pinned { files, version: None }
    }
}

/// A file as it was found: the same as long as its size and its ETag are, or without an ETag its size and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PinnedFile {
    /// A local path or a URL.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// As its object store names this version of it.
    pub etag: Option<String>,
    /// When it was modified last.
    #[serde(rename = "modified_us")]
    pub modified: WallClock,
}

/// A unit of reading, given to one worker: a row group, or a whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Its place in [`Pinned::files`].
    pub file: usize,
    /// Its number in the file; 0 where a file is one piece.
    pub row_group: usize,
    /// How many records it has.
    pub rows: u64,
    /// How large it is in its file.
    pub bytes: u64,
    /// Statistics of the columns named in `pieces`, in that order.
    pub statistics: Vec<Option<Range>>,
}

/// What a piece's statistics say of a time or integer column: exact bounds (times in microseconds, floored).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// `None`: every value is null.
    pub bounds: Option<(i64, i64)>,
    /// How many values are null.
    pub nulls: u64,
}

/// All methods block, and may be called from several threads.
///
/// # Errors
/// Of all methods: `Changed`, a file is another one than was pinned; `World`, it cannot be read, or is not what it says of itself; `Config`, it is
/// of what nobody here reads, or has not the columns. All name the file.
#[allow(clippy::missing_errors_doc)]
pub trait History: Send + Sync {
    /// Its files.
    fn pinned(&self) -> &Pinned;

    /// All columns of all files (timestamps as `Timestamp(Microsecond, "UTC")`), those too that are `UNUSABLE`; `None` where the
    /// files have no schema.
    fn schema(&self) -> Option<SchemaRef>;

    /// The pieces, in a fixed order, with what statistics say of these columns.
    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>>;

    /// What the directories of a file say of its columns, as one row, where they are columns.
    fn partitions(&self, _file: usize) -> Option<RecordBatch> {
        None
    }

    /// Reads one piece. A column that the piece's file does not have is null.
    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>>;
}
