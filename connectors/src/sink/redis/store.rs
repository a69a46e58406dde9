//! Writing to Redis: transactions of some hundred rows that hold only while the generation is ours.
//!
//! ```text
//! WATCH generation, GET generation  ->  it is ours
//! MULTI, rows..., EXEC, WATCH generation, GET generation  ->  written, and it is still ours: one round trip a transaction
//! ```
//!
//! `EXEC` does nothing once anybody has taken another generation since `WATCH`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use headwater_clocks::{Tick, Time};
use redis::{FromRedisValue, RedisError, Value};

use super::keys::Names;
use super::link::{Link, is_away};
use super::rows::Rows;
use super::wire::Commands;
use crate::sink::{GroupShape, Store};
use crate::{Error, Result};

/// A transaction holds up other clients of the server: about a millisecond.
const CHUNK_ROWS: usize = 256;
const CHUNK_BYTES: usize = 1 << 18;
const WAIT_MIN: Duration = Duration::from_millis(25);
const WAIT_MAX: Duration = Duration::from_secs(1);
const SCAN_COUNT: usize = 1000;

/// A worker's store in Redis.
pub struct Redis {
    link: Link,
    names: Names,
    groups: Vec<GroupShape>,
    generation: u64,
    stop: Arc<AtomicBool>,
    /// The generation is watched on this connection and was ours.
    watching: bool,
    /// Between `begin_full_refresh` and the sweep: written rows are noted.
    full_refresh: bool,
    /// How many full refreshes were begun: the same number on every worker.
    full_refreshes: u64,
    needs_full_refresh: bool,
    marks: Vec<Acknowledged>,
}

/// What Redis has acknowledged of a group to this process.
#[derive(Clone, Copy, Default)]
struct Acknowledged {
    upto: Option<Tick>,
    as_of: Option<Tick>,
    /// The next `_upto` is set whatever it was.
    replace: bool,
}

/// A transaction that has been sent.
struct UnderWay {
    answers: usize,
    /// Its rows are noted in the full refresh.
    noted: bool,
}

/// Why an attempt did not succeed.
enum Fault {
    Redis(RedisError),
    /// The generation was touched but is ours: the same again.
    Again,
    Fatal(Error),
}

impl From<RedisError> for Fault {
    fn from(cause: RedisError) -> Fault {
        Fault::Redis(cause)
    }
}

type Attempt<T> = std::result::Result<T, Fault>;

/// All scripts: -1 where the generation (the first key) is not ours (the first argument).
const RAISE_UPTO: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local held = redis.call('GET', KEYS[2])
if ARGV[3] == '1' or not held or tonumber(held) < tonumber(ARGV[2]) then redis.call('SET', KEYS[2], ARGV[2]) end
return 1";

/// 0 where the mark is older than what was acknowledged (the third argument).
const SET_AS_OF: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local held = redis.call('GET', KEYS[2])
if ARGV[3] ~= '' and (not held or tonumber(held) < tonumber(ARGV[3])) then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1";

/// Removes the keys (from the fourth on) that the full refresh (the second) does not have; -2 where the full refresh is gone, -3 where some
/// worker has begun the next one (the third), whose rows this one does not know.
const SWEEP: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
if redis.call('EXISTS', KEYS[3]) == 1 then return -3 end
if redis.call('SISMEMBER', KEYS[2], '') == 0 then return -2 end
local swept = 0
for i = 4, #KEYS do
  if redis.call('SISMEMBER', KEYS[2], KEYS[i]) == 0 then swept = swept + redis.call('UNLINK', KEYS[i]) end
end
return swept";

const BEGIN_IMAGE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('SADD', KEYS[2], '')
return 1";

const END_IMAGE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
return redis.call('UNLINK', KEYS[2])";

/// After Redis has lost its generation, ours again, if no newer one is there.
const RESTORE_GENERATION: &str = "
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if held < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return held";

