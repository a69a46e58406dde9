//! The types of columns: as the job sees them, and joined over all files by name.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Repetition, Type as Physical};
use parquet::schema::types::Type;

use super::merge::{merged, of_file, settled};
use super::part::Column;
use crate::unusable::unusable;

/// `Timestamp(us, UTC)`: how every time is handed on.
pub(in crate::history) fn micros() -> DataType {
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
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| field_seen_as(field)).collect()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::new_list(seen_as(item.data_type()), true),
        DataType::Map(entries, sorted) => DataType::Map(entries_seen_as(entries), *sorted),
        other => other.clone(),
    }
}

/// In a struct, whatever a file promises: another may lack it.
fn field_seen_as(field: &Field) -> FieldRef {
    Arc::new(Field::new(field.name(), seen_as(field.data_type()), true))
}

/// The pairs of a map, by the names that Arrow gives them.
fn entries_seen_as(entries: &FieldRef) -> FieldRef {
    let DataType::Struct(pair) = entries.data_type() else { return entries.clone() };
    let fields = ["key", "value"]
        .iter()
        .zip(pair)
        .enumerate()
        .map(|(at, (name, field))| Field::new(*name, seen_as(field.data_type()), at == 1));
    Arc::new(Field::new("entries", DataType::Struct(fields.collect()), false))
}

/// The type that a column is best decoded to: strings at once to what they are seen as, and without a dictionary.
pub(super) fn decoded_as(data_type: &DataType, parquet: &Type) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => decoded_as(values, parquet),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        // In nanoseconds, the years after 2262 would overflow.
        DataType::Timestamp(..) if is_int96(parquet) => micros(),
        DataType::Struct(fields) => {
            let inside = |field: &FieldRef| {
                let inside = if parquet.is_group() { parquet.get_fields() } else { &[] };
                let parquet = inside.iter().find(|of| of.name() == field.name());
                let of = parquet.map_or(field.data_type().clone(), |of| decoded_as(field.data_type(), of));
                Arc::new(field.as_ref().clone().with_data_type(of))
            };
            DataType::Struct(fields.iter().map(inside).collect())
        }
        other => other.clone(),
    }
}

/// Whether a column is a Parquet `INT96`, a time of old writers.
fn is_int96(parquet: &Type) -> bool {
    parquet.is_primitive() && parquet.get_physical_type() == Physical::INT96
}

/// Whether such times lie in a list, where they are read in nanoseconds.
pub(super) fn repeats_int96(parquet: &Type) -> bool {
    fn below(parquet: &Type, is_repeated: bool) -> bool {
        let is_repeated = is_repeated
            || parquet.get_basic_info().has_repetition()
                && parquet.get_basic_info().repetition() == Repetition::REPEATED;
        match parquet.is_primitive() {
            true => is_repeated && is_int96(parquet),
            false => parquet.get_fields().iter().any(|field| below(field, is_repeated)),
        }
    }
    below(parquet, false)
}

