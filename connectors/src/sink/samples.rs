//! Two small groups for the tests of sinks: `cards` with one row a key, and `hourly` with one a key and hour. And lines that are
//! kept to be looked at.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_clocks::Span;

use super::lines::{LineMeta, LineSink, SinkPosition};
use super::{GroupShape, RowWindows};

pub const HOUR: i64 = 3_600_000_000;

/// Key, window start (not looked at where there are no windows), value, time, diff.
pub type Change<'a> = (&'a str, i64, Option<f64>, i64, i8);

pub struct Sample {
    pub shape: GroupShape,
}

pub fn plain() -> Sample {
    sample("cards", false)
}

pub fn windowed() -> Sample {
    sample("hourly", true)
}

fn sample(name: &str, windowed: bool) -> Sample {
    let us = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields = vec![Field::new("card", DataType::Utf8, false)];
    if windowed {
        fields.extend([Field::new("_start", us.clone(), false), Field::new("_end", us, false)]);
    }
    fields.push(Field::new("x", DataType::Float64, true));
    fields.extend([Field::new("_time", DataType::Int64, false), Field::new("_diff", DataType::Int8, false)]);
    let windows = windowed.then_some(RowWindows { retain: Span::from_us(HOUR), size: Some(Span::from_us(HOUR)) });
    Sample { shape: GroupShape { name: name.into(), keys: 1, windows, schema: Arc::new(Schema::new(fields)) } }
}

impl Sample {
    pub fn batch(&self, changes: &[Change]) -> RecordBatch {
        let us = |end: i64| {
            let times: Vec<_> = changes.iter().map(|c| c.1 + end).collect();
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef
        };
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(changes.iter().map(|c| c.0)))];
        if self.shape.windowed() {
            columns.extend([us(0), us(HOUR)]);
        }
        columns.push(Arc::new(changes.iter().map(|c| c.2).collect::<Float64Array>()));
        columns.push(Arc::new(changes.iter().map(|c| c.3).collect::<Int64Array>()));
        columns.push(Arc::new(changes.iter().map(|c| c.4).collect::<Int8Array>()));
        RecordBatch::try_new(self.shape.schema.clone(), columns).unwrap()
    }
}

#[derive(Default)]
pub struct WrittenLines {
    pub lines: Vec<String>,
    pub keys: Vec<String>,
}

/// No line may be longer.
pub const KEPT_BYTES_MAX: usize = 500;

impl LineSink for WrittenLines {
    fn write(&mut self, line: &[u8], meta: &LineMeta) -> crate::Result<()> {
        let mut key = vec![];
        (meta.key)(&mut key);
        self.lines.push(String::from_utf8(line.to_vec()).unwrap());
        self.keys.push(String::from_utf8(key).unwrap());
        Ok(())
    }

    fn flush(&mut self) -> crate::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> crate::Result<SinkPosition> {
        Ok(SinkPosition::new("Lines", self.lines.len()))
    }

    fn line_bytes_max(&self) -> usize {
        KEPT_BYTES_MAX
    }
}
