//! What collections cost, each beside its floor.
//!
//! - Lookups: 5M events meet a table of 100k keys as it was at their times, and a tenth of 500k versions comes up to ten minutes late, on 2
//!   workers. Floors: the same job without the lookup; and a bare loop that decodes the same lines and searches sorted versions.
//! - A view: a join of two groups of 100k keys, whose rows change with each of 1M events, on 2 workers; CPU beyond that of the same job without
//!   the view, by change of a row. Floor: two hash maps.
//! - Links: 100k cards, 10 changes a tick (1,000 changes a second where a tick is 10 ms), on 1 worker. Floor: a walk through what is touched, over
//!   hash maps.

mod support;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use differential_dataflow::input::Input;
use headwater_operators::relational::links::{By, ENTITY, Node, links};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{END_US, Run};
use timely::dataflow::operators::probe::Handle;

const KEYS: u32 = 100_000;
/// From the first event to the last.
const SPAN_US: i64 = 3_600_000_000;
const FILES: usize = 4;

fn main() {
    // One of them, where its name is given.
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, bench) in [("lookup", lookup as fn()), ("view", view), ("links", of_links)] {
        if named.is_empty() || named.iter().any(|one| one == name) {
            bench();
        }
    }
}

/// The lines of events, parted among files in the order of time: of so many, the time of one and what else it says.
fn write_events(dir: &Path, events: usize, mut more: impl FnMut(&mut StdRng) -> String) {
    let mut rng = StdRng::seed_from_u64(42);
    let mut files = vec![String::new(); FILES];
    for i in 0..events {
        let (ts, more) = (END_US + time_of(i, events), more(&mut rng));
        writeln!(files[i % FILES], r#"{{"ts":{ts},{more}}}"#).unwrap();
    }
    write_files(&dir.join("events"), &files);
}

fn time_of(i: usize, many: usize) -> i64 {
    (i as i128 * i128::from(SPAN_US) / many as i128) as i64
}

fn write_files(dir: &Path, files: &[String]) {
    std::fs::create_dir_all(dir).unwrap();
    for (p, text) in files.iter().enumerate() {
        std::fs::write(dir.join(format!("{p}.jsonl")), text).unwrap();
    }
}

fn run(job: &Path) -> Run {
    let args = ["run", "--until-end", "--fresh", "--workers", "2"];
    support::watched(Command::new(env!("CARGO_BIN_EXE_headwater")).args(args).arg(job))
}

/// The median by what each took.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by_key(|run| run.took);
    let middle = runs.len() / 2;
    runs.swap_remove(middle)
}

fn memory(name: &str, peak: usize) {
    println!("{name:<44} {:>8.0} MiB", peak as f64 / f64::from(1 << 20));
}

// --- lookups -----------------------------------------------------------------------------------------------------------------

const LOOKUP: &str = r#"
name = "lookup"
[sources.tx]
event_time = "ts"
time_unit = "us"
schema = { ts = "timestamp", card_id = "string", merchant = "string", amount = "float64" }
stream = { type = "jsonl", path = "events/*.jsonl" }
TABLE
[features.card]
source = "tx"
LOOKUP
key = "card_id"
columns = { n = { agg = "count", window = "1h" }, spend = { agg = "sum", of = "OF", window = "1h" } }
"#;

const TABLE: &str = r#"
[tables.merchants]
key = "merchant"
event_time = "from"
arrival_time = "a"
time_unit = "us"
lateness = "10m"
schema = { merchant = "string", from = "timestamp", a = "timestamp", rate = "float64" }
stream = { type = "jsonl", path = "versions/*.jsonl" }
"#;

