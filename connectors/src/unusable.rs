//! Columns that are there and that nobody can use: two files that do not agree, a type without a meaning here.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};

/// Key of a field's metadata: nobody can use the column, and the value says why. Its type is `Null`.
pub const UNUSABLE: &str = "unusable";

/// Such a field; `why`: what whoever names it is told.
pub(crate) fn unusable(name: &str, why: String) -> Field {
    Field::new(name, DataType::Null, true).with_metadata(HashMap::from([(UNUSABLE.to_owned(), why)]))
}