impl Redis {
    /// A store of one start of a job, whose generation `claim` gave. Connects when first used. `stop`: waiting for a
    /// Redis that is away ends with an error.
    ///
    /// # Errors
    /// `Config`: the URL makes no sense.
    pub fn open(url: &str, job: &str, groups: &[GroupShape], generation: u64, stop: Arc<AtomicBool>) -> Result<Redis> {
        Ok(Redis {
            link: Link::open(url, job)?,
            names: Names::new(job),
            groups: groups.to_vec(),
            generation,
            stop,
            watching: false,
            full_refresh: false,
            full_refreshes: 0,
            needs_full_refresh: false,
            marks: vec![Acknowledged::default(); groups.len()],
        })
    }

    /// Tries until it succeeds, fails for good, or the job stops; says so once when Redis is away and once when it is back.
    fn until_done<T>(&mut self, mut attempt: impl FnMut(&mut Redis) -> Attempt<T>) -> Result<T> {
        let mut wait = WAIT_MIN;
        let mut away = false;
        loop {
            match self.connect().and_then(|()| attempt(self)) {
                Ok(done) => {
                    if away {
                        tracing::info!("{} is back", self.link.shown());
                    }
                    return Ok(done);
                }
                Err(Fault::Again) => continue,
                Err(Fault::Fatal(error)) => return Err(error),
                Err(Fault::Redis(cause)) => {
                    // What is left of its answers would be taken for those of the next commands.
                    self.link.drop_connection();
                    self.watching = false;
                    if !is_away(&cause) {
                        return Err(self.link.error("writing to", &cause));
                    }
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!("{} is away, rows wait: {cause}", self.link.shown());
                    }
                    self.pause(wait, &cause)?;
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
        }
    }

    fn pause(&self, mut left: Duration, cause: &RedisError) -> Result<()> {
        while !left.is_zero() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(self.link.error("stopped while waiting for", cause));
            }
            let nap = left.min(WAIT_MIN);
            std::thread::sleep(nap);
            left -= nap;
        }
        Ok(())
    }

    /// Connects, if it is not, and looks whether Redis still has what it acknowledged.
    fn connect(&mut self) -> Attempt<()> {
        if self.link.is_connected() {
            return Ok(());
        }
        self.watching = false;
        let anew = self.link.connect()?;
        if anew {
            self.lost_writes("it was started anew");
        }
        for group in 0..self.groups.len() {
            let acknowledged = self.marks[group];
            if acknowledged.upto.is_none() && acknowledged.as_of.is_none() {
                continue;
            }
            let name = &self.groups[group].name;
            let mut get = redis::cmd("MGET");
            get.arg(self.names.upto(name)).arg(self.names.as_of(name));
            let marks: (Option<i64>, Option<i64>) = self.link.query(&get)?;
            let (upto, as_of) = (marks.0.map(Tick::from_us), marks.1.map(Tick::from_us));
            if upto < acknowledged.upto || as_of < acknowledged.as_of {
                self.lost_writes("its marks are older than what it acknowledged");
            }
            self.marks[group].upto = None;
        }
        Ok(())
    }

    fn lost_writes(&mut self, why: &str) {
        if !std::mem::replace(&mut self.needs_full_refresh, true) {
            tracing::warn!("{} may have lost writes ({why}): everything is written again", self.link.shown());
        }
    }

    /// The generation is not ours: an error where a newer start has taken over; else Redis has lost it, and gets it again.
    fn disowned(&mut self) -> Fault {
        let mut script = redis::cmd("EVAL");
        script.arg(RESTORE_GENERATION).arg(1).arg(self.names.generation()).arg(self.generation);
        match self.link.query::<i64>(&script) {
            Err(cause) => Fault::Redis(cause),
            Ok(theirs) if theirs > self.generation as i64 => Fault::Fatal(fenced(&self.link, self.generation, theirs)),
            Ok(theirs) => {
                if theirs < self.generation as i64 {
                    self.lost_writes("its generation is gone");
                    self.marks.iter_mut().for_each(|marks| marks.upto = None);
                }
                Fault::Again
            }
        }
    }

    /// Runs a script on the generation and these keys, with ours and these arguments.
    fn script(&mut self, script: &str, keys: &[&[u8]], args: &[String]) -> Attempt<i64> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len() + 1).arg(self.names.generation()).arg(keys);
        command.arg(self.generation).arg(args);
        match self.link.query(&command)? {
            -1 => Err(self.disowned()),
            answer => Ok(answer),
        }
    }

    fn raise_upto(&mut self, group: usize, upto: Tick) -> Attempt<()> {
        let Acknowledged { upto: held, replace, .. } = self.marks[group];
        if !replace && held.is_some_and(|held| held >= upto) {
            return Ok(());
        }
        let key = self.names.upto(&self.groups[group].name);
        self.script(RAISE_UPTO, &[key.as_bytes()], &[upto.us().to_string(), u8::from(replace).to_string()])?;
        self.marks[group].upto = Some(upto);
        self.marks[group].replace = false;
        Ok(())
    }

    /// From here on a transaction holds only while the generation is ours.
    fn watch(&mut self) -> Attempt<()> {
        if self.watching {
            return Ok(());
        }
        let mut commands = Commands::default();
        let generation = self.names.generation();
        commands.push(&[b"WATCH", generation.as_bytes()]);
        commands.push(&[b"GET", generation.as_bytes()]);
        self.link.send(&commands)?;
        let answers = self.link.receive(commands.count())?;
        self.watched(answers.last())
    }

    /// `answer`: the generation, read after `WATCH`.
    fn watched(&mut self, answer: Option<&Value>) -> Attempt<()> {
        let theirs = answer.and_then(|value| Option::<u64>::from_redis_value_ref(value).ok().flatten());
        self.watching = theirs == Some(self.generation);
        if self.watching { Ok(()) } else { Err(self.disowned()) }
    }

    fn write_rows(&mut self, group: usize, rows: &Rows) -> Attempt<()> {
        self.watch()?;
        let mut next = 0;
        let mut under_way: Option<UnderWay> = None;
        let mut commands = Commands::default();
        // The next transaction is put together while Redis carries out the last.
        while next < rows.newest.len() {
            commands.clear();
            let noted = self.full_refresh;
            next = self.transaction(&mut commands, group, rows, next);
            if let Some(last) = under_way.take() {
                self.carried_out(last)?;
            }
            self.link.send(&commands)?;
            under_way = Some(UnderWay { answers: commands.count(), noted });
        }
        under_way.map_or(Ok(()), |last| self.carried_out(last))
    }

    /// Appends a transaction of rows from `first` on. Returns the first row that is not in it.
    fn transaction(&self, commands: &mut Commands, group: usize, rows: &Rows, first: usize) -> usize {
        let generation = self.names.generation();
        let full_refresh = self.full_refresh_key();
        let last = rows.newest.len().min(first + CHUNK_ROWS);
        commands.push(&[b"MULTI"]);
        if self.full_refresh {
            commands.push(&[b"SADD", full_refresh.as_bytes(), b""]);
        }
        let mut next = first;
        while next < last && commands.bytes().len() < CHUNK_BYTES {
            let (key, row) = &rows.newest[next];
            if rows.changes.diffs[*row] < 0 {
                commands.push(&[b"DEL", key]);
            } else {
                rows.put(commands, key, *row, &self.groups[group], self.full_refresh);
            }
            next += 1;
        }
        if self.full_refresh {
            commands.begin(2 + next - first);
            commands.part(b"SADD");
            commands.part(full_refresh.as_bytes());
            rows.newest[first..next].iter().for_each(|(key, _)| commands.part(key));
        }
        commands.push(&[b"EXEC"]);
        commands.push(&[b"WATCH", generation.as_bytes()]);
        commands.push(&[b"GET", generation.as_bytes()]);
        next
    }

    /// Reads a transaction's answers.
    fn carried_out(&mut self, sent: UnderWay) -> Attempt<()> {
        self.watching = false;
        let answers = self.link.receive(sent.answers)?;
        self.watched(answers.last())?;
        let Some(Value::Array(done)) = answers.iter().rev().nth(2) else {
            return Err(Fault::Again);
        };
        // The full refresh was there no more: it has been swept, and what this transaction has noted is of no use.
        if sent.noted && done.first() == Some(&Value::Int(1)) {
            self.end_image()?;
        }
        Ok(())
    }

    fn full_refresh_key(&self) -> String {
        self.names.full_refresh(self.generation, self.full_refreshes)
    }

    fn end_image(&mut self) -> Attempt<()> {
        let full_refresh = self.full_refresh_key();
        self.script(END_IMAGE, &[full_refresh.as_bytes()], &[])?;
        self.full_refresh = false;
        Ok(())
    }

    fn sweep_all(&mut self, spared: &[usize]) -> Attempt<u64> {
        let spared: Vec<String> = spared.iter().map(|group| self.names.rows(&self.groups[*group].name)).collect();
        let (full_refresh, following) =
            (self.full_refresh_key(), self.names.full_refresh(self.generation, self.full_refreshes + 1));
        let mut kept = vec![self.names.generation(), full_refresh.clone(), following.clone()];
        for group in &self.groups {
            kept.extend([self.names.upto(&group.name), self.names.as_of(&group.name)]);
        }
        let (mut cursor, mut swept) = (0u64, 0);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.names.all()).arg("COUNT").arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.link.query(&scan)?;
            let (own, rows): (Vec<_>, Vec<_>) = keys
                .into_iter()
                .filter(|key| !kept.iter().any(|kept| kept.as_bytes() == key))
                .filter(|key| !spared.iter().any(|rows| key.starts_with(rows.as_bytes())))
                .partition(|key| is_own(key));
            for (keys, counts) in [(rows, true), (own, false)] {
                if keys.is_empty() {
                    continue;
                }
                let full_refreshes = [full_refresh.as_bytes(), following.as_bytes()];
                let keys: Vec<&[u8]> = full_refreshes.into_iter().chain(keys.iter().map(|k| k.as_slice())).collect();
                match self.script(SWEEP, &keys, &[])? {
                    -2 => {
                        self.lost_writes("the full refresh is gone");
                        return Ok(swept);
                    }
                    -3 => return Ok(swept),
                    gone if counts => swept += gone as u64,
                    _ => {}
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        self.end_image()?;
        Ok(swept)
    }
}

