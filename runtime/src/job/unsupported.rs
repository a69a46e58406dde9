//! What this version does not do yet, with its place in the job. A line goes when the thing is built.

use super::{Agg, ChangesTo, Faults, Job, SinkTo, Window, paths};

fn window(window: Window) -> Option<&'static str> {
    match window {
        Window::Trailing => None,
        Window::Tumbling { .. } => Some("tumbling windows are"),
        Window::Hopping { .. } => Some("hopping windows are"),
        Window::Session { .. } => Some("session windows are"),
    }
}

fn aggregate(agg: Agg) -> Option<String> {
    match agg {
        Agg::Count | Agg::Sum | Agg::Avg | Agg::Min | Agg::Max => None,
        other => Some(format!("the aggregate `{}` is", other.name())),
    }
}

fn changelog(to: &SinkTo) -> Option<&'static str> {
    match to {
        SinkTo::Redis { .. } | SinkTo::Embedded | SinkTo::Changes(ChangesTo::Jsonl { .. }) => None,
        SinkTo::Changes(ChangesTo::Kafka(_)) => Some("a changelog in Kafka is"),
    }
}

fn dead_letters(to: &ChangesTo) -> Option<&'static str> {
    match to {
        ChangesTo::Jsonl { .. } => None,
        ChangesTo::Kafka(_) => Some("dead letters in Kafka are"),
    }
}

fn state(path: &str) -> Option<&'static str> {
    paths::is_url(path).then_some("a state in an object store is")
}

/// Everything that the job asks for and this version does not do yet.
pub fn not_supported(job: &Job) -> Faults {
    let mut found = Vec::new();
    for group in &job.groups {
        found.push((group.window_at, window(group.window).map(String::from)));
        found.extend(group.columns.iter().map(|column| (column.at, aggregate(column.agg))));
    }
    found.extend(job.sinks.iter().map(|sink| (sink.at, changelog(&sink.to).map(String::from))));
    found.push((job.dead_letters_at, dead_letters(&job.dead_letters).map(String::from)));
    found.push((job.state.at, state(&job.state.path).map(String::from)));

    let mut faults = Faults::new(job.file.display().to_string());
    for (at, what) in found {
        if let Some(what) = what {
            faults.error(at, format!("{what} not supported yet"));
        }
    }
    faults.settle();
    faults
}
