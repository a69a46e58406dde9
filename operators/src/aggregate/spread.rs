//! `var_pop`, `var_samp`, `stddev_pop`, `stddev_samp`: how far values lie from their mean, from exact sums, rounded once.

use super::definition::{Definition, Needs, Total};
use super::types;
use crate::exact::spread::{Spread, spread_of_floats, spread_of_ints};
use crate::exact::squares::SquareSum;
use crate::value::Datum;

pub static VAR_POP: Definition = Definition {
    name: "var_pop",
    aliases: &["varp", "pop_var", "population_variance", "variance_pop", "variance_population"],
    parameter: None,
    result: types::float,
    needs: Needs::Squares(|count, total, squares| of(Spread::VarPop, count, total, squares)),
    meaning: |of, _| format!("variance of {of}"),
    of_events: None,
    identity: "VarPop",
};

pub static VAR_SAMP: Definition = Definition {
    name: "var_samp",
    aliases: &["var", "variance", "sample_variance", "var_sample", "variance_samp", "variance_sample"],
    parameter: None,
    result: types::float,
    needs: Needs::Squares(|count, total, squares| of(Spread::VarSamp, count, total, squares)),
    meaning: |of, _| format!("sample variance of {of}"),
    of_events: None,
    identity: "VarSamp",
};

pub static STDDEV_POP: Definition = Definition {
    name: "stddev_pop",
    aliases: &["stdevp", "stddevp", "std_pop", "pop_stddev", "population_stddev", "stddev_population"],
    parameter: None,
    result: types::float,
    needs: Needs::Squares(|count, total, squares| of(Spread::StddevPop, count, total, squares)),
    meaning: |of, _| format!("standard deviation of {of}"),
    of_events: None,
    identity: "StddevPop",
};

pub static STDDEV_SAMP: Definition = Definition {
    name: "stddev_samp",
    aliases: &["stddev", "std", "stdev", "sd", "standard_deviation", "std_samp", "stddev_sample"],
    parameter: None,
    result: types::float,
    needs: Needs::Squares(|count, total, squares| of(Spread::StddevSamp, count, total, squares)),
    meaning: |of, _| format!("sample standard deviation of {of}"),
    of_events: None,
    identity: "StddevSamp",
};

/// Of a sample of one there is none.
fn of(spread: Spread, count: i64, total: &Total, squares: &SquareSum) -> Option<Datum> {
    let spread = match total {
        Total::Floats(sum) => spread_of_floats(spread, count, sum, squares),
        Total::Ints(sum) => spread_of_ints(spread, count, (*sum).into(), squares, 0),
        Total::Decimals(sum, scale) => spread_of_ints(spread, count, *sum, squares, *scale),
    };
    Some(spread.map(Datum::float).unwrap_or_default())
}
