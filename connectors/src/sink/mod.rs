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

pub mod changelog;
mod changes;
pub mod dead_letters;
pub mod embedded;
pub mod lines;
pub mod redis;
#[cfg(test)]
mod samples;

use arrow::datatypes::SchemaRef;

/// A group as sinks see it.
#[derive(Clone, Debug)]
pub struct GroupShape {
    pub name: String,
    pub keys: usize,
    pub windowed: bool,
    /// Of the change batches: see the module's table.
    pub schema: SchemaRef,
}

impl GroupShape {
    /// Where the feature columns lie in a change batch.
    pub fn columns(&self) -> std::ops::Range<usize> {
        let first = self.keys + if self.windowed { 2 } else { 0 };
        first..self.schema.fields().len() - 2
    }
}

/// What a store tells of a group that an earlier start has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Marks {
    /// No row in the store is newer.
    pub upto_us: Option<i64>,
    /// Every row up to it is there.
    pub as_of_us: Option<i64>,
}

/// A key-value store of rows, written by one start of a job. Lives on a thread of its own, so it may block: a store that is
/// away is waited for with backoff (logged once, and again when it is back) until `stop` is set.
pub trait Store: Send {
    /// Writes changes of a group, acknowledged when it returns: raises the group's `_upto` to `upto_us` first (it never
    /// falls, but for `replace`), then upserts and deletes, last change a key and window. A process of an older generation
    /// gets an error.
    fn write(&mut self, group: usize, changes: &arrow::array::RecordBatch, upto_us: i64) -> crate::Result<()>;

    /// The first write of a start is a whole image of the store: between `begin_image` and `sweep`, `write` also notes which
    /// rows are there. `replace`: the image may be older than what the store holds (`_upto` may fall).
    fn begin_image(&mut self, replace: bool) -> crate::Result<()>;

    /// Removes whatever of this job's the image did not have: rows, fields, groups that are no longer the job's; of `spared` groups
    /// nothing. Called by one process, after every worker's image has been acknowledged. Returns how many rows went.
    fn sweep(&mut self, spared: &[usize]) -> crate::Result<u64>;

    /// Every row up to this tick is there, from all workers. Called by one process.
    fn set_as_of(&mut self, group: usize, as_of_us: i64) -> crate::Result<()>;

    /// The store may have lost what it acknowledged: it needs an image from every worker. Until `begin_image`, `set_as_of`
    /// does nothing.
    fn needs_image(&self) -> bool {
        false
    }
}

/// A row as a reader of a store sees it, as JSON texts.
#[derive(Clone, Debug, PartialEq)]
pub struct RowText {
    /// `{"card_id":"c1"}`
    pub key: String,
    /// Start and end, in microseconds.
    pub window: Option<(i64, i64)>,
    /// `{"tx_1h":3}`
    pub row: String,
    pub changed_at_us: i64,
}

/// Reading rows back, for `get` and `export`.
pub trait Lookup: Send {
    fn as_of(&mut self, group: usize) -> crate::Result<Option<i64>>;

    /// The rows of one key (its JSON text), by window start; of one window only, where one is named.
    fn get(&mut self, group: usize, key: &str, window_start_us: Option<i64>) -> crate::Result<Vec<RowText>>;

    /// Every row of the group, in order of key (its JSON text) and window start.
    fn scan(&mut self, group: usize, each: &mut dyn FnMut(RowText) -> crate::Result<()>) -> crate::Result<()>;
}
