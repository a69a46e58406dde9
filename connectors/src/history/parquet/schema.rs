//! The types of columns: as the job sees them, and joined over all files by name.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef, TimeUnit};

use super::footer::Column;
use crate::history::UNUSABLE;

/// `Timestamp(us, UTC)`: how every time is handed on.
pub(super) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type that the job sees for a type in a file. Types that it cannot use stay as they are.
pub(super) fn seen_as(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(..) => micros(),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, values) => seen_as(values),
        DataType::Date64 => DataType::Date32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Float16 => DataType::Float32,
        other => other.clone(),
    }
}

/// The type that a column is best decoded to: strings at once to what they are seen as, and without a dictionary.
pub(super) fn decoded_as(data_type: &DataType, int96: bool) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => decoded_as(values, int96),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        // In nanoseconds, the years after 2262 would overflow.
        DataType::Timestamp(..) if int96 => micros(),
        other => other.clone(),
    }
}

/// The narrowest type that holds every value of both, exactly; `None`: there is none. A column that is null throughout a file
/// (of type `Null`) goes with any.
pub(super) fn widest(one: &DataType, two: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Float32, Float64, Null};
    match (one, two) {
        (one, two) if one == two => Some(one.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        (Decimal128(p1, s1), Decimal128(p2, s2)) => {
            let scale = *s1.max(s2);
            let digits = (i16::from(*p1) - i16::from(*s1)).max(i16::from(*p2) - i16::from(*s2)) + i16::from(scale);
            let precision = u8::try_from(digits).ok().filter(|digits| *digits <= DECIMAL128_MAX_PRECISION)?;
            Some(Decimal128(precision, scale))
        }
        (one, two) => {
            let (one, two) = (integer(one)?, integer(two)?);
            let signed = one.0 || two.0;
            // An unsigned integer needs one bit more as a signed one.
            let bits = |(is_signed, bits): (bool, u32)| if signed && !is_signed { bits + 1 } else { bits };
            integer_of(signed, bits(one).max(bits(two)))
        }
    }
}

/// Whether an integer type is signed, and its bits.
fn integer(data_type: &DataType) -> Option<(bool, u32)> {
    let bits = data_type.primitive_width().filter(|_| data_type.is_integer())? as u32 * 8;
    Some((data_type.is_signed_integer(), bits))
}

/// The integer type of at least so many bits.
fn integer_of(signed: bool, bits: u32) -> Option<DataType> {
    use DataType::*;
    let types = if signed { [Int8, Int16, Int32, Int64] } else { [UInt8, UInt16, UInt32, UInt64] };
    types.into_iter().find(|ty| integer(ty).is_some_and(|(_, held)| held >= bits))
}

/// All columns of all files, in the order in which they are first met, each of the widest of its types. A column that no type
/// fits, or that cannot be read, is `unusable`: whoever names it is told why, and it harms nobody else.
pub(super) fn join<'a>(files: impl Iterator<Item = (&'a str, &'a [Column])>) -> SchemaRef {
    let mut joined: Vec<Joined> = Vec::new();
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    for (path, columns) in files {
        for column in columns {
            let seen = match &column.arrow {
                Ok(field) => Ok(seen_as(field.data_type())),
                Err(why) => Err(format!("column {:?} of {path} cannot be read: {why}", column.name)),
            };
            match indexes.get(column.name.as_str()) {
                Some(index) => joined[*index].add(seen, path),
                None => {
                    indexes.insert(&column.name, joined.len());
                    joined.push(Joined { name: &column.name, seen, path, last: path });
                }
            }
        }
    }
    Arc::new(Schema::new(joined.into_iter().map(Joined::field).collect::<Vec<_>>()))
}

/// What a column is in the files so far.
struct Joined<'a> {
    name: &'a str,
    /// Or why nobody can use it.
    seen: Result<DataType, String>,
    /// The file that its type is from; and the last one that has it.
    path: &'a str,
    last: &'a str,
}

impl<'a> Joined<'a> {
    fn add(&mut self, seen: Result<DataType, String>, path: &'a str) {
        // Twice in one file: reading that one tells it.
        let Ok(known) = &self.seen else { return };
        if path == self.last {
            return;
        }
        self.last = path;
        self.seen = seen.and_then(|seen| match widest(known, &seen) {
            Some(widest) => {
                if widest != *known {
                    self.path = path;
                }
                Ok(widest)
            }
            None => {
                Err(format!("column {:?} has two types: {known} in {}, but {seen} in {path}", self.name, self.path))
            }
        });
    }

