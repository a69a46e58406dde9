//! The faults themselves. Each says whether it happened; one that cannot happen leaves everything as it is, if it can know before.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::cluster::Size;
use super::faults::Undo;
use super::round::{Round, random_size};

pub struct Inflicting<'a, 'r> {
    pub round: &'r Round<'a>,
    pub rng: StdRng,
    /// What lasts, and until when.
    pub undo: Vec<(Instant, Undo)>,
    /// Checkpoints that were damaged so that a start must say so.
    pub damaged: Vec<u64>,
}

impl<'a, 'r> Inflicting<'a, 'r> {
    pub fn new(round: &'r Round<'a>, rng: StdRng) -> Self {
        Inflicting { round, rng, undo: vec![], damaged: vec![] }
    }

    /// The others end by themselves, and say whom they lost.
    pub fn kill_one(&mut self) -> bool {
        let cluster = &self.round.cluster;
        let running = cluster.running();
        let Some((process, ..)) = running.choose(&mut self.rng).copied() else { return false };
        // While it plans, process 0 may wait for a service.
        let joined = |process| cluster.log_of(process).contains(" seam ");
        let others: Vec<_> =
            running.into_iter().filter(|(p, _, frozen)| *p != process && !frozen && joined(*p)).collect();
        let others = if joined(process) { others } else { vec![] };
        self.note(&format!("process {process}; waiting for {others:?}"));
        let killed = cluster.signal(process, "KILL");
        let end = Instant::now() + Duration::from_secs(10);
        for (other, number, _) in others {
            while cluster.exit_of(number).is_none() {
                self.wait(Duration::from_millis(10));
                if Instant::now() > end {
                    let log = cluster.log_of(other);
                    self.round
                        .failures
                        .add(format!("start {number} goes on after process {process} was killed\n{log}"));
                    return true;
                }
            }
        }
        killed
    }

    pub fn kill_all(&mut self) -> bool {
        let cluster = &self.round.cluster;
        let killed = cluster.running().iter().filter(|(process, ..)| cluster.signal(*process, "KILL")).count();
        killed > 0
    }

    fn start(&mut self) {
        self.start_of(1);
    }

    /// A cluster of so many processes at least.
    fn start_of(&mut self, processes: usize) {
        let size = random_size(&mut self.rng);
        let size = Size { processes: size.processes.max(processes), ..size };
        self.note(&format!("{size:?}"));
        self.undo.retain(|(_, undo)| !matches!(undo, Undo::ThawProcess(_)));
        self.round.cluster.start(size, self.round.scenario.to_end);
    }

    pub fn rescale(&mut self) -> bool {
        self.round.cluster.end("KILL");
        self.start();
        true
    }

    /// Some columns and views come or go. To the end a changed job says at another tick what is new.
    pub fn change_job(&mut self) -> bool {
        if self.round.scenario.to_end {
            return false;
        }
        self.round.cluster.end("KILL");
        self.round.change_job();
        self.start();
        true
    }

    /// Nothing is away that it may have to wait for.
    pub fn stop_cleanly(&mut self) -> bool {
        let away =
            [Undo::ThawBroker, Undo::ThawRedis, Undo::OpenKafka, Undo::OpenRedis, Undo::EmptyDisk, Undo::LiftLimit];
        if away.iter().any(|undo| self.is_under_way(*undo)) {
            return false;
        }
        self.round.cluster.end("TERM");
        self.start();
        true
    }

    pub fn freeze_process(&mut self) -> bool {
        let awake: Vec<_> = self.round.cluster.running().into_iter().filter(|(.., frozen)| !frozen).collect();
        let Some((process, ..)) = awake.choose(&mut self.rng).copied() else { return false };
        let frozen = self.round.cluster.signal(process, "STOP");
        if frozen {
            self.lasts(100..4000, Undo::ThawProcess(process));
        }
        frozen
    }

    /// One is frozen while the others are killed and a new cluster takes over; then it wakes up. Alone it would lose nobody, and go on.
    pub fn abandon(&mut self) -> bool {
        if self.round.cluster.size().processes == 1 {
            self.round.cluster.end("KILL");
            self.start_of(2);
        }
        let Some((process, number)) = self.one_that_joined() else { return false };
        let cluster = &self.round.cluster;
        if !cluster.signal(process, "STOP") {
            return false;
        }
        cluster.abandon(process);
        self.note(&format!("process {process}, start {number}"));
        cluster.end("KILL");
        self.start();
        let asleep = self.rng.random_range(0..3000);
        self.wait(Duration::from_millis(asleep));
        self.note("it wakes up");
        self.round.cluster.awake();
        true
    }

