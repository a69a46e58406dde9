//! `sum` and `avg`: the exact sum, rounded once.
//!
//! ```text
//! sum = the sum in its own type: int64, float64, or a decimal of 38 digits; none where it does not fit
//! avg = the sum as a float64, over the number of values
//! ```

use arrow::datatypes::DataType;

use super::definition::{Definition, Needs, Refused};
use super::types;
use crate::value::{Datum, Kind};

pub static SUM: Definition = Definition {
    name: "sum",
    aliases: &["total", "add"],
    in_sql: &[],
    parameter: None,
    result: sum_type,
    needs: Needs::Sum(|_, total| total.datum()),
    meaning: |of, _| format!("sum of {of}"),
    of_events: None,
    by_time: false,
    of_distinct: None,
    identity: "Sum",
};

pub static AVG: Definition = Definition {
    name: "avg",
    aliases: &["mean", "average", "arithmetic_mean"],
    in_sql: &["mean"],
    parameter: None,
    result: types::float,
    needs: Needs::Sum(|count, total| Some(Datum::float(total.as_float() / count as f64))),
    meaning: |of, _| format!("average of {of}"),
    of_events: None,
    by_time: false,
    of_distinct: None,
    identity: "Avg",
};

fn sum_type(input: &DataType) -> Result<DataType, Refused> {
    Ok(match types::number(input)? {
        Kind::Float => DataType::Float64,
        Kind::Decimal { scale } => DataType::Decimal128(38, scale),
        Kind::Int | Kind::UInt | Kind::Bool | Kind::Text => DataType::Int64,
    })
}
