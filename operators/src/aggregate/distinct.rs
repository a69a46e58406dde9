//! `count_distinct`, exact, and `approx_count_distinct`, a sketch with a standard error of 1.6%.

use super::definition::{Definition, Needs};
use super::types;
use crate::synopses::counted_registers::CountedRegisters;
use crate::synopses::distinct::Distinct;
use crate::synopses::reading::Reading;
use crate::synopses::registers::Registers;
use crate::synopses::sorted::Sorted;

pub static COUNT_DISTINCT: Definition = Definition {
    name: "count_distinct",
    aliases: &[
        "nunique",
        "unique",
        "uniq",
        "unique_count",
        "count_unique",
        "uniq_exact",
        "distinct",
        "distinct_count",
        "n_distinct",
        "dcount",
        "cardinality",
    ],
    in_sql: &[],
    parameter: None,
    result: types::count,
    needs: Needs::Synopsis(&Reading(Distinct::count), &Reading(Sorted::distinct)),
    meaning: |of, _| format!("distinct values of {of}"),
    of_events: None,
    by_time: false,
    of_distinct: Some("count_distinct"),
    identity: "CountDistinct",
};

pub static APPROX_COUNT_DISTINCT: Definition = Definition {
    name: "approx_count_distinct",
    aliases: &["approx_distinct", "approx_unique", "approx_n_unique", "hll", "hyperloglog", "ndv"],
    in_sql: &[],
    parameter: None,
    result: types::count,
    needs: Needs::Synopsis(&Reading(Registers::estimate), &Reading(CountedRegisters::estimate)),
    meaning: |of, _| format!("distinct values of {of}, estimated (standard error 1.6%),"),
    of_events: None,
    by_time: false,
    of_distinct: Some("approx_count_distinct"),
    identity: "ApproxCountDistinct",
};