    /// A process and the number of its start. While it plans, process 0 may wait for a service.
    fn one_that_joined(&mut self) -> Option<(usize, usize)> {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && !self.round.cluster.is_done() {
            let cluster = &self.round.cluster;
            let joined = |(process, ..): &(usize, usize, bool)| cluster.log_of(*process).contains(" seam ");
            let all: Vec<_> = cluster.running().into_iter().filter(joined).collect();
            if let Some((process, number, _)) = all.choose(&mut self.rng).copied() {
                return Some((process, number));
            }
            self.wait(Duration::from_millis(10));
        }
        None
    }

    pub fn freeze_broker(&mut self) -> bool {
        let new = !self.is_under_way(Undo::ThawBroker);
        if new {
            self.round.world.kafka.stop("STOP");
            self.lasts(200..6000, Undo::ThawBroker);
        }
        new
    }

    pub fn restart_broker(&mut self) -> bool {
        self.undo.retain(|(_, undo)| *undo != Undo::ThawBroker);
        let signal = if self.rng.random() { "KILL" } else { "TERM" };
        self.round.world.kafka.stop(signal);
        self.round.world.kafka.again();
        self.note(&format!("it is back after {signal}"));
        true
    }

    pub fn freeze_redis(&mut self) -> bool {
        let new = !self.is_under_way(Undo::ThawRedis);
        if new {
            self.round.world.redis.stop("STOP");
            self.lasts(100..3000, Undo::ThawRedis);
        }
        new
    }

    pub fn restart_redis(&mut self) -> bool {
        let signal = if self.rng.random() { "KILL" } else { "TERM" };
        self.redis_restarts(signal, |_| true)
    }

    fn redis_restarts(&mut self, signal: &str, meanwhile: impl FnOnce(&mut Self) -> bool) -> bool {
        self.undo.retain(|(_, undo)| *undo != Undo::ThawRedis);
        self.round.world.redis.stop(signal);
        let away = self.rng.random_range(0..1500);
        std::thread::sleep(Duration::from_millis(away));
        let done = meanwhile(self);
        self.round.world.redis.again();
        self.note(&format!("it is back after {signal} and {away} ms"));
        done
    }

    pub fn redis_loses_some(&mut self) -> bool {
        self.redis_loses(|this| {
            let files = std::fs::read_dir(this.round.world.redis_dir.join("appendonlydir")).unwrap().flatten();
            let Some(log) = files.map(|e| e.path()).find(|path| path.to_string_lossy().ends_with(".incr.aof")) else {
                return false;
            };
            let bytes = std::fs::read(&log).unwrap();
            let left = outside_transaction(&bytes[..bytes.len().saturating_sub(this.rng.random_range(1..300_000))]);
            OpenOptions::new().write(true).open(&log).unwrap().set_len(left as u64).unwrap();
            this.note(&format!("it has {left} bytes left of {}", bytes.len()));
            left < bytes.len()
        })
    }

    pub fn redis_loses_all(&mut self) -> bool {
        self.redis_loses(|this| {
            std::fs::remove_dir_all(this.round.world.redis_dir.join("appendonlydir")).unwrap();
            true
        })
    }

    fn redis_loses(&mut self, loss: impl FnOnce(&mut Self) -> bool) -> bool {
        self.round.world.redis_losses.fetch_add(1, Ordering::SeqCst);
        let lost = self.redis_restarts("KILL", loss);
        self.round.world.redis_losses.fetch_add(1, Ordering::SeqCst);
        lost
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

    /// A start has to say that it is damaged, but for one that has lost its manifest: that is none.
    pub fn damage_checkpoint(&mut self) -> bool {
        if self.checkpoints().is_empty() {
            return false;
        }
        self.round.cluster.end("KILL");
        let damaged = self.checkpoints().pop().is_some_and(|(number, dir)| self.damage(number, &dir));
        self.start();
        damaged
    }

    fn damage(&mut self, number: u64, dir: &Path) -> bool {
        let manifest = dir.join("manifest.json");
        let what = self.rng.random_range(0..5);
        if what == 0 {
            std::fs::remove_file(manifest).unwrap();
            self.damaged.retain(|damaged| *damaged != number);
            self.note(&format!("checkpoint {number} without its manifest"));
            return true;
        }
        // Those that are its own: others may be of older ones too, and some that lie there of nobody.
        let told: Value =
            std::fs::read(&manifest).map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap_or_default());
        let own = |part: &Value| (part["number"] == number).then(|| part["name"].as_str().map(|name| dir.join(name)));
        let parts: Vec<PathBuf> = told["parts"].as_array().into_iter().flatten().filter_map(own).flatten().collect();
        let file = if what < 3 { None } else { parts.choose(&mut self.rng).cloned() }.unwrap_or(manifest);
        let damaged = if what % 2 == 1 { self.cut_off(&file) } else { self.flip_bit(&file) };
        self.damaged.extend(damaged.then_some(number));
        damaged
    }

