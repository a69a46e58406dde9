//! `var_pop`, `var_samp`, `stddev_pop`, `stddev_samp`: how far values lie from their mean, from exact sums, rounded once.

use super::definition::{Definition, Needs, Total};
use super::types;
use crate::exact::spread::{Spread, spread_of_floats, spread_of_ints};
use crate::exact::squares::SquareSum;
use crate::value::Datum;

pub static VAR_POP: Definition = spread(
    ("var_pop", "VarPop"),
    &["varp", "pop_var", "population_variance", "variance_pop", "variance_population"],
    &[],
    |count, total, squares| of(Spread::VarPop, count, total, squares),
    |of, _| format!("variance of {of}"),
);

pub static VAR_SAMP: Definition = spread(
    ("var_samp", "VarSamp"),
    &["var", "variance", "sample_variance", "var_sample", "variance_samp", "variance_sample"],
    &["variance"],
    |count, total, squares| of(Spread::VarSamp, count, total, squares),
    |of, _| format!("sample variance of {of}"),
);

pub static STDDEV_POP: Definition = spread(
    ("stddev_pop", "StddevPop"),
    &["stdevp", "stddevp", "std_pop", "pop_stddev", "population_stddev", "stddev_population"],
    &[],
    |count, total, squares| of(Spread::StddevPop, count, total, squares),
    |of, _| format!("standard deviation of {of}"),
);

pub static STDDEV_SAMP: Definition = spread(
    ("stddev_samp", "StddevSamp"),
    &["stddev", "std", "stdev", "sd", "standard_deviation", "std_samp", "stddev_sample"],
    &["stddev"],
    |count, total, squares| of(Spread::StddevSamp, count, total, squares),
    |of, _| format!("sample standard deviation of {of}"),
);

/// `identity`: see `Definition::identity`.
const fn spread(
    (name, identity): (&'static str, &'static str),
    aliases: &'static [&'static str],
    in_sql: &'static [&'static str],
    value: fn(i64, &Total, &SquareSum) -> Option<Datum>,
    meaning: fn(&str, f64) -> String,
) -> Definition {
    Definition {
        name,
        aliases,
        in_sql,
        parameter: None,
        result: types::float,
        needs: Needs::Squares(value),
        meaning,
        of_events: None,
        by_time: false,
        of_distinct: None,
        identity,
    }
}

/// Of a sample of one there is none.
fn of(spread: Spread, count: i64, total: &Total, squares: &SquareSum) -> Option<Datum> {
    let spread = match total {
        Total::Floats(sum) => spread_of_floats(spread, count, sum, squares),
        Total::Ints(sum) => spread_of_ints(spread, count, (*sum).into(), squares, 0),
        Total::Decimals(sum, scale) => spread_of_ints(spread, count, *sum, squares, *scale),
    };
    Some(spread.map(Datum::float).unwrap_or_default())
}
