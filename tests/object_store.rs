//! A state in an object store: killed and restarted anywhere, by one job at a time, and what it does when the store is away.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::*;

const JOB: &str = r#"
name = "NAME"
tick = "10ms"
[sources.tx]
event_time = "ts"
time_unit = "us"
lateness = "30s"
schema = { ts = "timestamp", k = "string", x = "float64", m = "string" }
history = { type = "jsonl", path = "DATA/history.jsonl", complete_until = 2026-01-05T00:01:00Z }
stream = { type = "jsonl", path = "DATA/stream/*.jsonl" }
[features.trailing]
source = "tx"
key = "k"
[features.trailing.columns]
n = { agg = "count", windows = ["1m", "all"] }
s = { agg = "sum", of = "x", windows = ["1m", "10m"] }
d = { agg = "count_distinct", of = "m", window = "10m" }
[features.session]
source = "tx"
key = "k"
window = { session = "5s" }
columns = { n = { agg = "count" }, l = { agg = "last", of = "x" } }
SINK
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[dead_letters]
path = "dead_letters.jsonl"
[state]
path = "STATE"
checkpoint_every = "EVERY"
"#;

const EMBEDDED: &str = "[sinks.online]\ntype = \"embedded\"\npath = \"rows\"";
const GROUPS: [&str; 2] = ["trailing", "session"];

fn event(ts: i64, k: u64, x: f64, m: u64) -> String {
    format!("{{\"ts\":{ts},\"k\":\"c{k}\",\"x\":{x},\"m\":\"m{m}\"}}\n")
}

/// A minute of history, and four of a stream of two partitions; some lines are no records.
fn write_data(dir: &Path) {
    let mut texts = [String::new(), String::new(), String::new()];
    for n in 0..30_000_u64 {
        let ts = START + n as i64 * 10_000;
        let to = if ts < START + MINUTE { 0 } else { 1 + (n % 2) as usize };
        texts[to] += &event(ts, n * 7919 % 101, (n * 104_729 % 10_007) as f64 / 8.0, n * 31 % 7);
        if n % 5_000 == 4_999 {
            writeln!(texts[to], "no record").unwrap();
        }
    }
    std::fs::create_dir_all(dir.join("stream")).unwrap();
    std::fs::write(dir.join("history.jsonl"), &texts[0]).unwrap();
    std::fs::write(dir.join("stream/0.jsonl"), &texts[1]).unwrap();
    std::fs::write(dir.join("stream/1.jsonl"), &texts[2]).unwrap();
}

/// A job on some host: its file and its local files in a directory, over data that are elsewhere.
struct Host {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Host {
    fn new(s3: &S3, text: &str) -> Host {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("job.toml"), text).unwrap();
        Host { dir, env: s3.env().to_vec() }
    }

    fn job(&self) -> String {
        self.dir.path().join("job.toml").to_str().unwrap().to_owned()
    }

    fn run(&self, more: &[&str]) -> Running {
        let job = self.job();
        run_with(&[&["run", job.as_str()], more].concat(), &self.env)
    }

    fn export(&self, group: &str) -> String {
        finish(run_with(&["export", &self.job(), group], &self.env), 0).stdout
    }

    /// All that a finished run has put out; dead letters are in no promised order.
    fn output(&self) -> Vec<String> {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).unwrap();
        let mut all: Vec<String> = GROUPS.into_iter().map(|group| self.export(group)).collect();
        all.push(read("changes.jsonl"));
        let dead_letters = read("dead_letters.jsonl");
        let mut dead_letters: Vec<&str> = dead_letters.lines().collect();
        dead_letters.sort_unstable();
        all.push(dead_letters.join("\n"));
        all
    }
}

/// A state of a test's own in the store.
struct State<'a> {
    s3: &'a S3,
    name: String,
}

impl State<'_> {
    fn new<'a>(s3: &'a S3, test: &str) -> State<'a> {
        State { s3, name: format!("{test}_{:x}", now_us()) }
    }

    /// The text of a job over `data`.
    fn job(&self, data: &Path, sink: &str, every: &str) -> String {
        JOB.replace("NAME", &self.name)
            .replace("DATA", data.to_str().unwrap())
            .replace("STATE", &format!("s3://headwater/states/{}/", self.name))
            .replace("SINK", sink)
            .replace("EVERY", every)
    }

    fn names(&self) -> Vec<String> {
        let prefix = format!("states/{}/", self.name);
        self.s3.list(&prefix).into_iter().map(|key| key[prefix.len()..].to_owned()).collect()
    }

    fn key(&self, name: &str) -> String {
        format!("states/{}/{name}", self.name)
    }

    /// The numbers of the checkpoints that are whole.
    fn checkpoints(&self) -> Vec<u64> {
        let number = |name: &String| name.strip_prefix("checkpoints/")?.strip_suffix("/manifest.json")?.parse().ok();
        let mut numbers: Vec<u64> = self.names().iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The newest one that is more than a plan: it has parts.
    fn newest(&self) -> u64 {
        let names = self.names();
        let has_parts = |n: &&u64| {
            let dir = format!("checkpoints/{n}/");
            names.iter().any(|name| name.starts_with(&dir) && name.ends_with(".parquet"))
        };
        self.checkpoints().iter().rev().find(has_parts).copied().unwrap_or(0)
    }

    /// Waits until there is a checkpoint past a number.
    fn past(&self, number: u64) -> u64 {
        until("a checkpoint", || Some(self.newest()).filter(|newest| *newest > number))
    }
}