    fn cut_off(&mut self, path: &Path) -> bool {
        let length = path.metadata().unwrap().len();
        if length == 0 {
            return false;
        }
        let left = self.rng.random_range(0..length);
        OpenOptions::new().write(true).open(path).unwrap().set_len(left).unwrap();
        self.note(&format!("{left} of {length} bytes left of {}", path.display()));
        true
    }

    fn flip_bit(&mut self, path: &Path) -> bool {
        let mut bytes = std::fs::read(path).unwrap();
        if bytes.is_empty() {
            return false;
        }
        let at = self.rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << self.rng.random_range(0..8);
        std::fs::write(path, bytes).unwrap();
        self.note(&format!("a bit at {at} of {}", path.display()));
        true
    }

    /// What lies behind the newest checkpoint may be anything.
    pub fn tear_lines(&mut self) -> bool {
        if self.newest_whole().is_none() {
            return false;
        }
        self.round.cluster.end("KILL");
        let torn = self.newest_whole().is_some_and(|dir| {
            let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
            let changes = self.tear(&manifest, "sinks.changes", "changes.jsonl");
            let dead_letters = self.tear(&manifest, "dead_letters", "dead_letters.jsonl");
            changes || dead_letters
        });
        self.start();
        torn
    }

    fn newest_whole(&self) -> Option<PathBuf> {
        let whole = |(number, _): &(u64, PathBuf)| !self.damaged.contains(number);
        self.checkpoints().into_iter().rfind(whole).map(|(_, dir)| dir)
    }

    fn tear(&mut self, manifest: &Value, line: &str, name: &str) -> bool {
        let path = self.round.dir.join("state").join(name);
        let kept = manifest["lines"][line]["Bytes"].as_u64();
        assert!(kept.is_some() || manifest["t"].is_null(), "a checkpoint says where {name} was left: {manifest}");
        let (Some(kept), Ok(mut bytes)) = (kept, std::fs::read(&path)) else { return false };
        let length = bytes.len();
        bytes.truncate(self.rng.random_range(kept as usize..=length));
        let mut torn = bytes.len() < length;
        if self.rng.random() {
            bytes.extend((0..self.rng.random_range(1..500)).map(|i| i as u8));
            torn = true;
        }
        self.note(&format!("{name}: {kept} bytes belong to the checkpoint, {length} -> {}", bytes.len()));
        std::fs::write(&path, bytes).unwrap();
        torn
    }

    pub fn cut(&mut self) -> bool {
        let redis = self.rng.random();
        let world = self.round.world;
        let (proxy, undo) =
            if redis { (&world.redis_proxy, Undo::OpenRedis) } else { (&world.kafka_proxy, Undo::OpenKafka) };
        self.note(if redis { "to Redis" } else { "to the broker" });
        match self.rng.random_range(0..4) {
            0 => {
                let new = proxy.stall(true);
                if new {
                    self.lasts(100..4000, undo);
                }
                new
            }
            1 => {
                let new = proxy.refuse(true);
                if new {
                    self.lasts(100..4000, undo);
                }
                new
            }
            2 => {
                // Held back, and then cut: what was on its way is lost, and nobody knows what of it arrived.
                proxy.stall(true);
                let held = self.rng.random_range(0..300);
                std::thread::sleep(Duration::from_millis(held));
                let cut = proxy.cut();
                proxy.stall(false);
                cut
            }
            _ => proxy.cut(),
        }
    }

    fn has_no_room(&self) -> bool {
        self.is_under_way(Undo::EmptyDisk) || self.is_under_way(Undo::LiftLimit)
    }

    pub fn fill_disk(&mut self) -> bool {
        if self.has_no_room() || !self.round.disk.can_be_filled() {
            return false;
        }
        let left = self.rng.random_range(0..300_000);
        self.note(&format!("{left} bytes left"));
        self.round.disk.fill(left);
        self.lasts(500..4000, Undo::EmptyDisk);
        true
    }

    pub fn limit_files(&mut self) -> bool {
        if self.has_no_room() {
            return false;
        }
        let left = self.rng.random_range(0..300_000);
        self.note(&format!("files of {left} bytes at most"));
        self.round.cluster.limit_files(Some(left / 1024));
        self.kill_all();
        self.lasts(500..4000, Undo::LiftLimit);
        true
    }
}

/// How long a file of Redis is without a transaction that does not end in it. Redis would leave a part of that one there, take what
/// it writes later for more of it, and lose all of that at its next start.
fn outside_transaction(bytes: &[u8]) -> usize {
    let last = |command: &[u8]| bytes.windows(command.len()).rposition(|some| some == command);
    let (begin, end) = (last(b"*1\r\n$5\r\nMULTI\r\n"), last(b"*1\r\n$4\r\nEXEC\r\n"));
    begin.filter(|_| begin > end).unwrap_or(bytes.len())
}
