//! History and a topic of a real Kafka as one: what the topic has lost is in the history, and nothing counts twice.

use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use serde_json::Value;

use super::processes::same_bytes;
use super::{backfill, read_table, texts, times, write_table};
use crate::support::*;

fn cell(batch: &RecordBatch, column: usize, row: usize) -> Value {
    let column = batch.column(column);
    match column.data_type() {
        _ if column.is_null(row) => Value::Null,
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        _ => column.as_primitive::<Float64Type>().value(row).into(),
    }
}

#[test]
fn history_and_topic_are_one() {
    let case = need!(Case::new("train"));
    let mut random = Random(41);
    let events = random.events(3000, 12, START, START + HOUR);
    let log = random.part(&events, 4, &[3]);
    let topic = Topic::new(&case.kafka, &case.name, 4);
    topic.fill(&log);
    write_parquet(&case.path("history/a.parquet"), &history_of(&log, &[300, 250, 0]));
    topic.cut(0, 200);
    let text = job(HISTORY, BY_OFFSET, &cards(&WINDOWS));
    case.job("job.toml", &text);
    let labels: Vec<(String, i64)> = (0..400)
        .map(|_| (format!("c{}", random.below(14)), START + random.below(2 * HOUR as u64 / 1000) as i64 * 1000 + 7))
        .collect();
    let spine = RecordBatch::try_from_iter([
        ("card", texts(labels.iter().map(|(card, _)| Some(card.as_str())))),
        ("at", times(labels.iter().map(|(_, at)| Some(*at)))),
    ]);
    write_table(&case.path("spine.parquet"), &spine.unwrap());
    let seen = visible(&log, i64::MIN, TICK);
    for workers in ["1", "3"] {
        finish(backfill(case.dir.path(), &["--out", "out.parquet", "--workers", workers]), 0);
        let found = read_table(&case.path("out.parquet"));
        for (row, (card, at)) in labels.iter().enumerate() {
            let expected = rows(&seen, &WINDOWS, at.div_euclid(TICK) * TICK).remove(card).unwrap_or_default();
            for (column, field) in found.schema().fields().iter().enumerate().skip(2) {
                let name = field.name().strip_prefix("cards__").unwrap();
                let nothing = if name.starts_with("n_") { 0.into() } else { Value::Null };
                let expected = expected.get(name).cloned().unwrap_or(nothing);
                assert_eq!(cell(&found, column, row), expected, "{workers} workers, {name} of {card} at {at}");
            }
        }
    }
    same_bytes(case.dir.path(), &[(2, 1), (3, 2)], &[], &[]);
    topic.cut(1, 400);
    let told = finish(backfill(case.dir.path(), &["--out", "out.parquet"]), 3).stderr;
    assert!(told.contains("partition 1") && told.contains("250..399 are gone"), "{told}");
}
