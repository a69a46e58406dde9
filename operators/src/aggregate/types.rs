//! The types of results, as several aggregates have them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::definition::Refused;
use crate::value::Kind;

/// Like the input.
///
/// # Errors
/// None.
pub fn same(input: &DataType) -> Result<DataType, Refused> {
    Ok(input.clone())
}

/// A list of values like the input.
///
/// # Errors
/// None.
pub fn list(input: &DataType) -> Result<DataType, Refused> {
    Ok(DataType::List(Arc::new(Field::new_list_field(input.clone(), true))))
}

/// A count of whatever it is.
///
/// # Errors
/// None.
pub fn count(_: &DataType) -> Result<DataType, Refused> {
    Ok(DataType::Int64)
}

/// A float64, of numbers.
///
/// # Errors
/// What it takes instead.
pub fn float(input: &DataType) -> Result<DataType, Refused> {
    number(input).map(|_| DataType::Float64)
}

/// The kind of a number. Booleans, texts and times are none.
///
/// # Errors
/// What it takes instead.
pub fn number(input: &DataType) -> Result<Kind, Refused> {
    let is_time = matches!(input, DataType::Date32 | DataType::Timestamp(..));
    let kind = Kind::of(input).filter(|kind| !matches!(kind, Kind::Bool | Kind::Text) && !is_time);
    kind.ok_or(Refused("a number"))
}
