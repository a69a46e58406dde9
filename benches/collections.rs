//! Collections, each beside the same job without it, with the memory of both. Rows come as JSON lines, on 2 workers.
//!
//! - `lookup`: 5M events of a day and of 100k cards meet what a table of 100k shops had at their time. A shop changes four times that day, and a
//!   tenth of these versions come up to six hours late, so that events that were looked up before are corrected. Floor: no table, no lookup.
//! - `view`: a join of two groups of 100k cards, whose rows change with each of 2M events, 20,000 a second of their own time, and again 30 s later
//!   when it grows old. What counts is the CPU time that the view adds, by row that changes. Floor: no view.
//! - `links`: 100k cards by the devices that they share, of which 500 pairs a second come and 500 grow old. What counts is what a tick of 10 ms takes:
//!   from the moment its 10 changes are given to the operators of links until these are done with the tick, one after the other, on one
//!   thread. Floor: the pairs alone, kept distinct. Then the whole: from produced to Kafka until a card's links can be read, beside the
//!   row of the group that they are made of; and the memory and CPU time of 600 s of pairs, in their own time, beside the same without links.
//!
//! `cargo bench --bench collections -- lookup` runs one of the three.

#[path = "support/kafka.rs"]
mod kafka;
mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use differential_dataflow::input::Input;
use headwater::{Handle, Job, Options, Status};
use headwater_clocks::Tick;
use headwater_operators::relational::links::{By, ENTITY, Node, links};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::Producer;
use support::{DAY_US, END_US, Run};
use timely::dataflow::operators::probe;

const SECOND_US: i64 = 1_000_000;
const PARTITIONS: usize = 2;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--bench")).collect();
    if let [flag, job] = args.as_slice()
        && flag == "--run"
    {
        return run_here(Path::new(job));
    }
    let keys = support::scale(100_000);
    for (name, bench) in [("lookup", lookup as fn(usize)), ("view", view), ("links", of_links)] {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            bench(keys);
        }
    }
}

/// A job, run to its end in a process of its own; and how it was at its end.
fn run(job: &Path) -> (Run, Status) {
    let ran = support::watched(Command::new(std::env::current_exe().unwrap()).arg("--run").arg(job));
    let report = std::fs::read(job.with_extension("report")).unwrap();
    (ran, serde_json::from_slice(&report).unwrap())
}

fn run_here(job: &Path) {
    let options = Options { until_end: true, fresh: true, workers: 2, ..Options::default() };
    let report = headwater::run(Job::from_file(job).unwrap(), options).unwrap().wait().unwrap();
    std::fs::write(job.with_extension("report"), serde_json::to_vec(&report).unwrap()).unwrap();
}

/// Two jobs, turn by turn: their runs, and the second one's report.
fn side_by_side(floor: &Path, job: &Path) -> (Vec<Run>, Vec<Run>, Status) {
    let (mut floors, mut runs, mut last) = (vec![], vec![], None);
    for _ in 0..support::rounds() {
        floors.push(run(floor).0);
        let (ran, report) = run(job);
        runs.push(ran);
        last = Some(report);
    }
    (floors, runs, last.expect("a round"))
}

fn median(runs: &[Run], of: fn(&Run) -> Duration) -> Duration {
    support::median(runs.iter().map(of).collect())
}

/// The CPU time that runs take beyond their floor, in microseconds for each of so many.
fn cpu_beyond(floors: &[Run], runs: &[Run], many: u64) -> f64 {
    let [floor, run] = [floors, runs].map(|all| median(all, |run| run.cpu).as_secs_f64());
    (run - floor) * 1e6 / many as f64
}

fn write_job(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, format!("name = \"{name}\"\n{text}")).unwrap();
    path
}

/// Files of a stream, each a partition.
fn files(dir: &Path, name: &str) -> Vec<BufWriter<File>> {
    let dir = dir.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    (0..PARTITIONS).map(|p| BufWriter::new(File::create(dir.join(format!("{p}.jsonl"))).unwrap())).collect()
}

