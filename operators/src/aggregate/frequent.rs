//! `top_k` and `mode`: the most frequent values; of equally frequent ones the smaller first.

use super::definition::{Definition, Needs};
use super::{counts, types};
use crate::synopses::frequencies::Frequencies;
use crate::synopses::reading::Reading;
use crate::synopses::synopsis::Asked;
use crate::value::Datum;

pub static TOP_K: Definition = Definition {
    name: "top_k",
    aliases: &["top_n", "top", "approx_top_k", "approx_top_count", "most_frequent_k"],
    in_sql: &[],
    parameter: Some(counts::OF_VALUES),
    result: types::list,
    needs: Needs::Synopsis(&Reading(list), &Reading(list)),
    meaning: |of, k| format!("most frequent values of {of}, up to {k},"),
    of_events: None,
    by_time: false,
    of_distinct: None,
    identity: "TopK",
};

pub static MODE: Definition = Definition {
    name: "mode",
    aliases: &["most_frequent", "most_common"],
    in_sql: &[],
    parameter: None,
    result: types::same,
    needs: Needs::Synopsis(&Reading(most_frequent), &Reading(most_frequent)),
    meaning: |of, _| format!("most frequent value of {of}"),
    of_events: None,
    by_time: false,
    of_distinct: None,
    identity: "Mode",
};

fn list(kept: &mut Frequencies, asked: &Asked) -> Datum {
    counts::list(kept.ranked(asked), asked)
}

fn most_frequent(kept: &mut Frequencies, asked: &Asked) -> Datum {
    kept.ranked(asked).next().unwrap_or_default()
}
