//! A column as it lies in a file, to what is wanted of it. Without a copy, where nothing changes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

/// The column as `wanted`, and the records whose value is there but has none of that type: times out of range.
pub(super) fn convert(column: &ArrayRef, wanted: &DataType) -> Result<(ArrayRef, Option<BooleanBuffer>), ArrowError> {
    let whole = |column: ArrayRef| Ok((column, None));
    match (column.data_type(), wanted) {
        (DataType::Null, _) => whole(new_null_array(wanted, column.len())),
        (DataType::Timestamp(TimeUnit::Second, _), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            Ok(scaled(column.as_primitive::<TimestampSecondType>(), 1_000_000, wanted))
        }
        (DataType::Timestamp(TimeUnit::Millisecond, _), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            Ok(scaled(column.as_primitive::<TimestampMillisecondType>(), 1_000, wanted))
        }
        (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let nanos = column.as_primitive::<TimestampNanosecondType>();
            let micros = nanos.unary::<_, TimestampMicrosecondType>(|ns| ns.div_euclid(1_000));
            whole(Arc::new(micros.with_data_type(wanted.clone())))
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>();
            whole(Arc::new(micros.clone().with_data_type(wanted.clone())))
        }
        (DataType::Float64, DataType::Float64) => {
            whole(floats::<Float64Type>(column, f64::to_bits, |x| x + 0.0, f64::NAN))
        }
        (DataType::Float32, DataType::Float32) => {
            whole(floats::<Float32Type>(column, |x| x.to_bits().into(), |x| x + 0.0, f32::NAN))
        }
        (found, wanted) if found == wanted => whole(column.clone()),
        (DataType::Float16, DataType::Float32) => convert(&cast(column, wanted)?, wanted),
        _ => whole(cast(column, wanted)?),
    }
}

/// Times of a coarser unit. What overflows is null, and told.
fn scaled<T>(column: &PrimitiveArray<T>, by: i64, wanted: &DataType) -> (ArrayRef, Option<BooleanBuffer>)
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let micros = column.unary_opt::<_, TimestampMicrosecondType>(|t| t.checked_mul(by)).with_data_type(wanted.clone());
    let overflown = (micros.null_count() > column.null_count()).then(|| {
        let there = |nulls: Option<&NullBuffer>| {
            nulls.map_or_else(|| BooleanBuffer::new_set(column.len()), |n| n.inner().clone())
        };
        &there(column.nulls()) & &!&there(micros.nulls())
    });
    (Arc::new(micros), overflown)
}

/// -0.0 as 0.0, and one NaN. `x + 0.0` is x, but for -0.0.
fn floats<T>(
    column: &ArrayRef,
    bits: fn(T::Native) -> u64,
    plus_zero: fn(T::Native) -> T::Native,
    nan: T::Native,
) -> ArrayRef
where
    T: ArrowPrimitiveType,
    T::Native: PartialEq,
{
    let floats = column.as_primitive::<T>();
    #[allow(clippy::eq_op)]
    let normal = |x: T::Native| if x != x { nan } else { plus_zero(x) };
    let odd = floats.values().iter().fold(false, |odd, &x| odd | (bits(normal(x)) != bits(x)));
    if odd { Arc::new(floats.unary::<_, T>(normal)) } else { column.clone() }
}
