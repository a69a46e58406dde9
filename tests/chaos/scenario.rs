//! A random job, and the records that are produced for it.

use std::fmt::Write;
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::collections::Collections;
use crate::one_result::files::columns;
use crate::one_result::model::{self, Event, Group, Window, length};
use crate::support::{SECOND, now_us};

pub struct Scenario {
    pub job: model::Job,
    pub name: String,
    pub partitions: usize,
    /// All records are there before it starts, and it runs to their end: its output is the same to the byte.
    pub to_end: bool,
    /// The history is Parquet, else JSON lines.
    pub parquet: bool,
    pub embedded: bool,
    pub checkpoint_every_ms: i64,
    pub stall_limit_ms: i64,
    pub collections: Collections,
    /// The shorter window of the group `recent`.
    pub short: i64,
    /// Columns that only a run of the binary can tell.
    more: Vec<&'static str>,
}

/// Each `{}` stands for the window of a trailing column.
const MORE: [&str; 13] = [
    r#"mean = { agg = "avg", of = "f"{} }"#,
    r#"total = { agg = "sum", of = "f"{} }"#,
    r#"spread = { agg = "stddev_pop", of = "f"{} }"#,
    r#"variance = { agg = "var_samp", of = "x"{} }"#,
    r#"least = { agg = "min", of = "f"{} }"#,
    r#"first = { agg = "first", of = "m"{} }"#,
    r#"often = { agg = "top_k", of = "m", k = 2{} }"#,
    r#"usual = { agg = "mode", of = "m"{} }"#,
    r#"latest = { agg = "last_n", of = "x", n = 3{} }"#,
    r#"shops = { agg = "count_distinct", of = "m"{} }"#,
    r#"about = { agg = "approx_count_distinct", of = "m"{} }"#,
    r#"high = { agg = "approx_percentile", of = "f", p = 0.9{} }"#,
    r#"given = { agg = "count", of = "f"{} }"#,
];

impl Scenario {
    pub fn random(seed: u64, rng: &mut StdRng) -> Scenario {
        let tick = 1000 * [10, 10, 50, 200].choose(rng).unwrap();
        let lateness = SECOND * [0, 1, 5].choose(rng).unwrap();
        let size = SECOND * [1, 2, 5].choose(rng).unwrap();
        let every = SECOND * [1, 2].choose(rng).unwrap();
        let gap = 1000 * [50, 300, 2000].choose(rng).unwrap();
        let lengths = [[1, 3], [2, 8], [3, 5]].choose(rng).unwrap().map(|s| s * SECOND);
        let [short, long] = lengths.map(Some);
        let windows = [
            ("lifetime", Window::Trailing(vec![short, None])),
            ("recent", Window::Trailing(vec![short, long])),
            ("tumbling", Window::Hopping { size, every: size }),
            ("hopping", Window::Hopping { size: 2 * size, every }),
            ("session", Window::Session { gap }),
        ];
        let retain = |window: &Window, rng: &mut StdRng| match window {
            Window::Trailing(_) => 0,
            Window::Hopping { size, .. } => lateness + *[0, *size, 10 * SECOND].choose(rng).unwrap(),
            Window::Session { gap } => lateness + gap + *[0, SECOND, 10 * SECOND].choose(rng).unwrap(),
        };
        let group = |(name, window): (&'static str, Window), rng: &mut StdRng| {
            let retain = retain(&window, rng);
            Group { name, window, retain }
        };
        let groups = windows.into_iter().map(|one| group(one, rng)).collect();
        let to_end = rng.random_bool(0.3);
        let every: [i64; 4] = if to_end { [20, 50, 100, 500] } else { [200, 500, 1000, 2000] };
        Scenario {
            to_end,
            job: model::Job { tick, lateness, groups },
            name: format!("chaos_{seed}_{:x}", now_us() & 0xffff_ffff),
            partitions: rng.random_range(1..=5),
            parquet: rng.random(),
            embedded: rng.random(),
            checkpoint_every_ms: *every.choose(rng).unwrap(),
            stall_limit_ms: *[500, 1500, 5000].choose(rng).unwrap(),
            more: MORE.choose_multiple(rng, 5).copied().collect(),
            short: lengths[0],
            collections: Collections::random(to_end, lateness, lengths, rng),
        }
    }

