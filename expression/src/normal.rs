//! Equal values look equal: one type for texts, one for times, one zero, one NaN.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

/// The type that values of `data_type` are given, or none where no feature can have them.
pub(super) fn normal_type(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Some(data_type.clone()),
        Float32 | Float64 | Date32 | Decimal128(..) => Some(data_type.clone()),
        Utf8 | LargeUtf8 | Utf8View => Some(Utf8),
        Timestamp(..) => Some(Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        Dictionary(_, values) => normal_type(values),
        _ => None,
    }
}

/// The values as `to`, the normal type of theirs. Values that are normal already are shared, not copied.
///
/// # Errors
/// A time that does not fit into microseconds.
pub(super) fn normal(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        DataType::Float32 | DataType::Float64 => Ok(normal_floats(values)),
        from if from == to => Ok(Arc::clone(values)),
        DataType::Timestamp(unit, _) => Ok(Arc::new(microseconds(values, *unit)?.with_timezone("UTC"))),
        DataType::Dictionary(_, inner) => {
            let plain = cast_with_options(values, inner, &CastOptions { safe: false, ..Default::default() })?;
            normal(&plain, to)
        }
        _ => cast_with_options(values, to, &CastOptions { safe: false, ..Default::default() }),
    }
}

/// Finer times are floored, before 1970 too. A time without a zone is in UTC.
fn microseconds(values: &ArrayRef, unit: TimeUnit) -> Result<PrimitiveArray<TimestampMicrosecondType>, ArrowError> {
    match unit {
        TimeUnit::Second => values.as_primitive::<TimestampSecondType>().try_unary(|t| t.mul_checked(1_000_000)),
        TimeUnit::Millisecond => values.as_primitive::<TimestampMillisecondType>().try_unary(|t| t.mul_checked(1_000)),
        TimeUnit::Microsecond => Ok(values.as_primitive::<TimestampMicrosecondType>().clone()),
        TimeUnit::Nanosecond => Ok(values.as_primitive::<TimestampNanosecondType>().unary(|t| t.div_euclid(1_000))),
    }
}

/// -0.0 becomes 0.0 and every NaN the same one; anything but floats stays.
pub(super) fn normal_floats(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => one_of_equals::<Float32Type>(
            values,
            |x| x.is_nan() || x.to_bits() == (-0.0f32).to_bits(),
            |x| if x.is_nan() { f32::NAN } else { x + 0.0 },
        ),
        DataType::Float64 => one_of_equals::<Float64Type>(
            values,
            |x| x.is_nan() || x.to_bits() == (-0.0f64).to_bits(),
            |x| if x.is_nan() { f64::NAN } else { x + 0.0 },
        ),
        _ => Arc::clone(values),
    }
}

fn one_of_equals<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    is_odd: impl Fn(T::Native) -> bool,
    normal: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    let floats = values.as_primitive::<T>();
    if floats.values().iter().fold(false, |odd, x| odd | is_odd(*x)) {
        Arc::new(floats.unary::<_, T>(normal))
    } else {
        Arc::clone(values)
    }
}
