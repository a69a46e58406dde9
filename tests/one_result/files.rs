//! A case as files: the job, the streams, the history; and what a run of it wrote.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use headwater::{Handle, Options};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use super::model::{Event, Job, Letter, Log, Output, Window, length};

/// What files hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Parquet,
    Jsonl,
    Csv,
}

/// How a log is cut into history and stream, and how it is read.
#[derive(Clone, Debug)]
pub struct Way {
    /// How many records of each partition the history has; `None`: there is no history.
    pub cuts: Option<Vec<usize>>,
    pub history: Format,
    /// JSON lines or CSV.
    pub stream: Format,
    /// In how many files the history is.
    pub files: usize,
    /// The streams have lost what every partition's history has.
    pub lost: bool,
    pub workers: usize,
}

impl Format {
    /// As a job calls it.
    fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
        }
    }
}

/// A record with its place in the log.
type Placed<'a> = (&'a Event, usize, usize);

pub fn run(job: &Job, log: &Log, way: &Way) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let first = way.cuts.as_ref().filter(|_| way.lost).map_or(0, |cuts| *cuts.iter().min().unwrap());
    fs::create_dir(dir.join("stream")).unwrap();
    for (p, records) in log.iter().enumerate() {
        let line = |event: &Event| if way.stream == Format::Csv { csv(event, "") } else { json(event, "") };
        fs::write(dir.join(format!("stream/{p}")), records[first..].iter().map(line).collect::<String>()).unwrap();
    }
    if let Some(cuts) = &way.cuts {
        write_history(dir, log, cuts, way);
    }
    let path = dir.join("job.toml");
    fs::write(&path, job_text(job, way, first)).unwrap();
    let parsed = headwater::Job::from_file(&path).unwrap_or_else(|faults| panic!("{faults}"));
    let options = Options { until_end: true, fresh: true, workers: way.workers, ..Options::default() };
    let run = headwater::run(parsed, options).unwrap();
    while !run.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // While the handle is there, so is the store.
    let rows = job.groups.iter().map(|group| exported(&run, group.name)).collect();
    if let Err(failure) = run.wait() {
        panic!("{failure:?}\n{}", job_text(job, way, first));
    }
    let changes = fs::read_to_string(dir.join("changes.jsonl")).unwrap();
    Output { changes: changes.lines().map(str::to_owned).collect(), rows, dead_letters: dead_letters(dir) }
}

/// None of a run that failed.
fn exported(run: &Handle, group: &str) -> Vec<String> {
    let mut lines = vec![];
    run.export(group, |line| lines.push(line.to_owned())).unwrap_or_default();
    lines
}

fn dead_letters(dir: &Path) -> Vec<Letter> {
    let text = fs::read_to_string(dir.join("state/dead_letters.jsonl")).unwrap_or_default();
    let mut dead_letters: Vec<_> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let number = |name: &str| line[name].as_i64().unwrap();
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("reason"), number("partition"), number("offset"), text("arrival"), line["late_by_us"].as_i64())
        })
        .collect();
    dead_letters.sort();
    dead_letters
}

fn json(event: &Event, more: &str) -> String {
    let show = |x: Option<i64>| x.map_or_else(|| "null".to_owned(), |x| x.to_string());
    let key = event.key.as_ref().map_or_else(|| "null".to_owned(), |key| format!("{key:?}"));
    let (x, arrived) = (show(event.x), show(event.arrived));
    format!("{{\"k\":{key},\"x\":{x},\"ts\":{},\"arrived\":{arrived}{more}}}\n", event.ts)
}

/// `k,x,ts,arrived`, the key now and then in quotes.
fn csv(event: &Event, more: &str) -> String {
    let show = |x: Option<i64>| x.map_or_else(String::new, |x| x.to_string());
    let quote = if event.ts % 3 == 0 { "\"" } else { "" };
    let (key, x, arrived) = (event.key.as_deref().unwrap_or_default(), show(event.x), show(event.arrived));
    format!("{quote}{key}{quote},{x},{},{arrived}{more}\n", event.ts)
}