// --- lookup ---------------------------------------------------------------------------------------------------------------

const EVENTS: &str = r#"
[sources.tx]
event_time = "ts"
time_unit = "us"
schema = { ts = "timestamp", card = "string", shop = "string", amount = "int64" }
stream = { type = "jsonl", path = "tx/*.jsonl" }
[features.cards]
source = "tx"
key = "card"
[features.cards.columns]
n = { agg = "count", windows = ["1h", "1d"] }
spend = { agg = "sum", of = "amount", windows = ["1h", "1d"] }
top = { agg = "max", of = "amount", windows = ["1h", "1d"] }
"#;

const TABLE: &str = r#"
[tables.shops]
key = "shop"
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "6h"
schema = { ts = "timestamp", a = "timestamp", shop = "string", rate = "int64" }
stream = { type = "jsonl", path = "shops/*.jsonl" }
"#;

fn lookup(keys: usize) {
    let events = support::scale(5_000_000);
    let dir = tempfile::tempdir().unwrap();
    let (versions, late) = write_shops(dir.path(), keys);
    write_events(dir.path(), events, keys as u32);
    let looks = EVENTS
        .replace("key = \"card\"", "key = \"card\"\nlookup.s = { table = \"shops\", on = \"shop\" }")
        .replace("of = \"amount\"", "of = \"amount * s.rate\"");
    let floor = write_job(dir.path(), "plain", EVENTS);
    let job = write_job(dir.path(), "lookup", &format!("{looks}{TABLE}"));
    let (floors, runs, report) = side_by_side(&floor, &job);
    let group = &report.groups[0];
    println!(
        "lookup: {events} events, {versions} versions of {keys} shops, {late} of them late; {} events corrected, {} held at the end",
        group.counts.corrections, group.events_held
    );
    support::tell("floor: the same without the lookup", events, &floors, None);
    support::tell("with the lookup", events, &runs, Some(median(&floors, |run| run.took)));
}

