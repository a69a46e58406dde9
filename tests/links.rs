//! Links: what hangs together because it shares something, as links come, go and grow old.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::*;

const JOB: &str = r#"
name = "links"
tick = "100ms"
[sources.pay]
event_time = "ts"
arrival_time = "a"
time_unit = "us"
schema = { ts = "timestamp", a = "timestamp", card = "string", device = "string", mail = "string", to = "string", p = "int32", o = "int64" }
history = { type = "jsonl", path = "pay/history.jsonl" }
stream = { type = "jsonl", path = "pay/stream*.jsonl" }
seam = { by = "offset", partition = "p", offset = "o" }
[features.used]
source = "pay"
key = ["card", "device"]
columns = { mail = { agg = "last", of = "mail", window = "10s" }, n = { agg = "count", window = "10s" } }
[features.paid]
source = "pay"
key = ["card", "to"]
columns = { n = { agg = "count", window = "5s" } }
[links.ring]
from = "used"
entity = "card"
shared = ["device", "mail"]
max_degree = 4
[links.money]
from = "paid"
a = "card"
b = "to"
[views.rings]
key = "component"
sql = "SELECT component, count(*) AS cards, max(shared) AS things FROM ring WHERE size > 2 GROUP BY component"
[sinks.rows]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[state]
path = "state"
checkpoint_every = "1ms"
"#;

fn write(dir: &Path, events: usize) -> PathBuf {
    let mut random = StdRng::seed_from_u64(5);
    std::fs::create_dir_all(dir.join("pay")).unwrap();
    let (mut now, mut history, mut streams, mut offsets) =
        (START, String::new(), [String::new(), String::new()], [0; 2]);
    for n in 0..events {
        now += random.random_range(0..60_000);
        let mut name = |kind: &str, most: i32| match random.random_bool(0.1) {
            true => Value::Null,
            false => json!(format!("{kind}{}", random.random_range(0..most))),
        };
        let (device, mail, to) = (name("d", 60), name("m", 200), name("c", 80));
        let card = format!("c{}", random.random_range(0..80));
        let p = n % 2;
        let line = json!({ "ts": now, "a": now, "card": card, "device": device, "mail": mail, "to": to, "p": p, "o": offsets[p] });
        offsets[p] += 1;
        let line = line.to_string() + "\n";
        streams[p] += &line;
        if n < events / 3 {
            history += &line;
        }
    }
    std::fs::write(dir.join("pay/history.jsonl"), history).unwrap();
    for (p, text) in streams.iter().enumerate() {
        std::fs::write(dir.join(format!("pay/stream{p}.jsonl")), text).unwrap();
    }
    let path = dir.join("job.toml");
    std::fs::write(&path, JOB).unwrap();
    path
}

/// By collection and key, its row at the end.
fn rows(text: &str) -> BTreeMap<(String, String), Value> {
    let mut rows = BTreeMap::new();
    for line in json_lines(text) {
        let at = (line["features"].as_str().unwrap().to_owned(), line["key"].to_string());
        match line["diff"].as_i64() {
            Some(1) => assert!(rows.insert(at, line["row"].clone()).is_none(), "the row that goes is told first"),
            _ => assert_eq!(rows.remove(&at).as_ref(), Some(&line["row"]), "what goes was there"),
        }
    }
    rows
}

