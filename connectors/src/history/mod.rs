//! A history: files that are pinned before the first row is read, then read piece by piece.
//!
//! ```text
//! open (glob) -> Pinned (path, size, ETag or modification time; written down) -> pieces (row groups) -> Records
//! ```

pub(crate) mod files;
pub(crate) mod find;
pub mod jsonl;
pub mod parquet;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::{Records, Result, Wanted};

/// The history's files as they were found. Reading checks that each is still the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    pub files: Vec<PinnedFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PinnedFile {
    /// A local path or a URL.
    pub path: String,
    pub size: u64,
    pub etag: Option<String>,
    pub modified_us: i64,
}

/// A unit of reading, given to one worker: a row group, or a whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    pub file: usize,
    pub row_group: usize,
    pub rows: u64,
    pub bytes: u64,
    /// Statistics of the columns named in `pieces`, in that order.
    pub statistics: Vec<Option<Range>>,
}

/// What a piece's statistics say of a time or integer column: exact bounds (times in microseconds, floored).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// `None`: every value is null.
    pub bounds: Option<(i64, i64)>,
    pub nulls: u64,
}

/// All methods block, and may be called from several threads.
pub trait History: Send + Sync {
    fn pinned(&self) -> &Pinned;

    /// All columns of all files (timestamps as `Timestamp(Microsecond, "UTC")`); `None` where the files have no schema.
    fn schema(&self) -> Option<SchemaRef>;

    /// The pieces, in a fixed order, with what statistics say of these columns.
    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>>;

    /// Reads one piece. A column that the piece's file does not have is null.
    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>>;
}
