//! `min` and `max`: the least and the greatest value. NaN is greatest.

use super::definition::{Definition, Needs};
use super::types;
use crate::synopses::extremes::Extremes;
use crate::synopses::reading::Reading;

pub static MIN: Definition = Definition {
    name: "min",
    aliases: &["minimum", "least", "smallest", "lowest"],
    parameter: None,
    result: types::same,
    needs: Needs::Synopsis(&Reading(Extremes::<true>::best)),
    meaning: |of, _| format!("least {of}"),
    of_events: None,
    identity: "Min",
};

pub static MAX: Definition = Definition {
    name: "max",
    aliases: &["maximum", "greatest", "largest", "highest"],
    parameter: None,
    result: types::same,
    needs: Needs::Synopsis(&Reading(Extremes::<false>::best)),
    meaning: |of, _| format!("greatest {of}"),
    of_events: None,
    identity: "Max",
};
