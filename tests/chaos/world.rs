//! The services of all rounds: a Kafka and a Redis of our own, each behind a proxy for the job and without one for us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;

use super::proxy::Proxy;
use crate::support::{Case, Service, free_port};

pub struct World {
    pub kafka: Service,
    pub redis: Service,
    pub kafka_proxy: Proxy,
    pub redis_proxy: Proxy,
    pub redis_dir: PathBuf,
    /// Counts how often Redis has lost something, once before and once after.
    pub redis_losses: AtomicU64,
    pub case: Case,
}

impl World {
    pub fn new() -> Option<World> {
        let case = Case::new("chaos")?;
        let [direct, through, controller] = [(); 3].map(|()| free_port());
        let kafka_proxy = Proxy::start(through);
        let local = |port: u16| format!("127.0.0.1:{port}");
        let settings = [
            format!(
                "listeners=PLAINTEXT://{},PROXIED://{},CONTROLLER://{}",
                local(direct),
                local(through),
                local(controller)
            ),
            format!("advertised.listeners=PLAINTEXT://{},PROXIED://{}", local(direct), local(kafka_proxy.port)),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            format!("controller.quorum.bootstrap.servers={}", local(controller)),
        ];
        let port = direct.to_string();
        let settings: Vec<&str> = [&port].into_iter().chain(&settings).map(String::as_str).collect();
        let kafka = Service::start_with(&case, "kafka", &settings);
        let redis = Service::start(&case, "redis");
        let redis_port = redis.address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
        let redis_dir = case.path("redis");
        let redis_proxy = Proxy::start(redis_port);
        Some(World { kafka, redis, kafka_proxy, redis_proxy, redis_dir, redis_losses: AtomicU64::new(0), case })
    }

    /// As the harness sees it.
    pub fn redis_url(&self) -> String {
        format!("redis://{}/0", self.redis.address)
    }

    /// Everything lets through again.
    pub fn open(&self) {
        for proxy in [&self.kafka_proxy, &self.redis_proxy] {
            proxy.open();
        }
        self.kafka.stop("CONT");
        self.redis.stop("CONT");
        self.kafka.again();
        self.redis.again();
    }
}

/// A small file system of its own, where that is permitted: it can be filled.
pub struct Disk {
    path: PathBuf,
    mounted: bool,
}

impl Disk {
    pub fn at(path: &Path) -> Disk {
        std::fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256m", "headwater-chaos"]).arg(path);
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        Disk { path: path.to_owned(), mounted }
    }

    pub fn can_be_filled(&self) -> bool {
        self.mounted
    }

    /// Leaves room for some bytes and no more.
    pub fn fill(&self, left: u64) {
        let ballast = self.path.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        let block = vec![1; 64 << 10];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left)).unwrap();
    }

    pub fn empty(&self) {
        let _ = std::fs::remove_file(self.path.join("ballast"));
    }

    /// Puts what it holds in its place, to be kept.
    pub fn keep(&mut self) {
        if self.mounted {
            self.empty();
            let aside = self.path.with_extension("kept");
            let copied = Command::new("cp").arg("-a").arg(&self.path).arg(&aside).status();
            eprintln!("the state is kept in {}: {copied:?}", aside.display());
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
    }
}
