//! Jobs over every aggregate, and logs for them, cut into history and stream.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::times;
use crate::support::*;

#[derive(Clone, Debug)]
pub struct Event {
    pub k: String,
    pub q: i64,
    pub x: Option<i64>,
    pub f: f64,
    /// Hundredths.
    pub fee: i64,
    pub m: &'static str,
    pub ts: i64,
    pub arrived: i64,
}

/// By partition, in the order of offsets.
pub type Log = Vec<Vec<Event>>;

const FLOATS: [f64; 8] = [0.1, -0.0, 2.5e-3, -1e18, 1e300, f64::INFINITY, f64::NAN, 12.25];
const WORDS: [&str; 4] = ["a", "b", "long enough to lie elsewhere", ""];

/// Events that come in the order of their arrival; many of them late, by up to an hour, and some before their time.
pub fn log(seed: u64, events: usize, partitions: usize, keys: usize) -> Log {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut log = vec![vec![]; partitions];
    let mut now = START;
    for _ in 0..events {
        now += SECOND * [0, 1, 7, 40, 200][rng.random_range(0..5)] + rng.random_range(0..3) * 1000;
        let ts = match rng.random_range(0..10) {
            0..6 => now - rng.random_range(0..3) * SECOND,
            6 => now + rng.random_range(0..600) * SECOND,
            _ => now - rng.random_range(0..3600) * SECOND,
        };
        let event = Event {
            k: format!("k{}", rng.random_range(0..keys)),
            q: rng.random_range(0..3),
            x: rng.random_bool(0.85).then(|| rng.random_range(-5..10)),
            f: FLOATS[rng.random_range(0..FLOATS.len())],
            fee: rng.random_range(-500..100_000),
            m: WORDS[rng.random_range(0..WORDS.len())],
            ts,
            arrived: now,
        };
        log[rng.random_range(0..partitions)].push(event);
    }
    log
}

impl Event {
    pub fn json(&self) -> String {
        let x = self.x.map_or_else(|| "null".to_owned(), |x| x.to_string());
        let f = match self.f {
            f if f.is_nan() => "\"NaN\"".to_owned(),
            f if f.is_infinite() => "\"Infinity\"".to_owned(),
            f => format!("{f:?}"),
        };
        let fee =
            format!("{}{}.{:02}", if self.fee < 0 { "-" } else { "" }, self.fee.abs() / 100, self.fee.abs() % 100);
        let Event { k, q, m, ts, arrived, .. } = self;
        format!(
            "{{\"k\":\"{k}\",\"q\":{q},\"x\":{x},\"f\":{f},\"fee\":{fee},\"m\":{m:?},\"ts\":{ts},\"arrived\":{arrived}}}\n"
        )
    }
}

/// The files of a stream, whole or up to some offsets.
pub fn write_stream(dir: &Path, log: &Log, until: Option<&[usize]>) {
    fs::create_dir_all(dir.join("stream")).unwrap();
    for (p, records) in log.iter().enumerate() {
        let until = until.map_or(records.len(), |until| until[p]);
        let lines: String = records[..until].iter().map(Event::json).collect();
        fs::write(dir.join(format!("stream/{p}.jsonl")), lines).unwrap();
    }
}

/// How rows lie in a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// A file for each partition, in the order of its log.
    Log,
    /// Two files, each with rows of any offset.
    Mixed,
}

/// What of a log lies before some offsets, in files of small row groups.
pub fn write_history(dir: &Path, log: &Log, cuts: &[usize], order: Order) {
    fs::create_dir_all(dir.join("history")).unwrap();
    let rows: Vec<(&Event, usize, usize)> = log
        .iter()
        .enumerate()
        .flat_map(|(p, records)| records[..cuts[p]].iter().enumerate().map(move |(o, event)| (event, p, o)))
        .collect();
    let files = if order == Order::Log { log.len() } else { 2 };
    for file in 0..files {
        let rows: Vec<_> = match order {
            Order::Log => rows.iter().filter(|(_, p, _)| *p == file).copied().collect(),
            Order::Mixed => rows.iter().rev().skip(file).step_by(2).copied().collect(),
        };
        let fees = Decimal128Array::from_iter_values(rows.iter().map(|(e, ..)| i128::from(e.fee)));
        let columns: [(&str, ArrayRef); 10] = [
            ("k", Arc::new(StringArray::from_iter_values(rows.iter().map(|(e, ..)| &e.k)))),
            ("q", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(e, ..)| e.q)))),
            ("x", Arc::new(Int64Array::from_iter(rows.iter().map(|(e, ..)| e.x)))),
            ("f", Arc::new(Float64Array::from_iter_values(rows.iter().map(|(e, ..)| e.f)))),
            ("fee", Arc::new(fees.with_precision_and_scale(18, 2).unwrap())),
            ("m", Arc::new(StringArray::from_iter_values(rows.iter().map(|(e, ..)| e.m)))),
            ("ts", times(rows.iter().map(|(e, ..)| Some(e.ts)))),
            ("arrived", times(rows.iter().map(|(e, ..)| Some(e.arrived)))),
            ("p", Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, p, _)| *p as i32)))),
            ("o", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(.., o)| *o as i64)))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let file = fs::File::create(dir.join(format!("history/{file}.parquet"))).unwrap();
        let properties =
            parquet::file::properties::WriterProperties::builder().set_max_row_group_row_count(Some(50)).build();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

