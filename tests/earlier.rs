//! Earlier values: what is read of a time is what the changelog had said until then, of every group and view, by however many workers, while the job
//! runs and over its restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::*;

/// Payments of cards in shops, some of them late; what a shop is comes late too.
const JOB: &str = r#"
name = "earlier"
[sources.pay]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "20s"
schema = { ts = "timestamp", a = "timestamp", card = "string", shop = "string", x = "int64", p = "int32", o = "int64" }
history = { type = "jsonl", path = "pay/history.jsonl" }
stream = { type = "jsonl", path = "pay/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[tables.shops]
key = "shop"
event_time = "ts"
arrival_time = "a"
time_unit = "us"
lateness = "40s"
schema = { ts = "timestamp", a = "timestamp", shop = "string", rate = "int64", owner = "string", p = "int32", o = "int64" }
history = { type = "jsonl", path = "shops/history.jsonl" }
stream = { type = "jsonl", path = "shops/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[features.cards]
source = "pay"
key = "card"
history = "9999d"
[features.cards.columns]
n = { agg = "count", windows = ["2s", "all"] }
shop = { agg = "last", of = "shop", window = "5s" }
[features.worth]
source = "pay"
lookup.m = { table = "shops", on = "shop" }
key = "m.owner"
history = "9999d"
columns = { worth = { agg = "sum", of = "x * m.rate", windows = ["5s", "all"] } }
derived = { ratio = "worth_5s * 1.0 / nullif(worth_all, 0)" }
[features.used]
source = "pay"
key = ["card", "shop"]
history = "9999d"
columns = { n = { agg = "count", window = "20s" } }
[features.lent]
source = "pay"
key = ["card", "shop"]
where = "x > 7"
columns = { n = { agg = "count", window = "20s" } }
[features.tens]
source = "pay"
key = "card"
window = { hopping = "10s", every = "5s" }
retain = "25s"
history = "9999d"
columns = { n = { agg = "count" } }
[features.bursts]
source = "pay"
key = "card"
window = { session = "400ms" }
history = "9999d"
columns = { n = { agg = "count" }, most = { agg = "max", of = "x" } }
[features.plain]
sql = "SELECT shop, COUNT(*) AS n FROM pay GROUP BY shop"
[views.busy]
key = "card"
history = "9999d"
sql = "SELECT c.card, max(c.n_all) AS n_all, count(*) AS shops, sum(u.n) AS n FROM cards AS c JOIN used AS u ON c.card = u.card GROUP BY c.card"
[views.windows]
key = "card"
history = "9999d"
sql = "SELECT card, count(*) AS n, sum(n) AS events FROM tens GROUP BY card"
[links.ring]
from = "lent"
entity = "card"
shared = "shop"
history = "9999d"
[sinks.online]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[state]
path = "state"
checkpoint_every = "100ms"
"#;

/// How long past its end a row of a windowed group stays.
const RETAIN: [(&str, i64); 2] = [("tens", 25 * SECOND), ("bursts", 20_400_000)];

/// Writes the job and its log; the time of the last record.
fn write(dir: &Path, events: usize) -> (PathBuf, i64) {
    let mut random = StdRng::seed_from_u64(29);
    let (mut now, mut pay, mut shops) = (START, vec![], vec![]);
    let late = |random: &mut StdRng| if random.random_bool(0.2) { random.random_range(0..15 * SECOND) } else { 0 };
    for _ in 0..events {
        now += random.random_range(0..60_000);
        let (card, shop) = (random.random_range(0..12), random.random_range(0..9));
        let (ts, x) = (now - late(&mut random), random.random_range(1..9));
        let line = json!({ "ts": ts, "a": now, "card": format!("c{card}"), "shop": format!("s{shop}"), "x": x });
        pay.push((card % 2, line));
        if random.random_bool(0.1) {
            let (ts, rate) = (now - late(&mut random), random.random_range(1..5));
            let owner = format!("o{}", random.random_range(0..3));
            let line = json!({ "ts": ts, "a": now, "shop": format!("s{shop}"), "rate": rate, "owner": owner });
            shops.push((shop % 2, line));
        }
    }
    write_log(&dir.join("pay"), &pay, pay.len() / 4);
    write_log(&dir.join("shops"), &shops, shops.len() / 4);
    let path = dir.join("job.toml");
    std::fs::write(&path, JOB).unwrap();
    (path, now)
}

/// What a running job answers: the status, and the text.
fn ask(dir: &Path, path: &str, query: &[(&str, &str)]) -> Option<(u16, String)> {
    let endpoint = std::fs::read(dir.join("state/endpoint.json")).ok()?;
    let endpoint: Value = serde_json::from_slice(&endpoint).ok()?;
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let asked = agent.get(format!("{}{path}", endpoint["url"].as_str()?)).query_pairs(query.iter().copied());
    let token = format!("Bearer {}", endpoint["token"].as_str()?);
    let mut answer = asked.header("Authorization", token).call().ok()?;
    Some((answer.status().as_u16(), answer.body_mut().read_to_string().unwrap()))
}

/// What a running job says of a group or a view.
fn report(dir: &Path, name: &str) -> Option<Value> {
    let status: Value = serde_json::from_str(&ask(dir, "/status", &[])?.1).ok()?;
    let mut all = status["groups"].as_array()?.iter().chain(status["views"].as_array()?);
    all.find(|of| of["name"] == name).cloned()
}

/// From when on its rows can be read, and until when.
fn range(dir: &Path, name: &str) -> Option<(i64, i64)> {
    let earlier = &report(dir, name)?["earlier"];
    Some((micros(earlier["from"].as_str()?), micros(earlier["to"].as_str()?)))
}

/// Waits until everything has come to a time.
fn reaches(dir: &Path, names: &[&str], t: i64) {
    for name in names {
        let as_of = || Some(micros(report(dir, name)?["as_of"].as_str()?));
        until("what can be read", || as_of().filter(|as_of| *as_of >= t));
    }
}

/// The rows of a key at a time, as the job tells them. `key`: its JSON text.
fn rows_at(dir: &Path, name: &str, key: &str, t: i64) -> Vec<Value> {
    let of_key: BTreeMap<String, String> = serde_json::from_str(key).unwrap();
    let parts: Vec<String> = of_key.iter().map(|(column, value)| format!("{column}={value}")).collect();
    let at = t.to_string();
    let query: Vec<(&str, &str)> =
        parts.iter().map(|part| ("key", part.as_str())).chain([("group", name), ("at", &at)]).collect();
    match ask(dir, "/get", &query).expect("a running job") {
        (200, text) => json_lines(&text),
        (404, text) => {
            assert!(text.contains("has no row of"), "{text}");
            vec![]
        }
        refused => panic!("{name} {key} at {t}: {refused:?}"),
    }
}

/// When, the line, and whether a row comes.
type Change = (i64, Value, bool);

/// What a changelog says: by group and key, by the start of a window.
#[derive(Default)]
struct Log(BTreeMap<(String, String), BTreeMap<i64, Vec<Change>>>);

impl Log {
    fn read(dir: &Path) -> Log {
        let mut log = Log::default();
        for line in json_lines(&changes(dir)) {
            let of = (line["features"].as_str().unwrap().to_owned(), line["key"].to_string());
            let start = line["window"]["start"].as_str().map_or(0, micros);
            let change = (micros(line["time"].as_str().unwrap()), line.clone(), line["diff"] == 1);
            log.0.entry(of).or_default().entry(start).or_default().push(change);
        }
        log
    }

    /// As `get` tells them.
    fn rows_at(&self, (name, key): (&str, &str), t: i64) -> Vec<Value> {
        let t = t.div_euclid(TICK) * TICK;
        let retain = RETAIN.iter().find(|(of, _)| *of == name).map(|(_, retain)| *retain);
        let windows = self.0.get(&(name.to_owned(), key.to_owned())).into_iter().flat_map(BTreeMap::values);
        let mut rows = vec![];
        for changes in windows {
            let Some((since, line, true)) = changes.iter().rfind(|(time, ..)| *time <= t) else { continue };
            let mut row = json!({ "key": line["key"], "row": line["row"], "changed_at": since });
            if let Some(retain) = retain {
                if t > micros(line["window"]["end"].as_str().unwrap()) + retain {
                    continue;
                }
                row["window"] = line["window"].clone();
            }
            rows.push(row);
        }
        rows
    }
}

/// What was asked of a time, and what was answered.
struct Look {
    name: &'static str,
    key: String,
    t: i64,
    rows: Vec<Value>,
}

/// Looks at so many keys at some times, ticks and others, that can be read.
fn look(dir: &Path, random: &mut StdRng, last: i64, n: usize) -> Vec<Look> {
    let from: BTreeMap<&str, i64> = KEPT.iter().map(|name| (*name, range(dir, name).unwrap().0)).collect();
    let one = |_| {
        let name = KEPT[random.random_range(0..KEPT.len())];
        let (card, shop) = (format!("c{}", random.random_range(0..12)), format!("s{}", random.random_range(0..9)));
        let key = match name {
            "worth" => json!({ "owner": format!("o{}", random.random_range(0..3)) }),
            "used" => json!({ "card": card, "shop": shop }),
            _ => json!({ "card": card }),
        };
        let t = random.random_range(from[name]..last + 45 * SECOND);
        let key = key.to_string();
        Look { name, t, rows: rows_at(dir, name, &key, t), key }
    };
    (0..n).map(one).collect()
}

/// What is told of a row, but for `as_of`, which is the tick that was asked for.
fn told(rows: Vec<Value>, t: i64) -> Vec<Value> {
    let one = |mut row: Value| {
        assert_eq!(micros(row["as_of"].as_str().unwrap()), t.div_euclid(TICK) * TICK);
        row["changed_at"] = micros(row["changed_at"].as_str().unwrap()).into();
        row.as_object_mut().unwrap().remove("as_of");
        row
    };
    rows.into_iter().map(one).collect()
}

fn started(path: &Path, args: &[&str]) -> Running {
    run(&[&["run", path.to_str().unwrap()], args].concat())
}

/// What keeps earlier rows.
const KEPT: [&str; 8] = ["cards", "worth", "used", "tens", "bursts", "busy", "windows", "ring"];

#[test]
fn what_is_read_of_a_time_is_what_the_changelog_had_said() {
    let dir = tempfile::tempdir().unwrap();
    let (path, last) = write(dir.path(), 200);
    let mut random = StdRng::seed_from_u64(5);
    let (mut looks, mut begins) = (vec![], None);
    // The second goes on from where the first was stopped; the third was killed, and goes on from a checkpoint.
    for workers in ["1", "3", "2"] {
        let running = started(&path, &["--workers", workers]);
        reaches(dir.path(), &KEPT, last + 60 * SECOND);
        let from = KEPT.map(|name| range(dir.path(), name).unwrap().0);
        assert_eq!(*begins.get_or_insert(from), from, "what can be read stays so over a restart");
        looks.extend(look(dir.path(), &mut random, last, 200));
        if workers == "3" {
            let state = dir.path().join("state");
            let before = newest_checkpoint(&state);
            until("another checkpoint", || (newest_checkpoint(&state) > before).then_some(()));
            running.kill();
        } else {
            running.terminate();
        }
    }
    let log = Log::read(dir.path());
    for Look { name, key, t, rows } in &looks {
        let wanted = log.rows_at((name, key), *t);
        assert_eq!(told(rows.clone(), *t), wanted, "{name} {key} at {t}");
    }
    for name in KEPT {
        let found = looks.iter().filter(|look| look.name == name).map(|look| look.rows.len()).sum::<usize>();
        assert!(found > 3, "{name}: {found} rows");
    }
}

/// While events come, two groups, and a view over both, agree at every time that can be read.
#[test]
fn all_that_is_read_of_a_time_is_of_one_tick() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("job.toml"), LIVE).unwrap();
    let (path, stream) = (dir.path().join("job.toml"), dir.path().join("pay.jsonl"));
    std::fs::write(&stream, "").unwrap();
    let running = started(&path, &["--workers", "3"]);
    let mut file = std::fs::OpenOptions::new().append(true).open(&stream).unwrap();
    let (mut sent, mut compared) = (0, 0);
    let begun = now_us();
    while compared < 50 {
        assert!(now_us() - begun < WAIT.as_micros() as i64, "{compared} of {sent}; {}", running.log());
        let event = json!({ "ts": now_us() / 1000, "card": format!("c{}", sent % 3), "x": sent % 7 });
        std::io::Write::write_all(&mut file, format!("{event}\n").as_bytes()).unwrap();
        sent += 1;
        let (from, to) = until("what can be read", || range(dir.path(), "both"));
        for t in [from.max(to - sent % 40 * TICK), to] {
            let key = r#"{"card":"c1"}"#;
            let of = |name| told(rows_at(dir.path(), name, key, t), t).pop().map(|row| row["row"].clone());
            let (counts, sums, both) = (of("counts"), of("sums"), of("both"));
            let joined = counts.as_ref().zip(sums.as_ref()).map(|(c, s)| json!({ "n": c["n"], "x": s["x"] }));
            assert_eq!(both, joined, "at {t}");
            compared += usize::from(both.is_some());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.terminate();
}

/// Nothing of the history is kept for ever.
const LIVE: &str = r#"
name = "earlier"
[sources.pay]
event_time = "ts"
schema = { ts = "timestamp", card = "string", x = "int64" }
stream = { type = "jsonl", path = "pay.jsonl" }
[features.counts]
source = "pay"
key = "card"
history = "10m"
columns = { n = { agg = "count", window = "2s" } }
[features.sums]
source = "pay"
key = "card"
history = "10m"
columns = { x = { agg = "sum", of = "x", window = "all" } }
[features.short]
source = "pay"
key = "card"
history = "1s"
columns = { n = { agg = "count", window = "all" } }
[features.plain]
source = "pay"
key = "card"
columns = { n = { agg = "count", window = "all" } }
[views.both]
key = "card"
history = "10m"
sql = "SELECT c.card, c.n, s.x FROM counts AS c JOIN sums AS s ON c.card = s.card"
[sinks.online]
type = "embedded"
[state]
path = "state"
checkpoint_every = "100ms"
"#;

/// Runs the command; its exit code, and what it says.
fn command(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = headwater().args(args).current_dir(dir).output().unwrap();
    let told = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8(told).unwrap())
}

#[test]
fn what_cannot_be_read_is_refused_with_what_can() {
    let dir = tempfile::tempdir().unwrap();
    let (path, get) =
        (dir.path().join("job.toml"), |args: &[&str]| command(dir.path(), &[&["get", "job.toml"], args].concat()));
    std::fs::write(&path, LIVE).unwrap();
    let event = |ago: i64| json!({ "ts": (now_us() - ago) / 1000, "card": "c1", "x": 2 }).to_string() + "\n";
    std::fs::write(dir.path().join("pay.jsonl"), event(3 * SECOND)).unwrap();
    let refused = |args: &[&str], code: i32, parts: &[&str]| {
        let (found, text) = get(args);
        assert!(found == Some(code) && parts.iter().all(|part| text.contains(part)), "{args:?}: {found:?} {text}");
    };
    refused(&["sums", "card=c1", "--at", "2026-01-31T10:00:00Z"], 1, &["not running", "headwater run job.toml"]);
    let running = started(&path, &[]);
    let begins = until("what is readable", || range(dir.path(), "sums")).0;
    reaches(dir.path(), &["sums", "short", "both"], begins + 5 * SECOND);

    let (code, text) = get(&["sums", "card=c1", "--at", &(begins + SECOND).to_string()]);
    assert!(code == Some(0) && text.starts_with(r#"{"key":{"card":"c1"},"row":{"x":2},"changed_at":"#), "{text}");
    let (from, to) = range(dir.path(), "short").unwrap();
    assert!(to - from <= SECOND && from > begins, "{from} {to} {begins}");
    let name = "[features.plain]";
    refused(&["plain", "card=c1", "--at", "2026-01-31T10:00:00Z"], 2, &["are not kept", "history = \"10m\"", name]);
    refused(&["short", "card=c1", "--at", &begins.to_string()], 2, &["too long ago", "can be read at any time from"]);
    refused(&["sums", "card=c1", "--at", &(begins - 1).to_string()], 2, &["too long ago"]);
    refused(
        &["both", "card=c1", "--at", "2100-01-01T00:00:00Z"],
        2,
        &["still to come", "can be read at any time from"],
    );
    refused(&["both", "card=c1", "--at", "yesterday"], 2, &["`yesterday` is no time", "2026-01-31T10:00:00Z"]);
    let to = range(dir.path(), "sums").unwrap().1.to_string();
    refused(&["sums", "card=c9", "--at", &to], 1, &["not found: `sums` has no row of {\"card\":\"c9\"} at 20"]);
    refused(&["sums", "card=c1", "--at", &to, "--sink", "online"], 2, &["cannot be used with"]);
    refused(&["sums", "card=c1", "--at", &to, "--window", "0"], 2, &["has no windows"]);
    let (status, text) = ask(dir.path(), "/get", &[("group", "sums"), ("key", "card=c1"), ("at", "0")]).unwrap();
    assert!(status == 400 && text.contains("too long ago"), "{status} {text}");

    // What is kept is told.
    let (_, status) = command(dir.path(), &["status", "job.toml"]);
    assert!(status.contains("\n  earlier   from 20") && status.contains("1 rows kept"), "{status}");
    running.terminate();
    let (_, check) = command(dir.path(), &["check", "job.toml"]);
    assert!(check.contains("readable at any time of the last 10m (history)"), "{check}");
    let (_, catalog) = command(dir.path(), &["catalog", "."]);
    assert!(catalog.contains("\n    earlier   of the last 1s\n"), "{catalog}");

    // A view that means something else has earlier rows of its own; those of others stay.
    let ranges = || ["sums", "both"].map(|name| until("what can be read", || range(dir.path(), name)).0);
    let other = LIVE.replace("c.n, s.x FROM", "c.n, s.x + 1 AS x FROM");
    std::fs::write(&path, &other).unwrap();
    let running = started(&path, &[]);
    let [sums, both] = ranges();
    assert!(sums == begins && both > begins + 4 * SECOND, "{sums} {both} {begins}");
    running.terminate();
    // Another length makes nothing new.
    std::fs::write(&path, other.replace("10m", "1h")).unwrap();
    let running = started(&path, &["--workers", "2"]);
    assert_eq!(ranges(), [sums, both]);
    running.terminate();
}
