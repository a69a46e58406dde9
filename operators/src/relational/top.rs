//! The first rows of each key in an order: `ORDER BY ... LIMIT n`, and `ROW_NUMBER()` up to a bound.
//!
//! ```text
//! limit 2          change            out
//! tick 1           +5 +9             5 +1   9 +1
//! tick 2           +7                9 -1   7 +1
//! tick 3           -5                5 -1   9 +1
//! ```
//!
//! Rows of one place in the order are told apart by their bytes: the smaller one comes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};
use differential_dataflow::consolidation::consolidate;

use super::by_tick::{PerTick, by_key, by_tick};
use super::rows::{Bytes, Change, Keyed, Rows};
use crate::key_codec::KeyCodec;

/// The first `limit` rows of each key. A row stands behind its place in the order: see [`placed`]. `numbered`: with its number from 1 on,
/// as an unsigned integer, behind its other columns.
pub fn top<'scope>(rows: Keyed<'scope>, limit: usize, numbered: bool) -> Rows<'scope> {
    by_tick(rows, "top", move |_, _| Top::new(limit, numbered))
}

/// Columns -> bytes whose order is that of the rows.
pub struct OrderCodec(RowConverter);

impl OrderCodec {
    /// By column: its type, whether the greatest comes first, and whether nulls do.
    ///
    /// # Errors
    /// A type that has no order.
    pub fn new(columns: &[(DataType, bool, bool)]) -> Result<OrderCodec, ArrowError> {
        let field = |(data_type, descending, nulls_first): &(DataType, bool, bool)| {
            SortField::new_with_options(
                data_type.clone(),
                SortOptions { descending: *descending, nulls_first: *nulls_first },
            )
        };
        Ok(OrderCodec(RowConverter::new(columns.iter().map(field).collect())?))
    }

    /// Columns of those types -> the place of each row.
    ///
    /// # Errors
    /// Columns of other types.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Vec<Bytes>, ArrowError> {
        Ok(self.0.convert_columns(columns)?.iter().map(|row| row.as_ref().to_vec()).collect())
    }
}

/// A row with its place in an order, of which the bytes are given.
pub fn placed(order: &[u8], row: &[u8]) -> Bytes {
    [order, row, &(row.len() as u32).to_be_bytes()].concat()
}

fn row(placed: &[u8]) -> &[u8] {
    let (placed, length) = placed.split_at(placed.len() - 4);
    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
    &placed[placed.len() - length as usize..]
}

struct Top {
    limit: usize,
    numbers: Option<KeyCodec>,
    kept: HashMap<Bytes, TopOfKey>,
}

/// What is kept of a key.
#[derive(Default)]
struct TopOfKey {
    /// All its rows, and how many there are of each.
    all: BTreeMap<Bytes, isize>,
    /// As they were emitted.
    emitted: Vec<Bytes>,
}

impl Top {
    fn new(limit: usize, numbered: bool) -> Top {
        let numbers = numbered.then(|| KeyCodec::new(&[DataType::UInt64]).expect("a type that has a codec"));
        Top { limit, numbers, kept: HashMap::new() }
    }
}

impl PerTick for Top {
    fn tick(&mut self, changes: Vec<Change>, out: &mut Vec<(Bytes, isize)>) {
        for (key, changes) in by_key(&changes) {
            let kept = self.kept.entry(key.clone()).or_default();
            for ((_, row), diff) in changes {
                let count = kept.all.entry(row.clone()).or_default();
                *count += diff;
                if *count == 0 {
                    kept.all.remove(row);
                }
            }
            let many = kept
                .all
                .iter()
                .flat_map(|(placed, n)| std::iter::repeat_n(row(placed), usize::try_from(*n).unwrap_or(0)));
            let mut now: Vec<Bytes> = many.take(self.limit).map(<[u8]>::to_vec).collect();
            if let Some(numbers) = &self.numbers {
                let all: ArrayRef = Arc::new(UInt64Array::from_iter_values(1..=now.len() as u64));
                let all = numbers.encode(&[all]).expect("numbers");
                now.iter_mut().zip(all.iter().flatten()).for_each(|(row, number)| row.extend_from_slice(number));
            }
            let before = std::mem::replace(&mut kept.emitted, now.clone());
            let mut turned: Vec<(Bytes, isize)> = before.into_iter().map(|row| (row, -1)).collect();
            turned.extend(now.into_iter().map(|row| (row, 1)));
            consolidate(&mut turned);
            out.extend(turned);
            if kept.all.is_empty() {
                self.kept.remove(key);
            }
        }
    }
}
