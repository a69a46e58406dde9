//! What this version does not do yet, with its place in the job. A line goes when the thing is built.

use super::{At, ChangesTo, Faults, Job, SinkTo};

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

/// Everything that the job asks for and this version does not do yet.
pub fn not_supported(job: &Job) -> Faults {
    let mut found: Vec<(At, Option<String>)> = vec![];
    found.extend(job.sinks.iter().map(|sink| (sink.at, changelog(&sink.to).map(String::from))));
    found.push((job.dead_letters_at, dead_letters(&job.dead_letters).map(String::from)));

    let mut faults = Faults::new(job.file.display().to_string());
    for (at, what) in found {
        if let Some(what) = what {
            faults.error(at, format!("{what} not supported yet"));
        }
    }
    faults.settle();
    faults
}
