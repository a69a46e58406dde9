//! `headwater demo` tells its whole story, ends by itself, and leaves rows that can be read.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::headwater;

const EVENTS: &str = "60000";

fn output(dir: &std::path::Path, args: &[&str]) -> Output {
    let mut command = headwater();
    command.current_dir(dir).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The number that stands right before `unit` on the line that starts with `what`; without commas.
fn figure(story: &str, what: &str, unit: &str) -> f64 {
    let line = story.lines().find(|line| line.trim_start().starts_with(what) && line.contains(unit));
    let line = line.unwrap_or_else(|| panic!("no line {what} ... {unit} in\n{story}"));
    let (before, _) = line.split_once(unit).unwrap();
    let number = before.split_whitespace().next_back().unwrap().replace(',', "");
    number.parse().unwrap_or_else(|e| panic!("{number}: {e}, in {line}"))
}

#[test]
fn the_demo_tells_its_story() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let done = output(dir.path(), &["demo", "--events", EVENTS, "--rate", "200"]);
    let (story, errors) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{story}\n{errors}");
    assert_eq!(errors, "");
    assert!(began.elapsed() < Duration::from_secs(300), "it has to end by itself: {:?}", began.elapsed());
    assert!(!story.contains('\x1b'), "no colours without a terminal");

    let mut rest = story.as_str();
    for line in [
        "history    60,000 payments of 20,000 cards",
        "1,000 records of the topic are in the history already: passed over",
        "last offset in history   first offset read",
        "bootstrap  60,000 rows in",
        "card-00007  is stolen: 14 payments in two seconds",
        "tx_10s has risen to",
        "card-00011  a payment of 999.00 arrives 5 s late",
        "spend_1h corrected",
        "tx_10s falls 10 s after it was made, not after it arrived",
        "tx_10s is back at 0: nothing came, the payments grew old",
        "Measured",
        "To look further",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("no {line:?}, or too early, in\n{story}"));
        rest = &rest[at..];
    }
    // The seam: reading starts right behind the history.
    let heads = story.lines().skip_while(|line| !line.contains("first offset read")).skip(1).take(3);
    for line in heads {
        let numbers: Vec<i64> = line.split_whitespace().map(|n| n.replace(',', "").parse().unwrap()).collect();
        assert!(numbers[2] == numbers[1] + 1 && numbers[3] >= numbers[2], "{line}");
    }
    let (_, measured) = story.split_once("Measured").unwrap();
    assert!(figure(measured, "bootstrap", " rows/s") > 0.0);
    assert!(figure(measured, "stream", " events/s") > 0.0);
    let (p50, p99) = (figure(measured, "freshness", " ms,"), figure(measured, "freshness", " ms  "));
    assert!(0.0 < p50 && p50 <= p99, "{p50} {p99}");
    let counted = figure(measured, "exactness", " counted");
    assert_eq!(counted, figure(measured, "exactness", " approved"));
    assert!(counted > 100_000.0, "{counted}");

    // What it tells to do next.
    let rows = output(dir.path(), &["export", ".headwater/demo/job.toml", "card_activity"]);
    assert!(rows.status.success(), "{}", text(&rows.stderr));
    let rows = text(&rows.stdout);
    let stolen = rows.lines().find(|row| row.starts_with(r#"{"key":{"card_id":"card-00007"}"#)).unwrap();
    assert!(stolen.contains(r#""tx_1h":14,"#), "{stolen}");
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let done = output(dir.path(), &["demo", "--dir", "."]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("neither empty nor a demo's"), "{}", text(&done.stderr));
}
