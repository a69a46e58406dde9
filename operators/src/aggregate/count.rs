//! `count`: how many events there are, or how many values that are not null.

use super::definition::{Definition, Needs};
use super::types;

pub static COUNT: Definition = Definition {
    name: "count",
    aliases: &["cnt", "num", "size", "len", "length", "rows", "row_count", "count_rows", "count_star", "count_all"],
    in_sql: &["count_if"],
    parameter: None,
    result: types::count,
    needs: Needs::Count,
    meaning: |of, _| format!("events whose {of} is not null,"),
    of_events: Some("events"),
    by_time: false,
    of_distinct: Some("count_distinct"),
    identity: "Count",
};