/// The rows of links are those of the pairs that are there, at the end and so at every tick.
#[test]
fn what_hangs_together_is_told_by_any_number_of_workers() {
    let texts = ["1", "3"].map(|workers| {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 1_200);
        run_to_end(&path, workers);
        let exported = finish(run(&["export", path.to_str().unwrap(), "ring"]), 0).stdout;
        let rows = rows(&changes(dir.path()));
        assert_eq!(exported.lines().count(), rows.keys().filter(|(of, _)| of == "ring").count());
        changes(dir.path())
    });
    assert!(texts[0] == texts[1], "changes by one worker and by three");
    let rows = rows(&texts[0]);
    let of = |name: &str| {
        let mine = rows.iter().filter(|((of, _), _)| of == name);
        mine.map(|((_, key), row)| (serde_json::from_str::<Value>(key).unwrap(), row.clone())).collect::<Vec<_>>()
    };
    // Every card of a pair has a row, and a component has as many as it says.
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for (key, row) in of("ring") {
        let component = row["component"].as_str().unwrap().to_owned();
        assert!(component.as_str() <= key["card"].as_str().unwrap(), "a component is called by its smallest card");
        *sizes.entry(component).or_default() += 1;
    }
    assert!(of("ring").iter().all(|(_, row)| row["size"].as_u64() == Some(sizes[row["component"].as_str().unwrap()])));
    assert!(sizes.values().any(|size| *size > 2), "{sizes:?}");
    let big: BTreeMap<&String, u64> =
        sizes.iter().filter(|(_, size)| **size > 2).map(|(name, size)| (name, *size)).collect();
    let viewed = of("rings");
    assert_eq!(viewed.len(), big.len());
    assert!(
        viewed
            .iter()
            .all(|(key, row)| row["cards"].as_u64() == Some(big[&key["component"].as_str().unwrap().to_owned()]))
    );
    assert!(of("money").iter().all(|(key, row)| key["entity"].is_string() && row.get("shared").is_none()));
}

/// A run that goes on from its checkpoint makes what one run makes: links are computed anew, and nothing is told twice.
#[test]
fn a_run_in_parts_makes_what_one_run_makes() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 1_500);
    run_to_end(&path, "1");
    let parts = tempfile::tempdir().unwrap();
    let path = write(parts.path(), 1_500);
    let logs = ["pay/stream0", "pay/stream1"].map(|log| parts.path().join(format!("{log}.jsonl")));
    let logs = logs.map(|log| (std::fs::read_to_string(&log).unwrap(), log));
    for (until, workers) in [(20, "2"), (30, "1"), (1_000, "3")] {
        for (text, log) in &logs {
            let is_there = |line: &&str| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["a"].as_i64().unwrap() <= START + until * SECOND
            };
            let some: Vec<&str> = text.lines().filter(is_there).collect();
            std::fs::write(log, some.join("\n") + "\n").unwrap();
        }
        finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", workers]), 0);
    }
    assert!(changes(dir.path()) == changes(parts.path()), "changes of one run and of three");
}

/// `examples/rings`: a ring grows, is caught and falls apart, as its page says.
#[test]
fn a_ring_is_caught() {
    let dir = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rings");
    std::fs::copy(example.join("job.toml"), dir.path().join("job.toml")).unwrap();
    let made = Command::new("python3").arg(example.join("generate.py")).current_dir(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = dir.path().join("job.toml");
    run_to_end(&path, "2");
    let text = std::fs::read_to_string(dir.path().join("data/changes.jsonl")).unwrap();
    let page = std::fs::read_to_string(example.join("README.md")).unwrap();
    let shown: Vec<&str> = page.lines().filter(|line| line.starts_with("{\"features\"")).collect();
    assert!(shown.len() > 3 && shown.iter().all(|line| text.lines().any(|other| other == *line)), "{shown:?}");
    let largest = |until: &str| {
        let at_last = json_lines(&text).into_iter().filter(|line| line["time"].as_str().unwrap() < until);
        let mut sizes = BTreeMap::new();
        for line in at_last {
            match line["diff"].as_i64() {
                Some(1) => drop(sizes.insert(line["key"].to_string(), line["row"]["size"].as_i64().unwrap())),
                _ => drop(sizes.remove(&line["key"].to_string())),
            }
        }
        sizes.values().max().copied()
    };
    assert_eq!(largest("2026-06-01T14:00:00Z"), Some(3), "families");
    assert_eq!(largest("2026-06-01T16:00:00Z"), Some(12), "the ring");
    assert_eq!(largest("2026-06-01T22:00:00Z"), Some(3), "six hours later");
}