/// Where history and stream meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sides {
    Both,
    History,
    Stream,
}

pub fn job(sides: Sides, features: &str) -> String {
    let mut text =
        "name = \"train\"\ntick = \"1s\"\n[sources.s]\nevent_time = \"ts\"\narrival_time = \"arrived\"\n".to_owned();
    text += "time_unit = \"us\"\n";
    if sides == Sides::Both {
        text += "seam = { by = \"offset\", partition = \"p\", offset = \"o\" }\n";
    }
    if sides != Sides::Stream {
        text += "[sources.s.history]\ntype = \"parquet\"\npath = \"history/*.parquet\"\n";
    } else {
        text += "[sources.s.schema]\nk = \"string\"\nq = \"int64\"\nx = \"int64\"\nf = \"float64\"\nfee = \"decimal128(18, 2)\"\n";
        text += "m = \"string\"\nts = \"timestamp\"\narrived = \"timestamp\"\n";
    }
    if sides != Sides::History {
        text += "[sources.s.stream]\ntype = \"jsonl\"\npath = \"stream/*.jsonl\"\n";
    }
    text + features + "[sinks.changes]\ntype = \"jsonl\"\npath = \"changes.jsonl\"\n[sinks.rows]\ntype = \"embedded\"\n"
}

/// Every aggregate, over windows that are short, long and all.
pub const EVERY_AGGREGATE: &str = r#"
[features.every]
source = "s"
key = "k"
[features.every.columns]
n    = { agg = "count", windows = ["1m", "30m", "2h", "all"] }
nx   = { agg = "count", of = "x", windows = ["30m", "all"] }
s    = { agg = "sum", of = "x", windows = ["1m", "2h", "all"] }
sf   = { agg = "sum", of = "f", windows = ["1m", "30m", "2h", "all"] }
sd   = { agg = "sum", of = "fee", windows = ["30m", "all"] }
a    = { agg = "avg", of = "fee", windows = ["30m", "all"] }
low  = { agg = "min", of = "f", windows = ["1m", "2h", "all"] }
high = { agg = "max", of = "m", windows = ["1m", "2h", "all"] }
vp   = { agg = "var_pop", of = "x", windows = ["30m", "all"] }
vs   = { agg = "var_samp", of = "f", windows = ["30m", "all"] }
dp   = { agg = "stddev_pop", of = "fee", windows = ["30m", "all"] }
ds   = { agg = "stddev_samp", of = "x", windows = ["1m", "2h"] }
fst  = { agg = "first", of = "x", windows = ["1m", "2h", "all"] }
lst  = { agg = "last", of = "m", windows = ["1m", "2h", "all"] }
cd   = { agg = "count_distinct", of = "m", windows = ["1m", "2h", "all"] }
top  = { agg = "top_k", of = "m", k = 2, windows = ["30m", "all"] }
md   = { agg = "mode", of = "x", windows = ["30m", "all"] }
ln   = { agg = "last_n", of = "x", n = 3, windows = ["1m", "2h", "all"] }
acd  = { agg = "approx_count_distinct", of = "x", windows = ["30m", "all"] }
p90  = { agg = "approx_percentile", of = "f", p = 0.9, windows = ["30m", "all"] }
[features.pairs]
source = "s"
key = ["q", "k"]
where = "x > 0 or m = 'a'"
columns = { n = { agg = "count", windows = ["10m"] }, best = { agg = "max", of = "x * 2", windows = ["1h"] } }
derived = { share = "best_1h / n_10m", name = "k || ' ' || q", more = "n_10m + 1" }
[features.hourly]
source = "s"
key = "k"
window = { tumbling = "1h" }
columns = { n = { agg = "count" } }
"#;