/// All columns of all files, in the order in which they are first met, each of the widest of its types. A column that no type
/// fits, or that cannot be read, is `unusable`: whoever names it is told why, and it harms nobody else.
pub(super) fn join<'a>(files: impl Iterator<Item = (&'a str, &'a [Column])>) -> SchemaRef {
    /// A column, and the last file that has it.
    struct Joined<'a> {
        field: Field,
        last: &'a str,
    }
    let mut joined: Vec<Joined> = Vec::new();
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    for (path, columns) in files {
        for column in columns {
            let name = column.name.as_str();
            let seen = match &column.arrow {
                Ok(field) => of_file(&Field::new(name, seen_as(field.data_type()), true), path),
                Err(why) => unusable(name, format!("column {name:?} of {path} cannot be read: {why}")),
            };
            match indexes.get(name).map(|index| &mut joined[*index]) {
                // Twice in one file: reading that one tells it.
                Some(known) if known.last == path => {}
                Some(known) => *known = Joined { field: merged(&known.field, &seen, name), last: path },
                None => {
                    indexes.insert(name, joined.len());
                    joined.push(Joined { field: seen, last: path });
                }
            }
        }
    }
    Arc::new(Schema::new(joined.iter().map(|joined| settled(&joined.field)).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UNUSABLE;

    #[test]
    fn columns_are_joined_by_name() {
        use DataType::*;
        let large = Dictionary(Box::new(Int8), Box::new(LargeUtf8));
        let nanos = Timestamp(TimeUnit::Nanosecond, None);
        let list = DataType::new_list(Int64, true);
        let of =
            |fields: &[(&str, DataType)]| Struct(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect());
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
            (&[("a", UInt64)], &[("a", Int8)], Ok(&[("a", Decimal128(20, 0))])),
            (&[("a", Int64)], &[("a", UInt64)], Ok(&[("a", Decimal128(20, 0))])),
            (&[("a", Decimal128(5, 2))], &[("a", Int32)], Ok(&[("a", Decimal128(12, 2))])),
            (&[("a", UInt64)], &[("a", Decimal128(25, 2))], Ok(&[("a", Decimal128(25, 2))])),
            (&[("a", Int64)], &[("a", Decimal128(5, 2))], Ok(&[("a", Decimal128(21, 2))])),
            (&[("a", Int8)], &[("a", Decimal64(1, 0))], Ok(&[("a", Decimal128(3, 0))])),
            (
                &[("a", Int64)],
                &[("a", Decimal128(38, 20))],
                Err("column \"a\" has two types: Int64 in one, but Decimal128(38, 20) in two"),
            ),
            (&[("a", Float32)], &[("a", Float16)], Ok(&[("a", Float32)])),
            (&[("a", Float64)], &[("a", Float32)], Ok(&[("a", Float64)])),
            (&[("a", Float64)], &[("a", Int32)], Ok(&[("a", Float64)])),
            (&[("a", UInt32)], &[("a", Float32)], Ok(&[("a", Float64)])),
            (&[("a", Int16)], &[("a", Float32)], Ok(&[("a", Float32)])),
            (&[("a", Float64)], &[("a", Int64)], Err("column \"a\" has two types: Float64 in one, but Int64 in two")),
            (
                &[("a", Float64)],
                &[("a", Decimal128(5, 2))],
                Err("column \"a\" has two types: Float64 in one, but Decimal128(5, 2) in two"),
            ),
            (&[("a", Decimal128(5, 2))], &[("a", Decimal64(9, 4))], Ok(&[("a", Decimal128(9, 4))])),
            (&[("a", Decimal128(12, 1))], &[("a", Decimal128(5, 4))], Ok(&[("a", Decimal128(15, 4))])),
            (&[("a", Binary)], &[("a", LargeBinary)], Ok(&[("a", Binary)])),
            (&[("a", BinaryView)], &[("a", FixedSizeBinary(4))], Ok(&[("a", Binary)])),
            (&[("a", list.clone())], &[("a", list.clone())], Ok(&[("a", list.clone())])),
            (&[("a", Utf8)], &[("a", Binary)], Ok(&[("a", Binary)])),
            (&[("a", DataType::new_large_list(Int32, true))], &[("a", list.clone())], Ok(&[("a", list.clone())])),
            (&[("a", DataType::new_list(Null, true))], &[("a", list.clone())], Ok(&[("a", list.clone())])),
            (
                &[("a", of(&[("x", Int32), ("y", of(&[("z", Utf8)]))]))],
                &[("a", of(&[("w", Int8), ("y", of(&[("v", Date64)])), ("x", Int64)]))],
                Ok(&[("a", of(&[("x", Int64), ("y", of(&[("z", Utf8), ("v", Date32)])), ("w", Int8)]))]),
            ),
            (
                &[("a", list.clone())],
                &[("a", DataType::new_list(Utf8, true))],
                Err("column \"a\" has two types: List(Int64) in one, but List(Utf8) in two"),
            ),
            (
                &[("a", of(&[("x", Int32)]))],
                &[("a", Utf8)],
                Err("column \"a\" has two types: Struct(\"x\": Int32) in one, but Utf8 in two"),
            ),
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

    #[test]
    fn a_field_that_no_type_fits_harms_none_beside_it() {
        use DataType::*;
        let of =
            |fields: &[(&str, DataType)]| Struct(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect());
        let one = [column("a", &of(&[("x", Int32), ("y", Int32)]))];
        let two = [column("a", &of(&[("x", Int64), ("y", Int32)]))];
        let three = [column("a", &of(&[("x", Utf8), ("y", Int64)]))];
        let joined = join([("one", &one[..]), ("two", &two[..]), ("three", &three[..])].into_iter());
        let Struct(fields) = joined.field(0).data_type() else { panic!("no struct") };
        assert_eq!(fields[0].metadata()[UNUSABLE], "column \"a.x\" has two types: Int64 in two, but Utf8 in three");
        assert_eq!((fields[1].data_type(), fields[1].metadata().len()), (&Int64, 0));
    }

    fn column(name: &str, data_type: &DataType) -> Column {
        let parquet = Type::primitive_type_builder(name, Physical::BOOLEAN).build().unwrap();
        let arrow = Ok(Field::new(name, data_type.clone(), true));
        Column { name: name.into(), parquet: Arc::new(parquet), leaves: 0..1, arrow }
    }
}
