//! Windows of days and weeks by a calendar, end to end: what is told of them, where rows lie, when events are late, and what a changed zone is.

use std::path::Path;

use serde_json::Value;

use crate::support::{headwater_in, json_lines};

/// Clocks in Berlin go back on 2026-10-25, at 01:00 UTC: that day has 25 hours, from 22:00 to 23:00 UTC.
const EVENTS: [(&str, &str, i64); 7] = [
    ("2026-10-24T21:59:59Z", "2026-10-24T21:59:59Z", 1),
    ("2026-10-24T22:00:00Z", "2026-10-24T22:00:00Z", 2),
    ("2026-10-25T22:59:59Z", "2026-10-25T22:59:59Z", 4),
    // In time to the last moment: an hour past the day's end.
    ("2026-10-25T10:00:00Z", "2026-10-26T00:00:00Z", 8),
    ("2026-10-25T23:00:00Z", "2026-10-26T00:00:00Z", 16),
    // Too late.
    ("2026-10-25T10:00:00Z", "2026-10-26T00:00:01Z", 32),
    ("2026-10-26T00:00:02Z", "2026-10-26T00:00:02Z", 64),
];

const JOB: &str = r#"
name = "calendar"
tick = "1s"
[sources.e]
event_time   = "ts"
arrival_time = "came"
lateness     = "1h"
schema  = { ts = "timestamp", came = "timestamp", k = "string", x = "int64" }
SIDES
[features.daily]
source  = "e"
key     = "k"
window  = { tumbling = "1d", zone = "ZONE" }
retain  = "7d"
columns = { x = { agg = "sum", of = "x" } }
[features.weekly]
source  = "e"
key     = "k"
window  = { hopping = "2w", every = "1w", starts = "sunday" }
retain  = "4w"
columns = { x = { agg = "sum", of = "x" } }
"#;

fn write(dir: &Path, name: &str, events: &[(&str, &str, i64)]) {
    let line =
        |(ts, came, x): &(&str, &str, i64)| format!("{{\"ts\":\"{ts}\",\"came\":\"{came}\",\"k\":\"a\",\"x\":{x}}}\n");
    std::fs::write(dir.join(name), events.iter().map(line).collect::<String>()).unwrap();
}

fn run(dir: &Path, sides: &str, zone: &str, args: &[&str]) -> String {
    std::fs::write(dir.join("job.toml"), JOB.replace("SIDES", sides).replace("ZONE", zone)).unwrap();
    let ran = headwater_in(dir, &[&["run", "job.toml", "--until-end"], args].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    ran.told
}

/// `start end x`
fn rows(dir: &Path, group: &str) -> Vec<String> {
    let ran = headwater_in(dir, &["export", "job.toml", group]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    let text = |of: &Value| of.as_str().unwrap().trim_end_matches(":00:00Z").to_owned();
    let row = |line: Value| {
        format!("{} {} {}", text(&line["window"]["start"]), text(&line["window"]["end"]), line["row"]["x"])
    };
    let mut rows: Vec<String> = json_lines(&ran.told).into_iter().map(row).collect();
    rows.sort();
    rows
}

const DAYS: [&str; 3] =
    ["2026-10-23T22 2026-10-24T22 1", "2026-10-24T22 2026-10-25T23 14", "2026-10-25T23 2026-10-26T23 80"];
const WEEKS: [&str; 3] =
    ["2026-10-11T00 2026-10-25T00 3", "2026-10-18T00 2026-11-01T00 127", "2026-10-25T00 2026-11-08T00 124"];
const HISTORY: &str = r#"history = { type = "jsonl", path = "all.jsonl" }"#;
const BOTH: &str = r#"history = { type = "jsonl", path = "first.jsonl", complete_until = "2026-10-25T22:00:00Z" }
stream = { type = "jsonl", path = "rest.jsonl" }"#;

#[test]
fn days_and_weeks_wherever_the_seam_lies() {
    for (sides, cut) in [(HISTORY, 0), (BOTH, 2)] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "all.jsonl", &EVENTS);
        write(dir.path(), "first.jsonl", &EVENTS[..cut]);
        write(dir.path(), "rest.jsonl", &EVENTS[cut..]);
        run(dir.path(), sides, "Europe/Berlin", &["--fresh"]);
        assert_eq!(
            (rows(dir.path(), "daily"), rows(dir.path(), "weekly")),
            (DAYS.map(str::to_owned).to_vec(), WEEKS.map(str::to_owned).to_vec()),
            "{sides}"
        );
        let letters = std::fs::read_to_string(dir.path().join(".headwater/calendar/dead_letters.jsonl")).unwrap();
        let late: Vec<Value> = json_lines(&letters);
        assert_eq!(late.len(), 1, "{letters}");
        assert_eq!((&late[0]["reason"], &late[0]["late_by_us"]), (&"late".into(), &1_000_000.into()), "{letters}");
        let get = headwater_in(dir.path(), &["get", "job.toml", "daily", "k=a", "--window", "2026-10-24T22:00:00Z"]);
        assert!(get.code == Some(0) && get.told.contains("2026-10-25T23:00:00Z"), "{}", get.told);
    }
}

#[test]
fn what_is_told_of_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "all.jsonl", &EVENTS);
    run(dir.path(), HISTORY, "Europe/Berlin", &["--fresh"]);
    for (command, expected) in [
        ("check", "a row for each k and day in Europe/Berlin, such as [20"),
        ("check", "a row for each k and 14 days that begins every 7 days in UTC from sunday, such as ["),
        ("catalog", "tumbling 1d in Europe/Berlin"),
        ("catalog", "hopping 14d every 7d in UTC from sunday"),
    ] {
        let ran = headwater_in(dir.path(), &[command, "job.toml"]);
        assert!(ran.code == Some(0) && ran.told.contains(expected), "{command}: {expected}: {}", ran.told);
    }
}

/// Another zone is another window: what it has is computed anew, and the other group goes on.
#[test]
fn a_changed_zone_is_a_changed_group() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "first.jsonl", &EVENTS[..2]);
    write(dir.path(), "rest.jsonl", &EVENTS[2..]);
    run(dir.path(), BOTH, "Europe/Berlin", &["--fresh"]);
    let told = run(dir.path(), BOTH, "America/New_York", &[]);
    assert!(told.contains("daily"), "{told}");
    assert_eq!(rows(dir.path(), "daily"), ["2026-10-24T04 2026-10-25T04 3", "2026-10-25T04 2026-10-26T04 124"]);
    assert_eq!(rows(dir.path(), "weekly"), WEEKS);
}
