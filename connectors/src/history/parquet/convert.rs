//! A column as it lies in a file, to what is wanted of it. Without a copy, where nothing changes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StructArray,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{
    DataType, FieldRef, Fields, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

/// A column, and the records that have a value there which does not decode. `None`: every one does.
pub(super) type Converted = (ArrayRef, Option<BooleanBuffer>);

/// The column as `wanted`, and the records whose value is there but has none of that type: times out of range.
pub(super) fn convert(column: &ArrayRef, wanted: &DataType) -> Result<Converted, ArrowError> {
    let whole = |column: ArrayRef| Ok((column, None));
    match (column.data_type(), wanted) {
        (DataType::Null, _) | (_, DataType::Null) => whole(new_null_array(wanted, column.len())),
        (DataType::Struct(_), DataType::Struct(fields)) => structs(column.as_struct(), fields),
        (DataType::List(_), DataType::List(item)) => lists(column.as_list(), item),
        (
            DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item),
            DataType::List(_),
        ) => convert(&cast(column, &DataType::List(item.clone()))?, wanted),
        (DataType::Map(..), DataType::Map(entries, sorted)) => maps(column.as_map(), entries, *sorted),
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

/// Field by field, by name; one that is not there is null.
fn structs(column: &StructArray, fields: &Fields) -> Result<Converted, ArrowError> {
    let (mut inside, mut failed) = (Vec::with_capacity(fields.len()), None);
    for field in fields {
        let (values, lost) = match column.column_by_name(field.name()) {
            Some(values) => convert(values, field.data_type())?,
            None => (new_null_array(field.data_type(), column.len()), None),
        };
        inside.push(values);
        failed = either(failed, lost);
    }
    let nulls = column.nulls().cloned();
    let structs = match fields.is_empty() {
        true => StructArray::new_empty_fields(column.len(), nulls),
        false => StructArray::try_new(fields.clone(), inside, nulls)?,
    };
    without(Arc::new(structs), failed)
}

fn lists(column: &ListArray, item: &FieldRef) -> Result<Converted, ArrowError> {
    let (values, lost) = convert(column.values(), item.data_type())?;
    let lists = ListArray::try_new(item.clone(), column.offsets().clone(), values, column.nulls().cloned())?;
    without(Arc::new(lists), lost.map(|lost| holding(column.offsets(), &lost)))
}

fn maps(column: &MapArray, entries: &FieldRef, sorted: bool) -> Result<Converted, ArrowError> {
    let DataType::Struct(pair) = entries.data_type() else { return Err(ArrowError::CastError("no pairs".into())) };
    let [key, value] = &pair[..] else { return Err(ArrowError::CastError("no pairs".into())) };
    let (keys, lost_keys) = convert(column.keys(), key.data_type())?;
    let (values, lost) = convert(column.values(), value.data_type())?;
    let pairs = StructArray::try_new(pair.clone(), vec![keys, values], None)?;
    let (offsets, nulls) = (column.offsets(), column.nulls());
    let maps = MapArray::try_new(entries.clone(), offsets.clone(), pairs, nulls.cloned(), sorted)?;
    without(Arc::new(maps), either(lost_keys, lost).map(|lost| holding(offsets, &lost)))
}

fn either(one: Option<BooleanBuffer>, two: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (one, two) {
        (Some(one), Some(two)) => Some(&one | &two),
        (one, two) => one.or(two),
    }
}

/// Which lists hold such an element.
fn holding(offsets: &OffsetBuffer<i32>, elements: &BooleanBuffer) -> BooleanBuffer {
    let holds = |pair: &[i32]| (pair[0]..pair[1]).any(|at| elements.value(at as usize));
    offsets.windows(2).map(holds).collect()
}

/// What holds a value that does not decode does not decode, if it is there at all.
fn without(column: ArrayRef, failed: Option<BooleanBuffer>) -> Result<Converted, ArrowError> {
    let Some(failed) = failed else { return Ok((column, None)) };
    let failed = match column.nulls() {
        Some(nulls) => &failed & nulls.inner(),
        None => failed,
    };
    Ok((nullif(&column, &BooleanArray::new(failed.clone(), None))?, Some(failed)))
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
