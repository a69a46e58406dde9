//! A file of the serve log: its name, which says of which time it is, and its columns.
//!
//! `2026-01-31/served-FIRST-LAST-START-NUMBER.parquet`, where the first and last times are in microseconds since 1970.
//!
//! | column | what |
//! |---|---|
//! | `group` (string) | the group |
//! | `key` (string) | the key as JSON: `{"card_id":"c1"}` |
//! | `time` (timestamp) | when it was asked for |
//! | `row` (string) | the row as JSON: `{"tx_1h":3}`; null: there was none |
//! | `changed_at` (timestamp) | the tick at which it had last changed; null: there was none |
//! | `as_of` (timestamp) | the tick up to which the store had every row of the group; null: it was not whole yet |

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_clocks::{Time, WallClock, format_time};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;

use super::noted::Noted;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("group", DataType::Utf8, false),
        Field::new("key", DataType::Utf8, false),
        Field::new("time", time(), false),
        Field::new("row", DataType::Utf8, true),
        Field::new("changed_at", time(), true),
        Field::new("as_of", time(), true),
    ]))
});

pub fn schema() -> &'static SchemaRef {
    &SCHEMA
}

/// When a file's rows were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub first: WallClock,
    pub last: WallClock,
}

impl Times {
    pub fn of(rows: &[Noted]) -> Times {
        let times = || rows.iter().map(|row| row.time);
        Times {
            first: times().min().unwrap_or(WallClock::from_us(0)),
            last: times().max().unwrap_or(WallClock::from_us(0)),
        }
    }
}

pub fn name(times: Times, start: u64, number: u64) -> String {
    let (first, last) = (times.first.us(), times.last.us());
    let day: String = format_time(first).chars().take_while(|c| *c != 'T').collect();
    format!("{day}/served-{first}-{last}-{start:016x}-{number}.parquet")
}

/// The times that a name says; `None`: it is not one of a log's file.
pub fn parse_name(name: &str) -> Option<Times> {
    let name = name.rsplit('/').next()?.strip_prefix("served-")?.strip_suffix(".parquet")?;
    // A time before 1970 has a sign before it.
    let (first, rest) = number(name)?;
    let (last, _) = number(rest.strip_prefix('-')?)?;
    Some(Times { first: WallClock::from_us(first), last: WallClock::from_us(last) })
}

fn number(text: &str) -> Option<(i64, &str)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = text.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// A whole file.
pub fn bytes(rows: &[Noted]) -> Result<Vec<u8>> {
    let times = |of: fn(&Noted) -> Option<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(of)).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.group))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.key))),
        times(|row| Some(row.time.us())),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.row.as_ref()))),
        times(|row| row.changed_at.map(Time::us)),
        times(|row| row.as_of.map(Time::us)),
    ];
    let batch = RecordBatch::try_new(schema().clone(), columns)?;
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(vec![], schema().clone(), Some(properties))?;
    writer.write(&batch)?;
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_times() {
        for (first, last) in [(1_769_856_432_310_000, 1_769_856_492_000_001), (0, 0), (-5, 7)] {
            let times = Times { first: WallClock::from_us(first), last: WallClock::from_us(last) };
            assert_eq!(parse_name(&name(times, 17, 3)), Some(times));
        }
        let at = WallClock::from_us(1_769_856_432_310_000);
        assert!(name(Times { first: at, last: at }, 1, 2).starts_with("2026-01-31/"));
        for other in ["a/served-1.parquet", "served-1-2-3-4.arrow", "other-1-2-3-4.parquet", ""] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
