//! One value of a row or an input, small and comparable; its Arrow type lies with the column.
//!
//! Equal datums are equal to the bit: floats come without -0.0 and with one NaN.

use std::sync::Arc;

use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Decimal128Builder, ListArray, NullBufferBuilder, PrimitiveArray,
    StringBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, TimeUnit};
use serde::{Deserialize, Serialize};

/// A value, or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Datum {
    /// None.
    #[default]
    Null,
    /// Every type of up to 64 bits, as the bits of an i64, a u64 or an f64.
    Word(u64),
    /// Decimals: the unscaled i128, high half first.
    Wide([u64; 2]),
    /// A text.
    Text(#[serde(with = "text")] Arc<str>),
    /// Values of one type.
    List(#[serde(with = "list")] Arc<[Datum]>),
}

impl Datum {
    /// An integer, or what counts like one: days, microseconds.
    pub fn int(v: i64) -> Datum {
        Datum::Word(v as u64)
    }

    /// A float: -0.0 becomes 0.0, and every NaN the one NaN.
    pub fn float(v: f64) -> Datum {
        Datum::Word(normal(v).to_bits())
    }

    /// A decimal, unscaled.
    pub fn decimal(v: i128) -> Datum {
        Datum::Wide(halves(v))
    }

    /// The unscaled decimal of a `Wide`.
    pub fn as_decimal(parts: [u64; 2]) -> i128 {
        ((parts[0] as i128) << 64) | parts[1] as i128
    }
}

/// An i128 in two words, the high one first.
pub(crate) fn halves(v: i128) -> [u64; 2] {
    [(v >> 64) as u64, v as u64]
}

/// -0.0 is taken as 0.0, and all NaNs are one.
pub fn normal(v: f64) -> f64 {
    if v.is_nan() { f64::NAN } else { v + 0.0 }
}

/// The float64 nearest to `unscaled` * 10^-`scale`, rounded once.
pub(crate) fn decimal_to_float(unscaled: impl std::fmt::Display, scale: i8) -> f64 {
    format!("{unscaled}e{}", -i32::from(scale)).parse().expect("digits and an exponent")
}

/// A value in the order of SQL, NaN greatest. Equal values are equal to the bit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ordered {
    /// Every type of up to 64 bits, as [`ordered`] has it.
    Word(i64),
    /// A decimal's halves.
    Wide(i64, u64),
    /// A text, in the order of its bytes.
    Text(#[serde(with = "text")] Arc<str>),
}

mod list {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Datum;

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(list: &Arc<[Datum]>, serializer: S) -> Result<S::Ok, S::Error> {
        list.as_ref().serialize(serializer)
    }

    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Datum]>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into())
    }
}

mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
}

impl Ordered {
    /// The value of an input in a row where it is not null.
    pub fn of(kind: Kind, values: &Values, row: usize) -> Ordered {
        match values {
            Values::Words(words) => Ordered::Word(ordered(kind, words[row])),
            Values::Decimals(decimals) => {
                let v = decimals.value(row);
                Ordered::Wide((v >> 64) as i64, v as u64)
            }
            Values::Texts(texts) => Ordered::Text(texts.value(row).into()),
        }
    }

    /// Back to the value itself.
    pub fn datum(&self, kind: Kind) -> Datum {
        match self {
            Ordered::Word(v) => Datum::Word(unordered(kind, *v)),
            Ordered::Wide(high, low) => Datum::Wide([*high as u64, *low]),
            Ordered::Text(text) => Datum::Text(text.clone()),
        }
    }
}

/// Bits -> an i64 in the order of the values; NaN is greatest.
///
/// # Panics
/// On a kind whose values are no words.
pub fn ordered(kind: Kind, word: u64) -> i64 {
    match kind {
        Kind::UInt => (word ^ 1 << 63) as i64,
        Kind::Float => flip(word as i64),
        Kind::Bool | Kind::Int => word as i64,
        Kind::Decimal { .. } | Kind::Text => unreachable!("no word"),
    }
}

/// The bits that `ordered` was given.
///
/// # Panics
/// As it does.
pub fn unordered(kind: Kind, v: i64) -> u64 {
    match kind {
        Kind::UInt => v as u64 ^ 1 << 63,
        Kind::Float => flip(v) as u64,
        Kind::Bool | Kind::Int => v as u64,
        Kind::Decimal { .. } | Kind::Text => unreachable!("no word"),
    }
}

