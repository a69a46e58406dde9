//! A column that values are decoded into: one line a type.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanBuilder, PrimitiveBuilder, StringBuilder, new_null_array};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::time::{date_days, integer_us, rfc3339_us};
use super::value::Value;

pub(super) struct Column(Box<dyn Slot>);

impl Column {
    pub fn new(data_type: &DataType, time_unit_ns: i64) -> Column {
        let t = data_type;
        Column(match *data_type {
            DataType::Boolean => Box::new(Booleans(BooleanBuilder::new())),
            DataType::Utf8 => Box::new(Texts(StringBuilder::new())),
            DataType::Int8 => numbers::<Int8Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::Int16 => numbers::<Int16Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::Int32 => numbers::<Int32Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::Int64 => numbers::<Int64Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::UInt8 => numbers::<UInt8Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::UInt16 => numbers::<UInt16Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::UInt32 => numbers::<UInt32Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::UInt64 => numbers::<UInt64Type>(t, |v| v.integer()?.try_into().ok()),
            DataType::Float32 => numbers::<Float32Type>(t, |v| v.float32()),
            DataType::Float64 => numbers::<Float64Type>(t, |v| v.float64()),
            DataType::Date32 => numbers::<Date32Type>(t, |v| if let Value::Text(s) = v { date_days(s) } else { None }),
            DataType::Decimal128(precision, scale) => {
                numbers::<Decimal128Type>(t, move |v| v.decimal128(precision, scale))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => numbers::<TimestampMicrosecondType>(t, move |v| match v {
                Value::Text(s) => rfc3339_us(s),
                _ => integer_us(v.integer()?, time_unit_ns),
            }),
            _ => Box::new(Untold { data_type: t.clone(), len: 0 }),
        })
    }

    /// Adds a value; false (and nothing is added) where it does not decode.
    pub fn push(&mut self, value: Value) -> bool {
        if value == Value::Null {
            self.0.push_null();
            return true;
        }
        self.0.push(value)
    }

    pub fn push_null(&mut self) {
        self.0.push_null();
    }

    pub fn finish(&mut self) -> ArrayRef {
        self.0.finish()
    }
}

/// What differs by type. Values are never null.
trait Slot: Send {
    fn push(&mut self, value: Value) -> bool;
    fn push_null(&mut self);
    fn finish(&mut self) -> ArrayRef;
}

struct Numbers<T: ArrowPrimitiveType, F> {
    builder: PrimitiveBuilder<T>,
    decode: F,
}

fn numbers<T: ArrowPrimitiveType>(
    data_type: &DataType,
    decode: impl Fn(Value) -> Option<T::Native> + Send + 'static,
) -> Box<dyn Slot> {
    Box::new(Numbers { builder: PrimitiveBuilder::<T>::new().with_data_type(data_type.clone()), decode })
}

impl<T: ArrowPrimitiveType, F: Fn(Value) -> Option<T::Native> + Send> Slot for Numbers<T, F> {
    fn push(&mut self, value: Value) -> bool {
        match (self.decode)(value) {
            Some(value) => self.builder.append_value(value),
            None => return false,
        }
        true
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

struct Booleans(BooleanBuilder);

impl Slot for Booleans {
    fn push(&mut self, value: Value) -> bool {
        let Value::Bool(value) = value else { return false };
        self.0.append_value(value);
        true
    }

    fn push_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

struct Texts(StringBuilder);

impl Slot for Texts {
    fn push(&mut self, value: Value) -> bool {
        let Value::Text(value) = value else { return false };
        self.0.append_value(value);
        true
    }

    fn push_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// A type without a spelling as text: only null decodes.
struct Untold {
    data_type: DataType,
    len: usize,
}

impl Slot for Untold {
    fn push(&mut self, _: Value) -> bool {
        false
    }

    fn push_null(&mut self) {
        self.len += 1;
    }

    fn finish(&mut self) -> ArrayRef {
        new_null_array(&self.data_type, std::mem::take(&mut self.len))
    }
}