fn lookup() {
    let (events, versions) = (support::scale(5_000_000), support::scale(500_000));
    let dir = tempfile::tempdir().unwrap();
    write_events(dir.path(), events, |rng| {
        let (card, merchant) = (support::card(rng, KEYS), rng.random_range(0..KEYS));
        format!(r#""card_id":"card-{card:06}","merchant":"m-{merchant:05}","amount":{}"#, support::amount(rng))
    });
    let late = write_versions(dir.path(), versions);
    let job = |name: &str, table: &str, lookup: &str, of: &str| {
        let text = LOOKUP.replace("TABLE", table).replace("LOOKUP", lookup).replace("OF", of);
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let without = job("without.toml", "", "", "amount * 1.5");
    let with = job("with.toml", TABLE, "lookup.m = { table = \"merchants\", on = \"merchant\" }", "amount * m.rate");
    println!(
        "collections, lookups: {events} events, a table of {KEYS} keys, {versions} versions more of which {late} late"
    );
    let (mut bares, mut floors, mut runs) = (vec![], vec![], vec![]);
    for _ in 0..support::rounds() {
        bares.push(support::timed(|| assert_eq!(bare_lookup(dir.path()), events)).1);
        floors.push(run(&without));
        runs.push(run(&with));
    }
    let (bare, floor, found) = (support::median(bares), median(floors), median(runs));
    support::line("floor: decode and search, 2 threads", events, bare, None);
    support::line("floor: the job without the lookup", events, floor.took, Some(bare));
    support::line("run with the lookup", events, found.took, Some(floor.took));
    println!(
        "{:<44} {:>8.2} (aim: 0.5)",
        "of the events/s without it",
        floor.took.as_secs_f64() / found.took.as_secs_f64()
    );
    memory("memory without the lookup", floor.peak);
    memory("memory with it", found.peak);
}

/// One of each key at first, and then some, of which a tenth is late. Returns how many are.
fn write_versions(dir: &Path, versions: usize) -> usize {
    let mut rng = StdRng::seed_from_u64(43);
    let (mut files, mut late) = (vec![String::new(); 2], 0);
    for i in 0..KEYS as usize + versions {
        let (key, a) = match i.checked_sub(KEYS as usize) {
            None => (i as u32, END_US),
            Some(i) => (rng.random_range(0..KEYS), END_US + time_of(i, versions)),
        };
        let by = if a > END_US && rng.random_bool(0.1) { rng.random_range(1..600_000_000) } else { 0 };
        late += usize::from(by > 0);
        let (from, rate) = (a - by, rng.random_range(1..1000));
        writeln!(files[key as usize % 2], r#"{{"merchant":"m-{key:05}","from":{from},"a":{a},"rate":{rate}.5}}"#)
            .unwrap();
    }
    write_files(&dir.join("versions"), &files);
    late
}

#[derive(serde::Deserialize)]
struct Payment<'a> {
    ts: i64,
    card_id: &'a str,
    merchant: &'a str,
    amount: f64,
}

#[derive(serde::Deserialize)]
struct Version {
    merchant: String,
    from: i64,
    rate: f64,
}

/// All versions, and then all events: what each of them meets, added up by card.
fn bare_lookup(dir: &Path) -> usize {
    let mut versions: HashMap<String, Vec<(i64, f64)>> = HashMap::new();
    for file in lines_of(&dir.join("versions")) {
        for version in file.lines().map(|line| serde_json::from_str::<Version>(line).unwrap()) {
            versions.entry(version.merchant).or_default().push((version.from, version.rate));
        }
    }
    versions.values_mut().for_each(|all| all.sort_by_key(|(from, _)| *from));
    let (versions, files) = (&versions, lines_of(&dir.join("events")));
    std::thread::scope(|scope| {
        let halves = files.chunks(FILES / 2).map(|files| {
            scope.spawn(move || {
                let (mut cards, mut events) = (HashMap::<String, f64>::new(), 0);
                for line in files.iter().flat_map(|file| file.lines()) {
                    let payment: Payment = serde_json::from_str(line).unwrap();
                    let of_key = &versions[payment.merchant];
                    let at = of_key.partition_point(|(from, _)| *from <= payment.ts);
                    let rate = at.checked_sub(1).map_or(f64::NAN, |at| of_key[at].1);
                    *cards.entry(payment.card_id.to_owned()).or_default() += payment.amount * rate;
                    events += 1;
                }
                assert!(!cards.is_empty());
                events
            })
        });
        halves.collect::<Vec<_>>().into_iter().map(|half| half.join().unwrap()).sum()
    })
}

fn lines_of(dir: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

// --- a view ------------------------------------------------------------------------------------------------------------------

const VIEW: &str = r#"
name = "view"
[sources.tx]
event_time = "ts"
time_unit = "us"
schema = { ts = "timestamp", card_id = "string", amount = "float64" }
stream = { type = "jsonl", path = "events/*.jsonl" }
[features.card]
source = "tx"
key = "card_id"
columns = { n = { agg = "count", window = "all" }, spend = { agg = "sum", of = "amount", window = "all" } }
[features.large]
source = "tx"
key = "card_id"
where = "amount > 0"
columns = { n = { agg = "count", window = "all" }, top = { agg = "max", of = "amount", window = "all" } }
"#;

const JOIN: &str = r#"
[views.both]
key = "card_id"
sql = "SELECT c.card_id, c.n_all AS n, c.spend_all AS spend, l.top_all AS top FROM card AS c JOIN large AS l ON c.card_id = l.card_id"
"#;

fn view() {
    let events = support::scale(1_000_000);
    let dir = tempfile::tempdir().unwrap();
    // A card hardly ever has two events at one tick.
    write_events(dir.path(), events, |rng| {
        format!(r#""card_id":"card-{:06}","amount":{}"#, rng.random_range(0..KEYS), support::amount(rng))
    });
    let job = |name: &str, view: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("{VIEW}{view}")).unwrap();
        path
    };
    let (without, with) = (job("without.toml", ""), job("with.toml", JOIN));
    println!("collections, a view: a join of two groups of {KEYS} keys, {events} changes of a row");
    let (mut bares, mut floors, mut runs) = (vec![], vec![], vec![]);
    for _ in 0..support::rounds() {
        bares.push(support::timed(|| bare_join(events)).1);
        floors.push(run(&without));
        runs.push(run(&with));
    }
    // The machine's other work lengthens a run more than it does its CPU.
    let by_cpu = |mut runs: Vec<Run>| {
        runs.sort_by_key(|run| run.cpu);
        let middle = runs.len() / 2;
        runs.swap_remove(middle)
    };
    let (bare, floor, found) = (support::median(bares), by_cpu(floors), by_cpu(runs));
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / events as f64;
    println!("floor: two hash maps                         {:>8.2} us of CPU a change", each(bare));
    println!("floor: the job without the view              {:>8.2} us of CPU an event", each(floor.cpu));
    println!("run with the view                            {:>8.2} us of CPU an event", each(found.cpu));
    let view = found.cpu.saturating_sub(floor.cpu);
    println!("the view                                     {:>8.2} us of CPU a change (aim: 10)", each(view));
    memory("memory without the view", floor.peak);
    memory("memory with it", found.peak);
}

/// A row of each side by key, of which one changes and is put beside the other.
fn bare_join(changes: usize) {
    let mut rng = StdRng::seed_from_u64(42);
    let name = |key: u32| format!("card-{key:06}").into_bytes();
    let (mut left, mut right) = (HashMap::<Vec<u8>, (i64, f64)>::new(), HashMap::<Vec<u8>, (i64, f64)>::new());
    let mut told = 0;
    for _ in 0..changes {
        let (key, amount) = (name(rng.random_range(0..KEYS)), support::amount(&mut rng));
        let of_right = right.entry(key.clone()).or_default();
        *of_right = (of_right.0 + 1, of_right.1.max(amount));
        let beside = *of_right;
        let of_left = left.entry(key.clone()).or_default();
        *of_left = (of_left.0 + 1, of_left.1 + amount);
        let mut row = key;
        row.extend(of_left.0.to_be_bytes());
        row.extend(of_left.1.to_be_bytes());
        row.extend(beside.1.to_be_bytes());
        told += row.len();
    }
    assert!(std::hint::black_box(told) > 0);
}

// --- links -------------------------------------------------------------------------------------------------------------------

/// Changes of a tick.
const CHANGES: usize = 10;
const MAX_DEGREE: u64 = 100;

fn of_links() {
    let ticks = support::scale(3_000);
    println!("collections, links: {KEYS} cards, {CHANGES} changes a tick, {ticks} ticks");
    let before = support::resident();
    let (mut took, loaded) = (ticks_of_links(ticks), support::resident());
    let mut bare = ticks_of_bare(ticks);
    let line = |name: &str, all: &mut Vec<Duration>| {
        all.sort();
        let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        println!("{name:<44} p50 {:>7.3} ms   p99 {:>7.3} ms   most {:>7.3} ms", at(0.5), at(0.99), at(1.0));
    };
    line("floor: a walk over hash maps", &mut bare);
    line("links (aim: p99 under 5 ms)", &mut took);
    memory("memory of links", loaded.saturating_sub(before));
}

/// What links cards at first: two have a device, and two of five devices are also had by a card of the next one.
fn first_edges(rng: &mut StdRng) -> BTreeSet<(u32, u32)> {
    let own = (0..KEYS).map(|card| (card, card / 2));
    let next = (0..KEYS).filter(|card| card % 2 == 0).filter(|_| rng.random_bool(0.4));
    own.chain(next.map(|card| (card, card / 2 + 1)).collect::<Vec<_>>()).collect()
}

/// Changes of a tick: a card is seen with a device near its own, or no longer.
fn change(there: &mut BTreeSet<(u32, u32)>, rng: &mut StdRng) -> Vec<((u32, u32), isize)> {
    let changes = (0..CHANGES).map(|_| {
        let card = rng.random_range(0..KEYS);
        let edge = (card, card / 2 + u32::from(rng.random_bool(0.3)));
        if there.remove(&edge) {
            (edge, -1)
        } else {
            there.insert(edge);
            (edge, 1)
        }
    });
    changes.collect()
}

fn ticks_of_links(ticks: usize) -> Vec<Duration> {
    timely::execute_directly(move |worker| {
        let probe = Handle::new();
        let (mut cards_in, mut edges_in) = worker.dataflow(|scope| {
            let (cards_in, cards) = scope.new_collection();
            let (edges_in, edges) = scope.new_collection();
            let links = links(cards, edges, By::Things, MAX_DEGREE);
            links.rows.probe_with(&probe);
            links.crowded.probe_with(&probe);
            (cards_in, edges_in)
        });
        let card = |card: u32| Node::new(ENTITY, format!("card-{card:06}").as_bytes());
        let device = |device: u32| Node::new(1, format!("device-{device:06}").as_bytes());
        let mut rng = StdRng::seed_from_u64(44);
        let mut there = first_edges(&mut rng);
        (0..KEYS).for_each(|of| cards_in.insert(card(of)));
        there.iter().for_each(|(of, with)| edges_in.insert((card(*of), device(*with))));
        let mut took = vec![];
        for tick in 0..=ticks as i64 {
            let changes = if tick > 0 { change(&mut there, &mut rng) } else { vec![] };
            let begun = Instant::now();
            for ((of, with), diff) in changes {
                edges_in.update((card(of), device(with)), diff);
            }
            cards_in.advance_to(tick + 1);
            edges_in.advance_to(tick + 1);
            cards_in.flush();
            edges_in.flush();
            worker.step_while(|| probe.less_than(&(tick + 1)));
            if tick > 0 {
                took.push(begun.elapsed());
            }
        }
        took
    })
}

/// The same by a walk from what changes through all that hangs together with it.
fn ticks_of_bare(ticks: usize) -> Vec<Duration> {
    let mut rng = StdRng::seed_from_u64(44);
    let mut there = first_edges(&mut rng);
    let (mut devices, mut cards) = (HashMap::<u32, HashSet<u32>>::new(), HashMap::<u32, HashSet<u32>>::new());
    for (card, device) in &there {
        devices.entry(*card).or_default().insert(*device);
        cards.entry(*device).or_default().insert(*card);
    }
    let mut components: HashMap<u32, u32> = HashMap::new();
    (0..ticks)
        .map(|_| {
            let changes = change(&mut there, &mut rng);
            let begun = Instant::now();
            let mut touched = HashSet::new();
            for ((card, device), diff) in changes {
                // Whom it ties together, or parts.
                touched.insert(card);
                touched.extend(cards.get(&device).into_iter().flatten());
                let (of_card, of_device) = (devices.entry(card).or_default(), cards.entry(device).or_default());
                match diff {
                    1 => _ = (of_card.insert(device), of_device.insert(card)),
                    _ => _ = (of_card.remove(&device), of_device.remove(&card)),
                }
            }
            let mut seen = HashSet::new();
            for from in touched {
                let (mut members, mut next) = (vec![], vec![from]);
                while let Some(card) = next.pop() {
                    if !seen.insert(card) {
                        continue;
                    }
                    members.push(card);
                    let shared = devices[&card].iter().filter(|device| cards[*device].len() as u64 <= MAX_DEGREE);
                    next.extend(shared.flat_map(|device| &cards[device]).filter(|card| !seen.contains(*card)));
                }
                let Some(component) = members.iter().min().copied() else { continue };
                components.extend(members.into_iter().map(|card| (card, component)));
            }
            begun.elapsed()
        })
        .collect()
}
