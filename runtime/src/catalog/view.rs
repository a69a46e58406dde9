//! How a group sees the records of a source: by the paths of its columns. One that the source does not have is null there.

use std::borrow::Cow;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use headwater_connectors::Records;

use crate::job::validate::union::is_empty;

/// Of one source.
#[derive(Debug)]
pub struct View {
    /// What the group sees; `None`: the records as they are.
    schema: Option<SchemaRef>,
}

impl View {
    /// `wanted`: the columns of the source's records; `named`: those that the group names, with their types. Both by path.
    pub fn new(wanted: &Schema, named: &[FieldRef]) -> View {
        let is_there = |field: &FieldRef| {
            wanted.field_with_name(field.name()).is_ok_and(|known| !is_empty(known) || is_empty(field))
        };
        let missing: Vec<FieldRef> = named.iter().filter(|field| !is_there(field)).cloned().collect();
        let known = wanted.fields().iter().filter(|known| missing.iter().all(|field| field.name() != known.name()));
        let seen = Schema::new(known.chain(&missing).cloned().collect::<Vec<_>>());
        View { schema: (!missing.is_empty()).then(|| seen.into()) }
    }

    /// Records of the source as the group sees them. Their history may have more columns, which no group names.
    pub fn of<'a>(&self, records: &'a Records) -> Cow<'a, Records> {
        let Some(schema) = &self.schema else { return Cow::Borrowed(records) };
        let index = |field: &FieldRef| {
            records
                .batch
                .schema_ref()
                .index_of(field.name())
                .ok()
                .filter(|index| records.batch.column(*index).data_type() == field.data_type())
        };
        let indexes: Vec<Option<usize>> = schema.fields().iter().map(index).collect();
        let column = |(index, field): (&Option<usize>, &FieldRef)| match index {
            Some(index) => records.batch.column(*index).clone(),
            None => new_null_array(field.data_type(), records.len()),
        };
        let columns = indexes.iter().zip(schema.fields()).map(column).collect();
        let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of the types that were checked");
        let undecoded = indexes.iter().map(|index| index.and_then(|index| records.undecoded[index].clone())).collect();
        Cow::Owned(Records { batch, undecoded, ..records.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, NullArray};
    use arrow::buffer::BooleanBuffer;
    use arrow::datatypes::{DataType, Field, Int64Type};

    use super::*;

    fn named(names: &[&str]) -> Vec<FieldRef> {
        names.iter().map(|name| Field::new(*name, DataType::Int64, true).into()).collect()
    }

    /// Records with the columns x, y (of nulls alone) and z, of which z did not decode in the second.
    fn records() -> Records {
        let numbers = |numbers: [i64; 2]| -> ArrayRef { Arc::new(Int64Array::from(numbers.to_vec())) };
        let columns: [(&str, ArrayRef); 3] =
            [("x", numbers([1, 2])), ("y", Arc::new(NullArray::new(2))), ("z", numbers([5, 6]))];
        let columns = columns.map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        Records::of_rows(batch, vec![None, None, Some(BooleanBuffer::from(vec![false, true]))])
    }

    #[test]
    fn a_column_that_the_source_does_not_have_is_null() {
        let records = records();
        // By path: what the group sees of it.
        for (names, expected) in [
            (vec!["x", "z"], vec![("x", Some([1, 2])), ("z", Some([5, 6]))]),
            (vec!["z", "w"], vec![("z", Some([5, 6])), ("w", None)]),
            (vec!["y", "x"], vec![("y", None), ("x", Some([1, 2]))]),
            (vec!["x.a", "x"], vec![("x.a", None), ("x", Some([1, 2]))]),
        ] {
            let view = View::new(records.batch.schema_ref(), &named(&names));
            let seen = view.of(&records);
            for (name, expected) in expected {
                let index = seen.batch.schema_ref().index_of(name).unwrap();
                let column = seen.batch.column(index).as_primitive::<Int64Type>();
                let found = (column.null_count() == 0).then(|| column.values().to_vec());
                assert_eq!(found, expected.map(|values| values.to_vec()), "{name} of {names:?}");
                assert_eq!(seen.undecoded[index].is_some(), name == "z", "{name} of {names:?}");
            }
        }
    }
}
