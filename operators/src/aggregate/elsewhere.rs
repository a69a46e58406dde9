//! Aggregates of other engines that are none here, and what to write instead.

/// What stands for an aggregate, as a statement says it and as a job file does.
#[derive(Clone, Copy, Debug)]
pub struct Instead {
    /// In SQL.
    pub in_sql: &'static str,
    /// In a job file.
    pub in_job: &'static str,
}

static ELSEWHERE: &[(&[&str], Instead)] = &[
    (
        &["count_if", "countif"],
        Instead {
            in_sql: "write count_if(condition), or COUNT(*) FILTER (WHERE condition)",
            in_job: "write agg = \"count\" with where = \"condition\"",
        },
    ),
    (
        &["sum_if", "sumif", "avg_if", "avgif", "min_if", "minif", "max_if", "maxif"],
        Instead {
            in_sql: "write the aggregate with FILTER (WHERE condition)",
            in_job: "write the aggregate with where = \"condition\"",
        },
    ),
    (
        &["array_agg", "list", "collect_list", "grouparray", "string_agg", "group_concat", "listagg"],
        Instead {
            in_sql: "last_n(value, n) is the list of the newest values",
            in_job: "agg = \"last_n\" with n = 10 is the list of the newest values",
        },
    ),
    (
        &["arg_max", "argmax", "max_by", "maxby"],
        Instead {
            in_sql: "last(value) is the value at the greatest event time",
            in_job: "agg = \"last\" is the value at the greatest event time",
        },
    ),
    (
        &["arg_min", "argmin", "min_by", "minby"],
        Instead {
            in_sql: "first(value) is the value at the least event time",
            in_job: "agg = \"first\" is the value at the least event time",
        },
    ),
    (
        &["bool_or", "logical_or", "some"],
        Instead {
            in_sql: "write count_if(condition) AS n, and n > 0 AS name behind it",
            in_job: "write agg = \"count\" with where = \"condition\", and n > 0 in `derived`",
        },
    ),
    (
        &["bool_and", "logical_and", "every"],
        Instead {
            in_sql: "write count_if(NOT condition) AS n, and n = 0 AS name behind it",
            in_job: "write agg = \"count\" with where = \"NOT condition\", and n = 0 in `derived`",
        },
    ),
    (
        &["lag", "lead"],
        Instead {
            in_sql: "last_n(value, 2) has the newest value and the one before it",
            in_job: "agg = \"last_n\" with n = 2 has the newest value and the one before it",
        },
    ),
];

/// What to write in place of an aggregate that other engines have; `None`: this is no name of one.
///
/// ```
/// use headwater_operators::aggregate::instead;
///
/// assert!(instead("array_agg").unwrap().in_sql.starts_with("last_n(value, n)"));
/// assert!(instead("sum").is_none());
/// ```
pub fn instead(name: &str) -> Option<Instead> {
    let lower = name.to_lowercase();
    ELSEWHERE.iter().find(|(names, _)| names.contains(&lower.as_str())).map(|(_, instead)| *instead)
}