/// What a run with a local state puts out that nobody kills.
fn expected(s3: &S3, state: &State, data: &Path) -> Vec<String> {
    let url = format!("s3://headwater/states/{}/", state.name);
    let host = Host::new(s3, &state.job(data, EMBEDDED, "1h").replace(&url, "state"));
    finish(host.run(&["--until-end", "--workers", "2"]), 0);
    host.output()
}

fn assert_same(found: &[String], expected: &[String]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let parts = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
        assert!(found == expected, "output {i}: {} and {} bytes, {parts:?}", found.len(), expected.len());
    }
}

fn kill_after(running: Running, state: &State, number: u64) {
    state.past(number);
    running.kill();
}

#[test]
fn killed_and_restarted() {
    let s3 = need!(S3::shared());
    let data = tempfile::tempdir().unwrap();
    write_data(data.path());
    let state = State::new(&s3, "killed");
    let expected = expected(&s3, &state, data.path());
    let host = Host::new(&s3, &state.job(data.path(), EMBEDDED, "1ms"));
    for workers in ["2", "1", "3"] {
        kill_after(host.run(&["--until-end", "--workers", workers]), &state, state.newest());
    }
    let finished = finish(host.run(&["--until-end", "--workers", "2"]), 0);
    assert!(finished.stderr.contains("going on from a checkpoint"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("not-to-be-shown"), "{}", finished.stderr);
    assert_same(&host.output(), &expected);

    // The last few are kept, and nothing of what never became a checkpoint.
    let kept = state.checkpoints();
    assert_eq!(kept.len(), 3, "{kept:?}");
    for name in state.names().iter().filter_map(|name| name.strip_prefix("checkpoints/")) {
        let number: u64 = name.split('/').next().unwrap().parse().unwrap();
        assert!(kept.contains(&number), "{name} is left over");
    }
    let staging = host.dir.path().join(format!(".headwater/{}/staging", state.name));
    let left = || walk(&staging).into_iter().filter(|path| path.is_file()).collect::<Vec<_>>();
    assert_eq!(left(), Vec::<PathBuf>::new());

    // At its end it goes on from there.
    finish(host.run(&["--until-end"]), 0);
    assert_same(&host.output(), &expected);
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| [walk(&path), vec![path]].concat()).collect()
}

#[test]
fn a_damaged_object_is_passed_over() {
    let s3 = need!(S3::shared());
    let data = tempfile::tempdir().unwrap();
    write_data(data.path());
    let state = State::new(&s3, "damaged");
    let expected = expected(&s3, &state, data.path());
    let host = Host::new(&s3, &state.job(data.path(), EMBEDDED, "1ms"));
    kill_after(host.run(&["--until-end", "--workers", "2"]), &state, 0);
    finish(host.run(&["--until-end", "--workers", "2"]), 0);
    finish(host.run(&["--until-end"]), 0);
    let newest = state.newest();
    let prefix = format!("checkpoints/{newest}/");
    let part = state.names().into_iter().find(|name| name.starts_with(&prefix) && name.contains("-units"));
    let key = state.key(&part.expect("a checkpoint has parts"));
    let mut bytes = s3.get(&key);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    s3.put(&key, &bytes);
    let finished = finish(host.run(&["--until-end"]), 0);
    assert!(finished.stderr.contains(&format!("checkpoint {newest} is damaged")), "{}", finished.stderr);
    // From a tick or within the history: how far the one before had come is a matter of speed.
    assert!(finished.stderr.contains("going on "), "{}", finished.stderr);
    assert!(!state.checkpoints().contains(&newest), "it is none any more");
    assert_same(&host.output(), &expected);
}

/// The processes see the state, and nothing of each other's disks.
#[test]
fn processes_with_disks_of_their_own() {
    let s3 = need!(S3::shared());
    let data = tempfile::tempdir().unwrap();
    write_data(data.path());
    let state = State::new(&s3, "cluster");
    let expected = expected(&s3, &state, data.path());
    let text = state.job(data.path(), EMBEDDED, "1ms");
    let mut hosts = [Host::new(&s3, &text), Host::new(&s3, &text)];
    let list = data.path().join("hosts.txt");
    for host in &mut hosts {
        host.env.push(("HEADWATER_SECRET", "s3cret".into()));
    }
    let start = |workers: &str| {
        std::fs::write(&list, format!("127.0.0.1:{}\n127.0.0.1:{}\n", free_port(), free_port())).unwrap();
        let of = |process: &str| {
            let cluster = ["--processes", "2", "--process", process, "--hosts", list.to_str().unwrap()];
            hosts[usize::from(process == "1")].run(&[&["--until-end", "--workers", workers], &cluster[..]].concat())
        };
        [of("0"), of("1")]
    };
    let [first, second] = start("1");
    state.past(0);
    first.kill();
    second.kill();
    for running in start("2") {
        finish(running, 0);
    }
    assert_same(&hosts[0].output(), &expected);
}

