//! Redis: the newest row a key and window as a hash, and two marks a group.
//!
//! | key | holds |
//! |---|---|
//! | `{job}:{group}:{key}` | a row: a field a column (null: no field), and `_changed_at` in microseconds |
//! | `{job}:{group}:{key}:{start}` | the same of a window, with a time to live; a session's has `_end` too |
//! | `{job}:{group}:_upto` | no row of the group is newer |
//! | `{job}:{group}:_as_of` | every row up to it is there, from all workers |
//! | `{job}:_generation` | the starts counted; a process of an older one can no longer write |
//! | `{job}:_image:{generation}:{number}` | while an image is written: which rows it has |
//!
//! Rows are written in transactions that hold only while the generation is ours (`WATCH`), so a reader never sees half a
//! row, and a process that was replaced never writes again. What was sent and not answered is sent again: a batch is the
//! last change of each key, so it may come twice.
//!
//! A Redis that was started anew, or whose marks are older than what it acknowledged, may have lost writes: then
//! `_as_of` stands and `needs_image` is true until the next image.

mod keys;
mod link;
mod lookup;
mod rows;
mod store;
mod wire;

use super::{GroupShape, Marks};
use crate::{Error, Result};
use keys::Names;
use link::Link;

pub use lookup::RedisLookup;
pub use store::Redis;

/// A group as Redis needs it.
#[derive(Clone, Debug)]
pub struct RedisGroup {
    pub shape: GroupShape,
    /// Windowed groups: how long past its end a row stays.
    pub retain_us: i64,
    /// The length of tumbling and hopping windows; of sessions, whose rows keep their end, `None`.
    pub size_us: Option<i64>,
}

/// Whether the client can make sense of a URL; nothing is connected.
pub fn check_url(url: &str) -> Result<()> {
    Link::open(url, "").map(drop)
}

/// Takes the next generation: one more than the larger of Redis's own and the state's. From then on no process of an
/// older one can write. A Redis that is away is an error at once.
pub fn claim(url: &str, job: &str, state_generation: Option<u64>) -> Result<u64> {
    let mut link = Link::open(url, job)?;
    let mut script = redis::cmd("EVAL");
    script.arg(CLAIM).arg(1).arg(Names::new(job).generation()).arg(state_generation.unwrap_or(0));
    link.query(&script).map_err(|e| link.error("taking a generation in", &e))
}

/// What Redis tells of a group that an earlier start has written. A Redis that is away is an error at once.
pub fn marks(url: &str, job: &str, group: &str) -> Result<Marks> {
    let mut link = Link::open(url, job)?;
    let names = Names::new(job);
    let mut get = redis::cmd("MGET");
    get.arg(names.upto(group)).arg(names.as_of(group));
    let (upto_us, as_of_us) = link.query(&get).map_err(|e| link.error("reading marks from", &e))?;
    Ok(Marks { upto_us, as_of_us })
}

const CLAIM: &str = "
local own = tonumber(redis.call('GET', KEYS[1]) or '0')
local next = string.format('%.0f', math.max(own, tonumber(ARGV[1])) + 1)
redis.call('SET', KEYS[1], next)
return tonumber(next)";

fn fenced(link: &Link, ours: u64, theirs: i64) -> Error {
    Error::world(
        format!("writing to {}", link.shown()),
        format!("a newer start of this job has taken over (generation {theirs}, this process has {ours})"),
    )
}