/// Whether a key is a mark or the like and no row: its second or third part begins with '_'.
fn is_own(key: &[u8]) -> bool {
    key.split(|byte| *byte == b':').skip(1).take(2).any(|part| part.first() == Some(&b'_'))
}

fn fenced(link: &Link, ours: u64, theirs: i64) -> Error {
    Error::world(
        format!("writing to {}", link.shown()),
        format!("a newer start of this job has taken over (generation {theirs}, this process has {ours})"),
    )
}

impl Store for Redis {
    fn write(&mut self, group: usize, changes: &RecordBatch, upto: Tick) -> Result<()> {
        let shape = self.groups[group].clone();
        let rows = Rows::new(&self.names.rows(&shape.name), &shape, changes, upto);
        self.until_done(|store| {
            store.raise_upto(group, upto)?;
            store.write_rows(group, &rows)
        })
    }

    fn begin_full_refresh(&mut self, replace: bool) -> Result<()> {
        self.full_refreshes += 1;
        self.until_done(|store| {
            let full_refresh = store.full_refresh_key();
            store.script(BEGIN_IMAGE, &[full_refresh.as_bytes()], &[]).map(drop)
        })?;
        self.full_refresh = true;
        self.needs_full_refresh = false;
        for marks in &mut self.marks {
            *marks = Acknowledged { replace, ..Acknowledged::default() };
        }
        Ok(())
    }

    fn sweep(&mut self, spared: &[usize]) -> Result<u64> {
        // What Redis has lost of the full refresh would be taken for rows that are no longer there.
        self.until_done(|store| if store.needs_full_refresh { Ok(0) } else { store.sweep_all(spared) })
    }

    fn set_as_of(&mut self, group: usize, as_of: Tick) -> Result<()> {
        self.until_done(|store| {
            if store.needs_full_refresh {
                return Ok(());
            }
            let key = store.names.as_of(&store.groups[group].name);
            let acknowledged = store.marks[group].as_of.map_or(String::new(), |tick| tick.us().to_string());
            match store.script(SET_AS_OF, &[key.as_bytes()], &[as_of.us().to_string(), acknowledged])? {
                0 => store.lost_writes("its marks are older than what it acknowledged"),
                _ => store.marks[group].as_of = Some(as_of),
            }
            Ok(())
        })
    }

    fn needs_full_refresh(&self) -> bool {
        self.needs_full_refresh
    }
}
