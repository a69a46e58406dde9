//! `first`, `last` and `last_n`: values by event time; of those at the same time the smaller one is first, the greater last.

use super::definition::{Definition, Needs, Parameter};
use super::{counts, types};
use crate::synopses::dated::Dated;
use crate::synopses::earliest::Earliest;
use crate::synopses::latest::Latest;
use crate::synopses::reading::Reading;

pub static FIRST: Definition = Definition {
    name: "first",
    aliases: &["first_value", "earliest", "oldest"],
    in_sql: &["any_value"],
    parameter: None,
    result: types::same,
    needs: Needs::Synopsis(&Reading(Earliest::first), &Reading(Dated::first)),
    meaning: |of, _| format!("first {of} by event time"),
    of_events: None,
    by_time: true,
    of_distinct: None,
    identity: "First",
};

pub static LAST: Definition = Definition {
    name: "last",
    aliases: &["last_value", "latest", "newest", "most_recent"],
    in_sql: &[],
    parameter: None,
    result: types::same,
    needs: Needs::Synopsis(
        &Reading(|kept: &mut Latest, asked| kept.newest_first(asked).next().unwrap_or_default()),
        &Reading(|kept: &mut Dated, asked| kept.newest_first(asked).next().unwrap_or_default()),
    ),
    meaning: |of, _| format!("last {of} by event time"),
    of_events: None,
    by_time: true,
    of_distinct: None,
    identity: "Last",
};

pub static LAST_N: Definition = Definition {
    name: "last_n",
    aliases: &["last_k", "latest_n", "newest_n", "most_recent_n"],
    in_sql: &[],
    parameter: Some(Parameter { key: "n", hint: "say how many values, like n = 3", ..counts::OF_VALUES }),
    result: types::list,
    needs: Needs::Synopsis(
        &Reading(|kept: &mut Latest, asked| counts::list(kept.newest_first(asked), asked)),
        &Reading(|kept: &mut Dated, asked| counts::list(kept.newest_first(asked), asked)),
    ),
    meaning: |of, n| format!("newest values of {of} by event time, up to {n},"),
    of_events: None,
    by_time: true,
    of_distinct: None,
    identity: "LastN",
};