    fn field(self) -> Field {
        match self.seen {
            Ok(seen) => Field::new(self.name, seen, true),
            Err(why) => {
                let why = HashMap::from([(UNUSABLE.to_owned(), why)]);
                Field::new(self.name, DataType::Null, true).with_metadata(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::Type as Physical;
    use parquet::schema::types::Type;

    use super::*;

    #[test]
    fn columns_are_joined_by_name() {
        use DataType::*;
        let large = Dictionary(Box::new(Int8), Box::new(LargeUtf8));
        let nanos = Timestamp(TimeUnit::Nanosecond, None);
        let list = DataType::new_list(Int64, true);
        /// Columns of two files, and the joined columns or why the last one cannot be used.
        type Row<'a> =
            (&'a [(&'a str, DataType)], &'a [(&'a str, DataType)], Result<&'a [(&'a str, DataType)], &'a str>);
        let rows: &[Row] = &[
            (&[("a", Int64)], &[("b", Utf8)], Ok(&[("a", Int64), ("b", Utf8)])),
            (&[("a", Int64), ("b", Utf8)], &[("b", large), ("a", Int64)], Ok(&[("a", Int64), ("b", Utf8)])),
            (&[("a", nanos)], &[("a", Timestamp(TimeUnit::Second, Some("+01:00".into())))], Ok(&[("a", micros())])),
            (&[("a", Null)], &[("a", Int64)], Ok(&[("a", Int64)])),
            (&[("a", Int64)], &[("a", Null)], Ok(&[("a", Int64)])),
            (&[("a", list.clone())], &[], Ok(&[("a", list.clone())])),
            (&[("a", Int64)], &[("a", Int32)], Ok(&[("a", Int64)])),
            (&[("a", Int8)], &[("a", UInt8)], Ok(&[("a", Int16)])),
            (&[("a", UInt32)], &[("a", Int64)], Ok(&[("a", Int64)])),
            (&[("a", UInt8)], &[("a", UInt64)], Ok(&[("a", UInt64)])),
            (&[("a", UInt64)], &[("a", Int8)], Err("column \"a\" has two types: UInt64 in one, but Int8 in two")),
            (&[("a", Float32)], &[("a", Float16)], Ok(&[("a", Float32)])),
            (&[("a", Float64)], &[("a", Float32)], Ok(&[("a", Float64)])),
            (&[("a", Float64)], &[("a", Int32)], Err("column \"a\" has two types: Float64 in one, but Int32 in two")),
            (&[("a", Decimal128(5, 2))], &[("a", Decimal64(9, 4))], Ok(&[("a", Decimal128(9, 4))])),
            (&[("a", Decimal128(12, 1))], &[("a", Decimal128(5, 4))], Ok(&[("a", Decimal128(15, 4))])),
            (&[("a", Binary)], &[("a", LargeBinary)], Ok(&[("a", Binary)])),
            (&[("a", BinaryView)], &[("a", FixedSizeBinary(4))], Ok(&[("a", Binary)])),
            (&[("a", list.clone())], &[("a", list.clone())], Ok(&[("a", list.clone())])),
            (
                &[("a", Decimal128(38, 0))],
                &[("a", Decimal128(5, 2))],
                Err("column \"a\" has two types: Decimal128(38, 0) in one, but Decimal128(5, 2) in two"),
            ),
            (
                &[("b", Int64), ("a", Int64)],
                &[("a", micros())],
                Err("column \"a\" has two types: Int64 in one, but Timestamp(µs, \"UTC\") in two"),
            ),
            (&[("a", Int64), ("a", Utf8)], &[], Ok(&[("a", Int64)])),
        ];
        for (one, two, expected) in rows {
            let columns = [one, two].map(|columns| columns.iter().map(|(n, t)| column(n, t)).collect::<Vec<_>>());
            let joined = join([("one", &columns[0][..]), ("two", &columns[1][..])].into_iter());
            match expected {
                Ok(expected) => {
                    let fields = expected.iter().map(|(n, t)| Field::new(*n, t.clone(), true));
                    assert_eq!(*joined, Schema::new(fields.collect::<Vec<_>>()));
                }
                Err(expected) => {
                    let why = |field: &Arc<Field>| field.metadata().get(UNUSABLE).cloned();
                    assert_eq!(joined.fields().last().and_then(why).as_deref(), Some(*expected));
                    assert_eq!(joined.fields().iter().filter_map(why).count(), 1);
                }
            }
        }
    }

    fn column(name: &str, data_type: &DataType) -> Column {
        let parquet = Type::primitive_type_builder(name, Physical::BOOLEAN).build().unwrap();
        let arrow = Ok(Field::new(name, data_type.clone(), true));
        Column { name: name.into(), parquet: Arc::new(parquet), leaves: 0..1, arrow }
    }
}
