//! What a feature means, in plain words.

use crate::job::{Agg, Column, Group, Job, Window, duration};

/// `events of the last 1h, by card_id, where status = 'approved'`
pub fn of_column(job: &Job, group: &Group, column: &Column) -> String {
    let keys: Vec<&str> = group.key.iter().map(|key| key.text.as_str()).collect();
    let filter = group.filter.as_ref().map_or_else(String::new, |f| format!(", where {}", f.text));
    let lateness = match group.window {
        Window::Trailing => String::new(),
        _ => format!(", late by up to {}", duration::display(job.sources[group.source].lateness_us)),
    };
    let over = if column.of.is_some() { "over" } else { "of" };
    let (what, window) = (what(column), window(group, column));
    format!("{what} {over} {window}, by {}{filter}{lateness}", keys.join(" and "))
}

fn what(column: &Column) -> String {
    let of = column.of.as_ref().map_or("", |of| of.text.as_str());
    match column.agg {
        Agg::Count if column.of.is_none() => "events".to_owned(),
        Agg::Count => format!("events whose {of} is not null"),
        Agg::Sum => format!("sum of {of}"),
        Agg::Avg => format!("average of {of}"),
        Agg::Min => format!("least {of}"),
        Agg::Max => format!("greatest {of}"),
        Agg::VarPop => format!("variance of {of}"),
        Agg::VarSamp => format!("sample variance of {of}"),
        Agg::StddevPop => format!("standard deviation of {of}"),
        Agg::StddevSamp => format!("sample standard deviation of {of}"),
        Agg::First => format!("earliest {of}"),
        Agg::Last => format!("latest {of}"),
        Agg::CountDistinct => format!("distinct values of {of}"),
        Agg::TopK { k } => format!("the {k} most frequent values of {of}"),
        Agg::LastN { n } => format!("the {n} latest values of {of}"),
        Agg::ApproxCountDistinct => format!("distinct values of {of}, about,"),
        Agg::ApproxPercentile { p } => format!("value below which about {}% of {of} lie,", p * 100.0),
    }
}

fn window(group: &Group, column: &Column) -> String {
    match (group.window, column.length_us) {
        (Window::Trailing, Some(length)) => format!("the last {}", duration::display(length)),
        (Window::Trailing, None) => "all time".to_owned(),
        (Window::Tumbling { size_us }, _) => format!("each {}", duration::display(size_us)),
        (Window::Hopping { size_us, every_us }, _) => {
            format!("{}, every {}", duration::display(size_us), duration::display(every_us))
        }
        (Window::Session { gap_us }, _) => {
            format!("each session (it ends {} after its last event)", duration::display(gap_us))
        }
    }
}
