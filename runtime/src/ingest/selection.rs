//! Some rows of a batch of records, and lists of rows: ascending, each row once.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{nullif, take, take_record_batch};
use arrow::datatypes::{Field, Schema};
use headwater_connectors::{Payload, Records};

use crate::catalog::explode::is_of_elements;
use crate::catalog::opened::Explode;

/// Some rows of a batch of records; of a list that is exploded, each row as often as it has elements.
pub struct Selection {
    pub batch: RecordBatch,
    /// Where they stand among the records.
    pub rows: Vec<u32>,
    /// Fields of elements, and the places of the records' columns that they are from.
    elements: Vec<(String, usize)>,
}

impl Selection {
    pub fn of(records: &Records, rows: Vec<u32>) -> Selection {
        let batch = match rows.len() == records.len() {
            true => records.batch.clone(),
            false => take_rows(&records.batch, &rows),
        };
        Selection { batch, rows, elements: vec![] }
    }

    /// A row for each element of a list, with the fields of the element; and the rows whose list did not decode.
    pub fn exploded(self, records: &Records, explode: &Explode) -> (Selection, Vec<u32>) {
        let list = self.batch.column(explode.column).as_list::<i32>();
        let undecoded = records.undecoded[explode.column].as_ref();
        let failed = |row: &u32| undecoded.is_some_and(|all| all.value(*row as usize));
        let failed = self.rows.iter().copied().filter(failed).collect();
        let (mut parents, mut numbers) = (vec![], vec![]);
        for i in (0..list.len()).filter(|i| list.is_valid(*i)) {
            let length = list.value_length(i) as usize;
            parents.extend(std::iter::repeat_n(i as u32, length));
            numbers.extend(0..length);
        }
        let own =
            self.batch.schema_ref().fields().iter().enumerate().filter(|(_, field)| !is_of_elements(field.name()));
        let own: Vec<usize> = own.map(|(at, _)| at).collect();
        let batch = take_rows(&self.batch.project(&own).expect("places of its own"), &parents);
        let mut fields = batch.schema_ref().fields().to_vec();
        let mut columns = batch.columns().to_vec();
        for field in &explode.fields {
            let lists = self.batch.column(field.column).as_list::<i32>();
            // A list that did not decode has none.
            let at = |(i, number): (&u32, &usize)| {
                let (i, number) = (*i as usize, *number);
                let is_there = lists.is_valid(i) && number < lists.value_length(i) as usize;
                is_there.then(|| lists.value_offsets()[i] as u32 + number as u32)
            };
            let at: UInt32Array = parents.iter().zip(&numbers).map(at).collect();
            let values = take(&inside(lists.values(), &field.names), &at, None).expect("elements of its own");
            fields.push(Arc::new(Field::new(&field.name, values.data_type().clone(), true)));
            columns.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(parents.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        let rows = parents.iter().map(|i| self.rows[*i as usize]).collect();
        let elements = explode.fields.iter().map(|field| (field.name.clone(), field.column)).collect();
        (Selection { batch: batch.expect("as many values as elements"), rows, elements }, failed)
    }

    pub fn keep(self, indexes: &[u32]) -> Selection {
        if indexes.len() == self.rows.len() { self } else { self.at(indexes) }
    }

    pub fn at(&self, indexes: &[u32]) -> Selection {
        let rows = indexes.iter().map(|i| self.rows[*i as usize]).collect();
        Selection { batch: take_rows(&self.batch, indexes), rows, elements: self.elements.clone() }
    }

    pub fn undecoded(&self, records: &Records, column: &str) -> Option<BooleanBuffer> {
        let of_element = self.elements.iter().find(|(name, _)| name == column).map(|(_, place)| *place);
        let index = of_element.or_else(|| records.batch.schema_ref().index_of(column).ok())?;
        let all = records.undecoded[index].as_ref()?;
        Some(self.rows.iter().map(|r| all.value(*r as usize)).collect())
    }

    pub fn rows_of<'a>(&'a self, indexes: Option<&'a BooleanBuffer>) -> impl Iterator<Item = u32> + 'a {
        indexes.into_iter().flat_map(|indexes| indexes.set_indices()).map(|i| self.rows[i])
    }
}

/// A record for each element of a list.
pub struct Elements {
    pub records: Records,
    /// By element, of which record it is.
    pub of: Vec<u32>,
    /// The records whose list did not decode.
    pub failed: Vec<u32>,
}

impl Elements {
    pub fn of(records: &Records, explode: &Explode) -> Elements {
        let all = Selection::of(records, (0..records.len() as u32).collect());
        let (elements, failed) = all.exploded(records, explode);
        let fields = elements.batch.schema();
        let undecoded = fields.fields().iter().map(|field| elements.undecoded(records, field.name())).collect();
        let records = Records {
            batch: elements.batch,
            undecoded,
            malformed: None,
            partition: None,
            offsets: None,
            stamps: None,
            tombstones: None,
            removed_at: None,
            payload: Payload::Row,
            bytes: 0,
        };
        Elements { records, of: elements.rows, failed }
    }
}

/// A field of structs, null where a struct is.
fn inside(structs: &ArrayRef, names: &[String]) -> ArrayRef {
    let Some((name, rest)) = names.split_first() else { return structs.clone() };
    let around = structs.as_struct();
    let field = around.column_by_name(name).expect("a field of the list's own type");
    let field = match around.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => field.clone(),
        Some(nulls) => nullif(field, &BooleanArray::new(!nulls.inner(), None)).expect("as many fields as structs"),
    };
    inside(&field, rest)
}

pub fn is_true(values: &BooleanArray, i: usize) -> bool {
    values.is_valid(i) && values.value(i)
}

fn take_rows(batch: &RecordBatch, rows: &[u32]) -> RecordBatch {
    take_record_batch(batch, &UInt32Array::from(rows.to_vec())).expect("rows of its own")
}

/// Some places of an array; `None`: all of them.
pub fn pick(array: &ArrayRef, indexes: Option<&UInt32Array>) -> ArrayRef {
    indexes.map_or_else(|| array.clone(), |indexes| take(array, indexes, None).expect("rows of its own"))
}

/// All of several ascending lists. Mostly there is one, or they are the same.
pub fn union<'a>(mut lists: impl Iterator<Item = &'a [u32]>) -> Cow<'a, [u32]> {
    let mut all = Cow::Borrowed(lists.next().unwrap_or_default());
    for list in lists {
        if list != all.as_ref() {
            let all = all.to_mut();
            all.extend_from_slice(list);
            all.sort_unstable();
            all.dedup();
        }
    }
    all
}

