//! A job that was changed and follows its topic: rows go on without what is new, which a shadow computes and which enters at one
//! tick.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::*;

const OLD: [(&str, Option<i64>); 1] = [("1h", Some(HOUR))];
const ALL: [(&str, Option<i64>); 3] = [("3s", Some(3 * SECOND)), ("1h", Some(HOUR)), ("all", None)];

/// Cards that are `c7` are dead letters of a new column alone; and two groups are new.
const NEW: &str = r#"
odd = { agg = "sum", of = "100 / (CAST(substr(card, 2) AS BIGINT) - 7)", window = "1h" }
[features.states]
source = "events"
key    = "status"
columns = { n = { agg = "count", window = "all" } }
[features.minutes]
source = "events"
key    = "card"
window = { tumbling = "1m" }
retain = "1d"
columns = { n = { agg = "count" } }
"#;

/// A group that becomes another one.
const MINUTES: &str = r#"
[features.minutes]
source = "events"
key    = "card"
window = { tumbling = "2m" }
retain = "1d"
columns = { n = { agg = "count" } }
"#;

/// A job over a topic that gets events, before and after it was changed.
struct Changing {
    case: Case,
    topic: Topic,
    random: Random,
    log: Log,
    path: PathBuf,
    seam: &'static str,
    sinks: String,
    state: String,
    env: Vec<(&'static str, String)>,
}

impl Changing {
    /// `held`: the share of the events that the history has, in percent.
    fn new(name: &str, events: usize, held: usize, seed: u64) -> Option<Changing> {
        let case = Case::new(name)?;
        let mut random = Random(seed);
        let now = now_us() / 1000 * 1000;
        let events = random.events(events, 40, now - HOUR, now - MINUTE);
        let log = random.part(&events, 3, &[]);
        let topic = Topic::new(&case.kafka, &case.name, 3);
        topic.fill(&log);
        let path = case.path("job.toml");
        let state = "\n[state]\ncheckpoint_every = \"100ms\"\n".to_owned();
        let (seam, sinks) = (BY_OFFSET, ALL_SINKS.to_owned());
        let changing = Changing { case, topic, random, log, path, seam, sinks, state, env: vec![] };
        changing.write_history(held);
        changing.write_job(&OLD, MINUTES);
        Some(changing)
    }

    /// The history has a share of what is in the topic, in percent.
    fn write_history(&self, held: usize) {
        let cuts: Vec<usize> = self.log.iter().map(|events| events.len() * held / 100).collect();
        write_parquet(&self.case.path("history/a.parquet"), &history_of(&self.log, &cuts));
    }

    fn write_job(&self, windows: &[(&str, Option<i64>)], new: &str) {
        let source = "lateness = \"2h\"\n".to_owned() + HISTORY;
        let rest = self.sinks.clone() + &cards(windows) + new + &self.state;
        self.case.job("job.toml", &job(&source, self.seam, &rest));
    }

    /// The history has what had arrived up to some moment, and nothing tells which records those are but their arrival.
    fn by_time(&mut self, held: usize) {
        self.seam = "by = \"time\"";
        let mut arrivals: Vec<i64> = self.log.iter().flatten().map(|event| event.arrived).collect();
        arrivals.sort_unstable();
        let until = arrivals[arrivals.len() * held / 100];
        let cut = |events: &Vec<Event>| events.partition_point(|event| event.arrived <= until);
        let cuts: Vec<usize> = self.log.iter().map(cut).collect();
        write_parquet(&self.case.path("history/a.parquet"), &history_of(&self.log, &cuts));
        self.write_job(&OLD, MINUTES);
    }

    /// The state goes to an object store, dead letters to a topic.
    fn elsewhere(&mut self, s3: &S3) {
        let (name, brokers) = (&self.case.name, &self.case.kafka);
        Topic::new(brokers, &format!("{name}_letters"), 2);
        self.sinks = ALL_SINKS.replace("\"embedded\"", "\"embedded\"\npath = \"rows\"");
        self.state = format!(
            "[dead_letters]\ntype = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{name}_letters\"\n\
             [state]\npath = \"s3://headwater/states/{name}\"\ncheckpoint_every = \"100ms\"\n"
        );
        self.env = s3.env().to_vec();
        self.write_job(&OLD, MINUTES);
    }

