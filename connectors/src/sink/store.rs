//! Stores: the newest row a key and window, written by a run and read back by whoever asks.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use headwater_clocks::{EventTime, Tick};
use serde::{Deserialize, Serialize};

use super::GroupShape;
use crate::Result;
use crate::settings::Endpoint;

/// A store as a job has set it.
pub trait StoreConfig: Debug + Send + Sync {
    /// What it is and where: `redis redis://localhost:6379/0`.
    fn describe(&self) -> String;

    /// Where rows go; `None` where the job does not say it.
    fn endpoint(&self) -> Option<Endpoint>;

    /// Whether it can be used as it is set, as far as that can be told without asking anybody.
    ///
    /// # Errors
    /// `Config`: what is wrong with how it is set.
    fn check(&self) -> Result<()>;

    /// Whether one process has it to itself: then the first worker writes all rows, and while the job runs, rows are read through that process.
    /// Else each worker writes the rows of its keys.
    fn is_exclusive(&self) -> bool;

    /// Takes it over from an earlier start: from then on no process of that start can write. A store that is away is an error at once.
    ///
    /// # Errors
    /// `Config`: it cannot be used as it is set, or belongs to somebody else. `World`: it does not answer, or refuses.
    fn claim(&self, rows: &JobRows, claim: &Claim) -> Result<Claimed>;

    /// Opens it for a worker. `generation`: what `claim` gave; `stop`: waiting for a store that is away ends with an error.
    ///
    /// # Errors
    /// `Config`: it cannot be used as it is set. `World`: it cannot be opened.
    fn open(&self, rows: &JobRows, generation: u64, stop: Arc<AtomicBool>) -> Result<Box<dyn Store>>;

    /// Opens it to read rows.
    ///
    /// # Errors
    /// `Config`: it cannot be used as it is set, or is not there. `World`: it cannot be opened.
    fn lookup(&self, rows: &JobRows) -> Result<Box<dyn Lookup>>;
}

/// Whose rows a store has.
#[derive(Clone, Copy, Debug)]
pub struct JobRows<'a> {
    /// The job's name.
    pub job: &'a str,
    /// All groups of the job, whichever the sink lists.
    pub groups: &'a [GroupShape],
}

/// What a start says as it takes a store over.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Of which groups the marks are asked, as places in [`JobRows::groups`].
    pub groups: &'a [usize],
    /// The generation that the state had before this start.
    pub state_generation: Option<u64>,
    /// What the rows mean and how they and their fields are called, as a number: equal where a store with all rows needs no other.
    pub meaning: i64,
}

/// A store that was taken over.
#[derive(Default)]
pub struct Claimed {
    /// Of this start, where the store counts them.
    pub generation: u64,
    /// By group of the claim: what an earlier start has left.
    pub marks: Vec<Marks>,
    /// It provably has every row that those marks say, of this meaning, and nothing else.
    pub is_whole: bool,
    /// The store, where this process now has it to itself.
    pub held: Option<Arc<dyn HeldStore>>,
}

/// A store that this process has to itself, for all of it that need it.
pub trait HeldStore: Send + Sync {
    /// Takes it over for another start of the same job. Nobody writes it any more.
    ///
    /// # Errors
    /// `World`: what it says of itself cannot be read.
    fn claim(&self, claim: &Claim) -> Result<Claimed>;

    /// To write it.
    fn store(&self) -> Box<dyn Store>;

    /// To read it, while it is written.
    fn lookup(&self) -> Box<dyn Lookup>;
}

/// What a store tells of a group that an earlier start has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// No row in the store is newer.
    #[serde(rename = "upto_us")]
    pub upto: Option<Tick>,
    /// Every row up to it is there.
    #[serde(rename = "as_of_us")]
    pub as_of: Option<Tick>,
}

/// A key-value store of rows, written by one start of a job. Lives on a thread of its own, so it may block: a store that is
/// away is waited for with backoff (logged once, and again when it is back) until `stop` is set.
///
/// # Errors
/// Of all methods: `World`, what the store says; a newer start of the job has taken it over; or it is away and `stop` was set. `Config`: it lets
/// nobody in who comes as the job says, or not to do this.
#[allow(clippy::missing_errors_doc)]
pub trait Store: Send {
    /// Writes changes of a group, acknowledged when it returns: raises the group's `_upto` to `upto` first (it never
    /// falls, but for `replace`), then upserts and deletes, last change a key and window. A process of an older generation
    /// gets an error.
    fn write(&mut self, group: usize, changes: &RecordBatch, upto: Tick) -> Result<()>;

    /// The first write of a start is a full refresh of the store: between `begin_full_refresh` and `sweep`, `write` also notes which
    /// rows are there. `replace`: the full refresh may be older than what the store holds (`_upto` may fall).
    fn begin_full_refresh(&mut self, replace: bool) -> Result<()>;

    /// Removes whatever of this job's the full refresh did not have: rows, fields, groups that are no longer the job's; of `spared` groups
    /// nothing. Called by one process, after every worker's full refresh has been acknowledged. Returns how many rows went.
    fn sweep(&mut self, spared: &[usize]) -> Result<u64>;

    /// Every row up to this tick is there, from all workers. Called by one process.
    fn set_as_of(&mut self, group: usize, as_of: Tick) -> Result<()>;

    /// The store may have lost what it acknowledged: it needs a full refresh from every worker. Until `begin_full_refresh`, `set_as_of`
    /// does nothing.
    fn needs_full_refresh(&self) -> bool {
        false
    }
}

/// A row as a reader of a store sees it, as JSON texts.
#[derive(Clone, Debug, PartialEq)]
pub struct RowText {
    /// `{"card_id":"c1"}`
    pub key: String,
    /// Start and end.
    pub window: Option<(EventTime, EventTime)>,
    /// `{"tx_1h":3}`
    pub row: String,
    /// The tick at which it last changed.
    pub changed_at: Tick,
}

/// Reading rows back, for `get` and `export`.
///
/// # Errors
/// Of all methods: `World`, the store does not answer, or holds what nobody of this version has written; `Config`, it lets nobody in who comes
/// as the job says; and those of `each`.
#[allow(clippy::missing_errors_doc)]
pub trait Lookup: Send {
    /// The group's `_as_of`; `None` before the store is whole for the first time.
    fn as_of(&mut self, group: usize) -> Result<Option<Tick>>;

    /// The rows of one key (its JSON text), by window start; of one window only, where one is named.
    fn get(&mut self, group: usize, key: &str, window_start: Option<EventTime>) -> Result<Vec<RowText>>;

    /// Every row of the group, in order of key (its JSON text) and window start.
    fn scan(&mut self, group: usize, each: &mut dyn FnMut(RowText) -> Result<()>) -> Result<()>;
}
