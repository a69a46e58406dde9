//! What is in Redis, read in one go.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Commands;
use serde_json::Value;

use super::{Row, Rows};

/// A group as it was at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// By the end of the Redis key: the fields.
    pub hashes: BTreeMap<String, BTreeMap<String, String>>,
    pub as_of: Option<i64>,
    pub upto: Option<i64>,
}

/// One script, so one moment.
const SNAPSHOT: &str = "
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  if redis.call('TYPE', key).ok == 'hash' then table.insert(out, {key, redis.call('HGETALL', key)}) end
end
return {redis.call('GET', ARGV[1] .. '_as_of'), redis.call('GET', ARGV[1] .. '_upto'), out}";

pub fn connect(url: &str) -> redis::Connection {
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

/// To a server that may be away or frozen.
pub fn connect_to(url: &str, timeout: Duration) -> redis::RedisResult<redis::Connection> {
    let connection = redis::Client::open(url)?.get_connection_with_timeout(timeout)?;
    connection.set_read_timeout(Some(timeout))?;
    Ok(connection)
}

type Hash = (String, Vec<String>);

pub fn snapshot(connection: &mut redis::Connection, job: &str, group: &str) -> Snapshot {
    try_snapshot(connection, job, group).unwrap()
}

pub fn try_snapshot(connection: &mut redis::Connection, job: &str, group: &str) -> redis::RedisResult<Snapshot> {
    let prefix = format!("{job}:{group}:");
    let (as_of, upto, hashes): (Option<i64>, Option<i64>, Vec<Hash>) =
        redis::cmd("EVAL").arg(SNAPSHOT).arg(0).arg(&prefix).query(connection)?;
    let fields = |flat: Vec<String>| flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let hashes = hashes.into_iter().map(|(key, flat)| (key[prefix.len()..].to_owned(), fields(flat))).collect();
    Ok(Snapshot { hashes, as_of, upto })
}

/// Up to where every row of a group is there: cheap, for whoever waits for it.
pub fn as_of(connection: &mut redis::Connection, job: &str, group: &str) -> Option<i64> {
    connection.get(format!("{job}:{group}:_as_of")).unwrap()
}

/// Removes every key of a job: a snapshot looks at all there are.
pub fn forget(url: &str, job: &str) -> redis::RedisResult<()> {
    let mut connection = connect_to(url, Duration::from_secs(5))?;
    let keys: Vec<String> = connection.keys(format!("{job}:*"))?;
    keys.chunks(1000).try_for_each(|some| connection.unlink(some))
}

/// Every key of a job.
pub fn keys(connection: &mut redis::Connection, job: &str) -> Vec<String> {
    let mut keys: Vec<String> = connection.keys(format!("{job}:*")).unwrap();
    keys.sort();
    keys
}

impl Snapshot {
    /// Its rows, with a null for each of `like`'s columns that is not there.
    pub fn rows(&self, like: &Rows) -> Rows {
        let columns: Vec<&String> = like.values().next().map_or(vec![], |row| row.keys().collect());
        self.hashes.iter().map(|(key, hash)| (key.clone(), row(hash, &columns))).collect()
    }

    pub fn changed_at(&self, key: &str) -> i64 {
        self.hashes[key]["_changed_at"].parse().unwrap()
    }
}

fn row(hash: &BTreeMap<String, String>, columns: &[&String]) -> Row {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let mut row: Row =
        hash.iter().filter(|(name, _)| *name != "_changed_at").map(|(n, text)| (n.clone(), value(text))).collect();
    for column in columns {
        row.entry((*column).clone()).or_insert(Value::Null);
    }
    row
}
