//! Some rows of a batch of records, and lists of rows: ascending, each row once.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{nullif, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use headwater_connectors::Records;
use headwater_expression::bytes_of;

use crate::catalog::explode::is_of_elements;
use crate::catalog::opened::{ElementField, Explode};

/// What is repeated at once of the columns beside a list: a megabyte of records may be gigabytes, once each element has its own.
pub const REPEATED_BYTES_MAX: usize = 8 << 20;

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

    /// A row for each element of a list, with the fields of the element, in parts of so many bytes that are repeated; and the rows whose
    /// list did not decode.
    pub fn exploded<'a>(
        self,
        records: &Records,
        explode: &'a Explode,
        bytes_max: usize,
    ) -> (impl Iterator<Item = Selection> + 'a, Vec<u32>) {
        let undecoded = records.undecoded[explode.column].as_ref();
        let failed = |row: &u32| undecoded.is_some_and(|all| all.value(*row as usize));
        let failed = self.rows.iter().copied().filter(failed).collect();
        let mut exploding = Exploding::new(self, explode, bytes_max);
        (std::iter::from_fn(move || exploding.next()), failed)
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

/// Some rows, while each becomes as many as its list has elements.
struct Exploding<'a> {
    of: Selection,
    explode: &'a Explode,
    /// The columns that are repeated.
    beside: Vec<usize>,
    /// By field: the values of all elements.
    values: Vec<ArrayRef>,
    /// The element that comes next: its row, and the how manyth it is there.
    next: (usize, usize),
    bytes_max: usize,
}