fn write_history(dir: &Path, log: &Log, cuts: &[usize], way: &Way) {
    fs::create_dir(dir.join("history")).unwrap();
    let rows: Vec<Placed> = log
        .iter()
        .enumerate()
        .flat_map(|(p, records)| records[..cuts[p]].iter().enumerate().map(move |(o, event)| (event, p, o)))
        .collect();
    for file in 0..way.files {
        let rows: Vec<Placed> = rows.iter().skip(file).step_by(way.files).copied().collect();
        let path = dir.join(format!("history/{file}"));
        match way.history {
            Format::Parquet => write_parquet(&path, &rows),
            Format::Jsonl => {
                let line = |(event, p, o): &Placed| json(event, &format!(",\"p\":{p},\"o\":{o}"));
                fs::write(path, rows.iter().map(line).collect::<String>()).unwrap();
            }
            Format::Csv => {
                let line = |(event, p, o): &Placed| csv(event, &format!(",{p},\"two\n\"\"lines\"\"\",{o}"));
                let lines: String = rows.iter().map(line).collect();
                fs::write(path, format!("\u{feff}k,x,ts,arrived,p,note,o\n{lines}")).unwrap();
            }
        }
    }
}

fn write_parquet(path: &Path, rows: &[Placed]) {
    let time = |of: fn(&Event) -> Option<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|r| of(r.0))).with_timezone("UTC"))
    };
    let columns: [(&str, ArrayRef, bool); 6] = [
        ("k", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.0.key.as_deref()))), true),
        ("x", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.0.x))), true),
        ("ts", time(|event| Some(event.ts)), true),
        ("arrived", time(|event| event.arrived), true),
        ("p", Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1 as i32))), true),
        ("o", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2 as i64))), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub fn job_text(job: &Job, way: &Way, first: usize) -> String {
    let mut text = format!("name = \"one\"\ntick = \"{}\"\n[sources.s]\n", length(Some(job.tick)));
    text += "event_time = \"ts\"\narrival_time = \"arrived\"\ntime_unit = \"us\"\n";
    text += &format!("lateness = \"{}\"\n", length(Some(job.lateness)));
    let history = way.cuts.is_some();
    if history {
        text += "seam = { by = \"offset\", partition = \"p\", offset = \"o\" }\n";
    }
    if !(history && way.history == Format::Parquet) {
        text += "[sources.s.schema]\nk = \"string\"\nx = \"int64\"\nts = \"timestamp\"\narrived = \"timestamp\"\n";
        text += "p = \"int32\"\no = \"int64\"\n";
    }
    if history {
        text += &format!("[sources.s.history]\ntype = \"{}\"\npath = \"history/*\"\n", way.history.name());
    }
    let kind = way.stream.name();
    text += &format!("[sources.s.stream]\ntype = \"{kind}\"\npath = \"stream/*\"\nfirst_offset = {first}\n");
    if way.stream == Format::Csv {
        text += "columns = [\"k\", \"x\", \"ts\", \"arrived\"]\n";
    }
    for group in &job.groups {
        text += &format!("[features.{}]\nsource = \"s\"\nkey = \"k\"\n", group.name);
        let mut windows = String::new();
        match &group.window {
            Window::Trailing(lengths) => {
                let lengths: Vec<String> = lengths.iter().map(|w| format!("{:?}", length(*w))).collect();
                windows = format!(", windows = [{}]", lengths.join(", "));
            }
            Window::Hopping { size, every } if size == every => {
                text += &format!("window = {{ tumbling = \"{}\" }}\n", length(Some(*size)));
            }
            Window::Hopping { size, every } => {
                let (size, every) = (length(Some(*size)), length(Some(*every)));
                text += &format!("window = {{ hopping = \"{size}\", every = \"{every}\" }}\n");
            }
            Window::Session { gap } => text += &format!("window = {{ session = \"{}\" }}\n", length(Some(*gap))),
        }
        if !matches!(group.window, Window::Trailing(_)) {
            text += &format!("retain = \"{}\"\n", length(Some(group.retain)));
        }
        text += &format!("[features.{}.columns]\n{}", group.name, columns(&windows));
    }
    text += "[sinks.rows]\ntype = \"embedded\"\n[sinks.changes]\ntype = \"jsonl\"\npath = \"changes.jsonl\"\n";
    text + "[state]\npath = \"state\"\n"
}

/// The columns that the model has, over some windows: a part of each column's table.
pub fn columns(windows: &str) -> String {
    let of_x = [("s", "sum"), ("m", "max"), ("d", "count_distinct"), ("l", "last")];
    let of_x = of_x.map(|(name, agg)| format!("{name} = {{ agg = \"{agg}\", of = \"x\"{windows} }}\n")).concat();
    format!(
        "n = {{ agg = \"count\"{windows} }}\n{of_x}p = {{ agg = \"count\", where = \"x > 2\"{windows} }}\n\
         q = {{ agg = \"sum\", of = \"x\", where = \"x % 2 = 0\"{windows} }}\n"
    )
}
