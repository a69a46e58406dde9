//! By what records look up: the values of `on`, as the key there has them.
//!
//! No key of a group or a table is a text of more than 32 KiB, so that a longer one finds nothing: it is null here, and takes no memory.
//! What makes such texts (`repeat(a, b)`) is evaluated for so many records that they are little.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use headwater_connectors::Records;
use headwater_connectors::sink::KEY_TEXT_BYTES_MAX;
use headwater_expression::Expression;

use super::selection::REPEATED_BYTES_MAX;
use crate::catalog::opened::OpenLookup;

/// By record.
pub struct LookedUpBy {
    /// Of the key's types. Null: there is no such key.
    pub columns: Vec<ArrayRef>,
    /// Where `on` failed. `None`: nowhere.
    pub failed: Option<BooleanBuffer>,
}

/// Evaluates `on`. `types`: of the key there.
pub fn looked_up_by(lookup: &OpenLookup, types: &[DataType], records: &Records) -> LookedUpBy {
    let (columns, failed): (Vec<ArrayRef>, Vec<Option<BooleanBuffer>>) =
        lookup.on.iter().zip(types).map(|(on, wanted)| column(on, wanted, records)).unzip();
    LookedUpBy { columns, failed: failed.into_iter().flatten().reduce(|a, b| &a | &b) }
}

fn column(on: &Expression, wanted: &DataType, records: &Records) -> (ArrayRef, Option<BooleanBuffer>) {
    let (mut pieces, mut failed, mut from, mut rows) = (vec![], vec![], 0, records.len());
    while from < records.len() || pieces.is_empty() {
        let some = records.slice(from, rows.min(records.len() - from));
        let undecoded = |name: &str| some.undecoded[some.batch.schema_ref().index_of(name).ok()?].clone();
        let Some(evaluated) = on.evaluate_within(&some.batch, &undecoded, REPEATED_BYTES_MAX) else {
            rows = some.len().div_ceil(2);
            continue;
        };
        from += some.len();
        failed.push(evaluated.failed.unwrap_or_else(|| BooleanBuffer::new_unset(some.len())));
        pieces.push(of_type(&without_long(evaluated.values), wanted));
    }
    let all: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    let values = if let [one] = pieces.as_slice() { one.clone() } else { concat(&all).expect("of one type") };
    let failed = failed.iter().any(|some| some.count_set_bits() > 0).then(|| failed.iter().flatten().collect());
    (values, failed)
}

fn of_type(values: &ArrayRef, wanted: &DataType) -> ArrayRef {
    match values.data_type() == wanted {
        true => values.clone(),
        // Past the type's ends there is no such key.
        false => cast(values, wanted).unwrap_or_else(|_| new_null_array(wanted, values.len())),
    }
}

/// Whether it is a text that no key is.
pub fn is_long(values: &ArrayRef, row: usize) -> bool {
    let texts = values.as_string_opt::<i32>();
    texts.is_some_and(|texts| texts.is_valid(row) && texts.value_length(row) as usize > KEY_TEXT_BYTES_MAX)
}

fn without_long(values: ArrayRef) -> ArrayRef {
    let Some(texts) = values.as_string_opt::<i32>().filter(|_| (0..values.len()).any(|row| is_long(&values, row)))
    else {
        return values;
    };
    let short: StringArray = texts.iter().map(|text| text.filter(|text| text.len() <= KEY_TEXT_BYTES_MAX)).collect();
    Arc::new(short)
}