/// Where the values of an ascending list stand that are in another one, too; `None`: all are.
pub fn indexes_of(list: &[u32], wanted: &[u32]) -> Option<Vec<u32>> {
    let mut wanted = wanted.iter().peekable();
    let mut is_wanted = |value: &u32| {
        while wanted.next_if(|wanted| *wanted < value).is_some() {}
        wanted.peek() == Some(&value)
    };
    let indexes: Vec<u32> = (0..).zip(list).filter(|(_, value)| is_wanted(value)).map(|(at, _)| at).collect();
    (indexes.len() < list.len()).then_some(indexes)
}

pub fn is_in(list: &[u32], value: u32) -> bool {
    list.binary_search(&value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_rows() {
        let all: [&[u32]; 3] = [&[1, 3, 5], &[1, 3, 5], &[2, 3]];
        assert_eq!(union(all.into_iter()).as_ref(), [1, 2, 3, 5]);
        assert!(matches!(union(all[..2].iter().copied()), Cow::Borrowed([1, 3, 5])));
        for (list, wanted, expected) in [
            (vec![1, 3, 5], vec![1, 3, 5], None),
            (vec![1, 3, 5], vec![0, 1, 2, 3, 4, 5, 6], None),
            (vec![1, 3, 5], vec![0, 3, 6], Some(vec![1])),
            (vec![1, 3, 5], vec![], Some(vec![])),
            (vec![], vec![1], None),
        ] {
            assert_eq!(indexes_of(&list, &wanted), expected, "{list:?} {wanted:?}");
        }
    }
}