    /// Groups, views and links, each with how long a store keeps a row after its window's end. The first are the model's.
    pub fn names(&self) -> Vec<(&'static str, i64)> {
        let groups = self.job.groups.iter().map(|group| (group.name, group.retain));
        groups.chain(self.collections.names()).collect()
    }

    /// The job in a directory; `redis`: `None` for the run that it is compared with, which has an embedded store; `changed`: with some
    /// columns and views that are others.
    pub fn write_job(&self, dir: &Path, brokers: &str, redis: Option<&str>, changed: bool) {
        std::fs::create_dir_all(dir.join("state")).unwrap();
        std::fs::write(dir.join("job.toml"), self.text(brokers, redis, changed)).unwrap();
    }

    fn text(&self, brokers: &str, redis: Option<&str>, changed: bool) -> String {
        let (name, tick, stall) = (&self.name, self.job.tick / 1000, self.stall_limit_ms);
        let lateness = self.job.lateness / 1000;
        let kind = if self.parquet { "parquet" } else { "jsonl" };
        let schema = if self.parquet {
            String::new()
        } else {
            r#"schema = { ts = "timestamp", a = "timestamp", k = "string", x = "int64", f = "float64", m = "string", p = "int32", o = "int64" }"#.to_owned()
        };
        let mut text = format!(
            r#"name = "{name}"
tick = "{tick}ms"
stall_limit = "{stall}ms"
[sources.s]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "{lateness}ms"
{schema}
seam = {{ by = "offset", partition = "p", offset = "o" }}
history = {{ type = "{kind}", path = "history.{kind}" }}
stream = {{ type = "kafka", brokers = "{brokers}", topic = "{name}", format = "json" }}
"#
        );
        self.job.groups.iter().for_each(|group| self.group(&mut text, group, changed));
        self.collections.write(&mut text, name, brokers, changed);
        if let Some(url) = redis {
            write!(text, "[sinks.online]\ntype = \"redis\"\nurl = \"{url}\"\n").unwrap();
        }
        if redis.is_none() || self.embedded {
            text += "[sinks.local]\ntype = \"embedded\"\n";
        }
        text += "[sinks.changes]\ntype = \"jsonl\"\npath = \"state/changes.jsonl\"\n";
        if redis.is_some() && self.collections.topic {
            writeln!(text, "[sinks.topic]\ntype = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{name}_changes\"")
                .unwrap();
        }
        let every = self.checkpoint_every_ms;
        text + &format!("[state]\npath = \"state\"\ncheckpoint_every = \"{every}ms\"\n")
    }

    fn group(&self, text: &mut String, group: &Group, changed: bool) {
        write!(text, "[features.{}]\nsource = \"s\"\nkey = \"k\"\n", group.name).unwrap();
        let mut windows = String::new();
        match &group.window {
            Window::Trailing(lengths) => {
                let lengths: Vec<String> = lengths.iter().map(|w| format!("{:?}", length(*w))).collect();
                windows = format!(", windows = [{}]", lengths.join(", "));
            }
            Window::Hopping { size, every } => {
                let (size, every) = (size / 1000, every / 1000);
                writeln!(text, "window = {{ hopping = \"{size}ms\", every = \"{every}ms\" }}").unwrap();
            }
            Window::Session { gap } => writeln!(text, "window = {{ session = \"{}ms\" }}", gap / 1000).unwrap(),
        }
        if !matches!(group.window, Window::Trailing(_)) {
            writeln!(text, "retain = \"{}ms\"", group.retain / 1000).unwrap();
        }
        write!(text, "[features.{}.columns]\n{}", group.name, columns(&windows)).unwrap();
        let more = self.more.iter().skip(usize::from(changed));
        more.for_each(|column| *text += &(column.replace("{}", &windows) + "\n"));
    }
}