/// A float's bits in the order of its value, and back: negative floats count downwards.
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The kind of number, and so of arithmetic, that an input of this type takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words 0 and 1.
    Bool,
    /// Signed integers, dates (days) and timestamps (microseconds): the bits of an i64.
    Int,
    /// Unsigned integers: a u64.
    UInt,
    /// The bits of an f64; a float32 is widened.
    Float,
    /// Unscaled, of up to 38 digits.
    Decimal {
        /// Digits after the point.
        scale: i8,
    },
    /// UTF-8.
    Text,
}

impl Kind {
    /// The kind of a type; times are `Int`, in their own unit. `None`: a type that no input can have.
    pub fn of(data_type: &DataType) -> Option<Kind> {
        use DataType::*;
        Some(match data_type {
            Boolean => Kind::Bool,
            Int8 | Int16 | Int32 | Int64 | Date32 | Timestamp(TimeUnit::Microsecond, _) => Kind::Int,
            UInt8 | UInt16 | UInt32 | UInt64 => Kind::UInt,
            Float32 | Float64 => Kind::Float,
            Decimal128(_, scale) => Kind::Decimal { scale: *scale },
            Utf8 => Kind::Text,
            _ => return None,
        })
    }
}

/// An input column, opened once a batch: words for every type of up to 64 bits.
pub enum Values {
    /// By row.
    Words(Vec<u64>),
    /// The column as it is.
    Decimals(PrimitiveArray<Decimal128Type>),
    /// The column as it is.
    Texts(arrow::array::StringArray),
}

fn words<T: ArrowPrimitiveType>(array: &ArrayRef, word: impl Fn(T::Native) -> u64) -> Values {
    Values::Words(array.as_primitive::<T>().values().iter().map(|v| word(*v)).collect())
}

impl Values {
    /// Floats become normal on the way. What is null has a word too, of no meaning.
    ///
    /// # Panics
    /// On a type that `Kind::of` does not know: `check` has refused it.
    pub fn open(array: &ArrayRef) -> Values {
        use DataType::*;
        match array.data_type() {
            Boolean => Values::Words(array.as_boolean().values().iter().map(u64::from).collect()),
            Int8 => words::<Int8Type>(array, |v| v as i64 as u64),
            Int16 => words::<Int16Type>(array, |v| v as i64 as u64),
            Int32 => words::<Int32Type>(array, |v| v as i64 as u64),
            Int64 => words::<Int64Type>(array, |v| v as u64),
            Date32 => words::<Date32Type>(array, |v| v as i64 as u64),
            Timestamp(TimeUnit::Microsecond, _) => words::<TimestampMicrosecondType>(array, |v| v as u64),
            UInt8 => words::<UInt8Type>(array, u64::from),
            UInt16 => words::<UInt16Type>(array, u64::from),
            UInt32 => words::<UInt32Type>(array, u64::from),
            UInt64 => words::<UInt64Type>(array, |v| v),
            Float32 => words::<Float32Type>(array, |v| normal(v as f64).to_bits()),
            Float64 => words::<Float64Type>(array, |v| normal(v).to_bits()),
            Decimal128(_, _) => Values::Decimals(array.as_primitive::<Decimal128Type>().clone()),
            Utf8 => Values::Texts(array.as_string::<i32>().clone()),
            other => panic!("an input of type {other}"),
        }
    }
}

/// Builds a column of rows from datums.
pub struct Column {
    data_type: DataType,
    build: Build,
}

