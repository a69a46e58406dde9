//! A spine's column as a key column of a group: by value, whatever its width.
//!
//! | the key is | the spine's column may be |
//! |---|---|
//! | an integer | any integer |
//! | a string | any flavour of string |
//! | a timestamp | a timestamp of any unit, floored to microseconds as in a source |
//! | a date | a date of either width |
//! | a decimal | any decimal, or an integer |
//! | a boolean | a boolean |
//!
//! and a dictionary of any of these, or all nulls. A value that the key's type cannot hold is the key of no event, and null here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;

use crate::job::validate::types;

/// Whether a column of this type can be the key.
pub fn fits(found: &DataType, key: &DataType) -> bool {
    use DataType::*;
    match (found, key) {
        (Dictionary(_, values), key) => fits(values, key),
        (Null, _) => true,
        (Utf8 | LargeUtf8 | Utf8View, Utf8) | (Date32 | Date64, Date32) | (Timestamp(..), Timestamp(..)) => true,
        (found, key) if key.is_integer() => found.is_integer(),
        (found, Decimal128(..)) => found.is_integer() || is_decimal(found),
        (found, key) => found == key,
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(data_type, Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..))
}

/// A column's type as messages name it, whatever its flavour.
pub fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => types::display(&DataType::Utf8),
        DataType::Dictionary(_, values) => shown(values),
        other => types::display(other),
    }
}

/// What to do about a column that cannot.
pub fn hint(found: &DataType, key: &DataType) -> &'static str {
    match (found.is_floating(), key.is_integer()) {
        (true, true) => {
            "cast it to an integer (pandas makes floats of integers with missing values: `Int64` keeps them)"
        }
        _ => "cast it to the key's type",
    }
}

/// The column in the key's type. Of types that fit.
pub fn as_key(column: &ArrayRef, key: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), key) {
        (found, key) if found == key => Ok(column.clone()),
        (DataType::Null, _) => Ok(new_null_array(key, column.len())),
        (DataType::Dictionary(_, values), _) => as_key(&cast(column, values)?, key),
        (DataType::Timestamp(..), DataType::Timestamp(..)) => {
            let micros = micros(column, |t, by| t.checked_mul(by));
            Ok(Arc::new(micros.with_data_type(key.clone())))
        }
        _ => by_value(column, key),
    }
}

/// Cast, where casting back gives the same again.
fn by_value(column: &ArrayRef, key: &DataType) -> Result<ArrayRef, ArrowError> {
    let there = cast(column, key)?;
    let back = cast(&there, column.data_type())?;
    let same = eq(&back, column)?;
    let lost: BooleanArray = same.iter().map(|same| Some(same == Some(false))).collect();
    if lost.true_count() > 0 { nullif(&there, &lost) } else { Ok(there) }
}

fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(column, to, &CastOptions { safe: true, ..CastOptions::default() })
}

type Micros = arrow::array::PrimitiveArray<TimestampMicrosecondType>;

/// Timestamps in microseconds, floored. `scale`: of a coarser unit, null where it gives nothing.
pub fn micros(column: &ArrayRef, scale: fn(i64, i64) -> Option<i64>) -> Micros {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            column.as_primitive::<TimestampSecondType>().unary_opt(|t| scale(t, 1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().unary_opt(|t| scale(t, 1_000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().unary(|t| t.div_euclid(1_000))
        }
        _ => column.as_primitive::<TimestampMicrosecondType>().clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Date32Array, Date64Array, Decimal128Array, Int8Array, Int32Array, Int64Array, LargeStringArray, StringArray,
        StringViewArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
    };

    use super::*;

    fn decimals(values: Vec<i128>, scale: i8) -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(20, scale).unwrap())
    }

    #[test]
    fn by_value_whatever_the_width() {
        let utc = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("")]));
        let at = |values: Vec<Option<i64>>| -> ArrayRef {
            Arc::new(arrow::array::TimestampMicrosecondArray::from(values).with_timezone("UTC"))
        };
        let rows: Vec<(ArrayRef, ArrayRef)> = vec![
            (Arc::new(Int32Array::from(vec![1, -7])), Arc::new(Int64Array::from(vec![1, -7]))),
            (
                Arc::new(Int64Array::from(vec![Some(1), Some(1 << 40), None])),
                Arc::new(Int32Array::from(vec![Some(1), None, None])),
            ),
            (Arc::new(UInt64Array::from(vec![u64::MAX, 3])), Arc::new(Int64Array::from(vec![None, Some(3)]))),
            (Arc::new(Int8Array::from(vec![-1, 3])), Arc::new(UInt64Array::from(vec![None, Some(3)]))),
            (Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("")])), texts.clone()),
            (Arc::new(StringViewArray::from(vec![Some("a"), None, Some("")])), texts.clone()),
            (cast(&texts, &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))).unwrap(), texts),
            (Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999, 2_000])), at(vec![Some(-1), Some(1), Some(2)])),
            (Arc::new(TimestampMillisecondArray::from(vec![7, i64::MAX])), at(vec![Some(7_000), None])),
            (Arc::new(Date64Array::from(vec![86_400_000, 1])), Arc::new(Date32Array::from(vec![Some(1), None]))),
            (decimals(vec![150, 1], 2), decimals(vec![15_000, 100], 4)),
            (
                decimals(vec![15_000, 101], 4),
                Arc::new(Decimal128Array::from(vec![Some(150), None]).with_precision_and_scale(20, 2).unwrap()),
            ),
            (Arc::new(Int32Array::from(vec![5])), decimals(vec![500], 2)),
            (new_null_array(&DataType::Null, 2), new_null_array(&DataType::Int64, 2)),
        ];
        for (column, expected) in rows {
            let key = expected.data_type();
            assert!(fits(column.data_type(), key), "{} as {key}", column.data_type());
            assert_eq!(&as_key(&column, key).unwrap(), &expected, "{} as {key}", column.data_type());
        }
        for (found, key) in [
            (DataType::Float64, DataType::Int64),
            (DataType::Utf8, DataType::Int64),
            (DataType::Int64, DataType::Utf8),
            (DataType::Int64, utc()),
            (DataType::Date32, utc()),
            (utc(), DataType::Date32),
            (DataType::Boolean, DataType::Int8),
            (DataType::Binary, DataType::Utf8),
            (DataType::Decimal128(9, 0), DataType::Int64),
        ] {
            assert!(!fits(&found, &key), "{found} as {key}");
        }
    }
}
