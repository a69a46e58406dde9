//! What a row group's statistics say of a time or integer column, exactly.

use arrow::datatypes::{DataType, TimeUnit};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use crate::history::Range;

/// The range of a column in a row group; `data_type` is the column's type as it is decoded. `None`: not known.
pub(super) fn range(chunk: &ColumnChunkMetaData, rows: i64, data_type: &DataType) -> Option<Range> {
    let statistics = chunk.statistics()?;
    let nulls = statistics.null_count_opt()?;
    if nulls == u64::try_from(rows).ok()? {
        return Some(Range { bounds: None, nulls });
    }
    Some(Range { bounds: Some(bounds(statistics, data_type)?), nulls })
}

/// The smallest and the greatest value of an integer or time column, as its values are handed on.
pub(super) fn bounds(statistics: &Statistics, data_type: &DataType) -> Option<(i64, i64)> {
    let (min, max) = integers(statistics, is_unsigned(data_type))?;
    Some((as_seen(min, data_type)?, as_seen(max, data_type)?))
}

/// The bounds of an integer column: never cut short, as those of long strings are, and so exact.
fn integers(statistics: &Statistics, unsigned: bool) -> Option<(i64, i64)> {
    // Old writers compared all integers as signed ones.
    if unsigned && statistics.is_min_max_deprecated() {
        return None;
    }
    match statistics {
        Statistics::Int32(s) if unsigned => Some((i64::from(*s.min_opt()? as u32), i64::from(*s.max_opt()? as u32))),
        Statistics::Int32(s) => Some((i64::from(*s.min_opt()?), i64::from(*s.max_opt()?))),
        Statistics::Int64(s) => {
            let (min, max) = (*s.min_opt()?, *s.max_opt()?);
            // Of unsigned ones, what an i64 cannot hold looks negative.
            (!unsigned || (min >= 0 && max >= 0)).then_some((min, max))
        }
        _ => None,
    }
}

fn is_unsigned(data_type: &DataType) -> bool {
    matches!(data_type, DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64)
}

/// A bound as the column's values are handed on. Flooring keeps the order, so bounds stay exact.
fn as_seen(value: i64, data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => value.checked_mul(1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => value.checked_mul(1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32 => Some(value),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(value.div_euclid(1_000)),
        other => other.is_integer().then_some(value),
    }
}
