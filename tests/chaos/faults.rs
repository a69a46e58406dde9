//! The faults of a round, one after another and some at once.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;
use std::sync::atomic::Ordering;

use super::round::{Round, random_size, wait_for};

/// What ends a fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Undo {
    ThawProcess(usize),
    ThawBroker,
    ThawRedis,
    OpenKafka,
    OpenRedis,
    EmptyDisk,
    LiftLimit,
}

struct Inflicting<'a, 'r> {
    round: &'r Round<'a>,
    rng: &'r mut StdRng,
    undo: Vec<(Instant, Undo)>,
    /// Checkpoints that were damaged so that a start must say so.
    damaged: Vec<u64>,
}

type Fault = (&'static str, u32, fn(&mut Inflicting));

const FAULTS: [Fault; 16] = [
    ("kill one", 8, |faults| faults.kill_one()),
    ("kill all", 5, |faults| faults.kill_all()),
    ("rescale", 3, |faults| faults.rescale()),
    ("stop cleanly and rescale", 3, |faults| faults.stop_cleanly()),
    ("freeze a process", 4, |faults| faults.freeze_process()),
    ("abandon a frozen process", 2, |faults| faults.abandon()),
    ("freeze the broker", 3, |faults| faults.freeze_broker()),
    ("restart the broker", 1, |faults| faults.restart_broker()),
    ("freeze Redis", 4, |faults| faults.freeze_redis()),
    ("restart Redis", 3, |faults| faults.restart_redis()),
    ("Redis loses its last writes", 3, |faults| faults.redis_loses_some()),
    ("Redis loses everything", 2, |faults| faults.redis_loses_all()),
    ("damage a checkpoint", 5, |faults| faults.damage_checkpoint()),
    ("tear the files of lines", 4, |faults| faults.tear_lines()),
    ("cut connections", 6, |faults| faults.cut()),
    ("fill the disk", 3, |faults| faults.fill_disk()),
];

/// For as long, then undoes what lasts.
pub fn inflict(round: &Round, length: Duration, rng: &mut StdRng) {
    let mut inflicting = Inflicting { round, rng, undo: vec![], damaged: vec![] };
    let end = Instant::now() + length;
    let only = std::env::var("HEADWATER_CHAOS_ONLY").ok();
    let faults: Vec<Fault> = FAULTS
        .into_iter()
        .filter(|(name, ..)| only.as_ref().is_none_or(|only| only.split(',').any(|o| name.contains(o))))
        .collect();
    let most = if round.scenario.to_end { 500 } else { 1500 };
    while Instant::now() < end && round.faults.all().is_empty() && !round.cluster.is_done() {
        let pause = inflicting.rng.random_range(20..most);
        inflicting.wait(Duration::from_millis(pause));
        let (name, _, inflict) = *faults.choose_weighted(inflicting.rng, |(_, weight, _)| *weight).unwrap();
        round.diary.note(name);
        let begun = Instant::now();
        inflict(&mut inflicting);
        if begun.elapsed() > Duration::from_secs(1) {
            inflicting.note(&format!("it took {:?}", begun.elapsed()));
        }
    }
    inflicting.wait(Duration::ZERO);
    for (_, undo) in std::mem::take(&mut inflicting.undo) {
        inflicting.end(undo);
    }
    round.world.open();
    let damaged = std::mem::take(&mut inflicting.damaged);
    let told = |number: u64| round.cluster.has_said(&format!("checkpoint {number} is damaged"));
    for number in damaged {
        if !wait_for(Duration::from_secs(20), || told(number)) {
            round.faults.add(format!("nobody says that checkpoint {number} is damaged"));
        }
    }
}

impl Inflicting<'_, '_> {
    /// Waits, and undoes what is over meanwhile.
    fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            while let Some(at) = self.undo.iter().position(|(when, _)| *when <= now) {
                let (_, undo) = self.undo.remove(at);
                self.end(undo);
            }
            if now >= end {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lasts(&mut self, ms: std::ops::Range<u64>, undo: Undo) {
        let time = Duration::from_millis(self.rng.random_range(ms));
        self.note(&format!("for {time:?}: until {undo:?}"));
        self.undo.push((Instant::now() + time, undo));
    }

    fn note(&self, what: &str) {
        self.round.diary.note(&format!("    {what}"));
    }

    fn is_under_way(&self, undo: Undo) -> bool {
        self.undo.iter().any(|(_, known)| *known == undo)
    }

    fn end(&mut self, undo: Undo) {
        self.note(&format!("{undo:?}"));
        let world = self.round.world;
        match undo {
            Undo::ThawProcess(process) => self.round.cluster.signal(process, "CONT"),
            Undo::ThawBroker => world.kafka.stop("CONT"),
            Undo::ThawRedis => world.redis.stop("CONT"),
            Undo::OpenKafka => {
                world.kafka_proxy.stall(false);
                world.kafka_proxy.refuse(false);
            }
            Undo::OpenRedis => {
                world.redis_proxy.stall(false);
                world.redis_proxy.refuse(false);
            }
            Undo::EmptyDisk => self.round.disk.empty(),
            Undo::LiftLimit => {
                self.round.cluster.limit_files(None);
                self.kill_all();
            }
        }
    }

    /// The others end by themselves, and say whom they lost.
    fn kill_one(&mut self) {
        let cluster = &self.round.cluster;
        let running = cluster.running();
        let Some((process, ..)) = running.choose(self.rng).copied() else { return };
        // While it plans, process 0 may wait for a service.
        let joined = |process| cluster.log_of(process).contains(" seam ");
        let others: Vec<_> =
            running.into_iter().filter(|(p, _, frozen)| *p != process && !frozen && joined(*p)).collect();
        let others = if joined(process) { others } else { vec![] };
        self.note(&format!("process {process}; waiting for {others:?}"));
        cluster.signal(process, "KILL");
        let end = Instant::now() + Duration::from_secs(10);
        for (other, number, _) in others {
            while cluster.exit_of(number).is_none() {
                self.wait(Duration::from_millis(10));
                if Instant::now() > end {
                    let log = cluster.log_of(other);
                    self.round.faults.add(format!("start {number} goes on after process {process} was killed\n{log}"));
                    return;
                }
            }
        }
    }

    fn kill_all(&mut self) {
        for (process, ..) in self.round.cluster.running() {
            self.round.cluster.signal(process, "KILL");
        }
    }

    fn start(&mut self) {
        let size = random_size(self.rng);
        self.note(&format!("{size:?}"));
        self.undo.retain(|(_, undo)| !matches!(undo, Undo::ThawProcess(_)));
        self.round.cluster.start(size, self.round.scenario.to_end);
    }

    fn rescale(&mut self) {
        self.round.cluster.end("KILL");
        self.start();
    }

    fn stop_cleanly(&mut self) {
        let away =
            [Undo::ThawBroker, Undo::ThawRedis, Undo::OpenKafka, Undo::OpenRedis, Undo::EmptyDisk, Undo::LiftLimit];
        if away.iter().any(|undo| self.is_under_way(*undo)) {
            return;
        }
        self.round.cluster.end("TERM");
        self.start();
    }

    fn freeze_process(&mut self) {
        let Some((process, ..)) = self.round.cluster.running().choose(self.rng).copied() else { return };
        self.round.cluster.signal(process, "STOP");
        self.lasts(100..4000, Undo::ThawProcess(process));
    }

    /// One is frozen while the others are killed and a new cluster takes over; then it wakes up.
    fn abandon(&mut self) {
        let cluster = &self.round.cluster;
        // Alone it would lose nobody, and go on; while it plans, process 0 may wait for a service.
        let Some((process, number, _)) = cluster.running().choose(self.rng).copied() else { return };
        if cluster.size().processes == 1 || !cluster.log_of(process).contains(" seam ") {
            return;
        }
        cluster.signal(process, "STOP");
        cluster.abandon(process);
        self.note(&format!("process {process}, start {number}"));
        cluster.end("KILL");
        self.start();
        let asleep = self.rng.random_range(0..3000);
        self.wait(Duration::from_millis(asleep));
        self.note("it wakes up");
        self.round.cluster.awake();
    }

    fn freeze_broker(&mut self) {
        if !self.is_under_way(Undo::ThawBroker) {
            self.round.world.kafka.stop("STOP");
            self.lasts(200..6000, Undo::ThawBroker);
        }
    }

    fn restart_broker(&mut self) {
        self.undo.retain(|(_, undo)| *undo != Undo::ThawBroker);
        let signal = if self.rng.random() { "KILL" } else { "TERM" };
        self.round.world.kafka.stop(signal);
        self.round.world.kafka.again();
        self.note(&format!("it is back after {signal}"));
    }

    fn freeze_redis(&mut self) {
        if !self.is_under_way(Undo::ThawRedis) {
            self.round.world.redis.stop("STOP");
            self.lasts(100..3000, Undo::ThawRedis);
        }
    }

    fn restart_redis(&mut self) {
        let signal = if self.rng.random() { "KILL" } else { "TERM" };
        self.redis_restarts(signal, |_| ());
    }

    fn redis_restarts(&mut self, signal: &str, meanwhile: impl FnOnce(&mut Self)) {
        self.undo.retain(|(_, undo)| *undo != Undo::ThawRedis);
        self.round.world.redis.stop(signal);
        let away = self.rng.random_range(0..1500);
        std::thread::sleep(Duration::from_millis(away));
        meanwhile(self);
        self.round.world.redis.again();
        self.note(&format!("it is back after {signal} and {away} ms"));
    }

    fn redis_loses_some(&mut self) {
        self.round.world.redis_losses.fetch_add(1, Ordering::SeqCst);
        self.redis_restarts("KILL", |this| {
            let files = std::fs::read_dir(this.round.world.redis_dir.join("appendonlydir")).unwrap().flatten();
            let Some(log) = files.map(|e| e.path()).find(|path| path.to_string_lossy().ends_with(".incr.aof")) else {
                return;
            };
            let length = log.metadata().unwrap().len();
            let lost = this.rng.random_range(0..300_000).min(length);
            OpenOptions::new().write(true).open(&log).unwrap().set_len(length - lost).unwrap();
            this.note(&format!("it lost {lost} bytes of {length}"));
        });
        self.round.world.redis_losses.fetch_add(1, Ordering::SeqCst);
    }

    fn redis_loses_all(&mut self) {
        self.round.world.redis_losses.fetch_add(1, Ordering::SeqCst);
        self.redis_restarts("KILL", |this| {
            std::fs::remove_dir_all(this.round.world.redis_dir.join("appendonlydir")).unwrap();
        });
        self.round.world.redis_losses.fetch_add(1, Ordering::SeqCst);
    }

    /// The checkpoints that are whole, the newest last.
    fn checkpoints(&self) -> Vec<(u64, PathBuf)> {
        let Ok(entries) = std::fs::read_dir(self.round.dir.join("state/checkpoints")) else { return vec![] };
        let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.join("manifest.json").exists());
        let mut all: Vec<_> =
            paths.filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path))).collect();
        all.sort();
        all
    }

    fn damage_checkpoint(&mut self) {
        self.round.cluster.end("KILL");
        if let Some((number, dir)) = self.checkpoints().pop() {
            let manifest = dir.join("manifest.json");
            // Those that are its own: others may be of older ones too, and some that lie there of nobody.
            let told: Value =
                std::fs::read(&manifest).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap_or_default());
            let own =
                |part: &Value| (part["number"] == number).then(|| part["name"].as_str().map(|name| dir.join(name)));
            let parts: Vec<PathBuf> =
                told["parts"].as_array().into_iter().flatten().filter_map(own).flatten().collect();
            match (self.rng.random_range(0..5), parts.choose(self.rng)) {
                (0, _) => {
                    std::fs::remove_file(manifest).unwrap();
                    self.damaged.retain(|damaged| *damaged != number);
                    self.note(&format!("checkpoint {number} without its manifest"));
                }
                (1, _) => {
                    self.cut_off(&manifest);
                    self.damaged.push(number);
                }
                (2, _) | (_, None) => {
                    self.flip_bit(&manifest);
                    self.damaged.push(number);
                }
                (3, Some(part)) => {
                    self.cut_off(part);
                    self.damaged.push(number);
                }
                (_, Some(part)) => {
                    self.flip_bit(part);
                    self.damaged.push(number);
                }
            }
        }
        self.start();
    }

    fn cut_off(&mut self, path: &PathBuf) {
        let length = path.metadata().unwrap().len();
        let left = self.rng.random_range(0..length.max(1));
        OpenOptions::new().write(true).open(path).unwrap().set_len(left).unwrap();
        self.note(&format!("{left} of {length} bytes left of {}", path.display()));
    }

    fn flip_bit(&mut self, path: &PathBuf) {
        let mut bytes = std::fs::read(path).unwrap();
        if bytes.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << self.rng.random_range(0..8);
        std::fs::write(path, bytes).unwrap();
        self.note(&format!("a bit at {at} of {}", path.display()));
    }

    /// What lies behind the newest checkpoint may be anything.
    fn tear_lines(&mut self) {
        self.round.cluster.end("KILL");
        let whole = |(number, _): &(u64, PathBuf)| !self.damaged.contains(number);
        if let Some((_, dir)) = self.checkpoints().into_iter().rfind(whole) {
            let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
            for (line, name) in [("sinks.changes", "changes.jsonl"), ("dead_letters", "dead_letters.jsonl")] {
                let path = self.round.dir.join("state").join(name);
                let kept = manifest["lines"][line]["Bytes"].as_u64();
                assert!(
                    kept.is_some() || manifest["t"].is_null(),
                    "a checkpoint says where {name} was left: {manifest}"
                );
                let (Some(kept), Ok(mut bytes)) = (kept, std::fs::read(&path)) else { continue };
                let length = bytes.len();
                bytes.truncate(self.rng.random_range(kept as usize..=length));
                if self.rng.random() {
                    bytes.extend((0..self.rng.random_range(0..500)).map(|i| i as u8));
                }
                self.note(&format!("{name}: {kept} bytes belong to the checkpoint, {length} -> {}", bytes.len()));
                std::fs::write(&path, bytes).unwrap();
            }
        }
        self.start();
    }

    fn cut(&mut self) {
        let redis = self.rng.random();
        let world = self.round.world;
        let (proxy, undo) =
            if redis { (&world.redis_proxy, Undo::OpenRedis) } else { (&world.kafka_proxy, Undo::OpenKafka) };
        self.note(if redis { "to Redis" } else { "to the broker" });
        match self.rng.random_range(0..4) {
            0 => {
                proxy.stall(true);
                self.lasts(100..4000, undo);
            }
            1 => {
                proxy.refuse(true);
                self.lasts(100..4000, undo);
            }
            2 => {
                // Held back, and then cut: what was on its way is lost, and nobody knows what of it arrived.
                proxy.stall(true);
                let held = self.rng.random_range(0..300);
                std::thread::sleep(Duration::from_millis(held));
                proxy.cut();
                proxy.stall(false);
            }
            _ => proxy.cut(),
        }
    }

    fn fill_disk(&mut self) {
        if self.is_under_way(Undo::EmptyDisk) || self.is_under_way(Undo::LiftLimit) {
            return;
        }
        let left = self.rng.random_range(0..300_000);
        if self.round.disk.can_be_filled() && self.rng.random_bool(0.8) {
            self.note(&format!("{left} bytes left"));
            self.round.disk.fill(left);
            self.lasts(500..4000, Undo::EmptyDisk);
        } else {
            self.note(&format!("files of {left} bytes at most"));
            self.round.cluster.limit_files(Some(left / 1024));
            self.kill_all();
            self.lasts(500..4000, Undo::LiftLimit);
        }
    }
}
