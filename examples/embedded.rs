//! Headwater within a program of one's own: a day of a city's bicycles, two jobs in one process.
//!
//! ```text
//! cargo run --example embedded
//! ```
//!
//! The rides of a day are made up and written to a file. One job counts what leaves each dock, one follows each bicycle; both are built
//! here, run side by side to the end of the file, and are asked for their rows.

use std::fmt::Write;
use std::path::Path;

use headwater::job::build::{Column, Features, Source, Table};
use headwater::{Job, Options};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

// What this is an example of is a program; the tests use a part of it.
#[allow(dead_code)]
fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    print!("{}", story(dir.path())?);
    Ok(())
}

/// Runs both jobs in a directory, and tells of the day.
pub(crate) fn story(dir: &Path) -> Result<String> {
    let rides = write_rides(&dir.join("rides.jsonl"))?;
    let (docks, bicycles) = (docks(dir)?, bicycles(dir)?);

    // Two jobs, side by side; each would follow its stream until it is told to stop.
    let options = Options { until_end: true, workers: 2, ..Options::default() };
    let runs = [headwater::run(docks.clone(), options.clone())?, headwater::run(bicycles.clone(), options)?];
    let mut events = vec![];
    for run in runs {
        events.push(run.wait()?.groups.iter().map(|group| group.counts.events).sum::<u64>());
    }

    let mut text = format!("A day of bicycles: {rides} rides, {} and {} events in two jobs.\n\n", events[0], events[1]);
    text += "Where they were taken, as of the last ride of the day:\n\n";
    writeln!(text, "  {:<12} {:>10} {:>10} {:>13}   most went to", "dock", "last hour", "all day", "mean minutes")?;
    for row in rows(&docks, "docks")? {
        let (key, row) = (&row["key"], &row["row"]);
        let to: Vec<&str> = row["to_1d"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let minutes = row["minutes_1d"].as_f64().unwrap_or_default();
        let [hour, day] = ["rides_1h", "rides_1d"].map(|name| row[name].as_u64().unwrap_or_default());
        let dock = key["dock"].as_str().unwrap_or_default();
        writeln!(text, "  {dock:<12} {hour:>10} {day:>10} {minutes:>13.1}   {}", to.join(", "))?;
    }

    text += "\nThe day, three hours to a line:\n\n";
    for row in rows(&docks, "city")? {
        let (start, n) = (row["window"]["start"].as_str().unwrap_or_default(), row["row"]["n"].as_u64().unwrap_or(0));
        writeln!(text, "  {}  {} {n}", &start[11..16], "#".repeat(n as usize / 10))?;
    }

    let mut bicycles = rows(&bicycles, "bicycles")?;
    bicycles.sort_by_key(|row| std::cmp::Reverse(row["row"]["rides_all"].as_u64()));
    let best = &bicycles[0];
    write!(
        text,
        "\nBicycle {} of {} was out most: {} rides to {} docks, and it sleeps at the {}.\n",
        best["key"]["bicycle"],
        bicycles.len(),
        best["row"]["rides_all"],
        best["row"]["docks_all"],
        best["row"]["at_all"].as_str().unwrap_or_default()
    )?;
    Ok(text)
}

/// What leaves each dock; and all of them together, three hours at a time.
fn docks(dir: &Path) -> Result<Job> {
    let by_dock = Features::new()
        .source("rides")
        .key("dock")
        .column("rides", Column::new("count").windows(["1h", "1d"]))
        .column("minutes", Column::new("avg").of("seconds / 60.0").windows(["1d"]))
        .column("to", Column::new("top_k").of("\"to\"").k(2).windows(["1d"]));
    let of_city = Features::new()
        .source("rides")
        .key("city")
        .window(Table::new().set("tumbling", "3h"))
        .retain("2d")
        .column("n", Column::new("count"));
    Ok(Job::builder("docks")
        .dir(dir)
        .tick("1s")
        .source("rides", source())
        .features("docks", by_dock)
        .features("city", of_city)
        .build()?)
}

/// Where each bicycle has been.
fn bicycles(dir: &Path) -> Result<Job> {
    let by_bicycle = Features::new()
        .source("rides")
        .key("bicycle")
        .where_("seconds > 60")
        .column("rides", Column::new("count").windows(["all"]))
        .column("docks", Column::new("count_distinct").of("\"to\"").windows(["all"]))
        .column("at", Column::new("last").of("\"to\"").windows(["all"]));
    let builder = Job::builder("bicycles").dir(dir).tick("1s");
    Ok(builder.source("rides", source()).features("bicycles", by_bicycle).build()?)
}

fn source() -> Source {
    let columns = [
        ("ts", "timestamp"),
        ("city", "string"),
        ("bicycle", "int32"),
        ("dock", "string"),
        ("to", "string"),
        ("seconds", "int32"),
    ];
    let schema = columns.iter().fold(Table::new(), |schema, (name, data_type)| schema.set(name, *data_type));
    let stream = Table::of_type("jsonl").set("path", "rides.jsonl");
    Source::new().event_time("ts").time_unit("s").schema(schema).stream(stream)
}

/// The rows of a group, parsed.
fn rows(job: &Job, group: &str) -> Result<Vec<Value>> {
    let mut rows = vec![];
    headwater::export(job, group, |row| rows.push(serde_json::from_str(row)))?;
    Ok(rows.into_iter().collect::<std::result::Result<_, _>>()?)
}

const DOCKS: [&str; 6] = ["station", "harbour", "university", "old town", "park", "hospital"];

/// Writes the rides of 2026-05-04, from a quarter past five to a quarter to midnight: how many there are.
fn write_rides(path: &Path) -> Result<usize> {
    let mut dice = Dice(7);
    let mut at: Vec<usize> = (0..60).map(|bicycle| bicycle % DOCKS.len()).collect();
    let (mut ts, mut text, mut rides) = (1_777_871_700, String::new(), 0);
    while ts < 1_777_938_300 {
        let hour = ts / 3600 % 24;
        ts += 5 + dice.below(if [7, 8, 16, 17, 18].contains(&hour) { 50 } else { 160 }) as i64;
        let bicycle = dice.below(at.len());
        // To work in the morning; to the harbour, where the evening is, later.
        let to = match (hour, dice.below(3)) {
            (..=10, 0) => 2 + 3 * dice.below(2),
            (17.., 0) => 1,
            _ => dice.below(DOCKS.len()),
        };
        let (from, seconds) = (at[bicycle], 90 + dice.below(1500));
        at[bicycle] = to;
        let (from, to) = (DOCKS[from], DOCKS[to]);
        writeln!(
            text,
            r#"{{"ts":{ts},"city":"Newford","bicycle":{bicycle},"dock":"{from}","to":"{to}","seconds":{seconds}}}"#
        )?;
        rides += 1;
    }
    std::fs::write(path, text)?;
    Ok(rides)
}

/// The same day every time: a linear congruential generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n as u64) as usize
    }
}
