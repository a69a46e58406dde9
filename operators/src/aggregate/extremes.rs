//! `min` and `max`: the least and the greatest value. NaN is greatest.

use super::definition::{Definition, Needs};
use super::types;
use crate::synopses::extremes::Extremes;
use crate::synopses::reading::Reading;
use crate::synopses::sorted::Sorted;

pub static MIN: Definition = Definition {
    name: "min",
    aliases: &["minimum", "least", "smallest", "lowest"],
    in_sql: &[],
    parameter: None,
    result: types::same,
    needs: Needs::Synopsis(&Reading(Extremes::<true>::best), &Reading(Sorted::least)),
    meaning: |of, _| format!("least {of}"),
    of_events: None,
    by_time: false,
    of_distinct: Some("min"),
    identity: "Min",
};

pub static MAX: Definition = Definition {
    name: "max",
    aliases: &["maximum", "greatest", "largest", "highest"],
    in_sql: &[],
    parameter: None,
    result: types::same,
    needs: Needs::Synopsis(&Reading(Extremes::<false>::best), &Reading(Sorted::greatest)),
    meaning: |of, _| format!("greatest {of}"),
    of_events: None,
    by_time: false,
    of_distinct: Some("max"),
    identity: "Max",
};
