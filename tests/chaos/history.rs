//! A history: the first records of each partition.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;

use super::scenario::Record;
use crate::one_result::model::Event;

struct Row<'a> {
    event: &'a Event,
    f: Option<f64>,
    m: &'a str,
    p: i32,
    o: i64,
}

/// `log`: its records, by partition.
pub fn write_history(path: &Path, log: &[Vec<Record>], parquet: bool) {
    let mut rows = vec![];
    for (p, records) in log.iter().enumerate() {
        for (o, record) in records.iter().enumerate() {
            let Record::Event { event, f, m } = record else { panic!("the history has events alone") };
            rows.push(Row { event, f: *f, m, p: p as i32, o: o as i64 });
        }
    }
    if parquet {
        return write_parquet(path, &rows);
    }
    let line = |row: &Row| {
        let record = Record::Event { event: row.event.clone(), f: row.f, m: row.m.to_owned() };
        let text = record.payload().unwrap();
        format!("{},\"p\":{},\"o\":{}}}\n", text.trim_end_matches('}'), row.p, row.o)
    };
    std::fs::write(path, rows.iter().map(line).collect::<String>()).unwrap();
}

fn write_parquet(path: &Path, rows: &[Row]) {
    let time = |of: fn(&Event) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| of(r.event))).with_timezone("UTC"))
    };
    let columns: [(&str, ArrayRef, bool); 8] = [
        ("ts", time(|event| event.ts), true),
        ("a", time(Event::a), true),
        ("k", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.event.key.as_deref()))), true),
        ("x", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.event.x))), true),
        ("f", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.f))), true),
        ("m", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.m))), true),
        ("p", Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.p))), true),
        ("o", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.o))), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}
