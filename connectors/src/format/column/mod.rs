//! A column that values are decoded into: one line a type.

mod nested;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::time::date_days;
use super::value::{Reading, Value};

pub(super) struct Column {
    slot: Box<dyn Slot>,
    len: usize,
}

impl Column {
    pub fn new(data_type: &DataType, reading: &Reading) -> Column {
        Column { slot: slot(data_type, *reading), len: 0 }
    }

    /// Adds a value, or null where it does not decode: then false.
    pub fn push(&mut self, value: Value) -> bool {
        self.len += 1;
        if value == Value::Null {
            self.slot.push_null();
            return true;
        }
        self.slot.push(value)
    }

    pub fn push_null(&mut self) {
        self.len += 1;
        self.slot.push_null();
    }

    /// How many values there are since the last `finish`.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn finish(&mut self) -> ArrayRef {
        self.len = 0;
        self.slot.finish()
    }
}

fn slot(t: &DataType, reading: Reading) -> Box<dyn Slot> {
    let integer = move |value: Value| reading.integer(value);
    match *t {
        DataType::Boolean => Box::new(Booleans(BooleanBuilder::new())),
        DataType::Utf8 => Box::new(Texts(StringBuilder::new())),
        DataType::Int8 => numbers::<Int8Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::Int16 => numbers::<Int16Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::Int32 => numbers::<Int32Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::Int64 => numbers::<Int64Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::UInt8 => numbers::<UInt8Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::UInt16 => numbers::<UInt16Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::UInt32 => numbers::<UInt32Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::UInt64 => numbers::<UInt64Type>(t, move |v| integer(v)?.try_into().ok()),
        DataType::Float32 => numbers::<Float32Type>(t, move |v| reading.number(v).float32()),
        DataType::Float64 => numbers::<Float64Type>(t, move |v| reading.number(v).float64()),
        DataType::Date32 => numbers::<Date32Type>(t, |v| match v {
            Value::Text(text) => date_days(text),
            Value::Date(days) => Some(days),
            _ => None,
        }),
        DataType::Time64(TimeUnit::Microsecond) => {
            numbers::<Time64MicrosecondType>(t, |v| if let Value::OfDay(us) = v { Some(us) } else { None })
        }
        DataType::Binary => Box::new(Bytes(BinaryBuilder::new())),
        DataType::Decimal128(precision, scale) => {
            numbers::<Decimal128Type>(t, move |v| reading.number(v).decimal128(precision, scale))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(t, move |v| reading.time(v))
        }
        _ => nested::slot(t, &reading).unwrap_or_else(|| Box::new(Unsupported { data_type: t.clone(), len: 0 })),
    }
}

/// What differs by type. Values are never null.
pub(super) trait Slot: Send {
    /// Adds a value, or null where it does not decode: then false.
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
        let decoded = (self.decode)(value);
        self.builder.append_option(decoded);
        decoded.is_some()
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
        let decoded = if let Value::Bool(value) = value { Some(value) } else { None };
        self.0.append_option(decoded);
        decoded.is_some()
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
        let decoded = match value {
            Value::Text(value) => Some(value),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        self.0.append_option(decoded);
        decoded.is_some()
    }

    fn push_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// No text is bytes.
struct Bytes(BinaryBuilder);

impl Slot for Bytes {
    fn push(&mut self, value: Value) -> bool {
        let decoded = if let Value::Bytes(value) = value { Some(value) } else { None };
        self.0.append_option(decoded);
        decoded.is_some()
    }

    fn push_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// A type without a spelling as text: only null decodes.
struct Unsupported {
    data_type: DataType,
    len: usize,
}

impl Slot for Unsupported {
    fn push(&mut self, _: Value) -> bool {
        self.push_null();
        false
    }

    fn push_null(&mut self) {
        self.len += 1;
    }

    fn finish(&mut self) -> ArrayRef {
        new_null_array(&self.data_type, std::mem::take(&mut self.len))
    }
}
