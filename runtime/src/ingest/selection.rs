//! Some rows of a batch of records, and lists of rows: ascending, each row once.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{take, take_record_batch};
use headwater_connectors::Records;

/// Some rows of a batch of records.
pub struct Selection {
    pub batch: RecordBatch,
    /// Where they stand among the records.
    pub rows: Vec<u32>,
}

impl Selection {
    pub fn of(records: &Records, rows: Vec<u32>) -> Selection {
        let batch = match rows.len() == records.len() {
            true => records.batch.clone(),
            false => take_rows(&records.batch, &rows),
        };
        Selection { batch, rows }
    }

    pub fn keep(self, indexes: &[u32]) -> Selection {
        if indexes.len() == self.rows.len() { self } else { self.at(indexes) }
    }

    pub fn at(&self, indexes: &[u32]) -> Selection {
        let rows = indexes.iter().map(|i| self.rows[*i as usize]).collect();
        Selection { batch: take_rows(&self.batch, indexes), rows }
    }

    pub fn undecoded(&self, records: &Records, column: &str) -> Option<BooleanBuffer> {
        let index = records.batch.schema_ref().index_of(column).ok()?;
        let all = records.undecoded[index].as_ref()?;
        Some(self.rows.iter().map(|r| all.value(*r as usize)).collect())
    }

    pub fn rows_of<'a>(&'a self, indexes: Option<&'a BooleanBuffer>) -> impl Iterator<Item = u32> + 'a {
        indexes.into_iter().flat_map(|indexes| indexes.set_indices()).map(|i| self.rows[i])
    }
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
