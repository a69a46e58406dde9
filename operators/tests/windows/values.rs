//! Values as the model has them, and their Arrow arrays.

use std::sync::Arc;

use arrow::array::types::*;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, ListArray, PrimitiveArray, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    Bool(bool),
    /// Integers of every width, days, microseconds.
    Int(i128),
    /// The bits of an f64, so that equal is equal to the bit.
    Float(u64),
    /// Unscaled.
    Decimal(i128),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    /// -0.0 is never a result, and all NaNs are one.
    pub fn result(v: f64) -> Value {
        let v = if v.is_nan() { f64::NAN } else { v };
        Value::Float(if v == 0.0 { 0 } else { v.to_bits() })
    }
}

pub fn array(data_type: &DataType, values: &[Value]) -> ArrayRef {
    match data_type {
        DataType::Boolean => {
            let bools = values.iter().map(|v| if let Value::Bool(v) = v { Some(*v) } else { None });
            Arc::new(bools.collect::<BooleanArray>())
        }
        DataType::Utf8 => {
            let texts = values.iter().map(|v| if let Value::Text(v) = v { Some(v) } else { None });
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Decimal128(_, _) => {
            let decimals = values.iter().map(|v| if let Value::Decimal(v) = v { Some(*v) } else { None });
            Arc::new(decimals.collect::<Decimal128Array>().with_data_type(data_type.clone()))
        }
        DataType::Float32 => floats::<Float32Type>(values, |v| v as f32),
        DataType::Float64 => floats::<Float64Type>(values, |v| v),
        DataType::Int16 => ints::<Int16Type>(values, data_type),
        DataType::Int64 => ints::<Int64Type>(values, data_type),
        DataType::UInt64 => ints::<UInt64Type>(values, data_type),
        DataType::Date32 => ints::<Date32Type>(values, data_type),
        DataType::Timestamp(_, _) => ints::<TimestampMicrosecondType>(values, data_type),
        DataType::List(item) => {
            let lists = || values.iter().map(|v| if let Value::List(list) = v { list.as_slice() } else { &[] });
            let nulls: NullBuffer = values.iter().map(|v| *v != Value::Null).collect::<Vec<bool>>().into();
            let offsets = OffsetBuffer::from_lengths(lists().map(<[Value]>::len));
            let items = array(item.data_type(), &lists().flatten().cloned().collect::<Vec<_>>());
            Arc::new(ListArray::new(item.clone(), offsets, items, Some(nulls)))
        }
        other => panic!("no values of type {other} here"),
    }
}

pub fn values(array: &ArrayRef) -> Vec<Value> {
    let value = |at: usize| match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(at)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(at).to_owned()),
        DataType::Decimal128(_, _) => Value::Decimal(array.as_primitive::<Decimal128Type>().value(at)),
        DataType::Float32 => Value::Float(f64::from(array.as_primitive::<Float32Type>().value(at)).to_bits()),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(at).to_bits()),
        DataType::Int16 => int::<Int16Type>(array, at),
        DataType::Int64 => int::<Int64Type>(array, at),
        DataType::UInt64 => int::<UInt64Type>(array, at),
        DataType::Date32 => int::<Date32Type>(array, at),
        DataType::Timestamp(_, _) => int::<TimestampMicrosecondType>(array, at),
        DataType::List(_) => Value::List(values(&array.as_list::<i32>().value(at))),
        other => panic!("no values of type {other} here"),
    };
    (0..array.len()).map(|at| if array.is_null(at) { Value::Null } else { value(at) }).collect()
}

fn ints<T: ArrowPrimitiveType<Native: TryFrom<i128>>>(values: &[Value], data_type: &DataType) -> ArrayRef {
    let native = |v: &Value| if let Value::Int(v) = v { T::Native::try_from(*v).ok() } else { None };
    Arc::new(values.iter().map(native).collect::<PrimitiveArray<T>>().with_data_type(data_type.clone()))
}

fn floats<T: ArrowPrimitiveType>(values: &[Value], native: impl Fn(f64) -> T::Native) -> ArrayRef {
    let native = |v: &Value| if let Value::Float(v) = v { Some(native(f64::from_bits(*v))) } else { None };
    Arc::new(values.iter().map(native).collect::<PrimitiveArray<T>>())
}

fn int<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &ArrayRef, at: usize) -> Value {
    Value::Int(array.as_primitive::<T>().value(at).into())
}
