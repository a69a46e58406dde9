//! Redis: the newest row a key and window as a hash, and two marks a group.
//!
//! | key | holds |
//! |---|---|
//! | `{job}:{group}:{key}` | a row: a field a column (null: no field), and `_changed_at` in microseconds |
//! | `{job}:{group}:{key}:{start}` | the same of a window, with a time to live; a session's has `_end` too |
//! | `{job}:{group}:_upto` | no row of the group is newer |
//! | `{job}:{group}:_as_of` | every row up to it is there, from all workers |
//! | `{job}:_generation` | the starts counted; a process of an older one can no longer write |
//! | `{job}:_image:{generation}:{number}` | while a full refresh is written: which rows it has |
//!
//! Rows are written in transactions that hold only while the generation is ours (`WATCH`), so a reader never sees half a
//! row, and a process that was replaced never writes again. What was sent and not answered is sent again: a batch is the
//! last change of each key, so it may come twice.
//!
//! A Redis that was started anew, or whose marks are older than what it acknowledged, may have lost writes: then
//! `_as_of` stands and `needs_full_refresh` is true until the next full refresh.

mod keys;
mod link;
mod lookup;
mod rows;
mod secrets;
mod store;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Claim, Claimed, Home, JobRows, Lookup, Marks, SinkConfig, SinkKind, Store, StoreConfig, Takes};
use crate::Result;
use crate::settings::{Endpoint, Kind, Settings};
use headwater_clocks::Tick;
use keys::Names;
use link::Link;

pub use lookup::RedisLookup;
pub use store::Redis;

/// Redis as a kind of sink.
pub static REDIS: &RedisKind = &RedisKind;

/// See [`REDIS`].
#[derive(Debug)]
pub struct RedisKind;

impl Kind for RedisKind {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["url"]
    }
}

impl SinkKind for RedisKind {
    fn takes(&self) -> Takes {
        Takes::Rows
    }

    fn read(&self, settings: &mut dyn Settings, _: &Home) -> SinkConfig {
        SinkConfig::Rows(Arc::new(RedisConfig { url: url(settings) }))
    }
}

fn url(settings: &mut dyn Settings) -> String {
    if !settings.has("url") {
        settings.missing("url", "say where Redis is, like url = \"redis://localhost:6379/0\"");
    }
    let Some(text) = settings.text("url") else { return String::new() };
    text.filled.iter().for_each(|filled| settings.secret(filled));
    secrets::of_url(&text.text).iter().for_each(|part| settings.secret(part));
    if !reaches_somewhere(&text.text) {
        // Without the URL itself: it may hold a password that could not be told from the rest.
        let expected = "expected one like \"redis://localhost:6379/0\" (or rediss:// for TLS)";
        settings.error(text.at, format!("`url` is no Redis URL: {expected}"));
    }
    text.text
}

fn reaches_somewhere(url: &str) -> bool {
    let known = ["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];
    url.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        known.contains(&scheme) && (scheme.ends_with("unix") || !host.is_empty() && !host.starts_with(':'))
    })
}

struct RedisConfig {
    url: String,
}

/// Shows neither user nor password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("url", &secrets::masked_url(&self.url)).finish()
    }
}

impl StoreConfig for RedisConfig {
    fn describe(&self) -> String {
        format!("redis {}", self.url)
    }

    fn endpoint(&self) -> Option<Endpoint> {
        (!self.url.is_empty()).then(|| Endpoint::At { what: "Redis", place: self.url.clone() })
    }

    /// The client can make sense of the URL.
    fn check(&self) -> Result<()> {
        Link::open(&self.url, "").map(drop)
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    /// A Redis may have been emptied, or filled from elsewhere, meanwhile: it is never known to be whole.
    fn claim(&self, rows: &JobRows, asked: &Claim) -> Result<Claimed> {
        let generation = claim(&self.url, rows.job, asked.state_generation)?;
        let marks = asked.groups.iter().map(|group| marks(&self.url, rows.job, &rows.groups[*group].name));
        Ok(Claimed { generation, marks: marks.collect::<Result<_>>()?, ..Claimed::default() })
    }

    fn open(&self, rows: &JobRows, generation: u64, stop: Arc<AtomicBool>) -> Result<Box<dyn Store>> {
        Ok(Box::new(Redis::open(&self.url, rows.job, rows.groups, generation, stop)?))
    }

    fn lookup(&self, rows: &JobRows) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(RedisLookup::open(&self.url, rows.job, rows.groups)?))
    }
}

/// Takes the next generation: one more than the larger of Redis's own and the state's. From then on no process of an
/// older one can write. A Redis that is away is an error at once.
///
/// # Errors
/// `Config`: the URL makes no sense, or its login is refused. `World`: Redis does not answer, or refuses.
pub fn claim(url: &str, job: &str, state_generation: Option<u64>) -> Result<u64> {
    let mut link = Link::open(url, job)?;
    let mut script = redis::cmd("EVAL");
    script.arg(CLAIM).arg(1).arg(Names::new(job).generation()).arg(state_generation.unwrap_or(0));
    link.query(&script).map_err(|e| link.error("taking a generation in", &e))
}

/// What Redis tells of a group that an earlier start has written. A Redis that is away is an error at once.
///
/// # Errors
/// As of `claim`.
pub fn marks(url: &str, job: &str, group: &str) -> Result<Marks> {
    let mut link = Link::open(url, job)?;
    let names = Names::new(job);
    let mut get = redis::cmd("MGET");
    get.arg(names.upto(group)).arg(names.as_of(group));
    let (upto, as_of): (Option<i64>, Option<i64>) =
        link.query(&get).map_err(|e| link.error("reading marks from", &e))?;
    Ok(Marks { upto: upto.map(Tick::from_us), as_of: as_of.map(Tick::from_us) })
}

const CLAIM: &str = "
local own = tonumber(redis.call('GET', KEYS[1]) or '0')
local next = string.format('%.0f', math.max(own, tonumber(ARGV[1])) + 1)
redis.call('SET', KEYS[1], next)
return tonumber(next)";