    fn run(&self, workers: &str) -> Running {
        run_with(&["run", self.path.to_str().unwrap(), "--workers", workers], &self.env)
    }

    fn produce(&mut self, n: usize) {
        for _ in 0..n {
            let p = self.random.below(3) as usize;
            let arrived = now_us() / 1000 * 1000;
            let late = if self.random.below(4) == 0 { self.random.below(2000) as i64 * 1000 } else { 0 };
            let event = Event {
                card: format!("c{}", self.random.below(40)),
                amount: Some(self.random.below(400) as f64 / 4.0),
                ok: self.random.below(8) > 0,
                ts: arrived - late,
                arrived,
            };
            self.send(p, event);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.topic.flush();
    }

    fn send(&mut self, partition: usize, event: Event) {
        self.topic.send_event(partition, &event);
        self.log[partition].push(event);
    }

    fn visible(&self) -> Vec<Visible> {
        visible(&self.log, i64::MIN, TICK)
    }

    fn stored(&self) -> Snapshot {
        snapshot(&mut connect(&self.case.redis), &self.case.name, "cards")
    }

    /// Waits until the store has come past `t`, and is as the model says with these windows and no other field.
    fn come_past(&self, t: i64, windows: &[(&str, Option<i64>)]) -> i64 {
        let events = self.visible();
        until("rows as of then", || {
            let mut stored = self.stored();
            let as_of = stored.as_of.filter(|as_of| *as_of > t)?;
            if windows.len() > 1 {
                stored.hashes.values_mut().for_each(|hash| drop(hash.remove("odd")));
            }
            let now = rows(&events, windows, as_of);
            let found = stored.rows(&now);
            let newer = |key: &String| stored.changed_at(key).max(as_of);
            let row = |key: &String| Some((key.clone(), rows(&events, windows, newer(key)).remove(key)?));
            assert_rows(&format!("as of {as_of}"), &found, &found.keys().filter_map(row).collect());
            Some(as_of)
        })
    }

    /// Runs the job as it was for a while, to a clean end.
    fn before(&mut self) {
        let running = self.run("2");
        self.produce(200);
        self.come_past(now_us(), &OLD);
        running.terminate();
        self.produce(100);
        self.write_job(&ALL, NEW);
    }

    /// Waits until every row has what is new, while events come.
    fn goes_in(&mut self) {
        until("every row has it", || {
            self.produce(20);
            self.stored().hashes.values().all(|hash| hash.contains_key("n_all")).then_some(())
        });
        self.come_past(now_us(), &ALL);
    }

    /// Runs it until it has its plan and for up to so many events more, and kills it. Returns its log.
    fn killed(&mut self, workers: &str, events: u64) -> String {
        let running = self.run(workers);
        until("the plan", || running.log().contains("seam").then_some(()));
        let n = self.random.below(events) as usize;
        self.produce(n);
        let log = running.log();
        running.kill();
        log
    }

    /// Runs it until every row has what is new, to a clean end, and then all is as it should be.
    fn ends(&mut self, workers: &str) {
        let running = self.run(workers);
        self.goes_in();
        running.terminate();
        self.is_whole(true);
    }

    /// Everything is what it should be, once the run has ended cleanly. `once`: see `play_some`.
    fn is_whole(&self, once: bool) {
        let events = self.visible();
        let (mut exported, as_of) = self.case.exported(&self.path, "cards");
        exported.values_mut().for_each(|row| drop(row.remove("odd")));
        let expected = rows(&events, &ALL, as_of);
        assert_rows("export", &exported, &expected);
        let mut played = play_some(&self.case.lines("changes.jsonl"), "cards", once);
        played.values_mut().for_each(|row| drop(row.remove("odd")));
        let without_nulls = |rows: Rows| -> Rows { rows.into_iter().map(|(key, row)| (key, whole(row))).collect() };
        assert_rows("the changelog", &played, &without_nulls(expected));

        let states = self.rows("states");
        assert_eq!(play_some(&self.case.lines("changes.jsonl"), "states", once), states);
        let states = self.counts("states", |line| line["key"]["status"].as_str().unwrap().to_owned());
        let status = |event: &Event| if event.ok { "approved" } else { "declined" };
        let known: Vec<&Event> = events.iter().filter(|e| e.v <= as_of).map(|e| &e.event).collect();
        assert_eq!(states, count(known.iter().map(|e| status(e).to_owned())));
        let minutes = self.counts("minutes", |line| {
            let start = micros(line["window"]["start"].as_str().unwrap());
            format!("{} {start}", line["key"]["card"].as_str().unwrap())
        });
        let minute = |event: &Event| format!("{} {}", event.card, event.ts.div_euclid(MINUTE) * MINUTE);
        assert_eq!(minutes, count(known.iter().map(|e| minute(e))));

        let has_place = self.seam == BY_OFFSET;
        let place = |letter: &Value| {
            let place = (letter["partition"].as_i64(), letter["offset"].as_i64());
            (micros(letter["arrival"].as_str().unwrap()), Some(place).filter(|_| has_place))
        };
        let mut dead_letters: Vec<_> = self.dead_letters().iter().map(place).collect();
        dead_letters.sort_unstable();
        let mut expected = vec![];
        for (p, events) in (0..).zip(&self.log) {
            let refused = (0..).zip(events).filter(|(_, e)| e.ok && e.card == "c7");
            expected.extend(refused.map(|(offset, e)| (e.arrived, has_place.then_some((Some(p), Some(offset))))));
        }
        expected.sort_unstable();
        assert_eq!(dead_letters, expected, "dead letters");
    }

    /// Those of a file; or those of the topic, each once.
    fn dead_letters(&self) -> Vec<Value> {
        if self.env.is_empty() {
            return self.case.dead_letters();
        }
        let told = standing(&self.case.kafka, &format!("{}_letters", self.case.name));
        let told: BTreeSet<String> = told.into_iter().map(|record| record.value).collect();
        told.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn rows(&self, group: &str) -> Rows {
        let out = finish(run(&["export", self.path.to_str().unwrap(), group]), 0);
        json_lines(&out.stdout).iter().map(|line| (key_of(line).to_owned(), whole(row_of(&line["row"])))).collect()
    }

    /// `n` of a group's rows, by what they are of.
    fn counts(&self, group: &str, of: impl Fn(&Value) -> String) -> BTreeMap<String, u64> {
        let out = finish(run(&["export", self.path.to_str().unwrap(), group]), 0);
        json_lines(&out.stdout).iter().map(|line| (of(line), line["row"]["n"].as_u64().unwrap())).collect()
    }

    fn status(&self) -> Option<Value> {
        let mut command = headwater();
        let done = command.args(["status", "--json"]).arg(&self.path).output().unwrap();
        serde_json::from_slice(&done.stdout).ok()
    }
}

fn count(keys: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

/// The only column of a key.
fn key_of(line: &Value) -> &str {
    line["key"].as_object().unwrap().values().next().unwrap().as_str().unwrap()
}

fn whole(row: Row) -> Row {
    row.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// Plays the changelog of a group, in which a null is like a field that is not there. `once`: at no tick does a key go or come twice.
fn play_some(lines: &[Value], group: &str, once: bool) -> Rows {
    let mut rows = Rows::new();
    let mut seen = BTreeSet::new();
    let mut before = String::new();
    for line in lines {
        if line.get("resume").is_some_and(Value::is_null) {
            (rows, seen, before) = Default::default();
        }
        if line["features"] != group {
            continue;
        }
        let (key, row) = (key_of(line), whole(row_of(&line["row"])));
        let (time, diff) = (line["time"].as_str().unwrap(), line["diff"].as_i64().unwrap());
        assert!(micros(time) >= if before.is_empty() { i64::MIN } else { micros(&before) }, "in order of time: {line}");
        if before != time {
            seen.clear();
            before = time.to_owned();
        }
        assert!(seen.insert((key.to_owned(), diff)) || !once, "twice at a tick: {line}");
        match diff {
            1 => assert_eq!(rows.insert(key.to_owned(), row), None, "an insertion over a row: {line}"),
            _ => assert_eq!(rows.remove(key), Some(row), "what is retracted is what was there: {line}"),
        }
    }
    rows
}

const GOES_IN: &str = "it goes in";

/// A row of today's history is known from a moment on that is still to come: until then the new columns cannot begin.
#[test]
fn rows_go_on_meanwhile() {
    let mut job = need!(Changing::new("beside", 20_000, 100, 77));
    job.before();
    let arrived = now_us() / 1000 * 1000 + 30 * SECOND;
    job.send(0, Event { card: "c1".into(), amount: Some(1.0), ok: true, ts: arrived - 60 * SECOND, arrived });
    job.topic.flush();
    job.write_history(100);
    let stood = job.stored().as_of.unwrap();
    let minutes = |job: &Changing| snapshot(&mut connect(&job.case.redis), &job.case.name, "minutes");
    let old_minutes = minutes(&job);
    let running = job.run("2");
    let mut as_of = stood;
    for _ in 0..4 {
        job.produce(150);
        let newest = now_us();
        let now = job.come_past(newest, &OLD);
        assert!(now > as_of, "rows go on");
        as_of = now;
    }
    assert!(as_of < arrived && !running.log().contains(GOES_IN), "it was too slow to see anything: {}", running.log());
    let status = job.status().unwrap();
    let groups = |name: &str| status["groups"].as_array().unwrap().iter().find(|g| g["name"] == name).unwrap().clone();
    assert_eq!(groups("cards")["computing"].as_array().unwrap().len(), 9, "{status}");
    assert_eq!(groups("states")["as_of"], Value::Null, "{status}");
    assert!(status["bootstrap"]["rows_read"].as_u64() > Some(20_000), "{status}");
    let now = minutes(&job);
    assert_eq!(
        (&now.hashes, now.as_of),
        (&old_minutes.hashes, old_minutes.as_of),
        "rows of a group that becomes another one stay"
    );

    until("what is new goes in", || running.log().contains(GOES_IN).then_some(()));
    job.produce(100);
    until("every row has it", || job.stored().hashes.values().all(|hash| hash.contains_key("n_all")).then_some(()));
    job.produce(100);
    job.come_past(now_us(), &ALL);
    let status = until("the status", || job.status());
    let computing = |group: &Value| group["computing"].as_array().is_some_and(|all| !all.is_empty());
    assert!(!status["groups"].as_array().unwrap().iter().any(computing), "{status}");
    let now = minutes(&job);
    assert!(now.hashes.len() > old_minutes.hashes.len() && now.as_of > old_minutes.as_of);
    running.terminate();
    job.is_whole(true);

    // It entered at one tick: those that had a row got it then.
    let lines = job.case.lines("changes.jsonl");
    let has = |line: &Value| line["features"] == "cards" && !line["row"]["n_all"].is_null();
    let entered = lines.iter().find(|line| has(line)).unwrap()["time"].clone();
    let at = |diff: i64| {
        let those = lines.iter().filter(|line| line["features"] == "cards" && line["time"] == entered);
        those.filter(|line| line["diff"] == diff).map(|line| line["key"].to_string()).collect::<BTreeSet<_>>()
    };
    assert_eq!((at(1).len(), at(1).is_superset(&at(-1))), (40, true), "{entered}");
    assert!(micros(entered.as_str().unwrap()) > as_of);
}

/// Killed at any moment, with what is new anywhere on its way, and gone on by others.
#[test]
fn killed_again_and_again() {
    let mut job = need!(Changing::new("beside_killed", 250_000, 60, 78));
    job.before();
    let mut workers = ["2", "1", "3"].iter().cycle();
    let mut gone_in = 0;
    let begun = std::time::Instant::now();
    while gone_in < 3 && begun.elapsed() < WAIT / 3 {
        let log = job.killed(workers.next().unwrap(), 1000);
        gone_in += usize::from(gone_in > 0 || log.contains(GOES_IN));
    }
    job.ends("2");
}

/// Changed once more while what was new is on its way: what stays of it goes on, what comes is read anew.
#[test]
fn changed_again_meanwhile() {
    let mut job = need!(Changing::new("beside_again", 150_000, 60, 79));
    job.before();
    // First other columns and groups are new, beside some that stay.
    let other = NEW.replace(
        "[features.states]",
        "other = { agg = \"max\", of = \"amount\", window = \"7m\" }\n[features.statuses]",
    );
    for (windows, new) in [(&ALL[1..], other.as_str()), (&ALL[..], other.as_str()), (&ALL[..], NEW)] {
        job.write_job(windows, new);
        job.killed("2", 300);
    }
    job.ends("3");
}

/// What a shadow had on its way enters at the end of a run that ends.
#[test]
fn run_to_the_end_meanwhile() {
    let mut job = need!(Changing::new("beside_end", 150_000, 60, 80));
    job.before();
    for n in [100, 400] {
        let running = job.run("2");
        until("the plan", || running.log().contains("seam").then_some(()));
        job.produce(n);
        running.kill();
    }
    let to_the_end = || run(&["run", job.path.to_str().unwrap(), "--until-end", "--workers", "2"]);
    let running = to_the_end();
    until("the plan", || running.log().contains("seam").then_some(()));
    running.kill();
    finish(to_the_end(), 0);
    // It enters at the tick at which the job stood, which may be the last one that there is.
    job.is_whole(false);
}

/// Stopped while what is new is on its way, it ends at once and goes on from there; and two processes go on together.
#[test]
fn stopped_and_by_two_processes() {
    let mut job = need!(Changing::new("beside_two", 100_000, 60, 81));
    job.before();
    let running = job.run("2");
    until("the seam", || running.log().contains("seam").then_some(()));
    running.terminate();
    let hosts = job.case.path("hosts");
    std::fs::write(&hosts, format!("127.0.0.1:{}\n127.0.0.1:{}\n", free_port(), free_port())).unwrap();
    let start = |path: &Path, process: &str| {
        let args = ["run", path.to_str().unwrap(), "--workers", "1", "--processes", "2", "--process", process];
        let all: Vec<&str> = args.into_iter().chain(["--hosts", hosts.to_str().unwrap()]).collect();
        run_with(&all, &[("HEADWATER_SECRET", "beside".to_owned())])
    };
    let path = job.path.clone();
    let both = || ["0", "1"].map(|process| start(&path, process));
    let [first, second] = both();
    until("the seam", || first.log().contains("seam").then_some(()));
    second.kill();
    finish(first, 1);
    let [first, second] = both();
    job.goes_in();
    assert!(first.log().contains(GOES_IN) && second.log().contains(GOES_IN), "{}", first.log());
    first.signal("TERM");
    finish(first, 0);
    finish(second, 0);
    job.is_whole(true);
}

/// Killed and gone on with a state in an object store, and dead letters in a topic.
#[test]
fn with_a_state_elsewhere() {
    let (mut job, s3) = (need!(Changing::new("beside_s3", 100_000, 60, 82)), need!(S3::shared()));
    job.elsewhere(&s3);
    job.before();
    for workers in ["2", "1", "3"] {
        job.killed(workers, 600);
    }
    job.ends("2");
}

/// Where the history ends by time, too.
#[test]
fn with_a_seam_by_time() {
    let mut job = need!(Changing::new("beside_time", 100_000, 60, 83));
    job.by_time(60);
    job.before();
    for workers in ["3", "2"] {
        job.killed(workers, 600);
    }
    job.ends("1");
}