/// A record as it goes into the topic.
pub enum Record {
    Event {
        event: Event,
        f: Option<f64>,
        m: String,
    },
    /// `ts` hours past its arrival.
    WrongClock {
        ts: i64,
        a: i64,
    },
    Malformed,
    Tombstone,
}

pub struct Maker {
    rng: StdRng,
    /// The history has none that cannot be put into Parquet.
    pub only_events: bool,
}

impl Maker {
    pub fn new(seed: u64) -> Maker {
        Maker { rng: StdRng::seed_from_u64(seed), only_events: false }
    }

    /// A record that arrives now, or a moment before the last one.
    pub fn record(&mut self, now: i64) -> Record {
        let rng = &mut self.rng;
        let a = if rng.random_bool(0.2) { now - rng.random_range(0..300_000) } else { now };
        if !self.only_events && rng.random_bool(0.05) {
            return match rng.random_range(0..3) {
                0 => Record::WrongClock { ts: a + 3 * 3600 * SECOND, a },
                1 => Record::Malformed,
                _ => Record::Tombstone,
            };
        }
        let ts = match rng.random_range(0..20) {
            0..3 => a - rng.random_range(0..3 * SECOND),
            3 => a - rng.random_range(0..30 * SECOND),
            4 => a + rng.random_range(0..2 * SECOND),
            _ => a - rng.random_range(0..20_000),
        };
        let key = if rng.random() { rng.random_range(0..8) } else { rng.random_range(8..300) };
        let event = Event {
            key: rng.random_bool(0.97).then(|| format!("k{key}")),
            x: rng.random_bool(0.9).then(|| rng.random_range(-1000..1000)),
            ts,
            arrived: Some(a),
        };
        let f = rng.random_bool(0.9).then(|| f64::from(rng.random_range(-50_000..50_000)) / 100.0);
        Record::Event { event, f, m: format!("m{}", rng.random_range(0..20)) }
    }

    pub fn partition(&mut self, partitions: usize) -> usize {
        self.rng.random_range(0..partitions)
    }

    /// How many come at once, and how long nothing does then.
    pub fn burst(&mut self) -> (usize, u64) {
        match self.rng.random_range(0..100) {
            0 => (2000, 50),
            1 => (1, 1500),
            _ => (self.rng.random_range(1..8), self.rng.random_range(1..20)),
        }
    }
}

impl Record {
    pub fn payload(&self) -> Option<String> {
        match self {
            Record::Event { event, f, m } => {
                let show = |x: Option<String>| x.unwrap_or_else(|| "null".to_owned());
                let key = show(event.key.as_ref().map(|key| format!("{key:?}")));
                let (x, f) = (show(event.x.map(|x| x.to_string())), show(f.map(|f| format!("{f:?}"))));
                let (ts, a) = (event.ts, event.a());
                Some(format!(r#"{{"ts":{ts},"a":{a},"k":{key},"x":{x},"f":{f},"m":"{m}"}}"#))
            }
            Record::WrongClock { ts, a } => Some(format!(r#"{{"ts":{ts},"a":{a},"k":"k1","x":1,"f":1.0,"m":"m1"}}"#)),
            Record::Malformed => Some("{\"ts\": no record".to_owned()),
            Record::Tombstone => None,
        }
    }

    pub fn parse(payload: Option<&[u8]>) -> Record {
        let Some(bytes) = payload else { return Record::Tombstone };
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Record::Malformed };
        let (ts, a) = (value["ts"].as_i64().unwrap(), value["a"].as_i64().unwrap());
        if ts > a + 3600 * SECOND {
            return Record::WrongClock { ts, a };
        }
        let event = Event { key: value["k"].as_str().map(str::to_owned), x: value["x"].as_i64(), ts, arrived: Some(a) };
        Record::Event { event, f: value["f"].as_f64(), m: value["m"].as_str().unwrap().to_owned() }
    }
}