impl<'a> Exploding<'a> {
    fn new(of: Selection, explode: &'a Explode, bytes_max: usize) -> Exploding<'a> {
        let is_beside = |name: &String| !is_of_elements(name) && explode.beside.contains(name);
        let fields = of.batch.schema_ref().fields().iter().enumerate();
        let beside = fields.filter(|(_, field)| is_beside(field.name())).map(|(at, _)| at).collect();
        let values =
            |field: &ElementField| inside(of.batch.column(field.column).as_list::<i32>().values(), &field.names);
        let values = explode.fields.iter().map(values).collect();
        Exploding { of, explode, beside, values, next: (0, 0), bytes_max }
    }

    /// `None`: there are no more. What is repeated of one element alone may have more bytes.
    fn next(&mut self) -> Option<Selection> {
        let (parents, numbers) = self.places();
        (!parents.is_empty()).then(|| self.rows(&parents, &numbers))
    }

    /// Of which rows the next elements are, and the how manyth there.
    fn places(&mut self) -> (Vec<u32>, Vec<usize>) {
        let list = self.of.batch.column(self.explode.column).as_list::<i32>();
        let (mut parents, mut numbers) = (vec![], vec![]);
        let mut left = self.bytes_max;
        while self.next.0 < list.len() {
            let (row, first) = self.next;
            let length = if list.is_valid(row) { list.value_length(row) as usize } else { 0 };
            if first >= length {
                self.next = (row + 1, 0);
                continue;
            }
            let bytes: usize = self.beside.iter().map(|at| row_bytes(self.of.batch.column(*at), row)).sum();
            let fit = (left / bytes.max(1)).max(usize::from(parents.is_empty())).min(length - first);
            if fit == 0 {
                break;
            }
            left = left.saturating_sub(fit * bytes.max(1));
            parents.extend(std::iter::repeat_n(row as u32, fit));
            numbers.extend(first..first + fit);
            self.next = (row, first + fit);
        }
        (parents, numbers)
    }

    fn rows(&self, parents: &[u32], numbers: &[usize]) -> Selection {
        let of = UInt32Array::from(parents.to_vec());
        let mut fields: Vec<_> =
            self.beside.iter().map(|at| self.of.batch.schema_ref().fields()[*at].clone()).collect();
        let mut columns: Vec<_> = self.beside.iter().map(|at| pick(self.of.batch.column(*at), Some(&of))).collect();
        for (field, values) in self.explode.fields.iter().zip(&self.values) {
            let lists = self.of.batch.column(field.column).as_list::<i32>();
            // A list that did not decode has none.
            let at = |(i, number): (&u32, &usize)| {
                let (i, number) = (*i as usize, *number);
                let is_there = lists.is_valid(i) && number < lists.value_length(i) as usize;
                is_there.then(|| lists.value_offsets()[i] as u32 + number as u32)
            };
            let at: UInt32Array = parents.iter().zip(numbers).map(at).collect();
            fields.push(Arc::new(Field::new(&field.name, values.data_type().clone(), true)));
            columns.push(pick(values, Some(&at)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(parents.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        let rows = parents.iter().map(|i| self.of.rows[*i as usize]).collect();
        let elements = self.explode.fields.iter().map(|field| (field.name.clone(), field.column)).collect();
        Selection { batch: batch.expect("as many values as elements"), rows, elements }
    }
}

/// About how many bytes a row has in a column.
pub fn row_bytes(column: &ArrayRef, row: usize) -> usize {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_length(row) as usize,
        DataType::Binary => column.as_binary::<i32>().value_length(row) as usize,
        fixed if fixed.primitive_width().is_some() => 16,
        _ => bytes_of(&column.slice(row, 1)),
    }
}

/// A record for each element of a list.
pub struct Elements {
    pub records: Records,
    /// By element, of which record it is.
    pub of: Vec<u32>,
}

impl Elements {
    /// In parts of so many bytes that are repeated; and the records whose list did not decode.
    pub fn of<'a>(
        records: &'a Records,
        explode: &'a Explode,
        bytes_max: usize,
    ) -> (impl Iterator<Item = Elements> + 'a, Vec<u32>) {
        let all = Selection::of(records, (0..records.len() as u32).collect());
        let (parts, failed) = all.exploded(records, explode, bytes_max);
        let elements = |part: Selection| {
            let fields = part.batch.schema();
            let undecoded = fields.fields().iter().map(|field| part.undecoded(records, field.name())).collect();
            Elements { records: Records::of_rows(part.batch, undecoded), of: part.rows }
        };
        (parts.map(elements), failed)
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

/// Parts of so many records that they have no more bytes than that; one alone may have more.
pub fn parted(records: usize, bytes_max: usize, bytes: impl Fn(usize) -> usize) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let first = next;
        let mut left = bytes_max;
        while next < records
            && let Some(rest) = left.checked_sub(bytes(next)).or((next == first).then_some(0))
        {
            (next, left) = (next + 1, rest);
        }
        (next > first).then_some(first..next)
    })
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
    use arrow::array::{ListArray, StringArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Int64Type;

    use super::*;

    /// Records of a text, another one that nobody names, and a list; the fourth list is none.
    fn lists() -> (Records, Explode) {
        let lengths = [3, 0, 500, 0, 7];
        let item = |row: usize| (row != 3).then(|| (0..lengths[row]).map(move |n| Some((row * 1000 + n) as i64)));
        let texts =
            || -> ArrayRef { Arc::new(StringArray::from_iter_values((0..5).map(|row| format!("{row:01000}")))) };
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>((0..5).map(item)));
        let columns = [("k", texts()), ("other", texts()), ("l[]", list.clone()), ("l[].", list)];
        let columns = columns.map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let undecoded = BooleanBuffer::from(vec![false, false, false, true, false]);
        let field = ElementField { name: "item".to_owned(), column: 3, names: vec![] };
        let explode = Explode { column: 2, fields: vec![field], beside: vec!["k".to_owned()] };
        (Records::of_rows(batch, vec![None, None, Some(undecoded.clone()), Some(undecoded)]), explode)
    }

    #[test]
    fn of_a_list_no_more_is_repeated_at_once_than_there_is_room_for() {
        let (records, explode) = lists();
        let parts = |bytes_max: usize| {
            let (parts, failed) = Elements::of(&records, &explode, bytes_max);
            assert_eq!(failed, [3]);
            parts.collect::<Vec<_>>()
        };
        let [whole] = <[Elements; 1]>::try_from(parts(1 << 20)).ok().unwrap();
        let names: Vec<_> =
            whole.records.batch.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!((names, whole.records.len()), (vec!["k".to_owned(), "item".to_owned()], 510));
        for (bytes_max, expected) in [(1, 510), (10_000, 51), (100_000, 6)] {
            let parts = parts(bytes_max);
            assert_eq!(parts.len(), expected, "{bytes_max}");
            let repeated = parts.iter().map(|part| part.records.batch.column(0).as_string::<i32>().value_data().len());
            assert!(repeated.max() <= Some(bytes_max.max(1_000)), "{bytes_max}");
            let batches: Vec<_> = parts.iter().map(|part| &part.records.batch).collect();
            let together = concat_batches(whole.records.batch.schema_ref(), batches).unwrap();
            assert_eq!(together, whole.records.batch, "{bytes_max}");
            assert_eq!(parts.iter().flat_map(|part| part.of.clone()).collect::<Vec<_>>(), whole.of, "{bytes_max}");
        }
    }

    #[test]
    fn parts_are_as_long_as_they_may_be() {
        for (bytes, expected) in [
            (vec![], vec![]),
            (vec![3, 3, 4, 1], vec![0..3, 3..4]),
            (vec![0, 0, 0, 11], vec![0..3, 3..4]),
            (vec![11, 1, 20, 0, 0, 9, 2], vec![0..1, 1..2, 2..5, 5..6, 6..7]),
        ] {
            assert_eq!(parted(bytes.len(), 10, |at| bytes[at]).collect::<Vec<_>>(), expected, "{bytes:?}");
        }
    }

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
