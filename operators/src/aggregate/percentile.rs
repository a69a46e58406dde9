//! `approx_percentile`: the value below which a share of the values lies, within 1% of it.

use super::definition::{Definition, Needs, Parameter, Range};
use super::types;
use crate::synopses::buckets::Buckets;
use crate::synopses::reading::Reading;

pub static APPROX_PERCENTILE: Definition = Definition {
    name: "approx_percentile",
    aliases: &[
        "percentile",
        "quantile",
        "approx_quantile",
        "percentile_approx",
        "approx_percentile_cont",
        "percentile_cont",
        "percentile_disc",
        "quantile_cont",
        "quantile_disc",
        "tdigest",
    ],
    in_sql: &["approx_quantile"],
    parameter: Some(Parameter {
        key: "p",
        range: Range::Share,
        hint: "say which, like p = 0.99",
        aliases: &[
            ("median", 0.5),
            ("approx_median", 0.5),
            ("p25", 0.25),
            ("p50", 0.5),
            ("p75", 0.75),
            ("p90", 0.9),
            ("p95", 0.95),
            ("p99", 0.99),
            ("p999", 0.999),
        ],
    }),
    result: types::float,
    needs: Needs::Synopsis(&Reading(Buckets::percentile), &Reading(Buckets::percentile)),
    meaning: |of, p| format!("percentile {p} of {of}, within 1% of it,"),
    of_events: None,
    by_time: false,
    of_distinct: None,
    identity: "ApproxPercentile",
};
