//! One round: a job is run under faults while records come, then to its end, and what it has put out is compared.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::cluster::{Cluster, Size};
use super::faults::Tally;
use super::feed::{self, Feed};
use super::history::write_history;
use super::scenario::{Maker, Record, Scenario};
use super::world::{Disk, World};
use super::{faults, poller, rest};
use crate::support::{SECOND, Snapshot, Topic, connect_to, now_us, try_snapshot};

/// What went wrong in a round, told at once.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Vec<String>>>);

impl Failures {
    pub fn add(&self, failure: String) {
        eprintln!("FAILURE {failure}");
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(failure);
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

/// Whether it came true in time.
pub fn wait_for(most: Duration, mut done: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > most {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// What is done in a round, with the time, for those who look for the cause of a failure.
pub struct Diary {
    began: Instant,
    file: Mutex<File>,
}

impl Diary {
    pub fn note(&self, what: &str) {
        let line = format!("{:7.3} {what}", self.began.elapsed().as_secs_f64());
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        writeln!(file, "{line}").unwrap();
        if std::env::var_os("HEADWATER_CHAOS_TELL").is_some() {
            eprintln!("{line}");
        }
    }
}

/// Everything that a round's threads share.
pub struct Round<'a> {
    pub world: &'a World,
    pub dir: PathBuf,
    pub scenario: Scenario,
    pub cluster: Cluster,
    pub failures: Failures,
    pub diary: Diary,
    pub disk: Disk,
    topic: Topic,
    /// Of a table and of replaced records, each with its topic.
    feeds: Mutex<Vec<(Feed, Topic)>>,
    /// How often the job was changed.
    changes: AtomicUsize,
    /// What the stores held before the last start, by group.
    pub at_rest: Mutex<Vec<(&'static str, Vec<Snapshot>)>>,
    producing: AtomicBool,
    over: AtomicBool,
}

/// Threads end, whatever happens to the one that started them.
struct Ends<'a>(&'a AtomicBool, &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
        self.1.store(true, Ordering::SeqCst);
    }
}

/// After an outage `T` lies as far behind as records came late, for a minute.
const PATIENCE: Duration = Duration::from_secs(100);

pub fn random_size(rng: &mut StdRng) -> Size {
    Size { processes: rng.random_range(1..=3), workers: rng.random_range(1..=2) }
}

/// A line about it where all is well; else what differs. Everything stays in `dir` then. `tally`: the faults that happened.
pub fn run(world: &World, seed: u64, length: Duration, dir: &Path, tally: &mut Tally) -> Result<String, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    std::fs::create_dir_all(dir).unwrap();
    let mut round = Round::new(world, seed, dir, &mut rng);
    let cuts = round.begin(seed);
    let looks = round.under_faults(seed, length, &mut rng, tally);
    let mut wrong = round.failures.all();
    let outcome = if wrong.is_empty() { round.outcome(&cuts) } else { Ok(String::new()) };
    wrong.extend(outcome.as_ref().err().cloned());
    if wrong.is_empty() {
        let (told, changes) = (round.scenario.collections.told(), round.changes());
        return Ok(format!("{}, {looks} looks, {changes} changes of the job [{told}]", outcome.unwrap_or_default()));
    }
    round.disk.keep();
    Err(wrong.join("\n"))
}

impl Round<'_> {
    fn new<'a>(world: &'a World, seed: u64, dir: &Path, rng: &mut StdRng) -> Round<'a> {
        let scenario = Scenario::random(seed, rng);
        let (brokers, name) = (&world.kafka.address, &scenario.name);
        let feeds = scenario.collections.feeds().into_iter().map(|feed| {
            let topic = Topic::new(brokers, &format!("{name}_{}", feed.name), feed::PARTITIONS);
            (feed, topic)
        });
        let feeds = Mutex::new(feeds.collect());
        if scenario.collections.topic {
            Topic::new(brokers, &format!("{name}_changes"), 3);
        }
        let failures = Failures::default();
        let diary = Diary { began: Instant::now(), file: Mutex::new(File::create(dir.join("diary")).unwrap()) };
        Round {
            world,
            dir: dir.to_owned(),
            cluster: Cluster::new(dir, failures.clone()),
            failures,
            diary,
            disk: Disk::at(&dir.join("state")),
            topic: Topic::new(brokers, name, scenario.partitions),
            scenario,
            feeds,
            changes: AtomicUsize::new(0),
            at_rest: Mutex::default(),
            producing: AtomicBool::new(true),
            over: AtomicBool::new(false),
        }
    }

    /// Records in the topic, the older ones in the history too. Returns where the history ends, by partition.
    fn begin(&self, seed: u64) -> Vec<usize> {
        let connection = &mut connect_to(&self.world.redis_url(), Duration::from_secs(10)).unwrap();
        let _: () = redis::cmd("FLUSHALL").query(connection).unwrap();
        let mut maker = Maker::new(seed);
        let (n, time) = if self.scenario.to_end { (20_000, 600 * SECOND) } else { (1500, 60 * SECOND) };
        let (old, now) = ((n * maker.partition(5) as i64 / 4).max(1), now_us());
        let mut rng = StdRng::seed_from_u64(seed ^ 0xfeed);
        let mut feeds = self.feeds.lock().unwrap();
        let mut history: Vec<Vec<Record>> = (0..self.scenario.partitions).map(|_| vec![]).collect();
        for i in 0..n {
            maker.only_events = i < old;
            let arrives = now - (n - i) * time / n;
            let record = maker.record(arrives);
            let partition = maker.partition(history.len());
            self.send(partition, &record, now);
            feeds.iter_mut().for_each(|(feed, topic)| feed.step(topic, arrives, arrives, i < old, &mut rng));
            if i < old {
                history[partition].push(record);
            }
        }
        self.topic.flush();
        feeds.iter().for_each(|(feed, topic)| {
            topic.flush();
            feed.write_history(&self.dir);
        });
        let kind = if self.scenario.parquet { "parquet" } else { "jsonl" };
        write_history(&self.dir.join(format!("history.{kind}")), &history, self.scenario.parquet);
        self.write_job();
        history.iter().map(Vec::len).collect()
    }

    fn write_job(&self) {
        let local = |port: u16| format!("127.0.0.1:{port}");
        let redis = format!("redis://{}/0", local(self.world.redis_proxy.port));
        self.scenario.write_job(&self.dir, &local(self.world.kafka_proxy.port), Some(&redis), self.is_changed());
    }

    /// Whether the job is now another than at first.
    pub fn is_changed(&self) -> bool {
        self.changes.load(Ordering::SeqCst) % 2 == 1
    }

    /// How often it has become another.
    pub fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    pub fn change_job(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.write_job();
    }

    fn send(&self, partition: usize, record: &Record, now: i64) {
        self.topic.send(partition, record.payload().as_deref().map(str::as_bytes), now);
    }

    fn produce(&self, seed: u64) {
        let mut maker = Maker::new(seed ^ 0x5eed);
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed_feed);
        let mut feeds = self.feeds.lock().unwrap();
        while self.producing.load(Ordering::SeqCst) {
            let (n, pause_ms) = maker.burst();
            for _ in 0..n {
                let now = now_us();
                let record = maker.record(now);
                self.send(maker.partition(self.scenario.partitions), &record, now);
                feeds.iter_mut().for_each(|(feed, topic)| feed.step(topic, now, now, false, &mut rng));
            }
            self.topic.poll();
            feeds.iter().for_each(|(_, topic)| topic.poll());
            std::thread::sleep(Duration::from_millis(pause_ms));
        }
    }

    /// Returns how often the poller has looked.
    fn under_faults(&self, seed: u64, length: Duration, rng: &mut StdRng, tally: &mut Tally) -> usize {
        let over = || self.over.load(Ordering::SeqCst);
        std::thread::scope(|scope| {
            let _ends = Ends(&self.producing, &self.over);
            let producer = scope.spawn(|| {
                if !self.scenario.to_end {
                    self.produce(seed)
                }
            });
            let watcher = scope.spawn(move || poller::watch(self, &over));
            scope.spawn(move || {
                while !over() {
                    self.cluster.supervise();
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let size = random_size(rng);
            self.diary.note(&format!("starts as {size:?}"));
            self.cluster.start(size, self.scenario.to_end);
            faults::inflict(self, length, seed, tally);
            self.producing.store(false, Ordering::SeqCst);
            producer.join().unwrap();
            self.topic.flush();
            self.feeds.lock().unwrap().iter().for_each(|(_, topic)| topic.flush());
            if !self.scenario.to_end {
                self.comes_to_rest(rng);
            }
            self.reaches_the_end();
            if self.scenario.to_end {
                // What Redis lost after the end comes back with the next start.
                self.diary.note("once more to the end");
                self.cluster.start(random_size(rng), true);
                self.reaches_the_end();
            }
            self.over.store(true, Ordering::SeqCst);
            watcher.join().unwrap()
        })
    }

    /// Without faults and without records it stores all there was. Then it runs to an end that is past whatever was published.
    fn comes_to_rest(&self, rng: &mut StdRng) {
        // What came late into the topic, after a broker was away, may have arrived before what is stored by now.
        let newest = now_us();
        self.diary.note("all is well again; waiting until everything is stored");
        if !wait_for(PATIENCE, || !self.failures.all().is_empty() || self.stored() >= newest) {
            let stored = self.stored();
            self.failures
                .add(format!("it does not come to rest: stored up to {stored} of {newest}\n{}", self.cluster.logs()));
        }
        self.look_at_stores();
        let signal = if rng.random() { "TERM" } else { "KILL" };
        self.diary.note(&format!("ends all: {signal}"));
        self.cluster.end(signal);
        for partition in 0..self.scenario.partitions {
            let now = now_us();
            let event = crate::one_result::model::Event {
                key: Some("end".to_owned()),
                x: Some(1),
                ts: now,
                arrived: Some(now),
            };
            self.send(partition, &Record::Event { event, f: None, m: "m".to_owned() }, now);
        }
        self.topic.flush();
        let size = random_size(rng);
        self.diary.note(&format!("to the end as {size:?}"));
        self.cluster.start(size, true);
        if rng.random() {
            let time = rng.random_range(200..1500);
            std::thread::sleep(Duration::from_millis(time));
            let process = rng.random_range(0..size.processes);
            self.diary.note(&format!("kills process {process}"));
            self.cluster.signal(process, "KILL");
        }
    }

    fn look_at_stores(&self) {
        if !self.failures.all().is_empty() {
            return;
        }
        let mut at_rest = self.at_rest.lock().unwrap();
        match self.snapshots() {
            Ok(snapshots) => at_rest.push(("Redis", snapshots)),
            Err(why) => return self.failures.add(format!("Redis cannot be looked at: {why}")),
        }
        if self.scenario.embedded {
            let names = self.scenario.names();
            match names.iter().map(|(name, _)| rest::embedded(&self.dir, name)).collect() {
                Ok(groups) => at_rest.push(("the embedded store", groups)),
                Err(why) => self.failures.add(why),
            }
        }
    }

    fn reaches_the_end(&self) {
        if !wait_for(PATIENCE, || !self.failures.all().is_empty() || self.cluster.is_done()) {
            self.failures.add(format!("it does not reach the end\n{}", self.cluster.logs()));
        }
        self.cluster.end("KILL");
    }

    /// Up to when every group is stored.
    fn stored(&self) -> i64 {
        let snapshots = self.snapshots().unwrap_or_default();
        snapshots.iter().map(|group| group.as_of).min().flatten().unwrap_or(i64::MIN)
    }

    fn snapshots(&self) -> redis::RedisResult<Vec<Snapshot>> {
        let connection = &mut connect_to(&self.world.redis_url(), Duration::from_secs(10))?;
        let names = self.scenario.names();
        names.iter().map(|(name, _)| try_snapshot(connection, &self.scenario.name, name)).collect()
    }
}
