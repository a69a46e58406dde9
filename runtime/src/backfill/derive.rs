//! Derived columns of rows: they follow from a row's key, which the spine has, and its columns; where there is no row they are null.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use headwater_operators::probe::rows::{FIRST_COLUMN, IS_THERE};

use super::as_key::as_key;
use super::spine::KeyColumns;
use crate::catalog::opened::OpenGroup;

/// All columns of some rows of a group, at most `ROWS_MAX`, and how many of them have a null since a derived column failed. `rows`: as the probe gives
/// them, in the order of `own`, the spine's rows.
pub fn with_derived(
    open: &OpenGroup,
    keys: &KeyColumns,
    own: &RecordBatch,
    rows: &RecordBatch,
) -> Result<(Vec<ArrayRef>, u64), ArrowError> {
    let mut columns = rows.columns()[FIRST_COLUMN..].to_vec();
    if open.derived.is_empty() {
        return Ok((columns, 0));
    }
    let types = keys.codec.types();
    let of_spine = keys.columns.iter().zip(types).map(|(column, key)| as_key(own.column(*column), key));
    let mut all = of_spine.collect::<Result<Vec<_>, _>>()?;
    all.extend(columns.iter().cloned());
    let fields = open.shape.schema.fields().iter().take(all.len());
    let schema = Schema::new(fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>());
    let are_there = rows.column(IS_THERE).as_boolean();
    let there = filter_record_batch(&RecordBatch::try_new(schema.into(), all)?, are_there)?;
    let (values, failed) = open.derived.of(&there);
    let places = places(are_there);
    for values in values {
        columns.push(take(&values, &places, None)?);
    }
    Ok((columns, failed.map_or(0, |failed| failed.count_set_bits() as u64)))
}

/// Of each row its place among those that are there, if it is one of them.
fn places(are_there: &BooleanArray) -> UInt32Array {
    let mut next = 0..;
    are_there.values().iter().map(|is_there| if is_there { next.next() } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_among_those_that_are_there() {
        let are_there = BooleanArray::from(vec![false, true, true, false, true]);
        assert_eq!(places(&are_there), UInt32Array::from(vec![None, Some(0), Some(1), None, Some(2)]));
    }
}