enum Build {
    Bool(BooleanBuilder),
    Word(Vec<u64>, NullBufferBuilder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    /// The values of all lists, the length of each, and whether it is there.
    List(Box<Column>, Vec<usize>, Vec<bool>),
}

impl Column {
    /// An empty one.
    ///
    /// # Panics
    /// On a type that no result can have.
    pub fn new(data_type: &DataType) -> Column {
        let build = match (Kind::of(data_type), data_type) {
            (Some(Kind::Bool), _) => Build::Bool(BooleanBuilder::new()),
            (Some(Kind::Int | Kind::UInt | Kind::Float), _) => Build::Word(vec![], NullBufferBuilder::new(0)),
            (Some(Kind::Decimal { .. }), _) => {
                Build::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            (Some(Kind::Text), _) => Build::Text(StringBuilder::new()),
            (None, DataType::List(item)) => Build::List(Box::new(Column::new(item.data_type())), vec![], vec![]),
            (None, other) => panic!("a column of type {other}"),
        };
        Column { data_type: data_type.clone(), build }
    }

    /// # Panics
    /// On a datum that is not of the column's type: results know theirs.
    pub fn push(&mut self, datum: &Datum) {
        match (&mut self.build, datum) {
            (Build::Bool(b), Datum::Word(v)) => b.append_value(*v != 0),
            (Build::Bool(b), Datum::Null) => b.append_null(),
            (Build::Word(b, nulls), Datum::Word(v)) => {
                b.push(*v);
                nulls.append_non_null();
            }
            (Build::Word(b, nulls), Datum::Null) => {
                b.push(0);
                nulls.append_null();
            }
            (Build::Decimal(b), Datum::Wide(v)) => b.append_value(Datum::as_decimal(*v)),
            (Build::Decimal(b), Datum::Null) => b.append_null(),
            (Build::Text(b), Datum::Text(v)) => b.append_value(v),
            (Build::Text(b), Datum::Null) => b.append_null(),
            (Build::List(items, lengths, there), Datum::List(values)) => {
                values.iter().for_each(|value| items.push(value));
                lengths.push(values.len());
                there.push(true);
            }
            (Build::List(_, lengths, there), Datum::Null) => {
                lengths.push(0);
                there.push(false);
            }
            (_, other) => panic!("{other:?} in a column of {}", self.data_type),
        }
    }

    /// The datums since the last call.
    ///
    /// # Panics
    /// On a type that no result can have.
    pub fn finish(&mut self) -> ArrayRef {
        use DataType::*;
        let words = match &mut self.build {
            Build::Bool(b) => return Arc::new(b.finish()),
            Build::Decimal(b) => return Arc::new(b.finish()),
            Build::Text(b) => return Arc::new(b.finish()),
            Build::List(items, lengths, there) => {
                let DataType::List(item) = &self.data_type else { unreachable!("a column of lists") };
                let offsets = OffsetBuffer::from_lengths(std::mem::take(lengths));
                let nulls = NullBuffer::from(std::mem::take(there));
                return Arc::new(ListArray::new(item.clone(), offsets, items.finish(), Some(nulls)));
            }
            Build::Word(b, nulls) => (std::mem::take(b), nulls.finish()),
        };
        match &self.data_type {
            Int8 => column::<Int8Type>(words, |v| v as i8),
            Int16 => column::<Int16Type>(words, |v| v as i16),
            Int32 => column::<Int32Type>(words, |v| v as i32),
            Int64 => column::<Int64Type>(words, |v| v as i64),
            Date32 => column::<Date32Type>(words, |v| v as i32),
            Timestamp(TimeUnit::Microsecond, zone) => {
                debug_assert!(zone.is_some());
                let micros = primitive::<TimestampMicrosecondType>(words, |v| v as i64);
                Arc::new(micros.with_data_type(self.data_type.clone()))
            }
            UInt8 => column::<UInt8Type>(words, |v| v as u8),
            UInt16 => column::<UInt16Type>(words, |v| v as u16),
            UInt32 => column::<UInt32Type>(words, |v| v as u32),
            UInt64 => column::<UInt64Type>(words, |v| v),
            Float32 => column::<Float32Type>(words, |v| f64::from_bits(v) as f32),
            Float64 => column::<Float64Type>(words, f64::from_bits),
            other => panic!("a column of type {other}"),
        }
    }
}

/// Words, and which of them are null.
type Words = (Vec<u64>, Option<NullBuffer>);

fn column<T: ArrowPrimitiveType>(words: Words, native: impl Fn(u64) -> T::Native) -> ArrayRef {
    Arc::new(primitive::<T>(words, native))
}

fn primitive<T: ArrowPrimitiveType>((words, nulls): Words, native: impl Fn(u64) -> T::Native) -> PrimitiveArray<T> {
    let values: Vec<T::Native> = words.into_iter().map(native).collect();
    PrimitiveArray::new(values.into(), nulls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_order() {
        let values = [f64::NEG_INFINITY, -1e300, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1e300, f64::INFINITY, f64::NAN];
        let ordered: Vec<i64> = values.iter().map(|v| ordered(Kind::Float, v.to_bits())).collect();
        assert!(ordered.is_sorted(), "{ordered:?}");
        for (v, o) in values.iter().zip(ordered) {
            assert_eq!(unordered(Kind::Float, o), v.to_bits());
        }
    }

    #[test]
    fn lists_are_columns_too() {
        let item = arrow::datatypes::Field::new_list_field(DataType::Int64, true);
        let mut column = Column::new(&DataType::List(Arc::new(item)));
        column.push(&Datum::List([Datum::int(3), Datum::int(1)].into()));
        column.push(&Datum::Null);
        column.push(&Datum::List([Datum::int(-7)].into()));
        let lists = column.finish();
        let lists = lists.as_list::<i32>();
        assert_eq!((lists.len(), lists.is_null(1)), (3, true));
        assert_eq!(lists.value(0).as_primitive::<Int64Type>().values(), &[3, 1]);
        assert_eq!(lists.value(2).as_primitive::<Int64Type>().values(), &[-7]);
    }
}