#[test]
fn a_second_start_is_refused() {
    let s3 = need!(S3::shared());
    let data = tempfile::tempdir().unwrap();
    write_data(data.path());
    let state = State::new(&s3, "second");
    let text = state.job(data.path(), EMBEDDED, "100ms");
    let (here, there) = (Host::new(&s3, &text), Host::new(&s3, &text));
    let mut first = here.run(&[]);
    let number = state.past(0);
    let refused = finish(there.run(&[]), 1).stderr;
    for part in [format!("another run holds s3://headwater/states/{}", state.name), ", pid ".into()] {
        assert!(refused.contains(&part), "{refused}");
    }
    assert!(first.is_running());
    state.past(number);
    // What has ended has released it.
    first.terminate();
    let begun = std::time::Instant::now();
    let second = there.run(&["--fresh"]);
    until("a start elsewhere", || second.log().contains("seam").then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(25), "it need not wait for the lease to run out");
    second.terminate();
}

fn append(data: &Path, ts: i64, k: u64) {
    use std::io::Write;
    for file in ["stream/0.jsonl", "stream/1.jsonl"] {
        let mut file = std::fs::OpenOptions::new().append(true).open(data.join(file)).unwrap();
        file.write_all(event(ts, k, 1.0, 1).as_bytes()).unwrap();
    }
}

/// A job that sleeps past its lease while another takes over writes neither state nor rows when it wakes up.
#[test]
fn one_that_slept_writes_nothing_more() {
    let case = need!(Case::new("one_that_slept_writes_nothing_more"));
    let s3 = need!(S3::shared());
    let data = tempfile::tempdir().unwrap();
    write_data(data.path());
    let state = State::new(&s3, "slept");
    let sink = format!("[sinks.online]\ntype = \"redis\"\nurl = {:?}", case.redis);
    let text = state.job(data.path(), &sink, "100ms");
    let (here, there) = (Host::new(&s3, &text), Host::new(&s3, &text));
    let sleeper = here.run(&[]);
    let slept_at = state.past(0);
    sleeper.signal("STOP");
    let second = there.run(&["--fresh"]);
    let taken_over = until("the second start takes over", || {
        let newest = state.newest();
        (newest / 1_000_000_000 > slept_at / 1_000_000_000).then_some(newest)
    });
    // Something new for both.
    append(data.path(), now_us(), 4242);
    sleeper.signal("CONT");
    let ended = finish(sleeper, 1).stderr;
    let told = ["has taken over", "has taken s3://"].iter().any(|part| ended.contains(part));
    assert!(told, "{ended}");
    let number = state.past(taken_over);
    assert!(state.checkpoints().iter().all(|n| n / 1_000_000_000 == number / 1_000_000_000), "only the second's count");
    let mut connection = connect(&case.redis);
    until("the new event is counted by the one that runs", || {
        let rows = snapshot(&mut connection, &state.name, "trailing").hashes;
        rows.get("c4242").filter(|row| row.get("n_all").is_some_and(|n| n == "2")).map(drop)
    });
    second.terminate();
}

/// While the store is away the job goes on, and later its checkpoints do.
#[test]
fn the_store_is_away_for_a_while() {
    let own = need!(OwnS3::start());
    let data = tempfile::tempdir().unwrap();
    write_data(data.path());
    let state = State::new(&own.s3, "away");
    let host = Host::new(&own.s3, &state.job(data.path(), EMBEDDED, "100ms"));
    let running = host.run(&[]);
    let count = |k: &str| {
        let rows = json_lines(&host.export("trailing"));
        let row = rows.iter().find(|row| row["key"]["k"] == *k).cloned();
        row.map_or(0, |row| row["row"]["n_all"].as_i64().unwrap())
    };
    state.past(0);
    own.signal("KILL");
    // Many checkpoints are due meanwhile.
    let cards = 770..790;
    for card in cards.clone() {
        append(data.path(), now_us(), card);
        until("rows while the store is away", || (count(&format!("c{card}")) == 2).then_some(()));
    }
    own.start_again();
    let newest = state.newest();
    state.past(newest);
    running.terminate();
    let finished = finish(host.run(&["--until-end"]), 0);
    assert!(finished.stderr.contains("going on from a checkpoint"), "{}", finished.stderr);
    cards.for_each(|card| assert_eq!(count(&format!("c{card}")), 2));
}
