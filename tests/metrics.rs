//! What `/metrics` serves, what docs/metrics.md says of it, and what the alerts of examples/deploy ask for, are the same metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{need, run, skipped, until, yaml};

const JOB: &str = r#"
name = "watched"
[sources.tx]
event_time = "ts"
schema = { ts = "timestamp", card_id = "string", amount = "int64" }
stream = { type = "jsonl", path = "live.jsonl" }
[features.activity]
source = "tx"
key = "card_id"
where = "amount > 0"
columns = { n = { agg = "count", window = "1d" } }
[sinks.online]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
[state]
checkpoint_every = "50ms"
[serve_log]
path = "served"
"#;

/// A second one whose amount is no number, and a third that is no record.
const LIVE: &str = r#"{"card_id":"a","amount":1,"ts":"2026-01-01T10:00:00Z"}
{"card_id":"a","amount":"x","ts":"2026-01-01T10:00:01Z"}
no json
"#;

#[derive(Debug, Default)]
struct Metric {
    kind: String,
    /// `None`: it has no sample.
    labels: Option<BTreeSet<String>>,
}

type Metrics = BTreeMap<String, Metric>;

/// The metrics of a job that runs.
fn served() -> &'static Metrics {
    static SERVED: OnceLock<Metrics> = OnceLock::new();
    SERVED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("job.toml"), JOB).unwrap();
        std::fs::write(path("live.jsonl"), LIVE).unwrap();
        let _running = run(&["run", path("job.toml").to_str().unwrap()]);
        let parts = [
            "staleness_seconds{",
            "checkpoint_duration_seconds ",
            "group_dead_letters_total{",
            "reason=\"malformed\"}",
        ];
        let whole = |text: &String| parts.iter().all(|part| text.contains(part));
        parse(&until("metrics", || page(&path(".headwater/watched/endpoint.json")).filter(whole)))
    })
}

fn page(endpoint: &Path) -> Option<String> {
    let endpoint: Value = serde_json::from_slice(&std::fs::read(endpoint).ok()?).ok()?;
    let mut answer = ureq::get(format!("{}/metrics", endpoint["url"].as_str()?)).call().ok()?;
    answer.body_mut().read_to_string().ok()
}

fn parse(text: &str) -> Metrics {
    let (mut metrics, mut helped) = (Metrics::new(), BTreeSet::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("#"), Some("HELP")) => helped.extend(words.next().filter(|_| words.next().is_some())),
            (Some("#"), Some("TYPE")) => {
                let (name, kind) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
                assert!(helped.contains(name.as_str()), "no help for {name}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
                let twice = metrics.insert(name, Metric { kind, labels: None });
                assert!(twice.is_none(), "{line}");
            }
            (Some(sample), Some(value)) => {
                value.parse::<f64>().unwrap();
                let (name, labels) = named(sample);
                let metric = metrics.get_mut(&name).expect("a sample comes after its type");
                assert!(metric.labels.replace(labels).is_none_or(|before| Some(&before) == metric.labels.as_ref()));
            }
            _ => panic!("{line}"),
        }
    }
    metrics
}

/// `name{a="x",b="y"}`, or `name{a,b}`.
fn named(text: &str) -> (String, BTreeSet<String>) {
    let (name, labels) = text.trim_end_matches('}').split_once('{').unwrap_or((text, ""));
    let label = |pair: &str| pair.split('=').next().unwrap_or(pair).to_owned();
    (name.to_owned(), labels.split(',').filter(|pair| !pair.is_empty()).map(label).collect())
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn docs() -> String {
    std::fs::read_to_string(root("docs/metrics.md")).unwrap()
}

/// Words of letters, digits and `_` that begin so.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let all = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    all.filter(|word| word.starts_with(prefix) && word.len() > prefix.len()).collect()
}

/// What the tables say: a row for each metric, with its labels and its kind.
fn described() -> Metrics {
    let text = docs();
    let rows = text.lines().filter(|line| line.starts_with("| `headwater_"));
    let mut described = Metrics::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, labels) = named(cells[1].trim_matches('`'));
        let kind = cells[2].split(',').next().unwrap().to_owned();
        assert!(!cells[3].is_empty(), "{row}");
        let twice = described.insert(name, Metric { kind, labels: Some(labels) });
        assert!(twice.is_none(), "{row}");
    }
    described
}

#[test]
fn every_metric_is_described_and_there() {
    let (served, described) = (served(), described());
    let names = |metrics: &Metrics| metrics.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(served), names(&described));
    for (name, metric) in served {
        assert_eq!(metric.kind, described[name].kind, "{name}");
        assert!(metric.labels.is_none() || metric.labels == described[name].labels, "{name}: {metric:?}");
    }
    for page in ["docs/metrics.md", "docs/windows.md", "docs/commands.md"] {
        let text = std::fs::read_to_string(root(page)).unwrap();
        for name in words(&text, "headwater_") {
            assert!(served.contains_key(name), "{page}: {name}");
        }
    }
}

#[test]
fn the_alerts_ask_for_what_is_there() {
    let path = root("examples/deploy/alerts.yaml");
    let documents = need!(yaml(&path));
    let rules: Vec<&Value> = documents[0]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    rules.iter().for_each(|rule| check_rule(rule));
    let named: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(named.len(), rules.len());
    assert_eq!(named, words(&docs(), "Headwater"), "the alerts in docs/metrics.md");
    match Command::new("promtool").args(["check", "rules"]).arg(&path).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        // Past the harness, which shows nobody what a test that passes has printed.
        Err(e) => skipped(&format!("promtool: {e}")),
    }
}

fn check_rule(rule: &Value) {
    let expr = rule["expr"].as_str().unwrap();
    let asked = words(expr, "headwater_");
    assert!(!asked.is_empty(), "{rule}");
    let described = described();
    let mut labels = BTreeSet::from(["instance".to_owned()]);
    for name in asked {
        assert!(served().contains_key(name), "{name}: {rule}");
        labels.extend(described[name].labels.clone().unwrap_or_default());
    }
    let count = |c: char| expr.matches(c).count();
    assert_eq!((count('('), count('[')), (count(')'), count(']')), "{rule}");
    assert!(rule["for"].is_string(), "{rule}");
    assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule}");
    for text in ["summary", "description"] {
        let text = rule["annotations"][text].as_str().unwrap();
        for label in text.split("$labels.").skip(1) {
            let label = label.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            assert!(labels.contains(label), "{label}: {rule}");
        }
    }
}
