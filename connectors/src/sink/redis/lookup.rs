//! Reading rows back from Redis: hashes to the JSON that every other store gives.

use std::collections::HashMap;

use headwater_clocks::{EventTime, Tick, Time};
use redis::{Cmd, FromRedisValue, Pipeline};

use super::keys::{Names, from_json, glob, parse, write_json};
use super::link::{Link, is_away};
use crate::format::text::write_string;
use crate::sink::{GroupShape, Lookup, RowText};
use crate::{Error, Result};

const SCAN_COUNT: usize = 1000;
const ROWS_A_TRIP: usize = 500;

type Hash = HashMap<String, String>;

/// A reader of a job's rows. A Redis that is away is an error, after one more try.
pub struct RedisLookup {
    link: Link,
    names: Names,
    groups: Vec<GroupShape>,
}

/// A row that is there: its key's JSON text, its window's start, and its key in Redis.
type StoredRow = (String, Option<EventTime>, String);

impl RedisLookup {
    /// Reads the URL; connects when first used.
    ///
    /// # Errors
    /// `Config`: the URL makes no sense.
    pub fn open(url: &str, job: &str, groups: &[GroupShape]) -> Result<RedisLookup> {
        Ok(RedisLookup { link: Link::open(url, job)?, names: Names::new(job), groups: groups.to_vec() })
    }

    /// Asks again once on a new connection: the old one may have been cut since it was last used.
    fn ask<T>(&mut self, ask: impl Fn(&mut Link) -> redis::RedisResult<T>) -> Result<T> {
        let answer = match ask(&mut self.link) {
            Err(cause) if is_away(&cause) => {
                self.link.drop_connection();
                ask(&mut self.link)
            }
            answer => answer,
        };
        answer.map_err(|cause| {
            self.link.drop_connection();
            self.link.error("reading from", &cause)
        })
    }

    fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T> {
        self.ask(|link| link.query(command))
    }

    /// The rows whose keys in Redis match, in order of key and window.
    fn find(&mut self, group: usize, pattern: &str) -> Result<Vec<StoredRow>> {
        let prefix = self.names.rows(&self.groups[group].name);
        let (mut cursor, mut found) = (0u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = self.query(&scan)?;
            for key in keys {
                let parsed = key.strip_prefix(&prefix).and_then(|text| parse(&self.groups[group], text));
                found.extend(parsed.map(|(json, start)| (json, start, key)));
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        found.sort_unstable();
        // A key may come twice.
        found.dedup();
        Ok(found)
    }

    fn fetch(&mut self, group: usize, found: &[StoredRow]) -> Result<Vec<RowText>> {
        let mut pipeline = Pipeline::new();
        for (_, _, key) in found {
            pipeline.cmd("HGETALL").arg(key);
        }
        let hashes: Vec<Hash> = self.ask(|link| link.pipeline(&pipeline))?;
        // A row that went since it was found is empty.
        let there = found.iter().zip(hashes).filter(|(_, hash)| !hash.is_empty());
        there.map(|((json, start, key), hash)| self.row(group, json, *start, key, hash)).collect()
    }

    fn row(&self, group: usize, json: &str, start: Option<EventTime>, key: &str, hash: Hash) -> Result<RowText> {
        let shape = &self.groups[group];
        let size = shape.windows.and_then(|windows| windows.size);
        let number = |field: &str| hash.get(field).and_then(|text| text.parse::<i64>().ok());
        let incomplete = |field: &str| {
            Error::world(format!("reading {key} from {}", self.link.shown()), format!("the row has no {field}"))
        };
        let window = match (start, size) {
            (None, _) => None,
            (Some(start), Some(size)) => Some((start, start + size)),
            (Some(start), None) => {
                let end = number("_end").ok_or_else(|| incomplete("_end"))?;
                Some((start, EventTime::from_us(end)))
            }
        };
        let mut row = vec![b'{'];
        for (i, field) in shape.schema.fields()[shape.columns()].iter().enumerate() {
            if i > 0 {
                row.push(b',');
            }
            write_string(&mut row, field.name());
            row.push(b':');
            match hash.get(field.name()) {
                Some(text) => write_json(&mut row, field.data_type(), text),
                None => row.extend_from_slice(b"null"),
            }
        }
        row.push(b'}');
        let changed_at = Tick::from_us(number("_changed_at").ok_or_else(|| incomplete("_changed_at"))?);
        Ok(RowText { key: json.into(), window, row: String::from_utf8_lossy(&row).into_owned(), changed_at })
    }
}

impl Lookup for RedisLookup {
    fn as_of(&mut self, group: usize) -> Result<Option<Tick>> {
        let mut get = redis::cmd("GET");
        get.arg(self.names.as_of(&self.groups[group].name));
        Ok(self.query::<Option<i64>>(&get)?.map(Tick::from_us))
    }

    /// All windows of a key are found by a scan of the whole database: Redis has no order of keys.
    fn get(&mut self, group: usize, key: &str, window_start: Option<EventTime>) -> Result<Vec<RowText>> {
        let shape = &self.groups[group];
        let Some(end) = from_json(shape, key).and_then(|end| String::from_utf8(end).ok()) else {
            return Ok(Vec::new());
        };
        let name = self.names.rows(&shape.name) + &end;
        let found = match (shape.windowed(), window_start) {
            (true, None) => self.find(group, &(glob(&name) + ":*"))?,
            (true, Some(start)) => vec![(key.into(), Some(start), format!("{name}:{}", start.us()))],
            (false, _) => vec![(key.into(), None, name)],
        };
        self.fetch(group, &found)
    }

    /// Holds the keys of all rows in memory, to deliver them in order.
    fn scan(&mut self, group: usize, each: &mut dyn FnMut(RowText) -> Result<()>) -> Result<()> {
        let pattern = glob(&self.names.rows(&self.groups[group].name)) + "*";
        for found in self.find(group, &pattern)?.chunks(ROWS_A_TRIP) {
            for row in self.fetch(group, found)? {
                each(row)?;
            }
        }
        Ok(())
    }
}