fn write_events(dir: &Path, events: usize, keys: u32) {
    let (mut rng, mut files) = (StdRng::seed_from_u64(42), files(dir, "tx"));
    for i in 0..events {
        let ts = END_US - DAY_US + (i as i128 * i128::from(DAY_US) / events as i128) as i64;
        let (card, shop) = (support::card(&mut rng, keys), support::card(&mut rng, keys));
        let amount = rng.random_range(1..50_000);
        let file = &mut files[i % PARTITIONS];
        writeln!(file, r#"{{"ts":{ts},"card":"card-{card:06}","shop":"shop-{shop:06}","amount":{amount}}}"#).unwrap();
    }
}

/// Writes a version of each shop before the first event, and then four more of each on average. Returns how many these are in all, and how many late.
fn write_shops(dir: &Path, keys: usize) -> (usize, usize) {
    let (mut rng, mut files) = (StdRng::seed_from_u64(7), files(dir, "shops"));
    let (changes, mut late) = (4 * keys, 0);
    let first = (0..keys).map(|shop| (shop, END_US - DAY_US - SECOND_US, 0));
    let mut later = StdRng::seed_from_u64(8);
    let then = (0..changes).map(|i| {
        let arrived = END_US - DAY_US + (i as i128 * i128::from(DAY_US) / changes as i128) as i64;
        let behind = if i % 10 == 9 { later.random_range(1..DAY_US / 4) } else { 0 };
        (later.random_range(0..keys), arrived, behind)
    });
    for (shop, arrived, behind) in first.chain(then) {
        late += usize::from(behind > 0);
        let (ts, rate) = (arrived - behind, rng.random_range(1..100));
        let file = &mut files[shop % PARTITIONS];
        writeln!(file, r#"{{"ts":{ts},"a":{arrived},"shop":"shop-{shop:06}","rate":{rate}}}"#).unwrap();
    }
    (keys + changes, late)
}

// --- view -----------------------------------------------------------------------------------------------------------------

const GROUPS: &str = r#"
[sources.payments]
event_time = "ts"
time_unit = "us"
schema = { ts = "timestamp", card = "string", amount = "int64" }
stream = { type = "jsonl", path = "payments/*.jsonl" }
[sources.logins]
event_time = "ts"
time_unit = "us"
schema = { ts = "timestamp", card = "string", amount = "int64" }
stream = { type = "jsonl", path = "logins/*.jsonl" }
[features.paid]
source = "payments"
key = "card"
columns = { n = { agg = "count", windows = ["30s", "all"] }, spend = { agg = "sum", of = "amount", windows = ["30s", "all"] } }
[features.seen]
source = "logins"
key = "card"
columns = { n = { agg = "count", windows = ["30s", "all"] }, most = { agg = "max", of = "amount", windows = ["30s", "all"] } }
"#;

const JOIN: &str = r#"
[views.both]
key = "card"
sql = """
SELECT p.card, p.n_30s AS payments, p.spend_30s AS spend, s.n_30s AS logins, s.most_all AS most
FROM paid AS p JOIN seen AS s ON p.card = s.card
"""
"#;

fn view(keys: usize) {
    let events = support::scale(2_000_000);
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(42);
    let mut of_sources = [files(dir.path(), "payments"), files(dir.path(), "logins")];
    for i in 0..events {
        let (ts, card, amount) = (END_US + i as i64 * 50, rng.random_range(0..keys), rng.random_range(1..50_000));
        let file = &mut of_sources[i % 2][i / 2 % PARTITIONS];
        writeln!(file, r#"{{"ts":{ts},"card":"card-{card:06}","amount":{amount}}}"#).unwrap();
    }
    drop(of_sources);
    let floor = write_job(dir.path(), "groups", GROUPS);
    let job = write_job(dir.path(), "view", &format!("{GROUPS}{JOIN}"));
    let (floors, runs, report) = side_by_side(&floor, &job);
    let of_groups = report.groups.iter().map(|group| group.counts.changes).sum::<u64>();
    let of_view = report.views[0].changes;
    println!("view: {events} events of two groups of {keys} cards; {} joined rows", report.views[0].rows);
    support::tell("floor: the same without the view", events, &floors, None);
    support::tell("with the view", events, &runs, Some(median(&floors, |run| run.took)));
    for (name, changes) in [("of the groups' rows", of_groups), ("of the view's rows", of_view)] {
        println!("the view, by change {name:<24} {:>8.2} us of CPU ({changes})", cpu_beyond(&floors, &runs, changes));
    }
}

// --- links ----------------------------------------------------------------------------------------------------------------

/// Pairs of a card and a device that come in a second; as many go.
const PAIRS_PER_SECOND: usize = 500;
const TICKS_PER_SECOND: usize = 100;
/// Of the live run.
const SECONDS: u64 = 20;
/// The first seconds are not counted.
const WARM_SECONDS: u64 = 5;
/// Of the live run, one pair in so many is that of a card of its own.
const PROBE_EVERY: usize = 10;

/// One card after the other, each with a device of its own or, as often, with one that a few share.
struct Pairs {
    rng: StdRng,
    cards: usize,
    next: usize,
}

impl Pairs {
    fn new(cards: usize) -> Pairs {
        Pairs { rng: StdRng::seed_from_u64(42), cards, next: 0 }
    }

    fn shared_device(&mut self) -> String {
        format!("shared-{:06}", self.rng.random_range(0..self.cards * 3 / 4))
    }

    /// So many are there at a time: two of each card.
    fn there(&self) -> usize {
        2 * self.cards
    }

    fn write_line(ts: i64, card: &str, device: &str) -> String {
        format!(r#"{{"ts":{ts},"card":"{card}","device":"{device}"}}"#)
    }
}

impl Iterator for Pairs {
    type Item = (String, String);

    fn next(&mut self) -> Option<(String, String)> {
        let card = self.next % self.cards;
        self.next += 1;
        let device = if self.rng.random_bool(0.5) { format!("own-{card:06}") } else { self.shared_device() };
        Some((format!("card-{card:06}"), device))
    }
}

fn of_links(cards: usize) {
    let ticks = support::scale(10_000);
    let [alone, linked] = [false, true].map(|linked| {
        let rounds = (0..support::rounds()).map(|_| ticks_of(cards, ticks, linked)).collect();
        Ticks::median(rounds)
    });
    println!(
        "links: {} pairs of {cards} cards, {} changes/s; {:.1} rows change a tick, the largest component has {} cards",
        Pairs::new(cards).there(),
        2 * PAIRS_PER_SECOND,
        linked.rows as f64 / ticks as f64,
        linked.largest
    );
    for (name, of) in [("floor: a tick of pairs", &alone), ("a tick of links", &linked)] {
        let cpu = of.cpu.as_secs_f64() * 1e3 / ticks as f64;
        support::percentiles(&format!("{name}, {cpu:.2} ms of CPU"), &of.took);
    }
    to_the_end(cards);
    if let Some(brokers) = kafka::brokers() {
        live(&brokers, cards);
    }
}

struct Ticks {
    took: Vec<Duration>,
    /// Of all of them.
    cpu: Duration,
    /// That came or went.
    rows: u64,
    largest: u64,
}

impl Ticks {
    /// Of rounds that all do the same: the median of each tick.
    fn median(rounds: Vec<Ticks>) -> Ticks {
        let of_tick = |tick| support::median(rounds.iter().map(|round| round.took[tick]).collect());
        let took = (0..rounds[0].took.len()).map(of_tick).collect();
        let cpu = support::median(rounds.iter().map(|round| round.cpu).collect());
        Ticks { took, cpu, rows: rounds[0].rows, largest: rounds[0].largest }
    }
}

/// What each tick takes: five pairs come, and the five that have been there for longest go.
fn ticks_of(cards: usize, ticks: usize, linked: bool) -> Ticks {
    timely::execute_directly(move |worker| {
        let told: Arc<Mutex<(u64, u64)>> = Arc::default();
        let (probe, out) = (probe::Handle::new(), told.clone());
        let (mut entities, mut edges) = worker.dataflow(|scope| {
            let (entities_in, entities) = scope.new_collection();
            let (edges_in, edges) = scope.new_collection();
            match linked {
                true => {
                    let rows = links(entities, edges, By::Things, 100).rows.inspect(move |((_, row), ..)| {
                        let mut told = out.lock().unwrap();
                        *told = (told.0 + 1, told.1.max(row.size));
                    });
                    rows.probe_with(&probe);
                }
                false => {
                    entities.distinct().probe_with(&probe);
                    edges.distinct().probe_with(&probe);
                }
            }
            (entities_in, edges_in)
        });
        let node = |kind, name: &str| Node::new(kind, name.as_bytes());
        let (mut come, mut go) = (Pairs::new(cards), Pairs::new(cards));
        let there = come.there();
        let mut now = 0;
        let mut tick = |coming: usize, going: usize| {
            let some = come.by_ref().take(coming).map(|pair| (pair, 1));
            let some: Vec<_> = some.chain(go.by_ref().take(going).map(|pair| (pair, -1))).collect();
            let some: Vec<_> =
                some.iter().map(|((card, device), diff)| (node(ENTITY, card), node(1, device), *diff)).collect();
            let start = Instant::now();
            for (card, device, diff) in some {
                entities.update(card.clone(), diff);
                edges.update((card, device), diff);
            }
            now += 1;
            let next = Tick::from_us(now);
            entities.advance_to(next);
            edges.advance_to(next);
            entities.flush();
            edges.flush();
            worker.step_while(|| probe.less_than(&next));
            start.elapsed()
        };
        tick(there, 0);
        *told.lock().unwrap() = (0, 0);
        let many = PAIRS_PER_SECOND / TICKS_PER_SECOND;
        let before = support::cpu_time(std::process::id()).unwrap();
        let took = (0..ticks).map(|_| tick(many, many)).collect();
        let cpu = support::cpu_time(std::process::id()).unwrap() - before;
        let (rows, largest) = *told.lock().unwrap();
        Ticks { took, cpu, rows, largest }
    })
}

/// `STREAM`: of the pairs. `WINDOW`: how long they are there.
const PAIRS: &str = r#"
[sources.tx]
event_time = "ts"
time_unit = "us"
schema = { ts = "timestamp", card = "string", device = "string" }
stream = STREAM
[features.used]
source = "tx"
key = ["card", "device"]
columns = { n = { agg = "count", window = "WINDOW" } }
"#;

const LINKS: &str = r#"
[links.ring]
from = "used"
entity = "card"
shared = "device"
"#;

fn pairs_of(stream: &str, cards: usize) -> String {
    let window = Pairs::new(cards).there() * 1000 / PAIRS_PER_SECOND;
    PAIRS.replace("STREAM", stream).replace("WINDOW", &format!("{window}ms"))
}

/// Half as many pairs again as are there at a time, read to the end.
fn to_the_end(cards: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut files = files(dir.path(), "tx");
    let pairs = Pairs::new(cards);
    let many = pairs.there() * 3 / 2;
    for (i, (card, device)) in pairs.take(many).enumerate() {
        let ts = END_US + i as i64 * SECOND_US / PAIRS_PER_SECOND as i64;
        writeln!(files[i % PARTITIONS], "{}", Pairs::write_line(ts, &card, &device)).unwrap();
    }
    drop(files);
    let text = pairs_of("{ type = \"jsonl\", path = \"tx/*.jsonl\" }", cards);
    let floor = write_job(dir.path(), "pairs", &text);
    let job = write_job(dir.path(), "links", &format!("{text}{LINKS}"));
    let (floors, runs, report) = side_by_side(&floor, &job);
    let changes = report.groups[0].counts.changes;
    support::tell("floor: the same without links", many, &floors, None);
    support::tell("with links", many, &runs, Some(median(&floors, |run| run.took)));
    println!(
        "links, by change of a pair's row             {:>8.2} us of CPU ({changes})",
        cpu_beyond(&floors, &runs, changes)
    );
}

/// When a probe was sent, by its card; and the device that it was paid with.
type Sent = Mutex<BTreeMap<String, (String, Instant)>>;

/// At the pace of the clock: the pairs of the last minutes are there already, and leave while others come.
fn live(brokers: &str, cards: usize) {
    let topic = kafka::topic(brokers, "links");
    let pairs = fill(brokers, &topic, cards);
    let dir = tempfile::tempdir().unwrap();
    let stream = format!("{{ type = \"kafka\", brokers = \"{brokers}\", topic = \"{topic}\", format = \"json\" }}");
    let job = write_job(dir.path(), "live", &format!("{}{LINKS}", pairs_of(&stream, cards)));
    let run = headwater::run(Job::from_file(job).unwrap(), Options { fresh: true, ..Options::default() }).unwrap();
    // What was there before is done with once its last card is linked.
    let is_linked = || run.get("ring", &[("card", LAST)]).is_ok_and(|rows| !rows.is_empty());
    while !is_linked() && !run.is_finished() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (sent, stop): (Sent, _) = (Mutex::default(), AtomicBool::new(false));
    let (of_group, of_links) = std::thread::scope(|scope| {
        scope.spawn(|| produce(brokers, &topic, pairs, &sent, &stop));
        look(&run, &sent, &stop)
    });
    run.stop();
    run.wait().unwrap();
    support::percentiles("floor: produced -> the pair's row readable", &of_group);
    support::percentiles("produced -> the card's links readable", &of_links);
}

/// The last card that is there at the beginning.
const LAST: &str = "last";

/// Produces what is to be there at the beginning. Returns what comes then.
fn fill(brokers: &str, topic: &str, cards: usize) -> Pairs {
    let producer = kafka::producer(brokers);
    let mut pairs = Pairs::new(cards);
    let (many, end) = (pairs.there(), kafka::now_us());
    for i in 0..many {
        let (card, device) = pairs.next().expect("there is always one more");
        let ts = end - (many - i) as i64 * SECOND_US / PAIRS_PER_SECOND as i64;
        kafka::send(&producer, topic, i as i32 % kafka::PARTITIONS, &Pairs::write_line(ts, &card, &device));
        if i % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    kafka::send(&producer, topic, 0, &Pairs::write_line(end, LAST, LAST));
    producer.flush(Duration::from_secs(60)).unwrap();
    pairs
}

/// Produces at a fixed rate; some are probes, cards that nobody has had, with a device that others share.
fn produce(brokers: &str, topic: &str, mut pairs: Pairs, sent: &Sent, stop: &AtomicBool) {
    let producer = kafka::producer(brokers);
    let start = Instant::now();
    let mut made = 0;
    while start.elapsed() < Duration::from_secs(WARM_SECONDS + SECONDS) {
        let due = (start.elapsed().as_secs_f64() * PAIRS_PER_SECOND as f64) as usize;
        while made < due {
            let (mut card, mut device) = pairs.next().expect("there is always one more");
            if made % PROBE_EVERY == 0 && start.elapsed() > Duration::from_secs(WARM_SECONDS) {
                (card, device) = (format!("probe-{made}"), pairs.shared_device());
                sent.lock().unwrap().insert(card.clone(), (device.clone(), Instant::now()));
            }
            let line = Pairs::write_line(kafka::now_us(), &card, &device);
            kafka::send(&producer, topic, made as i32 % kafka::PARTITIONS, &line);
            made += 1;
        }
        producer.poll(Duration::from_millis(1));
    }
    let flushed = producer.flush(Duration::from_secs(60));
    // Whoever looks would wait for ever.
    stop.store(true, Ordering::Relaxed);
    flushed.unwrap();
}

/// Looks for the rows of the probes, of the group and of links, until each is there. One that is not there half a minute after the last was sent
/// counts as having taken until then.
fn look(run: &Handle, sent: &Sent, stop: &AtomicBool) -> (Vec<Duration>, Vec<Duration>) {
    let (mut of_group, mut of_links) = (BTreeMap::new(), BTreeMap::new());
    let mut stopped: Option<Instant> = None;
    loop {
        let waiting: Vec<(String, (String, Instant))> =
            sent.lock().unwrap().iter().map(|(card, probe)| (card.clone(), probe.clone())).collect();
        if stop.load(Ordering::Relaxed) {
            stopped = stopped.or(Some(Instant::now()));
        }
        let given_up = stopped.is_some_and(|at| at.elapsed() > Duration::from_secs(30));
        if stopped.is_some() && waiting.is_empty() {
            return (of_group.into_values().collect(), of_links.into_values().collect());
        }
        for (card, (device, at)) in waiting {
            let there = |rows: &str, key: &[(&str, &str)]| given_up || !run.get(rows, key).unwrap().is_empty();
            if !of_group.contains_key(&card) && there("used", &[("card", &card), ("device", &device)]) {
                of_group.insert(card.clone(), at.elapsed());
            }
            if !of_links.contains_key(&card) && there("ring", &[("card", &card)]) {
                of_links.insert(card.clone(), at.elapsed());
            }
            if of_group.contains_key(&card) && of_links.contains_key(&card) {
                sent.lock().unwrap().remove(&card);
            }
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}
