//! Events as the tests make them, as JSON for the topic and as Parquet for the history.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;

/// A purchase. Times are microseconds, whole milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub card: String,
    pub amount: Option<f64>,
    pub ok: bool,
    pub ts: i64,
    pub arrived: i64,
}

impl Event {
    pub fn json(&self) -> String {
        let amount = self.amount.map_or("null".to_owned(), |a| format!("{a:?}"));
        let (ts, arrived) = (self.ts / 1000, self.arrived / 1000);
        let status = if self.ok { "approved" } else { "declined" };
        let card = serde_json::to_string(&self.card).unwrap();
        format!(r#"{{"card":{card},"amount":{amount},"status":"{status}","ts":{ts},"arrived":{arrived}}}"#)
    }
}

/// By partition, in the order of offsets.
pub type Log = Vec<Vec<Event>>;

/// Small, and the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// `n` events from `from` to `to`, most of them soon there, some late, in the order of arrival. Amounts are quarters, so
    /// that any order of adding gives the same sum.
    pub fn events(&mut self, n: usize, cards: u64, from: i64, to: i64) -> Vec<Event> {
        let mut events: Vec<Event> = (0..n)
            .map(|_| {
                let arrived = from + self.below(((to - from) / 1000) as u64) as i64 * 1000;
                let late = if self.below(5) == 0 { self.below(1_200_000) } else { self.below(50) } as i64 * 1000;
                Event {
                    card: format!("c{}", self.below(cards)),
                    amount: (self.below(10) > 0).then(|| self.below(4000) as f64 / 4.0 - 100.0),
                    ok: self.below(8) > 0,
                    ts: arrived - late,
                    arrived,
                }
            })
            .collect();
        events.sort_by_key(|event| event.arrived);
        events
    }

    /// Parts events among partitions; those listed in `empty` get none.
    pub fn part(&mut self, events: &[Event], partitions: usize, empty: &[usize]) -> Log {
        let mut log = vec![vec![]; partitions];
        for event in events {
            let p = loop {
                let p = self.below(partitions as u64) as usize;
                if !empty.contains(&p) {
                    break p;
                }
            };
            log[p].push(event.clone());
        }
        log
    }
}

/// Writes rows of a history: events with their partition and offset.
pub fn write_parquet(path: &Path, rows: &[(Event, i32, i64)]) {
    let us = |of: fn(&Event) -> i64| {
        let values: Vec<i64> = rows.iter().map(|(event, ..)| of(event)).collect();
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef
    };
    let text =
        |of: fn(&Event) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(|r| of(&r.0)))) };
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("card", text(|e| &e.card), true),
        ("amount", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.0.amount))) as ArrayRef, true),
        ("status", text(|e| if e.ok { "approved" } else { "declined" }), true),
        ("ts", us(|e| e.ts), true),
        ("arrived", us(|e| e.arrived), true),
        ("kafka_partition", Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1))) as ArrayRef, true),
        ("kafka_offset", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))) as ArrayRef, true),
    ])
    .unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The rows of a log before `cuts`, by partition.
pub fn history_of(log: &Log, cuts: &[usize]) -> Vec<(Event, i32, i64)> {
    let rows = |(p, cut): (usize, &usize)| {
        log[p][..*cut].iter().enumerate().map(move |(o, event)| (event.clone(), p as i32, o as i64)).collect::<Vec<_>>()
    };
    cuts.iter().enumerate().flat_map(rows).collect()
}
